"""Is a network that was trained told from a fresh one, and pruned by magnitude without being asked?"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mezzotint import models as our_models
from mezzotint import sparsify
from mezzotint.sparse import select, sparse_layers, topology_digest
from mezzotint.sparse.past import sign_of_training


def _with_norm(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def _without_norm(bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4, bias=bias))


MAKES: dict[str, Callable[[], nn.Sequential]] = {
    "batch norm": lambda: _with_norm(nn.BatchNorm2d(8)),
    "batch norm without counter": lambda: _with_norm(nn.BatchNorm2d(8, track_running_stats=False)),
    "group norm": lambda: _with_norm(nn.GroupNorm(2, 8)),
    "none": _without_norm,
    "none, no biases": lambda: _without_norm(bias=False),
}


def _train(model: nn.Module) -> nn.Module:
    """A few steps of a task that can be learnt."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        x = torch.randn(32, 3, 8, 8, generator=generator)
        y = (x[:, 0, 2, 2] > 0).long() + 2 * (x[:, 1, 4, 4] > 0).long()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def _sign(model: nn.Module) -> str | None:
    return sign_of_training(model, select(model).layers)


@pytest.mark.parametrize("make", MAKES.values(), ids=list(MAKES))
def test_fresh_is_random_and_trained_is_by_magnitude(
    make: Callable[[], nn.Sequential], caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    model = make()
    for trained, choose in ((False, "random"), (True, "magnitude")):
        if trained:
            _train(model)
        assert (_sign(model) is not None) == trained
        caplog.clear()
        with caplog.at_level(logging.INFO, "mezzotint.sparse"):
            found = sparsify(copy.deepcopy(model), 0.3)
        assert f"choose='auto' is {choose!r}, because " in caplog.text
        asked = sparsify(copy.deepcopy(model), 0.3, choose=choose)
        other = sparsify(copy.deepcopy(model), 0.3, choose="random" if trained else "magnitude")
        assert topology_digest(found) == topology_digest(asked) != topology_digest(other)


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet5_caffe", "digits_cnn", "alexnet_s", "resnet20"])
def test_our_networks_are_fresh_when_made(name: str) -> None:
    model = our_models.build(name, num_classes=10, image_size=32)
    assert _sign(model) is None


@pytest.mark.parametrize(
    "draw",
    [
        nn.init.kaiming_normal_,
        nn.init.xavier_uniform_,
        nn.init.orthogonal_,
        lambda weight: nn.init.trunc_normal_(weight, std=0.2),
    ],
)
def test_other_initialisations_are_fresh(draw: Callable[[torch.Tensor], object]) -> None:
    """With their biases at 0, as their authors have it."""
    model = _without_norm()
    for layer in (model[0], model[3]):
        draw(layer.weight)
        nn.init.zeros_(layer.bias)
    assert _sign(model) is None


def test_half_precision_and_models_without_data_are_fresh() -> None:
    assert _sign(_without_norm().to(torch.bfloat16)) is None
    with torch.device("meta"):
        assert _sign(_with_norm(nn.BatchNorm2d(8))) is None
        assert _sign(_without_norm()) is None


def test_old_checkpoints_without_a_counter_show_by_their_statistics() -> None:
    model = _with_norm(nn.BatchNorm2d(8))
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    norm.running_mean[3] = 0.5
    assert _sign(model) == "the running statistics of batch norm '1' are not those of a fresh one"


def test_a_pruned_network_keeps_its_pattern() -> None:
    model = _without_norm()
    with torch.no_grad():
        model[3].weight[torch.rand_like(model[3].weight) < 0.5] = 0
    assert "of the weights of '3' are 0" in str(_sign(model))
    kept = model[3].weight != 0
    sparsify(model, {"3": float(kept.double().mean())}, exclude="0")
    assert torch.equal(sparse_layers(model)["3"].pattern.to_mask(), kept)


def test_structures_take_the_choice_too() -> None:
    model = _train(nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)))
    asked = sparsify(copy.deepcopy(model), 0.5, structure="2:4", choose="magnitude")
    assert topology_digest(sparsify(model, 0.5, structure="2:4")) == topology_digest(asked)
