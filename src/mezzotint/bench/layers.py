"""Which convolutions does a network have, how often, and how much work and traffic is each?"""

from __future__ import annotations

from typing import Final, NamedTuple

from mezzotint.kernels.native_layout import ConvGeometry


class Layer(NamedTuple):
    """Square convolutions of one shape; padding is half the kernel."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    size: int
    """Side of the input image."""
    times: int
    """How often the network has it."""

    @property
    def label(self) -> str:
        """For tables and plots."""
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{self.inputs}→{self.outputs} {self.kernel}×{self.kernel}{stride} @{self.size}"

    @property
    def geometry(self) -> ConvGeometry:
        """What the native kernels take for it."""
        shape = (self.outputs, self.inputs, self.kernel, self.kernel)
        return ConvGeometry(shape, (self.stride, self.stride), (self.kernel // 2,) * 4)

    @property
    def output_size(self) -> tuple[int, int]:
        """(H, W) of the output."""
        return self.geometry.output_size((self.size, self.size))

    def flop(self, nnz: int, batch: int) -> int:
        """A multiplication and an addition for each nonzero and output pixel; the same in every direction."""
        height, width = self.output_size
        return 2 * nnz * batch * height * width

    def bytes(self, batch: int) -> int:
        """Least traffic of main memory: input and output once, in 16 bits; the same in every direction."""
        height, width = self.output_size
        return 2 * batch * (self.inputs * self.size**2 + self.outputs * height * width)


class Network(NamedTuple):
    """The layers of a network without its stem, and the usual batch size."""

    batch: int
    layers: tuple[Layer, ...]


def _network(batch: int, *rows: tuple[int, int, int, int, int, int]) -> Network:
    return Network(batch, tuple(Layer(*row) for row in rows))


LAYERS: Final[dict[str, Network]] = {
    "resnet50": _network(
        32,
        *((64, 64, 1, 1, 56, 1), (256, 64, 1, 1, 56, 2), (64, 64, 3, 1, 56, 3), (64, 256, 1, 1, 56, 4)),
        *((256, 128, 1, 1, 56, 1), (128, 128, 3, 2, 56, 1), (128, 512, 1, 1, 28, 4), (256, 512, 1, 2, 56, 1)),
        *((512, 128, 1, 1, 28, 3), (128, 128, 3, 1, 28, 3), (512, 256, 1, 1, 28, 1), (256, 256, 3, 2, 28, 1)),
        *((256, 1024, 1, 1, 14, 6), (512, 1024, 1, 2, 28, 1), (1024, 256, 1, 1, 14, 5), (256, 256, 3, 1, 14, 5)),
        *((1024, 512, 1, 1, 14, 1), (512, 512, 3, 2, 14, 1), (512, 2048, 1, 1, 7, 3), (1024, 2048, 1, 2, 14, 1)),
        *((2048, 512, 1, 1, 7, 2), (512, 512, 3, 1, 7, 2)),
    ),
    "wrn_28_2": _network(
        128,
        *((16, 32, 3, 1, 32, 1), (16, 32, 1, 1, 32, 1), (32, 32, 3, 1, 32, 7), (32, 64, 3, 2, 32, 1)),
        *((32, 64, 1, 2, 32, 1), (64, 64, 3, 1, 16, 7), (64, 128, 3, 2, 16, 1), (64, 128, 1, 2, 16, 1)),
        (128, 128, 3, 1, 8, 7),
    ),
}
"""Name -> every convolution but the stem."""
