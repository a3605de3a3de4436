"""Does each layer get the density that the configuration says for it, and the others what is left?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mezzotint.errors import ConfigError
from mezzotint.sparse import SparseConv2d, SparseLinear, layer_nnz, sparse_layers
from mezzotint.train import RunConfig, config_text, train
from mezzotint.train.config_file import parse_config
from mezzotint.train.config_sparsity import SparsityConfig
from mezzotint.train.inputs import open_inputs
from mezzotint.train.layer_densities import goal_density, start_of
from mezzotint.train.parts import build_model
from mezzotint.train.sweep import cell_config, plan

Make = Callable[..., RunConfig]


def built(config: RunConfig) -> nn.Module:
    return build_model(config, open_inputs(config).record)


def nnz(model: nn.Module) -> dict[str, int]:
    return {name: layer.nnz for name, layer in sparse_layers(model).items()}


def test_named_layers_have_their_own_density_and_the_others_share_the_rest(small: Make) -> None:
    layers = {"fc2": 0.5, "fc*": 0.03}
    model = built(small(sparsity={"density": 0.2, "layers": {"fc2": 0.5}}))
    shapes = {name: layer.weight_shape for name, layer in sparse_layers(model).items()}
    others = {name: shape for name, shape in shapes.items() if name != "fc2"}
    assert nnz(model) == {**layer_nnz(others, 0.2, "erk"), "fc2": math.prod(shapes["fc2"]) // 2}
    every = nnz(built(small(sparsity={"density": 0.2, "layers": layers})))
    numel = {name: math.prod(shape) for name, shape in shapes.items()}
    assert every == {name: round((0.5 if name == "fc2" else 0.03) * size) for name, size in numel.items()}


def test_one_leaves_a_layer_dense(small: Make) -> None:
    model = built(small(sparsity={"density": 0.2, "layers": {"fc1": 1.0, "fc2": 1}}))
    assert [type(module) for module in model.modules() if isinstance(module, nn.Linear | SparseLinear)] == [
        *(nn.Linear, nn.Linear, SparseLinear),
    ]
    alone = built(small(sparsity={"density": 1.0, "layers": {"fc1": 0.25}}))
    assert list(sparse_layers(alone)) == ["fc1"], "the others have density 1"
    assert not any(isinstance(module, SparseConv2d) for module in alone.modules())


@pytest.mark.parametrize(("method", "first"), [("rigl", 0.1), ("gmp", 1.0), ("granet", 0.5), ("sparse_momentum", 0.1)])
def test_methods_begin_as_they_do_and_end_at_the_layers_own(
    small: Make, tmp_path: Path, method: str, first: float
) -> None:
    config = small(
        sparsity={"density": 0.3, "distribution": "uniform", "method": method, "layers": {"fc1": 0.1}, "interval": 3}
    )
    start = start_of(built(small(sparsity={"density": 1.0})), config.sparsity)
    assert isinstance(start.density, dict)
    assert start.density["fc1"] == pytest.approx(first)
    assert start.prunes == (first < 1)
    assert start.density["fc2"] == pytest.approx(max(first, 0.3) if method in ("gmp", "granet") else 0.3, abs=1e-3)
    train(config, folder=tmp_path / "run")
    rows = [json.loads(row) for row in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["kind"] == "epoch"][-1]["layers"]
    total = sum(layer["nnz"] for layer in last.values())
    goal = goal_density(built(config), config.sparsity)
    assert isinstance(goal, dict)
    assert total == sum(round(goal[name] * layer["numel"]) for name, layer in last.items())
    if method != "sparse_momentum":  # which redistributes
        assert last["fc1"]["density"] == pytest.approx(0.1, abs=1e-4)


def test_a_run_with_layers_goes_on_from_its_own_file(small: Make, tmp_path: Path) -> None:
    config = small(sparsity={"layers": {"fc1": 1.0, "fc*": 0.1}})
    assert parse_config(config_text(config)) == config
    train(config, folder=tmp_path / "run")
    result = train(config, folder=tmp_path / "run", resume=True)
    assert result.summary is not None
    assert result.summary["method"] == "sparse_momentum"


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ({"fc7": 0.5}, r"sparsity.layers: received 'fc7', which fits no layer; allowed: .*fc1, fc2, fc3.*Did you mean"),
        ({"conv*": 0.5}, r"received 'conv\*', which fits no layer.*sparsity.exclude"),
        ({"fc1": 0.0}, r"sparsity.layers, 'fc1': received 0\.0; allowed: above 0"),
        ({"fc1": "x"}, "'fc1': received 'x'"),
        ({"fc1": True}, "'fc1': received True"),
        ({"fc1": [0.1]}, r"'fc1': received \[0\.1\]"),
        ({"*": 1.0}, "no layer that can be swapped"),
    ],
)
def test_wrong_layers_are_told(small: Make, layers: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        built(small(sparsity={"layers": layers}))


def test_names_without_quotes_are_tables_of_toml_and_mean_the_same() -> None:
    text = (
        'name = "a"\n[data]\nsource = "digits"\n[model]\nname = "resnet20"\n[sparsity.layers]\nlayer1.0.conv1 = 0.5\n'
    )
    assert parse_config(text).sparsity.by_layer == {"layer1.0.conv1": 0.5}


def test_a_sweep_trains_the_dense_network_without_them(small: Make) -> None:
    config = small(sparsity={"layers": {"fc1": 0.5}})
    dense, sparse = (cell_config(config, cell).sparsity for cell in plan(["set"], [1, 0.1], [0]))
    assert (dense.dense, sparse.by_layer) == (True, {"fc1": 0.5})


NAMES = [f"layer{stage}.{block}" for stage in range(3) for block in range(2)]


@given(
    st.dictionaries(st.sampled_from([*NAMES, "*", "layer1.*", "*.0"]), st.floats(0.01, 1), min_size=1, max_size=4),
    st.floats(0.05, 1),
)
def test_any_mixture_of_names_and_globs(layers: dict[str, float], density: float) -> None:
    """Every layer is dense or has the count of the first entry that fits; the others sum to their density."""
    model = nn.Module()
    for stage in range(3):
        model.add_module(f"layer{stage}", nn.Sequential(nn.Linear(20, 10 + stage), nn.Linear(10, 20)))
    start = start_of(model, SparsityConfig(density=density, layers=layers, method="static"))
    assert isinstance(start.density, dict)
    sizes = {name: module.weight.numel() for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert {*start.density, *start.exclude} == set(sizes)
    named = {name: layers[name] for name in sizes if name in layers}
    for name in sizes:
        fitting = [glob for glob in layers if glob.startswith("*") or glob.endswith("*")]
        fits = [glob for glob in fitting if glob == "*" or name.startswith(glob[:-1]) or name.endswith(glob[1:])]
        if name not in named and fits:
            named[name] = layers[fits[0]]
    for name, wanted in named.items():
        assert start.density.get(name, 1.0) == wanted
    rest = {name: size for name, size in sizes.items() if name not in named}
    if rest and density < 1:
        kept = sum(round(start.density[name] * size) for name, size in rest.items())
        assert kept == max(round(density * sum(rest.values())), len(rest))
