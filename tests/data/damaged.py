"""What does a seeded mutator make of good image files? Two hundred damaged and odd ones, and a child that reads them.

Run as a script it reads every file of a folder and writes what became of it as JSON; the test gives it a time limit, so
that a crash or a hang of a decoder is a failure and not the end of the tests.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

EXTENSIONS = (".jpg", ".png", ".gif", ".bmp", ".webp", ".tif")
Mutation = Callable[[bytes, Random], bytes]


def good_files(shared: Path | None) -> list[bytes]:
    """Small images of all formats, and two photographs where the shared data is there."""
    values = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    smooth = Image.fromarray(values).resize((60, 44), Image.Resampling.BICUBIC)

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        file = BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    files = [
        saved(smooth, "JPEG", quality=90),
        saved(smooth.convert("L"), "JPEG", progressive=True),
        saved(smooth.convert("CMYK"), "JPEG"),
        saved(smooth, "PNG"),
        saved(smooth.quantize(60), "PNG"),
        saved(smooth.convert("L").convert("I;16"), "PNG"),
        saved(smooth.quantize(60), "GIF"),
        saved(smooth, "BMP"),
        saved(smooth, "WEBP", quality=80),
        saved(smooth, "WEBP", lossless=True),
        saved(smooth, "TIFF"),
        saved(smooth, "TIFF", compression="tiff_lzw"),
    ]
    if shared is not None:
        files += [path.read_bytes() for path in sorted((shared / "imagenet_samples").iterdir())[:2]]
    return files


def cut(data: bytes, draw: Random) -> bytes:
    return data[: draw.randrange(len(data))]


def flipped(data: bytes, draw: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 3, 30))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def flipped_header(data: bytes, draw: Random) -> bytes:
    return flipped(data[:120], draw) + data[120:]


def zeroed(data: bytes, draw: Random) -> bytes:
    start = draw.randrange(len(data))
    length = draw.randrange(1, 600)
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def empty(data: bytes, draw: Random) -> bytes:
    return bytes(draw.choice((0, 0, 1, 4096)))


def without_a_part(data: bytes, draw: Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randrange(1, 200) :]


def junk_before(data: bytes, draw: Random) -> bytes:
    return draw.randbytes(draw.choice((1, 2, 50))) + data


def junk_after(data: bytes, draw: Random) -> bytes:
    return data + draw.randbytes(draw.choice((1, 5000)))


def twice(data: bytes, draw: Random) -> bytes:
    return data + data


def text(data: bytes, draw: Random) -> bytes:
    return (
        b"<!DOCTYPE html><title>404</title>" if draw.random() < 0.5 else b"version https://git-lfs.github.com/spec/v1\n"
    )


def huge(data: bytes, draw: Random) -> bytes:
    """The file declares up to 65,000 pixels a side, mostly more than are allowed in all; its checksums are right."""
    wide, high = draw.choice(((65_000, 65_000), (9_500, 9_500), (16_000, 16_000), (3_000, 1_000)))
    if data[:4] == b"\x89PNG":
        header = b"IHDR" + struct.pack(">II", wide, high) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    if data[:3] == b"GIF":
        return data[:6] + struct.pack("<HH", wide, high) + data[10:]
    if data[:2] == b"BM":
        return data[:18] + struct.pack("<ii", wide, high) + data[26:]
    if data[:2] == b"\xff\xd8":
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            place = data.find(marker)
            if place > 0:
                return data[: place + 5] + struct.pack(">HH", high, wide) + data[place + 9 :]
    return flipped_header(data, draw)


MUTATIONS: tuple[Mutation, ...] = (
    *(cut, flipped, flipped, flipped_header, zeroed, empty, without_a_part),
    *(junk_before, junk_after, twice, text, huge),
)


def write_damaged(folder: Path, count: int, shared: Path | None, seed: int = 7) -> None:
    """``folder/{a,b}/NNN-mutation.ext``: any extension, whatever the content; every 25th file is left whole."""
    draw, files = Random(seed), good_files(shared)
    for number in range(count):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        data = files[draw.randrange(len(files))]
        whole = number % 25 == 0
        name = f"{number:03d}-{'whole' if whole else mutation.__name__}{draw.choice(EXTENSIONS)}"
        place = folder / "ab"[number % 2] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if whole else mutation(data, draw))


def main(folder: Path, threads: int) -> None:
    """Read every file alone, then all through a loader with quarantine for two epochs; print what became of them."""
    from loader_parts import CROP, by_sample

    from mezzotint.data import Loader, open_source, read_image
    from mezzotint.errors import ImageError

    read: dict[str, list[int] | str] = {}
    for path in sorted(folder.rglob("*.*")):
        try:
            image = read_image(path)
            assert image.dtype == torch.uint8
            read[str(path.relative_to(folder))] = list(image.shape)
        except ImageError as error:
            read[str(path.relative_to(folder))] = str(error)
    source = open_source(folder)
    loader = Loader(source, CROP, batch_size=16, threads=threads, on_error="quarantine", max_bad=1)
    epochs = [list(loader) for _ in range(2)]
    seen = [sorted(int(index) for batch in epoch for index in batch.indices) for epoch in epochs]
    alone = {
        index: loader._maker.normalised(1, index)[0].numpy().tobytes() + bytes([int(source.labels[index])])
        for index in range(len(source))
        if index not in loader.quarantine
    }
    result = {
        "read": read,
        "names": [source.name(index) for index in range(len(source))],
        "seen": seen,
        "report": loader.quarantine.records(),
        "equal": {index: pixels for index, pixels in by_sample(epochs[1]).items() if index in alone} == alone,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
