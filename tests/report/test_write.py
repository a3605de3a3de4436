"""Is a report written whole or not at all, and without loading torch?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.errors import RunError
from mezzotint.report import write, write_comparison, write_report


def test_the_report_lies_in_the_run_by_default_and_replaces_an_older_one(own_run: Path) -> None:
    (own_run / "report.html").write_text("old", encoding="utf-8")
    path = write_report(str(own_run))
    assert path == own_run / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n<html lang=")
    assert not list(own_run.glob(".*"))


def test_a_failure_leaves_the_older_report_alone(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_run / "report.html").write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "replace", full)
    with pytest.raises(RunError, match=r"output: received .*No space left on device.*Name another file with -o"):
        write_report(own_run)
    assert (own_run / "report.html").read_text(encoding="utf-8") == "old"
    assert not list(own_run.glob(".*"))


def test_a_read_only_disk_is_told_with_what_to_do(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("write_text", "unlink"):  # such a disk refuses to remove what is not there, too
        monkeypatch.setattr(Path, name, read_only)
    with pytest.raises(RunError, match=r"Read-only file system.*Name another file with -o"):
        write_report(own_run)


def test_an_output_folder_that_does_not_exist_is_made(finished: Path, tmp_path: Path) -> None:
    assert write_report(finished, tmp_path / "absent" / "page.html").is_file()
    with pytest.raises(RunError, match=r"page\.html/b\.html.*File exists.*a folder that can be written"):
        write_report(finished, tmp_path / "absent" / "page.html" / "b.html")


def test_a_folder_as_output_is_refused_with_an_example(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"which is a folder.*for example '.*report\.html'"):
        write_report(finished, tmp_path)


def test_a_comparison_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="one run folder or more"):
        write_comparison([], tmp_path / "page.html")


def test_reports_are_written_without_torch(finished: Path, tmp_path: Path) -> None:
    code = (
        "import sys, mezzotint.report as report\n"
        f"report.write_report({str(finished)!r}, {str(tmp_path / 'page.html')!r})\n"
        "loaded = {'torch', 'numpy', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
