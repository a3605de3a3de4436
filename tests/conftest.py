"""What do all tests share? The place of the real data, and settings that keep runs repeatable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("mezzotint", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("mezzotint")

os.environ["MEZZOTINT_PLUGINS"] = ""  # the operators of packages that happen to be installed stay out of the tests

_CANDIDATES = (os.environ.get("MEZZOTINT_SHARED_DATA"), str(Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and data sets beside the repository; skips the test where it is absent."""
    for candidate in _CANDIDATES:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("the shared data folder is absent (set MEZZOTINT_SHARED_DATA, or lay it at ../shared/data)")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measured decisions of tests stay out of the user's cache, and the user's out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
