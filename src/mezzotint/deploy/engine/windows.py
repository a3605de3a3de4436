"""Which numbers does a window read? Taps, relative to the output's pixel, in the planes of the input's phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mezzotint.deploy.engine.buffers import Part, Planes


@dataclass(frozen=True)
class Tap:
    """A tap of a window: its phase, and rows and columns from the output's pixel within that phase."""

    phase: int
    row: int
    column: int

    def offset(self, planes: Planes | Part, channels: int) -> int:
        """Numbers from the output's pixel, where ``planes`` hold so many channels a phase."""
        return self.phase * channels * planes.stride + self.row * planes.pitch + self.column


def taps_of(
    kernel: tuple[int, ...], stride: tuple[int, int], before: tuple[int, ...], dilation: tuple[int, int]
) -> list[Tap]:
    """In row-major order; ``before``: padding at the top and at the left."""
    found = []
    for i in range(kernel[0]):
        row, above = divmod(i * dilation[0] - before[0], stride[0])
        for j in range(kernel[1]):
            column, left = divmod(j * dilation[1] - before[1], stride[1])
            found.append(Tap(above * stride[1] + left, row, column))
    return found


def border_of(
    taps: Sequence[Tap], size: tuple[int, int], height: int, width: int, stride: tuple[int, int] = (1, 1)
) -> tuple[int, int]:
    """Rows and columns that taps read beside an image.

    Args:
        taps: whose phases are all of the image's size.
        size: of the output, whose pixels are ``stride`` apart in the image.
        height, width: of the image.
        stride: 1 in the phases of a window's own stride.
    """
    rows, columns = [tap.row for tap in taps], [tap.column for tap in taps]
    below = (size[0] - 1) * stride[0] + max(rows) - (height - 1)
    right = (size[1] - 1) * stride[1] + max(columns) - (width - 1)
    return max(0, -min(rows), below), max(0, -min(columns), right)
