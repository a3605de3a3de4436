"""Is the memory really saved? No tensor of a dense weight's size is alive after a step outside the dense window."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from mezzotint import Precision, SparseMomentum, sparsify
from mezzotint.sparse import sparse_layers


@pytest.fixture(autouse=True)
def _only_new_objects() -> Iterator[None]:
    """What lived before the test is none of its business; the collector's walk leaves frozen objects out."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _live(least: int) -> list[tuple[int, ...]]:
    """Shapes of all new tensors that keep at least ``least`` elements alive."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    parts = [*tensors, *(t.grad for t in tensors if t.is_leaf and t.grad is not None)]
    # A view may be small and still keep all of a large storage.
    return [tuple(t.shape) for t in parts if max(t.numel(), t.untyped_storage().nbytes() // t.element_size()) >= least]


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
    model = sparsify(
        nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.Flatten(), nn.Linear(32, 300)), 0.1
    )
    smallest = min(layer.pattern.numel for layer in sparse_layers(model).values())
    optimizer = kind(model.parameters(), **options)
    precision = Precision(mode)
    topology = SparseMomentum(model, optimizer, interval=5, total_steps=40, window=2)
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
