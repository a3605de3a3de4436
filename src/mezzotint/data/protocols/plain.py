"""Which protocols does mezzotint use by itself? Squash to 256 and crop, or crop the central 87.5 % and resize.

Both resize bilinearly with antialiasing, and round downwards. Their values lie within one level of Pillow's on
photographs; `mezzotint.data.resize` tells where exactly.
"""

from __future__ import annotations

from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.steps import CenterCrop, CropFraction, Resize

SQUASH256 = Protocol(
    name="squash256",
    summary="the whole image squashed to a square, then its centre (timm's crop mode 'squash').",
    steps=(Resize(height=256, width=256, resampling="torch"), CenterCrop(side=224)),
)

CENTRAL875 = Protocol(
    name="central875",
    summary="the central 87.5 % of each side, squashed to a square.",
    steps=(CropFraction(fraction=0.875), Resize(height=224, width=224, resampling="torch")),
)
