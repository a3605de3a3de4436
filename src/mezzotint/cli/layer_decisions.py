"""What does the launcher decide for a layer, in each direction? The layer is run once, and its decisions are read."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from mezzotint.cli.network import Opened
from mezzotint.kernels import launch
from mezzotint.kernels.table import KERNELS
from mezzotint.lowering.attach import NativeForward
from mezzotint.sparse.layer import SparseLayer

if TYPE_CHECKING:
    from collections.abc import Iterable

DIRECTIONS: Final = {"": "output", "_input_grad": "input gradient", "_weight_grad": "weight gradient"}
_OPERATORS: Final = ("sparse_conv2d", "sparse_linear")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kernel that could do it. ``cost`` in dense multiply-adds, ``milliseconds`` where it was timed."""

    name: str
    cost: float
    milliseconds: float | None


@dataclass(frozen=True, kw_only=True)
class DirectionAnswer:
    """One direction of a layer.

    Attributes:
        title: "output", "input gradient" or "weight gradient".
        op: the operator.
        kernel: the winner.
        source: "rule", "measured", "restored" or "forced".
        reason: the launcher's sentence.
        candidates: those that could do it, the best first; the oracle is not one of them.
        refusals: kernel -> why it could not take part.
        file: where a measurement is stored.
    """

    title: str
    op: str
    kernel: str
    source: str
    reason: str
    candidates: tuple[Candidate, ...]
    refusals: dict[str, str]
    file: str | None

    @property
    def margin(self) -> tuple[float, str] | None:
        """How many times as long, or as dear, the next best is, and its name."""
        others = [one for one in self.candidates if one.name != self.kernel]
        mine = next((one for one in self.candidates if one.name == self.kernel), None)
        if mine is None or not others:
            return None
        timed = [one for one in others if one.milliseconds is not None]
        if mine.milliseconds and timed:
            best = min(timed, key=lambda one: one.milliseconds or math.inf)
            return (best.milliseconds or 0.0) / mine.milliseconds, best.name
        return (others[0].cost / mine.cost, others[0].name) if mine.cost else None


@dataclass(frozen=True, kw_only=True)
class LayerAnswer:
    """Everything that is to be told of a layer.

    Attributes:
        network, name: where it is.
        kind: such as "3×3 convolution /2, 128 → 128 channels".
        nnz, numel: active weights, weights of its dense twin.
        input, output: shapes.
        dtype: of the activations.
        directions: those that were decided; a layer that reads the images has no input gradient.
        led: whether the network as a whole keeps its activations in the native layout at this batch.
        led_reason: why, in words; empty for a layer alone.
        step: what the layer is joined with there.
        bounds: densities between which these decisions hold.
        environment: the machine in words.
    """

    network: str
    name: str
    kind: str
    nnz: int
    numel: int
    input: tuple[int, ...]
    output: tuple[int, ...]
    dtype: str
    directions: tuple[DirectionAnswer, ...]
    led: bool
    led_reason: str
    step: str
    bounds: tuple[float, float]
    environment: str

    def record(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def input_shapes(opened: Opened, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Layer -> shape of what it reads when the network sees one image."""
    found: dict[str, tuple[int, ...]] = {}
    hooks = []
    for name in names:

        def note(module: torch.nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
            found.setdefault(name, tuple(inputs[0].shape))

        hooks.append(opened.model.get_submodule(name).register_forward_pre_hook(note))
    try:
        with torch.no_grad():
            type(opened.model).forward(opened.model, opened.example(1))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def answer(opened: Opened, name: str, shape: tuple[int, ...], dtype: str, *, measure: bool) -> LayerAnswer:
    """Run the layer forward and backward on random activations of ``shape`` and read the launcher's decisions.

    Args:
        opened: the network.
        name: of its sparse layer.
        shape: of the layer's input, the batch included.
        dtype: of the activations; the values stay float32 masters.
        measure: time the candidates, unless that is stored already; otherwise the launcher's rule decides.
    """
    layer = opened.model.get_submodule(name)
    assert isinstance(layer, SparseLayer)
    kind = getattr(torch, dtype)
    cast = torch.autocast("cpu", dtype=kind, enabled=kind != torch.float32)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(kind).requires_grad_(True)
    launch.forget()
    with cast, launch.policy("measure" if measure else "rule"):
        y = layer(x)
        torch.autograd.grad(y, [x, layer.values], torch.ones_like(y))
        records = launch.decisions()
    with cast, torch.no_grad(), launch.policy("rule"):  # one image is run, and nothing is to be timed for it
        led, why, step = _outlook(opened, name, shape[0])
    return LayerAnswer(
        network=opened.title,
        name=name,
        kind=_kind(layer),
        nnz=layer.nnz,
        numel=layer.pattern.numel,
        input=tuple(shape),
        output=tuple(y.shape),
        dtype=dtype,
        directions=tuple(_direction(record) for record in records if _is_layers(record)),
        led=led,
        led_reason=why,
        step=step,
        bounds=_bounds(layer.density),
        environment=_environment(),
    )


def _is_layers(record: dict[str, Any]) -> bool:
    return any(record["op"] == f"{op}{suffix}" for op in _OPERATORS for suffix in DIRECTIONS)


def _direction(record: dict[str, Any]) -> DirectionAnswer:
    suffix = next(suffix for suffix in reversed(DIRECTIONS) if record["op"].endswith(suffix))
    times = record["milliseconds"]
    oracles = {kernel.name for kernel in KERNELS.of(record["op"]) if kernel.oracle}
    candidates = [
        Candidate(name=name, cost=cost, milliseconds=times.get(name))
        for name, cost in record["estimates"].items()
        if name not in oracles
    ]
    candidates.sort(key=lambda one: (one.name != record["kernel"], one.milliseconds or math.inf, one.cost))
    return DirectionAnswer(
        title=DIRECTIONS[suffix],
        op=record["op"],
        kernel=record["kernel"],
        source=record["source"],
        reason=record["reason"],
        candidates=tuple(candidates),
        refusals=dict(record["refusals"]),
        file=record["file"],
    )


def _outlook(opened: Opened, name: str, batch: int) -> tuple[bool, str, str]:
    forward = opened.model.__dict__.get("forward")
    if not isinstance(forward, NativeForward):
        return False, "", ""
    led, why = forward.outlook(opened.example(1), batch)
    return led, why, forward.step_of(name)


def _kind(layer: SparseLayer) -> str:
    shape = layer.weight_shape
    if len(shape) == 2:
        return f"linear layer, {shape[1]:,} → {shape[0]:,} features"
    stride, groups = getattr(layer, "stride", (1, 1)), int(getattr(layer, "groups", 1))
    step = "" if set(stride) == {1} else f" with stride {stride[0]}"
    grouped = "" if groups == 1 else f", {groups} groups"
    return f"{shape[2]}×{shape[3]} convolution{step}, {shape[1] * groups:,} → {shape[0]:,} channels{grouped}"


def _bounds(density: float) -> tuple[float, float]:
    """The densities that are rounded to the same bucket: a half power of two, and a quarter to either side."""
    from mezzotint.kernels.problem import density_bucket

    bucket = density_bucket(density)
    return bucket * 2**-0.25, min(1.0, bucket * 2**0.25)


def _environment() -> str:
    from mezzotint.bench.machine import in_words

    return in_words()
