"""What do the deployment tests share? Small networks, one file each, and the architectures of the bench."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzotint.kernels import native

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))


@pytest.fixture(params=native.isas() if native.unavailable() is None else ())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    native.force_isa(request.param)
    yield request.param
    native.force_isa(None)
