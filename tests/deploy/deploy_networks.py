"""Which small networks and comparisons do the deployment tests use?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session
from mezzotint.deploy.engine import model as engine_model
from mezzotint.deploy.engine import tune
from mezzotint.deploy.engine.compile import Compiled
from mezzotint.kernels.native_program import Choice

DESCRIPTION = Description(
    architecture="resnet20",
    arguments={"num_classes": 4, "in_channels": 3, "image_size": [8, 8]},
    input_shape=(3, 8, 8),
    classes=("ant", "bee", "cat", "dög"),
    protocol="squash256",
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.25),
)


class Own(nn.Module):
    """A network that is not in ``mezzotint.models``: stride, "same" padding, groups, a linear layer, dropout."""

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=stride, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 3, padding="same", groups=2, bias=False),
            nn.Dropout(),
        )
        self.head = nn.Linear(4, 3, bias=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.body(image).mean((2, 3))
        return {"logits": self.head(features), "features": features}


def settle(model: nn.Module) -> nn.Module:
    """Running statistics and biases as training might leave them; evaluation mode."""
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.2
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            module.num_batches_tracked += 7
    return model.eval()


def resnet20(density: float = 0.3) -> nn.Module:
    torch.manual_seed(1)
    model = mz.models.build("resnet20", num_classes=4, in_channels=3, image_size=8)
    return settle(mz.sparsify(model, density, exclude=("conv1",)))


def own(density: float = 0.4) -> nn.Module:
    torch.manual_seed(2)
    return settle(mz.sparsify(Own(), density, "uniform"))


def difference(session: Session, model: nn.Module, *arrays: np.ndarray) -> float:
    """The largest error, relative to the largest number."""
    with torch.no_grad():
        wanted = model(*(torch.from_numpy(array) for array in arrays)).numpy()
    (result,) = session.run(list(arrays))
    assert result.shape == wanted.shape
    return float(np.abs(result - wanted).max(initial=0.0) / np.abs(wanted).max(initial=1e-6))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


@contextmanager
def choosing(pick: Callable[[list[Choice]], Choice]) -> Iterator[None]:
    """Within the block a session's steps take what is picked from their choices, and nothing is measured."""

    def take(compiled: Compiled, shapes: Sequence[tuple[int, ...]], threads: int) -> list[Choice | None]:
        choices = [compiled.program.choices(step) for step in range(len(compiled.program))]
        found = [pick(some) if some else None for some in choices]
        assert any(choice is not None for choice in found)
        tune.apply(compiled, found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_model, "tune", take)
        patch.setattr(engine_model, "tune_abreast", lambda compiled, shapes, alone: take(compiled, shapes, 1))
        yield
