"""Does every registered operator keep the contract? Schema, fake kernel, gradients of first and second order, docs."""

from __future__ import annotations

import pytest
import torch
from problems import Example, covered, example
from torch import Tensor

from mezzotint import ops
from mezzotint.ops.plan import as_tuple

OPERATORS = [name for name in ops.names() if not name.startswith("test_")]


def overload(name: str) -> torch._ops.OpOverload:
    return getattr(torch.ops.mezzotint, name).default  # type: ignore[no-any-return]


def with_gradients(call: Example) -> tuple[Tensor, ...]:
    """The floating inputs of a call, made leaves that need a gradient."""
    return tuple(t.detach().clone().requires_grad_() for t in call.inputs if t is not None and t.is_floating_point())


def substitute(call: Example, floats: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """The inputs of a call with its floating ones replaced, in order."""
    queue = list(floats)
    return tuple(queue.pop(0) if t is not None and t.is_floating_point() else t for t in call.inputs)


def small(name: str, seed: int) -> Example:
    """A float64 example with something to differentiate."""
    while True:
        call = example(name, seed, torch.float64)
        if all(t is None or 0 < t.numel() < 60 for t in call.inputs):
            return call
        seed += 1000


def test_every_operator_has_examples() -> None:
    assert set(OPERATORS) <= covered()


@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str) -> None:
    call = small(name, seed=1)
    inputs = tuple(
        t.detach().clone().requires_grad_() if t is not None and t.is_floating_point() else t for t in call.inputs
    )
    results = torch.library.opcheck(overload(name), inputs, call.attrs)
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OPERATORS)
def test_gradcheck(name: str, seed: int) -> None:
    call = small(name, seed)
    floats = with_gradients(call)
    run = lambda *given: overload(name)(*substitute(call, given), **call.attrs)  # noqa: E731
    in_full = seed == 0  # the others along a random direction
    assert torch.autograd.gradcheck(run, floats, fast_mode=not in_full)
    assert torch.autograd.gradgradcheck(run, floats, fast_mode=not in_full)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("seed", range(4))
def test_fake_and_real_agree(name: str, seed: int) -> None:
    call = example(name, seed, torch.float32)
    real = overload(name)(*call.inputs, **call.attrs)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        inputs = tuple(None if t is None else mode.from_tensor(t) for t in call.inputs)
        fake = overload(name)(*inputs, **call.attrs)
    for made, promised in zip(as_tuple(real), as_tuple(fake), strict=True):
        assert (promised.shape, promised.dtype) == (made.shape, made.dtype)
        if made.numel():
            assert promised.stride() == made.stride()


@pytest.mark.parametrize("name", OPERATORS)
def test_reference_page(name: str) -> None:
    text = ops.describe(name)
    assert "schema: mezzotint::" + name in text
    assert ops.get(name).definition.summary.endswith(".")
    for argument in ops.get(name).definition.inputs:
        assert argument.name in ops.get(name).definition.texts, f"input {argument.name} is not documented"
