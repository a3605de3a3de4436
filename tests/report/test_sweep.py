"""Are a sweep's means, errors, table and page those of its runs, whatever state they are in?"""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from mezzotint.errors import RunError
from mezzotint.report import read_sweep, sweep_rows, write_comparison, write_sweep
from mezzotint.report.sweep import sweep_record, with_runs_of_sweeps


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


def test_differences_are_taken_seed_by_seed(folder: Path) -> None:
    found = read_sweep(folder)
    (dense,) = found.dense
    groups = {(group.method, group.density): group for group in found.groups}
    rigl = groups["rigl", 0.05]
    assert rigl.differences(dense) == pytest.approx({0: -0.07, 1: -0.07, 2: -0.04})
    paired = rigl.against(dense)
    assert paired is not None
    assert paired.mean == pytest.approx(-0.06)
    assert paired.error == pytest.approx(0.01)  # the seeds' own differences have fallen out
    assert groups["rigl", 0.2].differences(dense) == pytest.approx({0: -0.01})
    assert groups["sparse_momentum", 0.2].against(dense) is None


def test_every_run_is_shown_with_its_state_and_leads_to_its_page(folder: Path, parse: Any) -> None:
    runs = folder / "runs"
    (runs / "rigl-0.2-seed1" / "metrics.jsonl").write_text(epochs(0.5), encoding="utf-8")
    (runs / "rigl-0.2-seed2.error.txt").write_text("the loss is nan\n", encoding="utf-8")
    table = parse(write_sweep(folder).read_text(encoding="utf-8")).one("runs")
    rows = {row.children[0].text: row for row in next(table.all("tbody")).all("tr")}
    states = {name: row.children[4].text for name, row in rows.items()}
    assert states["dense-1-seed0"] == "finished"
    assert states["rigl-0.2-seed1"] == "not finished"
    assert states["rigl-0.2-seed2"] == "failed"
    assert states["sparse_momentum-0.2-seed0"] == "not started"
    assert rows["rigl-0.2-seed2"].children[-1].text == "the loss is nan"
    links = {name: [a.attributes["href"] for a in row.all("a")] for name, row in rows.items()}
    assert links["dense-1-seed0"] == ["runs/dense-1-seed0/report.html"]
    assert (folder / "runs" / "dense-1-seed0" / "report.html").is_file()
    assert links["sparse_momentum-0.2-seed0"] == []


