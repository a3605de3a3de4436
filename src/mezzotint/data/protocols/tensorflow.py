"""Which protocols give TensorFlow's values? squash256 and central875 in its arithmetic, Inception's and EfficientNet's.

``tf.image.resize(image, size)`` (TensorFlow 2, ``antialias=False``) places pixels at half-pixel centres and returns
floats without rounding. TensorFlow 1's ``resize_bilinear``, which Inception's evaluation used, had no half-pixel
centres. ``central_crop`` rounds the start, not the size: 500 pixels give 438, not 437.
"""

from __future__ import annotations

from mezzotint.data.protocols.normalisation import HALF, IMAGENET_MEAN, IMAGENET_STD, Triple, normalisation
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.settings import pixels, share
from mezzotint.data.protocols.steps import CenterCrop, CropFraction, CropSquare, Resize

_PADDING = 32  # pixels around the crop of an EfficientNet's evaluation, of img_size + 32


def squash256_tf(*, img_size: int = 224) -> Protocol:
    """squash256 with TensorFlow's resize; ``img_size`` is the side of the centre that is cut out, at most 256."""
    return Protocol(
        name="squash256-tf",
        summary="squash256 with TensorFlow's resize (tf.image.resize, then resize_with_crop_or_pad).",
        steps=(
            Resize(height=256, width=256, resampling="tensorflow"),
            CenterCrop(side=pixels("img_size", img_size, most=256)),
        ),
    )


def central875_tf(*, img_size: int = 224) -> Protocol:
    """central875 with TensorFlow's rounding and resize; ``img_size`` is the side of the result."""
    side = pixels("img_size", img_size)
    return Protocol(
        name="central875-tf",
        summary="central875 with TensorFlow's rounding and resize (tf.image.central_crop, then tf.image.resize).",
        steps=(
            CropFraction(fraction=0.875, rounding="tensorflow"),
            Resize(height=side, width=side, resampling="tensorflow"),
        ),
    )


def inception(
    *, img_size: int = 299, fraction: float = 0.875, mean: Triple | None = HALF, std: Triple | None = HALF
) -> Protocol:
    """TF-slim's ``inception_preprocessing.preprocess_for_eval``.

    Args:
        img_size: side of the result; 299 for Inception v3 and later, 224 for v1 and v2.
        fraction: of each side that the crop keeps.
        mean, std: of the normalisation, (value - 0.5) * 2.
    """
    side = pixels("img_size", img_size)
    return Protocol(
        name="inception",
        summary="the evaluation of TF-slim's Inception networks (central_crop, then TensorFlow 1's resize_bilinear).",
        steps=(
            CropFraction(fraction=share("fraction", fraction), rounding="tensorflow"),
            Resize(height=side, width=side, resampling="tensorflow1"),
        ),
        normalisation=normalisation(mean, std),
    )


def efficientnet_tf(
    *, img_size: int = 224, mean: Triple | None = IMAGENET_MEAN, std: Triple | None = IMAGENET_STD
) -> Protocol:
    """The evaluation of EfficientNets in TensorFlow: ``img_size / (img_size + 32)`` of the shorter side, bicubic.

    Args:
        img_size: side of the result: 224 for B0, 240 for B1, 260, 300, 380, 456, 528, 600 for B7.
        mean, std: of the normalisation.
    """
    side = pixels("img_size", img_size)
    return Protocol(
        name="efficientnet-tf",
        summary="the evaluation of EfficientNets in TensorFlow (tf.image.resize, bicubic).",
        steps=(
            CropSquare(fraction=side / (side + _PADDING), offset="ceil", precision="float32"),
            Resize(height=side, width=side, resampling="tensorflow", interpolation="bicubic"),
        ),
        normalisation=normalisation(mean, std),
        overshoot="keep",
    )
