"""How do the libraries themselves bring an image into a network's form? The peer of each protocol, called as users do.

Used by ``bench/protocols.py`` and by ``tests/data/golden/make.py``. Nothing is imported before a peer is called. Where
the peer is a script of another repository (TF-slim, EfficientNet) or cannot be installed everywhere (FFCV), the calls
that it makes are written out here, with the very functions of TensorFlow or OpenCV.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A library's own way.

    Attributes:
        packages: what must be installed, as named on PyPI.
        call: (uint8 [H, W, 3], the protocol's settings) -> float [S, S, 3], the network's input.
        exact: the levels before normalisation are to be equal to the bit.
    """

    packages: tuple[str, ...]
    call: Callable[[Array, dict[str, Any]], Array]
    exact: bool = False


def squash256(image: Array, settings: dict[str, Any]) -> Array:
    """Pillow's bilinear resize and a crop."""
    from PIL import Image

    start, side = (256 - settings["img_size"]) // 2, settings["img_size"]
    resized = Image.fromarray(image).resize((256, 256), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((start, start, start + side, start + side))) / 255


def central875(image: Array, settings: dict[str, Any]) -> Array:
    """A crop, and Pillow's bilinear resize."""
    from PIL import Image

    side = settings["img_size"]
    height, width = (max(1, n * 7 // 8) for n in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    cut = Image.fromarray(image[top : top + height, left : left + width])
    return np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR)) / 255


def torchvision(image: Array, settings: dict[str, Any]) -> Array:
    """The transforms of torchvision's references, on a Pillow image."""
    from PIL import Image
    from torchvision import transforms

    interpolation = transforms.InterpolationMode(settings["interpolation"])
    picture = transforms.Resize(settings["resize_size"], interpolation)(Image.fromarray(image))
    return np.asarray(transforms.CenterCrop(settings["img_size"])(picture)) / 255


def timm(image: Array, settings: dict[str, Any]) -> Array:
    """timm's ``create_transform``."""
    from PIL import Image
    from timm.data.transforms_factory import create_transform

    side, rest = settings["img_size"], {key: value for key, value in settings.items() if key != "img_size"}
    for key in ("mean", "std"):
        rest[key] = rest[key] if isinstance(rest[key], tuple) else (rest[key],) * 3
    values: Array = create_transform((3, side, side), **rest)(Image.fromarray(image)).permute(1, 2, 0).numpy()
    return values


def squash256_tf(image: Array, settings: dict[str, Any]) -> Array:
    """``tf.image.resize`` and ``resize_with_crop_or_pad``."""
    import tensorflow as tf

    resized = tf.image.resize(image, (256, 256))
    return tf.image.resize_with_crop_or_pad(resized, settings["img_size"], settings["img_size"]).numpy() / 255


def central875_tf(image: Array, settings: dict[str, Any]) -> Array:
    """``tf.image.central_crop`` and ``tf.image.resize``."""
    import tensorflow as tf

    side = settings["img_size"]
    return tf.image.resize(tf.image.central_crop(image, 0.875), (side, side)).numpy() / 255


def inception(image: Array, settings: dict[str, Any]) -> Array:
    """``preprocess_for_eval`` of TF-slim's ``inception_preprocessing.py``."""
    import tensorflow as tf

    side = settings["img_size"]
    values = tf.image.convert_image_dtype(image, tf.float32)
    values = tf.image.central_crop(values, settings["fraction"])[None]
    values = tf.compat.v1.image.resize_bilinear(values, [side, side], align_corners=False)[0]
    return tf.multiply(tf.subtract(values, 0.5), 2.0).numpy()


def efficientnet_tf(image: Array, settings: dict[str, Any]) -> Array:
    """``preprocess_for_eval`` of EfficientNet's ``preprocessing.py``, with the resize of TensorFlow 2."""
    import tensorflow as tf

    side = settings["img_size"]
    height, width = image.shape[:2]
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    cut = max(1, int(tf.cast((side / (side + 32)) * shorter, tf.int32)))  # the peer fails where it would be 0
    top, left = ((height - cut) + 1) // 2, ((width - cut) + 1) // 2
    values = tf.image.resize(image[top : top + cut, left : left + cut], [side, side], tf.image.ResizeMethod.BICUBIC)
    values -= tf.constant([0.485 * 255, 0.456 * 255, 0.406 * 255])
    return (values / tf.constant([0.229 * 255, 0.224 * 255, 0.225 * 255])).numpy()


def ffcv(image: Array, settings: dict[str, Any]) -> Array:
    """``CenterCropRGBImageDecoder`` and ``NormalizeImage``; the resize is that of its ``libffcv.cpp``."""
    import cv2

    side, cut = settings["img_size"], max(1, int(settings["ratio"] * min(image.shape[:2])))
    top, left = (image.shape[0] - cut) // 2, (image.shape[1] - cut) // 2
    levels = cv2.resize(image[top : top + cut, left : left + cut], (side, side), interpolation=cv2.INTER_AREA)
    return (levels - np.array(settings["mean"]) * 255) / (np.array(settings["std"]) * 255)


def keras(image: Array, settings: dict[str, Any]) -> Array:
    """``load_img`` or ``image_dataset_from_directory``, on a file, and ``preprocess_input``."""
    import keras as library
    from PIL import Image

    side, extra = settings["img_size"], {}
    if settings["interpolation"] is not None:
        extra["interpolation"] = settings["interpolation"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.png"
        Image.fromarray(image).save(file)
        if settings["reader"] == "load_img":
            values = library.utils.img_to_array(library.utils.load_img(file, target_size=(side, side), **extra))
        else:
            options = {"labels": None, "batch_size": None, "shuffle": False, "verbose": False}
            dataset = library.utils.image_dataset_from_directory(folder, image_size=(side, side), **options, **extra)
            values = next(iter(dataset)).numpy().astype(np.float32)
    made: Array = library.applications.imagenet_utils.preprocess_input(values, mode=settings["mode"])
    return made


PEERS: dict[str, Peer] = {
    "squash256": Peer(packages=("pillow",), call=squash256),
    "central875": Peer(packages=("pillow",), call=central875),
    "squash256-tf": Peer(packages=("tensorflow-cpu",), call=squash256_tf),
    "central875-tf": Peer(packages=("tensorflow-cpu",), call=central875_tf),
    "torchvision": Peer(packages=("torchvision", "pillow"), call=torchvision, exact=True),
    "timm": Peer(packages=("timm", "torchvision", "pillow"), call=timm, exact=True),
    "inception": Peer(packages=("tensorflow-cpu",), call=inception),
    "efficientnet-tf": Peer(packages=("tensorflow-cpu",), call=efficientnet_tf),
    "ffcv": Peer(packages=("opencv-python-headless",), call=ffcv, exact=True),
    "keras": Peer(packages=("keras", "tensorflow-cpu", "pillow"), call=keras),
}
"""Protocol -> its peer, for any settings but the roundings that the peer does not have."""
