"""What do the tests of sparse training train? A small network, a small problem, and one loop over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import Precision, SparseMomentum, sparsify
from mezzotint.sparse import TopologyReport

Optimizers = dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]
OPTIMIZERS: Optimizers = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=5e-4),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.003, weight_decay=1e-3),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.003, amsgrad=True, foreach=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.003, weight_decay=0.01, fused=True),
}


@dataclass
class Training:
    """A model, its optimiser, precision and topology."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    topology: SparseMomentum

    def loss(self, step: int) -> Tensor:
        """The loss of a batch that depends on the step alone."""
        generator = torch.Generator().manual_seed(step)
        dtype = next(self.model.parameters()).dtype
        x = torch.randn(16, 1, 6, 6, generator=generator, dtype=dtype)
        y = (x[:, 0, 2, 2] > 0).long() + 2 * (x[:, 0, 4, 1] > 0).long()
        with self.precision.autocast():
            return nn.functional.cross_entropy(self.model(x), y)

    def run(self, steps: Sequence[int]) -> list[TopologyReport]:
        """Train; the reports of the updates on the way."""
        reports = []
        for step in steps:
            self.optimizer.zero_grad(set_to_none=True)
            report = self.topology.step(self.precision.step(self.loss(step), self.optimizer))
            reports += [report] if report else []
        return reports

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "topology": self.topology.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])
        self.topology.load_state_dict(state["topology"])


def make_training(
    optimizer: str = "sgd",
    mode: str = "fp32",
    density: float = 0.3,
    dtype: torch.dtype = torch.float32,
    **topology: Any,
) -> Training:
    """A sparse network of three layers; the same at each call after the same seed."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(64, 12),
        nn.ReLU(inplace=True),
        nn.Linear(12, 4),
    )
    sparsify(model.to(dtype), density)
    made = OPTIMIZERS[optimizer](list(model.parameters()))
    settings = {"interval": 6, "total_steps": 48, "window": 4} | topology
    return Training(model, made, Precision(mode), SparseMomentum(model, made, **settings))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors here are tiny: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def training() -> Callable[..., Training]:
    """Makes a training."""
    return make_training


@pytest.fixture(params=list(OPTIMIZERS))
def each_optimizer(request: pytest.FixtureRequest) -> str:
    """Every supported optimiser by name."""
    return str(request.param)
