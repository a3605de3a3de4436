"""Do the operators agree with PyTorch on PyTorch's own test inputs? OpInfo's convolutions, pooling and batch norm.

A sample is skipped only by a rule of :data:`NOT_OURS`, which says why; how many ran is asserted.
"""

from __future__ import annotations

import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint import ops
from mezzotint.errors import ShapeError

#: Samples that must have run, at least, by operator: what PyTorch 2.13 has. Each line also names the arguments' order.
CONVOLUTIONS = {"conv1d": 10, "conv2d": 30, "conv3d": 20}
TRANSPOSED = {"conv_transpose1d": 10, "conv_transpose2d": 12, "conv_transpose3d": 10}
MAXIMA = {"max_pool1d": 864, "max_pool2d": 1440, "max_pool3d": 576}
MEANS = {"avg_pool1d": 9, "avg_pool2d": 7, "avg_pool3d": 8}
ADAPTIVE = {
    f"adaptive_{kind}_pool{rank}d": least
    for kind, counts in (("avg", (6, 10, 12)), ("max", (8, 24, 20)))
    for rank, least in zip((1, 2, 3), counts, strict=True)
}
COUNTS = {**CONVOLUTIONS, **TRANSPOSED, **MAXIMA, **MEANS, **ADAPTIVE, "batch_norm": 10}
#: Error inputs that must have been refused, at least.
ERRORS = {
    "conv1d": 10,
    "conv2d": 10,
    "conv3d": 9,
    "max_pool1d": 24,
    "max_pool2d": 7,
    "max_pool3d": 7,
    "avg_pool1d": 2,
    "avg_pool2d": 5,
    "avg_pool3d": 6,
    **{f"adaptive_{kind}_pool{rank}d": 2 if rank == 1 else 3 for kind in ("avg", "max") for rank in (1, 2, 3)},
}
AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
ARGUMENTS: dict[str, Sequence[str]] = {
    **dict.fromkeys(CONVOLUTIONS, ("weight", "bias")),
    **dict.fromkeys(TRANSPOSED, ("weight", "bias")),
    **dict.fromkeys(MEANS, AVERAGE),
    **dict.fromkeys(MAXIMA, ()),
    **dict.fromkeys(ADAPTIVE, ("output_size", "return_indices")),
    "batch_norm": ("running_mean", "running_var", "weight", "bias"),
}


def strided_same(name: str, x: Tensor, arguments: dict[str, Any]) -> bool:
    """PyTorch refuses ``padding="same"`` with a stride; here it is TensorFlow's SAME."""
    stride = arguments.get("stride", 1)
    return arguments.get("padding") == "same" and max(stride if isinstance(stride, tuple) else (stride,)) > 1


def no_channels(name: str, x: Tensor, arguments: dict[str, Any]) -> bool:
    """PyTorch normalises a vector without an axis of channels if it is empty; here it is an error."""
    return name == "batch_norm" and x.dim() < 2


#: Samples and error inputs to which the rules do not apply.
NOT_OURS: tuple[Callable[[str, Tensor, dict[str, Any]], bool], ...] = (strided_same, no_channels)


@cache
def infos() -> dict[str, list[Any]]:
    """PyTorch's OpInfo entries by operator. They import ``expecttest``, of which samples need nothing."""
    if "expecttest" not in sys.modules:
        stand_in = types.ModuleType("expecttest")
        stand_in.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        sys.modules["expecttest"] = stand_in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    found: dict[str, list[Any]] = {}
    for info in op_db:
        if not info.variant_test_name:
            found.setdefault(info.name.removeprefix("nn.functional."), []).append(info)
    return found


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of tiny pools wait for their threads longer than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def named(name: str, sample: Any) -> dict[str, Any]:
    """The arguments of a sample behind its input, by name."""
    return {**dict(zip(ARGUMENTS[name], sample.args, strict=False)), **sample.kwargs}


def ours(name: str, x: Tensor, arguments: dict[str, Any]) -> Any:
    """The same call here; what PyTorch takes by position is taken by name."""
    leading = {"kernel_size", "output_size", "weight", "bias", "running_mean", "running_var"}
    keys = [key for key in arguments if key in leading and name != "batch_norm"]
    rest = {key: value for key, value in arguments.items() if key not in keys}
    return getattr(ops, name)(x, *[arguments[key] for key in keys], **rest)


def theirs(name: str, x: Tensor, arguments: dict[str, Any]) -> Any:
    return getattr(F, name)(x, **arguments)


def cloned(arguments: dict[str, Any]) -> dict[str, Any]:
    """Fresh running statistics: both sides change them."""
    return {
        key: value.detach().clone() if key.startswith("running") and isinstance(value, Tensor) else value
        for key, value in arguments.items()
    }


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(as_list(one), as_list(other), strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, equal_nan=True)


def as_list(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", COUNTS)
def test_samples(name: str) -> None:
    ran = twice = 0
    for info in infos()[name]:
        for number, sample in enumerate(info.sample_inputs("cpu", torch.float64, requires_grad=True)):
            arguments = named(name, sample)
            if any(rule(name, sample.input, arguments) for rule in NOT_OURS):
                continue
            one, other = cloned(arguments), cloned(arguments)
            made, right = ours(name, sample.input, one), theirs(name, sample.input, other)
            assert_same(made, right)
            assert_same(
                tuple(v for k, v in one.items() if k.startswith("running") and v is not None),
                tuple(v for k, v in other.items() if k.startswith("running") and v is not None),
            )
            inputs = [t for t in (sample.input, *arguments.values()) if isinstance(t, Tensor) and t.requires_grad]
            deep = number % (1 if COUNTS[name] < 100 else 25) == 0
            assert_same(*(gradients(as_list(y)[0], inputs, deep) for y in (made, right)))
            ran, twice = ran + 1, twice + deep
    assert ran >= COUNTS[name]
    assert twice >= min(ran, 20)


def gradients(y: Tensor, inputs: list[Tensor], deep: bool) -> tuple[Tensor, ...]:
    """First derivatives, and with ``deep`` those of the sum of their squares, too."""
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape).requires_grad_()
    first = torch.autograd.grad(y, inputs, weights, create_graph=deep, materialize_grads=True)
    if not deep:
        return first
    total = sum(g.square().sum() for g in first)
    return (*first, *torch.autograd.grad(total, [*inputs, weights], materialize_grads=True))


@pytest.mark.parametrize("name", ERRORS)
def test_error_inputs(name: str) -> None:
    refused = 0
    for info in infos()[name]:
        for error in info.error_inputs("cpu"):
            sample = error.sample_input
            arguments = named(name, sample)
            if any(rule(name, sample.input, arguments) for rule in NOT_OURS):
                continue
            with pytest.raises(ShapeError) as told:
                ours(name, sample.input, arguments)
            assert "allowed" in str(told.value) or "must be" in str(told.value), str(told.value)
            refused += 1
    assert refused >= ERRORS[name]
