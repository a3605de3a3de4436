"""Does every command do its work, explain itself, and start without loading torch?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image
from small_run import CONFIG

from mezzotint.cli import COMMANDS, main
from mezzotint.cli.doctor import cpu_features, findings, memory_text


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "small.toml").write_text(CONFIG)
    assert main(["train", str(folder / "small.toml"), "-o", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def test_help_is_light() -> None:
    modules = [module for module, _ in COMMANDS.values()]
    code = (
        "import sys; from importlib import import_module; from mezzotint.cli import main; main(['--help']);"
        f"[import_module('mezzotint.cli.' + name) for name in {modules}];"
        "[main([name, '--help']) for name in ('train', 'eval', 'ops', 'doctor', 'demo')];"
        "heavy = {'torch', 'numpy', 'PIL', 'safetensors'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mezzotint train configs/digits.toml" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"mezzotint {name}" in told.split("examples:")[1]
    assert COMMANDS[name][1][1:] in " ".join(told.split())


def test_modules_and_table_agree() -> None:
    for module, _ in COMMANDS.values():
        command = import_module(f"mezzotint.cli.{module}")
        assert callable(command.add_arguments)
        assert callable(command.run)


def test_version_and_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mezzotint ")
    assert main([]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)


def test_train_tells_epochs_in_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(CONFIG)
    assert main(["train", "small.toml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("small: lenet_300_100, 10,040 of 50,200 weights (density 0.2, sparse_momentum)")
    assert [line.split(" · ")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert "next: mezzotint report runs/small" in lines[3]
    assert re.search(r"test accuracy [\d.]+ % \(\d+ of 360 images\)", lines[3])
    assert main(["train", "runs/small", "--resume", "-q"]) == 0


def test_eval(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run_folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    summary = json.loads((run_folder / "summary.json").read_text())
    assert told["accuracy"] == summary["test_accuracy"]
    assert told["count"] == 360
    assert main(["eval", str(run_folder / "checkpoints" / "step-00000014"), "digits", "--split", "train"]) == 0
    assert "of 1,437" in capsys.readouterr().out


def test_report_of_one_run_and_of_two(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run_folder)]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == run_folder / "report.html"
    assert "small" in page.read_text(encoding="utf-8")
    assert main(["report", str(run_folder), str(run_folder), "-o", str(tmp_path / "both.html")]) == 0
    assert (tmp_path / "both.html").stat().st_size > 1000


def test_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (300, 200), (200, 10, 10)).save(tmp_path / "red.png")
    assert main(["preview", str(tmp_path), "-o", str(tmp_path / "out.png"), "--seed", "3"]) == 0
    assert (tmp_path / "out.png").is_file()


def test_export_takes_the_format_from_the_name(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["export", str(run_folder), "-o", str(tmp_path / "net.onnx")]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(tmp_path / "net.onnx")] * 2
    first, second = told.err.splitlines()
    assert first.startswith("onnx file of ")
    assert "replaced" not in first
    assert "leave the zeros out), which replaced another; next: mezzotint predict" in second
    assert main(["export", str(run_folder), "-o", str(tmp_path / "net.bin")]) == 2
    assert "a name in .safetensors, .pt2, .onnx. Or say the format" in capsys.readouterr().err


@pytest.mark.parametrize(("format_", "name"), [("onnx", "net.safetensors"), ("safetensors", "net.ONNX")])
def test_export_refuses_a_name_that_says_another_format(
    format_: str, name: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_folder), "-f", format_, "-o", str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert f"{name}' with --format {format_}; allowed: a name in .{format_}. Name it {tmp_path / 'net'}." in told
    assert not list(tmp_path.iterdir())
    assert main(["export", str(run_folder), "-f", "onnx-sparse", "-o", str(tmp_path / "net.onnx")]) == 0
    assert main(["export", str(run_folder), "-f", "pt2", "-o", str(tmp_path / "net.bin")]) == 0


def test_export(run_folder: Path, tmp_path: Path) -> None:
    assert main(["export", str(run_folder), "-f", "safetensors", "-o", str(tmp_path / "net.safetensors")]) == 0
    assert (tmp_path / "net.safetensors").stat().st_size > 1000


def test_ops(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops", "list"]) == 0
    assert "sparse_linear" in capsys.readouterr().out.split()
    assert main(["ops", "show", "sparse_linear"]) == 0
    assert "sparse_linear" in capsys.readouterr().out
    assert main(["ops", "explain", str(run_folder), "--op", "sparse_linear"]) == 0
    told = capsys.readouterr().out
    assert told.count("  chosen: ") >= 3
    assert "sparse_conv2d" not in told
    assert main(["ops", "explain", str(run_folder), "--op", "sparse_lineal"]) == 2
    assert "Did you mean 'sparse_linear'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "file", "told"),
    [
        (None, None, []),
        ("rule", None, ["  decided: by rule"]),
        ("forced", None, ["  decided: forced"]),
        ("measured", None, ["  decided: measured now, kept in memory only"]),
        ("measured", "/c/k.json", ["  decided: measured now, stored in /c/k.json"]),
        ("restored", "/c/k.json", ["  decided: restored from /c/k.json"]),
    ],
)
def test_a_decision_in_words(
    source: str | None, file: str | None, told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {
        "source": source,
        "file": file,
        "problem": "conv2d x[1, 2]",
        "kernel": "fast",
        "reason": "lowest cost estimate",
        "estimates": {"slow": 20.0, "fast": 10.0},
        "milliseconds": {"fast": 1.5},
        "refusals": {"odd": "no stride"},
    }
    (tmp_path / "decisions.json").write_text(json.dumps([record]))
    assert main(["ops", "explain", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "conv2d x[1, 2]",
        "  chosen: fast (lowest cost estimate)",
        *told,
        "  able: fast: estimated cost 10 dense multiply-adds, measured 1.500 ms",
        "  able: slow: estimated cost 20 dense multiply-adds",
        "  refused: odd: no stride",
    ]


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facts"]["torch"]
    assert main(["doctor", "--quick"]) == 0
    assert "native kernels" in capsys.readouterr().out
    facts, advice = findings()
    missing = facts["native kernels"].startswith("the native library")
    assert missing == any("slow reference" in text for text in advice)
    assert memory_text() == "unknown" or "GiB" in memory_text()
    assert all(feature.islower() for feature in cpu_features())


def test_demo_trains_three_networks_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    for _ in range(2):
        assert main(["demo", "-o", str(tmp_path), "--epochs", "1"]) == 0
    told = capsys.readouterr().out
    assert "dense" in told
    assert "bf16" in told
    assert "fp16" in told
    assert f"report of the sparse run: {tmp_path / 'demo-sparse-bf16' / 'report.html'}" in told
    names = [f"demo-{name}{again}" for name in ("dense", "sparse-bf16", "sparse-fp16") for again in ("", "-2")]
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(names)
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in names]
    assert {summary["nnz"] for summary in summaries} == {97_568, 9_757}


def test_sweep_trains_tells_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.toml").write_text(CONFIG)
    words = ["sweep", str(tmp_path / "small.toml"), "--seeds", "2", "-o", str(tmp_path / "sweep")]
    assert main([*words, "--density", "1", "0.2", "--method", "static"]) == 0
    told = capsys.readouterr().out
    assert "[4/4] static-0.2-seed1" in told
    assert "mean ± standard error" in told
    assert str(tmp_path / "sweep" / "report.html") in told.replace("\n", "")
    assert main([*words, "--density", "0.1", "-q"]) == 0
    assert "static" in capsys.readouterr().out  # the table holds the runs of the first call, too
    assert len(list((tmp_path / "sweep" / "runs").iterdir())) == 6
    assert main(["report", str(tmp_path / "sweep"), "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert main([*words, "--set", "optimizer.lr=3"]) == 2
    assert "optimizer.lr" in capsys.readouterr().err
    assert main(["sweep", str(tmp_path / "small.toml"), "--seeds", "0"]) == 2


def test_sweep_over_any_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    (tmp_path / "small.toml").write_text(CONFIG)
    words = ["sweep", str(tmp_path / "small.toml"), "--seeds", "1", "-q", "-o", str(tmp_path / "sweep")]
    over = ["--over", "optimizer.lr=0.1,0.05", "--over", "sparsity.interval=epoch,3"]
    assert main([*words, "--density", "0.2", *over]) == 0
    told = capsys.readouterr().out
    heads = next(line for line in told.splitlines() if "density" in line).split()
    assert heads[:4] == ["method", "density", "lr", "interval"], "nothing is cut on a narrow terminal"
    rows = [line.split() for line in told.splitlines() if line.startswith(" sparse momentum")]
    assert [row[2:5] for row in rows] == [["0.2", rate, every] for rate in ("0.1", "0.05") for every in ("epoch", "3")]
    assert main([*words, "--density", "0.2", *over, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results[0]["over"] == {"optimizer.lr": 0.1, "sparsity.interval": "epoch"}
    for more, error in (
        (["--set", "optimizer.lr=3"], "--set: received optimizer.lr, over which is swept"),
        (["--over", "optimizer.lrr=1"], "Did you mean 'lr'?"),
        (["--over", "sparsity.density=1"], "--density"),
    ):
        assert main([*words, *over, *more]) == 2
        assert error in capsys.readouterr().err
