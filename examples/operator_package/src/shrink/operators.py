"""How does a package declare an operator and its kernels? This module is the entry point; importing it registers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.ops import Attr, Call, Input, Output, TensorSpec, declare
from shrink import cpu, gpu


class SoftThreshold:
    """Moves every number towards zero by a threshold, and to zero what is nearer: the proximal map of the L1 norm."""

    name = "shrink::soft_threshold"
    package = ("mezzotint-shrink", version("mezzotint-shrink"))
    since = "1.0"

    x: Input = Input("T", "any tensor")
    y: Output = Output("T", "of the shape of x")
    T: Attr = Attr("floattype")
    threshold: Attr = Attr("float = 0.5", "at least 0")

    @staticmethod
    def shape_rule(inputs: Mapping[str, TensorSpec], attrs: Mapping[str, Any]) -> TensorSpec:
        """The output is like the input."""
        if attrs["threshold"] < 0:
            raise ShapeError(
                message("soft_threshold: threshold", received=attrs["threshold"], allowed="a number of at least 0")
            )
        return inputs["x"]

    @staticmethod
    def gradient(call: Call, gy: Tensor) -> dict[str, Tensor]:
        """The slope is 1 outside of the threshold and 0 inside."""
        return {"x": torch.where(call["x"].abs() > call["threshold"], gy, 0)}


op = declare(SoftThreshold)


@op.kernel(name="cpp", device="cpu", dtypes=(torch.float32, torch.float64), priority=1, into=True)
def _cpp(y: Tensor, x: Tensor, *, threshold: float) -> None:
    cpu.soft_threshold(x.contiguous(), y, threshold)


@op.kernel(
    name="triton",
    device="cuda",
    dtypes=(torch.float32, torch.float16, torch.bfloat16),
    priority=1,
    supports=gpu.refusal,
    into=True,
)
def _triton(y: Tensor, x: Tensor, *, threshold: float) -> None:
    gpu.soft_threshold(x.contiguous(), y, threshold)


@op.kernel(name="torch", oracle=True)
def _torch(x: Tensor, *, threshold: float) -> Tensor:
    return torch.nn.functional.softshrink(x, threshold)
