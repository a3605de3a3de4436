"""Can a method that is not ours be named by its dotted path, and is a wrong path refused in words?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mezzotint as mz
from mezzotint.errors import CheckpointError, InputError, MezzotintError, NotRegistered
from mezzotint.sparse import Decision, DynamicTopology, Rules, Schedule, build, method, options_of, swap_in_place
from mezzotint.sparse.grow import grown_pattern, rewired
from mezzotint.sparse.prune import kept_by_magnitude
from mezzotint.sparse.rounds import Round
from mezzotint.train import SparsityConfig

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAME = "own_method:BusyChannels"


@pytest.fixture
def beside_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.mark.usefixtures("beside_the_example")
def test_own_method_conserves_weights() -> None:
    torch.manual_seed(0)
    model = mz.sparsify(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 5)), 0.2, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    topology = build(NAME, model, optimizer, {"prune_rate": 0.4}, {"interval": 2, "total_steps": 100, "seed": 3})
    before = {name: layer.pattern.indices for name, layer in mz.sparse.sparse_layers(model).items()}
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 6, 6)).square().mean().backward()
        optimizer.step()
        topology.step()
    for name, layer in mz.sparse.sparse_layers(model).items():
        assert layer.nnz == len(before[name])
        assert not torch.equal(layer.pattern.indices, before[name])


@pytest.mark.usefixtures("beside_the_example")
def test_its_options_are_checked_like_ours() -> None:
    assert options_of(NAME)["prune_rate"] == 0.2
    assert SparsityConfig(density=0.1, method=NAME).given == {}
    with pytest.raises(MezzotintError, match=r"sparsity\.options.*rate_of_pruning"):
        SparsityConfig(density=0.1, method=NAME, options={"rate_of_pruning": 1})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:X", "cannot be imported"),
        ("mezzotint.sparse:Nothing", "no 'Nothing' in mezzotint.sparse"),
        ("mezzotint.sparse:Pattern", "a subclass of mezzotint.sparse.DynamicTopology"),
        ("mezzotint.sparse:sparsify", "a function"),
        ("mezzotint.sparse:METHODS", "received dict; allowed: a subclass of mezzotint.sparse.DynamicTopology"),
        ("stat:Ages", r"no 'Ages' in stat \(.*stat\.py\); allowed: a subclass of mezzotint.sparse.DynamicTopology"),
        ("sys:Ages", r"no 'Ages' in sys \(built in\)"),
    ],
)
def test_a_wrong_path_is_refused(name: str, told: str) -> None:
    with pytest.raises(NotRegistered, match=told):
        method(name)


def _run(rules: Rules, steps: int = 2, base: type[DynamicTopology] = DynamicTopology) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = mz.sparsify(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    topology = base(model, optimizer, Schedule(interval=2, total_steps=20), rules)
    report = None
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
        report = topology.step()
    return model, report


def _swap(views: Any, occasion: Any) -> Decision:
    return swap_in_place(views, [2] * len(views))


def _grown(view: Any, lost: int, gained: int, scores: Any, more: int = 0, cut: int = 0) -> mz.Pattern:
    kept = kept_by_magnitude(view, lost)
    return grown_pattern(view.pattern, kept, scores()[cut:], gained + more)


@pytest.mark.parametrize("more", [-1, 5])
def test_a_pattern_of_another_size_is_refused_and_changes_nothing(more: int) -> None:
    torch.manual_seed(0)
    model = mz.sparsify(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def wrong_in_the_last(view: Any, lost: int, gained: int, scores: Any) -> mz.Pattern:
        return _grown(view, lost, gained, scores, more if view.name == "2" else 0)

    rules = Rules(name="mine", decide=_swap, rewire=wrong_in_the_last)
    topology = DynamicTopology(model, optimizer, Schedule(interval=1, total_steps=20), rules)
    model(torch.randn(4, 8)).square().mean().backward()
    optimizer.step()
    before, nnz = mz.sparse.topology_digest(model), mz.sparse.sparse_layers(model)["2"].nnz
    told = (
        rf"rewire of method 'mine', layer '2': received {nnz + more} weights; allowed: {nnz}: {nnz}, 2 fewer and 2 more"
    )
    with pytest.raises(InputError, match=told):
        topology.step()
    assert mz.sparse.topology_digest(model) == before


@pytest.mark.parametrize(
    ("rewire", "told"),
    [
        (lambda view, *rest: view.pattern.to_mask(), r"received a Tensor; allowed: a mezzotint.Pattern.*from_mask"),
        (lambda *rest: None, r"layer '0': received None; allowed: a mezzotint.Pattern"),
        (lambda view, *rest: mz.Pattern.from_mask(view.pattern.to_mask().t()), r"received shape \(8, 6\)"),
        (partial(_grown, cut=1), r"scores: received torch.float32 \[47\]; allowed: a tensor of 48 numbers"),
        (partial(_grown, more=1000), r"count of weights to grow: received 1002; allowed: 0 to "),
        (partial(rewired, keep=lambda view, count: view.values), "kept: received torch.float32"),
        (partial(rewired, keep=lambda view, count: [True]), "kept: received a list"),
        (
            partial(rewired, keep=lambda view, count: torch.ones(3, dtype=torch.bool)),
            r"kept: received torch.bool \[3\]",
        ),
    ],
)
def test_what_is_no_pattern_is_refused(rewire: Callable[..., Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        _run(Rules(name="mine", decide=_swap, rewire=rewire))


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (None, "decide of method 'mine': received None; allowed: a mezzotint.sparse.Decision"),
        (([1, 1], [1, 1], [0.5, 0.5]), "received a tuple"),
        (Decision(pruned=[1], grown=[1, 1], share=[0.5, 0.5]), "pruned: received 1 numbers; allowed: 2, one for each"),
        (Decision(pruned=[1, 1], grown=[1, 1], share=[1.0]), "share: received 1 numbers"),
        (Decision(pruned=[1, 1.0], grown=[1, 1], share=[0.5] * 2), r"pruned of layer '2': received 1.0;.*whole number"),
        (Decision(pruned=[1, -1], grown=[1, 1], share=[0.5] * 2), "pruned of layer '2': received -1"),
        (
            Decision(pruned=[1, 1], grown=[1, 100], share=[0.5] * 2),
            r"grown of layer '2': received 100; allowed: .*0 to",
        ),
        (Decision(pruned=[1, 1], grown=[2, 1], share=[0.5] * 2), "received 2 weights pruned and 3 grown.*budget"),
    ],
)
def test_counts_that_do_not_fit_are_refused(decision: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        _run(Rules(name="mine", decide=lambda views, occasion: decision))


def test_a_method_that_says_its_budget_may_change_the_number_of_weights() -> None:
    class Growing(DynamicTopology):
        @property
        def budget(self) -> int:
            return super().budget + 2 * (self.steps >= 2)

    def decide(views: Any, occasion: Any) -> Decision:
        return Decision(pruned=[1, 1], grown=[2, 2], share=[0.5, 0.5])

    model, report = _run(Rules(name="mine", decide=decide), base=Growing)
    after = {name: layer.nnz for name, layer in mz.sparse.sparse_layers(model).items()}
    assert {name: change.after for name, change in report.layers.items()} == after


def test_unknown_evidence_is_refused_at_once() -> None:
    with pytest.raises(NotRegistered, match=r"evidence: received gradiant; allowed: .*Did you mean 'gradient'"):
        _run(Rules(name="mine", decide=_swap, evidence="gradiant"))


def test_scores_may_be_negative() -> None:
    pattern = mz.Pattern.from_indices(torch.tensor([0, 3]), (2, 3))
    kept = torch.tensor([True, False])
    scores = torch.tensor([9.0, -500.0, -200.0, -300.0, -1000.0, -900.0])
    assert grown_pattern(pattern, kept, scores, 2).indices.tolist() == [0, 2, 3]
    assert grown_pattern(pattern, kept, scores.long(), 5).indices.tolist() == [0, 1, 2, 3, 4, 5]


def test_what_a_method_logs_is_in_its_reports_and_survives_a_checkpoint() -> None:
    def decide(views: Any, occasion: Any) -> Decision:
        swap = swap_in_place(views, [2] * len(views))
        return replace(swap, log={"signs": [float(view.values.sign().mean()) for view in views]})

    _, report = _run(Rules(name="mine", decide=decide))
    assert len(report.extra["signs"]) == 2
    assert report.as_record()["extra"] == report.extra
    _, plain = _run(Rules(name="mine", decide=_swap))
    assert "extra" not in plain.as_record()
    begun = Round.planned(4, 0.5, [], Decision(pruned=[], grown=[], share=[], log={"a": 1}))
    assert Round.from_state(json.loads(json.dumps(begun.state()))).report({}).extra == {"a": 1}
    with pytest.raises(InputError, match=r"log, 'x': received a Tensor; allowed: what JSON can hold"):
        _run(Rules(name="mine", decide=lambda views, _: replace(_swap(views, _), log={"x": torch.ones(2)})))


@pytest.mark.parametrize("place", ["log", "memory"])
def test_what_a_checkpoint_cannot_hold_is_refused_at_once(place: str) -> None:
    def decide(views: Any, occasion: Any) -> Decision:
        return replace(_swap(views, occasion), **{place: {"age": [{3: 0.5}]}})

    told = rf"decide of method 'mine', {place}, 'age', key: received 3; allowed: a text"
    with pytest.raises(InputError, match=told):
        _run(Rules(name="mine", decide=decide))
    with pytest.raises(InputError, match=r"settings of method 'mine', key: received 3; allowed: a text"):
        _run(Rules(name="mine", decide=_swap, settings={3: 0.5}))  # type: ignore[dict-item]


def test_settings_may_be_tuples() -> None:
    """They come back from a checkpoint as lists."""
    model, _ = _run(Rules(name="mine", decide=_swap))
    rules = Rules(name="mine", decide=_swap, settings={"rates": (0.1, (0.2,)), "by_layer": {"0": (1, None)}})
    saved, resumed = (
        DynamicTopology(model, torch.optim.SGD(model.parameters()), Schedule(interval=2, total_steps=20), rules)
        for _ in range(2)
    )
    state = saved.state_dict()
    for given in (state, json.loads(json.dumps(state))):
        resumed.load_state_dict(given)
    other = {**state, "settings": {**state["settings"], "rates": [0.1, [0.3]]}}
    with pytest.raises(CheckpointError, match=r"topology setting 'rates': received \[0\.1, \[0\.3\]\]"):
        resumed.load_state_dict(other)


def test_itop_tells_how_much_was_explored() -> None:
    torch.manual_seed(0)
    model = mz.SparseLinear(16, 16, density=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    topology: Any = build("rigl_itop", model, optimizer, {}, {"interval": 2, "total_steps": 20})
    explored = []
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(4, 16)).square().mean().backward()
        optimizer.step()
        report = topology.step()
        explored += [report.extra["explored"]] if report else []
    assert explored == sorted(explored)
    assert explored[-1] == topology.explored > 0.25
