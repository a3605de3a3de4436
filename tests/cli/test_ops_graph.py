"""Do ``ops graph`` and ``ops explain`` answer for networks, layers and files, and refuse in words?"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import mezzotint as mz
from mezzotint import deploy
from mezzotint.cli import main
from mezzotint.kernels import launch


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse LeNet-5 as it is shipped."""
    torch.manual_seed(0)
    network = mz.models.build("lenet5_caffe", num_classes=10, in_channels=1, image_size=28)
    network = mz.sparsify(network, 0.1, exclude=("conv1",))
    path = tmp_path_factory.mktemp("files") / "lenet.safetensors"
    arguments = {"num_classes": 10, "in_channels": 1, "image_size": [28, 28]}
    description = deploy.Description(architecture="lenet5_caffe", arguments=arguments, input_shape=(1, 28, 28))
    deploy.export(network.eval(), "safetensors", path, description=description)
    return path


def told(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_graph_is_written_by_the_suffix(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "new" / "lenet.json"
    assert told(capsys, "ops", "graph", file, "-o", graph).strip() == str(graph)
    assert mz.ops.Graph.from_json(graph.read_text(encoding="utf-8"))["conv2"].operator == "sparse_conv2d"
    assert "%conv2 : float32[1, 50, 8, 8] = sparse_conv2d(" in told(capsys, "ops", "graph", graph)
    drawing = tmp_path / "lenet.svg"
    told(capsys, "ops", "graph", graph, "-o", drawing, "--colour", "density", "--depth", "1")
    root = ElementTree.fromstring(drawing.read_text(encoding="utf-8"))
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "sparse_conv2d 5×5" in texts
    assert any(text.startswith("fc1 · 800→500 · ") for text in texts)
    told(capsys, "ops", "graph", graph, "-o", tmp_path / "lenet.dot")
    assert '-> "output"' in (tmp_path / "lenet.dot").read_text(encoding="utf-8")


def test_a_network_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing = tmp_path / "digits.svg"
    options = ("--density", "0.2", "--batch", "3", "--profile", "--colour", "time", "-o", drawing)
    table = told(capsys, "ops", "graph", "digits_cnn", *options)
    assert "DigitsCNN: " in table
    assert "sparse_conv2d" in table
    assert table.splitlines()[-1] == str(drawing)
    assert "time</text>" in drawing.read_text(encoding="utf-8")


def test_what_cannot_be_drawn_is_told(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ends with .svg, .dot, .json or .txt" in refused(capsys, "ops", "graph", file, "-o", tmp_path / "a.png")
    assert "Did you mean 'resnet18'?" in refused(capsys, "ops", "graph", "resnet8")
    assert "No such file" in refused(capsys, "ops", "graph", tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    assert "no graph of mezzotint" in refused(capsys, "ops", "graph", tmp_path / "bad.json")
    assert "cannot be timed" in refused(capsys, "ops", "graph", tmp_path / "bad.json", "--profile")
    assert "allowed: networks built by name" in refused(capsys, "ops", "graph", file, "--density", "0.5")
    assert "allowed: a run, a checkpoint or a network" in refused(capsys, "ops", "graph")
    assert "allowed: one name" in refused(capsys, "ops", "graph", file, "conv1")


@pytest.mark.parametrize("option", ["--batch", "--size"])
@pytest.mark.parametrize("number", ["0", "-1", "2.5", "many"])
def test_numbers_of_images_and_pixels_are_checked(option: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "ops", "explain", "digits_cnn", option, number)
    assert f"argument {option}: received {number}; allowed: a whole number, at least 1." in error


def test_a_layer_is_explained(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = told(capsys, "ops", "explain", file, "conv2", "--batch", "16")
    assert "5×5 convolution, 20 → 50 channels" in text
    assert "[16, 20, 12, 12] → [16, 50, 8, 8], float32" in text
    for direction in ("output", "input gradient", "weight gradient"):
        assert f"\n{direction}: " in text
    assert text.count(" chosen") == 3
    assert "By the cost estimate: " in text
    assert "cannot: it runs on cuda, the tensors are on cpu" in text
    assert "decided again  when the density leaves " in text
    assert 'set_policy("rule", force={"sparse_conv2d": ' in text


def test_a_narrow_terminal_loses_no_word(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    text = told(capsys, "ops", "explain", file, "fc1", "--dtype", "bfloat16")
    assert all(len(line) <= 50 for line in text.splitlines())
    assert "linear layer, 800 → 500 features" in text
    assert "bfloat16" in text


def test_the_answer_is_the_launchers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = json.loads(told(capsys, "ops", "explain", file, "conv2", "--batch", "8", "--json"))
    network = deploy.load(file)
    layer = network.conv2
    launch.forget()
    with launch.policy("rule"):
        y = layer(torch.zeros(8, 20, 12, 12, requires_grad=True))
        y.sum().backward()
        decided = {record["op"]: record for record in launch.decisions()}
    assert {one["op"]: one["kernel"] for one in answer["directions"]} == {
        op: record["kernel"] for op, record in decided.items()
    }
    assert (answer["nnz"], answer["numel"]) == (layer.nnz, 25000)
    low, high = answer["bounds"]
    assert low <= layer.density < high
    first = answer["directions"][0]
    assert first["candidates"][0]["name"] == first["kernel"]
    assert first["candidates"][0]["cost"] == decided[first["op"]]["estimates"][first["kernel"]]


def test_candidates_are_timed_when_that_is_asked_for(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("ops", "explain", file, "conv2", "--batch", "2", "--measure", "--json")
    (first,), (second,) = json.loads(told(capsys, *words)), json.loads(told(capsys, *words))
    assert {one["source"] for one in first["directions"]} == {"measured"}
    assert {one["source"] for one in second["directions"]} == {"restored"}
    assert all(one["milliseconds"] > 0 for one in first["directions"][0]["candidates"])
    assert first["directions"][0]["kernel"] == second["directions"][0]["kernel"]


def test_all_layers_of_a_network(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = told(capsys, "ops", "explain", "lenet_300_100", "--batch", "4").splitlines()
    assert lines[0] == "lenet_300_100, density 0.1, batch 4, float32"
    assert [line.split()[0] for line in lines[3:6]] == ["fc1", "fc2", "fc3"]
    assert all("%" in line for line in lines[3:6])


def test_layers_without_a_choice_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'conv1' is dense: PyTorch computes it" in refused(capsys, "ops", "explain", file, "conv1")
    assert "Did you mean 'conv2'?" in refused(capsys, "ops", "explain", file, "conv3")
    assert "Layers: conv2, fc1, fc2" in refused(capsys, "ops", "explain", file, "zzz")
    assert "has no sparse layer" in refused(capsys, "ops", "explain", "lenet_300_100", "--density", "1")
