"""Are the limits of a container seen, in both versions of control groups?"""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzotint.kernels.resources import Resources, resources

GIB = 2**30


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n")
    return file


def test_without_limits(tmp_path: Path, meminfo: Path) -> None:
    found = resources(tmp_path / "none", meminfo)
    assert (found.memory, found.available, found.quota) == (16 * GIB, 8 * GIB, None)
    assert 1 <= found.cores == found.affinity <= found.logical


def test_version_2(tmp_path: Path, meminfo: Path) -> None:
    groups = write(
        tmp_path / "groups",
        cpu_DOT_max="150000 100000",
        memory_DOT_max=str(4 * GIB),
        memory_DOT_current=str(3 * GIB),
    )
    found = resources(groups, meminfo)
    assert (found.quota, found.cores, found.memory, found.available) == (1.5, 1, 4 * GIB, GIB)
    write(groups, cpu_DOT_max="max 100000", memory_DOT_max="max")
    found = resources(groups, meminfo)
    assert (found.quota, found.memory) == (None, 16 * GIB)


def test_version_1(tmp_path: Path, meminfo: Path) -> None:
    groups = write(
        tmp_path / "groups",
        cpu__cpu_DOT_cfs_quota_us="50000",
        cpu__cpu_DOT_cfs_period_us="100000",
        memory__memory_DOT_limit_in_bytes=str(2**63 - 4096),
        memory__memory_DOT_usage_in_bytes="1",
    )
    found = resources(groups, meminfo)
    assert (found.quota, found.cores, found.memory) == (0.5, 1, 16 * GIB)
    write(groups, cpu__cpu_DOT_cfs_quota_us="-1", memory__memory_DOT_limit_in_bytes=str(GIB))
    found = resources(groups, meminfo)
    assert (found.quota, found.memory) == (None, GIB)


def test_where_nothing_is_known(tmp_path: Path) -> None:
    found = resources(tmp_path, tmp_path / "none")
    assert (found.memory, found.available) == (None, None)


def test_idle_cores() -> None:
    busy = Resources(logical=8, affinity=4, quota=None, memory=None, available=None, load=5.0)
    assert busy.idle == 2, "of four of eight cores, five threads keep two and a half"
    drowned = Resources(logical=2, affinity=2, quota=None, memory=None, available=None, load=30.0)
    assert drowned.idle == 1
