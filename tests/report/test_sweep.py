"""Are a sweep's means, errors, table and page those of its runs, whatever state they are in?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mezzotint.errors import RunError
from mezzotint.report import read_sweep, sweep_rows, write_sweep
from mezzotint.report.sweep import sweep_record


def make(folder: Path, results: dict[tuple[str, float], list[float | None]]) -> Path:
    """A sweep's folder with these test accuracies, one for each seed; None: not finished."""
    runs = []
    for (method, density), accuracies in results.items():
        for seed, accuracy in enumerate(accuracies):
            run = f"runs/{method}-{density:g}-seed{seed}"
            runs.append({"method": method, "density": density, "seed": seed, "run": run})
            (folder / run).mkdir(parents=True)
            if accuracy is not None:
                summary = {
                    "test_accuracy": accuracy,
                    "seconds": 10.0 + seed,
                    "nnz": round(1000 * density),
                    **dict.fromkeys(("weight_bytes", "optimizer_bytes", "index_bytes"), round(4000 * density)),
                }
                (folder / run / "summary.json").write_text(json.dumps(summary))
    (folder / "sweep.json").write_text(json.dumps({"format": 1, "runs": runs}))
    return folder


RESULTS: dict[tuple[str, float], list[float | None]] = {
    ("rigl", 0.05): [0.90, 0.91, 0.95],
    ("rigl", 0.2): [0.96, None, None],
    ("dense", 1.0): [0.97, 0.98, 0.99],
    ("sparse_momentum", 0.2): [None, None, None],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "mine", RESULTS)


def test_rows_are_means_with_standard_errors_dense_first(folder: Path) -> None:
    heads, rows = sweep_rows(read_sweep(folder))
    assert heads == ("method", "density", "test accuracy, %", "to dense", "seeds", "s/run")
    error = 100 * math.sqrt(((0.90 - 0.92) ** 2 + (0.91 - 0.92) ** 2 + (0.95 - 0.92) ** 2) / 2 / 3)
    assert rows == [
        ("dense", "1", "98.00 ± 0.58", "–", "3", "11"),
        ("rigl", "0.2", "96.00", "−2.00", "1 of 3", "10"),
        ("rigl", "0.05", f"92.00 ± {error:.2f}", "−6.00", "3", "11"),
        ("sparse momentum", "0.2", "–", "–", "0 of 3", "–"),
    ]


def test_the_record_holds_every_run(folder: Path) -> None:
    record = sweep_record(read_sweep(folder))
    write_sweep(folder)
    assert json.loads((folder / "results.json").read_text()) == record
    groups = {(group["method"], group["density"]): group for group in record["groups"]}
    assert groups["dense", 1.0]["test_accuracy"]["mean"] == pytest.approx(0.98)
    assert groups["rigl", 0.2]["test_accuracy"] == {"mean": 0.96, "standard_error": None, "n": 1}
    assert groups["sparse_momentum", 0.2] == {
        "method": "sparse_momentum",
        "density": 0.2,
        "test_accuracy": None,
        "runs": [],
    }
    assert [run["seed"] for run in groups["rigl", 0.05]["runs"]] == [0, 1, 2]


def test_the_page_shows_bands_the_dense_one_across_and_the_costs(folder: Path) -> None:
    text = write_sweep(folder).read_text(encoding="utf-8")
    assert "7 of 12 runs are finished" in text
    assert "Dense: 98.00 %. With 5.00\N{NO-BREAK SPACE}% of the weights, rigl reaches 92.00 %." in text
    assert text.count('class="band s6 dashed"') == 6  # one for each width at which the two charts are drawn
    assert "92.00 ± 1.53" in text
    assert write_sweep(folder).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("results", [{("rigl", 0.1): [None]}, {("dense", 1.0): [0.9]}, {("rigl", 0.1): [0.9]}])
def test_any_state_has_a_page(results: dict[tuple[str, float], list[float | None]], tmp_path: Path) -> None:
    assert write_sweep(make(tmp_path / "sweep", results)).stat().st_size > 1000


def test_a_damaged_summary_counts_as_not_finished(folder: Path) -> None:
    (folder / "runs" / "rigl-0.05-seed0" / "summary.json").write_text('{"test_acc')
    found = read_sweep(folder)
    assert any("summary.json is not valid JSON" in note for note in found.notes)
    assert ("rigl", "0.05", "93.00 ± 2.00", "−5.00", "2 of 3", "12") in sweep_rows(found)[1]


@pytest.mark.parametrize("content", [None, "", "[]", '{"runs"'])
def test_what_is_no_sweep_is_refused(content: Any, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(
        RunError, match=r"holds no readable sweep\.json; allowed: a folder that `mezzotint sweep` wrote"
    ):
        read_sweep(tmp_path)
