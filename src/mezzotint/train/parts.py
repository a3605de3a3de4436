"""What does a run consist of? Data, network, optimiser, precision and topology, made from a configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint import models
from mezzotint.errors import ConfigError, InputError, NotRegistered, message
from mezzotint.lowering import sparsify
from mezzotint.precision import Precision
from mezzotint.sparse import DynamicTopology, Static, Topology, WeightAverage, build, goal_of, select
from mezzotint.sparse.past import sign_of_training
from mezzotint.train.config import AverageConfig, RunConfig
from mezzotint.train.config_sparsity import SparsityConfig
from mezzotint.train.inputs import InputRecord, Inputs, open_inputs
from mezzotint.train.layer_densities import goal_density, start_of
from mezzotint.train.memory import weight_counts
from mezzotint.train.optimizer import build_optimizer
from mezzotint.train.ranks import Ranks
from mezzotint.train.start_weights import is_sparse, load_weights, read_weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that a training step works with; the parts themselves change as the run goes on."""

    config: RunConfig
    inputs: Inputs
    model: nn.Module
    optimizer: Optimizer
    precision: Precision
    topology: Topology
    average: WeightAverage | None
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(self.inputs.train)

    @property
    def total_steps(self) -> int:
        """Batches of the whole run."""
        return self.steps_per_epoch * self.config.schedule.epochs


def build_parts(config: RunConfig, saved: InputRecord | None = None, ranks: Ranks | None = None) -> Parts:
    """Make everything, the weights drawn from ``config.seed``.

    Args:
        config: of the run.
        saved: the data record of the checkpoint that is resumed, or None for a new run.
        ranks: the processes that train together; None: this one alone.

    Raises:
        InputError: the parts do not go together; the message names the key or the file.
    """
    ranks = ranks or Ranks()
    device = _device(config.device, ranks)
    inputs = open_inputs(config, saved, (ranks.rank, ranks.size))
    torch.manual_seed(config.seed)
    weights = read_weights(config.model.weights) if config.model.weights and saved is None else None
    model = build_model(config, inputs.record, weights, new=saved is None).to(device)
    optimizer = build_optimizer(model, config.optimizer)
    precision = Precision(
        config.precision.mode,
        device=device,
        init_scale=config.precision.init_scale,
        growth_interval=config.precision.growth_interval,
    )
    topology = _topology(config, model, optimizer, len(inputs.train))
    steps = len(inputs.train) * config.schedule.epochs
    average = _average(config.average, model, steps)
    return Parts(
        config=config,
        inputs=inputs,
        model=model,
        optimizer=optimizer,
        precision=precision,
        topology=topology,
        average=average,
        ranks=ranks,
    )


def build_model(
    config: RunConfig, record: InputRecord, weights: Mapping[str, Tensor] | None = None, *, new: bool = False
) -> nn.Module:
    """The network of ``config`` for the recorded data, sparse where a density is below 1.

    Args:
        config: of the run.
        record: of its data.
        weights: what it starts from; None: random weights (or none that matter: a checkpoint will be loaded).
        new: a run begins with it; then the log warns of weights that were trained and are to be pruned at random.
    """
    model = dense_network(config, record)
    sparsity, skip = config.sparsity, config.model.weights_skip
    patterned = weights is not None and is_sparse(weights)
    if weights is not None and not patterned:
        load_weights(model, weights, skip)
    if sparsity.dense:
        if new and sparsity.start_density is not None:
            received = f"{sparsity.start_density} with sparsity.density = 1"
            raise ConfigError(message("sparsity.start_density", received=received, allowed="sparsity.density below 1"))
        if patterned:
            raise ConfigError(
                message("model.weights", received="a sparse network", allowed="sparsity.density below 1 with it")
            )
        return model
    trained = config.model.weights is not None
    try:
        start = start_of(model, sparsity)
        if new and not trained and sparsity.choose is None and start.prunes:
            _warn_of_a_past(model, sparsity)
        made = sparsify(
            model,
            start.density,
            sparsity.distribution,
            exclude=start.exclude,
            choose=sparsity.first_choice(trained),
            seed=config.seed,
            init=sparsity.first_values(trained),
            structure=sparsity.structure,
        )
    except ConfigError:
        raise
    except (InputError, NotRegistered) as error:
        raise ConfigError(f"[sparsity]: {error}") from error
    if weights is not None and patterned:
        load_weights(made, weights, skip)
    return made


