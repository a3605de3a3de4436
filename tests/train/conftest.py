"""What do the tests of training share? Small configurations on the embedded digits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint.train import RunConfig
from mezzotint.train.table import from_table

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file

SMALL: dict[str, Any] = {
    "name": "small",
    "threads": 1,
    "data": {
        "source": "digits",
        "batch_size": 100,
        "augment": [{"name": "random_crop", "padding": 1}],
    },
    "model": {"name": "lenet_300_100"},
    "sparsity": {"density": 0.2, "interval": 5, "window": 3},
    "optimizer": {"lr": 0.05},
    "schedule": {"epochs": 2},
    "run": {"log_every": 1, "samples": 2},
}
"""14 steps an epoch, a topology update every 5 of them."""


@pytest.fixture
def small() -> Callable[..., RunConfig]:
    """``small(sparsity={"density": 0.5})``: the small configuration with some keys of some sections changed."""

    def make(**changes: Any) -> RunConfig:
        table = {key: dict(value) if isinstance(value, dict) else value for key, value in SMALL.items()}
        for key, value in changes.items():
            if isinstance(value, dict):
                table[key] = {**table.get(key, {}), **value}
            else:
                table[key] = value
        return from_table(RunConfig, table)

    return make
