"""Does Tab complete what can be typed, in a real bash, and are the scripts for the other shells whole?"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from mezzotint.cli import COMMANDS, main
from mezzotint.cli.completion import SHELLS

pytest.importorskip("shtab", reason="shtab, which makes the scripts, is not installed")


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    from mezzotint.cli.completion import script

    return {shell: script(shell) for shell in SHELLS}


@pytest.fixture(scope="module")
def bash(scripts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    file = tmp_path_factory.mktemp("bash") / "mezzotint"
    file.write_text(scripts["bash"])
    return file


def completed(file: Path, *words: str, cwd: Path) -> set[str]:
    """What Tab offers after these words, the last of which is being typed."""
    typed = " ".join(f"'{word}'" for word in words)
    program = (
        f"source '{file}'; COMP_WORDS=(mezzotint {typed}); COMP_CWORD={len(words)};"
        ' $(complete -p mezzotint | sed "s/.*-F \\([^ ]*\\) .*/\\1/") mezzotint; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=cwd, check=True)
    return set(done.stdout.split("\n")) - {""}


def test_commands_and_options(bash: Path, tmp_path: Path) -> None:
    assert completed(bash, "", cwd=tmp_path) == set(COMMANDS)
    assert completed(bash, "tr", cwd=tmp_path) == {"train"}
    assert {"--resume", "--set", "--minutes"} <= completed(bash, "train", "--", cwd=tmp_path)
    assert "--shuffle" in completed(bash, "data", "pack", "--", cwd=tmp_path)
    assert completed(bash, "export", "x", "-f", "safe", cwd=tmp_path) == {"safetensors"}
    assert completed(bash, "completion", "", cwd=tmp_path) == set(SHELLS)


def test_configurations_and_folders(bash: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "my photos").mkdir()
    assert completed(bash, "train", "", cwd=tmp_path) == {"run.toml", "my photos"}
    assert completed(bash, "init", "", cwd=tmp_path) >= {"my photos"}


def test_names_of_networks_methods_and_keys(bash: Path, tmp_path: Path) -> None:
    assert "resnet50" in completed(bash, "bench", "train", "--network", "res", cwd=tmp_path)
    assert completed(bash, "sweep", "x.toml", "--method", "rig", cwd=tmp_path) == {"rigl", "rigl_itop"}
    assert completed(bash, "train", "x.toml", "--set", "sparsity.den", cwd=tmp_path) == {"sparsity.density="}
    assert "data.on_error" in completed(bash, "config", "data.o", cwd=tmp_path)
    assert "squash256" in completed(bash, "eval", "run", "--protocol", "squ", cwd=tmp_path)


def test_paths_in_the_help_are_completed() -> None:
    from mezzotint.cli.completion import actions, whole_parser

    known = {action.dest: hasattr(action, "complete") for action in actions(whole_parser())}
    for name in ("config", "output", "runs", "checkpoint", "source", "data"):
        assert known[name], name
    assert not known["minutes"]


def test_scripts_name_every_command(scripts: dict[str, str]) -> None:
    assert scripts["zsh"].startswith("#compdef mezzotint")
    assert "complete -c mezzotint" in scripts["fish"]
    for text in scripts.values():
        assert all(name in text for name in COMMANDS)
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n"], input=scripts["zsh"], text=True, check=True)
    if shutil.which("fish"):
        subprocess.run(["fish", "-n"], input=scripts["fish"], text=True, check=True)


def test_choices_of_the_commands_stay_their_own(scripts: dict[str, str]) -> None:
    """What completion adds to a parser must not reach the parser that reads arguments."""
    from mezzotint.cli import bench
    from mezzotint.cli.parser import Parser

    parser = Parser(prog="x", summary="x", examples="")
    bench.add_arguments(parser)
    assert isinstance(parser.parse_args(["train", "--network", "mine"]), argparse.Namespace)


def test_printed(capsys: pytest.CaptureFixture[str], scripts: dict[str, str]) -> None:
    assert main(["completion", "fish"]) == 0
    assert capsys.readouterr().out.strip() == scripts["fish"].strip()
    assert main(["completion", "fisch"]) == 2
    assert "Did you mean 'fish'?" in capsys.readouterr().err
