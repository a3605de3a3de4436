"""Does the learning rate go as its schedule says?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.train import ScheduleConfig
from mezzotint.train.schedule import SCHEDULES, factor


def test_cosine_falls_from_one_to_nearly_zero() -> None:
    settings = ScheduleConfig(epochs=4, name="cosine")
    values = [factor(settings, update, 10) for update in range(40)]
    assert values[0] == 1.0
    assert math.isclose(values[20], 0.5)
    assert values == sorted(values, reverse=True)
    assert 0 < values[-1] < 0.01


def test_warm_up_rises_by_equal_parts_and_ends_at_the_full_rate() -> None:
    settings = ScheduleConfig(epochs=3, name="constant", warmup_epochs=0.5)
    assert [factor(settings, update, 10) for update in range(7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


def test_step_drops_at_its_epochs() -> None:
    settings = ScheduleConfig(epochs=4, name="step", drops=(1, 2.5), drop_factor=0.1)
    assert [factor(settings, update, 2) for update in range(8)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    )


@given(
    name=st.sampled_from(list(SCHEDULES)),
    epochs=st.integers(1, 20),
    warmup=st.floats(0, 1),
    per_epoch=st.integers(1, 50),
    place=st.floats(0, 1),
)
def test_the_factor_stays_in_its_range(name: str, epochs: int, warmup: float, per_epoch: int, place: float) -> None:
    settings = ScheduleConfig(epochs=epochs, name=name, warmup_epochs=warmup * epochs, drops=(epochs / 2,))
    assert 0 <= factor(settings, int(place * epochs * per_epoch), per_epoch) <= 1