def epochs(*accuracies: float) -> str:
    rows = [{"kind": "epoch", "epoch": epoch, "test_accuracy": one} for epoch, one in enumerate(accuracies)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_curves_have_the_bands_of_their_seeds(folder: Path, parse: Any) -> None:
    for seed, accuracies in enumerate([(0.5, 0.9), (0.6, 0.8), (0.7,)]):
        (folder / "runs" / f"rigl-0.05-seed{seed}" / "metrics.jsonl").write_text(epochs(*accuracies))
        (folder / "runs" / f"dense-1-seed{seed}" / "metrics.jsonl").write_text(epochs(0.8, 0.96))
    chart = parse(write_sweep(folder).read_text(encoding="utf-8")).one("curves-0-05")
    rows = [
        [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row.children]
        for row in next(chart.all("tbody")).all("tr")
    ]
    assert rows == [
        ["1", "20.0 %", "40.0 % (30.0 % to 50.0 %)"],
        ["2", "4.00 %", "15.0 % (10.0 % to 20.0 %)"],
    ]


def test_a_page_elsewhere_leads_to_the_runs_too(folder: Path, tmp_path: Path, parse: Any) -> None:
    (tmp_path / "shown").mkdir()
    page = parse(write_sweep(folder, tmp_path / "shown" / "page.html").read_text(encoding="utf-8"))
    links = [a.attributes["href"] for a in page.one("runs").all("a")]
    assert links[0] == "../mine/runs/dense-1-seed0/report.html"


def test_pages_of_runs_are_written_anew_only_where_they_are_older(folder: Path) -> None:
    write_sweep(folder)
    page = folder / "runs" / "dense-1-seed0" / "report.html"
    page.write_text("mine", encoding="utf-8")
    write_sweep(folder)
    assert page.read_text(encoding="utf-8") == "mine"
    os.utime(page, (1, 1))
    write_sweep(folder)
    assert page.read_text(encoding="utf-8") != "mine"


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


def test_every_run_is_a_row_of_the_table_for_other_programs(folder: Path) -> None:
    write_sweep(folder)
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    done = {(row["method"], row["density"], row["seed"]): row for row in rows if row["state"] == "finished"}
    assert len(done) == 7
    assert float(done["rigl", "0.05", "2"]["test_accuracy"]) == 0.95
    assert float(done["dense", "1.0", "1"]["seconds"]) == 11.0
    assert {row["test_accuracy"] for row in rows if row["state"] != "finished"} == {""}


def test_the_sign_between_two_numbers_is_explained(folder: Path) -> None:
    assert "means over the seeds ± one standard error" in write_sweep(folder).read_text(encoding="utf-8")


def test_a_comparison_mixes_sweeps_and_runs(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.toml").write_text('name = "alone"', encoding="utf-8")
    assert [run.name for run in with_runs_of_sweeps([folder, alone])] == [
        *(f"dense-1-seed{seed}" for seed in range(3)),
        "rigl-0.2-seed0",
        *(f"rigl-0.05-seed{seed}" for seed in range(3)),
        "alone",
    ]
    page = write_comparison([folder, alone], tmp_path / "c.html").read_text(encoding="utf-8")
    assert "8 runs, side by side" in page
    with pytest.raises(RunError, match="received none"):
        write_comparison([make(tmp_path / "young", {("rigl", 0.1): [None]})], tmp_path / "d.html")


def with_axes(folder: Path) -> Path:
    """Dense at two learning rates; one method at two densities, two rates and two intervals; seeds 0 and 1."""
    runs: list[dict[str, Any]] = []
    for rate in (0.05, 0.2):
        combinations: list[tuple[str, float, dict[str, Any]]] = [("dense", 1.0, {"optimizer.lr": rate})]
        for density in (0.2, 0.1):
            settings = ({"optimizer.lr": rate, "sparsity.interval": interval} for interval in ("epoch", 20))
            combinations += [("rigl", density, one) for one in settings]
        for method, density, over in combinations:
            for seed in range(2):
                run = f"runs/{len(runs)}"
                runs.append({"method": method, "density": density, "seed": seed, "run": run, "over": over})
                (folder / run).mkdir(parents=True)
                accuracy = 0.9 + density / 100 - rate / 10 + seed / 1000 + 0.002 * (over.get("sparsity.interval") == 20)
                (folder / run / "summary.json").write_text(json.dumps({"test_accuracy": accuracy, "seconds": 1.0}))
    (folder / "sweep.json").write_text(json.dumps({"format": 1, "runs": runs}))
    return folder


def test_other_axes_have_columns_and_each_is_compared_with_its_dense_run(tmp_path: Path) -> None:
    found = read_sweep(with_axes(tmp_path / "axes"))
    heads, rows = sweep_rows(found)
    assert heads == ("method", "density", "lr", "interval", "test accuracy, %", "to dense", "seeds", "s/run")
    assert rows[:4] == [
        ("dense", "1", "0.05", "–", "90.55 ± 0.05", "–", "2", "1"),
        ("dense", "1", "0.2", "–", "89.05 ± 0.05", "–", "2", "1"),
        ("rigl", "0.2", "0.05", "epoch", "89.75 ± 0.05", "−0.80", "2", "1"),
        ("rigl", "0.2", "0.05", "20", "89.95 ± 0.05", "−0.60", "2", "1"),
    ]
    assert len(rows) == 2 + 8
    assert sweep_record(found)["groups"][3]["over"] == {"optimizer.lr": 0.05, "sparsity.interval": 20}
    write_sweep(found.folder)
    with (found.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert {(row["optimizer.lr"], row["sparsity.interval"]) for row in table if row["method"] == "dense"} == {
        *(("0.05", ""), ("0.2", "")),
    }


def test_every_axis_has_a_chart_that_names_it(tmp_path: Path, parse: Any) -> None:
    text = write_sweep(with_axes(tmp_path / "axes")).read_text(encoding="utf-8")
    page = parse(text)
    assert "Dense (lr 0.05): 90.55 % at best." in text
    assert "rigl (lr 0.05, interval 20) reaches 89.85 %." in text
    rate = page.one("over-optimizer-lr")
    assert "Test accuracy against lr" in rate.text
    assert "optimizer.lr" in rate.text
    body = [[cell.text for cell in row.children] for row in next(rate.all("tbody")).all("tr")]
    assert [row[0] for row in body] == ["0.05", "0.2"]
    assert body[0][1:] == ["90.55 ± 0.05", "89.75 ± 0.05", "89.95 ± 0.05", "89.65 ± 0.05", "89.85 ± 0.05"]
    interval = page.one("over-sparsity-interval")
    body = [[cell.text for cell in row.children] for row in next(interval.all("tbody")).all("tr")]
    assert [row[0] for row in body] == ["epoch", "20"], "words are in the order of the plan"
    assert body[0][1:3] == body[1][1:3] == ["90.55 ± 0.05", "89.05 ± 0.05"], "dense networks know no interval"
    assert "accuracy" in text


def test_a_density_alone_has_no_chart_beside_those_of_axes(tmp_path: Path, parse: Any) -> None:
    folder = with_axes(tmp_path / "axes")
    plan = json.loads((folder / "sweep.json").read_text())
    plan["runs"] = [run for run in plan["runs"] if run["density"] != 0.2]
    (folder / "sweep.json").write_text(json.dumps(plan))
    text = write_sweep(folder).read_text(encoding="utf-8")
    assert 'id="over-optimizer-lr"' in text
    assert 'id="accuracy"' not in text
    assert 'id="paired"' not in text


def test_axes_of_one_last_word_keep_their_whole_names(tmp_path: Path) -> None:
    runs = [{"method": "set", "density": 0.1, "seed": 0, "run": "runs/0", "over": {"a.name": "x", "b.name": "y"}}]
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "runs": runs}))
    assert sweep_rows(read_sweep(tmp_path))[0][2:4] == ("a.name", "b.name")


