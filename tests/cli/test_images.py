"""Does somebody who has only a folder of images come to a trained network, and are slips told in plain words?"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.cli import main
from mezzotint.cli.looking import duration
from mezzotint.train import load_config

FAST = ["--set", "schedule.epochs=2", "threads=1", "run.samples=0"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of small images, in the working directory, with a damaged and a grey one."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, colour in (("Äpfel & Birnen", 40), ("kiwi", 180)):
        (tmp_path / "my photos" / name).mkdir(parents=True)
        for place in range(24):
            levels = generator.normal(colour, 30, (10, 10, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(levels).save(tmp_path / "my photos" / name / f"{place}.png")
    Image.new("L", (10, 10), 90).save(tmp_path / "my photos" / "kiwi" / "grey.png")
    (tmp_path / "my photos" / "kiwi" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    return tmp_path / "my photos"


def test_from_a_folder_to_a_report(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "my photos", *FAST]) == 0
    told = capsys.readouterr()
    assert "2 (kiwi, 'Äpfel & Birnen'), 24 to 26 images" in told.out
    assert "10 % of each class is held out" in told.out
    assert "quarantined 1" in told.out
    assert "next: mezzotint report runs/my-photos" in told.out
    assert "One image cannot be read (kiwi/broken.jpg)" in told.err
    assert "grey" in told.err
    summary = json.loads(Path("runs/my-photos/summary.json").read_text())
    assert summary["density"] < 0.15
    assert main(["report", "runs/my-photos"]) == 0
    assert main(["eval", "runs/my-photos", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["accuracy"] == summary["test_accuracy"]
    assert found["count"] == 2 + 3


def test_the_file_of_the_run_is_the_next_thing_to_edit(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "my photos", "-q", *FAST]) == 0
    text = Path("runs/my-photos/config.toml").read_text(encoding="utf-8")
    assert "epochs = 2  # as asked for with --set" in text
    assert "no test part was found" in text
    assert main(["train", "runs/my-photos/config.toml", "-q", "-o", "runs/again", "--set", "schedule.epochs=1"]) == 0
    assert main(["train", "runs/my-photos", "-q", "--resume"]) == 0, "comments are no changes"
    assert main(["train", "my photos", "-q", "--resume"]) == 0, "the images stand for the run on them"
    capsys.readouterr()
    assert main(["train", "my photos", "-q"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_init_writes_what_train_reads_and_overwrites_nothing(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "my photos", "-o", "new/photos.toml", "--minutes", "5"]) == 0
    told = capsys.readouterr()
    assert "next: mezzotint train new/photos.toml" in told.out
    assert "broken.jpg" in told.err
    config = load_config("new/photos.toml")
    assert config.data.path == str(photos)
    assert config.data.hold_out == 0.1
    assert config.data.on_error == "quarantine"
    text = Path("new/photos.toml").read_text(encoding="utf-8")
    keys = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    lines = text.splitlines()
    for key in keys:
        above = lines[lines.index(key) - 1]
        assert "  # " in key or above.startswith("#") or key.startswith("name ="), f"{key} has a reason"
    assert main(["init", "my photos", "-o", "new/photos.toml"]) == 2
    assert "which exists" in capsys.readouterr().err
    assert Path("new/photos.toml").read_text(encoding="utf-8") == text


def test_init_for_machines(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "my photos", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["train"] == {"split": "train", "counts": [26, 24]}
    assert told["test"] is None
    assert [bad["name"] for bad in told["damaged"]] == ["kiwi/broken.jpg"]
    assert told["config"] == tomllib.loads(Path("config.toml").read_text(encoding="utf-8"))
    assert told["file"] == "config.toml"
    assert told["seconds"] > 0


def test_train_for_machines(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "my photos", "--json", "-o", "run", *FAST]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["finished"], told["signal"]) == ("run", True, None)
    assert told["summary"] == json.loads(Path("run/summary.json").read_text())


def test_the_embedded_digits_have_a_recipe_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "digits", "-q"]) == 0
    config = load_config("config.toml")
    assert (config.data.source, config.data.path, config.data.hold_out) == ("digits", "", None)
    assert config.data.augment == ({"name": "random_crop", "padding": 1, "fill": "zero"},)


def test_slips_in_plain_words(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("text").mkdir()
    Path("text/a.txt").write_text("")
    Path("c.toml").write_text("")
    for words, told in (
        (["train", "empty"], "an empty folder; allowed: a folder with one subfolder of images for each class"),
        (["init", "empty"], "(empty/cat/1.jpg, empty/dog/1.jpg)"),
        (["init", "text"], "a folder with one file and no images"),
        (["init", "c.toml"], "`mezzotint train c.toml` trains with it"),
        (["train", "my fotos"], "Did you mean 'my photos'?"),
        (["train", "c.tmol"], "Did you mean 'c.toml'?"),
        (["train", "c.toml", "--minutes", "3"], "Set schedule.epochs"),
        (["train", "my photos", "--minutes", "-1"], "a number above 0"),
        (["train", "my photos", "--resume"], "no run lies in 'runs/my-photos'"),
        (["sweep", "my photos"], "`mezzotint init my photos` looks at them"),
        (["train", "my photos", "--set", "schedule.epoch=3"], "Did you mean 'epochs'?"),
        (["init", "my photos/kiwi", "-o", "x.toml"], "without a label file"),
    ):
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert told.lower() in error.lower(), words
        assert error.count("\n") == 1
    assert not Path("runs").exists()
    assert not Path("x.toml").exists()


def test_a_run_that_never_began_is_told_as_such(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/my-photos").mkdir(parents=True)
    Path("runs/my-photos/config.toml").write_text("")
    assert main(["train", "my photos"]) == 2
    assert "Remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (41, "41 seconds"), (720, "12 minutes"), (12_600, "3.5 hours"), (200_000, "2.3 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
