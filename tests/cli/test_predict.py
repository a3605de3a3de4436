"""Does ``mezzotint predict`` see in images what the evaluation of the same network sees, from every kind of file?"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import CONFIG

from mezzotint.cli import main
from mezzotint.data.source import open_source
from mezzotint.deploy import Classifier, Description, Session, export
from mezzotint.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, its files, and three digits."""
    place = tmp_path_factory.mktemp("predict")
    (place / "small.toml").write_text(CONFIG)
    assert main(["train", str(place / "small.toml"), "-o", str(place / "run"), "-q"]) == 0
    assert main(["export", str(place / "run"), "-f", "safetensors", "-o", str(place / "net.safetensors")]) == 0
    assert main(["export", str(place / "run"), "-f", "onnx", "-o", str(place / "net.onnx")]) == 0
    assert main(["export", str(place / "run"), "-f", "onnx-sparse", "-o", str(place / "sparse.onnx")]) == 0
    for number in range(3):
        (place / f"digit{number}.png").write_bytes(digit(number)[0])
    return place


def digit(number: int) -> tuple[bytes, int]:
    """A PNG of a test image, and its class."""
    image, label = open_source("digits", "test").read(number)[:2]
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()[..., 0]).save(buffer, "PNG")
    return buffer.getvalue(), int(label)


def predicted(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["predict", *map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_kind_of_file_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [folder / f"digit{number}.png" for number in range(3)]
    found = [
        predicted(capsys, folder / name, *images) for name in ("run", "net.safetensors", "net.onnx", "sparse.onnx")
    ]
    for rows in found:
        assert [row["image"] for row in rows] == [str(path) for path in images]
        for row, first in zip(rows, found[0], strict=True):
            ours, theirs = row["top"], first["top"]
            assert isinstance(ours, list)
            assert isinstance(theirs, list)
            assert len(ours) == 5
            assert [one["index"] for one in ours[:2]] == [one["index"] for one in theirs[:2]]
            assert ours[0]["probability"] == pytest.approx(theirs[0]["probability"], abs=1e-4)
            assert ours[0]["class"] == str(ours[0]["index"])
            assert ours == sorted(ours, key=lambda one: -one["probability"])


def test_predictions_are_as_accurate_as_the_evaluation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["eval", str(folder / "run"), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    classifier = Classifier(Session(folder / "net.onnx", threads=1))
    right = 0
    for number in range(evaluated["count"]):
        content, label = digit(number)
        right += classifier(content, 1)[0].index == label
    assert abs(right - evaluated["correct"]) <= 1  # of two equal logits either may come first


def test_a_table_and_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [folder / "net.onnx", folder / "digit0.png", folder / "digit1.png", "--top", "3", "-o", folder / "seen.png"]
    assert main(["predict", *map(str, words)]) == 0
    told = capsys.readouterr().out
    assert told.count(" %") == 6
    assert str(folder / "seen.png") in told.replace("\n", "")
    sheet = np.asarray(Image.open(folder / "seen.png"))
    assert sheet.shape[0] > 2 * 224
    bars = (sheet == (0, 114, 178)).all(-1)
    assert bars.any(1).sum() >= 2 * 10  # one bar an image at least, ten pixels high
    assert main(["predict", *map(str, words)]) == 0  # an earlier picture is replaced


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    assert main(["predict", *map(str, words)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def test_errors_are_one_paragraph(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digit0, net = folder / "digit0.png", folder / "net.onnx"
    assert "no such file" in refused(capsys, net, tmp_path / "absent.png")
    assert "does not exist" in refused(capsys, tmp_path / "absent.onnx", digit0)
    assert "does not exist" in refused(capsys, tmp_path / "absent", digit0)
    assert "at least 1" in refused(capsys, net, digit0, "--top", "0")
    assert "does not end in .png" in refused(capsys, net, digit0, "-o", tmp_path / "x.jpg")
    assert "--classes" in refused(capsys, net, digit0, "--classes", tmp_path / "absent.txt")
    (tmp_path / "two.txt").write_text("a\nb\n")
    assert "2 names for 10 classes" in refused(capsys, net, digit0, "--classes", tmp_path / "two.txt")
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    wide = f"{tmp_path / 'wide.png'} (no protocol: the image as it is): received 8 x 9 pixels; allowed: 8 x 8."
    assert wide in refused(capsys, net, tmp_path / "wide.png")
    assert "protocol" in refused(capsys, net, digit0, "--protocol", "nonsense")
    (tmp_path / "broken.onnx").write_bytes(net.read_bytes()[:-1000])
    assert "broken.onnx" in refused(capsys, tmp_path / "broken.onnx", digit0)


def network(classes: int = 4, channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    pool, flat = torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()
    return torch.nn.Sequential(pool, flat, torch.nn.Linear(4 * channels, classes)).eval()


def test_a_model_of_others_needs_to_be_told_how_images_enter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(network(), "onnx", tmp_path / "net.onnx", description=Description(input_shape=(3, 32, 32)))
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    words: list[str | Path] = [tmp_path / "net.onnx", tmp_path / "photo.png"]
    assert "does not say how images become its input" in refused(capsys, *words)
    (tmp_path / "names.json").write_text('["ant", "bee", "cat", "dog"]')
    settings = ["--protocol", "torchvision:resize_size=40,img_size=32", "--classes", tmp_path / "names.json"]
    (row,) = predicted(capsys, *words, *settings, "--mean", "0.5", "0.4", "0.3", "--std", "0.2", "0.2", "0.3")
    top = row["top"]
    assert isinstance(top, list)
    assert {one["class"] for one in top} == {"ant", "bee", "cat", "dog"}
    assert sum(one["probability"] for one in top) == pytest.approx(1.0, abs=1e-5)


def test_an_image_that_cannot_be_read_costs_no_other(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(_png(8, 8))
    (tmp_path / "b.png").write_bytes(_png(8, 8)[:40])
    (tmp_path / "notes.txt").write_text("no image")
    capsys.readouterr()
    assert main(["predict", str(folder / "net.onnx"), str(tmp_path), "--json"]) == 2
    told = capsys.readouterr()
    assert [Path(json.loads(text)["image"]).name for text in told.out.splitlines()] == ["a.png", "c.png"]
    assert told.err.startswith("error: ")
    assert "b.png" in told.err
    (tmp_path / "empty").mkdir()
    assert "a folder without images" in refused(capsys, folder / "net.onnx", tmp_path / "empty")


def test_weights_of_an_own_network_are_told_what_to_do_at_a_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(network(), "safetensors", tmp_path / "own.safetensors", description=Description(input_shape=(3, 8, 8)))
    (tmp_path / "photo.png").write_bytes(_png(8, 8))
    told = refused(capsys, tmp_path / "own.safetensors", tmp_path / "photo.png")
    assert 'write it as ONNX, for which no class is needed: mezzotint.deploy.export(model, "onnx"' in told
    capsys.readouterr()
    words = [str(tmp_path / "own.safetensors"), "-f", "onnx", "-o", str(tmp_path / "own.onnx")]
    assert main(["export", *words]) == 2
    assert "write it as ONNX" in capsys.readouterr().err


def test_what_is_no_classifier_of_images_is_told() -> None:
    with pytest.raises(InputError, match="one float32 input of images"):
        Classifier(Session(torch.nn.Linear(4, 2), description=Description(input_shape=(4,))))
    both = Description(input_shape=(3, 8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(InputError, match="one output"):
        Classifier(Session(torch.nn.Conv2d(3, 4, 3), description=both))(_png(8, 8))


def _png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()
