"""What must be saved so that a run goes on exactly where it was? Everything that changes, taken and put back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import CheckpointError, message
from mezzotint.train.checkpoint import Checkpoint
from mezzotint.train.config_file import fingerprint
from mezzotint.train.environment import mezzotint_version
from mezzotint.train.parts import Parts
from mezzotint.train.table import to_table
from mezzotint.train.tensors import join, load_optimizer_state, optimizer_state, split


@dataclass(kw_only=True)
class Counters:
    """Where a run is, and the sums of the epoch under way.

    Attributes:
        step: batches done.
        updates: of these, the steps that were taken; schedules count them.
        seconds: of training and testing, over all processes of the run.
        loss_sum: of the epoch's steps that were taken.
        taken: their number.
        correct, seen: images of the epoch.
        memory: the record of :mod:`mezzotint.train.memory`, measured after the first update that was taken.
        diverged: whether the last epoch that was tested was one of :mod:`mezzotint.train.divergence`.
        lost: all epochs that were, counted from 0.
    """

    step: int = 0
    updates: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    taken: int = 0
    correct: int = 0
    seen: int = 0
    memory: dict[str, Any] | None = None
    diverged: bool = False
    lost: list[int] = field(default_factory=list)

    def begin_epoch(self) -> None:
        """Set the sums to 0."""
        self.loss_sum, self.taken, self.correct, self.seen = 0.0, 0, 0, 0

    @property
    def mean_loss(self) -> float:
        """Of the epoch so far; NaN when no step was taken."""
        return self.loss_sum / self.taken if self.taken else float("nan")

    @property
    def accuracy(self) -> float:
        """Of the epoch so far."""
        return self.correct / self.seen if self.seen else 0.0


def capture(
    parts: Parts, counters: Counters, offsets: Mapping[str, int], decisions: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(JSON-ready state, tensors by file) of a run, for ``checkpoint.save``."""
    optimizer, optimizer_tensors = split(optimizer_state(parts.optimizer, parts.model))
    topology, topology_tensors = split(parts.topology.state_dict())
    state = {
        "mezzotint": mezzotint_version(),
        "config": to_table(parts.config),
        "fingerprint": fingerprint(parts.config),
        "data": asdict(parts.inputs.record),
        "counters": asdict(counters),
        "loader": parts.inputs.train.state_dict(),
        "precision": parts.precision.state_dict(),
        "optimizer": optimizer,
        "topology": topology,
        "average": None if parts.average is None else parts.average.state_dict(),
        "rng": base64.b64encode(torch.get_rng_state().numpy().tobytes()).decode("ascii"),
        "offsets": dict(offsets),
        "decisions": list(decisions),
    }
    average = {} if parts.average is None else parts.average.tensors()
    tensors = {
        "model": parts.model.state_dict(),
        "optimizer": optimizer_tensors,
        "topology": topology_tensors,
        "average": average,
    }
    return state, tensors


def restore(parts: Parts, checkpoint: Checkpoint) -> Counters:
    """Put a saved state into freshly built parts of the same configuration, and return the counters.

    Raises:
        CheckpointError: something in it does not fit the run.
    """
    state = checkpoint.state
    try:
        load_model_state(parts.model, checkpoint.tensors["model"])
        saved_optimizer = join(state["optimizer"], checkpoint.tensors["optimizer"])
        load_optimizer_state(parts.optimizer, parts.model, saved_optimizer)
        parts.topology.load_state_dict(join(state["topology"], checkpoint.tensors["topology"]))
        if parts.average is not None:
            # Older checkpoints have the steps of the topology alone: they are the same.
            average = {"steps": parts.topology.steps, **state["average"]}
            parts.average.load_state_dict(average, checkpoint.tensors["average"])
        parts.precision.load_state_dict(state["precision"])
        parts.inputs.train.load_state_dict(state["loader"])
        counters = Counters(**state["counters"])
        torch.set_rng_state(_random_state(state["rng"]))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            message(
                f"checkpoint {checkpoint.folder}",
                received=f"a state that lacks or has an odd {error}",
                allowed="a state as this version of mezzotint saves it",
            )
        ) from error
    return counters


def state_digest(model: torch.nn.Module) -> str:
    """SHA-256, in hex, of every bit of the model's state: equal on all ranks that hold the same network."""
    content = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        content.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return content.hexdigest()


def load_model_state(model: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load weights and patterns, strictly.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            message(
                "weights of the checkpoint",
                received=str(error),
                allowed="those of the network that the configuration builds",
            )
        ) from error


def _random_state(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype=np.uint8).copy())
