"""What do the kernel tests share? This folder on the import path, and native memory in which a forgotten cell shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mezzotint.kernels import arena

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for native activations is full of NaN before it is written."""
    empty = arena.empty
    monkeypatch.setattr(arena, "empty", lambda shape, dtype: empty(shape, dtype).fill_(torch.nan))
