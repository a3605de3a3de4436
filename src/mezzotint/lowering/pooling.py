"""Which poolings does the native layout know, and with which window? Read from modules and from calls alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from mezzotint.errors import ShapeError, message


@dataclass(frozen=True)
class Window:
    """A pooling's window, as (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def code(self) -> tuple[int, ...]:
        """What the extension takes for it."""
        return (*self.kernel, *self.stride, *self.padding, *self.dilation)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the result for an input of ``size``.

        Raises:
            ShapeError: the input is smaller than the window.
        """
        spans = [(kernel - 1) * gap + 1 for kernel, gap in zip(self.kernel, self.dilation, strict=True)]
        height = (size[0] + 2 * self.padding[0] - spans[0]) // self.stride[0] + 1
        width = (size[1] + 2 * self.padding[1] - spans[1]) // self.stride[1] + 1
        if min(height, width) < 1:
            received = f"{size[0]} x {size[1]}"
            raise ShapeError(message("image size for a max pooling", received=received, allowed="at least its window"))
        return height, width


def window_of(pool: nn.MaxPool2d) -> Window:
    """The window of a module."""
    stride = pool.kernel_size if pool.stride is None else pool.stride
    return Window(_pair(pool.kernel_size), _pair(stride), _pair(pool.padding), _pair(pool.dilation))


def refuse_max_pool(pool: nn.Module) -> str | None:
    """Why the native layout cannot do this ``nn.MaxPool2d``, or None."""
    if not isinstance(pool, nn.MaxPool2d):
        return "it is no max pooling"
    if pool.return_indices:
        return "it returns indices"
    return "it rounds its size up" if pool.ceil_mode else None


def refuse_average(pool: nn.Module) -> str | None:
    """Why the native layout cannot do this ``nn.AdaptiveAvgPool2d``, or None."""
    size = getattr(pool, "output_size", None)
    return None if size in (1, (1, 1), [1, 1]) else f"it averages to {size}, not to one pixel"


def as_module(node: fx.Node) -> nn.Module:
    """The module that a call of ``F.max_pool2d`` or ``F.adaptive_avg_pool2d`` stands for.

    Raises:
        TypeError, ValueError: the call's arguments are none of those functions', or are computed by the graph.
    """
    arguments = node.args[1:]
    if any(isinstance(value, fx.Node) for value in (*arguments, *node.kwargs.values())):
        raise ValueError("arguments that the graph computes")
    kind: Callable[..., nn.Module] = nn.MaxPool2d if "max_pool" in _name(node) else nn.AdaptiveAvgPool2d
    of_max_pool = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    names: tuple[str, ...] = of_max_pool if kind is nn.MaxPool2d else ("output_size",)
    given: dict[str, Any] = {**dict(zip(names, arguments, strict=False)), **node.kwargs}
    given.pop("input", None)
    return kind(**given)


def window_at(node: fx.Node, graph_module: fx.GraphModule) -> Window:
    """The window of a node that is a max pooling."""
    pool = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else as_module(node)
    if not isinstance(pool, nn.MaxPool2d):
        raise TypeError(f"{type(pool).__name__} is no max pooling")
    return window_of(pool)


def refuse(node: fx.Node) -> str | None:
    """Why the native layout cannot do this call, or None."""
    try:
        module = as_module(node)
    except (TypeError, ValueError):
        return "its arguments are not known before it runs"
    return refuse_max_pool(module) if isinstance(module, nn.MaxPool2d) else refuse_average(module)


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
