"""Does a graph compute what the model's own forward does? Both run on two images, and the shapes are noted.

A trace follows one way through the user's code, with stand-ins for tensors: ``isinstance(x, torch.Tensor)`` is false of
those, and what was computed without them is a constant. So the results are compared, in the model's own modes. Two
images and not one, since a tensor that all images share is then told from a batch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mezzotint.errors import first_line
from mezzotint.lowering.effects import Generators, Untraceable
from mezzotint.lowering.trace import record_shapes, stands_in

IMAGES: Final = 2
"""How many a network is planned with."""
#: Of the largest number. Both run the same operators in the same order, as a rule with the same bits.
_TOLERANCE: Final = 1e-4
_UNDER_WAY: Final = threading.local()


def is_rehearsed() -> bool:
    """Whether this thread is at it: a model inside of the model, sparsified by itself, runs in the plain layout."""
    return getattr(_UNDER_WAY, "depth", 0) > 0


class RehearsalFails(Exception):
    """The model does not run on so many images; the message is the reason for the plain layout."""


def rehearse(
    model: nn.Module,
    forward: Callable[..., Any],
    graph_module: fx.GraphModule,
    inputs: Sequence[Any],
    *,
    few: bool = True,
) -> None:
    """Note the shapes of two images in ``graph_module``; no statistic, random number or hook knows of it.

    Args:
        model: whose modules the graph shares.
        forward: what the graph stands for.
        graph_module: its inputs are the tensors and numbers of ``inputs``.
        inputs: of the call that is planned.
        few: two of its images, and not all.

    Raises:
        Untraceable: the graph computes something else.
        RehearsalFails: it cannot be told.
    """
    given = _two_images(inputs) if few else inputs
    led = [x for x in given if stands_in(x)]
    with torch.no_grad():
        try:
            with _Unseen(model):
                expected = forward(*(x.clone() if isinstance(x, Tensor) else x for x in given))
        except Exception as error:
            images = "two images of its input" if few else "its input"
            raise RehearsalFails(f"it does not run on {images}: {first_line(error)}") from error
        try:
            with _Unseen(model):
                found = record_shapes(graph_module, led)
        except Exception as error:
            raise Untraceable(f"what torch.fx has traced of it does not run: {first_line(error)}") from error
    if not _agree(expected, found):
        raise Untraceable("its forward, led by torch.fx, takes another way than with tensors, as with isinstance()")


def rehearse_snapshot(forward: nn.Module, graph_module: fx.GraphModule, inputs: Sequence[Any]) -> None:
    """:func:`rehearse` for inference, where some networks are written for one batch: then for the whole of ``inputs``.

    Raises:
        Untraceable, RehearsalFails: as of :func:`rehearse`.
    """
    try:
        rehearse(graph_module, forward, graph_module, inputs)
    except RehearsalFails:
        rehearse(graph_module, forward, graph_module, inputs, few=False)


def _two_images(inputs: Sequence[Any]) -> list[Any]:
    """The first images of what comes in batches; one alone is taken twice."""
    batch = next(x.shape[0] for x in inputs if isinstance(x, Tensor))

    def few(x: Any) -> Any:
        if not isinstance(x, Tensor) or x.dim() == 0 or x.shape[0] != batch:
            return x
        return x[:IMAGES] if batch >= IMAGES else x.repeat_interleave(IMAGES, 0)

    return [few(x) for x in inputs]


def _agree(one: Any, two: Any) -> bool:
    ours, structure = pytree.tree_flatten(one)
    theirs, other = pytree.tree_flatten(two)
    return structure == other and all(_same(a, b) for a, b in zip(ours, theirs, strict=True))


def _same(one: Any, two: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return bool(type(one) is type(two) and one == two)
    if one.shape != two.shape or one.dtype != two.dtype or one.device != two.device:
        return False
    if not one.is_floating_point():
        return torch.equal(one, two)
    scale = float(one.abs().nan_to_num().max()) if one.numel() else 0.0
    return torch.allclose(one, two, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True)


class _Unseen:
    """Context in which a model computes and leaves no trace: no statistics, no random numbers, no hooks."""

    _HOOKS = ("_forward_hooks", "_forward_pre_hooks")

    def __init__(self, model: nn.Module) -> None:
        self._generators = Generators()
        self._buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        hooked = [(module, name) for module in model.modules() for name in self._HOOKS]
        self._hooks = [(module, name, getattr(module, name)) for module, name in hooked if getattr(module, name)]

    def __enter__(self) -> None:
        _UNDER_WAY.depth = getattr(_UNDER_WAY, "depth", 0) + 1
        for module, name, _ in self._hooks:
            setattr(module, name, OrderedDict())

    def __exit__(self, *exception: object) -> None:
        _UNDER_WAY.depth -= 1
        for buffer, before in self._buffers:
            if not torch.equal(buffer, before):
                buffer.data.copy_(before)  # not as a change that autograd knows of: some graph may hold it
        for module, name, hooks in self._hooks:
            setattr(module, name, hooks)
        self._generators.put_back()
