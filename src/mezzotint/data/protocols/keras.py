"""Which protocol gives the values of ``keras.applications``? A squash by one of Keras's two readers, in three ranges.

``load_img(path, target_size=...)`` resizes with Pillow, by default to the nearest pixel, however much the image
shrinks. ``image_dataset_from_directory`` resizes with ``tf.image.resize``, by default bilinearly without antialiasing.
``preprocess_input`` then has three modes:

=========  ====================================================================  ====================================
mode       values                                                                networks
=========  ====================================================================  ====================================
``caffe``  channels BGR, levels minus (103.939, 116.779, 123.68)                 ResNet v1, VGG
``tf``     levels / 127.5 - 1                                                    ResNet v2, Inception, Xception,
                                                                                 MobileNet, NASNet
``torch``  (value - mean) / std of ImageNet                                      DenseNet
=========  ====================================================================  ====================================
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from mezzotint.data.protocols.normalisation import HALF, IMAGENET_MEAN, IMAGENET_STD, Normalisation
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.settings import one_of, pixels
from mezzotint.data.protocols.steps import Resize
from mezzotint.data.resize import INTERPOLATIONS, Interpolation, Resampling

Mode: TypeAlias = Literal["caffe", "tf", "torch"]
Reader: TypeAlias = Literal["load_img", "image_dataset"]

_MODES: dict[Mode, Normalisation] = {
    "caffe": Normalisation(mean=(103.939, 116.779, 123.68), std=(1, 1, 1), white=255, channels="BGR"),
    "tf": Normalisation(mean=HALF, std=HALF),
    "torch": Normalisation(mean=IMAGENET_MEAN, std=IMAGENET_STD),
}
_READERS: dict[Reader, tuple[Resampling, Interpolation]] = {
    "load_img": ("pillow", "nearest"),
    "image_dataset": ("tensorflow", "bilinear"),
}


def keras(
    *,
    img_size: int = 224,
    mode: Mode = "caffe",
    reader: Reader = "load_img",
    interpolation: Interpolation | None = None,
) -> Protocol:
    """The whole image squashed to a square.

    Args:
        img_size: side of the result in pixels (``target_size``, ``image_size``).
        mode: of ``preprocess_input``, see above.
        reader: ``"load_img"`` or ``"image_dataset"``.
        interpolation: one of Pillow's or of TensorFlow's; the reader's default if None.
    """
    one_of("mode", mode, get_args(Mode))
    one_of("reader", reader, get_args(Reader))
    resampling, default = _READERS[reader]
    one_of("interpolation", interpolation, (*INTERPOLATIONS[resampling], None))
    interpolation = interpolation or default
    side = pixels("img_size", img_size)
    return Protocol(
        name="keras",
        summary=f"the whole image squashed to a square (Keras's {reader}, then preprocess_input's mode {mode!r}).",
        steps=(Resize(height=side, width=side, resampling=resampling, interpolation=interpolation),),
        normalisation=_MODES[mode],
        overshoot="keep" if (resampling, interpolation) == ("tensorflow", "bicubic") else "clip",
    )
