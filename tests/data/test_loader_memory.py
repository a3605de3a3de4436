"""Does a loader hold as much after many epochs as after a few?"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from loader_parts import write_folder

from mezzotint.data import Loader, build_transform, open_source

BATCHES = 12


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("threads", [0, 2])
def test_neither_objects_nor_bytes_grow(threads: int, tmp_path: Path) -> None:
    """An epoch is 58 MB of pixels; what three of them would leave behind could not be missed."""
    source = open_source(write_folder(tmp_path, 8 * BATCHES, damaged=(3, 77)))
    resize = build_transform([{"name": "random_resized_crop", "size": 224}])
    loader = Loader(source, resize, batch_size=8, threads=threads, on_error="quarantine", max_bad=0.1)
    objects, held = [], []
    for _ in range(5):
        assert sum(len(batch) for batch in loader) == 8 * BATCHES
        gc.collect()
        objects.append(len(gc.get_objects()))
        held.append(resident())
    assert objects[4] - objects[1] < 100
    assert held[4] - held[1] < 64 << 20
    assert len(loader.quarantine) == 2
