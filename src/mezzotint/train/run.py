"""What is a run while it goes on? Its parts, its folder, and where it is."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mezzotint.kernels import launch
from mezzotint.train.anatomy import Ages
from mezzotint.train.callbacks import Callbacks
from mezzotint.train.config import RunConfig
from mezzotint.train.evaluate import Evaluation
from mezzotint.train.parts import Parts
from mezzotint.train.progress import Progress
from mezzotint.train.quarantine import BadImages
from mezzotint.train.run_folder import Folder
from mezzotint.train.state import Counters


@dataclass(kw_only=True)
class Run:
    """A run under way: its parts, its folder, and where it is; ``decided`` are the kernels' decisions up to here."""

    parts: Parts
    folder: Folder
    progress: Progress
    counters: Counters
    bad: BadImages
    callbacks: Callbacks
    ages: Ages
    decided: Sequence[dict[str, Any]] = ()
    evaluation: Evaluation | None = None
    stop: signal.Signals | None = None
    saved_at: float = field(default_factory=time.perf_counter)
    seconds_before: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    epoch_began: float = field(default_factory=time.perf_counter)
    waited_before: float = 0.0

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.parts.config

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """The records of the kernels' decisions by all processes of the run, the last of each problem."""
        return list({record["problem"]: record for record in [*self.decided, *launch.decisions()]}.values())

    @property
    def epoch(self) -> int:
        """The epoch under way, from 0."""
        return self.parts.inputs.train.epoch
