"""Does a network keep everything but its zeros when its layers are swapped, and swapped back?"""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from mezzotint import Pattern, SparseConv2d, SparseLinear, densify, sparsify
from mezzotint.errors import InputError, NotRegistered
from mezzotint.sparse import select, sparse_layers, topology_digest


class Conv2dOfAnotherKind(nn.Conv2d):
    """A subclass, which may compute anything."""


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        nn.Sequential(nn.Conv2d(16, 16, 3, padding="same", groups=4, padding_mode="reflect")),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: module.weight.detach().clone()
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def test_fresh_weights_are_rescaled_and_trained_ones_kept(caplog: pytest.LogCaptureFixture) -> None:
    fresh, trained = _network(), _network()
    same, before = copy.deepcopy(fresh), _weights(trained)
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked += 1
    with caplog.at_level("INFO"):
        made, again = sparsify(fresh, 0.1), sparsify(same, 0.1, init="rescale")
        pruned = sparsify(trained, 0.1)
    values = [torch.cat([layer.values.detach() for layer in sparse_layers(one).values()]) for one in (made, again)]
    assert torch.equal(*values)
    assert "init='auto' is 'rescale', because nothing shows" in caplog.text
    assert "init='auto' is 'keep', because batch norm" in caplog.text
    for name, layer in sparse_layers(pruned).items():
        assert torch.equal(layer.dense_weight().detach(), before[name] * layer.pattern.to_mask())


@pytest.mark.parametrize("choose", ["random", "magnitude"])
def test_kept_weights_keep_their_values_and_nnz_is_exact(choose: str) -> None:
    model = _network()
    before = _weights(model)
    assert sparsify(model, 0.1, choose=choose, init="keep") is model
    layers = sparse_layers(model)
    assert list(layers) == ["0", "1.0", "2.0", "5"]
    assert sum(layer.nnz for layer in layers.values()) == round(0.1 * sum(w.numel() for w in before.values()))
    for name, layer in layers.items():
        assert torch.equal(layer.dense_weight().detach(), before[name] * layer.pattern.to_mask())


def test_magnitude_keeps_the_largest() -> None:
    layer = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -3.0, 0.5, 0.1], [2.0, 0.5, -0.2, 0.0]]))
    sparse = sparsify(layer, 0.5, choose="magnitude")
    assert isinstance(sparse, SparseLinear)
    assert sparse.pattern.indices.tolist() == [0, 1, 2, 4]  # of the three 0.5, the two at the lowest positions
    assert sparse.values.tolist() == [0.5, -3.0, 0.5, 2.0]


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_densify_gives_the_same_function_and_plain_modules(density: float) -> None:
    model, x = sparsify(_network(), density).eval(), torch.randn(2, 3, 9, 9)
    sparse = model(x)
    assert densify(model) is model
    assert not sparse_layers(model)
    assert type(model[0]) is nn.Conv2d
    assert type(model[5]) is nn.Linear
    assert model[2][0].padding_mode == "reflect"
    torch.testing.assert_close(model(x), sparse)


def test_sparsify_after_densify_finds_the_same_pattern() -> None:
    model = sparsify(_network(), 0.1)
    digest = topology_digest(model)
    nnz = {name: layer.density for name, layer in sparse_layers(model).items()}
    assert topology_digest(sparsify(densify(model), nnz, choose="magnitude")) == digest


def test_random_choice_depends_on_seed_and_name_alone() -> None:
    def digest(seed: int, **options: object) -> str:
        torch.rand(7)  # the global generator is not used
        return topology_digest(sparsify(_network(), 0.1, seed=seed, **options))  # type: ignore[arg-type]

    state = torch.get_rng_state()
    model = _network()
    after_network = torch.get_rng_state()
    sparsify(model, 0.1)
    assert torch.equal(torch.get_rng_state(), after_network)
    torch.set_rng_state(state)
    assert digest(0) == digest(0)
    assert digest(0) != digest(1)
    alone = sparsify(_network(), {"5": 0.5}, exclude=("0", "1", "2"))
    among = sparsify(_network(), {"5": 0.5, "0": 0.1}, exclude=("1", "2"))
    assert sparse_layers(alone)["5"].pattern == sparse_layers(among)["5"].pattern


