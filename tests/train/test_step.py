"""Does one step do what it should, and a skipped one nothing at all?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mezzotint.data.batch import Batch
from mezzotint.errors import ConfigError, DataError
from mezzotint.sparse import sparse_layers
from mezzotint.train import OptimizerConfig, RunConfig
from mezzotint.train.memory import layer_counts, measure, weight_counts
from mezzotint.train.optimizer import build_optimizer, split_parameters
from mezzotint.train.parts import Parts, build_parts, describe
from mezzotint.train.step import Clock, StepResult, training_step
from mezzotint.train.tensors import optimizer_state, split

Make = Callable[..., RunConfig]
FP16 = {"precision": {"mode": "fp16"}, "model": {"name": "digits_cnn"}, "sparsity": {"interval": 3, "window": 3}}


def step(parts: Parts, batch: Batch) -> StepResult:
    return training_step(parts, batch, 0.05, Clock(device=parts.precision.device, running=False))


def everything(parts: Parts) -> tuple[Any, ...]:
    """A deep copy of all that a skipped step must not touch."""
    return copy.deepcopy(
        (
            parts.model.state_dict(),
            split(optimizer_state(parts.optimizer, parts.model)),
            split(parts.topology.state_dict()),
        )
    )


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        for ours, theirs in zip(one, other, strict=True):
            assert_equal(ours, theirs)
    else:
        assert one == other


def test_an_injected_overflow_leaves_no_trace(small: Make) -> None:
    parts = build_parts(small(**FP16))
    batches = [parts.inputs.train.batch_at(0, place) for place in range(3)]
    assert step(parts, batches[0]).stepped
    before, scale = everything(parts), parts.precision.loss_scale
    poisoned = Batch(batches[1].images * 1e30, batches[1].labels, batches[1].indices)
    result = step(parts, poisoned)
    assert not result.stepped
    assert result.topology is None
    assert parts.precision.loss_scale == scale / 2
    assert parts.precision.skipped == 1
    assert_equal(everything(parts), before)  # batch norms' running statistics included
    for layer in sparse_layers(parts.model).values():
        assert layer.values.grad is None or layer.values.grad.shape == layer.values.shape


def test_a_run_with_a_skipped_step_equals_the_run_without_it(small: Make) -> None:
    finals = []
    for poisoned in (False, True):
        # In single precision there is no loss scale that would halve: the two runs must agree in every bit.
        parts = build_parts(small(**{**FP16, "precision": {"mode": "fp32"}}))
        batches = [parts.inputs.train.batch_at(0, place) for place in range(4)]
        if poisoned:
            batches.insert(2, Batch(batches[1].images * math.nan, batches[1].labels, batches[1].indices))
        reports = [result.topology for result in (step(parts, batch) for batch in batches) if result.topology]
        assert len(reports) == 1
        finals.append((everything(parts), reports))
    assert finals[0][1] == finals[1][1]
    assert_equal(finals[0][0], finals[1][0])


@pytest.mark.parametrize("micro", [2, 7])
def test_micro_batches_are_the_same_steps(micro: int, small: Make) -> None:
    finals = []
    for count in (1, micro):
        parts = build_parts(small(data={"micro_batches": count}, optimizer={"clip_norm": 0.5}))
        results = [step(parts, parts.inputs.train.batch_at(0, place)) for place in range(6)]
        assert [result.count for result in results] == [100] * 6
        finals.append((parts, results))
    (one, whole), (other, split_up) = finals
    for layer, twin in zip(sparse_layers(one.model).values(), sparse_layers(other.model).values(), strict=True):
        assert layer.pattern == twin.pattern
        torch.testing.assert_close(layer.values, twin.values)
    assert [result.correct for result in whole] == [result.correct for result in split_up]
    assert [result.loss for result in whole] == pytest.approx([result.loss for result in split_up], rel=1e-5)
    with pytest.raises(ConfigError, match=r"micro_batches: received 101; allowed: 1 to data\.batch_size = 100"):
        small(data={"micro_batches": 101})


def test_the_phases_of_a_step_are_timed(small: Make) -> None:
    parts = build_parts(small())
    clock = Clock(device=torch.device("cpu"), running=True)
    batch = parts.inputs.train.batch_at(0, 0)
    clock.lap("data")
    training_step(parts, batch, 0.1, clock)
    assert list(clock.phases) == ["data", "forward", "backward", "optimizer", "topology"]
    assert all(seconds > 0 for seconds in clock.phases.values())


def test_labels_outside_of_the_classes_are_named(small: Make) -> None:
    parts = build_parts(small())
    batch = parts.inputs.train.batch_at(0, 0)
    labels = batch.labels.clone()
    labels[7] = 10
    with pytest.raises(DataError, match=r"label of .*received 10; allowed: 0 to 9"):
        step(parts, Batch(batch.images, labels, batch.indices))


NORMS = [
    nn.BatchNorm2d(4),
    nn.SyncBatchNorm(4),
    nn.InstanceNorm2d(4, affine=True),
    nn.GroupNorm(2, 4),
    nn.LayerNorm(4),
    nn.RMSNorm(4),
]


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: type(norm).__name__)
def test_no_norm_decays(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm)
    weights, rest = split_parameters(model)
    assert [id(parameter) for parameter in weights] == [id(model.get_parameter("0.weight"))]
    assert len(rest) == 1 + len(list(norm.parameters()))


def test_biases_and_norms_do_not_decay_and_sparse_values_do(small: Make) -> None:
    parts = build_parts(small(model={"name": "digits_cnn"}))
    weights, rest = split_parameters(parts.model)
    names = {id(parameter): name for name, parameter in parts.model.named_parameters()}
    assert {names[id(parameter)] for parameter in weights} == {
        f"{layer}.values" for layer in ("conv1", "conv2", "conv3", "fc")
    }
    assert {names[id(parameter)].split(".")[0] for parameter in rest} == {"bn1", "bn2", "bn3", "fc"}
    groups = parts.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [5e-4, 0.0]
    both = build_optimizer(parts.model, OptimizerConfig(decay_all=True)).param_groups
    assert [group["weight_decay"] for group in both] == [5e-4, 5e-4]


def test_memory_is_that_of_the_live_tensors(small: Make) -> None:
    parts = build_parts(small(sparsity={"density": 0.1}))
    step(parts, parts.inputs.train.batch_at(0, 0))
    memory = measure(parts.model, parts.optimizer)
    counts = weight_counts(parts.model)
    biases = sum(parameter.numel() for name, parameter in parts.model.named_parameters() if name.endswith("bias"))
    assert counts.nnz == sum(layer.nnz for layer in sparse_layers(parts.model).values())
    assert counts.nnz == round(0.1 * counts.numel)
    assert memory.held.weights == memory.held.gradients == memory.held.optimizer == 4 * (counts.nnz + biases)
    assert memory.dense.weights == memory.dense.optimizer == 4 * (counts.numel + biases)
    assert 4 * counts.nnz <= memory.held.index <= 8 * counts.nnz
    assert set(memory.record()) == {"weights", "gradients", "optimizer", "index", "dense"}
    assert {name: item.nnz for name, item in layer_counts(parts.model).items()} == {
        name: layer.nnz for name, layer in sparse_layers(parts.model).items()
    }


def test_counts_of_a_dense_network() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 5))
    counts = weight_counts(model)
    assert (counts.nnz, counts.numel, counts.density) == (38, 38, 1.0)
    assert weight_counts(nn.ReLU()).density == 1.0


def test_the_line_about_a_run(small: Make) -> None:
    assert describe(build_parts(small())) == (
        "lenet_300_100, 10,040 of 50,200 weights (density 0.2, sparse_momentum), fp32, 1,437 images of 10 classes"
    )
    assert "dense" in describe(build_parts(small(sparsity={"density": 1.0})))
    idle = describe(build_parts(small(sparsity={"density": 0.2, "interval": 10**6})))
    assert "(density 0.2, sparse_momentum: 0 updates fit, the pattern stays)" in idle
