"""What did a run leave behind? Its record as frozen dataclasses; whatever is absent is None or empty."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.report.files import Object


@dataclass(frozen=True, kw_only=True)
class Step:
    """A logged training step; ``density`` and ``accuracy`` are shares, ``skipped`` tells that it changed nothing."""

    step: int
    epoch: int | None
    loss: float | None
    accuracy: float | None
    lr: float | None
    loss_scale: float | None
    skipped: bool
    density: float | None


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A sparse layer's weights: active ones, all of them, and their quotient."""

    nnz: int | None
    numel: int | None
    density: float | None


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The end of an epoch; ``epoch`` counts from 0."""

    epoch: int
    step: int | None
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    nnz: int | None
    numel: int | None
    density: float | None
    layers: dict[str, Layer]


@dataclass(frozen=True, kw_only=True)
class Move:
    """What a topology update did to one layer, in weights."""

    before: int | None
    pruned: int | None
    grown: int | None
    after: int | None
    importance: float | None
    density: float | None


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A topology update: layer name -> what moved."""

    step: int
    epoch: int | None
    layers: dict[str, Move]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes held by the run and by its dense twin (the keys of both: weights, gradients, optimizer, index)."""

    sparse: dict[str, float]
    dense: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one step, whole and by phase."""

    step: int
    seconds: float | None
    phases: dict[str, float]
    images_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A choice of the kernel launcher."""

    op: str
    problem: str
    kernel: str
    policy: str
    reason: str
    estimates: dict[str, float]
    milliseconds: dict[str, float]
    refusals: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An augmented training image as a PNG in base64; width and height in pixels."""

    picture: str
    width: int
    height: int
    label: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """Confusion counts of the test set: ``confusion[true][predicted]``, square, one row a class."""

    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The run's last word; written when it has finished."""

    name: str = ""
    model: str = ""
    method: str = ""
    precision: str = ""
    test_accuracy: float | None = None
    test_error: float | None = None
    epochs: float | None = None
    steps: float | None = None
    skipped_steps: float | None = None
    seconds: float | None = None
    nnz: float | None = None
    numel: float | None = None
    density: float | None = None
    weight_bytes: float | None = None
    optimizer_bytes: float | None = None
    index_bytes: float | None = None
    dense_weight_bytes: float | None = None
    dense_optimizer_bytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a run folder holds; ``notes`` tells what could not be read."""

    folder: Path
    config_text: str | None = None
    config: Object = field(default_factory=dict)
    environment: Object = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    topology: tuple[Topology, ...] = ()
    memory: Memory | None = None
    timing: tuple[Timing, ...] = ()
    decisions: tuple[Decision, ...] | None = None
    samples: tuple[Sample, ...] | None = None
    mistakes: Mistakes | None = None
    summary: Summary | None = None
    notes: tuple[str, ...] = ()
