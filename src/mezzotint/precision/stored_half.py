"""How does a 16-bit network run on a processor without 16-bit arithmetic? 16 bits are stored, FP32 computes.

Inside the context, dense convolutions and products that autocast casts round their operands to the 16-bit type,
multiply and accumulate in FP32 and round the result, which is what 16-bit units with FP32 accumulators do. What
autograd saves for the backward pass is packed into 16 bits without loss, so that the memory is that of mixed precision
too. The gradient of an FP32 master weight stays FP32. What autocast leaves as it is (integers, FP64, complex numbers,
calls with ``out``, any call where it is switched off) stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from mezzotint.precision.rounding import rounded

_PRODUCTS: Final[frozenset[Any]] = frozenset(
    {
        F.conv1d,
        F.conv2d,
        F.conv3d,
        F.conv_transpose1d,
        F.conv_transpose2d,
        F.conv_transpose3d,
        F.linear,
        torch.matmul,
        torch.mm,
        torch.bmm,
        Tensor.matmul,
        Tensor.__matmul__,
    }
)


class StoredHalf(TorchFunctionMode):
    """Context, to be entered inside ``torch.autocast`` to ``dtype``, in which dense products are computed in FP32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Round, compute and round again for a product that autocast would cast; leave other functions alone."""
        given: dict[str, Any] = dict(kwargs or {})
        if func not in _PRODUCTS or not self._casts((*args, *given.values())) or "out" in given:
            return func(*args, **given)
        with torch.autocast("cpu", enabled=False), saved_tensors_hooks(self._pack, _unpack):
            operands = [self._rounded(x) for x in args]
            named = {name: self._rounded(x) for name, x in given.items()}
            return func(*operands, **named).to(self.dtype)

    def _casts(self, operands: Iterable[Any]) -> bool:
        """Whether autocast to ``dtype`` is on at this place, and all that it would have to do is to round FP32."""
        if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") != self.dtype:
            return False
        return all(x.dtype in (torch.float32, self.dtype) for x in operands if isinstance(x, Tensor))

    def _rounded(self, x: Any) -> Any:
        """A tensor operand in FP32 storage with 16-bit numbers; anything else as it is."""
        if not isinstance(x, Tensor):
            return x
        return x.float() if x.dtype == self.dtype else rounded(x, self.dtype)

    def _pack(self, x: Tensor) -> Tensor:
        return x.to(self.dtype) if x.dtype == torch.float32 else x


def _unpack(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
