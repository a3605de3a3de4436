"""Which protocol gives torchvision's values? The one behind its published ImageNet accuracies (V1 weights).

Normalisation with mean and deviation belongs to the loader, as for all protocols.
"""

from __future__ import annotations

from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.steps import CenterCrop, ResizeShorter

TORCHVISION = Protocol(
    name="torchvision",
    summary="the shorter side resized to 256, then the centre (torchvision on Pillow images, to the bit).",
    steps=(ResizeShorter(side=256, resampling="pillow"), CenterCrop(side=224, offset="half_even")),
)
