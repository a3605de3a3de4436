"""Does the command line behave: exit codes as documented, colours for people, light help, a full disk in words?"""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mezzotint.cli import COMMANDS, main, overview
from mezzotint.cli.output import console
from mezzotint.cli.progress import Patient, counted

CONFIG = """
name = "small"
threads = 1
[data]
source = "digits"
batch_size = 100
[model]
name = "lenet_300_100"
[schedule]
epochs = 2000
[run]
samples = 0
"""


def run(*words: str, code: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    """``mezzotint WORDS`` in a process of its own, after ``code``."""
    program = f"{code}\nfrom mezzotint.cli import main\nimport sys\nsys.exit(main({list(words)!r}))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mezzotint.cli import COMMANDS, main\n"
        "main(['--help']); first = set(sys.modules)\n"
        "for name in COMMANDS: main([name, '--help'])\n"
        "heavy = {'torch', 'numpy', 'PIL', 'safetensors', 'shtab', 'mezzotint.train', 'mezzotint.data'}\n"
        "print(len(first), sorted(heavy & set(sys.modules)), 'rich' in first, file=sys.stderr)\n"
    )
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.modules))"], capture_output=True, text=True, check=True
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, *others = done.stderr.split()
    assert others == ["[]", "False"]
    assert int(count) - int(bare.stdout) < 60, "modules that `mezzotint --help` brings"


def test_importing_the_library_brings_few_modules_beside_torch() -> None:
    code = "import sys, torch; before = set(sys.modules); import mezzotint; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 3


def test_exit_codes_are_those_of_the_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = overview()
    for code in ("0  ", "1  ", "2  ", "130, 143", "141"):
        assert f"\n  {code}" in told
    assert main([]) == 0
    assert main(["help", "train"]) == 0
    assert "usage: mezzotint train" in capsys.readouterr().out
    assert main(["nothing"]) == 2
    assert main(["train"]) == 2
    assert main(["help", "trainn"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err


def test_a_bug_ends_with_1_and_a_traceback() -> None:
    done = run("doctor", code="import mezzotint.cli.doctor as d\nd.run = lambda arguments: 1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("given", "code", "told"), [(None, 0, ""), (3, 3, ""), ("no licence", 1, "no licence\n"), (2.5, 1, "2.5\n")]
)
def test_own_code_may_end_a_command(
    given: object, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mezzotint.cli.doctor.run", lambda arguments: sys.exit(given))  # type: ignore[arg-type]
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(CONFIG)
    words = [sys.executable, "-m", "mezzotint", "train", "small.toml", "--json"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "runs" / "small" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(sent)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code
    told = json.loads(out)
    assert (told["finished"], told["signal"]) == (False, sent.name)
    assert told["step"] > 0


@pytest.mark.parametrize("words", [["config", "--json"], ["--version"], ["train", "small.toml"]])
def test_nobody_reads_any_more(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(CONFIG)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "mezzotint", *words]
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 141, done.stderr
    assert "Error" not in done.stderr


def test_a_closed_stdout_is_not_missed_by_what_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    assert main(["nothing"]) == 2


def test_signs_that_a_terminal_lacks_end_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(CONFIG.replace("2000", "1"))
    words = [sys.executable, "-m", "mezzotint", "train", "small.toml"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, encoding="ascii", check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1 ? loss" in done.stdout


def test_a_full_disk_is_no_bug(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    done = run("init", "digits", "-o", "new.toml", code=limit, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "make room" in done.stderr
    assert not (tmp_path / "new.toml").exists(), "no half of a file stays"


def test_what_the_system_refuses_anywhere_is_told_in_one_line() -> None:
    broken = (
        "import mezzotint.cli.doctor as d\ndef full(arguments):\n    raise OSError(28, 'No space left on device', 'x')"
    )
    done = run("doctor", code=f"{broken}\nd.run = full")
    assert done.returncode == 2
    assert done.stderr == (
        "error: the system refuses: No space left on device (x). Make room, or name a place with more of it; a run goes"
        " on with --resume from its last checkpoint.\n"
    )


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, False),
    ],
)
def test_colours_in_a_pipe(environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    target = console()
    target.print("[red]text[/red]")
    assert ("\x1b[" in out.getvalue()) is coloured
    assert not target.is_terminal, "no bar moves in a file, whatever the colours"


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_a_terminal(environment: dict[str, str], coloured: bool) -> None:
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}
    code = "from mezzotint.cli.output import console; console().print('[red]text[/red]')"
    subprocess.run(
        [sys.executable, "-c", code], stdout=follower, env={**kept, "TERM": "xterm", **environment}, check=True
    )
    os.close(follower)
    assert (b"\x1b[31m" in os.read(leader, 1000)) is coloured
    os.close(leader)


def test_what_takes_a_moment_is_not_spoken_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment, lines in ((2.0, 0), (0.0, 9)):
        monkeypatch.setattr("mezzotint.cli.progress._MOMENT", moment)
        with counted("reading") as watch:
            for done in range(1, 101):
                watch(done, 100)
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("reading: ") == lines
        assert told.err.count(" left\n") == lines


def test_a_run_that_is_slow_to_begin_says_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mezzotint.train.progress import Silent, Start

    start = Start(name="r", describe="", done=0, total=1, epochs=1, batch_size=1)
    monkeypatch.setattr("mezzotint.cli.progress._MOMENT", 0.0)
    with Patient(Silent(), "preparing") as patient:
        end = time.monotonic() + 20
        while "preparing" not in (told := capsys.readouterr().err) and time.monotonic() < end:
            time.sleep(0.01)
        patient.begin(start)
    assert told == "preparing\n"
    monkeypatch.setattr("mezzotint.cli.progress._MOMENT", 3600.0)
    with Patient(Silent(), "preparing") as patient:
        patient.begin(start)
    with Patient(Silent(), ""):
        pass
    assert capsys.readouterr().err == ""


def test_keys_of_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    from mezzotint.train import RunConfig
    from mezzotint.train.table import all_keys

    assert main(["config", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told) == sorted(all_keys(RunConfig))
    assert [name for name, key in told.items() if not key["meaning"]] == [], "every key is explained"
    assert told["optimizer.lr"]["default"] == "0.1"
    assert main(["config", "epochs"]) == 0
    assert "schedule.epochs = 10" in capsys.readouterr().out
    assert main(["config"]) == 0
    assert "\n[sparsity]\n" in capsys.readouterr().out
    assert main(["config", "data.pth"]) == 2
    assert "Did you mean 'data.path'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_mistyped_option_gets_a_suggestion(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--hellp"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    if "unrecognized" in error:
        assert "Did you mean '--help'?" in error
