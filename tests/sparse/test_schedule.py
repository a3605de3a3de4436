"""Are updates, rates and windows where the schedule says?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint.errors import InputError, NotRegistered
from mezzotint.sparse import DynamicTopology, Rules, Schedule, swap_in_place


def _updates(schedule: Schedule) -> list[int]:
    return [step for step in range(schedule.total_steps + 1) if schedule.is_due(step)]


@pytest.mark.parametrize(
    ("interval", "total", "updates"),
    [(10, 40, [10, 20, 30]), (10, 45, [10, 20, 30]), (10, 50, [10, 20, 30, 40]), (10, 19, []), (1, 3, [1, 2])],
)
def test_every_update_is_followed_by_a_whole_interval(interval: int, total: int, updates: list[int]) -> None:
    assert _updates(Schedule(interval=interval, total_steps=total)) == updates


def test_windows_end_at_updates() -> None:
    schedule = Schedule(interval=10, total_steps=40, window=3)
    assert [step for step in range(40) if schedule.collects(step)] == [7, 8, 9, 17, 18, 19, 27, 28, 29]
    assert not schedule.always_collects


@pytest.mark.parametrize("window", [10, 11, 1000])
def test_a_window_as_long_as_the_interval_never_closes_before_the_last_update(window: int) -> None:
    schedule = Schedule(interval=10, total_steps=40, window=window)
    assert [step for step in range(40) if schedule.collects(step)] == list(range(30))
    assert schedule.always_collects


@pytest.mark.parametrize("layers", [1, 2, 3, 5, 10, 14])
def test_staggered_turns_are_spread_and_every_layer_has_one_before_each_update(layers: int) -> None:
    schedule = Schedule(interval=10, total_steps=45, window=2, stagger=True)
    turns = {place: [step for step in range(46) if schedule.has_turn(step, place, layers)] for place in range(layers)}
    for place, steps in turns.items():
        offset = -(-(place + 1) * 10 // layers)
        assert steps == [offset, 10 + offset, 20 + offset]
        windows = [step for step in range(46) if schedule.collects(step, place, layers)]
        assert windows == [step for turn in steps for step in range(max(turn - 2, 0), turn)]
    assert turns[layers - 1] == _updates(schedule)


def test_at_most_one_staggered_window_is_open_where_they_fit() -> None:
    schedule = Schedule(interval=100, total_steps=500, window=20, stagger=True)
    for step in range(500):
        assert sum(schedule.collects(step, place, 5) for place in range(5)) <= 1


def test_windows_that_follow_each_other_are_not_staggered() -> None:
    schedule = Schedule(interval=10, total_steps=40, window=10, stagger=True)
    assert not schedule.is_staggered
    assert [step for step in range(41) if schedule.has_turn(step, 0, 3)] == [10, 20, 30]


def test_an_end_stops_updates_and_decay() -> None:
    schedule = Schedule(interval=10, total_steps=100, end=0.5, final_rate=0.0)
    assert _updates(schedule) == [10, 20, 30, 40, 50]
    assert schedule.rate(50) == 0
    assert schedule.rate(25) == pytest.approx(0.25)


def test_rates_decay() -> None:
    cosine, linear, constant = (
        Schedule(interval=1, total_steps=100, prune_rate=0.5, decay=decay) for decay in ("cosine", "linear", "constant")
    )
    assert cosine.rate(0) == linear.rate(0) == constant.rate(0) == 0.5
    assert cosine.rate(50) == pytest.approx(0.2525)
    assert linear.rate(50) == pytest.approx(0.2525)
    assert cosine.rate(25) > linear.rate(25)
    assert constant.rate(99) == 0.5
    assert cosine.rate(100) == pytest.approx(0.005)
    assert linear.rate(100) == pytest.approx(0.005)
    assert Schedule(interval=1, total_steps=10, prune_rate=0.0).rate(5) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"interval": 0}, "interval: received 0"),
        ({"window": 0}, "window"),
        ({"total_steps": 1.5}, "total_steps"),
        ({"prune_rate": 1.5}, r"prune_rate: received 1\.5"),
        ({"final_rate": -1.0}, "final_rate"),
        ({"end": 0.0}, "end: received 0"),
    ],
)
def test_refuses(change: dict[str, float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Schedule(**({"interval": 1, "total_steps": 2} | change))  # type: ignore[arg-type]


def test_unknown_decay_is_told() -> None:
    with pytest.raises(NotRegistered, match="Did you mean 'cosine'"):
        Schedule(interval=1, total_steps=2, decay="cosin")


@given(st.integers(1, 60), st.integers(1, 200), st.floats(0.01, 1))
def test_updates_are_counted(interval: int, total: int, end: float) -> None:
    schedule = Schedule(interval=interval, total_steps=total, end=end)
    assert schedule.updates == len(_updates(schedule))


def test_the_decay_begins_at_step_0_and_not_at_the_first_update() -> None:
    schedule = Schedule(interval=100, total_steps=400, prune_rate=0.5)
    assert schedule.rate(0) == 0.5
    assert schedule.rate(100) == pytest.approx(0.4275, abs=1e-4)


@pytest.mark.parametrize(
    ("schedule", "fix"),
    [
        (Schedule(interval=31, total_steps=60), "interval=30 is the longest"),
        (Schedule(interval=31, total_steps=60, end=0.25), "interval=15 is the longest"),
        (Schedule(interval=1, total_steps=1), "Train for longer"),
    ],
)
def test_a_schedule_without_updates_is_told_of(schedule: Schedule, fix: str, caplog: pytest.LogCaptureFixture) -> None:
    model = mz.SparseLinear(8, 8, density=0.5)
    rules = Rules(name="mine", decide=lambda views, occasion: swap_in_place(views, [1]))

    def told(schedule: Schedule) -> list[str]:
        caplog.clear()
        DynamicTopology(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule, rules)
        return [record.message for record in caplog.records]

    (text,) = told(schedule)
    assert "'mine' makes 0 updates" in text
    assert fix in text
    longest = int(fix.split("=")[1].split()[0]) if "=" in fix else 0
    if longest:
        assert told(replace(schedule, interval=longest)) == []
