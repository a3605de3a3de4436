"""What can be set for a training run? Frozen dataclasses, one a section of the configuration file, checked when made.

Every field has a default except what the data set decides. ``None`` means "not used"; TOML, which has no null, leaves
such a key out. The sections and keys of the file are the classes and fields below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mezzotint.data.loader import PREFETCH_BYTES
from mezzotint.data.quarantine import MAX_BAD, POLICIES
from mezzotint.data.sources import SOURCES
from mezzotint.errors import ConfigError, message
from mezzotint.models import MODELS, is_external
from mezzotint.precision import MODES
from mezzotint.train.checks import (
    require_augmentation,
    require_channels,
    require_mix,
    require_number,
    require_one_of,
    require_whole,
)
from mezzotint.train.config_sparsity import SparsityConfig
from mezzotint.train.schedule import SCHEDULES

OPTIMIZERS = ("sgd", "adam", "adamw")
AVERAGES = ("none", "ema", "swa")
_BY_MOMENTUM = ("sparse_momentum", "falling_momentum")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """``[data]``: where images come from and what a batch is.

    Attributes:
        source: kind of source: "digits" (embedded), "idx", "cifar", "tar", "shards", "parquet", "flat", "folder", or
            "auto": found from the files.
        path: file or folder of the data set, or a pattern that matches its shards, from the working directory; empty
            for "digits".
        labels: label file of a "flat" source that does not lie beside the images.
        mapping: ILSVRC2012_ID -> WNID file of a "flat" source with labels in devkit form.
        train_split: part of the data set to train on: "train", or the name of a subfolder or archive.
        test_split: part to test on.
        hold_out: share of the images of each class of ``train_split`` that are tested on in the place of
            ``test_split``, chosen by their names, always the same; in (0, 1). None: the data set has a test part.
        cache: decode every image once and keep all of them in memory; all must have one size.
        batch_size: images a training step. The last batch of an epoch is dropped when it is smaller.
        micro_batches: parts that a batch is computed in, one after the other; their gradients add up. Less memory, the
            same step, but for batch norms, which see the parts.
        test_batch_size: images a step of the evaluation; does not change its result beyond rounding.
        augment: augmentations of training images, in order: ``[{name = "random_crop", padding = 2}]``.
        mix: mixes of training images within a batch, in order, on the training device: ``[{name = "mixup"}]``.
        protocol: evaluation protocol of the test images, with settings or without ("squash256",
            "timm:crop_pct=0.95,interpolation=bilinear"); None: they enter as they are.
        mean: per channel, of pixels in [0, 1]; "auto": what the protocol states, otherwise of the training images.
        std: likewise.
        threads: threads that decode and augment; 0: the training thread does it.
        processes: processes in their place, for augmentations of your own that hold Python's lock.
        prefetch_bytes: of batches that are made before they are needed, at most; one batch always may.
        on_error: what becomes of an image that cannot be read: "fail" ends the run; "quarantine" leaves it out and
            reports it (``quarantine.json``). In training another one fills its place in the batch; in tests none does.
        max_bad: share of the training (and of the test) images that may be in quarantine, 0 to 1; one always may.
    """

    source: str = "auto"
    path: str = ""
    labels: str | None = None
    mapping: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    hold_out: float | None = None
    cache: bool = False
    batch_size: int = 128
    micro_batches: int = 1
    test_batch_size: int = 500
    augment: tuple[dict[str, Any], ...] = ()
    mix: tuple[dict[str, Any], ...] = ()
    protocol: str | None = None
    mean: str | tuple[float, ...] = "auto"
    std: str | tuple[float, ...] = "auto"
    threads: int = 0
    processes: int = 0
    prefetch_bytes: int = PREFETCH_BYTES
    on_error: str = "fail"
    max_bad: float = MAX_BAD

    def __post_init__(self) -> None:
        require_one_of("data.source", self.source, ("auto", *SOURCES))
        if self.source == "digits" and self.path:
            raise ConfigError(
                message(
                    "data.path",
                    received=self.path,
                    allowed='nothing, as data.source is "digits", which is embedded',
                    fix='Remove data.source (or set it to "auto") to read the path.',
                )
            )
        if self.source != "digits" and not self.path:
            raise ConfigError(
                message(
                    "data.path",
                    received="nothing",
                    allowed="the path of a data set",
                    fix='Set data.path, or data.source = "digits" for the embedded data set.',
                )
            )
        self._check_hold_out()
        require_whole("data.batch_size", self.batch_size, 1)
        require_whole("data.micro_batches", self.micro_batches, 1)
        if self.micro_batches > self.batch_size:
            raise ConfigError(
                message(
                    "data.micro_batches",
                    received=self.micro_batches,
                    allowed=f"1 to data.batch_size = {self.batch_size}",
                )
            )
        require_whole("data.test_batch_size", self.test_batch_size, 1)
        self._check_loading()
        for place, settings in enumerate(self.augment):
            require_augmentation(f"data.augment[{place}]", settings)
        for place, settings in enumerate(self.mix):
            require_mix(f"data.mix[{place}]", settings)
        require_channels("data.mean", self.mean, above=False)
        require_channels("data.std", self.std, above=True)
        if "auto" in (self.mean, self.std) and self.mean != self.std:
            raise ConfigError(
                message("data.mean and data.std", received="one of them", allowed='both numbers, or both "auto"')
            )

    def _check_hold_out(self) -> None:
        if self.hold_out is None:
            return
        require_number("data.hold_out", self.hold_out, 0.0, 1.0, above=True, below=True)
        if self.train_split == self.test_split:
            received = f"{self.hold_out} with data.train_split and data.test_split both {self.train_split!r}"
            fix = 'Leave data.test_split out: "test" then means the images held out.'
            raise ConfigError(message("data.hold_out", received=received, allowed="two names", fix=fix))

    def _check_loading(self) -> None:
        for name in ("threads", "processes", "prefetch_bytes"):
            require_whole(f"data.{name}", getattr(self, name), 0)
        if self.threads and self.processes:
            raise ConfigError(message("data.processes", received=self.processes, allowed="0 where data.threads is not"))
        require_one_of("data.on_error", self.on_error, POLICIES)
        require_number("data.max_bad", self.max_bad, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """``[model]``: which network.

    Attributes:
        name: a key of ``mezzotint.models.MODELS``, ``"package.module:Class"`` for a network of your own, or
            ``"timm:name"``. Classes, channels and image size come from the data.
        options: what else the network takes: ``{dropout = 0.3}``.
        zero_init: start residual branches at zero.
        weights: start from these instead of random ones: a run or checkpoint folder, a ``.safetensors`` or ``.pt``
            file. Dense weights are pruned to the first density, by magnitude and keeping their values unless
            ``sparsity.choose`` and ``sparsity.init`` say otherwise; sparse ones bring their patterns.
        weights_skip: entries of the state dict that start anew all the same, globs: ``["fc.*"]`` for other classes.
    """

    name: str = "digits_cnn"
    options: dict[str, Any] = field(default_factory=dict)
    zero_init: bool = False
    weights: str | None = None
    weights_skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_external(self.name):
            require_one_of("model.name", self.name, MODELS)
        if self.weights_skip and self.weights is None:
            raise ConfigError(message("model.weights_skip", received=list(self.weights_skip), allowed="model.weights"))


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig:
    """``[precision]``: in which numbers.

    Attributes:
        mode: "fp32", "bf16", "fp16" or "fp16-forward".
        init_scale: first loss scale of "fp16", 2^-14 to 2^24.
        growth_interval: clean steps in a row after which the loss scale doubles.
    """

    mode: str = "fp32"
    init_scale: float = 65536.0
    growth_interval: int = 2000

    def __post_init__(self) -> None:
        require_one_of("precision.mode", self.mode, MODES)
        require_number("precision.init_scale", self.init_scale, 2.0**-14, 2.0**24)
        require_whole("precision.growth_interval", self.growth_interval, 1)

    @property
    def scales(self) -> bool:
        """Whether the loss is scaled, so that steps are skipped on the search for its scale."""
        return MODES[self.mode].scaled


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """``[optimizer]``: what is minimised, and how.

    Attributes:
        name: "sgd", "adam" or "adamw".
        lr: learning rate, above 0; the schedule multiplies it.
        momentum: of SGD, in [0, 1).
        nesterov: of SGD.
        betas: of Adam and AdamW.
        eps: of Adam and AdamW.
        weight_decay: L2 penalty (SGD, Adam) or decoupled decay (AdamW), at least 0.
        decay_all: decay biases and norms too; usually only weights are decayed.
        label_smoothing: of the cross entropy, in [0, 1).
        clip_norm: largest 2-norm of all gradients together; None does not clip.
    """

    name: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 5e-4
    decay_all: bool = False
    label_smoothing: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require_one_of("optimizer.name", self.name, OPTIMIZERS)
        require_number("optimizer.lr", self.lr, 0.0, above=True)
        for name in ("momentum", "label_smoothing"):
            require_number(f"optimizer.{name}", getattr(self, name), 0.0, 1.0, below=True)
        for beta in self.betas:
            require_number("optimizer.betas", beta, 0.0, 1.0, below=True)
        require_number("optimizer.eps", self.eps, 0.0, above=True)
        require_number("optimizer.weight_decay", self.weight_decay, 0.0)
        if self.clip_norm is not None:
            require_number("optimizer.clip_norm", self.clip_norm, 0.0, above=True)
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise ConfigError(message("optimizer.nesterov", received=True, allowed="false, as optimizer.momentum is 0"))


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """``[schedule]``: how long, and how the learning rate goes.

    Attributes:
        epochs: passes over the training images.
        name: "cosine" (to 0), "step" or "constant", after the warm-up.
        warmup_epochs: linear rise from 0; fractions of an epoch are allowed.
        drops: epochs at which "step" multiplies the rate by ``drop_factor``.
        drop_factor: in (0, 1].
    """

    epochs: int = 10
    name: str = "cosine"
    warmup_epochs: float = 0.0
    drops: tuple[float, ...] = ()
    drop_factor: float = 0.1

    def __post_init__(self) -> None:
        require_whole("schedule.epochs", self.epochs, 1)
        require_one_of("schedule.name", self.name, SCHEDULES)
        require_number("schedule.warmup_epochs", self.warmup_epochs, 0.0)
        if self.warmup_epochs > self.epochs:
            allowed = f"at most schedule.epochs = {self.epochs}"
            fix = "Set schedule.warmup_epochs as well."
            raise ConfigError(message("schedule.warmup_epochs", received=self.warmup_epochs, allowed=allowed, fix=fix))
        for epoch in self.drops:
            require_number("schedule.drops", epoch, 0.0, above=True)
        if list(self.drops) != sorted(self.drops):
            raise ConfigError(message("schedule.drops", received=list(self.drops), allowed="ascending epochs"))
        if self.name == "step" and not self.drops:
            raise ConfigError(message("schedule.drops", received="none", allowed='epochs, as schedule.name is "step"'))
        require_number("schedule.drop_factor", self.drop_factor, 0.0, 1.0, above=True)


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """``[average]``: which average of the weights is tested and exported in their place.

    Attributes:
        kind: "none", "ema" (exponential moving average) or "swa" (mean over the last part of the training).
        decay: of "ema", in (0, 1).
        start: of "swa": fraction of the training after which weights enter the mean, in [0, 1); at the latest
            those of the last step.
    """

    kind: str = "none"
    decay: float = 0.999
    start: float = 0.75

    def __post_init__(self) -> None:
        require_one_of("average.kind", self.kind, AVERAGES)
        require_number("average.decay", self.decay, 0.0, 1.0, above=True, below=True)
        require_number("average.start", self.start, 0.0, 1.0, below=True)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """``[run]``: how the run is recorded and saved.

    Attributes:
        log_every: steps between lines of metrics and timing.
        checkpoint_minutes: a checkpoint is written after every epoch, and when this time has passed since the last.
        checkpoint_steps: also after every so many steps; None: not by steps.
        keep: how many checkpoints stay, the newest ones.
        kernels: how kernels are chosen: "rule" (the same on every run), "measure" (the fastest on this machine,
            timed once and stored, so that a run resumed here chooses the same), or the name of a kernel.
        samples: how many augmented training images are kept for the report.
        tensorboard: log to ``RUN/tensorboard`` as well (package ``mezzotint[tensorboard]``).
        callbacks: objects that are told how the run goes, ``"package.module:Class"`` each; see
            ``mezzotint.train.Callback``.
    """

    log_every: int = 20
    checkpoint_minutes: float = 10.0
    checkpoint_steps: int | None = None
    keep: int = 2
    kernels: str = "rule"
    samples: int = 16
    tensorboard: bool = False
    callbacks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_whole("run.log_every", self.log_every, 1)
        require_number("run.checkpoint_minutes", self.checkpoint_minutes, 0.0, above=True)
        if self.checkpoint_steps is not None:
            require_whole("run.checkpoint_steps", self.checkpoint_steps, 1)
        require_whole("run.keep", self.keep, 1)
        require_whole("run.samples", self.samples, 0)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        name: of the run, and of its folder below ``runs/``.
        seed: of the initial weights, the first pattern, and the order and augmentation of images.
        device: "cpu", "cuda" or "cuda:N".
        threads: threads of the arithmetic; 0: PyTorch's own choice.
    """

    name: str = "run"
    seed: int = 0
    device: str = "cpu"
    threads: int = 0
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    average: AverageConfig = field(default_factory=AverageConfig)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        if not self.name or self.name.strip(". ") != self.name or any(sign in self.name for sign in "/\\\0\n"):
            raise ConfigError(message("name", received=self.name, allowed="a name that a folder can have"))
        require_whole("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise ConfigError(message("seed", received=self.seed, allowed="below 2^63"))
        require_whole("threads", self.threads, 0)
        kind, _, number = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise ConfigError(message("device", received=self.device, allowed='"cpu", "cuda" or "cuda:N"'))
        reads_momentum = not self.sparsity.dense and self.sparsity.method in _BY_MOMENTUM
        if reads_momentum and self.optimizer.name == "sgd" and self.optimizer.momentum == 0:
            raise ConfigError(
                message(
                    "optimizer.momentum",
                    received=0.0,
                    allowed=f"above 0, as sparsity.method {self.sparsity.method!r} ranks weights by momentum",
                    fix='Set optimizer.momentum = 0.9, or a sparsity.method that reads none, such as "rigl".',
                )
            )
