"""How long does a network take, a training step or a forward pass? Dense and sparse in turn, in one process.

Dense: PyTorch's best on a CPU, BF16 autocast in channels_last. Sparse: the same network after ``mz.sparsify``, density
uniform over its layers, stem and classifier dense, nothing else changed; in evaluation what ``lower`` makes of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint import models
from mezzotint.deploy.lowered import lower
from mezzotint.lowering import sparsify
from mezzotint.precision import Precision


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a network is measured on: images ``[batch, channels, size, size]`` and that many classes."""

    size: int
    classes: int
    batch: int
    channels: int = 3


SUBJECTS: Final[dict[str, Subject]] = {
    "resnet50": Subject(size=224, classes=1000, batch=32),
    "resnet18": Subject(size=224, classes=1000, batch=32),
    "wrn_28_2": Subject(size=32, classes=10, batch=128),
    "wrn_16_2": Subject(size=32, classes=10, batch=128),
    "resnet20": Subject(size=32, classes=10, batch=128),
    "digits_cnn": Subject(size=8, classes=10, batch=64, channels=1),
}
"""Network -> its usual images, and the batch size when none is given."""
MODES: Final = ("train", "eval")
PER_ROUND: Final = 2
"""Counted calls a round, after one that only brings the caches back: another network has had them."""

Job = Callable[[], float]
"""Works once and returns the seconds of its forward part."""


def job_of(name: str, batch: int, density: float, mode: str = "train") -> Job:
    """One training step, or one forward pass without gradient, of a network of ``SUBJECTS``; density 1 is dense."""
    subject = SUBJECTS[name]
    torch.manual_seed(0)
    network = models.build(name, num_classes=subject.classes, in_channels=subject.channels, image_size=subject.size)
    images = torch.randn(batch, subject.channels, subject.size, subject.size)
    images = images.to(memory_format=torch.channels_last)
    if density < 1:
        network = sparsify(network, density, "uniform", exclude=stem_and_classifier(network))
    else:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch documents it
    if mode == "eval":
        return _forward(network.eval() if density == 1 else lower(network.eval()), images)
    return _step(network, images, torch.randint(0, subject.classes, (batch,)))


def stem_and_classifier(network: nn.Module) -> tuple[str, str]:
    """Names of the first and the last layer with a weight matrix; they stay dense."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return names[0], names[-1]


def _step(network: nn.Module, images: Tensor, labels: Tensor) -> Job:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    precision = Precision("bf16")

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        began = time.perf_counter()
        with precision.autocast():
            loss = F.cross_entropy(network(images).float(), labels)
        forward = time.perf_counter() - began
        precision.step(loss, optimizer)
        return forward

    return step


def _forward(network: nn.Module, images: Tensor) -> Job:
    def forward() -> float:
        began = time.perf_counter()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            network(images)
        return time.perf_counter() - began

    return forward


def measure(name: str, batch: int, densities: Sequence[float], *, mode: str, rounds: int) -> list[dict[str, Any]]:
    """One row a density, the dense network (density 1) first; medians over ``PER_ROUND`` calls a round.

    Returns:
        Rows with ``batch``, ``density``, ``forward_ms``, ``step_ms`` (in evaluation the forward pass is all),
        ``spread`` (largest over smallest time) and ``dense_over_ours``, above 1 where the sparse network wins.
    """
    jobs = {density: job_of(name, batch, density, mode) for density in (1.0, *densities)}
    taken: dict[float, list[tuple[float, float]]] = {density: [] for density in jobs}
    for _ in range(rounds):
        for density, job in jobs.items():
            taken[density] += [_timed(job) for _ in range(1 + PER_ROUND)][1:]
    whole = {density: statistics.median(all_ for _, all_ in samples) for density, samples in taken.items()}
    return [
        {
            "batch": batch,
            "density": density,
            "forward_ms": 1e3 * statistics.median(forward for forward, _ in samples),
            "step_ms": 1e3 * whole[density],
            "spread": max(all_ for _, all_ in samples) / min(all_ for _, all_ in samples),
            "dense_over_ours": whole[1.0] / whole[density],
        }
        for density, samples in taken.items()
    ]


def _timed(job: Job) -> tuple[float, float]:
    began = time.perf_counter()
    forward = job()
    return forward, time.perf_counter() - began
