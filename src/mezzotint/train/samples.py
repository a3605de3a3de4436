"""What did the network see, and what not recognise? Some images as PNG files for the report."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mezzotint.data.loader import Loader
from mezzotint.durable import replace_json
from mezzotint.train.evaluate import Mistake


def write_samples(folder: Path, loader: Loader, count: int) -> None:
    """Write ``folder/samples/*.png`` and ``folder/samples.json``: the first images of epoch 0, as they enter a batch.

    Args:
        folder: of the run.
        loader: of the training images; its place does not move.
        count: how many images, at most.
    """
    records: list[dict[str, Any]] = []
    for place, index in enumerate(loader.order(0)[:count].tolist()):
        image, label = loader.sample_at(0, index)
        file = _write(folder, f"samples/{place:02d}.png", image)
        records.append({"file": file, "label": loader.source.classes[label], "name": loader.source.name(index)})
    replace_json(folder / "samples.json", records)


def write_mistakes(folder: Path, loader: Loader, worst: Iterable[Mistake]) -> list[dict[str, Any]]:
    """Write ``folder/mistakes/*.png``, the worst mistakes as they entered the network, and return their records.

    Args:
        folder: of the run.
        loader: of the test images; its place does not move.
        worst: the mistakes, the worst first.
    """
    shutil.rmtree(folder / "mistakes", ignore_errors=True)  # of the same run before it was resumed from further back
    return [
        {
            "file": _write(folder, f"mistakes/{place:02d}.png", loader.sample_at(0, one.sample)[0]),
            "name": loader.source.name(one.sample),
            **one._asdict(),
        }
        for place, one in enumerate(worst)
    ]


def _write(folder: Path, name: str, image: Tensor) -> str:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(_levels(image).numpy()).save(file)
    return name


def _levels(image: Tensor) -> Tensor:
    """uint8 [H, W] or [H, W, 3] from [C, H, W], uint8 or float32 in [0, 1]; of other channels the first."""
    levels = image if image.dtype == torch.uint8 else (image.clamp(0, 1) * 255).round().to(torch.uint8)
    shown = levels if levels.shape[0] == 3 else levels[:1]
    return shown.permute(1, 2, 0).squeeze(-1).contiguous()
