"""Do measured decisions come back from the disk, and does nothing about a file stop a run?"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mezzotint import ops
from mezzotint.kernels import KERNELS, Kernel, Problem, hardware, native, store

OP = "test_store"
for _priority, _name in enumerate(("one", "two")):
    KERNELS.add(Kernel(op=OP, name=_name, run=lambda x: x, priority=_priority))


def problem(size: int = 3, threads: int = 2) -> Problem:
    return Problem(
        op=OP, device="cpu", dtype=torch.float32, shapes=(("x", (size,)),), attrs=(), threads=threads, density=0.5
    )


def entry(kernel: str = "one") -> store.Entry:
    return store.Entry(kernel=kernel, milliseconds={"one": 1.5, "two": 2.5}, kernels=store.fingerprint(OP))


def anything(_: store.Entry) -> bool:
    return True


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert ops.names()
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_told", set())
    return tmp_path / "cache"


def file() -> Path:
    place = store.file_for(problem())
    assert place is not None
    return place


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.folder() == tmp_path / "cache"
    monkeypatch.setenv("MEZZOTINT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.folder() == tmp_path / "mezzotint"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/paths/are/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.folder() == tmp_path / ".cache" / "mezzotint"


def test_what_is_stored_is_found_again() -> None:
    assert store.find(problem(), anything) is None
    assert store.settle(problem(), entry(), anything) == (entry(), file())
    assert store.find(problem(), anything) == (entry(), file())
    assert store.find(problem(size=4), anything) is None
    assert store.find(problem(), lambda found: found.kernel != "one") is None


def test_the_file_names_the_machine() -> None:
    store.settle(problem(), entry(), anything)
    content = json.loads(file().read_text(encoding="utf-8"))
    assert content["processor"] == hardware.processor_model()
    assert content["threads"] == 2
    assert content["isa"] == ("none" if native.unavailable() else native.isa())
    ((versions, decisions),) = content["decisions"].items()
    assert f"torch {torch.__version__}, mezzotint " in versions
    assert list(decisions) == [problem().summary()]
    assert [path.suffix for path in sorted(file().parent.iterdir())] == [".json", ".lock"]


def test_another_machine_number_of_threads_version_or_set_of_kernels_is_measured_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.settle(problem(), entry(), anything)
    assert store.find(problem(threads=1), anything) is None
    for name, other in (("processor_model", "another one"), ("_variant", "portable"), ("_native_library", "ab12")):
        with monkeypatch.context() as patch:
            patch.setattr(store, name, lambda other=other: other)
            assert store.find(problem(), anything) is None, name
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        assert store.find(problem(), anything) is None
        store.settle(problem(), entry("two"), anything)
    found = store.find(problem(), anything)
    assert found is not None
    assert found[0].kernel == "one", "each version keeps its own"
    monkeypatch.setattr(store, "fingerprint", lambda op: "other kernels")
    assert store.find(problem(), anything) is None


def test_versions_do_not_heap_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        monkeypatch.setattr(torch, "__version__", f"2.{number}")
        store.settle(problem(), entry(), anything)
    kept = json.loads(file().read_text(encoding="utf-8"))["decisions"]
    assert len(kept) == 8
    assert any(name.startswith("torch 2.19,") for name in kept)


def test_the_first_one_to_store_a_usable_decision_wins() -> None:
    store.settle(problem(), entry("one"), anything)
    assert store.settle(problem(), entry("two"), anything) == (entry("one"), file())
    assert store.settle(problem(), entry("two"), lambda found: found.kernel == "two") == (entry("two"), file())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"[" * 100_000, b'{"format": 9}', b'{"format": 1, "decisions": {"torch": 3}}'],
    ids=["empty", "cut", "not text", "a list", "too deep", "another format", "odd decisions"],
)
def test_a_damaged_file_is_told_once_kept_aside_and_replaced(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file().parent.mkdir(parents=True)
    file().write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert store.find(problem(), anything) is None
        assert store.find(problem(size=4), anything) is None
        assert store.settle(problem(), entry(), anything) == (entry(), file())
    (told,) = caplog.messages
    aside = file().with_suffix(".damaged")
    assert f"Kernels are measured anew; the damaged file is kept as {aside}." in told
    assert aside.read_bytes() == content
    assert store.find(problem(), anything) == (entry(), file())


@pytest.mark.parametrize(
    "odd", [3, {}, {"kernel": "one"}, {"kernel": "one", "kernels": "", "milliseconds": {"one": "x"}}]
)
def test_an_odd_entry_counts_as_none(odd: object) -> None:
    store.settle(problem(), entry(), anything)
    content = json.loads(file().read_text(encoding="utf-8"))
    (section,) = content["decisions"].values()
    section[problem().summary()] = odd
    file().write_text(json.dumps(content), encoding="utf-8")
    assert store.find(problem(), anything) is None
    assert store.settle(problem(), entry("two"), anything)[0].kernel == "two"


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "file" / "below"))
    with caplog.at_level(logging.WARNING):
        for size in (3, 4):
            assert store.find(problem(size), anything) is None
            assert store.settle(problem(size), entry(), anything) == (entry(), None)
    (told,) = caplog.messages
    assert "kept in memory" in told
    assert "MEZZOTINT_CACHE" in told


def test_without_a_home_nothing_is_stored(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(store, "folder", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert store.find(problem(), anything) is None
        assert store.settle(problem(), entry(), anything) == (entry(), None)
    assert "there is no home folder" in caplog.text


def test_a_failed_write_leaves_the_former_file(monkeypatch: pytest.MonkeyPatch) -> None:
    store.settle(problem(), entry(), anything)
    before = file().read_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert store.settle(problem(size=4), entry(), anything) == (entry(), None)
    assert file().read_bytes() == before
    assert not list(file().parent.glob("*.part"))


def test_writers_at_once_lose_nothing() -> None:
    """Locks belong to open files, so that threads stand for processes here."""

    def settle_many(first: int) -> None:
        for size in range(first, first + 20):
            assert store.settle(problem(size), entry(), anything) == (entry(), file())

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(settle_many, (100, 200, 300)))
    for size in (*range(100, 120), *range(200, 220), *range(300, 320)):
        assert store.find(problem(size), anything) is not None


def test_the_summary_tells_problems_apart() -> None:
    """It is the key of what is stored."""
    base = problem()
    others = [
        replace(base, channels_last=True),
        replace(base, dtype=torch.bfloat16),
        replace(base, density=2**-1.5),
        replace(base, attrs=(("stride", (2, 2)),)),
        replace(base, threads=1),
        replace(base, shapes=(("x", (3,)), ("bias", (3,)))),
    ]
    assert len({item.summary() for item in (base, *others)}) == 7
