"""Does the loader's memory grow? Resident bytes after each of 20 epochs over 10,000 small JPEG files in a tar.

One of a thousand files is damaged, so that the quarantine is at work too. Beside this process' resident set its Python
objects are counted, and with ``--processes`` the workers' resident sets are added up.

    python bench/loader_memory.py [--images 10000] [--epochs 20] [--threads 2 | --processes 2]
"""

from __future__ import annotations

import argparse
import gc
import io
import multiprocessing
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from mezzotint.bench.machine import write_result
from mezzotint.data import Loader, build_transform, open_source

RESULTS = Path(__file__).parent / "results"
CLASSES = 10


def write_tar(path: Path, images: int) -> Path:
    """``class/number.jpg``, 96 x 72 pixels of smooth noise; every thousandth is cut short."""
    generator = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for number in range(images):
            coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            file = io.BytesIO()
            coarse.resize((96, 72), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            content = file.getvalue()[: 300 if number % 1000 == 500 else None]
            member = tarfile.TarInfo(f"{number % CLASSES}/{number:05d}.jpg")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def resident(pid: int) -> int:
    """Bytes of a process that lie in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(loader: Loader, epochs: int) -> list[dict[str, Any]]:
    """One row an epoch."""
    rows = []
    for epoch in track(range(epochs), "epochs"):
        images = sum(len(batch) for batch in loader)
        gc.collect()
        workers = multiprocessing.active_children()
        rows.append(
            {
                "epoch": epoch,
                "images": images,
                "resident_bytes": resident(os.getpid()),
                "worker_bytes": sum(resident(worker.pid) for worker in workers if worker.pid),
                "objects": len(gc.get_objects()),
                "quarantined": len(loader.quarantine),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument("--threads", type=int, default=2)
    workers.add_argument("--processes", type=int, default=0)
    options = parser.parse_args()
    threads = 0 if options.processes else options.threads
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(write_tar(Path(folder) / "images.tar", options.images), "all")
        transform = build_transform([{"name": "random_resized_crop", "size": 64}, {"name": "horizontal_flip"}])
        loader = Loader(
            source,
            transform,
            batch_size=128,
            threads=threads,
            processes=options.processes,
            on_error="quarantine",
        )
        rows = measure(loader, options.epochs)
        loader.close()
    # The first epoch fills the allocator's pools and the caches of imported modules.
    growth = rows[-1]["resident_bytes"] - rows[1]["resident_bytes"]
    content = {"threads": threads, "processes": options.processes, "growth_bytes": growth, "epochs": rows}
    path = write_result(RESULTS / "loader_memory.json", content)
    Console().print(f"{growth / 1e6:+.1f} MB from the second to the last epoch; written to {path}")


if __name__ == "__main__":
    main()