def dense_network(config: RunConfig, record: InputRecord) -> nn.Module:
    """The network of ``[model]`` for the recorded data, before anything is sparse, with its first weights."""
    try:
        return models.build(
            config.model.name,
            num_classes=len(record.classes),
            in_channels=record.in_channels,
            image_size=record.image_size,
            zero_init=config.model.zero_init,
            options=config.model.options,
        )
    except (InputError, NotRegistered) as error:
        raise ConfigError(f"[model]: {error}") from error


def _warn_of_a_past(model: nn.Module, sparsity: SparsityConfig) -> None:
    """A network that brings its own trained weights is not what "random" and "rescale" are meant for."""
    sign = sign_of_training(model, select(model, sparsity.exclude).layers)
    if sign is not None:
        _log.warning(
            'the network was trained before (%s), and is pruned at random. Set sparsity.choose = "magnitude" and'
            ' sparsity.init = "keep"; or sparsity.choose = %r, if that is meant.',
            sign,
            sparsity.first_choice(trained=False),
        )


def method_name(sparsity: SparsityConfig) -> str:
    """What a run's method is called: "dense" without sparsity."""
    return "dense" if sparsity.dense else sparsity.method


def _topology(config: RunConfig, model: nn.Module, optimizer: Optimizer, steps_per_epoch: int) -> Topology:
    sparsity = config.sparsity
    if sparsity.dense:
        return Static(model)
    offered = {
        "interval": steps_per_epoch if isinstance(sparsity.interval, str) else sparsity.interval,
        "total_steps": steps_per_epoch * config.schedule.epochs,
        "goal": goal_of(model, goal_density(model, sparsity), sparsity.distribution),
        "seed": config.seed,
    }
    try:
        return build(sparsity.method, model, optimizer, sparsity.given, offered)
    except (InputError, NotRegistered, TypeError) as error:
        raise ConfigError(f"[sparsity], method {sparsity.method!r}: {error}") from error


def _average(config: AverageConfig, model: nn.Module, steps: int) -> WeightAverage | None:
    """The average over a run of ``steps`` steps, where one is asked for; it starts at the last step at the latest."""
    if config.kind == "none":
        return None
    start = min(round(config.start * steps), steps - 1)
    return WeightAverage(model, config.kind, decay=config.decay, start=start)


def _device(name: str, ranks: Ranks) -> torch.device:
    device = torch.device(name)
    if ranks.size > 1 and device.type == "cuda":
        device = torch.device("cuda", ranks.local_rank)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            message(
                "device",
                received=name,
                allowed=f'"cpu", or one of the {torch.cuda.device_count()} CUDA devices that PyTorch finds here',
                fix="`mezzotint doctor` tells what is there; `--set device=cpu` trains on the CPU.",
            )
        )
    return device


def describe(parts: Parts) -> str:
    """One line: network, weights, method, precision, data."""
    config, record = parts.config, parts.inputs.record
    counts = weight_counts(parts.model)
    method = method_name(config.sparsity)
    topology = parts.topology
    idle = isinstance(topology, DynamicTopology) and not topology.schedule.updates
    note = ": 0 updates fit, the pattern stays" if idle else ""
    sparse = "dense" if method == "dense" else f"density {counts.density:.4g}, {method}{note}"
    return (
        f"{config.model.name}, {counts.nnz:,} of {counts.numel:,} weights ({sparse}), {config.precision.mode},"
        f" {record.train_samples:,} images of {len(record.classes)} classes"
    )
