"""Does the bench measure what it says, count right, and refuse what it cannot do? No test here asserts a time."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint.bench import allocator, kernels, machine, memory, plots, roofline, train
from mezzotint.bench.layers import LAYERS, Layer, Network
from mezzotint.cli import main
from mezzotint.models import build

PNG = b"\x89PNG\r\n\x1a\n"
TINY = Network(2, (Layer(8, 16, 3, 2, 7, 3), Layer(16, 8, 1, 1, 4, 1)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny layers under the name of a network, and peaks that take milliseconds."""
    monkeypatch.setitem(LAYERS, "tiny", TINY)
    peaks = roofline.measure_peaks(64, 100_000)
    monkeypatch.setattr(roofline, "measure_peaks", lambda: peaks)


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert content["machine"]["cpu"]
    assert content["machine"]["threads"] == 1
    assert "allocator" in content["allocator"]
    return content


def is_png(file: Path) -> bool:
    return file.read_bytes()[:8] == PNG and file.stat().st_size > 10_000


@pytest.mark.usefixtures("small")
def test_kernels_writes_table_json_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    words = ["--network", "tiny", "--densities", "0.5,0.25", "--rounds", "1", "--threads", "1", "--fp32"]
    assert main(["bench", "kernels", *words, "-o", str(tmp_path / "new")]) == 0
    assert torch.get_num_threads() == threads
    told = capsys.readouterr().out
    assert "8→16 3×3 /2 @7" in told
    assert "all layers: dense FP32 time / ours" in told
    content = read(tmp_path / "new" / "native_layers_tiny.json")
    assert content["batch"] == 2
    assert set(content["peaks"]) == {"bf16", "fp32", "bandwidth"}
    assert len(content["rows"]) == 2 * 2 * 3
    for row in content["rows"]:
        assert row["dense_over_ours"] == pytest.approx(row["dense_ms"] / row["ms"])
        assert row["dense_fp32_ms"] > 0
        flop = Layer(*row["layer"]).flop(row["nnz"], 2)
        assert row["gflop_per_s"] == pytest.approx(1e-6 * flop / row["ms"])
        assert row["of_bf16_peak"] == pytest.approx(1e9 * row["gflop_per_s"] / content["peaks"]["bf16"])
    assert set(content["dense_over_ours"]["0.5"]) == {"all", *kernels.DIRECTIONS}
    assert is_png(tmp_path / "new" / "native_layers_tiny.png")
    assert is_png(tmp_path / "new" / "roofline_tiny.png")


