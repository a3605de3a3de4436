"""Do the shares sum exactly, within their bounds, and as near the weights as may be?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import InputError
from mezzotint.sparse.apportion import apportion


@st.composite
def tasks(draw: st.DrawFn) -> tuple[int, list[float], list[int], list[int]]:
    places = draw(st.integers(1, 8))
    weight = st.one_of(st.just(0.0), st.floats(1e-300, 1e300), st.floats(0, 1))
    weights = draw(st.lists(weight, min_size=places, max_size=places))
    lower = draw(st.lists(st.integers(0, 20), min_size=places, max_size=places))
    upper = [low + draw(st.integers(0, 1000)) for low in lower]
    return draw(st.integers(sum(lower), sum(upper))), weights, lower, upper


@given(tasks())
def test_sums_exactly_within_bounds(task: tuple[int, list[float], list[int], list[int]]) -> None:
    total, weights, lower, upper = task
    counts = apportion(total, weights, lower, upper)
    assert sum(counts) == total
    assert all(low <= count <= high for low, count, high in zip(lower, counts, upper, strict=True))
    assert counts == apportion(total, weights, lower, upper)


@given(st.integers(0, 10**9), st.lists(st.floats(0.001, 1000), min_size=1, max_size=30))
def test_unbounded_shares_are_within_one_of_the_quota(total: int, weights: list[float]) -> None:
    counts = apportion(total, weights, [0] * len(weights), [total] * len(weights))
    for count, weight in zip(counts, weights, strict=True):
        quota = total * weight / sum(weights)
        assert quota - 1 - 1e-6 * total**0.5 <= count <= quota + 1 + 1e-6 * total**0.5


@given(tasks())
def test_places_inside_their_bounds_share_alike(task: tuple[int, list[float], list[int], list[int]]) -> None:
    """Water-filling: all places that no bound holds have the same number of units per weight, up to rounding."""
    total, weights, lower, upper = task
    weights = [max(weight, 0.01) if weight < 1e6 else 1e6 for weight in weights]
    counts = apportion(total, weights, lower, upper)
    free = [i for i in range(len(counts)) if lower[i] + 1 < counts[i] < upper[i] - 1]
    for i in free:
        for j in free:
            assert counts[i] - 1 <= (counts[j] + 1) * weights[i] / weights[j] * (1 + 1e-9) + 1e-9


def test_worked_examples() -> None:
    assert apportion(10, [3, 1], [0, 0], [100, 100]) == [8, 2]  # quotas 7.5, 2.5: equal remainders, first place first
    assert apportion(10, [3, 1], [0, 0], [6, 100]) == [6, 4]  # the first is full, the rest goes on
    assert apportion(10, [1, 1, 1], [0, 0, 0], [2, 100, 100]) == [2, 4, 4]
    assert apportion(10, [1, 0], [0, 1], [100, 100]) == [9, 1]  # weight 0 gets its lower bound
    assert apportion(10, [1, 0, 0], [0, 0, 0], [4, 10, 20]) == [4, 2, 4]  # ... until the others are full: by room
    assert apportion(5, [0, 0], [0, 0], [5, 5]) == [3, 2]
    assert apportion(0, [], [], []) == []


@pytest.mark.parametrize(
    ("total", "weights", "lower", "upper", "text"),
    [
        (5, [1.0], [0], [4], "0 to 4"),
        (1, [1.0], [2], [4], "2 to 4"),
        (1, [-1.0], [0], [4], "at least 0"),
        (1, [math.nan], [0], [4], "finite"),
        (1, [math.inf], [0], [4], "finite"),
        (1, [1.0], [3], [2], "lower > upper"),
    ],
)
def test_refuses(total: int, weights: list[float], lower: list[int], upper: list[int], text: str) -> None:
    with pytest.raises(InputError, match=text):
        apportion(total, weights, lower, upper)
