"""Does ``mezzotint bench infer FILE`` run the reader's own network, the same one in every engine?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mezzotint as mz
from mezzotint.bench import infer, infer_engines, infer_file
from mezzotint.bench.machine import using_threads
from mezzotint.cli import files, main
from mezzotint.deploy import Description, Session, export
from mezzotint.errors import InputError, NotRegistered

ENGINE = "mezzotint fp32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ours.safetensors`` of a network of ours, ``own.safetensors`` and ``own.onnx`` of another one."""
    place = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    arguments = {"num_classes": 4, "in_channels": 3, "image_size": 8}
    ours = mz.sparsify(mz.models.build("resnet20", **arguments), 0.2, "uniform")
    described = Description(architecture="resnet20", arguments=arguments, input_shape=(3, 8, 8))
    export(ours, "safetensors", place / "ours.safetensors", description=described)
    own = mz.sparsify(nn.Sequential(nn.Conv2d(2, 8, 3), nn.Flatten(), nn.Linear(8 * 25, 3)), 0.25, "uniform")
    export(own, "safetensors", place / "own.safetensors", description=Description(input_shape=(2, 7, 7)))
    export(own, "onnx", place / "own.onnx", description=Description(input_shape=(2, 7, 7)))
    return place


def settings(path: Path, engine: str, batch: int, folder: Path) -> infer_engines.Setting:
    known, fixed = infer_file.check_file(path)
    (found,) = infer_file.settings_of_file(known, fixed, batch, 1, [engine], folder)
    return found


@pytest.mark.parametrize("name", ["ours.safetensors", "own.onnx"])
def test_all_engines_run_the_same_network(name: str, folder: Path, tmp_path: Path) -> None:
    ours = settings(folder / name, ENGINE, 5, tmp_path)
    found = infer_engines.ENGINES[ENGINE](ours)()[0]
    with using_threads(1):
        dense = infer_engines.ENGINES["pytorch eager fp32"](settings(folder / name, "pytorch eager fp32", 5, tmp_path))
        np.testing.assert_allclose(found, dense().numpy(), rtol=1e-3, atol=1e-4)
    others = settings(folder / name, "onnxruntime fp32", 5, tmp_path)
    (from_onnx,) = Session(others.onnx, threads=1).run([infer_engines.images(others)])
    np.testing.assert_allclose(found, from_onnx, rtol=1e-3, atol=1e-4)
    assert len(found) == 5


def test_what_is_known_of_a_file(folder: Path) -> None:
    known, fixed = infer_file.check_file(folder / "own.onnx")
    assert (known.network, known.shape, known.density, fixed) == ("own", (2, 7, 7), 0.25, None)
    known, fixed = infer_file.check_file(folder / "ours.safetensors")
    assert (known.network, known.shape, fixed) == ("ours", (3, 8, 8), None)
    assert known.density == pytest.approx(0.2, abs=0.001)


def test_the_command_measures_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "infer", str(folder / "own.onnx"), "--batch", "3", "--engines", ENGINE, "--rounds", "1"]
    assert main([*words, "--threads", "1", "-o", str(tmp_path)]) == 0
    assert "own: inference" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "infer_own.json").read_text())["rows"]
    assert (row["engine"], row["batch"], row["density"], row["threads"]) == (ENGINE, 3, 0.25, 1)
    assert row["median_ms"] > 0
    assert "file" not in row


def test_the_steps_are_shown(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "infer", str(folder / "ours.safetensors"), "--engines", ENGINE, "--rounds", "1", "--steps"]
    assert main([*words, "--threads", "1", "-o", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "ms for 1 image, medians" in told
    assert "layer3.2.conv2: convolution + batch norm + add + activation: density" in told
    assert "PyTorch, Python and copies" in told
    assert main(["bench", "infer", str(folder / "own.onnx"), "--engines", "pytorch", "--steps"]) == 2
    assert "--steps: received it with other engines alone" in capsys.readouterr().err
    assert main(["bench", "train", "--steps"]) == 2
    assert "--steps: received it without a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["own.safetensors"], "write it as ONNX"),
        (["absent.onnx"], "no such file"),
        (["own.onnx", "--network", "resnet50"], "--network: received it with"),
        (["own.onnx", "--densities", "0.1"], "a file holds its network and its zeros"),
        (["own.onnx", "--batch", "0"], "--batch: received 0"),
        (["own.onnx", "--shape", "3,x"], "--shape"),
        (["own.onnx", "--shape", "0,7,7"], "sizes from 1"),
        (["own.onnx", "--engines", "mezzotin"], "Did you mean"),
        (["own.onnx", "--memory"], "--memory"),
    ],
)
def test_errors_are_one_paragraph(
    words: list[str], told: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = words
    assert main(["bench", "infer", str(folder / name), *rest, "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert main(["bench", "train", str(folder / "own.onnx")]) == 2
    assert "with `bench infer` only" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["infer", "own.onnx"], ["infer"], ["train"], ["kernels"]])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    words: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["bench", words[0], *(str(folder / name) for name in words[1:]), "-o"]
    monkeypatch.delattr(infer, "measure")
    (tmp_path / "file").touch()
    assert main([*command, str(tmp_path / "file")]) == 2
    assert "file', which is a file; allowed: a folder, or a new name" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "file" / "results")]) == 2
    assert "results', below" in capsys.readouterr().err
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write everywhere
    assert main([*command, str(tmp_path / "results")]) == 2
    assert "cannot be written to; allowed: a folder, or a new name. Name another place" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_file_of_free_sizes_needs_a_shape(tmp_path: Path) -> None:
    from mezzotint.deploy.onnx import schema, wire

    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    export(network, "onnx", tmp_path / "net.onnx", description=Description(input_shape=(3, 8, 8)))
    made = wire.decode(schema.Model, memoryview((tmp_path / "net.onnx").read_bytes()))
    assert made.graph is not None
    made.metadata_props = []
    kind = made.graph.input[0].type
    assert kind is not None
    assert kind.tensor_type is not None
    assert kind.tensor_type.shape is not None
    for place, name in ((2, "H"), (3, "W")):
        kind.tensor_type.shape.dim[place] = schema.Dimension(dim_param=name)
    (tmp_path / "free.onnx").write_bytes(wire.encode(made))
    with pytest.raises(InputError, match=r"free sizes: \[N, 3, N, N\].*--shape"):
        infer_file.check_file(tmp_path / "free.onnx")
    assert infer_file.check_file(tmp_path / "free.onnx", (3, 9, 9))[0].shape == (3, 9, 9)


def test_engines_are_chosen_by_name_or_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    assert infer.chosen("pytorch eager") == ["pytorch eager bf16", "pytorch eager fp32"]
    assert infer.chosen(f"{ENGINE}, mezzotint") == [ENGINE, "mezzotint bf16"]
    assert infer.chosen(None) == infer.available()
    monkeypatch.setattr(infer, "available", lambda: [ENGINE])
    with pytest.raises(InputError, match=r"pip install openvino"):
        infer.chosen("openvino fp32")
    with pytest.raises(NotRegistered, match="received deepsparse"):
        infer.chosen("deepsparse")