def test_fresh_and_rescaled_values() -> None:
    layer = nn.Linear(100, 50)
    fresh = sparsify(copy.deepcopy(layer), 0.04, init="fresh")
    rescaled = sparsify(copy.deepcopy(layer), 0.04, init="rescale")
    assert isinstance(fresh, SparseLinear)
    assert isinstance(rescaled, SparseLinear)
    assert fresh.pattern == rescaled.pattern
    rows = fresh.pattern.to_mask().sum(1)
    bound = rows.rsqrt().repeat_interleave(rows)
    for values in (fresh.values, rescaled.values):
        assert bool((values.abs() <= bound * 1.0001).all())
        assert values.abs().max() > 0.25
    kept = layer.weight.reshape(-1)[fresh.pattern.indices.long()]
    torch.testing.assert_close(rescaled.values, kept * (100 / rows).sqrt().repeat_interleave(rows))
    assert not torch.equal(fresh.values, kept)
    again = sparsify(copy.deepcopy(layer), 0.04, init="fresh")
    assert torch.equal(fresh.values, again.values)


def test_excludes_by_name_glob_and_type() -> None:
    def names(*exclude: str | type[nn.Module]) -> list[str]:
        return list(select(_network(), exclude).layers)

    assert names("0", "5") == ["1.0", "2.0"]
    assert names("1") == ["0", "2.0", "5"]  # a container, with what is in it
    assert names("[12].0") == ["0", "5"]
    assert names("*.0") == ["0", "5"]
    assert names(nn.Linear) == ["0", "1.0", "2.0"]
    assert names(nn.Linear, "0") == ["1.0", "2.0"]
    assert list(select(_network(), "5").layers) == ["0", "1.0", "2.0"]  # one exclude need not be in a tuple


def test_an_exclude_that_matches_nothing_is_an_error() -> None:
    model = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 3), "fc": nn.Linear(4, 2)})
    with pytest.raises(InputError, match=r"exclude: received conv; .*Did you mean 'conv1'"):
        sparsify(model, 0.1, exclude=("conv",))
    with pytest.raises(InputError, match="received Embedding"):
        sparsify(model, 0.1, exclude=(nn.Embedding,))
    assert not sparse_layers(model)


def test_what_is_left_alone_is_told(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Conv1d(3, 4, 3), Conv2dOfAnotherKind(3, 4, 3), nn.Linear(3, 3), nn.Linear(4, 4))
    with caplog.at_level(logging.INFO, "mezzotint.sparse"):
        sparsify(model, 0.5, exclude="3")
    assert list(sparse_layers(model)) == ["2"]
    assert "left alone: 0 (Conv1d has no sparse twin)" in caplog.text
    assert "left alone: 1 (Conv2dOfAnotherKind is a subclass" in caplog.text
    assert "left alone: 3 (excluded by '3')" in caplog.text


def test_layers_whose_weights_torch_reads_directly_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    sparsify(model, 0.5)
    assert list(sparse_layers(model)) == ["0"]
    model.eval()(torch.randn(2, 3, 8))


def test_hooks_flags_types_and_other_parameters_are_kept() -> None:
    model = _network()
    model[1].eval()
    model[5].weight.requires_grad_(False)
    model[0].double()
    calls: list[str] = []
    handle = model[0].register_forward_hook(lambda *_: calls.append("hook"))
    biases = [model[0].bias, model[5].bias]
    sparsify(model, 0.5)
    assert not model[1][0].training
    assert model[0].training
    assert not model[5].values.requires_grad
    assert model[0].values.dtype == torch.float64
    assert [model[0].bias, model[5].bias] == biases
    assert model[0].bias is biases[0]
    x = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    model[0](x)
    handle.remove()
    model[0](x)
    assert calls == ["hook"]
    densify(model)
    assert not model[5].weight.requires_grad
    assert not model[1][0].training
    assert model[0].weight.dtype == torch.float64


def test_a_shared_module_is_swapped_in_all_its_places() -> None:
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Sequential(shared))
    sparsify(model, 0.5)
    assert isinstance(model[0], SparseLinear)
    assert model[0] is model[2]
    assert model[0] is model[3][0]
    assert list(sparse_layers(model)) == ["0"]
    densify(model)
    assert type(model[0]) is nn.Linear
    assert model[0] is model[3][0]


def test_excluding_one_place_of_a_shared_module_excludes_it() -> None:
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.Sequential(shared), nn.Linear(6, 6))
    assert list(select(model, "1.0").layers) == ["2"]


def test_a_model_that_is_a_layer_is_returned_as_its_twin() -> None:
    sparse = sparsify(nn.Conv2d(3, 4, 3), 0.5)
    assert isinstance(sparse, SparseConv2d)
    assert type(densify(sparse)) is nn.Conv2d


