"""Which nodes of a traced network can the engine do, and why can it not do the others?"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mezzotint.deploy.engine.activation import IDENTITY, PRODUCTS, Activation, of_call, of_module
from mezzotint.lowering import pooling
from mezzotint.lowering.batch_norm import uses_batch
from mezzotint.lowering.roles import ADAPTIVE_AVERAGE, ADD, MAX_POOL
from mezzotint.lowering.trace import has_hooks
from mezzotint.sparse import SparseConv2d, SparseLinear


class Role(Enum):
    """What a node does that the engine has a step for."""

    CONV = "convolution"
    LINEAR = "linear layer"
    NORM = "batch norm"
    ACTIVATION = "activation"
    ADD = "add"
    MULTIPLY = "product"
    CONCAT = "channels side by side"
    SPREAD = "nearest resizing"
    MAX_POOL = "max pooling"
    AVERAGE_POOL = "average pooling"
    GLOBAL_AVERAGE = "global average"
    FLATTEN = "flatten"
    SUBSAMPLE = "every n-th pixel"
    CHANNEL_PAD = "channels of zeros"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Task:
    """A node's role; for a pooling also its module, for an activation what it is.

    ``sizes``: the stride of a subsampling, the channels of zeros before and behind, or the factors of a resizing.
    """

    role: Role
    pool: nn.Module | None = None
    activation: Activation = IDENTITY
    sizes: tuple[int, int] = (0, 0)


_FLATTEN: Final[frozenset[Any]] = frozenset({torch.flatten, "flatten"})
_MEAN: Final[frozenset[Any]] = frozenset({torch.mean, "mean"})
_CONCAT: Final[frozenset[Any]] = frozenset({torch.cat, torch.concat, torch.concatenate})
_RANKS: Final = {Role.LINEAR: (2,), Role.ACTIVATION: (2, 4)}


def task_of(node: fx.Node, graph_module: fx.GraphModule) -> Task | str:
    """What ``node``, whose shape must be recorded, does; or why the engine leaves it to PyTorch."""
    found = raw_task(node, graph_module)
    return found if isinstance(found, str) else _checked(found, node)


def raw_task(node: fx.Node, graph_module: fx.GraphModule) -> Task | str:
    """The same without a look at shapes and types, which need not be recorded."""
    if node.op == "call_module":
        return _of_module(graph_module.get_submodule(str(node.target)))
    if node.op in ("call_function", "call_method"):
        return _of_call(node)
    return "it computes nothing"


def tensor_inputs(node: fx.Node) -> list[fx.Node]:
    """The nodes that ``node`` reads, in order."""
    given = [*node.args, *node.kwargs.values()]
    lists = [value if isinstance(value, list | tuple) else (value,) for value in given]
    return [value for values in lists for value in values if isinstance(value, fx.Node)]


def _of_module(module: nn.Module) -> Task | str:
    if has_hooks(module):
        return "it carries forward hooks"
    activation = of_module(module)
    if activation is not None:
        return Task(Role.ACTIVATION, activation=activation)
    made = _MODULES.get(type(module))  # a subclass may override forward, so only these very classes are known
    return f"the engine has no {type(module).__name__}" if made is None else made(module)


def _of_call(node: fx.Node) -> Task | str:
    target = node.target
    activation = of_call(node)
    if activation is not None:
        return Task(Role.ACTIVATION, activation=activation)
    if target in ADD or target in PRODUCTS:
        plain = len(node.args) == 2 and not node.kwargs and len(tensor_inputs(node)) == 2
        role, name = (Role.ADD, "sum") if target in ADD else (Role.MULTIPLY, "product")
        return Task(role) if plain else f"it is more than the {name} of two tensors"
    if target in _CONCAT:
        return _concat(node)
    if target in MAX_POOL or target in ADAPTIVE_AVERAGE:
        try:
            return _of_module(pooling.as_module(node))
        except (TypeError, ValueError):
            return "its arguments are not known before it runs"
    if target in _FLATTEN:
        plain = (*node.args[1:], *node.kwargs.values()) in ((1,), (1, -1))
        return Task(Role.FLATTEN) if plain else "it flattens other axes than all but the first"
    if target in _MEAN:
        axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        known = isinstance(axes, list | tuple) and sorted(axis % 4 for axis in axes if isinstance(axis, int)) == [2, 3]
        return Task(Role.GLOBAL_AVERAGE) if known else "it averages over other axes than height and width"
    if target is operator.getitem:
        return _subsample(node.args[1])
    if target is F.interpolate:
        given = dict(zip(("size", "scale_factor", "mode"), node.args[1:], strict=False)) | dict(node.kwargs)
        return _spread(given)
    if target is F.pad:
        return _channel_pad(node)
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    return f"the engine has no {name}"


def _conv(layer: nn.Module) -> Task | str:
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"its padding mode is {layer.padding_mode!r}; the engine pads with zeros"
    return _float32(layer) or Task(Role.CONV)


def _norm(norm: nn.Module) -> Task | str:
    if not isinstance(norm, nn.BatchNorm2d) or uses_batch(norm):
        return "it uses the statistics of the batch"
    return _float32(norm) or Task(Role.NORM)


def _concat(node: fx.Node) -> Task | str:
    """``torch.cat(tensors, 1)``."""
    axes = (*node.args[1:], *node.kwargs.values())
    if not isinstance(node.args[0] if node.args else None, list | tuple) or axes not in ((1,), (-3,)):
        return "it joins other axes than channels"
    return Task(Role.CONCAT)


def _subsample(index: Any) -> Task | str:
    """``x[:, :, ::n, ::m]``."""
    slices = index if isinstance(index, tuple) and all(isinstance(one, slice) for one in index) else ()
    whole = all(one.start in (None, 0) and one.stop is None for one in slices)
    steps = [1 if one.step is None else one.step for one in slices]
    if not whole or len(steps) != 4 or steps[:2] != [1, 1] or not all(isinstance(step, int) for step in steps):
        return "it takes other parts than every n-th row and column"
    return Task(Role.SUBSAMPLE, sizes=(steps[2], steps[3]))


def _spread(given: Mapping[str, Any]) -> Task | str:
    """What ``F.interpolate`` and ``nn.Upsample`` are given beside the tensor."""
    factors = given.get("scale_factor")
    both = tuple(factors) if isinstance(factors, list | tuple) else (factors, factors)
    whole = len(both) == 2 and all(isinstance(each, int | float) and each >= 1 and each == int(each) for each in both)
    nearest = given.get("mode", "nearest") in ("nearest", "nearest-exact")  # the same for whole factors
    if not whole or not nearest or given.get("size") is not None:
        return "it resizes in another way than by whole factors to the nearest pixel"
    return Task(Role.SPREAD, sizes=(int(both[0]), int(both[1])))


def _channel_pad(node: fx.Node) -> Task | str:
    """``F.pad(x, (0, 0, 0, 0, before, behind))``."""
    given = dict(zip(("pad", "mode", "value"), node.args[1:], strict=False)) | dict(node.kwargs)
    sizes = given.get("pad")
    known = isinstance(sizes, list | tuple) and len(sizes) == 6 and all(isinstance(size, int) for size in sizes)
    zeros = given.get("mode", "constant") == "constant" and not given.get("value")
    if not known or not zeros or not isinstance(sizes, list | tuple) or any(sizes[:4]) or min(sizes[4:]) < 0:
        return "it pads other things than channels with zeros"
    return Task(Role.CHANNEL_PAD, sizes=(sizes[4], sizes[5]))


def _float32(module: nn.Module) -> str | None:
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    if any(t.is_floating_point() and (t.dtype != torch.float32 or t.device.type != "cpu") for t in tensors):
        return "its numbers are not float32 on the CPU"
    return None


def _max_pool(pool: nn.Module) -> Task | str:
    return pooling.refuse_max_pool(pool) or Task(Role.MAX_POOL, pool=pool)


def _average_pool(pool: nn.Module) -> Task | str:
    if not isinstance(pool, nn.AvgPool2d) or pool.ceil_mode or pool.divisor_override is not None:
        return "it rounds its size up or divides by another number"
    if not pool.count_include_pad and pool.padding not in (0, (0, 0)):
        return "it does not count its padding"
    return Task(Role.AVERAGE_POOL, pool=pool)


def _global_average(pool: nn.Module) -> Task | str:
    return pooling.refuse_average(pool) or Task(Role.GLOBAL_AVERAGE)


def _flatten(module: nn.Module) -> Task | str:
    known = isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
    return Task(Role.FLATTEN) if known else "it flattens other axes than all but the first"


_MODULES: Final[dict[type[nn.Module], Callable[[nn.Module], Task | str]]] = {
    SparseConv2d: _conv,
    nn.Conv2d: _conv,
    SparseLinear: lambda layer: _float32(layer) or Task(Role.LINEAR),
    nn.Linear: lambda layer: _float32(layer) or Task(Role.LINEAR),
    nn.BatchNorm2d: _norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.Flatten: _flatten,
    nn.Upsample: lambda module: _spread(vars(module)),
    nn.UpsamplingNearest2d: lambda module: _spread(vars(module)),
    nn.Dropout: lambda _: Task(Role.NOTHING),
    nn.Dropout2d: lambda _: Task(Role.NOTHING),
    nn.Identity: lambda _: Task(Role.NOTHING),
}


def _checked(task: Task, node: fx.Node) -> Task | str:
    reads = tensor_inputs(node)
    if not reads:
        return "it reads no tensor"
    ranks = _RANKS.get(task.role, (4,))
    for read in reads:
        if task.role is not Role.NOTHING and len(read.meta.get("shape", ())) not in ranks:
            return f"it works on a tensor of shape {list(read.meta.get('shape', ()))}"
        if read.meta.get("dtype") != torch.float32 or read.meta.get("device") != "cpu":
            return "it does not work on float32 numbers on the CPU"
    shapes = [read.meta["shape"] for read in reads]
    if task.role is Role.ADD and shapes[0] != shapes[1]:
        return "it adds tensors of different shapes"
    if task.role is Role.MULTIPLY and shapes[0] != shapes[1] and factor_of(*shapes) is None:
        return "it multiplies tensors of different shapes, neither of which is one number a channel"
    if task.role is Role.CONCAT and len({(*shape[:1], *shape[2:]) for shape in shapes}) > 1:
        return "it joins images of different sizes"
    return task


def factor_of(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """Which of two shapes is one number for each channel of the other: 0, 1, or neither."""
    for at, (small, large) in enumerate(((one, two), (two, one))):
        if small == (*large[:2], 1, 1):
            return at
    return None
