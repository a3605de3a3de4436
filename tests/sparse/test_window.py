"""Which backward passes does a dense window count? Those that reach the gradients of the active weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import InputError
from mezzotint.sparse import SparseConv2d, SparseLinear
from mezzotint.sparse.layer import SparseLayer, sparse_layers
from mezzotint.sparse.window import DenseWindow

Make = Callable[..., Any]

PASSES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "torch.autograd.grad": lambda loss, x: torch.autograd.grad(loss, x),
    "inputs=": lambda loss, x: loss.backward(inputs=[x]),
}


def windowed(layer: SparseLayer) -> tuple[SparseLayer, DenseWindow]:
    window = DenseWindow()
    layer.open_window(window)
    return layer, window


@pytest.mark.parametrize("passes", PASSES.values(), ids=PASSES)
@pytest.mark.parametrize("kind", ["conv", "linear", "native"])
def test_gradients_of_images_alone_do_not_count(kind: str, passes: Callable[[Tensor, Tensor], object]) -> None:
    if kind == "native":
        conv = nn.Conv2d(32, 32, 3, padding=1)
        model = mz.sparsify(nn.Sequential(conv, nn.BatchNorm2d(32), nn.ReLU()), 0.2, layout="native")
        x = torch.randn(2, 32, 6, 6, requires_grad=True)
    elif kind == "conv":
        model, x = SparseConv2d(3, 4, 3, density=0.5), torch.randn(2, 3, 6, 6, requires_grad=True)
    else:
        model, x = SparseLinear(6, 4, density=0.5), torch.randn(2, 6, requires_grad=True)
    layer, window = windowed(next(iter(sparse_layers(model).values())))
    for _ in range(3):  # the native layout records a pass and does it again
        passes((model(x) ** 2).sum() * 100, x)
        assert window.take() is None
        layer.values.grad = None
        (model(x) ** 2).sum().backward()
        taken = window.take()
        assert taken is not None
        assert layer.values.grad is not None
        active = taken.reshape(-1)[layer.pattern.indices.long()]
        torch.testing.assert_close(active, layer.values.grad, rtol=1e-4, atol=1e-4)


def test_gradients_of_the_values_that_the_loop_takes_itself_count() -> None:
    layer, window = windowed(SparseLinear(6, 4, density=0.5))
    (grad,) = torch.autograd.grad(layer(torch.randn(3, 6)).square().sum(), layer.values)
    taken = window.take()
    assert taken is not None
    torch.testing.assert_close(taken.reshape(-1)[layer.pattern.indices.long()], grad)


def test_training_in_evaluation_mode_is_refused_before_the_step(training: Make) -> None:
    made = training()
    made.model.eval()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    with pytest.raises(InputError, match=r"layer '0': received a training step in evaluation mode.*model\.train\(\)"):
        made.run(range(6))
    for name, value in made.model.state_dict().items():
        if name.startswith("0."):
            assert torch.equal(value, before[name])


def test_a_layer_that_was_frozen_until_its_turn_waits_for_the_next(training: Make) -> None:
    made = training(stagger=False)
    values = sparse_layers(made.model)["0"].values.requires_grad_(False)
    made.run(range(5))
    values.requires_grad_(True)  # the window of its turn, after the sixth step, would have been open by now
    (report,) = made.run([5])
    assert report.layers["0"].grown == report.layers["0"].pruned == 0
    assert report.layers["3"].grown > 0
    (report,) = made.run(range(6, 12))
    assert report.layers["0"].grown > 0
