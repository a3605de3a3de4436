"""How far is each protocol from the library that it is named after? On photographs, in levels of 255.

    pip install tensorflow-cpu keras timm torchvision opencv-python-headless     (each of them may be absent)
    python bench/protocols.py [FOLDER] [--images 100]

Both get the same decoded pixels, and each does all the rest; differences are those of the network's input, told in
levels before normalisation. Peers that are not installed are listed as absent.
"""

from __future__ import annotations

import argparse
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import mezzotint as mz
from images import load_torchvision
from mezzotint.bench.machine import write_result
from mezzotint.data.protocols import Protocol, get_protocol, settings_of
from protocol_peers import PEERS, Array, Peer

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MEZZOTINT_SHARED_DATA", ROOT.parent / "shared" / "data"))
# timm comes before TensorFlow: it loads Triton, whose LLVM does not start in a process that has TensorFlow's already.
PROTOCOLS = (
    "squash256",
    "central875",
    "torchvision",
    "torchvision:resize_size=232",
    "timm",
    "timm:crop_pct=0.95,crop_mode=squash,interpolation=bilinear",
    "timm:crop_pct=1.0,crop_mode=border",
    "squash256-tf",
    "central875-tf",
    "inception",
    "efficientnet-tf",
    "efficientnet-tf:img_size=300",
    "ffcv",
    "ffcv:img_size=448,ratio=1.0",
    "keras",
    "keras:mode=tf,interpolation=bilinear",
    "keras:mode=torch,reader=image_dataset",
)


def compared(name: str, images: list[torch.Tensor]) -> dict[str, Any]:
    """The greatest and the mean difference of a protocol and its peer, and how many values differ at all."""
    protocol, peer = get_protocol(name), PEERS[name.partition(":")[0]]
    row: dict[str, Any] = {"protocol": name, "fingerprint": protocol.fingerprint(), "peer": installed(peer)}
    if row["peer"] is None:
        return {**row, "peer": f"absent: {', '.join(peer.packages)}"}
    settings, greatest, total, differing, count = settings_of(name), 0.0, 0.0, 0, 0
    for image in images:
        made = mz.preprocess(image, protocol, normalise=protocol.normalisation is not None).numpy()
        apart = np.abs(made.astype(np.float64) - peer.call(image.numpy(), settings)) * levels_of_one(protocol)
        greatest, total = max(greatest, float(apart.max())), total + float(apart.sum())
        differing, count = differing + int((apart > 1e-3).sum()), count + apart.size
    return {**row, "maximum": greatest, "mean": total / count, "differing": differing / count}


def installed(peer: Peer) -> str | None:
    """The peer's packages with their versions; None where one of them is absent."""
    try:
        versions = [f"{package} {metadata.version(package)}" for package in peer.packages]
    except metadata.PackageNotFoundError:
        return None
    return ", ".join(versions)


def levels_of_one(protocol: Protocol) -> Array:
    """How many levels of 255 a difference of one in the network's input stands for, channel by channel."""
    stated = protocol.normalisation
    return np.full(3, 255.0) if stated is None else 255 * np.array(stated.std) / stated.white


def main() -> None:
    """Compare all protocols, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "imagenet_samples")
    parser.add_argument("--images", type=int, default=100, help="how many, spread over the folder (default: 100)")
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    files = files[:: max(1, len(files) // arguments.images)][: arguments.images]
    images = [mz.read_image(file) for file in files]
    load_torchvision()  # also beside a PyTorch for CPUs, where its own operators do not load
    table = Table("protocol", "peer", "maximum", "mean", "differing", title=f"levels of 255, {len(images)} photographs")
    rows = []
    for name in PROTOCOLS:
        row = compared(name, images)
        rows.append(row)
        numbers = (row.get(key) for key in ("maximum", "mean", "differing"))
        table.add_row(name, row["peer"], *("" if number is None else f"{number:.3g}" for number in numbers))
    Console().print(table)
    result = write_result(ROOT / "bench" / "results" / "protocols.json", {"images": len(images), "rows": rows})
    Console().print(f"wrote {result}")


if __name__ == "__main__":
    main()
