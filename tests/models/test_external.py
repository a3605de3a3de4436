"""Does a network of another package come in by its path, with what it asks for, and is every mistake told?"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import models, sparsify
from mezzotint.errors import InputError, NotRegistered
from mezzotint.sparse import sparse_layers

OWN = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes, in_channels=3, units=8):
        first = nn.Conv2d(in_channels, units, 3)
        super().__init__(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, num_classes))

class Inner:
    @staticmethod
    def plain():
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))

def broken(image_size):
    return nn.Conv2d(image_size[0], 7, 3)

def number():
    return 3

constant = 5
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module ``own_nets`` in the working directory."""
    (tmp_path / "own_nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    return tmp_path


def build(name: str, **options: Any) -> nn.Module:
    return models.build(name, num_classes=5, in_channels=3, image_size=8, options=options)


@pytest.mark.usefixtures("own")
def test_it_gets_what_it_has_parameters_for() -> None:
    model = build("own_nets:Net", units=6)
    assert model.training
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    assert [tuple(p.shape) for p in model.parameters()] == [(6, 3, 3, 3), (6,), (5, 6), (5,)]
    assert model(torch.rand(1, 3, 8, 8)).requires_grad
    assert build("own_nets:Inner.plain")(torch.zeros(1, 3, 8, 8)).shape == (1, 5)
    assert list(sparse_layers(sparsify(build("own_nets:Net"), 0.5))) == ["0", "3"]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("own_net:Net", {}, r"cannot be imported \(No module named 'own_net'\).*start from the folder"),
        ("own_nets:Nett", {}, r"received no 'Nett' in own_nets \(.*own_nets\.py\); .*Did you mean 'Net'"),
        ("own_nets:constant", {}, "received int; allowed: a class or function"),
        ("own_nets:number", {}, r"received int; allowed: a torch\.nn\.Module"),
        ("own_nets:broken", {}, "RuntimeError for images of 3 x 8 x 8"),
        ("own_nets:Net", {"num_classes": 4}, r"output of shape \(2, 4\).*allowed: logits of shape \(2, 5\)"),
        ("own_nets:Net", {"unit": 4}, r"model\.options.*'unit'.*allowed: num_classes, in_channels, units"),
    ],
)
def test_mistakes_are_told(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises((InputError, NotRegistered), match=told):
        build(name, **options)


class _Timm(nn.Module):
    def __init__(self, num_classes: int, in_chans: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.fc = nn.Linear(in_chans * 64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.flatten(1))
        return logits


def test_timm_makes_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("timm")
    stand_in = SimpleNamespace(
        is_model=lambda name: name == "tiny",
        list_models=lambda: ["tiny"],
        create_model=lambda name, **arguments: _Timm(**arguments),
    )
    fake.__dict__.update(vars(stand_in))
    monkeypatch.setitem(sys.modules, "timm", fake)
    model = build("timm:tiny", drop_rate=0.2)
    assert isinstance(model, _Timm)
    assert model.drop_rate == 0.2
    assert model.fc.out_features == 5
    with pytest.raises(NotRegistered, match=r"received tinny; .*Did you mean 'tiny'"):
        build("timm:tinny")


def test_without_timm_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(NotRegistered, match=r"timm cannot be imported.*pip install timm"):
        build("timm:resnet18")
