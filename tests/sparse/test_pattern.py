"""Does a pattern say exactly which weights are active, on every way in and out?"""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint import Pattern, SparseLinear
from mezzotint.errors import ShapeError


@st.composite
def masks(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.one_of(st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 4)] * 4)))
    count = int(torch.tensor(shape).prod())
    return torch.tensor(draw(st.lists(st.booleans(), min_size=count, max_size=count))).view(shape)


@given(masks())
def test_mask_goes_in_and_comes_out(mask: torch.Tensor) -> None:
    pattern = Pattern.from_mask(mask)
    assert torch.equal(pattern.to_mask(), mask)
    assert pattern.nnz == int(mask.sum())
    assert pattern.density == pattern.nnz / mask.numel()
    assert pattern.indices.dtype == torch.int32
    assert pattern == Pattern.from_indices(pattern.indices, mask.shape)


@given(masks())
def test_transposed_sorts_by_input_channel(mask: torch.Tensor) -> None:
    pattern = Pattern.from_mask(mask)
    places = mask.nonzero().tolist()  # (o, ic, ...) in row-major order, as the values lie
    by_channel = sorted(range(len(places)), key=lambda i: (places[i][1], places[i][0], *places[i][2:]))
    assert pattern.transposed.tolist() == by_channel
    assert pattern.transposed.dtype == torch.int32
    assert pattern.transposed is pattern.transposed


@given(masks(), masks())
def test_equality_hash_and_digest_follow_content(first: torch.Tensor, second: torch.Tensor) -> None:
    a, b = Pattern.from_mask(first), Pattern.from_mask(second)
    same = first.shape == second.shape and torch.equal(first, second)
    assert (a == b) == same
    assert (a.digest() == b.digest()) == same
    assert hash(a) == hash(Pattern.from_mask(first.clone()))


def test_digest_is_stable_across_processes_and_versions() -> None:
    pattern = Pattern.from_indices(torch.tensor([0, 3, 5]), (2, 3))
    assert pattern.digest() == "c0afc0959a779f19559e21b62e22f95747439de09c040a85c8d0adc765c8425c"


def test_shape_counts_in_equality() -> None:
    positions = torch.tensor([1, 2])
    assert Pattern.from_indices(positions, (2, 3)) != Pattern.from_indices(positions, (3, 2))
    assert Pattern.from_indices(positions, (2, 3)) != "pattern"


def test_copies_and_pickles() -> None:
    pattern = Pattern.from_indices(torch.tensor([0, 4, 5]), (2, 3))
    assert pickle.loads(pickle.dumps(pattern)) == pattern
    assert copy.deepcopy(pattern) is pattern
    assert copy.copy(pattern) is pattern
    assert pattern.to("cpu") is pattern


def test_is_immutable_and_owns_its_indices() -> None:
    positions = torch.tensor([0, 4], dtype=torch.int32)
    pattern = Pattern.from_indices(positions, (2, 3))
    positions[1] = 5
    assert pattern.indices.tolist() == [0, 4]
    with pytest.raises(AttributeError):
        pattern.indices = positions  # type: ignore[misc]


@pytest.mark.parametrize(
    ("indices", "shape", "text"),
    [
        (torch.tensor([1, 1]), (2, 3), "1 after 1 at place 1"),
        (torch.tensor([4, 2]), (2, 3), "strictly ascending"),
        (torch.tensor([0, 6]), (2, 3), "position 6"),
        (torch.tensor([-1, 2]), (2, 3), "position -1"),
        (torch.tensor([0.0]), (2, 3), "integer dtype"),
        (torch.tensor([[0]]), (2, 3), "one axis"),
        (torch.tensor([0]), (6,), "shape of the dense weight"),
        (torch.tensor([0]), (2, 0), "every axis at least 1"),
        (torch.tensor([0]), (2**16, 2**15), r"2\*\*31"),
    ],
)
def test_refuses(indices: torch.Tensor, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        Pattern.from_indices(indices, shape)


def test_mask_must_be_bool() -> None:
    with pytest.raises(ShapeError, match=r"torch\.bool"):
        Pattern.from_mask(torch.ones(2, 3))


def test_empty_pattern() -> None:
    pattern = Pattern.from_mask(torch.zeros(2, 3, dtype=torch.bool))
    assert pattern.nnz == 0
    assert pattern.density == 0
    assert pattern.transposed.tolist() == []


def test_the_transposed_order_is_made_only_where_an_input_gradient_may_be_asked_for() -> None:
    layer = SparseLinear(6, 4, density=0.5)
    with torch.no_grad():
        layer(torch.randn(3, 6))
    layer(torch.randn(3, 6)).sum().backward()
    assert layer.pattern._transposed is None, "no gradient of the input was asked for"
    layer(torch.randn(3, 6, requires_grad=True)).sum().backward()
    assert layer.pattern._transposed is not None


def test_what_inference_mode_leaves_behind_can_be_trained() -> None:
    layer, other = SparseLinear(6, 4, density=0.5), SparseLinear(6, 4, density=0.5)
    with torch.inference_mode():
        pattern = Pattern.from_mask(torch.ones(4, 6, dtype=torch.bool))
        assert layer.pattern.transposed.numel() == layer.nnz
        other.load_state_dict(layer.state_dict())
    for one in (layer, other, SparseLinear(6, 4, pattern=pattern)):
        one(torch.randn(3, 6, requires_grad=True)).sum().backward()
        assert one.values.grad is not None


def test_a_traced_pattern_keeps_no_stand_in() -> None:
    layer = SparseLinear(6, 4, density=0.5)
    torch.export.export(layer, (torch.randn(3, 6, requires_grad=True),))
    x = torch.randn(3, 6, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, layer.dense_weight().sum(0).expand(3, 6))
