"""What can be shown where there is no photograph? A small scene drawn here, with edges, colours and texture.

It has what augmentations act on: an upper and a lower side, left and right, pure colours, gradients, stripes, grain.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

_SCALE = 4  # drawn larger, then reduced, so that edges are smooth


def specimen(height: int = 120, width: int = 160) -> Tensor:
    """The scene as a uint8 image [height, width, 3], always the same; sides of at least 1."""
    tall, broad = 120 * _SCALE, 160 * _SCALE
    sky = np.linspace((96, 160, 220), (222, 226, 214), 78 * _SCALE)[:, None].repeat(broad, axis=1)
    ground = np.linspace((104, 142, 74), (70, 104, 58), tall - 78 * _SCALE)[:, None].repeat(broad, axis=1)
    scene = Image.fromarray(np.concatenate((sky, ground)).astype(np.uint8))
    draw = ImageDraw.Draw(scene)

    def at(*places: float) -> list[float]:
        return [place * _SCALE for place in places]

    draw.ellipse(at(118, 12, 142, 36), fill=(250, 214, 96))
    draw.polygon(at(0, 78, 38, 40, 66, 66, 92, 44, 128, 78), fill=(122, 132, 158))
    draw.rectangle(at(34, 58, 84, 96), fill=(236, 226, 206))
    draw.polygon(at(28, 60, 59, 32, 90, 60), fill=(176, 62, 48))
    draw.rectangle(at(40, 68, 54, 82), fill=(62, 92, 134))
    draw.rectangle(at(62, 70, 76, 96), fill=(98, 66, 44))
    draw.rectangle(at(116, 62, 122, 98), fill=(92, 66, 46))
    draw.ellipse(at(102, 34, 138, 74), fill=(46, 104, 58))
    for stripe in range(13):
        draw.line(at(92 + 5 * stripe, 98, 80 + 6 * stripe, 116), fill=(238, 236, 228), width=2 * _SCALE)
    draw.ellipse(at(8, 94, 26, 112), fill=(204, 48, 64))
    small = scene.resize((width, height), Image.Resampling.LANCZOS)
    grain = np.random.Generator(np.random.Philox(key=7)).normal(0, 4, (height, width, 1))
    return torch.from_numpy((np.asarray(small) + grain).round().clip(0, 255).astype(np.uint8))
