"""Does ``mezzotint data pack`` pack, tell what it does, stop when asked and go on?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.cli import main
from mezzotint.data.source import open_source
from mezzotint.data.sources.packindex import index_path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten images of each of two classes."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            picture = Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8))
            picture.save(tmp_path / "images" / name / f"{number}.jpg")
    return tmp_path / "images"


def test_pack_tells_what_it_does(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "shards" / "train.tar"
    assert main(["data", "pack", str(images), "-o", str(output), "--size", "16", "--shuffle", "--threads", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{output}: 20 images, 0.")
    assert out.count("\n") == 1
    told = err.splitlines()
    assert told[0] == f"image folder {images}: 20 images, 2 classes"
    assert told[1].startswith("2 of 20, ")
    assert len(told) == 11
    source = open_source(output.parent)
    assert source.read(0)[0].shape == (16, 21, 3)
    assert source.name(0) != "cat/0.jpg"


def test_progress_that_nobody_reads_is_no_fault_of_the_output(images: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mezzotint", "data", "pack", str(images), "-o", str(tmp_path / "a.tar")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout) == (141, "")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "pack", "--help"]) == 0
    told = capsys.readouterr().out
    assert "mezzotint data pack imagenet/ -o shards/train.tar --size 256" in told
    assert "--on-error {fail,skip}" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "OUT/a.tar", "--siez", "3"], "Did you mean '--size'?"),
        (["-o", "OUT/a.tar", "--size", "0"], "size: received 0"),
        (["-o", "OUT/a.tar", "--threads", "0"], "threads: received 0"),
        (["-o", "OUT/a.zip"], "ends in .tar"),
        (["-o", "OUT/images/cat/0.jpg/a.tar"], "File exists"),
        (["-o", "OUT/a.tar", "--split", "test"], "not divided"),
        ([], "-o/--output"),
    ],
)
def test_wrong_words(
    words: list[str], told: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "pack", str(images), *(word.replace("OUT", str(tmp_path)) for word in words)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert told in output.err
    assert output.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_finished_file_is_kept(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "pack", str(images), "-q", "-o", str(tmp_path / "a.tar")]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main([*words, "--size", "9"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--size", "9", "--overwrite"]) == 0


def test_damaged_images(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = images / "dog" / "3.jpg"
    victim.write_bytes(victim.read_bytes()[:300])
    words = ["data", "pack", str(images), "-q", "-o", str(tmp_path / "a.tar")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert str(victim) in told
    assert "--on-error skip" in told
    assert main([*words, "--on-error", "skip"]) == 0
    output = capsys.readouterr()
    assert output.err.startswith(f"warning: left out: {victim}: received a JPEG file of 300 bytes")
    assert output.out.endswith("19 images, 0.1 MB, 1 left out\n")


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_and_the_same_command_again(images: Path, tmp_path: Path, asked: signal.Signals) -> None:
    for copy in range(100):  # enough work to be met in the middle of it
        (images / f"copy{copy}").symlink_to(images / "cat", target_is_directory=True)
    output, whole = tmp_path / "a.tar", tmp_path / "whole.tar"
    words = ["data", "pack", str(images), "--size", "8", "--threads", "1", "-o"]
    command = [sys.executable, "-m", "mezzotint", *words, str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None and not (tmp_path / "a.tar.journal").exists():
        time.sleep(0.002)
    process.send_signal(asked)
    told, problems = process.communicate(timeout=60)
    assert process.returncode == 128 + asked, problems
    assert f"stopped by {asked.name}" in told
    assert not output.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "going on after" in again.stderr
    assert main([*words, str(whole), "-q"]) == 0
    assert output.read_bytes() == whole.read_bytes()
    assert index_path(output).read_bytes() == index_path(whole).read_bytes()
