"""Are numbers written for readers, and do ticks fall on round values inside the axis?"""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.report import numbers
from mezzotint.report.draw.scale import Axis, Scale, fit, linear_ticks, log_ticks

_FINITE = st.floats(-1e100, 1e100, allow_subnormal=False)
_POSITIVE = st.floats(1e-90, 1e90)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.plain(0.031234), "0.03123"),
        (numbers.plain(0.5), "0.5"),
        (numbers.plain(12), "12"),
        (numbers.plain(1.25e-7), "1.25e-7"),
        (numbers.plain(1e-5), "1e-5"),
        (numbers.plain(3.5e12), "3.5e12"),
        (numbers.plain(math.nan), "NaN"),
        (numbers.plain(-math.inf), "−∞"),
        (numbers.plain(None), "–"),
        (numbers.count(1234567), "1,234,567"),
        (numbers.signed(-12), "−12"),
        (numbers.signed(3400), "+3,400"),
        (numbers.signed(0), "0"),
        (numbers.percent(0.9916), "99.2 %"),
        (numbers.percent(0.9916, 4), "99.16 %"),
        (numbers.percent(0.0999999), "10.0 %"),
        (numbers.percent(0.0042), "0.42 %"),
        (numbers.percent(1.0), "100 %"),
        (numbers.percent(359 / 360, 2), "99.7 %"),
        (numbers.percent(0.99996), "99.996 %"),
        (numbers.percent(0.9999999), "100 %"),
        (numbers.percent(1.0000001), "100 %"),
        (numbers.percent(0.0), "0.00 %"),
        (numbers.share(0.005), "0.5 %"),
        (numbers.size(431_000), "431 kB"),
        (numbers.size(999), "999 B"),
        (numbers.size(999_700), "1 MB"),
        (numbers.size(25_600_000), "25.6 MB"),
        (numbers.duration(4.25), "4.25 s"),
        (numbers.duration(192), "3 min 12 s"),
        (numbers.duration(7500), "2 h 05 min"),
        (numbers.ratio(18, 100), "0.18×"),
        (numbers.ratio(1, 0), "–"),
        (numbers.power_of_two(65536.0), "2¹⁶"),
        (numbers.power_of_two(0.5), "2⁻¹"),
        (numbers.power_of_two(3.0), "3"),
    ],
)
def test_examples(written: str, expected: str) -> None:
    assert written.replace("\N{NO-BREAK SPACE}", " ") == expected


@given(st.floats())
def test_no_number_makes_a_formatter_fail(value: float) -> None:
    for write in (numbers.plain, numbers.count, numbers.signed, numbers.percent, numbers.size, numbers.duration):
        assert write(value)
    assert numbers.power_of_two(value)
    assert numbers.ratio(value, 3.0)


@given(_FINITE.filter(lambda value: value == 0 or abs(value) > 1e-90))
def test_plain_keeps_four_digits(value: float) -> None:
    text = numbers.plain(value).replace(",", "").replace("−", "-")
    assert float(text) == pytest.approx(value, rel=5e-3)


@given(_FINITE, _FINITE, st.integers(2, 9))
def test_linear_ticks_are_round_ordered_inside_and_few(one: float, other: float, wanted: int) -> None:
    low, high = min(one, other), max(one, other)
    if not high - low > 1e-6 * max(abs(low), abs(high), 1e-80):
        return
    ticks = linear_ticks(low, high, wanted)
    assert len(ticks) <= wanted + 1
    assert ticks == sorted(set(ticks))
    margin = 1e-6 * (high - low)
    assert all(low - margin <= tick <= high + margin for tick in ticks)
    steps = {f"{(b - a):.6g}" for a, b in itertools.pairwise(ticks)}
    assert len(steps) <= 1


@given(_POSITIVE, st.floats(1.01, 1e60))
def test_log_ticks_lie_inside(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor, 5)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 8
    assert all(low * (1 - 1e-6) <= tick <= low * factor * (1 + 1e-6) for tick in ticks)


@given(
    st.lists(st.floats(-1e100, 1e100), max_size=8), st.sampled_from(["linear", "log", "log2", "auto"]), st.booleans()
)
def test_a_fitted_scale_holds_its_values(values: list[float], kind: str, zero: bool) -> None:
    scale = fit(values, Axis(label="", write=str, kind=kind, zero=zero), 0.0, 100.0)
    places = [scale(value) for value in values]
    assert all(0 <= place <= 100 for place in places)
    assert all(a <= b for a, b in zip(sorted(places), [scale(v) for v in sorted(values)], strict=True))
    assert all(math.isfinite(tick) for tick in scale.ticks(5))


def test_places_of_a_scale() -> None:
    linear = Scale(low=0, high=10, start=100, end=0)
    assert (linear(0), linear(5), linear(10), linear(12)) == (100, 50, 0, 0)
    logarithmic = Scale(low=0.01, high=1, start=0, end=10, kind="log")
    assert logarithmic(0.1) == pytest.approx(5)
    assert logarithmic(0.0) == 0


def test_wide_spreads_get_a_log_axis_and_zero_forbids_it() -> None:
    auto = Axis(label="", write=str)
    assert fit([0.01, 1.0], auto, 0, 1).kind == "log"
    assert fit([0.5, 1.0], auto, 0, 1).kind == "linear"
    assert fit([0.0, 1.0], auto, 0, 1).kind == "linear"
    assert fit([2.0**15, 2.0**17], Axis(label="", write=str, kind="log2"), 0, 1).ticks(5) == [2.0**15, 2.0**16, 2.0**17]
