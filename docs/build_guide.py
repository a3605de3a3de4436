"""How are the pictures of the guide to images made? By the library itself: writes docs/guide/images/*.jpg."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mezzotint.data.augment.colour import adjust
from mezzotint.data.augment.mix import MIXES
from mezzotint.data.augment.pillow_ops import to_image, to_picture
from mezzotint.data.preview_grid import augmented, draw_rows
from mezzotint.data.protocols import PROTOCOLS
from mezzotint.data.random import Key
from mezzotint.data.specimen import specimen
from mezzotint.data.transform import Evaluate, build_transform

TARGET = Path(__file__).parent / "guide" / "images"
CELL, EPOCHS = 88, range(5)

#: Picture -> augmentations on it, with the settings that show what they do.
SHEETS: dict[str, list[dict[str, Any]]] = {
    "place": [
        {"name": "random_crop", "padding": 16},
        {"name": "random_resized_crop", "size": [120, 160]},
        {"name": "horizontal_flip"},
        {"name": "vertical_flip", "p": 0.8},
    ],
    "geometry": [
        {"name": "rotation", "degrees": 30},
        {"name": "shear"},
        {"name": "translate", "amount": 0.2},
        {"name": "affine"},
        {"name": "perspective", "p": 1},
        {"name": "elastic", "p": 1},
    ],
    "colour": [
        {"name": "colour_jitter", "hue": 0.1},
        {"name": "grayscale", "p": 0.6},
        {"name": "brightness"},
        {"name": "contrast"},
        {"name": "colour", "amount": 0.9},
    ],
    "tone": [
        {"name": "sharpness", "amount": 1.0},
        {"name": "solarize", "p": 1, "threshold": 128},
        {"name": "posterize", "p": 1, "bits": 2},
        {"name": "equalize", "p": 1},
        {"name": "autocontrast", "p": 1},
        {"name": "invert", "p": 1},
    ],
    "detail": [
        {"name": "gaussian_blur", "p": 1},
        {"name": "gaussian_noise", "p": 1, "std": [0.02, 0.2]},
        {"name": "cutout", "size": 40},
        {"name": "random_erasing", "p": 1},
    ],
    "policies": [
        {"name": "auto_augment"},
        {"name": "rand_augment"},
        {"name": "trivial_augment_wide"},
        {"name": "aug_mix", "severity": 5},
        {"name": "three_augment"},
    ],
}


def augmentation_sheet(steps: Sequence[dict[str, Any]]) -> Image.Image:
    """The scene as five epochs of training would see it, one row a step."""
    image = specimen()
    rows = []
    for step in steps:
        made = augmented(image, build_transform([step]), seed=1, epochs=EPOCHS, sample=0)
        rows.append((step["name"], [image, *made]))
    return draw_rows(rows, ["original", *(f"epoch {epoch}" for epoch in EPOCHS)], cell=CELL)


def protocol_sheet() -> Image.Image:
    """What each evaluation protocol makes of a wide and of a high scene."""
    scene = specimen(360, 480)
    images = [scene[80:320].contiguous(), scene[:, 80:320].contiguous()]
    rows = [("original", images)]
    rows += [
        (name, [augmented(image, Evaluate(name), seed=0, epochs=[0], sample=0)[0] for image in images])
        for name in PROTOCOLS
    ]
    turned = list(zip(*(images for _, images in rows), strict=True))
    return draw_rows([("wide", turned[0]), ("high", turned[1])], [name for name, _ in rows], cell=CELL)


def four_images() -> Tensor:
    """A batch of four: parts of the scene in four colours, float32 [4, 3, 96, 96]."""
    scene = specimen(240, 320)
    parts = [scene[:, 40:280], scene[60:210, 60:210], scene[60:200, 190:310], scene[0:120, 200:320]]
    pictures = [to_picture(part.contiguous()).resize((96, 96)) for part in parts]
    turned = [adjust(to_image(picture), "hue", number / 4) for number, picture in enumerate(pictures)]
    return torch.stack([image.permute(2, 0, 1) for image in turned]).float()


def mix_sheet() -> Image.Image:
    """What each mix makes of a batch of four images; the first and the second share a class."""
    images, targets = four_images(), torch.eye(4)[[0, 0, 2, 3]]
    rows = [("the batch", list(images))]
    settings = {"mixup": {"alpha": 1.0}}
    for name, kind in MIXES.items():
        rows.append((name, list(kind(**settings.get(name, {}))(images - 110, targets, Key(10))[0] + 110)))
    levels = [
        (name, [image.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous() for image in shown])
        for name, shown in rows
    ]
    return draw_rows(levels, [], cell=CELL)


def main() -> None:
    """Write all pictures."""
    TARGET.mkdir(parents=True, exist_ok=True)
    sheets = {name: augmentation_sheet(steps) for name, steps in SHEETS.items()}
    for name, sheet in {**sheets, "protocols": protocol_sheet(), "mixes": mix_sheet()}.items():
        path = TARGET / f"{name}.jpg"
        sheet.save(path, quality=72, optimize=True)
        sys.stdout.write(f"wrote {path}, {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
