"""How does a report get onto the disk? Whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mezzotint.errors import RunError, message
from mezzotint.report.compare import comparison_page
from mezzotint.report.links import beside
from mezzotint.report.page import run_page
from mezzotint.report.read import read_run
from mezzotint.report.sweep import Sweep, read_sweep, record_text, table_text, with_runs_of_sweeps
from mezzotint.report.sweep_page import sweep_page

_RECORD = ("metrics.jsonl", "summary.json", "config.toml")


def write_report(run: Path | str, output: Path | str | None = None) -> Path:
    """Write the HTML report of a run folder, finished or still in progress.

    Args:
        run: the run folder.
        output: the file to write; ``RUN/report.html`` by default. An older report there is replaced.

    Returns:
        The path of the written file.

    Raises:
        RunError: ``run`` is no run folder, or ``output`` cannot be written.
    """
    record = read_run(run)
    return _write(Path(output) if output is not None else record.folder / "report.html", run_page(record))


def write_comparison(runs: Sequence[Path | str], output: Path | str) -> Path:
    """Write one HTML page that lays several runs over each other; the first is what the others are compared with.

    A sweep among them stands for its runs.
    Runs without a page, or with one older than their record, get one where their folder can be written.

    Raises:
        RunError: there is no run, one of them is no run folder, or ``output`` cannot be written.
    """
    path, folders = Path(output), with_runs_of_sweeps(runs)
    if not folders:
        raise RunError(
            message("runs", received="none", allowed="one run folder or more", fix="Name the runs to compare.")
        )
    for run in folders:
        if _is_stale(run):
            with suppress(RunError):  # a page that cannot be written is not led to
                write_report(run)
    return _write(path, comparison_page([read_run(run) for run in folders], beside(path)))


def write_sweep(folder: Path | str, output: Path | str | None = None) -> Path:
    """Write the page of a sweep, finished or still in progress; its numbers as ``results.json`` and ``results.csv``.

    Runs that have no page, or one that is older than their record, get one, so that the sweep's page can lead there.

    Args:
        folder: of the sweep.
        output: the HTML file; ``FOLDER/report.html`` by default.

    Returns:
        The path of the page.

    Raises:
        RunError: ``folder`` is no sweep's folder, or a file cannot be written.
    """
    found = read_sweep(folder)
    _write(found.folder / "results.json", record_text(found))
    _write(found.folder / "results.csv", table_text(found))
    for run in runs_without_page(found):
        write_report(run)
    path = Path(output) if output is not None else found.folder / "report.html"
    return _write(path, sweep_page(found, beside(path)))


def runs_without_page(sweep: Sweep) -> list[Path]:
    """Folders of runs whose page is absent or older than what it shows."""
    trials = (trial for group in sweep.groups for trial in group.trials)
    return [run for trial in trials if _is_stale(run := sweep.folder / trial.run)]


def _is_stale(run: Path) -> bool:
    record = [file.stat().st_mtime_ns for name in _RECORD if (file := run / name).is_file()]
    page = run / "report.html"
    return bool(record) and not (page.is_file() and page.stat().st_mtime_ns >= max(record))


def _write(path: Path, text: str) -> Path:
    """Write beside the target and rename, so that a reader never meets half a page."""
    if path.is_dir():
        fix = f"Name a file in it, for example {str(path / 'report.html')!r}."
        raise RunError(message("output", received=f"{str(path)!r}, which is a folder", allowed="a file", fix=fix))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):  # a disk that is read-only refuses this, too
            part.unlink()
        raise RunError(
            message(
                "output",
                received=f"{str(path)!r} ({error.strerror or error})",
                allowed="a file in a folder that can be written",
                fix="Name another file with -o.",
            )
        ) from error
    return path
