"""Do sparse layers compute what dense twins compute, and survive being moved, copied, saved and loaded?"""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.utils import checkpoint

from mezzotint import Pattern, SparseConv2d, SparseLinear, densify, sparsify
from mezzotint.errors import InputError, ShapeError
from mezzotint.sparse import sparse_layers, topology_digest
from mezzotint.sparse.window import DenseWindow

CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": (2, 4), "padding": "same", "dilation": (3, 1)},
    {"kernel_size": 3, "padding": "valid", "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 2, "bias": False},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": "same", "padding_mode": "replicate"},
    {"kernel_size": 4, "padding": "same", "padding_mode": "circular"},
]


def _gradients(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, input gradient and bias gradient under a fixed random weighting of the output."""
    x = x.clone().requires_grad_()
    y = module(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weights).sum().backward()
    bias = [] if module.bias is None else [module.bias.grad]
    assert x.grad is not None
    return [y.detach(), x.grad, *bias]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
def test_convolution_agrees_with_torch(arguments: dict[str, object]) -> None:
    layer = SparseConv2d(4, 6, density=0.4, **arguments)  # type: ignore[arg-type]
    dense = densify(copy.deepcopy(layer))
    assert type(dense) is nn.Conv2d
    x = torch.randn(3, 4, 9, 8)
    for ours, theirs in zip(_gradients(layer, x), _gradients(dense, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    sampled = dense.weight.grad.reshape(-1)[layer.pattern.indices.long()]
    torch.testing.assert_close(layer.values.grad, sampled, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer(x[0]), layer(x)[0])


@pytest.mark.parametrize("leading", [(5,), (2, 3), (2, 1, 2), ()])
def test_linear_agrees_with_torch(leading: tuple[int, ...]) -> None:
    layer = SparseLinear(7, 5, density=0.3)
    dense = densify(copy.deepcopy(layer))
    x = torch.randn(*leading, 7)
    for ours, theirs in zip(_gradients(layer, x), _gradients(dense, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.values.grad, dense.weight.grad.reshape(-1)[layer.pattern.indices.long()])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
def test_open_window_collects_the_dense_gradient(arguments: dict[str, object]) -> None:
    layer = SparseConv2d(4, 6, density=0.4, **arguments)  # type: ignore[arg-type]
    dense = densify(copy.deepcopy(layer))
    window = DenseWindow()
    layer.open_window(window)
    x = torch.randn(3, 4, 9, 8)
    for _ in range(2):  # two micro-batches add up
        _gradients(layer, x)
        _gradients(dense, x)
    torch.testing.assert_close(window.take(), dense.weight.grad, rtol=1e-4, atol=1e-4)
    assert window.take() is None


def test_linear_window_under_autocast_is_fp32_and_exact_in_its_operands() -> None:
    layer, window = SparseLinear(16, 8, density=0.3), DenseWindow()
    layer.open_window(window)
    x = torch.randn(2, 5, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        y.float().square().sum().backward()  # inside the region, as some loops do
    gy = (2 * y.detach().float()).bfloat16().double().reshape(10, 8)
    expected = gy.T @ x.bfloat16().double().reshape(10, 16)
    taken = window.take()
    assert taken is not None
    assert taken.dtype == torch.float32
    torch.testing.assert_close(taken.double(), expected, rtol=1e-5, atol=1e-5)


def test_window_survives_in_place_activations() -> None:
    layer, window = SparseLinear(6, 4, density=0.5), DenseWindow()
    layer.open_window(window)
    x = torch.randn(3, 2, 6)
    y = layer(x)
    gate = (y > 0).float().reshape(6, 4)
    (nn.functional.relu(y, inplace=True).sum() * 2).backward()
    torch.testing.assert_close(window.take(), 2 * gate.T @ x.reshape(6, 6))
    convolution = SparseConv2d(3, 4, 2, density=0.5)
    convolution.open_window(window)
    z = convolution(torch.ones(1, 3, 2, 2))
    gate = (z > 0).float()
    nn.functional.relu(z, inplace=True).sum().backward()
    torch.testing.assert_close(window.take(), gate.view(4, 1, 1, 1).expand(4, 3, 2, 2).contiguous())


@pytest.mark.parametrize("reentrant", [True, False])
def test_window_counts_a_checkpointed_layer_once(reentrant: bool) -> None:
    layer, window = SparseLinear(6, 4, density=0.5), DenseWindow()
    layer.open_window(window)
    x = torch.randn(3, 6, requires_grad=True)
    checkpoint.checkpoint(lambda t: layer(t) * 2, x, use_reentrant=reentrant).sum().backward()
    torch.testing.assert_close(window.take(), 2 * torch.ones(3, 4).T @ x.detach())


def test_closed_window_evaluation_and_frozen_values_collect_nothing() -> None:
    layer, window = SparseLinear(6, 4, density=0.5), DenseWindow()
    x = torch.randn(3, 6, requires_grad=True)
    layer.open_window(window)
    layer.eval()(x).sum().backward()
    layer.train().values.requires_grad_(False)
    layer(x).sum().backward()
    layer.values.requires_grad_(True)
    with torch.no_grad():
        layer(x)
    layer.close_window()
    layer(x).sum().backward()
    assert window.take() is None


@pytest.mark.parametrize("nnz", [12, 3])
@pytest.mark.parametrize("layout", ["plain", "native"])
def test_a_pattern_that_moves_between_the_passes_is_an_error(layout: str, nnz: int) -> None:
    model = sparsify(nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU()), 0.5, layout=layout)
    layer, x = model[0], torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = model(x).square().sum()
    layer.set_pattern(Pattern.from_indices(torch.arange(nnz), (6, 4, 1, 1)), torch.ones(nnz))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    model(x).square().sum().backward()
    assert layer.values.grad.shape == (nnz,)


def test_set_pattern_keeps_the_parameter_while_an_old_graph_lives() -> None:
    layer = SparseLinear(6, 4, density=0.5)
    parameter, seen = layer.values, []
    parameter.register_hook(lambda grad: seen.append(grad.shape))
    loss = layer(torch.randn(3, 6)).sum()  # its graph holds the gradient accumulator of 12 values
    loss.backward()
    pattern = Pattern.from_indices(torch.tensor([0, 7, 23]), (4, 6))
    layer.set_pattern(pattern, torch.tensor([1.0, 2.0, 3.0]))
    assert layer.values is parameter
    assert layer.values.grad is None
    layer(torch.randn(3, 6)).sum().backward()
    assert layer.values.grad is not None
    assert layer.values.grad.shape == (3,)
    assert seen == [(12,), (3,)]
    expected = torch.zeros(24)
    expected[[0, 7, 23]] = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(layer.dense_weight().detach().reshape(-1), expected)


def test_a_zero_value_is_active() -> None:
    layer = SparseLinear(6, 4, density=0.5)
    with torch.no_grad():
        layer.values.zero_()
    assert layer.nnz == 12
    assert int(layer.pattern.to_mask().sum()) == 12
    layer(torch.randn(3, 6)).sum().backward()
    assert layer.values.grad is not None
    assert layer.values.grad.count_nonzero() == 12


def test_dense_weight_is_differentiable() -> None:
    layer = SparseLinear(6, 4, density=0.5)
    layer.dense_weight().square().sum().backward()
    torch.testing.assert_close(layer.values.grad, 2 * layer.values.detach())


def test_state_dict_round_trip_with_another_nnz() -> None:
    source = nn.Sequential(SparseConv2d(4, 6, 3, density=0.2), nn.Flatten(), SparseLinear(6, 5, density=0.5))
    target = nn.Sequential(SparseConv2d(4, 6, 3, density=0.7), nn.Flatten(), SparseLinear(6, 5, density=0.1))
    optimizer = torch.optim.SGD(target.parameters(), lr=0.1)
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    buffer.seek(0)
    target.load_state_dict(torch.load(buffer, weights_only=True))
    assert list(source.state_dict()) == ["0.values", "0.bias", "0.indices", "2.values", "2.bias", "2.indices"]
    assert topology_digest(source) == topology_digest(target)
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(source(x), target(x))
    target(x).sum().backward()
    optimizer.step()  # the optimiser still holds the same parameters
    assert not torch.equal(source(x), target(x))


def test_writing_into_a_state_dict_leaves_the_pattern_alone() -> None:
    layer = SparseLinear(4, 2, pattern=Pattern(torch.tensor([0, 5]), (2, 4)))
    state = layer.state_dict()
    state["indices"].copy_(torch.tensor([3, 4]))
    assert layer.pattern.indices.tolist() == [0, 5]
    layer.load_state_dict(state)
    assert layer.pattern == Pattern(torch.tensor([3, 4]), (2, 4))


def test_loading_what_does_not_fit_names_the_layer() -> None:
    model = nn.ModuleDict({"head": SparseLinear(6, 5, density=0.5)})
    state = model.state_dict()
    before = model["head"].values.clone()
    with pytest.raises(RuntimeError, match=r"head: indices: received position 99; allowed: 0 to 29"):
        model.load_state_dict(state | {"head.indices": torch.tensor([0, 99])})
    with pytest.raises(RuntimeError, match=r"head: values: received shape \(15,\); allowed: \[2\]"):
        model.load_state_dict(state | {"head.indices": torch.tensor([0, 9])})
    with pytest.raises(RuntimeError, match=r"Missing key.*head\.indices"):
        model.load_state_dict({key: value for key, value in state.items() if key != "head.indices"})
    with pytest.raises(RuntimeError, match=r"Missing key.*head\.values"):
        model.load_state_dict({key: value for key, value in state.items() if key != "head.values"})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*head\.weight"):
        model.load_state_dict(state | {"head.weight": torch.zeros(5, 6)})
    assert torch.equal(model["head"].values, before)


def test_deepcopy_and_pickle_close_the_window_and_keep_the_rest() -> None:
    layer, window = SparseLinear(6, 4, density=0.5), DenseWindow()
    layer.open_window(window)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(layer), torch.load(buffer, weights_only=False)):
        assert other.pattern == layer.pattern
        assert torch.equal(other.values, layer.values)
        assert other.values is not layer.values
        other(torch.randn(2, 6)).sum().backward()
        assert window.take() is None
    layer(torch.randn(2, 6)).sum().backward()
    assert window.take() is not None


def test_moves_and_casts() -> None:
    layer = SparseLinear(6, 4, density=0.5).to(torch.bfloat16)
    assert layer.values.dtype == torch.bfloat16
    assert layer.pattern.indices.dtype == torch.int32
    assert layer(torch.randn(2, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16
    pattern = layer.pattern
    layer.to("meta")
    assert layer.values.is_meta
    layer.to_empty(device="cpu")
    assert layer.pattern == pattern


def test_construction_is_reproducible_from_a_generator_and_from_the_seed() -> None:
    def make(seed: int) -> SparseLinear:
        return SparseLinear(20, 10, density=0.3, generator=torch.Generator().manual_seed(seed))

    assert make(1).pattern == make(1).pattern
    assert torch.equal(make(1).values, make(1).values)
    assert make(1).pattern != make(2).pattern
    assert SparseLinear(20, 10, density=0.3).nnz == 60
    assert SparseLinear(20, 10, density=0.0001).nnz == 1


def test_repr_tells_density() -> None:
    assert "density=0.5 (nnz=12 of 24)" in repr(SparseLinear(6, 4, density=0.5))
    text = repr(SparseConv2d(4, 6, 3, padding="same", groups=2, density=0.25, bias=False))
    assert text.startswith("SparseConv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding='same', groups=2, bias=False")


def test_layers_are_listed_in_order_and_once() -> None:
    shared = SparseLinear(4, 4, density=0.5)
    model = nn.Sequential(shared, nn.ReLU(), shared, SparseLinear(4, 2, density=0.5))
    assert list(sparse_layers(model)) == ["0", "3"]


@pytest.mark.parametrize("density", [0, 1.5, -1.0])
def test_density_must_be_a_fraction(density: float) -> None:
    with pytest.raises(InputError, match=r"density: received .* above 0 and up to 1"):
        SparseLinear(6, 4, density=density)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"groups": 3}, r"in_channels: received 4; allowed: a multiple of groups \(=3\)"),
        ({"groups": 0}, "groups"),
        ({"kernel_size": 0}, "kernel_size: received 0"),
        ({"stride": (1, 2, 3)}, "stride"),
        ({"padding": -1}, "padding: received -1"),
        ({"padding": "full"}, '"same" or "valid"'),
        ({"padding": "same", "stride": 2}, "stride 1"),
        ({"padding_mode": "zeroes"}, "Did you mean 'zeros'"),
        ({"density": None}, "neither"),
        ({"pattern": Pattern.from_mask(torch.ones(6, 4, 3, 3, dtype=torch.bool))}, "both"),
    ],
)
def test_convolution_refuses(change: dict[str, object], text: str) -> None:
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "density": 0.5} | change
    with pytest.raises(InputError, match=text):
        SparseConv2d(**arguments)  # type: ignore[arg-type]


def test_pattern_must_have_the_layers_shape() -> None:
    pattern = Pattern.from_mask(torch.ones(6, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"shape \(6, 4\); allowed: shape \(4, 6\)"):
        SparseLinear(6, 4, pattern=pattern)
    layer = SparseLinear(6, 4, density=0.5)
    with pytest.raises(ShapeError, match="pattern"):
        layer.set_pattern(pattern, torch.ones(24))
    with pytest.raises(ShapeError, match=r"\[12\], one per nonzero"):
        layer.set_pattern(layer.pattern, torch.ones(3))
