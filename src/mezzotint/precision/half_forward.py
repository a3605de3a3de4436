"""How does a forward pass run in half precision while gradients stay in single precision? The ``fp16-forward`` mode.

Convolutions, transposed ones too, and linear layers see operands rounded to FP16, multiply them exactly, accumulate in
FP32 and round the result to FP16. Everything between them is FP32, and so is every gradient: the backward pass uses the
rounded operands (they are what the forward pass computed with) but rounds nothing, so that small gradients do not
underflow and no loss scale is needed.

The rounded numbers are held and multiplied in FP32 storage, on every device: the mode gives the numerics of a half
forward pass, not its speed or memory. Results beyond FP16's range (65504) become infinite, as they would there. The
inner projections of ``nn.MultiheadAttention`` are out of its reach and stay FP32.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mezzotint.precision.rounding import rounded

_DENSE: Final[frozenset[Any]] = frozenset(
    {F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.linear}
)
_OWN: Final = frozenset(
    {
        *(f"mezzotint::{kind}{rank}d" for kind in ("conv", "conv_transpose") for rank in (1, 2, 3)),
        "mezzotint::depthwise_conv2d",
        "mezzotint::conv2d_bn_act",
        "mezzotint::sparse_conv2d",
        "mezzotint::sparse_conv_transpose2d",
        "mezzotint::sparse_linear",
    }
)
_OPERANDS: Final = ("input", "weight")
_here = threading.local()


class HalfForward(TorchFunctionMode):
    """Context inside which convolutions and linear layers run their forward pass in half precision."""

    def __enter__(self) -> HalfForward:
        super().__enter__()  # type: ignore[no-untyped-call]
        _here.depth = getattr(_here, "depth", 0) + 1
        return self

    def __exit__(self, *exception: Any) -> None:
        _here.depth -= 1
        super().__exit__(*exception)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Round the first two operands and the result of a convolution or linear map; leave other functions alone."""
        given: dict[str, Any] = dict(kwargs or {})
        if not _multiplies(func):
            return func(*args, **given)
        named = {name: round_to_half(given[name]) for name in _OPERANDS if name in given}
        return round_to_half(func(*(round_to_half(x) for x in args[:2]), *args[2:], **(given | named)))


def round_to_half(x: Tensor) -> Tensor:
    """FP32 ``x`` rounded to the nearest FP16 numbers, still FP32, gradient unchanged; other dtypes as they are."""
    return rounded(x, torch.float16) if x.dtype == torch.float32 else x


def active() -> bool:
    """Whether this thread is inside the mode."""
    return bool(getattr(_here, "depth", 0))


def operand(x: Tensor) -> Tensor:
    """What a convolution or linear layer multiplies for ``x`` at this place: rounded inside the mode, else ``x``."""
    return round_to_half(x) if active() else x


def _multiplies(func: Callable[..., Any]) -> bool:
    schema = getattr(func, "_schema", None)
    return func in _DENSE if schema is None else schema.name in _OWN
