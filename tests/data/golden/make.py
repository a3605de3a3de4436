"""How are the golden values of the protocols made? By the libraries themselves, on images that a formula draws.

    pip install tensorflow-cpu keras timm torchvision opencv-python-headless
    python tests/data/golden/make.py

writes ``peers.json``: for each protocol and image the mean of the network's input, its values at some points, and,
where the protocol is to be exact, a hash of all levels before normalisation. ``tests/data/test_protocol_families.py``
compares.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

HERE = Path(__file__).resolve().parent
SIZES = ((375, 500), (500, 375), (227, 231), (31, 47), (1, 1), (224, 224), (512, 601), (90, 400))
POINTS = 16

PROTOCOLS = (
    "torchvision",
    "torchvision:resize_size=232",
    "timm",
    "timm:img_size=240,crop_pct=0.95",
    "timm:crop_pct=0.95,crop_mode=squash,interpolation=bilinear",
    "timm:crop_pct=0.9,crop_mode=border,interpolation=lanczos,mean=0.5,std=0.5",
    "timm:img_size=192,crop_pct=1.0,crop_mode=border",
    "inception",
    "inception:img_size=224,fraction=0.8",
    "efficientnet-tf",
    "efficientnet-tf:img_size=300",
    "ffcv",
    "ffcv:img_size=112,ratio=1.0",
    "keras",
    "keras:mode=tf,interpolation=bicubic",
    "keras:img_size=256,mode=torch,reader=image_dataset",
    "keras:reader=image_dataset,interpolation=bicubic",
    "keras:reader=image_dataset,interpolation=nearest",
)


def pattern(height: int, width: int) -> Array:
    """A test image by a formula, so that golden values need no stored image: slopes, edges and wrap-arounds."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    values = x * (7 + 2 * c) + y * (13 - 3 * c) + (x * y) // 5 + (x // 8 ^ y // 8) * 31 * (c + 1)
    return (values % 256).astype(np.uint8)


def at_points(values: Array) -> Array:
    """Some of the values [S, S, 3]: at places drawn once for each S."""
    generator = np.random.default_rng(len(values))
    return values[tuple(generator.integers(0, size, POINTS) for size in values.shape)]


def digest(levels: Array) -> str:
    """A hash of uint8 levels [S, S, 3]."""
    return hashlib.sha256(np.ascontiguousarray(levels, np.uint8).tobytes()).hexdigest()[:16]


def golden(name: str) -> dict[str, Any]:
    """What the peer of a protocol gives for the images."""
    from mezzotint.data.protocols import get_protocol, settings_of
    from protocol_peers import PEERS

    protocol, peer, settings = get_protocol(name), PEERS[name.partition(":")[0]], settings_of(name)
    rows = []
    for height, width in SIZES:
        values = peer.call(pattern(height, width), settings)
        row = {"size": [height, width], "mean": round(float(values.mean(dtype=np.float64)), 6)}
        row["values"] = [float(f"{value:.7g}") for value in at_points(values).tolist()]
        if peer.exact or protocol.steps[0].rules().get("resampling") == "pillow":
            row["levels"] = digest(levels(values, protocol.normalisation))
        rows.append(row)
    return {"made_with": {package: metadata.version(package) for package in peer.packages}, "images": rows}


def levels(values: Array, normalisation: Any) -> Array:
    """The levels that a network's input was made from."""
    if normalisation is None:
        return np.rint(values * 255)
    values = (values * np.array(normalisation.std) + np.array(normalisation.mean)) / normalisation.white
    return np.rint(values * 255)[..., :: 1 if normalisation.channels == "RGB" else -1]


def main() -> None:
    """Write the golden values."""
    sys.path.insert(0, str(HERE.parents[2] / "bench"))
    text = json.dumps({name: golden(name) for name in PROTOCOLS}, separators=(",", ":"))
    (HERE / "peers.json").write_text(text.replace('{"size"', '\n{"size"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
