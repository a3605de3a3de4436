"""Do the commands print what the guide says that machines may rely on?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mezzotint.cli import COMMANDS, main, overview
from mezzotint.train import Callback

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "command_line.md").read_text(encoding="utf-8")
SMALL = ["--set", "schedule.epochs=1", "threads=1", "run.samples=0", "model.name=lenet_300_100"]


def documented(command: str) -> set[str]:
    """The keys in the guide's table."""
    row = re.search(rf"^\| `{command}` \| (.*) \|$", GUIDE, flags=re.MULTILINE)
    assert row is not None, command
    return set(re.findall(r"`([a-z_]+)`", re.sub(r"\(.*?\)", "", row[1])))


def test_keys_are_the_documented_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command, words in (
        ("init", ["init", "digits", "-o", "c.toml"]),
        ("train", ["train", "digits", "-o", "run", *SMALL]),
        ("eval", ["eval", "run"]),
        ("data pack", ["data", "pack", "digits", "-o", "digits.tar"]),
        ("sweep", ["sweep", "run/config.toml", "--density", "0.1", "--seeds", "1", "-o", "sweep"]),
        ("doctor", ["doctor", "--quick"]),
        ("demo", ["demo", "--epochs", "1"]),
    ):
        code = main([*words, "--json"])
        told = capsys.readouterr()
        assert code == 0, told.err
        assert set(json.loads(told.out)) == documented(command), command


def test_every_command_with_json_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    others = {
        "ops",
        "bench",
        "predict",
        "export",
        "report",
        "preview",
        "completion",
    }  # described where they are at home
    for name in COMMANDS.keys() - others:
        main([name, "--help"] if name != "data" else ["data", "pack", "--help"])
        assert "--json" in capsys.readouterr().out, name
        assert documented("data pack" if name == "data" else name) is not None


def test_the_guide_has_the_exit_codes_of_the_help() -> None:
    codes = re.findall(r"^\| (\d[\d, ]*) \|", GUIDE, flags=re.MULTILINE)
    assert codes == ["0", "1", "2", "130, 143", "141"]
    assert all(f"\n  {code}" in overview() for code in codes)


def test_examples_of_callbacks_are_callbacks() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert len(blocks) == 3
    moments = {name for name in vars(Callback) if name.startswith("on_")}
    for block in blocks:
        compile(block, "guide", "exec")
        assert set(re.findall(r"def (\w+)\(self", block)) <= moments
        assert len([line for line in block.splitlines() if line.strip()]) <= 16
