"""How do image files become batches? Decoding, evaluation protocols, data sources, augmentations and the loader.

``mezzotint.data.protocols`` is the function, although a package has the same name: write
``from mezzotint.data.protocols import ...`` for what is inside of the package.
"""

from mezzotint.data.augment import Augmentation, augmentations
from mezzotint.data.batch import Batch
from mezzotint.data.decode import read_image
from mezzotint.data.interop import as_dataset, from_dataset
from mezzotint.data.loader import Loader
from mezzotint.data.preprocess import preprocess
from mezzotint.data.preview import draw_preview
from mezzotint.data.protocols import Protocol, protocols
from mezzotint.data.quarantine import BadSample, Quarantine
from mezzotint.data.random import Key, Keys
from mezzotint.data.source import BatchSource, EncodedSource, Source, check_same_classes, open_source
from mezzotint.data.sources.memory import ArraySource, in_memory
from mezzotint.data.transform import Compose, Evaluate, Transform, build_transform

__all__ = [
    "ArraySource",
    "Augmentation",
    "BadSample",
    "Batch",
    "BatchSource",
    "Compose",
    "EncodedSource",
    "Evaluate",
    "Key",
    "Keys",
    "Loader",
    "Protocol",
    "Quarantine",
    "Source",
    "Transform",
    "as_dataset",
    "augmentations",
    "build_transform",
    "check_same_classes",
    "draw_preview",
    "from_dataset",
    "in_memory",
    "open_source",
    "preprocess",
    "protocols",
    "read_image",
]
