"""How is a network trained from a configuration to a finished run folder? Config, step, loop, checkpoints.

``train(load_config("configs/digits.toml"))`` does all of it. The room's parts work in a hand-written loop too.
"""

from __future__ import annotations

from mezzotint.train.callbacks import Callback, RunView
from mezzotint.train.config import (
    AverageConfig,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PrecisionConfig,
    RunConfig,
    RunOptions,
    ScheduleConfig,
)
from mezzotint.train.config_file import config_text, load_config, parse_config
from mezzotint.train.config_sparsity import SparsityConfig
from mezzotint.train.evaluate import Evaluation, evaluate
from mezzotint.train.loop import train
from mezzotint.train.result import RunResult

__all__ = [
    "AverageConfig",
    "Callback",
    "DataConfig",
    "Evaluation",
    "ModelConfig",
    "OptimizerConfig",
    "PrecisionConfig",
    "RunConfig",
    "RunOptions",
    "RunResult",
    "RunView",
    "ScheduleConfig",
    "SparsityConfig",
    "config_text",
    "evaluate",
    "load_config",
    "parse_config",
    "train",
]
