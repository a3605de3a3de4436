"""What will a program be? Its steps, in order, and the planes and rows that they read and write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx

from mezzotint.deploy.engine.abreast import Copies, lay_abreast, visits_of
from mezzotint.deploy.engine.buffers import CELL, Buffer, Part, Planes, Rows, match, place, set_pitches
from mezzotint.deploy.engine.joints import Home
from mezzotint.errors import ShapeError, message
from mezzotint.kernels.native_program import NativeProgram, ResultCode

Shape = tuple[int, ...]
PlanesKey = tuple[fx.Node, tuple[int, int], float]
"""A value, the stride of the window that reads it, and what its border is."""


@dataclass(frozen=True)
class Emitted:
    """A native step: what it is for, in words, its kernel, and the multiply-adds of one image."""

    name: str
    kernel: str
    multiply_adds: int = 0
    is_linear: bool = False


@dataclass
class _Step:
    what: Emitted
    touched: Sequence[Buffer]
    emit: Callable[[NativeProgram], None]


@dataclass
class Written:
    """What the convolution of draft ``at`` writes: planes, and their phases for windows of stride 2."""

    at: int
    planes: Planes | Part
    phases: Planes | None = None

    @property
    def keeps(self) -> bool:
        """Whether anybody reads the planes themselves."""
        return self.phases is None or isinstance(self.planes, Part) or self.planes.dies > self.at

    @property
    def halved(self) -> list[tuple[Planes, Planes]]:
        """The planes with their phases, if there are any and the planes are no part of others."""
        return [(self.planes, self.phases)] if isinstance(self.planes, Planes) and self.phases is not None else []

    def code(self) -> ResultCode:
        """What the extension takes for it."""
        return self.planes.code(), self.keeps, None if self.phases is None else self.phases.code()


@dataclass(kw_only=True)
class Draft:
    """A program in the making: memory gets its place when all of its readers are known.

    Attributes:
        item: bytes of a number.
        shapes: of values, without the batch; those of the inputs first.
        inputs: the number of each.
        homes: where values lie that are joined with others.
        abreast: how many images lie side by side in the planes of which values, as an earlier draft found; None: they
            all lie alone.
    """

    item: int
    shapes: dict[fx.Node, Shape]
    inputs: dict[fx.Node, int]
    homes: dict[fx.Node, Home]
    abreast: Mapping[PlanesKey, int] | None = None
    drafts: list[_Step] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    planes: dict[PlanesKey, Planes | Part] = field(default_factory=dict)
    apart: list[Planes] = field(default_factory=list)
    matched: list[tuple[Planes, Planes]] = field(default_factory=list)
    copies: dict[PlanesKey, Copies] = field(default_factory=dict)
    joints: dict[fx.Node, Planes] = field(default_factory=dict)
    rows: dict[fx.Node, Rows] = field(default_factory=dict)
    convs: dict[fx.Node, Written] = field(default_factory=dict)

    def new_planes(self, channels: int, height: int, width: int) -> Planes:
        """Planes of no value yet."""
        made = Planes(self.item, channels=channels, height=height, width=width)
        self.buffers.append(made)
        return made

    def result_planes(self, node: fx.Node, shape: Shape) -> Planes | Part:
        """The planes that a step writes for ``node``."""
        channels, height, width = shape
        self.shapes[node] = shape
        home = self.homes.get(node)
        made: Planes | Part
        if home is None:
            made = self.new_planes(channels, height, width)
        else:
            whole = self.joints.get(home.joint)
            if whole is None:
                whole = self.joints[home.joint] = self.new_planes(home.joint.meta["shape"][1], height, width)
            check_joined((height, width), (whole.height, whole.width))
            made = Part(whole, home.first, channels)
        self.planes[node, (1, 1), 0.0] = made
        return made

    def phases(self, node: fx.Node, stride: tuple[int, int], count: int, fill: float) -> Planes | Part:
        """The planes of a value, taken apart where a stride or another border than zeros asks for it."""
        key = (node, stride, fill)
        channels, height, width = self.image_shape(node)
        found = self.planes.get(key)
        if found is None:
            found = self.new_planes(count * channels, -(-height // stride[0]), -(-width // stride[1]))
            self.planes[key] = found
            written = self.convs.get(node)
            if written is not None and stride == (2, 2) and fill == 0.0:
                written.phases = found
                found.use(written.at)
            else:
                self.split(node, found, stride, fill)
        if isinstance(found, Planes):
            # Only phases that are read are stored; those who ask first do not know of later readers.
            found.channels = max(found.channels, count * channels)
        return found

    def split(self, node: fx.Node, to: Planes | Part, stride: tuple[int, int], fill: float) -> None:
        """A step that copies a value, phase by phase."""
        name = f"{node.name}: {'phases' if stride != (1, 1) else 'planes'}"
        self.keep_apart(to)
        if node in self.inputs:
            number, shape = self.inputs[node], self.image_shape(node)
            self.draft(
                Emitted(name, "split"), [], [to], lambda p: p.split_input(number, shape, stride, to.code(), fill)
            )
        else:
            source = self.planes[node, (1, 1), 0.0]
            self.keep_apart(source)
            self.draft(
                Emitted(name, "split"), [source], [to], lambda p: p.split(source.code(), stride, to.code(), fill)
            )

    def match(self, one: Planes | Part, two: Planes | Part) -> None:
        """Let a step read both by offsets from one of them."""
        whole = [planes.whole if isinstance(planes, Part) else planes for planes in (one, two)]
        if whole[0] is not whole[1]:
            self.matched.append((whole[0], whole[1]))

    def keep_apart(self, *planes: Planes | Part) -> None:
        """Never lay images abreast there."""
        self.apart += [one.root() for one in planes]

    def draft(
        self,
        what: Emitted,
        reads: Sequence[Buffer | Part],
        writes: Sequence[Buffer | Part],
        emit: Callable[[NativeProgram], None],
    ) -> None:
        """Note a step."""
        for buffer in (*reads, *writes):
            buffer.use(len(self.drafts))
        touched = [one.whole if isinstance(one, Part) else one for one in (*reads, *writes)]
        self.drafts.append(_Step(what, touched, emit))

    def image_shape(self, node: fx.Node) -> tuple[int, int, int]:
        """Channels, height and width of a value."""
        shape = self.shapes[node]
        if len(shape) != 3:
            raise ShapeError(message(f"input of {node.name}", received=list(shape), allowed="[C, H, W] and a batch"))
        return shape[0], shape[1], shape[2]

    def new_rows(self, node: fx.Node, size: int) -> Rows:
        """The rows that a step writes for ``node``."""
        made = Rows(self.item, size=size)
        self.buffers.append(made)
        self.rows[node] = made
        self.shapes[node] = (size,)
        return made

    def input_rows(self, node: fx.Node) -> Rows:
        """The rows of a value, copied if it is an input."""
        found = self.rows.get(node)
        if found is None:
            number, (size,) = self.inputs[node], self.shapes[node]
            made = found = self.new_rows(node, size)
            self.draft(Emitted(f"{node.name}: rows", "rows"), [], [made], lambda p: p.rows(number, size, made.code()))
        return found

    def lay_out(self) -> dict[PlanesKey, int]:
        """Give all planes their geometry; how many images lie abreast in those of each value."""
        planes = [buffer for buffer in self.buffers if isinstance(buffer, Planes)]
        set_pitches(planes, [pair for written in self.convs.values() for pair in written.halved])
        if self.abreast is not None:
            halved = [(one.planes.root(), one.phases) for one in self.convs.values() if one.phases is not None]
            lay_abreast(planes, halved, self.apart)
        return {key: found.root().abreast for key, found in self.planes.items()}

    def program(self, images: int) -> tuple[NativeProgram, list[int]]:
        """The native program, for so many images at once; as many as lie abreast, where some do. The steps' visits."""
        self.lay_out()
        visits = [images] * len(self.drafts)
        if self.abreast is not None:
            visits = visits_of([draft.touched for draft in self.drafts])
            images = visits[-1]
        for one in self.buffers:
            one.room = visits[one.dies]
        match(self.matched)
        for one in self.buffers:
            if visits[one.born] < one.room:
                one.born = 0  # while the next images are on their way, too
        passing = {written.planes for written in self.convs.values() if not written.keeps}
        arena = place([buffer for buffer in self.buffers if buffer not in passing])
        lead = max((one.lead for one in self.buffers if isinstance(one, Planes)), default=0)
        made = NativeProgram(
            torch.bfloat16 if self.item == 2 else torch.float32, arena, lead * self.item + 16 * CELL, images
        )
        for draft, visit in zip(self.drafts, visits, strict=True):
            made.set_visit(visit)
            draft.emit(made)
        return made, visits


def check_joined(size: Shape, wanted: Shape) -> None:
    """Height and width of what is joined channel by channel."""
    if size != wanted:
        raise ShapeError(message("image that is joined with others", received=list(size), allowed=str(list(wanted))))
