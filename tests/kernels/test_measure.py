"""Is the timing of kernels fair, and does it stop in time? A clock of the test's own says how long each run takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from mezzotint.kernels import Kernel, measure


class Trials:
    """Runs kernels that take the given seconds, one entry a run and the last one for ever; the clock follows."""

    def __init__(self, **seconds: Iterable[float]) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.kernels = [Kernel(op="test_measure", name=name, run=lambda: None) for name in seconds]
        self._left = {name: list(entries) for name, entries in seconds.items()}

    def __call__(self, kernel: Kernel) -> None:
        left = self._left[kernel.name]
        self.now += left.pop(0) if len(left) > 1 else left[0]
        self.order.append(kernel.name)


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Callable[[Trials], measure.Race]:
    def run(trials: Trials) -> measure.Race:
        monkeypatch.setattr(measure, "clock", lambda: trials.now)
        return measure.race(trials.kernels, trials)

    return run


def test_rounds_are_interleaved_and_the_warm_up_does_not_count(race: Callable[[Trials], measure.Race]) -> None:
    trials = Trials(a=[0.008, 0.0012], b=[0.001])
    result = race(trials)
    assert trials.order == ["a", "b"] * (measure.ROUNDS + 1)
    assert result.winner.name == "b"
    assert result.milliseconds == {"a": 1.2, "b": 1.0}
    assert result.rounds == measure.ROUNDS


def test_one_disturbed_round_does_not_decide(race: Callable[[Trials], measure.Race]) -> None:
    result = race(Trials(a=[0.001, 0.009, 0.001], b=[0.0011]))
    assert (result.winner.name, result.milliseconds["a"]) == ("a", 1.0)


def test_a_clearly_slower_kernel_drops_out_after_two_looks(race: Callable[[Trials], measure.Race]) -> None:
    trials = Trials(slow=[0.0016], quick=[0.001], middling=[0.0013])
    result = race(trials)
    assert trials.order.count("slow") == 2, "the warm-up and one round"
    assert trials.order.count("middling") == trials.order.count("quick") == measure.ROUNDS + 1
    assert result.winner.name == "quick"
    assert result.milliseconds["slow"] == 1.6


def test_timing_ends_when_one_kernel_is_left(race: Callable[[Trials], measure.Race]) -> None:
    trials = Trials(slow=[0.002], quick=[0.001])
    assert race(trials).rounds == 1
    assert trials.order == ["slow", "quick"] * 2


def test_a_slow_first_run_alone_rules_nobody_out(race: Callable[[Trials], measure.Race]) -> None:
    assert race(Trials(cold=[0.05, 0.0009], warm=[0.001])).winner.name == "cold"


def test_the_budget_ends_timing_after_two_rounds(race: Callable[[Trials], measure.Race]) -> None:
    long = measure.BUDGET
    trials = Trials(a=[long], b=[1.1 * long])
    assert race(trials).rounds == 2
    assert trials.order == ["a", "b"] * 3


def test_a_hopeless_kernel_runs_once(race: Callable[[Trials], measure.Race]) -> None:
    trials = Trials(hopeless=[4.0], a=[1.0], b=[1.1])
    result = race(trials)
    assert trials.order.count("hopeless") == 1
    assert result.milliseconds["hopeless"] == 4000.0
    assert result.winner.name == "a"
