"""Where in one arena do activations lie? Geometry of planes and rows, and offsets by lifetime.

Planes are described in ``csrc/core/planes.hpp``. Tensors that a convolution of stride 1, a residual or a pooling links
share the distance between rows, so that a tap is one offset for all pixels; tensors that are not alive at once share
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Bytes of a cell, a cache line.
CELL = 64


@dataclass(eq=False)
class Buffer:
    """Memory that step ``born`` writes and step ``dies`` reads last.

    Found at the end: its ``offset`` in bytes, and for how many images there is ``room``.
    """

    item: int
    born: int = -1
    dies: int = -1
    offset: int = 0
    room: int = 1

    def use(self, step: int) -> None:
        """Note that a step reads or writes it."""
        self.born = step if self.born < 0 else self.born
        self.dies = max(self.dies, step)

    @property
    def lanes(self) -> int:
        """Numbers in a cell."""
        return CELL // self.item

    @property
    def image_bytes(self) -> int:
        """Of one image, or of all that lie abreast."""
        raise NotImplementedError

    @property
    def all_bytes(self) -> int:
        """Of all images that there is room for."""
        return self.image_bytes * self.room


@dataclass(eq=False)
class Rows(Buffer):
    """Numbers of an image side by side, filled up to whole cells."""

    size: int = 0

    @property
    def cells(self) -> int:
        """Cells of an image."""
        return max(1, -(-self.size // self.lanes))

    @property
    def image_bytes(self) -> int:
        return self.cells * CELL

    def code(self) -> tuple[int, int, int]:
        """What the extension takes for it."""
        return self.offset, self.cells, self.room


@dataclass(eq=False)
class Planes(Buffer):
    """Channels of an image, or of several images abreast: see ``csrc/core/planes.hpp``.

    Attributes:
        channels, height, width: of what is stored of one image; ``channels`` counts all phases.
        copied: channels of copies behind them, see :mod:`mezzotint.deploy.engine.abreast`.
        least_bytes: of an image, or of those abreast: so that other planes lie equally far from these for each image.
        border: rows above or below, and columns left or right, that readers want to be there.
        linked: one of the planes whose pitch, and images abreast, are the same, as in a union-find forest.
    """

    channels: int = 0
    height: int = 0
    width: int = 0
    copied: int = 0
    least_bytes: int = 0
    border: tuple[int, int] = (0, 0)
    linked: Planes | None = None
    pitch: int = field(default=0, repr=False)
    abreast: int = field(default=1, repr=False)

    def root(self) -> Planes:
        """Who stands for all linked planes."""
        return self if self.linked is None else self.linked.root()

    def link(self, other: Planes | Part) -> None:
        """Give both the same pitch."""
        one, two = self.root(), other.root()
        if one is not two:
            one.linked = two

    def widen(self, rows: int, columns: int) -> None:
        """Ask for a border."""
        self.border = (max(self.border[0], rows), max(self.border[1], columns))

    @property
    def lead(self) -> int:
        """Zeros before the first row, in numbers."""
        wanted = self.border[0] * self.pitch + self.border[1]
        return -(-wanted // self.lanes) * self.lanes

    @property
    def cells(self) -> int:
        """Cells of a channel's rows."""
        return -(-self.height * self.pitch // self.lanes)

    @property
    def stride(self) -> int:
        """Numbers from channel to channel: an odd number of cells, so that channels do not share cache sets."""
        cells = self.lead // self.lanes + self.cells
        return (cells | 1) * self.lanes

    @property
    def image_bytes(self) -> int:
        return max(self.least_bytes, ((self.channels + self.copied) * self.stride + self.lead) * self.item)

    @property
    def all_bytes(self) -> int:
        return self.image_bytes * self.room // self.abreast

    def code(self, copies: bool = False) -> tuple[int, ...]:
        """What the extension takes for it, with copies as channels or without."""
        channels = self.channels + (self.copied if copies else 0)
        sizes = (channels, self.height, self.width, self.pitch, self.lead, self.stride)
        return (self.offset, self.image_bytes, *sizes, self.abreast, self.room)


@dataclass(eq=False)
class Part:
    """Channels ``first`` and following of other planes, which have their place there from the beginning."""

    whole: Planes
    first: int
    channels: int

    @property
    def height(self) -> int:
        """Of the whole."""
        return self.whole.height

    @property
    def width(self) -> int:
        """Of the whole."""
        return self.whole.width

    @property
    def pitch(self) -> int:
        """Of the whole."""
        return self.whole.pitch

    @property
    def stride(self) -> int:
        """Of the whole."""
        return self.whole.stride

    @property
    def lead(self) -> int:
        """Of the whole."""
        return self.whole.lead

    def use(self, step: int) -> None:
        """Note that a step reads or writes it."""
        self.whole.use(step)

    def root(self) -> Planes:
        """Who stands for all linked planes."""
        return self.whole.root()

    def link(self, other: Planes | Part) -> None:
        """Give both the same pitch."""
        self.whole.link(other)

    def widen(self, rows: int, columns: int) -> None:
        """Ask for a border."""
        self.whole.widen(rows, columns)

    def code(self) -> tuple[int, ...]:
        """What the extension takes for it."""
        offset, image_bytes, _, *sizes = self.whole.code()
        return (offset + self.first * self.stride * self.whole.item, image_bytes, self.channels, *sizes)


def set_pitches(planes: Sequence[Planes], halved: Sequence[tuple[Planes, Planes]] = ()) -> None:
    """The least pitch that holds the rows and borders of all linked planes.

    Args:
        planes: all of them.
        halved: planes and their phases for windows of stride 2. Two rows of phases are not longer than a row of theirs,
            so that who writes a row to them writes the borders as well.
    """
    widest: dict[Planes, int] = {}
    for one in planes:
        root = one.root()
        widest[root] = max(widest.get(root, 0), one.width + one.border[1])
    # Phases of phases: each pass settles one more of a chain.
    for _ in halved:
        for one, phases in halved:
            widest[one.root()] = max(widest[one.root()], 2 * widest[phases.root()])
    for one in planes:
        one.pitch = widest[one.root()]


def match(pairs: Sequence[tuple[Planes, Planes]]) -> None:
    """Give both of each pair as many bytes an image, and room for as many images."""
    for _ in pairs:  # one may be of several pairs
        for one, two in pairs:
            one.least_bytes = two.least_bytes = max(one.image_bytes, two.image_bytes)
            one.room = two.room = max(one.room, two.room)


def distance(one: Planes | Part, two: Planes | Part) -> int:
    """Numbers from the first pixel of ``one`` to that of ``two``, which are placed and a pair of :func:`match`."""
    item = (one.whole if isinstance(one, Part) else one).item
    return (two.code()[0] - one.code()[0]) // item + two.lead - one.lead


def place(buffers: Sequence[Buffer]) -> int:
    """Offsets of all images, the largest buffers first, each at the lowest place that is free; bytes in all."""
    placed: list[tuple[int, int, Buffer]] = []
    for one in sorted(buffers, key=lambda buffer: -buffer.all_bytes):
        size = one.all_bytes
        alive = sorted((at, end) for at, end, other in placed if other.born <= one.dies and one.born <= other.dies)
        one.offset = 0
        for at, end in alive:
            if one.offset + size <= at:
                break
            one.offset = max(one.offset, end)
        placed.append((one.offset, one.offset + size, one))
    return max((end for _, end, _ in placed), default=0)
