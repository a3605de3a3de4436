"""Is the memory really saved? No tensor of a dense weight's size is alive after a step outside the dense window."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from mezzotint import Precision, SparseMomentum, sparsify
from mezzotint.kernels.scratch import release_scratch
from mezzotint.sparse import sparse_layers


@pytest.fixture(autouse=True)
def _only_new_objects() -> Iterator[None]:
    """What lived before the test is none of its business; the collector's walk leaves frozen objects out."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _live(least: int) -> list[tuple[int, ...]]:
    """Shapes of all new tensors that keep at least ``least`` elements alive.

    The scratch memory that all layers share is no layer's weight: it is given back first (others test its size).
    """
    release_scratch()
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    parts = [*tensors, *(t.grad for t in tensors if t.is_leaf and t.grad is not None)]
    # A view may be small and still keep all of a large storage.
    return [tuple(t.shape) for t in parts if max(t.numel(), t.untyped_storage().nbytes() // t.element_size()) >= least]


def _network() -> nn.Module:
    """In the plain layout: in the native one the activations of an image, in cells of 16 or 32, outgrow the weights."""
    layers = (nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.Flatten(), nn.Linear(32, 300))
    return sparsify(nn.Sequential(*layers), 0.1, layout="plain")


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("fp32", torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
        ("bf16", torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
        ("fp16", torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
        ("fp16-forward", torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
        ("bf16", torch.optim.Adam, {"lr": 0.001}),
    ],
)
def test_no_dense_tensor_lives_outside_the_window(
    mode: str, kind: Callable[..., torch.optim.Optimizer], options: dict[str, float]
) -> None:
    model = _network()
    smallest = min(layer.pattern.numel for layer in sparse_layers(model).values())
    optimizer = kind(model.parameters(), **options)
    precision = Precision(mode)
    topology = SparseMomentum(model, optimizer, interval=5, total_steps=40, window=2, stagger=False)
    seen = []
    for _ in range(12):
        with precision.autocast():
            loss = model(torch.randn(1, 8, 5, 5)).float().square().mean()
        optimizer.zero_grad(set_to_none=True)
        stepped = precision.step(loss, optimizer)
        topology.step(stepped)
        seen.append(len(_live(smallest)) > 0)
    # Steps 4 and 9 end inside a window: there the check sees the dense moments, so it does see what it looks for.
    assert seen == [step % 5 == 4 for step in range(1, 13)]
    assert all(layer.values.grad is not None for layer in sparse_layers(model).values())


def test_staggered_windows_keep_one_layers_dense_tensors_alive() -> None:
    model = _network()
    shapes = [tuple(layer.weight_shape) for layer in sparse_layers(model).values()]
    smallest = min(layer.pattern.numel for layer in sparse_layers(model).values())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    precision = Precision("bf16")
    topology = SparseMomentum(model, optimizer, interval=6, total_steps=40, window=2)
    seen: list[set[int]] = []
    for _ in range(18):
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast():
            loss = model(torch.randn(1, 8, 5, 5)).float().square().mean()
        precision.backward(loss)
        del loss
        # In the backward pass and after it: pending gradients count, too.
        during = _live(smallest)
        topology.step(precision.update(optimizer))
        sizes = {torch.Size(shape).numel() for shape in [*during, *_live(smallest)]}
        seen.append({place for place, shape in enumerate(shapes) if torch.Size(shape).numel() in sizes})
    assert seen == [{step // 2 % 3} for step in range(18)]