def test_tied_weights_are_an_error() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(10, 6), "out": nn.Linear(6, 10, bias=False)})
    model["out"].weight = model["embed"].weight
    with pytest.raises(InputError, match=r"weight of layer 'out'.*embed\.weight and out\.weight.*untie"):
        sparsify(model, 0.5)
    sparsify(nn.ModuleDict({"tied": model, "body": nn.Linear(3, 3)}), 0.5, exclude="tied.out")


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: nn.utils.parametrizations.weight_norm(layer),
        lambda layer: nn.utils.parametrizations.spectral_norm(layer),
        lambda layer: prune.l1_unstructured(layer, "weight", amount=1),
    ],
    ids=["weight_norm", "spectral_norm", "prune"],
)
def test_computed_weights_are_an_error(change: object) -> None:
    model = nn.Sequential(nn.Linear(4, 4), change(nn.Linear(4, 4)))  # type: ignore[operator]
    with pytest.raises(InputError, match=r"layer '1'.*computed from others.*Remove the parametrization"):
        sparsify(model, 0.5)
    sparsify(model, 0.5, exclude="1")
    assert list(sparse_layers(model)) == ["0"]


def test_lazy_layers_are_an_error() -> None:
    with pytest.raises(InputError, match=r"lazy.*Run one forward pass first"):
        sparsify(nn.Sequential(nn.LazyLinear(4)), 0.5)


def test_nothing_to_swap_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no layer that can be swapped .*excluded by 'Linear'"):
        sparsify(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), 0.5, exclude=nn.Linear)


@pytest.mark.parametrize("density", [0, 1.5])
def test_bad_density_changes_nothing(density: float) -> None:
    model = _network()
    with pytest.raises(InputError, match="density"):
        sparsify(model, density)
    assert not sparse_layers(model)


def test_unknown_names_are_told() -> None:
    with pytest.raises(NotRegistered, match="Did you mean 'magnitude'"):
        sparsify(_network(), 0.5, choose="magnitud")
    with pytest.raises(NotRegistered, match="keep, rescale, fresh"):
        sparsify(_network(), 0.5, init="xavier")


def test_a_model_without_data_can_be_sparsified_and_filled_later() -> None:
    source = sparsify(_network(), 0.2)
    with torch.device("meta"):
        target = _network()
    sparsify(target, 0.2)
    target.to_empty(device="cpu")
    target.load_state_dict(source.state_dict())
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(source.eval()(x), target.eval()(x))
    assert isinstance(sparse_layers(target)["0"].pattern, Pattern)


def test_what_is_no_dense_module_is_told() -> None:
    model = sparsify(_network(), 0.2)
    with pytest.raises(InputError, match=r"sparse already \(4 sparse layers.*Call densify\(model\) first"):
        sparsify(model, 0.1)
    with pytest.raises(InputError, match=r"received OrderedDict; .*model\.load_state_dict\(state\)"):
        sparsify(_network().state_dict(), 0.1)  # type: ignore[arg-type]
    later = sparsify(_network(), 0.2, exclude="5")
    assert isinstance(sparsify(later, 0.5)[5], SparseLinear)  # type: ignore[index]


@pytest.mark.parametrize("strict", [True, False])
def test_a_dense_checkpoint_is_to_be_loaded_before(strict: bool) -> None:
    model = sparsify(_network(), 0.2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if "values" in name}
    with pytest.raises(RuntimeError, match=r"Load a dense checkpoint before sparsify") as told:
        model.load_state_dict(_network().state_dict(), strict=strict)
    assert str(told.value).count("dense checkpoint") == 1
    assert "Missing key" not in str(told.value)
    assert all(torch.equal(model.state_dict()[name], values) for name, values in before.items())


def test_densities_by_glob() -> None:
    model = sparsify(_network(), {"5": 0.5, "[12].*": 0.25, "*": 1.0})
    assert {name: layer.density for name, layer in sparse_layers(model).items()} == {
        "0": 1.0,
        "1.0": 0.25,
        "2.0": 0.25,
        "5": 0.5,
    }
    halved = sparsify(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), {"*": 0.5}, structure="2:4")
    assert [layer.nnz for layer in sparse_layers(halved).values()] == [32, 32]
    with pytest.raises(InputError, match=r"density by layer: received layers\.\*; allowed: .*globs"):
        sparsify(_network(), {"layers.*": 0.1})
    with pytest.raises(InputError, match=r"no density for '1\.0'"):
        sparsify(_network(), {"0": 0.1})
