"""How do steps become a native program for inputs of one size? Step by step: shapes, memory, and what is to be done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.engine.abreast import Copies, pays
from mezzotint.deploy.engine.buffers import Part, Planes, distance
from mezzotint.deploy.engine.draft import Draft, Emitted, PlanesKey, Shape, Written, check_joined
from mezzotint.deploy.engine.joints import Home, homes_of, places
from mezzotint.deploy.engine.roles import Role
from mezzotint.deploy.engine.steps import EngineStep
from mezzotint.deploy.engine.weights import ConvWeights, of_conv, of_linear, side_by_side
from mezzotint.deploy.engine.windows import Tap, border_of, taps_of
from mezzotint.errors import ShapeError, message
from mezzotint.kernels.native_program import NativeProgram
from mezzotint.lowering.pooling import Window, window_of

_MINUS_INFINITY = -math.inf


@dataclass(frozen=True)
class Compiled:
    """A program.

    Attributes:
        program: the native one.
        steps: what they are.
        visits: how many images go through each of them before the next ones begin.
        outputs: their shapes without the batch.
    """

    program: NativeProgram
    steps: tuple[Emitted, ...]
    visits: tuple[int, ...]
    outputs: tuple[Shape, ...]

    @property
    def images(self) -> int:
        """That are done in a round."""
        return self.program.images


@dataclass(frozen=True)
class _Addend:
    """A convolution of one pixel that is added to another one, and what it reads."""

    weights: ConvWeights
    planes: Planes | Part

    def input_offsets(self, x: Planes | Part, channels: int) -> list[int]:
        """Where all channels lie that both read, in numbers from the first pixel of ``x``, which has so many."""
        first = distance(x, self.planes)
        own = [channel * x.stride for channel in range(channels)]
        return own + [first + channel * self.planes.stride for channel in range(self.weights.geometry.weight_shape[1])]


@dataclass(kw_only=True)
class _Compiler(Draft):
    steps: Sequence[EngineStep]
    modules: nn.Module
    outputs: dict[fx.Node, int]
    folded: dict[fx.Node, ConvWeights]

    def add(self, step: EngineStep) -> None:
        if step.role is Role.LINEAR:
            self.linear(step)
        elif step.role is Role.FLATTEN:
            self.flatten(step.source, step.result)
        elif step.role is Role.MAX_POOL:
            self.max_pool(step)
        elif step.role is Role.GLOBAL_AVERAGE:
            self.global_average(step)
        elif step.role is Role.MULTIPLY:
            self.multiply(step)
        elif step.role is Role.SPREAD:
            self.spread(step)
        elif step.role is Role.CONCAT:
            self.concat(step)
        else:
            self.conv(step)
        if step.result in self.outputs and step.role is not Role.LINEAR:
            self.leave(step.result)

    def conv(self, step: EngineStep) -> None:
        weights = self.weights(step)
        geometry = weights.geometry
        channels, height, width = self.image_shape(step.source)
        wanted = geometry.weight_shape[1] * geometry.groups
        if channels != wanted:
            raise ShapeError(message("input channels of a convolution", received=channels, allowed=str(wanted)))
        shape = (geometry.weight_shape[0], *geometry.output_size((height, width)))
        taps = taps_of(geometry.weight_shape[2:], geometry.stride, geometry.padding[::2], geometry.dilation)
        x = self.window(step.source, taps, geometry.stride, shape[1:], 0.0)
        residual = None if step.residual is None else self.phases(step.residual, (1, 1), 1, 0.0)
        beside = None if step.addend is None else self.addend(step.addend, x, shape)
        y = self.result_planes(step.result, shape)
        x.link(y)
        if beside is not None:
            beside.planes.link(y)
            weights = side_by_side(weights, beside.weights)
        if residual is not None:
            if self.shapes[step.residual or step.source] != shape:
                received = list(self.shapes[step.residual or step.source])
                raise ShapeError(message("residual", received=received, allowed=str(list(shape))))
            residual.link(y)
        copies = None
        if beside is None and geometry.weight_shape[1] > 1 and pays(taps, weights.values.numel(), channels):
            copies = self.shifted_copies((step.source, geometry.stride, 0.0), x, taps, channels)
        what = Emitted(_name(step), _conv_kernel(weights), weights.values.numel() * shape[1] * shape[2])
        reads = [one for one in (x, residual, None if beside is None else beside.planes) if one is not None]
        written = self.convs[step.result] = Written(len(self.drafts), y)

        def emit(program: NativeProgram) -> None:
            offsets = [tap.offset(x, channels) if copies is None else copies.offset(tap) for tap in taps]
            inputs = [] if beside is None else beside.input_offsets(x, channels)
            added = None if residual is None else residual.code()
            tail = (weights.bias.tolist(), step.activation.code)
            matrix = weights.values, weights.indices
            program.conv(x.code(), written.code(), added, *matrix, weights.geometry.code, (offsets, inputs), tail)

        self.draft(what, reads, [y], emit)

    def weights(self, step: EngineStep) -> ConvWeights:
        """Of a convolution; another draft of the same steps finds them folded."""
        if step.result not in self.folded:
            self.folded[step.result] = of_conv(step, self.modules, self.image_shape(step.source)[0])
        return self.folded[step.result]

    def addend(self, step: EngineStep, x: Planes | Part, shape: tuple[int, int, int]) -> _Addend:
        """A convolution of one pixel that is added to another one of ``x`` with a result of ``shape``."""
        channels, height, width = self.image_shape(step.source)
        weights = self.weights(step)
        geometry = weights.geometry
        found = (geometry.weight_shape[0], *geometry.output_size((height, width)))
        if channels != geometry.weight_shape[1] or found != shape:
            raise ShapeError(message("convolution that is added", received=list(found), allowed=str(list(shape))))
        taps = taps_of((1, 1), geometry.stride, (0, 0), (1, 1))
        planes = self.window(step.source, taps, geometry.stride, shape[1:], 0.0)
        self.match(x, planes)
        return _Addend(weights, planes)

    def shifted_copies(self, key: PlanesKey, x: Planes | Part, taps: Sequence[Tap], channels: int) -> Copies | None:
        """Copies of ``x`` for taps of a window, made by a step before it; None where images lie alone."""
        if self.abreast is None or self.abreast.get(key, 1) == 1 or isinstance(x, Part):
            return None
        copies = self.copies.setdefault(key, Copies(x, channels))
        new = copies.want(taps)
        if new:
            what = Emitted(f"{key[0].name}: columns beside", f"{len(new)} shifted copies")
            self.draft(what, [x], [x], lambda p: p.shift(x.code(copies=True), channels, copies.shifts(new)))
        return copies

    def window(
        self, source: fx.Node, taps: Sequence[Tap], stride: tuple[int, int], size: tuple[int, int], fill: float
    ) -> Planes | Part:
        """The planes that a window reads for an output of ``size``, with the border that it needs."""
        planes = self.phases(source, stride, max(tap.phase for tap in taps) + 1, fill)
        planes.widen(*border_of(taps, size, planes.height, planes.width))
        return planes

    def max_pool(self, step: EngineStep) -> None:
        if not isinstance(step.module, nn.MaxPool2d):
            raise TypeError("a max pooling without its module")
        window: Window = window_of(step.module)
        channels, height, width = self.image_shape(step.source)
        shape = (channels, *window.output_size((height, width)))
        whole = taps_of(window.kernel, (1, 1), window.padding, window.dilation)
        border = border_of(whole, shape[1:], height, width, window.stride)
        zeros = border == (0, 0) or self.is_never_negative(step.source)
        if window.stride == (2, 2) and zeros and step.source not in self.inputs:
            self.halved_max_pool(step, whole, border, shape)
            return
        taps = taps_of(window.kernel, window.stride, window.padding, window.dilation)
        x = self.window(step.source, taps, window.stride, shape[1:], 0.0 if zeros else _MINUS_INFINITY)
        y = self.result_planes(step.result, shape)
        x.link(y)
        self.draft(
            Emitted(_name(step), "maximum of taps"),
            [x],
            [y],
            lambda p: p.max(x.code(), y.code(), False, [tap.offset(x, channels) for tap in taps]),
        )

    def halved_max_pool(
        self, step: EngineStep, taps: Sequence[Tap], border: tuple[int, int], shape: tuple[int, int, int]
    ) -> None:
        """Read where the input lies: taking it apart would take as long as the maximum does."""
        x, y = self.phases(step.source, (1, 1), 1, 0.0), self.result_planes(step.result, shape)
        self.keep_apart(x, y)
        x.widen(*border)
        self.draft(
            Emitted(_name(step), "maximum of taps, every second pixel"),
            [x],
            [y],
            lambda p: p.max(x.code(), y.code(), True, [tap.offset(x, shape[0]) for tap in taps]),
        )

    def is_never_negative(self, node: fx.Node) -> bool:
        """Whether zeros beside the numbers of a value are never their maximum."""
        return any(step.result is node and step.activation.is_never_negative for step in self.steps)

    def multiply(self, step: EngineStep) -> None:
        (by,) = step.more
        shape, other = self.image_shape(step.source), self.image_shape(by)
        if other not in (shape, (shape[0], 1, 1)):
            allowed = f"{list(shape)} or {[shape[0], 1, 1]}"
            raise ShapeError(message("factor of a product", received=list(other), allowed=allowed))
        x, factor = self.phases(step.source, (1, 1), 1, 0.0), self.phases(by, (1, 1), 1, 0.0)
        y = self.result_planes(step.result, shape)
        x.link(y)
        if other == shape:
            factor.link(y)
        else:
            self.keep_apart(factor)
        self.draft(
            Emitted(_name(step), "number by number" if other == shape else "one number a channel"),
            [x, factor],
            [y],
            lambda p: p.multiply(x.code(), factor.code(), y.code(), step.activation.code),
        )

    def spread(self, step: EngineStep) -> None:
        (channels, height, width), (rows, columns) = self.image_shape(step.source), step.sizes
        x = self.phases(step.source, (1, 1), 1, 0.0)
        y = self.result_planes(step.result, (channels, height * rows, width * columns))
        self.keep_apart(x, y)
        what = Emitted(_name(step), f"each pixel {rows} x {columns} times")
        self.draft(what, [x], [y], lambda p: p.spread(x.code(), y.code(), step.sizes))

    def concat(self, step: EngineStep) -> None:
        """What has its place in the result is there already; the rest is copied."""
        shapes = [self.image_shape(node) for node in step.reads]
        y = self.result_planes(step.result, (sum(shape[0] for shape in shapes), *shapes[0][1:]))
        whole, begin = (y.whole, y.first) if isinstance(y, Part) else (y, 0)
        for (node, first), shape in zip(places(step, begin), shapes, strict=True):
            check_joined(shape[1:], shapes[0][1:])
            if self.homes.get(node) != Home(self.homes[step.result].joint, first):
                self.split(node, Part(whole, first, shape[0]), (1, 1), 0.0)

    def global_average(self, step: EngineStep) -> None:
        x = self.phases(step.source, (1, 1), 1, 0.0)
        channels = x.channels
        y = self.result_planes(step.result, (channels, 1, 1))
        self.keep_apart(y)
        self.draft(Emitted(_name(step), "average"), [x], [y], lambda p: p.average(x.code(), y.code()))
        if len(step.result.meta["shape"]) == 2:
            self.flatten(step.result, step.result)

    def flatten(self, source: fx.Node, result: fx.Node) -> None:
        size = math.prod(self.image_shape(source))
        x = self.phases(source, (1, 1), 1, 0.0)
        y = self.new_rows(result, size)
        self.draft(
            Emitted(f"{result.name}: rows", "flatten"), [x], [y], lambda p: p.flatten(x.code(), (y.code(), -1, size))
        )

    def linear(self, step: EngineStep) -> None:
        weight, bias = of_linear(step.nodes[0], self.modules)
        x = self.input_rows(step.source)
        if x.size != weight.shape[1]:
            raise ShapeError(message("features of a linear layer", received=x.size, allowed=str(weight.shape[1])))
        tail = (bias.tolist(), step.activation.code)
        size = weight.shape[0]
        self.shapes[step.result] = (size,)
        nonzeros = int(weight.count_nonzero())
        density = nonzeros / max(1, weight.numel())
        what = Emitted(_name(step), f"density {density:.3g}" if density < 1 else "rows times rows", nonzeros, True)
        if step.result in self.outputs:
            number = self.outputs[step.result]
            self.draft(what, [x], [], lambda p: p.product(x.code(), weight, tail, (None, number, size)))
        if any(step.result in (other.source, other.residual) for other in self.steps):
            y = self.new_rows(step.result, size)
            self.draft(what, [x], [y], lambda p: p.product(x.code(), weight, tail, (y.code(), -1, size)))

    def leave(self, node: fx.Node) -> None:
        """Write a result as an output of the program."""
        number, size = self.outputs[node], math.prod(self.shapes[node])
        x = self.planes.get((node, (1, 1), 0.0))
        source = node if x is not None else self._flattened_from(node)
        planes = self.planes[source, (1, 1), 0.0]
        what = Emitted(f"{node.name}: output", "flatten")
        self.draft(what, [planes], [], lambda p: p.flatten(planes.code(), (None, number, size)))

    def _flattened_from(self, node: fx.Node) -> fx.Node:
        return next(step.source for step in self.steps if step.result is node)


@dataclass(frozen=True)
class Source:
    """What is compiled.

    Attributes:
        steps: of the network, in their order.
        modules: that they name.
        inputs: nodes and their shapes without the batch.
        outputs: nodes whose tensors are wanted.
        dtype: of activations and weights between input and output: float32 or bfloat16.
    """

    steps: Sequence[EngineStep]
    modules: nn.Module
    inputs: Sequence[tuple[fx.Node, Shape]]
    outputs: Sequence[fx.Node]
    dtype: torch.dtype

    def draft(self, abreast: Mapping[PlanesKey, int] | None, folded: dict[fx.Node, ConvWeights]) -> _Compiler:
        """All steps; ``abreast`` as of :class:`Draft`, ``folded`` the weights that another draft has made."""
        made = _Compiler(
            steps=self.steps,
            modules=self.modules,
            item=self.dtype.itemsize,
            shapes=dict(self.inputs),
            inputs={node: at for at, (node, _) in enumerate(self.inputs)},
            outputs={node: at for at, node in enumerate(self.outputs)},
            homes=homes_of(self.steps),
            abreast=abreast,
            folded=folded,
        )
        for step in self.steps:
            made.add(step)
        return made

    def finish(self, draft: _Compiler, images: int) -> Compiled:
        """The program of a draft."""
        program, visits = draft.program(images)
        shapes = tuple(draft.shapes[node] for node in self.outputs)
        return Compiled(program, tuple(step.what for step in draft.drafts), tuple(visits), shapes)


def compile_steps(source: Source, images: int) -> Compiled:
    """A program for the steps, of any batch.

    Args:
        source: the steps.
        images: that are done at once; a larger batch is done in rounds.

    Raises:
        ShapeError: the input does not fit the network.
    """
    return source.finish(source.draft(None, {}), images)


def compile_abreast(source: Source) -> Compiled | None:
    """A program for batches, in which small images lie side by side; None where none do."""
    folded: dict[fx.Node, ConvWeights] = {}
    found = source.draft({}, folded).lay_out()
    if max(found.values(), default=1) == 1:
        return None
    return source.finish(source.draft(found, folded), 1)


def _name(step: EngineStep) -> str:
    titles = [
        str(one.nodes[0].target) if one.nodes[0].op == "call_module" else one.nodes[0].name
        for one in (step.addend, step)
        if one is not None
    ]
    return f"{' and '.join(titles)}: {step.describe()}"


def _conv_kernel(weights: ConvWeights) -> str:
    return f"density {weights.density:.3g}" if weights.density < 1 else "dense"


def check_float32(x: Tensor) -> Tensor:
    """What a program takes: float32, contiguous."""
    return x.float().contiguous()
