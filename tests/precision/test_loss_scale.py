"""Does the loss scale double and halve when it should, and stay within its bounds?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import InputError
from mezzotint.precision.loss_scale import LARGEST, SMALLEST, LossScale, after_clean_step, after_overflow


def test_doubles_after_clean_steps_in_a_row() -> None:
    scale = LossScale(value=8.0, growth_interval=3)
    values = []
    for overflow in (False, False, True, False, False, False, False, False, False):
        scale = after_overflow(scale) if overflow else after_clean_step(scale)
        values.append(scale.value)
    assert values == [8, 8, 4, 4, 4, 8, 8, 8, 16]
    assert scale.skipped == 1
    assert scale.skipped_in_row == 0


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 3))
def test_stays_a_power_of_two_within_bounds(overflows: list[bool], interval: int) -> None:
    scale = LossScale(value=2.0**16, growth_interval=interval)
    for overflow in overflows:
        scale = after_overflow(scale) if overflow else after_clean_step(scale)
        assert SMALLEST <= scale.value <= LARGEST
        assert scale.value.hex().startswith("0x1.0000000000000p")
        assert scale.clean_steps < interval
    assert scale.skipped == sum(overflows)


def test_constant_when_not_dynamic() -> None:
    scale = LossScale(value=1.0, growth_interval=1, dynamic=False)
    assert after_clean_step(scale).value == 1
    assert after_overflow(scale).value == 1
    assert after_overflow(scale).skipped_in_row == 1


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 2.0**25])
def test_refuses_values_out_of_range(value: float) -> None:
    with pytest.raises(InputError, match="loss scale"):
        LossScale(value=value, growth_interval=1)


def test_refuses_intervals_below_one() -> None:
    with pytest.raises(InputError, match="growth_interval: received 0"):
        LossScale(value=1.0, growth_interval=0)
