"""Is every bad input told in one paragraph with the remedy, exit code 2, no traceback, and nothing overwritten?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.cli import main

Refused = Callable[..., str]

DIGITS = """
name = "bad"
threads = 1
[data]
source = "digits"
batch_size = 200
[model]
name = "lenet_300_100"
[schedule]
epochs = 1
"""


def images(root: Path, classes: str = "ab", side: int = 8) -> Path:
    """Class folders below ``train`` and ``test``."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for place in range(2):
                picture = Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8))
                picture.save(root / split / name / f"{place}.png")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused; gives what it said. Nothing in the test's folder may change."""

    def run(*words: str | Path) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        assert code == 2, told
        assert told.out == ""
        assert told.err.startswith("error: ")
        assert told.err.count("\n") == 1, "one paragraph"
        assert "Traceback" not in told.err
        assert contents(tmp_path) == before
        return told.err

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that works."""
    file = tmp_path / "good.toml"
    file.write_text(DIGITS)
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "good.toml").write_text(DIGITS)
    assert main(["train", str(folder / "good.toml"), "-q", "-o", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A finished run of the test's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.mark.parametrize("density", ["0", "1.5", "-0.1", "nan"])
def test_density(density: str, config: Path, tmp_path: Path, refused: Refused) -> None:
    told = refused("train", config, "--set", f"sparsity.density={density}", "-o", tmp_path / "new")
    assert "sparsity.density" in told
    assert "above 0 and at most 1" in told


def test_unknown_key(config: Path, tmp_path: Path, refused: Refused) -> None:
    told = refused("train", config, "-o", tmp_path / "new", "--set", "optimizer.learning_rate=1", "sparsity.densty=1")
    assert "learning_rate" in told
    config.write_text(DIGITS.replace("epochs", "epoch"))
    assert "Did you mean 'epochs'?" in refused("train", config, "-o", tmp_path / "new")


def test_corrupt_image(config: Path, tmp_path: Path, refused: Refused) -> None:
    folder = images(tmp_path / "images")
    victim = folder / "train" / "b" / "1.png"
    victim.write_bytes(victim.read_bytes()[:70])
    words = ["train", config, "-o", tmp_path / "new", "--set", "data.source=auto", f"data.path='{folder}'"]
    assert str(victim) in refused(*words, "data.batch_size=2")


def test_a_corrupt_image_met_on_the_way_can_be_repaired_and_the_run_goes_on(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = images(tmp_path / "images")
    victim = folder / "test" / "b" / "1.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:70])
    words = ["train", str(config), "-q", "-o", str(tmp_path / "new"), "--set", "data.source=auto"]
    words += [f"data.path='{folder}'", "data.batch_size=2"]
    assert main(words) == 2
    assert str(victim) in capsys.readouterr().err
    victim.write_bytes(whole)
    assert main([*words, "--resume"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "none", "--split", "test", "digits"),
        ("predict", "none", "--top", "3", "image.png"),
        ("predict", "none", "--", "-image.png"),
        ("ops", "explain", "none", "--density", "0.1", "layer1.0.conv1"),
    ],
)
def test_options_stand_between_the_others(words: tuple[str, ...], refused: Refused) -> None:
    error = refused(*words)
    assert "none" in error
    assert "unrecognized" not in error


@pytest.mark.parametrize(
    "words",
    [("preview", "x.png", "--epoch"), ("preview", "x.png", "--sample"), ("ops", "graph", "resnet20", "--depth")],
)
def test_places_below_the_first_are_refused_at_once(words: tuple[str, ...], refused: Refused) -> None:
    assert f"argument {words[-1]}: received -1; allowed: a whole number, at least" in refused(*words, "-1")


def test_corrupt_image_for_the_preview(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    assert "broken.jpg" in refused("preview", tmp_path / "broken.jpg", "-o", tmp_path / "preview.png")
    assert "nowhere" in refused("preview", tmp_path / "nowhere", "-o", tmp_path / "preview.png")


def test_wrong_label_file(config: Path, tmp_path: Path, refused: Refused) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for place in (1, 2, 3):
        Image.new("RGB", (8, 8)).save(flat / f"ILSVRC2012_val_{place:08d}.JPEG")
    labels = tmp_path / "labels.txt"
    labels.write_text("0\n1\n")
    settings = ["data.source=flat", f"data.path='{flat}'", f"data.labels='{labels}'", "data.batch_size=1"]
    told = refused("train", config, "-o", tmp_path / "new", "--set", *settings, "data.train_split=val")
    assert "labels.txt" in told


def test_classes_mixed_up(config: Path, run_folder: Path, tmp_path: Path, refused: Refused) -> None:
    folder = images(tmp_path / "images")
    assert "the 10 classes that the network was trained on" in refused("eval", run_folder, folder)
    shutil.rmtree(folder / "test" / "b")
    settings = ["data.source=auto", f"data.path='{folder}'", "data.batch_size=2"]
    assert "'b'" in refused("train", config, "-o", tmp_path / "new", "--set", *settings)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_truncated_checkpoint(name: str, config: Path, run_folder: Path, refused: Refused) -> None:
    newest = run_folder / "checkpoints" / "step-00000007"
    os.truncate(newest / name, (newest / name).stat().st_size // 2)
    for words in (
        ["train", config, "-o", run_folder, "--resume"],
        ["eval", run_folder],
        ["train", run_folder, "--resume"],
    ):
        told = refused(*words)
        assert str(newest / name) in told
        assert "truncated" in told
        assert "--from step-00000000" in told


def test_unwritable_run_folder(config: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("")
    assert "Name another folder with -o" in refused("train", config, "-o", tmp_path / "file" / "run")
    assert "which is a file" in refused("train", config, "-o", tmp_path / "file")
    assert "-o" in refused("train", config, "-o", "/proc/mezzotint")


def test_read_only_run_folder(config: Path, tmp_path: Path, refused: Refused) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "permissions" in refused("train", config, "-o", tmp_path / "locked" / "run")


def test_an_existing_run_is_not_overwritten(config: Path, run_folder: Path, refused: Refused) -> None:
    assert "--resume" in refused("train", config, "-o", run_folder)
    assert "optimizer.lr: 0.1 -> 0.2" in refused(
        "train", config, "-o", run_folder, "--resume", "--set", "optimizer.lr=0.2"
    )


def test_what_is_not_there(config: Path, tmp_path: Path, refused: Refused) -> None:
    assert "does not exist" in refused("train", tmp_path / "none.toml")
    assert "holds no run" in refused("train", config, "--resume", "-o", tmp_path / "none")
    assert "does not exist" in refused("eval", tmp_path / "none")
    assert "none" in refused("report", tmp_path / "none")
    assert "decisions.json" in refused("ops", "explain", tmp_path)
    assert "does not exist" in refused("export", tmp_path / "none", "-f", "pt2", "-o", tmp_path / "out")
    path = ["train", config, "-o", tmp_path / "new", "--set", "data.source=auto", f"data.path='{tmp_path / 'no'}'"]
    assert "does not exist" in refused(*path)


def test_mistyped_words(refused: Refused) -> None:
    assert "Did you mean 'train'?" in refused("trian", "x")
    assert "Did you mean '--resume'?" in refused("train", "x.toml", "--resum")
    assert "Did you mean 'sparse_conv2d'?" in refused("ops", "show", "sparse_conv")
    assert "the name of an operator" in refused("ops", "show")
    assert "following arguments are required: CONFIG" in refused("train")
    assert "invalid choice" in refused("export", "x", "-f", "onnxx", "-o", "y")
