"""Can an augmentation that is not ours be named by its dotted path?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import Compose, Key, Loader, build_transform, open_source
from mezzotint.data.random import Keys
from mezzotint.errors import ConfigError, InputError, NotRegistered

MODULE = """
from dataclasses import dataclass
from typing import ClassVar
from mezzotint.data import Augmentation

@dataclass(frozen=True, kw_only=True)
class Darker(Augmentation):
    name: ClassVar[str] = "darker"
    by: int = 2

    def sample(self, key, height, width):
        return {"by": self.by if key.uniform() < 0.5 else 1}

    def apply(self, image, parameters):
        return image // parameters["by"]

    def describe(self):
        return "darker"

class Flat(Darker):
    name = "flat"

    def apply(self, image, parameters):
        return image[..., 0]

class Nothing(Darker):
    name = "nothing"

    def apply(self, image, parameters):
        pass

class Unready(Darker):
    name = "unready"

    def sample(self, key, height, width):
        return {"by": {10: 1}[width]}

class Batch(Darker):
    name = "batch"
    batched = True

    def sample(self, key, height, width):
        return {}

    def apply_batch(self, images, parameters):
        return images[0]
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_darker.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_it_is_used_with_its_settings() -> None:
    chain = build_transform([{"name": "horizontal_flip"}, {"name": "own_darker:Darker", "by": 4}])
    image = torch.full((4, 4, 3), 200, dtype=torch.uint8)
    levels = {int(chain(image, Key(seed=0, epoch=0, sample=sample)).max()) for sample in range(20)}
    assert levels == {200, 50}


@pytest.mark.parametrize(
    ("settings", "kind", "told"),
    [
        ({"name": "own_darker:Lighter"}, NotRegistered, "no 'Lighter' in own_darker"),
        ({"name": "own_darker:dataclass"}, NotRegistered, "a subclass of mezzotint.data.Augmentation"),
        ({"name": "own_darker:Darker", "of": 1}, ConfigError, "allowed: by"),
    ],
)
def test_what_is_wrong_is_told(settings: dict[str, object], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        build_transform([settings])


@pytest.mark.parametrize("then", [[], [{"name": "horizontal_flip"}]])
def test_what_makes_no_image_is_named(then: list[dict[str, object]]) -> None:
    image, key = torch.zeros(4, 5, 3, dtype=torch.uint8), Key(seed=0, epoch=0, sample=0)
    with pytest.raises(InputError, match=r"result of augmentation 'flat': received shape \[4, 5\]; .*\[H, W, C\]"):
        build_transform([{"name": "own_darker:Flat"}, *then])(image, key)
    with pytest.raises(InputError, match=r"result of augmentation 'nothing': received a NoneType"):
        build_transform([{"name": "own_darker:Nothing"}, *then])(image, key)
    chain = build_transform([{"name": "own_darker:Batch"}, *then])
    assert isinstance(chain, Compose)
    with pytest.raises(
        InputError, match=r"result of augmentation 'batch': received shape \[4, 5, 3\]; .*\[N, H, W, C\]"
    ):
        chain.batch(image.expand(2, 4, 5, 3), Keys(seed=0, epoch=0, samples=np.arange(2)))


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_its_faults_are_not_those_of_a_file(extension: str, tmp_path: Path) -> None:
    levels = np.zeros((20, 30, 3), np.uint8)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(levels).save(tmp_path / "images" / name / f"0.{extension}")
    transform = build_transform([{"name": "own_darker:Unready"}])
    loader = Loader(open_source(tmp_path / "images"), transform, batch_size=2, on_error="quarantine")
    with pytest.raises(KeyError, match="30"):
        next(iter(loader))
    assert not loader.quarantine
