"""Do processes give the bits that threads give, tell their errors, and leave nothing behind however it ends?"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loader_parts import (
    CROP,
    Drawn,
    digest,
    divides_by_zero,
    kills_itself,
    leaves,
    raises_odd,
    threads_of_torch,
    write_folder,
)

from mezzotint.data import Loader, build_transform, open_source
from mezzotint.data.processes import WorkerTraceback
from mezzotint.errors import ConfigError, DataError, ImageError, RunError

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def digests(loader: Loader, epochs: int = 2) -> list[str]:
    return [digest(batch) for _ in range(epochs) for batch in loader]


def test_identical_batches_for_any_workers(tmp_path: Path) -> None:
    """Of a folder with damaged files, through two epochs and a loop that is left and gone on with."""
    write_folder(tmp_path, damaged=(2, 11))

    def make(**options: int) -> Loader:
        source = open_source(tmp_path)
        more = {"batch_size": 9, "seed": 1, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.3), "max_bad": 0.1, **options}
        return Loader(source, CROP, on_error="quarantine", **more)  # type: ignore[arg-type]

    plain = make()
    expected = digests(plain)
    for options in ({"threads": 1}, {"threads": 2}, {"threads": 2, "prefetch_bytes": 0}, {"processes": 2}):
        loader = make(**options)
        assert digests(loader) == expected, options
        assert loader.quarantine.records() == plain.quarantine.records()
        assert len(loader.quarantine) == 2
        loader.seek(0)
        found = []
        for batch in loader:
            found.append(digest(batch))
            if len(found) == 2:
                break
        assert found + digests(loader, 1) == expected[:5]
        assert loader.waited > 0
        loader.close()
        assert (loader.epoch, loader.position) == (1, 0)
        assert multiprocessing.active_children() == []


def test_processes_serve_all_epochs_with_one_thread_and_shared_memory() -> None:
    loader = Loader(Drawn(6), threads_of_torch, batch_size=2, processes=1)
    first = list(loader)
    (pid,) = [child.pid for child in multiprocessing.active_children()]
    second = list(loader)
    assert [child.pid for child in multiprocessing.active_children()] == [pid]
    assert all(bool((batch.images * 255 == 1).all()) and batch.images.is_shared() for batch in first + second)
    del loader
    assert not alive(pid)


def test_an_archive_and_images_in_memory_are_sent(tmp_path: Path) -> None:
    """The archive's file is opened again; what is in memory is shared."""
    files = sorted(write_folder(tmp_path / "folder").rglob("*.png"))
    members = [str(file.relative_to(tmp_path / "folder")) for file in files]
    subprocess.run(["tar", "-cf", tmp_path / "some.tar", "-C", tmp_path / "folder", *members], check=True)
    shift = build_transform([{"name": "random_crop", "padding": 2}])
    for source, transform in ((open_source(tmp_path / "some.tar", "all"), CROP), (open_source("digits"), shift)):
        expected = digests(Loader(source, transform, batch_size=20), 1)
        loader = Loader(source, transform, batch_size=20, processes=1)
        assert digests(loader, 1) == expected
        loader.close()


@pytest.mark.parametrize(
    ("source", "transform", "kind", "text"),
    [
        (Drawn(8, frozenset({2})), CROP, ImageError, "drawn-2: it is damaged"),
        (Drawn(8), divides_by_zero, ZeroDivisionError, "in the user's own transform"),
        (Drawn(8), leaves, SystemExit, "3"),
        (Drawn(8), raises_odd, RunError, r"loader_parts\.Odd in a loader process: strange things 7"),
        (Drawn(8), kills_itself, RunError, r"loader process: received its end \(exit code -9\).*Memory ran out"),
    ],
    ids=["image", "foreign", "exit", "not picklable", "killed"],
)
def test_errors_arrive_with_type_and_text(
    source: Drawn, transform: object, kind: type[BaseException], text: str
) -> None:
    loader = Loader(source, transform, batch_size=4, shuffle=False, processes=1)  # type: ignore[arg-type]
    with pytest.raises(kind, match=text) as caught:
        list(loader)
    assert loader.position == 0
    if transform is divides_by_zero:
        assert caught.value.__notes__ == ["while making sample 0 (drawn-0) of 8 drawn images"]
        assert isinstance(caught.value.__cause__, WorkerTraceback)
        assert "divides_by_zero" in str(caught.value.__cause__)
    assert multiprocessing.active_children() == []


def test_rotten_data_and_a_second_pass_end_what_is_under_way() -> None:
    loader = Loader(
        Drawn(30, frozenset({8, 9})), CROP, batch_size=5, shuffle=False, processes=1, on_error="quarantine", max_bad=0
    )
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(RunError, match="only one can be live"):
        next(first)
    with pytest.raises(DataError, match="bad samples of"):
        list(second)
    assert loader.position == 1
    assert multiprocessing.active_children() == []


def test_what_cannot_be_sent_is_told_before_a_process_starts() -> None:
    loader = Loader(Drawn(8), lambda image, key: image.permute(2, 0, 1), batch_size=4, processes=2)
    with pytest.raises(ConfigError, match=r"processes: received a source or transform that cannot be pickled.*lambda"):
        iter(loader)


SCRIPT = """
import json, multiprocessing, os, signal, sys, time
sys.path.insert(0, {here!r})
from loader_parts import CROP, Drawn
from mezzotint.data import Loader
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, these tests perhaps, ignore it
if __name__ == "__main__":
    loader = Loader(Drawn(4000, size=64), CROP, batch_size=50, processes=2)
    batches = iter(loader)
    kept = [next(batches)]
    pids = [child.pid for child in multiprocessing.active_children()]
    print(json.dumps([os.getpid(), *pids]), flush=True)
    {then}
"""
ENDINGS = {
    "the script ends": ("pass", None, 0),
    "an error": ("raise KeyError('the training fails')", None, 1),
    "Ctrl-C": ("[None for _ in loader]; time.sleep(60)", signal.SIGINT, -signal.SIGINT),
    "SIGTERM": ("[None for _ in loader]; time.sleep(60)", signal.SIGTERM, -signal.SIGTERM),
    "killed": ("time.sleep(60)", signal.SIGKILL, -signal.SIGKILL),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_behind(ending: str, tmp_path: Path) -> None:
    then, sent, code = ENDINGS[ending]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(HERE), then=then))
    temporary = tempfile.mkdtemp(prefix="mz")  # a short path: sockets lie in it, and theirs may have 107 bytes
    environment = {**os.environ, "TMPDIR": temporary}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    told = process.stdout.readline()
    assert told, process.communicate()[1]
    pids = json.loads(told)
    assert len(pids) == 3
    if sent in (signal.SIGINT, signal.SIGTERM):
        os.killpg(process.pid, sent)  # as a terminal or a scheduler does
    elif sent is not None:
        process.send_signal(sent)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    deadline = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))
    assert list((Path(temporary)).glob("pymp-*")) == []
    assert [name for name in os.listdir("/dev/shm") if any(str(pid) in name for pid in pids)] == []
    words = {"an error": "the training fails", "Ctrl-C": "KeyboardInterrupt"}.get(ending, "")
    assert (told.count("Traceback"), words in told) == (bool(words), True), told


def alive(pid: int | None) -> bool:
    """Whether the process runs, or is a zombie that nobody has waited for."""
    return Path(f"/proc/{pid}").exists()
