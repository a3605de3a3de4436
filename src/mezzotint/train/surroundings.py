"""Within what does a run compute? Threads, kernel policy and random numbers, put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mezzotint.errors import ConfigError, NotRegistered
from mezzotint.kernels import launch
from mezzotint.train.config import RunConfig
from mezzotint.train.ranks import Ranks


@contextmanager
def surroundings(config: RunConfig, ranks: Ranks) -> Iterator[None]:
    """Threads, kernel policy and random numbers as the run wants them; afterwards they are as they were."""
    threads = torch.get_num_threads()
    launch.forget()  # the run's decisions are its own
    try:
        with torch.random.fork_rng(), launch.policy(config.run.kernels):
            if config.threads or ranks.local_size > 1:
                # torchrun sets one thread; the machine's cores are the ranks' to share.
                torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // ranks.local_size))
            yield
    except NotRegistered as error:
        if "kernel policy" in str(error):
            raise ConfigError(f"run.kernels: {error}") from error
        raise
    finally:
        torch.set_num_threads(threads)
