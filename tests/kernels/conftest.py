"""What do the kernel tests share? This folder on the import path, and native memory in which a forgotten cell shows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mezzotint.kernels import arena, passes

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for native activations is full of NaN before it is written."""
    empty = arena.empty

    def poisoned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        tensor = empty(shape, dtype)
        passes.settle()  # calls that read what lay there before
        return tensor.fill_(torch.nan)

    monkeypatch.setattr(arena, "empty", poisoned)
