"""Does a plan hold for tensors of its own kind, and for no other?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import mezzotint as mz
from mezzotint import ops
from mezzotint.ops.guard import guard

KINDS: dict[str, Callable[[], Tensor | None]] = {
    "plain": lambda: torch.ones(2, 3, 4, 4),
    "longer": lambda: torch.ones(2, 3, 4, 5),
    "fewer axes": lambda: torch.ones(2, 3),
    "number": lambda: torch.ones(()),
    "strided": lambda: torch.ones(2, 3, 4, 8)[..., ::2],
    "channels last": lambda: torch.ones(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    "type": lambda: torch.ones(2, 3, 4, 4, dtype=torch.bfloat16),
    "device": lambda: torch.ones(2, 3, 4, 4, device="meta"),
    "leaf": lambda: torch.ones(2, 3, 4, 4, requires_grad=True),
    "parameter": lambda: nn.Parameter(torch.ones(2, 3, 4, 4)),
    "negated": lambda: torch._neg_view(torch.ones(2, 3, 4, 4)),
    "conjugated": lambda: torch.ones(2, 3, 4, 4, dtype=torch.complex64).conj(),
    "sparse": lambda: torch.ones(2, 3, 4, 4).to_sparse(),
    "absent": lambda: None,
}


class Marked(Tensor):
    """A class of somebody else."""


def made(kinds: list[str | int]) -> list[Tensor | None]:
    """A tensor for each kind; a number stands for the tensor at that place (of those before it)."""
    tensors: list[Tensor | None] = []
    for kind in kinds:
        tensors.append(KINDS[kind]() if isinstance(kind, str) else tensors[kind % len(tensors)] if tensors else None)
    return tensors


def told(kinds: list[str | int]) -> list[Any]:
    """What of ``kinds`` a guard can see: the kind of each tensor, or the place where it came before."""
    seen: list[Any] = []
    for place, kind in enumerate(kinds):
        if isinstance(kind, str):
            seen.append(kind)
        elif not place:
            seen.append("absent")
        else:
            before = seen[kind % place]
            seen.append(before if before == "absent" or isinstance(before, int) else kind % place)
    return seen


_calls = st.lists(st.one_of(st.sampled_from(sorted(KINDS)), st.integers(0, 5)), min_size=1, max_size=6)


@given(_calls, _calls)
def test_a_guard_holds_for_the_same_kinds_in_the_same_places(kinds: list[str | int], others: list[str | int]) -> None:
    if all(kind == "absent" for kind in told(kinds)):
        kinds = ["plain", *kinds]
    holds = guard(made(kinds))
    assert holds(*made(kinds))
    others = (others * len(kinds))[: len(kinds)]
    assert holds(*made(others)) == (told(kinds) == told(others))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"plain"}))
def test_one_other_tensor_is_enough(kind: str) -> None:
    holds = guard(made(["plain", "longer", "absent"]))
    assert not holds(*made([kind, "longer", "absent"]))
    assert not holds(*made(["plain", kind, "absent"])) or kind == "longer"
    assert not holds(*made(["plain", "longer", kind])) or kind == "absent"


def test_what_is_no_tensor_or_a_subclass_is_refused() -> None:
    x = torch.ones(2, 3)
    holds = guard([x])
    for other in (x.as_subclass(Marked), x.numpy(), None, 3):  # type: ignore[arg-type]
        assert not holds(other)


@pytest.mark.parametrize(
    "state", [torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)], ids=["inference", "autocast"]
)
def test_the_state_of_the_thread_is_seen(state: Callable[[], Any]) -> None:
    x = torch.ones(2, 3)
    holds = guard([x])
    with state():
        assert not holds(x)
    assert holds(x)


# -- what operators make of it ----------------------------------------------------------------------------------------


def test_one_tensor_for_several_inputs_is_no_plan_for_several_tensors() -> None:
    x, one = torch.randn(2, 4, 5, 5), torch.rand(4) + 0.5
    other = [torch.rand(4) + 0.5 for _ in range(4)]
    for _ in range(2):
        for parts in ([one] * 4, other, [one, one, *other[:2]]):
            torch.testing.assert_close(ops.batch_norm(x, *parts), F.batch_norm(x, *parts))


def test_a_weight_that_is_changed_in_place_is_looked_at_again() -> None:
    x, weight = torch.randn(1, 4, 6, 6), nn.Parameter(torch.randn(8, 4, 3, 3))
    with torch.no_grad():
        for data in (weight.data, torch.randn(2, 4, 3, 3), torch.randn(8, 4, 1, 1), weight.data.permute(0, 1, 3, 2)):
            for _ in range(2):
                weight.data = data
                torch.testing.assert_close(ops.conv2d(x, weight), F.conv2d(x, weight))
        weight.data = torch.randn(8, 5, 3, 3)
        with pytest.raises(mz.errors.ShapeError, match="channels"):
            ops.conv2d(x, weight)
        weight.data = torch.randn(8, 4, 3, 3).double()
        with pytest.raises(mz.errors.MezzotintError, match="dtype"):
            ops.conv2d(x, weight)


def test_values_of_another_length_are_refused_where_there_is_a_plan() -> None:
    pattern = mz.Pattern.from_mask(torch.rand(4, 4, 3, 3) < 0.5)
    x, values = torch.randn(1, 4, 6, 6), nn.Parameter(torch.randn(pattern.nnz))
    with torch.no_grad():
        for _ in range(2):
            ops.sparse_conv2d(x, values, pattern)
        for wrong in (torch.randn(pattern.nnz - 1), torch.randn(pattern.nnz, 1), torch.randn(())):
            values.data = wrong
            with pytest.raises(mz.errors.ShapeError, match="values"):
                ops.sparse_conv2d(x, values, pattern)


def test_who_is_no_pattern_is_told_so_where_there_is_a_plan() -> None:
    pattern = mz.Pattern.from_mask(torch.ones(3, 2, dtype=torch.bool))
    x, values = torch.randn(2, 2), torch.randn(6)
    for _ in range(2):
        ops.sparse_linear(x, values, pattern)
    for stranger in (pattern.indices, None, "pattern"):
        with pytest.raises(mz.errors.ShapeError, match="Pattern"):
            ops.sparse_linear(x, values, stranger)


def test_what_is_no_tensor_is_told_so_where_there_is_a_plan() -> None:
    x, operator = torch.randn(1, 2, 4, 4), ops.get("batch_norm_inference")
    parts = [torch.ones(2) for _ in range(4)]
    for _ in range(2):
        operator(x, *parts)
    for stranger in (x.numpy(), "x", None):
        with pytest.raises(mz.errors.MezzotintError, match="x"):
            operator(stranger, *parts)


def test_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.ops.plan._KEPT", 5)
    kept = ops.get("adaptive_avg_pool")._plans
    for size in range(1, 12):
        ops.adaptive_avg_pool(torch.randn(1, 1, size), 1)
        assert 1 <= sum(map(len, kept._kept.values())) <= 5
