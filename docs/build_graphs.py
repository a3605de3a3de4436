"""How are the pictures of the guide to graphs made? By the library itself: writes docs/guide/graphs/*.svg."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.ops import Graph

TARGET = Path(__file__).parent / "guide" / "graphs"


class TwoBlocks(nn.Module):
    """The network of the guide: a stem, a residual block with a plain shortcut and one with a convolution in it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(Residual(16, 16), Residual(16, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return y


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


def two_blocks() -> Graph:
    """The graph of the guide's network, nine tenths of its weights absent."""
    torch.manual_seed(0)
    network = mz.sparsify(TwoBlocks(), density=0.1, exclude=("stem", "head"))
    return mz.ops.capture(network.eval(), torch.zeros(1, 3, 32, 32))


def resnet50() -> Graph:
    """ResNet-50 at density 0.1, of which the guide shows the blocks."""
    torch.manual_seed(0)
    network = mz.sparsify(mz.models.build("resnet50", num_classes=1000, image_size=224), density=0.1)
    return mz.ops.capture(network.eval(), torch.zeros(1, 3, 224, 224))


PICTURES: Final[dict[str, Callable[[], str]]] = {
    "two_blocks.svg": lambda: two_blocks().to_svg(),
    "resnet50_density.svg": lambda: resnet50().to_svg(depth=2, colour="density"),
}


def main() -> None:
    """Write all pictures."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, made in PICTURES.items():
        path = TARGET / name
        path.write_text(made(), encoding="utf-8")
        sys.stdout.write(f"wrote {path}, {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
