"""Are the chosen entries the largest, with ties at the lowest positions?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import InputError, RunError
from mezzotint.sparse.ranking import largest, smallest

scores = st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, 2.0]), max_size=20)  # few values: many ties


@given(scores, st.data())
def test_agrees_with_a_stable_sort(numbers: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(numbers)))
    x = torch.tensor(numbers)
    by_size = sorted(range(len(numbers)), key=lambda i: (-numbers[i], i))[:count]
    assert largest(x, count).tolist() == sorted(by_size)
    upwards = sorted(range(len(numbers)), key=lambda i: (numbers[i], i))[:count]
    assert smallest(x, count).tolist() == sorted(upwards)


def test_nan_has_no_rank() -> None:
    with pytest.raises(RunError, match="NaN"):
        largest(torch.tensor([1.0, math.nan]), 1)


@pytest.mark.parametrize("count", [-1, 3])
def test_count_must_fit(count: int) -> None:
    with pytest.raises(InputError, match="0 to 2"):
        largest(torch.ones(2), count)
