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
    """The end of an epoch; ``epoch`` counts from 0. ``diverged`` tells that its loss was one of a run that is lost."""

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
    test_images: int | None = None
    diverged: bool = False


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
class Wrong:
    """A wrongly classified test image with the probabilities that its class and the chosen one were given."""

    sample: Sample
    true: int
    chosen: int
    true_probability: float | None
    chosen_probability: float | None


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """How the test set was classified.

    Attributes:
        classes: their names.
        images: of each class; right: those of them that were classified as it.
        pairs: (true class, chosen class, images) of mistakes, the most frequent first; of very many the frequent ones.
        worst: the images whose class was given the least probability.
    """

    classes: tuple[str, ...]
    images: tuple[int, ...]
    right: tuple[int, ...]
    pairs: tuple[tuple[int, int, int], ...]
    worst: tuple[Wrong, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An image that could not be read: of which part of the data, its name, and why."""

    part: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A layer's pattern, in blocks of (output, input) where it is large.

    Attributes:
        shape: of the dense weight.
        rows, columns: of the picture.
        share, age: a byte a block, 0 (nothing) to 15: the share of weights that exist, and their mean age.
        born: how many weights each part of the run grew, the oldest first.
        empty_outputs, empty_inputs: output and input channels without any weight.
    """

    shape: tuple[int, ...]
    nnz: int
    rows: int
    columns: int
    share: bytes
    age: bytes
    born: tuple[int, ...]
    empty_outputs: int
    empty_inputs: int


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The first layer's weights ``[filters, channels, height, width]``, a byte each.

    Attributes:
        weights: 0 where there is no weight, else 128 + 127 * weight / largest.
        of: how many filters the layer has.
    """

    layer: str
    shape: tuple[int, int, int, int]
    of: int
    largest: float
    weights: bytes


@dataclass(frozen=True, kw_only=True)
class Inside:
    """The network's inside after ``step`` steps and ``updates`` topology updates; ``layout`` tells how it computes."""

    step: int | None
    updates: int
    layers: dict[str, Picture]
    filters: Filters | None
    layout: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EpochTime:
    """Seconds of an epoch: all of them, waiting for the loader, and testing. A resumed epoch has only its rest."""

    epoch: int
    seconds: float | None
    waited: float | None
    tested: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The run's last word; written when it has finished.

    ``chance`` is the share of the largest class in the test images, ``as_a_guess`` whether the accuracy is no better.
    """

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
    chance: float | None = None
    as_a_guess: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a run folder holds; ``notes`` tells what could not be read.

    ``arithmetic`` has the multiply-adds of every layer for one image, were it dense. ``training`` tells whether a
    process of this machine trains in the folder; None where that cannot be known.
    """

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
    inside: Inside | None = None
    bad: tuple[Bad, ...] | None = None
    epoch_times: tuple[EpochTime, ...] = ()
    arithmetic: dict[str, float] = field(default_factory=dict)
    training: bool | None = None
    notes: tuple[str, ...] = ()
