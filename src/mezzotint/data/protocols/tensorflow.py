"""Which protocols give TensorFlow's values? The same two with ``tf.image.resize`` and ``tf.image.central_crop``.

``tf.image.resize(image, size)`` (TensorFlow 2, bilinear, ``antialias=False``) places pixels at half-pixel centres and
returns floats without rounding. TensorFlow 1's ``resize_bilinear`` had no half-pixel centres and is not meant here.
``central_crop`` rounds the start, not the size: 500 pixels give 438, not 437.
"""

from __future__ import annotations

from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.steps import CenterCrop, CropFraction, Resize

SQUASH256_TF = Protocol(
    name="squash256-tf",
    summary="squash256 with TensorFlow's resize (tf.image.resize, then resize_with_crop_or_pad).",
    steps=(Resize(height=256, width=256, resampling="tensorflow"), CenterCrop(side=224)),
)

CENTRAL875_TF = Protocol(
    name="central875-tf",
    summary="central875 with TensorFlow's rounding and resize (tf.image.central_crop, then tf.image.resize).",
    steps=(CropFraction(fraction=0.875, rounding="tensorflow"), Resize(height=224, width=224, resampling="tensorflow")),
)
