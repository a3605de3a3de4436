"""Do layers with turns at different steps exchange exactly what was decided, with the total the same at every step?"""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint import Pattern
from mezzotint.sparse.rounds import Round
from mezzotint.sparse.rules import Decision
from mezzotint.sparse.view import LayerView


def _views(counts: list[int]) -> list[LayerView]:
    return [
        LayerView(
            name=str(place), values=torch.zeros(count), pattern=Pattern.from_indices(torch.arange(count), (1, 100))
        )
        for place, count in enumerate(counts)
    ]


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """(nonzeros, pruned, grown) of some layers; as many are grown as pruned."""
    counts = draw(st.lists(st.integers(1, 50), min_size=1, max_size=6))
    pruned = [draw(st.integers(0, count)) for count in counts]
    grown, left = [], sum(pruned)
    for place, (count, lost) in enumerate(zip(counts, pruned, strict=True)):
        rest = sum(100 - c + p for c, p in list(zip(counts, pruned, strict=True))[place + 1 :])
        gained = draw(st.integers(max(0, left - rest), min(left, 100 - count + lost)))
        grown.append(gained)
        left -= gained
    return counts, pruned, grown


@given(exchanges(), st.data())
def test_the_total_never_changes_and_all_get_what_was_decided(
    exchange: tuple[list[int], list[int], list[int]], data: st.DataObject
) -> None:
    counts, pruned, grown = exchange
    names = [str(place) for place in range(len(counts))]
    share = [1 / len(counts)] * len(counts)
    plan = Round.planned(10, 0.5, _views(counts), Decision(pruned=pruned, grown=grown, share=share))
    now = dict(zip(names, counts, strict=True))
    order = data.draw(st.permutations(names))
    while order:
        size = data.draw(st.integers(1, len(order)))
        turn, order = order[:size], order[size:]
        plan = Round.from_state(plan.state())  # as a checkpoint in the middle would
        for name, (lost, gained) in plan.take_turns(turn, names).items():
            assert lost <= now[name]
            assert gained == 0 or name in turn
            now[name] += gained - lost
            assert 0 <= now[name] <= 100
        assert sum(now.values()) == sum(counts)
    assert list(now.values()) == [c - p + g for c, p, g in zip(counts, pruned, grown, strict=True)]
    report = plan.report(dict.fromkeys(names, 100))
    for place, change in enumerate(report.layers.values()):
        assert (change.before, change.pruned, change.grown) == (counts[place], pruned[place], grown[place])


@given(exchanges(), st.data())
def test_a_layer_that_is_frozen_meanwhile_takes_no_part(
    exchange: tuple[list[int], list[int], list[int]], data: st.DataObject
) -> None:
    counts, pruned, grown = exchange
    names = [str(place) for place in range(len(counts))]
    able = data.draw(st.lists(st.sampled_from(names), unique=True))
    plan = Round.planned(10, 0.5, _views(counts), Decision(pruned=pruned, grown=grown, share=[1.0] * len(counts)))
    total = 0
    for name in names:
        moves = plan.take_turns([name], able)
        assert set(moves) <= set(able)
        total += sum(gained - lost for lost, gained in moves.values())
        assert total == 0


def test_what_is_too_much_goes_at_the_first_turn_and_the_rest_is_exchanged() -> None:
    decision = Decision(pruned=[4, 9, 2], grown=[1, 1, 4], share=[1 / 3] * 3)
    plan = Round.planned(10, 0.0, _views([10, 20, 30]), decision)
    assert plan.take_turns(["0"], ["0", "1", "2"]) == {"0": (3, 1), "1": (7, 0)}  # 9 too many, of which 2.5 and 6.5
    assert Round.from_state(plan.state()) == plan
    assert plan.take_turns(["2"], ["0", "1", "2"]) == {"0": (1, 0), "1": (1, 0), "2": (2, 4)}
    assert plan.take_turns(["1"], ["0", "1", "2"]) == {"1": (1, 1)}


def test_an_update_that_raises_the_number_changes_each_layer_at_its_own_turn() -> None:
    plan = Round.planned(10, 0.0, _views([10, 20]), Decision(pruned=[4, 5], grown=[10, 0], share=[0.5, 0.5]))
    assert plan.take_turns(["1"], ["0", "1"]) == {"1": (5, 0)}
    assert plan.take_turns(["0"], ["0", "1"]) == {"0": (4, 10)}
