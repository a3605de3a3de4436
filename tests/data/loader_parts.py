"""What do tests of the loader feed it with? Sources and transforms that another process can import, and digests."""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mezzotint.data import Batch, Key, build_transform
from mezzotint.errors import ImageError

CROP = build_transform([{"name": "random_resized_crop", "size": 16}, {"name": "horizontal_flip"}])


class Drawn:
    """Images of one size that are functions of their index; those in ``broken`` cannot be read."""

    classes = tuple("abcde")

    def __init__(self, count: int, broken: frozenset[int] = frozenset(), size: int = 12) -> None:
        self.count, self.broken, self.size = count, broken, size

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Tensor, int]:
        if index in self.broken:
            raise ImageError(f"{self.name(index)}: it is damaged")
        values = np.random.default_rng(index).integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        return torch.from_numpy(values), index % 5

    def name(self, index: int) -> str:
        return f"drawn-{index}"

    def describe(self) -> str:
        return f"{self.count} drawn images"


class Odd(Exception):
    """Cannot be made again from its arguments, so it cannot be pickled."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} {number}")


def threads_of_torch(image: Tensor, key: Key) -> Tensor:
    """Every pixel is the number of threads that PyTorch uses."""
    return torch.full((1, 2, 2), torch.get_num_threads(), dtype=torch.uint8)


def divides_by_zero(image: Tensor, key: Key) -> Tensor:
    raise ZeroDivisionError("in the user's own transform")


def leaves(image: Tensor, key: Key) -> Tensor:
    raise SystemExit(3)


def raises_odd(image: Tensor, key: Key) -> Tensor:
    raise Odd(7, "strange things")


def kills_itself(image: Tensor, key: Key) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return image


def write_folder(path: Path, count: int = 40, damaged: tuple[int, ...] = ()) -> Path:
    """PNG files of different sizes in two classes; the damaged ones, by their place in the source, are cut short."""
    generator = np.random.default_rng(0)
    names = sorted(f"{'ab'[number % 2]}/{number:03d}.png" for number in range(count))
    for place, name in enumerate(names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        size = (int(generator.integers(20, 60)), int(generator.integers(20, 60)), 3)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(file)
        if place in damaged:
            file.write_bytes(file.read_bytes()[:200])
    return path


def digest(batch: Batch) -> str:
    """SHA-256 of all bits of a batch."""
    content = sha256()
    for tensor in (batch.images, batch.labels, batch.indices):
        content.update(str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    return content.hexdigest()


def by_sample(batches: list[Batch]) -> dict[int, bytes]:
    """Index -> the bytes of the image and its label."""
    rows = (row for batch in batches for row in zip(batch.indices, batch.images, batch.labels, strict=True))
    return {int(index): image.numpy().tobytes() + bytes([int(label)]) for index, image, label in rows}