@pytest.mark.parametrize("over", [3, [], {"k": None}, {"k": [1, {"a": 2}]}, {"": ""}])
def test_odd_axes_of_a_damaged_plan_do_no_harm(over: Any, tmp_path: Path) -> None:
    runs = [{"method": "set", "density": 0.1, "seed": 0, "run": "runs/0", "over": over}]
    (tmp_path / "runs" / "0").mkdir(parents=True)
    (tmp_path / "runs" / "0" / "summary.json").write_text('{"test_accuracy": 0.5}')
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "runs": runs}))
    assert write_sweep(tmp_path).stat().st_size > 1000


@pytest.mark.parametrize(
    ("more", "remark"),
    [
        ({"diverged": True, "as_a_guess": True}, "diverged"),
        ({"as_a_guess": True, "chance": 0.3}, "may be luck"),
        (
            {"as_a_guess": True, "chance": 0.95, "diverged_epochs": [0]},
            "no better than guessing, ran away in 1 epoch and came back",
        ),
        ({"diverged_epochs": [1, 2]}, "ran away in 2 epochs and came back"),
        ({"diverged_epochs": []}, None),
    ],
)
def test_doubtful_results_have_a_remark(folder: Path, parse: Any, more: dict[str, Any], remark: str | None) -> None:
    place = folder / "runs" / "rigl-0.05-seed0" / "summary.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **more}))
    table = parse(write_sweep(folder).read_text(encoding="utf-8")).one("runs")
    row = next(row for row in next(table.all("tbody")).all("tr") if row.children[0].text == "rigl-0.05-seed0")
    assert row.children[-1].text == remark if remark else len(row.children) == 7
