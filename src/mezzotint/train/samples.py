"""What do augmented training images look like? A few of the first epoch as PNG files for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mezzotint.data.durable import replace_json
from mezzotint.data.loader import Loader


def write_samples(folder: Path, loader: Loader, count: int) -> None:
    """Write ``folder/samples/*.png`` and ``folder/samples.json``: the first images of epoch 0, as they enter a batch.

    Args:
        folder: of the run.
        loader: of the training images; its place does not move.
        count: how many images, at most.
    """
    inside = folder / "samples"
    inside.mkdir(exist_ok=True)
    records: list[dict[str, Any]] = []
    for place, index in enumerate(loader.order(0)[:count].tolist()):
        image, label = loader.sample_at(0, index)
        file = inside / f"{place:02d}.png"
        Image.fromarray(_levels(image).numpy()).save(file)
        records.append(
            {
                "file": f"samples/{file.name}",
                "label": loader.source.classes[label],
                "name": loader.source.name(index),
            }
        )
    replace_json(folder / "samples.json", records)


def _levels(image: Tensor) -> Tensor:
    """uint8 [H, W] or [H, W, 3] from [C, H, W], uint8 or float32 in [0, 1]; of other channels the first."""
    levels = image if image.dtype == torch.uint8 else (image.clamp(0, 1) * 255).round().to(torch.uint8)
    shown = levels if levels.shape[0] == 3 else levels[:1]
    return shown.permute(1, 2, 0).squeeze(-1).contiguous()
