"""Is what layers give what others take, and stays a deep network's picture readable?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.report.record import Move, Topology
from mezzotint.report.sections.exchange import exchanges, flow


def update(step: int, nets: dict[str, int]) -> Topology:
    moves = {
        name: Move(before=100, pruned=max(-net, 0), grown=max(net, 0), after=100 + net, importance=0.1, density=0.1)
        for name, net in nets.items()
    }
    return Topology(step=step, epoch=0, layers=moves)


@given(st.lists(st.lists(st.integers(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5))
def test_givers_lose_and_takers_gain_what_the_updates_say(rows: list[list[int]]) -> None:
    names = ("a", "b", "c", "d")
    balanced = [[*row[:3], -sum(row[:3])] for row in rows]
    moved = exchanges([update(step, dict(zip(names, row, strict=True))) for step, row in enumerate(balanced)])
    for place, name in enumerate(names):
        lost = sum(max(-row[place], 0) for row in balanced)
        gained = sum(max(row[place], 0) for row in balanced)
        assert sum(value for (giver, _), value in moved.items() if giver == name) == pytest.approx(lost)
        assert sum(value for (_, taker), value in moved.items() if taker == name) == pytest.approx(gained)
    assert all(value > 0 and giver != taker for (giver, taker), value in moved.items() if giver == taker or value <= 0)


def test_one_update_is_told_with_its_numbers() -> None:
    chart = flow([update(1, {"a": -30, "b": 10, "c": 20})])
    assert chart is not None
    assert chart.says == "30 weights changed their layer; a gave most, c took most."
    assert [row[:2] for row in chart.table.rows] == [("a → c", "20"), ("a → b", "10")]
    assert chart.draw(640.0).body.count('class="item ribbon"') == 2


def test_nothing_is_drawn_where_nothing_moved() -> None:
    assert flow([update(1, {"a": 0, "b": 0})]) is None


def test_small_layers_are_drawn_together() -> None:
    nets = {f"layer{index}": index - 10 for index in range(21)}
    chart = flow([update(1, nets)])
    assert chart is not None
    ends = {name for row in chart.table.rows for name in row[0].split(" → ")}
    assert "all others" in ends
    assert len(ends) == 2 * 7 + 1
    assert "all others gave" not in chart.says


def test_a_deep_network_is_drawn_by_stages() -> None:
    nets = {f"layer{stage}.{block}.conv": 2 - stage for stage in (1, 2, 3) for block in range(6)}
    chart = flow([update(1, nets)])
    assert chart is not None
    assert [row[:2] for row in chart.table.rows] == [("layer3 → layer1", "6")]