@pytest.mark.parametrize(("mode", "stem"), [("train", "step"), ("eval", "eval")])
def test_train_writes_table_json_and_plot(
    mode: str, stem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--network", "digits_cnn", "--densities", "0.5", "--batch", "1,4", "--rounds", "1", "--threads", "1"]
    assert main(["bench", "train", *words, "--mode", mode, "-o", str(tmp_path)]) == 0
    assert "dense / ours" in capsys.readouterr().out
    content = read(tmp_path / f"{stem}_digits_cnn.json")
    assert [(row["batch"], row["density"]) for row in content["rows"]] == [(1, 1.0), (1, 0.5), (4, 1.0), (4, 0.5)]
    for dense, sparse in zip(content["rows"][::2], content["rows"][1::2], strict=True):
        assert dense["dense_over_ours"] == 1
        assert sparse["dense_over_ours"] == pytest.approx(dense["step_ms"] / sparse["step_ms"])
        assert 0 < sparse["forward_ms"] <= sparse["step_ms"]
        assert sparse["spread"] >= 1
    assert is_png(tmp_path / f"{stem}_digits_cnn.png")


def test_a_round_takes_one_uncounted_and_two_counted_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def job_of(name: str, batch: int, density: float, mode: str) -> train.Job:
        return lambda: calls.append(density) or 0.0  # type: ignore[func-returns-value]

    monkeypatch.setattr(train, "job_of", job_of)
    train.measure("digits_cnn", 1, [0.1], mode="train", rounds=2)
    assert calls == [1.0, 1.0, 1.0, 0.1, 0.1, 0.1] * 2


def test_only_stem_and_classifier_stay_dense() -> None:
    network = build("resnet20", num_classes=10)
    first, last = train.stem_and_classifier(network)
    kinds = [type(network.get_submodule(name)) for name in (first, last)]
    assert kinds == [torch.nn.Conv2d, torch.nn.Linear]
    assert network.get_submodule(first).in_channels == 3


@pytest.mark.skipif(not memory.STATUS.exists(), reason="needs /proc")
def test_peak_memory_is_that_of_the_child() -> None:
    ballast = torch.ones(100_000_000)  # 400 MB here, none of the child's business
    found = memory.peak_of("digits_cnn", 2, 0.5, 1)
    assert found["batch"] == 2
    assert 0 < found["before"] <= found["peak"] < memory.resident_peak()
    assert ballast.nbytes > found["peak"] - found["before"]


def test_work_and_traffic_are_counted_by_hand() -> None:
    layer = Layer(8, 16, 3, 2, 7, 1)
    assert layer.output_size == (4, 4)
    assert layer.flop(nnz=10, batch=3) == 2 * 10 * 3 * 16
    assert layer.bytes(batch=3) == 2 * 3 * (8 * 49 + 16 * 16)
    place = roofline.Peaks(bf16=8e9, fp32=4e9, bandwidth=2e9).place(flop=1e9, traffic=5e8, seconds=0.5)
    wanted = {"gflop_per_s": 2, "flop_per_byte": 2, "of_bf16_peak": 0.25, "of_fp32_peak": 0.5, "of_bandwidth": 0.5}
    assert place == pytest.approx(wanted)


def test_totals_weigh_layers_by_how_often_they_occur() -> None:
    def rows(layer: Layer, dense: float, ours: float) -> list[kernels.Row]:
        shared = {"layer": list(layer), "density": 0.1, "dense_ms": dense, "ms": ours}
        return [{"direction": direction, **shared} for direction in kernels.DIRECTIONS]

    found = kernels.totals([*rows(TINY.layers[0], 4, 1), *rows(TINY.layers[1], 1, 1)])
    assert found == {"0.1": dict.fromkeys(("all", *kernels.DIRECTIONS), (3 * 4 + 1) / 4)}


@pytest.mark.parametrize("name", ["resnet50", "wrn_28_2"])
def test_layers_are_those_of_the_network(name: str) -> None:
    """As many weights as the model has in its convolutions, its stem aside."""
    network = build(name, num_classes=10, image_size=train.SUBJECTS[name].size)
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    counted = sum(math.prod(layer.geometry.weight_shape) * layer.times for layer in LAYERS[name].layers)
    assert counted == sum(module.weight.numel() for module in convolutions[1:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--network", "resnet5"], "Did you mean 'resnet50'?"),
        (["kernels", "--network", "digits_cnn"], "allowed: resnet50, wrn_28_2"),
        (["train", "--densities", "0.1;0.2"], "--densities: received 0.1;0.2"),
        (["train", "--densities", "0.1,1"], "numbers between 0 and 1"),
        (["train", "--densities", "nan"], "numbers between 0 and 1"),
        (["train", "--batch", "0"], "--batch: received 0"),
        (["train", "--batch", "x"], "--batch: received x"),
        (["train", "--rounds", "0"], "--rounds: received 0"),
        (["train", "--threads", "-1"], "--threads: received -1"),
        (["train", "--fp32"], "with `bench kernels` only"),
        (["kernels", "--memory"], "with `bench train` only"),
        (["kernels", "--mode", "eval"], "with `bench train` only"),
        (["kernels", "--batch", "1,2"], "one size"),
        (["train", "--memory", "--mode", "eval"], "training steps only"),
        (["train", "-o", __file__], "a folder"),
        (["speed"], "invalid choice"),
    ],
)
def test_bad_arguments_end_with_2_and_one_paragraph(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error


def test_without_matplotlib_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    monkeypatch.setattr(train, "measure", lambda *_, **__: pytest.fail("measured"))
    assert importlib.util.find_spec("matplotlib") is not None
    assert main(["bench", "train", "--network", "digits_cnn"]) == 2
    assert "pip install 'mezzotint[bench]'" in capsys.readouterr().err


def test_the_process_begins_again_once_and_only_as_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda program, words, environment: begun.append(environment))
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("glibc", "2.36"))
    for name in allocator.KEEP:
        monkeypatch.delenv(name, raising=False)
    assert "gives pages back" in allocator.in_words()
    allocator.begin_again_with_pages_kept("bench")
    assert not begun, "pytest is not the command"
    monkeypatch.setattr(sys, "argv", ["mezzotint", "bench", "train"])
    monkeypatch.setenv("MALLOC_TOP_PAD_", "5")
    allocator.begin_again_with_pages_kept("bench")
    assert begun[0]["MALLOC_TOP_PAD_"] == "5", "a user's own value stays"
    for name in allocator.KEEP:
        monkeypatch.setenv(name, begun[0][name])
    allocator.begin_again_with_pages_kept("bench")
    assert len(begun) == 1
    assert "keeps its pages" in allocator.in_words()
    assert not allocator.KEEP.keys() & allocator.default_environment().keys()


def test_threads_are_given_back_after_an_error() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        with machine.using_threads(before + 1):
            raise RuntimeError(torch.get_num_threads())

    with pytest.raises(RuntimeError, match=str(before + 1)):
        fail()
    assert torch.get_num_threads() == before


def test_inference_engines_are_compared_within_their_setting() -> None:
    from mezzotint.bench import infer

    def row(engine: str, density: float, batch: int, median: float) -> dict[str, object]:
        same = {"network": "net", "threads": 2, "batch": batch, "density": density, "engine": engine}
        return {**same, "median_ms": median, "computed_ms": 2 * median}

    rows = [row("openvino bf16", 1.0, 1, 12.0), row("mezzotint bf16", 0.1, 1, 4.0), row("mezzotint fp32", 0.1, 8, 6.0)]
    refused = {**row("onnxruntime fp32", 1.0, 1, 0.0), "refused": "not there"}
    del refused["median_ms"]
    assert infer.ratios([*rows, refused]) == {"openvino bf16": {"net, bf16, density 0.1, batch 1": 3.0}}
    assert infer.ratios(rows, "computed_ms") == infer.ratios(rows)


def test_an_engine_answers_from_its_own_process(tmp_path: Path) -> None:
    from mezzotint.bench import infer
    from mezzotint.bench.infer_engines import Setting
    from mezzotint.errors import InputError

    missing = Setting("onnxruntime fp32", "resnet50", 1.0, 1, 1, str(tmp_path / "absent.onnx"))
    with pytest.raises(InputError, match="an end without an answer"):
        infer.EngineProcess(missing).ready()
