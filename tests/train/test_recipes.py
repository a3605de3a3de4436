"""Is every recipe in configs/ a valid one, for a network that its sparsity fits, and does each have a fast variant?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mezzotint import models
from mezzotint.sparse import layer_nnz
from mezzotint.sparse.selection import select
from mezzotint.train import load_config, train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.toml"))
#: Recipe -> (images' channels, side, classes).
IMAGES = {"mnist": (1, 28, 10), "cifar10": (3, 32, 10), "imagenet": (3, 224, 1000), "digits": (1, 8, 10)}
#: What the papers say: recipe -> (density, learning rate, weight decay, batch, epochs).
PUBLISHED = {
    "mnist_lenet300": (0.05, 0.1, 5e-4, 100, 100),
    "mnist_lenet5": (0.05, 0.1, 5e-4, 100, 100),
    "cifar10_alexnet_s": (0.1, 0.1, 5e-4, 128, 250),
    "cifar10_vgg_c": (0.05, 0.1, 5e-4, 128, 250),
    "cifar10_vgg_d": (0.05, 0.1, 5e-4, 128, 250),
    "cifar10_vgg_like": (0.03, 0.1, 5e-4, 128, 250),
    "cifar10_wrn16_8": (0.05, 0.1, 5e-4, 128, 250),
    "cifar10_wrn16_10": (0.05, 0.1, 5e-4, 128, 250),
    "cifar10_wrn22_8": (0.05, 0.1, 5e-4, 128, 250),
    "cifar10_wrn28_2": (0.1, 0.1, 5e-4, 128, 250),
    "cifar10_resnet20": (0.1, 0.1, 1e-4, 128, 164),
    "cifar10_resnet32": (0.1, 0.1, 1e-4, 128, 164),
    "cifar10_resnet56": (0.1, 0.1, 1e-4, 128, 164),
    "imagenet_resnet50": (0.1, 0.1, 1e-4, 256, 100),
    "imagenet_resnet50_tuned": (0.1, 0.4, 5e-5, 1024, 100),
    "imagenet_mobilenet_v1": (0.1, 0.1, 4e-5, 256, 100),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_valid_and_its_network_can_be_as_sparse_as_it_says(recipe: str) -> None:
    config = load_config(CONFIGS / recipe)
    assert config.name.replace("-fast", "").replace("-", "_") == Path(recipe).stem
    assert config.name.endswith("-fast") == recipe.startswith("fast/")
    first = (CONFIGS / recipe).read_text(encoding="utf-8")
    assert f"mezzotint train configs/{recipe}" in first  # the comment on top tells how it is started
    place = Path(config.data.path or "digits").name
    channels, side, classes = IMAGES[place]
    with torch.device("meta"):
        make = models.MODELS[config.model.name].make
        model = make(classes, channels, (side, side), **config.model.options)
    layers = select(model, config.sparsity.exclude).layers
    shapes = {name: tuple(layer.weight.shape) for name, layer in layers.items()}
    counts = layer_nnz(shapes, config.sparsity.density, config.sparsity.distribution)
    assert sum(counts.values()) == round(config.sparsity.density * sum(torch.Size(s).numel() for s in shapes.values()))


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_settings_are_the_papers(recipe: str) -> None:
    config = load_config(CONFIGS / f"{recipe}.toml")
    settings = (
        config.sparsity.density,
        config.optimizer.lr,
        config.optimizer.weight_decay,
        config.data.batch_size,
        config.schedule.epochs,
    )
    assert settings == PUBLISHED[recipe]


def test_every_recipe_has_a_fast_variant_of_the_same_network() -> None:
    assert {Path(recipe).stem for recipe in RECIPES if "/" not in recipe} == {*PUBLISHED, "digits"}
    for recipe in PUBLISHED:
        fast = CONFIGS / "fast" / f"{recipe.removesuffix('_tuned')}.toml"
        one, other = load_config(CONFIGS / f"{recipe}.toml"), load_config(fast)
        assert one.model.name == other.model.name
        assert one.sparsity.density == other.sparsity.density
        assert one.sparsity.exclude == other.sparsity.exclude
        assert other.schedule.epochs * other.data.batch_size <= one.schedule.epochs * one.data.batch_size


@pytest.mark.parametrize("recipe", ["fast/mnist_lenet5", "fast/cifar10_resnet20"])
def test_its_data_is_what_it_expects(recipe: str, shared_data: Path, tmp_path: Path) -> None:
    config = load_config(CONFIGS / f"{recipe}.toml")
    place = shared_data / Path(config.data.path or "").name
    # The 10,000 test images in two steps: the whole way through reading, training and testing.
    short = replace(
        config,
        data=replace(config.data, path=str(place), train_split="test", batch_size=5_000),
        sparsity=replace(config.sparsity, density=0.02),
        schedule=replace(config.schedule, epochs=1, warmup_epochs=0.0),
    )
    summary = train(short, folder=tmp_path / "run").summary
    assert summary is not None
    assert summary["steps"] == 2
