"""Does one update prune, redistribute and grow exactly as the algorithm says?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint import Pattern
from mezzotint.errors import RunError
from mezzotint.sparse.carry import carried
from mezzotint.sparse.grow import grown_by_neuron, grown_pattern
from mezzotint.sparse.methods.sparse_momentum import decide
from mezzotint.sparse.prune import global_counts, kept_by_magnitude, kept_by_sign, prune_counts
from mezzotint.sparse.redistribute import grow_counts, importance, mean_momentum
from mezzotint.sparse.view import LayerView


def _view(
    name: str, shape: tuple[int, ...], indices: list[int], values: list[float], momentum: list[float]
) -> LayerView:
    return LayerView(
        name=name,
        values=torch.tensor(values),
        momentum=torch.tensor(momentum),
        pattern=Pattern.from_indices(torch.tensor(indices, dtype=torch.int64), shape),
    )


def test_hand_worked_example() -> None:
    a = _view("a", (2, 4), [0, 2, 5, 7], [0.1, -0.5, 0.3, -0.2], [1.0, -1.0, 2.0, 0.0])
    b = _view("b", (1, 4), [1, 3], [0.4, 0.05], [3.0, -3.0])
    assert mean_momentum([a, b]) == [1.0, 3.0]
    decision = decide([a, b], 0.5)
    assert decision.share == [0.25, 0.75]
    assert decision.pruned == [2, 1]
    assert decision.grown == [1, 2]  # quotas 0.75 and 2.25 of 3

    kept_a, kept_b = kept_by_magnitude(a, 2), kept_by_magnitude(b, 1)
    assert kept_a.tolist() == [False, True, True, False]
    assert kept_b.tolist() == [True, False]

    scores_a = torch.tensor([1.0, 0.5, 1.0, 1.5, 0.2, 2.0, 0.1, 0.0])  # active and pruned weights have their own
    scores_b = torch.tensor([0.3, 3.0, 3.5, 3.0])
    new_a, new_b = grown_pattern(a.pattern, kept_a, scores_a, 1), grown_pattern(b.pattern, kept_b, scores_b, 2)
    assert new_a.indices.tolist() == [2, 3, 5]
    assert new_b.indices.tolist() == [1, 2, 3]  # 3 was pruned and is grown again
    assert carried(a.values, a.pattern, new_a).tolist() == pytest.approx([-0.5, 0.0, 0.3])
    assert carried(b.values, b.pattern, new_b).tolist() == pytest.approx([0.4, 0.0, 0.05])


@st.composite
def networks(draw: st.DrawFn) -> list[LayerView]:
    views = []
    for number in range(draw(st.integers(1, 5))):
        rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 9))
        numel = rows * columns
        indices = sorted(draw(st.sets(st.integers(0, numel - 1), min_size=1, max_size=numel)))
        some = st.sampled_from([0.0, 0.25, -0.25, 1.0, 3.0])  # few values: ties and dead layers
        values, momentum = (draw(st.lists(some, min_size=len(indices), max_size=len(indices))) for _ in range(2))
        views.append(_view(str(number), (rows, columns), indices, values, momentum))
    return views


@given(networks(), st.floats(0, 1), st.sampled_from(["momentum", "magnitude", "nonzeros", "none"]))
def test_nnz_is_conserved_exactly_and_capacities_are_kept(views: list[LayerView], rate: float, by: str) -> None:
    decision = decide(views, rate, by)
    assert sum(decision.pruned) == sum(decision.grown)
    assert math.isclose(sum(decision.share), 1)
    total = 0
    for view, lost, gained in zip(views, decision.pruned, decision.grown, strict=True):
        kept = kept_by_magnitude(view, lost)
        assert int((~kept).sum()) == lost
        new = grown_pattern(view.pattern, kept, torch.zeros(view.pattern.numel), gained)
        assert new.nnz == view.pattern.nnz - lost + gained
        assert 1 <= new.nnz <= view.pattern.numel
        assert set(view.pattern.indices[kept].tolist()) <= set(new.indices.tolist())
        total += new.nnz
    assert total == sum(view.pattern.nnz for view in views)


@given(networks(), st.floats(0, 1), st.data())
def test_what_is_kept_is_larger_and_what_is_grown_ranks_higher(
    views: list[LayerView], rate: float, data: st.DataObject
) -> None:
    view = views[0]
    kept = kept_by_magnitude(view, math.floor(rate * view.pattern.nnz))
    if kept.any() and not kept.all():
        assert view.values[kept].abs().min() >= view.values[~kept].abs().max()
    numel = view.pattern.numel
    scores = torch.tensor(data.draw(st.lists(st.floats(0, 1), min_size=numel, max_size=numel)))
    room = numel - int(kept.sum())
    new = grown_pattern(view.pattern, kept, scores, data.draw(st.integers(0, room)))
    stayed = set(view.pattern.indices[kept].tolist())
    grown = set(new.indices.tolist()) - stayed
    missing = set(range(numel)) - stayed - grown
    assert all(scores[g] >= scores[m] for g in grown for m in missing)


def test_prune_counts_round_up_but_not_by_float_noise() -> None:
    view = _view("a", (1, 1000), list(range(100)), [1.0] * 100, [1.0] * 100)
    assert prune_counts([view], [1.0], 0.07) == [7]  # 0.07 * 100 is 7.000000000000001
    assert prune_counts([view], [1.0], 0.071) == [8]
    assert prune_counts([view], [1.0], 0.0) == [0]
    assert prune_counts([view], [1.0], 1.0) == [100]


def test_nearly_dense_important_layers_lose_only_what_they_have_in_zeros() -> None:
    nearly = _view("a", (1, 10), list(range(9)), [1.0] * 9, [1.0] * 9)
    sparse = _view("b", (1, 10), [0, 1], [1.0] * 2, [1.0] * 2)
    assert prune_counts([nearly, sparse], [0.7, 0.3], 0.5) == [1, 1]
    assert prune_counts([nearly, sparse], [0.3, 0.7], 0.5) == [5, 1]
    full = _view("c", (1, 10), list(range(10)), [1.0] * 10, [1.0] * 10)
    assert prune_counts([full, sparse], [0.7, 0.3], 0.5) == [0, 1]


def test_a_layer_that_lost_everything_gets_one_back() -> None:
    one = _view("a", (1, 10), [3], [1.0], [0.0])
    other = _view("b", (1, 10), [0, 1], [1.0] * 2, [1.0] * 2)
    assert grow_counts([one, other], [1, 1], [0.0, 1.0]) == [1, 1]


def test_no_momentum_at_all_shares_by_nonzeros() -> None:
    a, b = _view("a", (1, 9), [0], [1.0], [0.0]), _view("b", (1, 9), [0, 1, 2], [1.0] * 3, [0.0] * 3)
    assert importance(mean_momentum([a, b]), [a, b]) == [0.25, 0.75]


def test_a_diverged_layer_is_named() -> None:
    view = _view("body.conv", (1, 3), [0], [1.0], [math.nan])
    with pytest.raises(RunError, match=r"layer 'body\.conv' is nan"):
        decide([view], 0.5)


@given(networks(), st.integers(0, 2**32))
def test_carried_numbers_stay_with_their_positions(views: list[LayerView], seed: int) -> None:
    old = views[0]
    new = Pattern.from_mask(torch.rand(old.pattern.shape, generator=torch.Generator().manual_seed(seed)) < 0.5)
    dense = torch.zeros(old.pattern.numel)
    dense[old.pattern.indices.long()] = old.values
    assert torch.equal(carried(old.values, old.pattern, new), dense[new.indices.long()])


@given(networks(), st.data())
def test_global_pruning_takes_the_smallest_of_all(views: list[LayerView], data: st.DataObject) -> None:
    total = sum(view.pattern.nnz for view in views)
    count = data.draw(st.integers(0, total))
    counts = global_counts(views, count)
    assert sum(counts) == count
    kept = [kept_by_magnitude(view, lost) for view, lost in zip(views, counts, strict=True)]
    stay = torch.cat([view.values[keep].abs() for view, keep in zip(views, kept, strict=True)])
    gone = torch.cat([view.values[~keep].abs() for view, keep in zip(views, kept, strict=True)])
    if len(stay) and len(gone):
        assert stay.min() >= gone.max()


@given(networks(), st.floats(0, 1))
def test_set_prunes_both_signs_alike(views: list[LayerView], rate: float) -> None:
    view = views[0]
    count = math.floor(rate * view.pattern.nnz)
    kept = kept_by_sign(view, count)
    assert int((~kept).sum()) == count
    positive = view.values >= 0
    for side in (positive, ~positive):
        lost = int((side & ~kept).sum())
        assert abs(lost - count * int(side.sum()) / view.pattern.nnz) < 1
        if (side & kept).any() and lost:
            assert view.values[side & kept].abs().min() >= view.values[side & ~kept].abs().max()


def test_neurons_grow_in_proportion_to_their_mean_score() -> None:
    pattern = Pattern.from_indices(torch.tensor([0, 6]), (3, 4))
    scores = torch.tensor([9.0, 1, 2, 0, 3, 3, 3, 3, 0, 0, 0, 0])
    grown = grown_by_neuron(pattern, torch.tensor([True, True]), scores, 4)  # the pull is 3 : 3 : 0
    assert grown.indices.tolist() == [0, 1, 2, 4, 5, 6]


@given(networks(), st.data())
def test_neuron_growth_has_exact_counts(views: list[LayerView], data: st.DataObject) -> None:
    pattern = views[0].pattern
    scores = torch.tensor(
        data.draw(st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=pattern.numel, max_size=pattern.numel))
    )
    kept = torch.ones(pattern.nnz, dtype=torch.bool)
    count = data.draw(st.integers(0, pattern.numel - pattern.nnz))
    new = grown_by_neuron(pattern, kept, scores, count)
    assert new.nnz == pattern.nnz + count
    assert set(pattern.indices.tolist()) <= set(new.indices.tolist())


@pytest.mark.parametrize("before", [[], [1], [1, 2, 5]])
def test_new_places_get_the_first_number(before: list[int]) -> None:
    old, new = (Pattern.from_indices(torch.tensor(places, dtype=torch.int64), (2, 3)) for places in (before, [1, 4]))
    numbers = torch.full((old.nnz,), 3, dtype=torch.int16)
    found = carried(numbers, old, new, numbers.new_tensor(7))
    assert found.dtype == torch.int16
    assert found.tolist() == [3 if 1 in before else 7, 7]
    assert carried(numbers, old, new).tolist() == [3 if 1 in before else 0, 0]
