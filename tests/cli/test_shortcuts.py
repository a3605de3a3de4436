"""Do the obvious options exist, do wrong ones lead to the right ones, and are choices told where they are asked for?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.cli import main
from mezzotint.sparse import METHODS
from mezzotint.train import load_config
from mezzotint.train.progress import EpochView, Lines, Start


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of small images beside the working directory, which is empty."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog", "horse"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for place in range(12):
            levels = generator.integers(0, 256, (10, 10, 3)).astype(np.uint8)
            Image.fromarray(levels).save(tmp_path / "photos" / name / f"{place}.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "photos"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one paragraph of a command that ends with 2."""
    capsys.readouterr()
    assert main(list(words)) == 2, words
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_short_forms_stand_for_keys(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--density", "0.25", "--method", "rigl", "--epochs", "1", "--lr", "1e-5", "--set", "run.samples=0"]
    assert main(["train", str(photos), "-q", *words]) == 0
    config = load_config("runs/photos/config.toml")
    assert (config.sparsity.density, config.sparsity.method) == (0.25, "rigl")
    assert (config.schedule.epochs, config.optimizer.lr) == (1, 1e-5)
    told = refused(capsys, "train", str(photos), "--resume", "--epochs", "2")
    assert "schedule.epochs" in told
    told = refused(capsys, "train", str(photos), "--resume", "--minutes", "2")
    assert "--minutes: received it for a run that goes on" in told
    told = refused(capsys, "train", str(photos), "-o", "runs/new", "--from", "step-00000001", "--minutes", "2")
    assert "--minutes" in told


def test_the_last_of_a_key_and_its_short_form_counts(photos: Path) -> None:
    Path("c.toml").write_text('[data]\nsource = "digits"\n[model]\nname = "lenet_300_100"\n')
    words = ["--lr", "0.5", "--set", "optimizer.lr=0.25", "schedule.epochs=3", "run.samples=0", "--epochs", "1"]
    assert main(["train", "c.toml", "-q", "-o", "run", *words]) == 0
    config = load_config("run/config.toml")
    assert (config.optimizer.lr, config.schedule.epochs) == (0.25, 1)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--mehtod", "rigl"), "'--method'"),
        (("--lrr", "100"), "'--lr'"),
        (("--momentum", "0.8"), "'--set optimizer.momentum=...'"),
        (("--weight-decay", "0.1"), "'--set optimizer.weight_decay=...'"),
        (("--weigth-decay=0.1",), "'--set optimizer.weight_decay=...'"),
        (("--optimizer.lr", "0.1"), "'--lr'"),
        (("--resum",), "'--resume'"),
    ],
)
def test_an_unknown_option_leads_to_the_key(
    words: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"Did you mean {meant}?" in refused(capsys, "train", "c.toml", *words)


def test_options_that_are_like_nothing_get_no_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean" not in refused(capsys, "train", "c.toml", "--qqqqqq", "1")
    assert "Did you mean" not in refused(capsys, "train", "c.toml", "another")
    assert "Did you mean '--set" not in refused(capsys, "eval", "run", "--momentum", "1")


def test_the_methods_are_listed_where_one_asks_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "method"]) == 0
    told = capsys.readouterr().out
    for name in METHODS:
        assert any(line.split()[:1] == [name] for line in told.splitlines()), name
    assert "gradient of the moment is largest? RigL." in " ".join(told.split())
    assert main(["config", "model.name"]) == 0
    assert "wrn_28_2" in capsys.readouterr().out
    assert main(["config", "sparsity"]) == 0
    assert "rigl_itop" not in capsys.readouterr().out, "a section stays short"


def test_one_class_folder_leads_to_the_folder_above(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "train", "../photos/cat")
    assert "Give the folder above, '../photos', with the classes cat, dog, horse." in told
    assert "ILSVRC" not in told
    for name in ("dog", "horse"):
        (photos / name).rename(photos.parent / name)
    assert "without a label file" in refused(capsys, "train", "../photos/cat")


def test_paths_are_written_without_detours(photos: Path) -> None:
    assert main(["init", "../photos", "-o", "c.toml", "-q"]) == 0
    assert load_config("c.toml").data.path == str(photos)
    link = photos.parent / "link"
    link.symlink_to(photos)
    assert main(["init", "../link", "-o", "d.toml", "-q"]) == 0
    assert load_config("d.toml").data.path == str(link), "a link that was named stays"


def test_images_in_quarantine_are_told_when_there_are_more(capsys: pytest.CaptureFixture[str]) -> None:
    from mezzotint.cli.output import console

    lines = Lines(console())
    lines.begin(Start(name="a", describe="b", done=0, total=4, epochs=4, batch_size=1))
    for epoch, count in enumerate((2, 2, 3, 3)):
        values = {"train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.5, "density": 1.0}
        lines.epoch(EpochView(epoch=epoch, skipped=0, seconds=1.0, quarantined=count, **values))
    told = capsys.readouterr().out.splitlines()[1:]
    assert [text.split("quarantined ")[1][0] if "quarantined" in text else "" for text in told] == ["2", "", "3", ""]


def test_options_that_a_method_has_not_are_refused_in_its_name(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.toml").write_text('[data]\nsource = "digits"\n[model]\nname = "lenet_300_100"\n[sparsity]\ndensity = 0.1\n')
    words = ["--method", "sparse_momentum", "rigl", "--set", "sparsity.options={quite=1}"]
    assert "sparsity.options of method 'sparse_momentum': received quite" in refused(capsys, "sweep", "c.toml", *words)
