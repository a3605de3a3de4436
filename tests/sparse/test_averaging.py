"""Does an average follow weights that move, in a loop of one's own, and is one that cannot follow them told?"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from mezzotint import sparsify
from mezzotint.errors import CheckpointError, InputError, NotRegistered
from mezzotint.sparse import WeightAverage, sparse_layers

Make = Callable[..., Any]


def _dense(model: nn.Module) -> list[Tensor]:
    return [layer.dense_weight().detach() for layer in sparse_layers(model).values()]


def test_buffers_are_averaged_too_and_counters_are_not() -> None:
    model = sparsify(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), 0.5, layout="plain")
    average = WeightAverage(model, "swa")
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    for value in (1.0, 2.0, 6.0):
        norm.running_mean.fill_(value)
        norm.num_batches_tracked += 1
        average.step()
    tensors = average.tensors()
    assert tensors["1.running_mean"].tolist() == [3.0] * 4
    assert int(tensors["1.num_batches_tracked"]) == 3
    with average.applied():
        assert norm.running_mean.tolist() == [3.0] * 4
    assert norm.running_mean.tolist() == [6.0] * 4


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_numbers_that_have_no_average_are_those_of_the_model(kind: str) -> None:
    """A causal mask is -inf above the diagonal; what is masked may change."""
    model = nn.Linear(2, 2)
    mask = torch.tensor([0.0, -torch.inf, -torch.inf, torch.inf, 1.0])
    model.register_buffer("mask", mask)
    average = WeightAverage(model, kind, decay=0.9)
    average.step()
    average.step()
    assert torch.equal(average.tensors()["mask"], mask)
    mask[1], mask[4] = 3.0, -torch.inf
    average.step()
    assert torch.equal(average.tensors()["mask"], torch.tensor([0.0, 3.0, -torch.inf, torch.inf, -torch.inf]))


def test_a_buffer_that_is_not_saved_is_not_averaged() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("grid", torch.ones(3), persistent=False)
    average = WeightAverage(model, "swa")
    average.step()
    model.get_buffer("grid").fill_(3.0)
    average.step()
    tensors = average.tensors()
    assert set(tensors) == set(model.state_dict())
    resumed = WeightAverage(model, "swa")
    resumed.load_state_dict(average.state_dict(), tensors)
    with resumed.applied():
        assert model.get_buffer("grid").tolist() == [3.0] * 3
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in resumed.tensors().items())


def test_a_module_of_two_names_has_one_average_under_both() -> None:
    model = nn.Sequential()
    model.add_module("a", nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)))
    model.add_module("b", model.get_submodule("a"))
    average = WeightAverage(sparsify(model, 0.5), "swa")
    (layer,) = sparse_layers(model).values()
    for value in (1.0, 2.0, 6.0):
        layer.values.data.fill_(value)
        model.get_buffer("a.1.running_mean").fill_(value)
        average.step()
    tensors = average.tensors()
    for name in ("a.0.values", "b.0.values", "a.1.running_mean", "b.1.running_mean"):
        assert set(tensors[name].tolist()) == {3.0}, name


def test_an_error_while_the_averages_are_applied_gives_the_weights_back() -> None:
    model = sparsify(nn.Sequential(nn.Linear(8, 8)), 0.5)
    average = WeightAverage(model, "ema", decay=0.5)
    average.step()
    (layer,) = sparse_layers(model).values()
    layer.values.data.add_(1)
    own = layer.values.detach().clone()

    def fail_inside() -> None:
        with average.applied():
            assert not torch.equal(layer.values, own)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert torch.equal(layer.values, own)


@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("topology_first", [True, False])
def test_the_average_follows_the_pattern(kind: str, topology_first: bool, training: Make) -> None:
    """It is that of the dense weights; what was pruned is forgotten, at the latest when the average is looked at."""
    run = training(stagger=False)
    average = WeightAverage(run.model, kind, decay=0.8, start=5)
    expected: list[Tensor] = []
    count = 0
    for step in range(21):
        run.optimizer.zero_grad()
        run.loss(step).backward()
        run.optimizer.step()
        if topology_first:
            run.topology.step()
        if kind == "ema" or step >= 5:
            new, old = _dense(run.model), expected or _dense(run.model)
            keep = count / (count + 1) if kind == "swa" else min(0.8, (1 + count) / (10 + count)) if count else 0.0
            expected = [keep * o + (1 - keep) * n for o, n in zip(old, new, strict=True)]
            count += 1
        average.step()
        if not topology_first:
            run.topology.step()
        expected = [
            mean * layer.pattern.to_mask()
            for mean, layer in zip(expected, sparse_layers(run.model).values(), strict=bool(expected))
        ]
    assert average.count == count
    own = _dense(run.model)
    with average.applied():
        inside = copy.deepcopy(run.model)
    for model in (inside, copy.deepcopy(run.model)):
        model.load_state_dict(average.tensors())
        for mine, theirs in zip(_dense(model), expected, strict=True):
            torch.testing.assert_close(mine, theirs)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(_dense(run.model), own, strict=True))


def test_skipped_steps_do_not_count_and_a_saved_average_goes_on(training: Make) -> None:
    whole, cut = training(), training()
    cut.load(whole.state())
    averages = [WeightAverage(run.model, "swa", start=3) for run in (whole, cut)]
    for step in range(10):
        if step == 6:
            state, tensors = averages[1].state_dict(), averages[1].tensors()
            assert state == {"kind": "swa", "steps": 6, "count": 3}
            averages[1] = WeightAverage(cut.model, "swa", start=3)
            averages[1].load_state_dict(state, tensors)
        for run, average in zip((whole, cut), averages, strict=True):
            average.step(stepped=False)
            run.run([step])
            average.step()
    first, second = (average.tensors() for average in averages)
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(CheckpointError, match="received ema; allowed: swa"):
        averages[0].load_state_dict({"kind": "ema", "steps": 1, "count": 1}, {})


def test_wrong_settings_are_told(training: Make) -> None:
    model = training().model
    with pytest.raises(NotRegistered, match=r"kind: received emma; allowed: ema, swa\. Did you mean 'ema'"):
        WeightAverage(model, "emma")
    with pytest.raises(InputError, match="decay: received 1"):
        WeightAverage(model, decay=1.0)
    with pytest.raises(InputError, match="start: received -1"):
        WeightAverage(model, "swa", start=-1)


@pytest.mark.parametrize("average", [get_ema_multi_avg_fn(0.8), get_swa_multi_avg_fn()], ids=["ema", "swa"])
@pytest.mark.parametrize("redistribution", ["none", "momentum"])
def test_the_averaged_model_of_torch_is_told_before_it_is_ruined(
    average: Any, redistribution: str, training: Make
) -> None:
    run = training(redistribution=redistribution, stagger=False)
    averaged = AveragedModel(run.model, multi_avg_fn=average)
    patterns = {name: layer.pattern for name, layer in sparse_layers(run.model).items()}
    with pytest.raises(InputError, match=r"average of layer '.*AveragedModel.*Use mezzotint\.sparse\.WeightAverage"):
        _train_with(run, averaged.update_parameters)
    assert all(layer.pattern is patterns[name] for name, layer in sparse_layers(run.model).items())


def test_an_average_by_hand_is_told_too(training: Make) -> None:
    run = training(stagger=False)
    mean = copy.deepcopy(run.model).requires_grad_(False)

    def update(model: nn.Module) -> None:
        for old, new in zip(mean.parameters(), model.parameters(), strict=True):
            old.lerp_(new.detach(), 0.1)

    with pytest.raises(InputError, match=r"average of layer"):
        _train_with(run, update)


def _train_with(run: Any, update: Callable[[nn.Module], None]) -> None:
    for step in range(20):
        run.run([step])
        update(run.model)


def _left_alone(run: Any, other: nn.Module, step: int) -> None:
    """A snapshot."""


def _loaded(run: Any, other: nn.Module, step: int) -> None:
    other.load_state_dict(run.model.state_dict())


def _trained(run: Any, other: nn.Module, step: int) -> None:
    if step == 0:
        other.optimizer = torch.optim.SGD(other.parameters(), lr=0.01)  # type: ignore[assignment]
    other.zero_grad()
    other(torch.randn(2, 1, 6, 6)).square().mean().backward()
    other.optimizer.step()  # type: ignore[operator, union-attr]


def _folded(run: Any, other: nn.Module, step: int) -> None:
    if step == 0:
        for layer in sparse_layers(other).values():
            layer.values.detach().mul_(2)


@pytest.mark.parametrize("use", [_left_alone, _loaded, _trained, _folded])
def test_other_copies_are_no_averages(use: Callable[[Any, nn.Module, int], None], training: Make) -> None:
    run = training()
    other = copy.deepcopy(run.model)
    patterns = {name: layer.pattern for name, layer in sparse_layers(run.model).items()}
    for step in range(20):
        use(run, other, step)
        run.run([step])
    assert any(layer.pattern != patterns[name] for name, layer in sparse_layers(run.model).items())
    again = pickle.loads(pickle.dumps(copy.deepcopy(other)))
    for mine, theirs in zip(_dense(again), _dense(other), strict=True):
        assert torch.equal(mine, theirs)
