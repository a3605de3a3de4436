"""What can be typed at a shell? One table of commands, one way of reporting errors; one file a command.

Exit codes: 0 done; 1 a bug (with traceback); 2 something about the input or the machine's files is wrong (one paragraph
on stderr, nothing overwritten); 130 and 143 stopped by SIGINT and SIGTERM, the state saved where a run was under way;
141 nobody reads the output any more.

A command's module is imported when it is asked for, and imports its rooms when it runs: ``--help`` never loads torch.
To add a command: one module with ``add_arguments(parser)`` and ``run(arguments) -> int``, one line in ``COMMANDS``.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Final, TextIO

from mezzotint.cli.parser import Parser
from mezzotint.errors import MezzotintError, suggest

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("demo", "train dense and sparse networks on embedded digits and compare them (a minute)"),
    "init": ("init", "look at images and write a configuration that fits them, with every choice explained"),
    "train": ("train", "train a network on a folder of images, or from a configuration file"),
    "sweep": ("sweep", "train methods x densities x seeds, resumable, and compare them in one table"),
    "eval": ("evaluate", "measure a checkpoint's accuracy"),
    "predict": ("predict", "tell what a network sees in images: run, .safetensors or .onnx"),
    "report": ("report", "write the HTML page of a run, or of several side by side"),
    "preview": ("preview", "show what the evaluation protocols keep of an image"),
    "data": ("data", "pack a data set into one file that is fast to read"),
    "export": ("export", "write a checkpoint in a format for deployment"),
    "ops": ("ops", "list operators, show one, explain why which kernel runs, or draw a network's graph"),
    "bench": ("bench", "measure sparse kernels and training steps against the best dense ones"),
    "config": ("keys", "list and explain the keys of a configuration"),
    "doctor": ("doctor", "tell what this machine offers, how fast it is, and what to do about what is slow"),
    "completion": ("completion", "print a script that completes commands and options in a shell"),
}
"""Name -> (module of this package, one line)."""

_EXAMPLES: Final = """exit codes:
  0         done
  1         a bug in mezzotint, with a traceback
  2         something about the input, the files or the disk: one paragraph on stderr, nothing overwritten
  130, 143  stopped by Ctrl-C or SIGTERM; what was under way is saved, and the same command or --resume goes on
  141       the reader of a pipe has gone

examples:
  mezzotint demo                               # a minute: what sparse training gives
  mezzotint train photos/                      # a folder with one subfolder of images for each class
  mezzotint init photos/ -o photos.toml        # the same choices as a file, to be changed
  mezzotint train configs/digits.toml
  mezzotint train configs/fast/mnist_lenet5.toml --set sparsity.density=0.02 -o runs/lenet5
  mezzotint report runs/lenet5

`mezzotint COMMAND --help` shows a command's own arguments and examples. Results go to stdout, all else to stderr; many
commands have --json. NO_COLOR and FORCE_COLOR are honoured.
"""

_OF_THE_DISK: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EMFILE)
)
"""What the system refuses for reasons that are no bug."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the program's name; those of the process when not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a sign that the terminal lacks must not end a run; stderr has a way
        sys.stdout.reconfigure(errors="replace")
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]  # none where it was closed: `>&-`
    try:
        code = _ended(words)
        for stream in streams:
            stream.flush()
    except BrokenPipeError:  # the reader has gone (`| head`): nobody is left to write to
        code = 141
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"error: the system refuses: {error.strerror}{place}. {_remedy(error.errno)}\n")
        code = 2
    _drop_unwritten(streams)
    return code


def _ended(words: list[str]) -> int:
    """The exit code of a command, however it ends; what it could not write is raised."""
    try:
        return _dispatch(words)
    except MezzotintError as error:
        if not error.told_elsewhere:
            sys.stderr.write(f"error: {paragraph(str(error))}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except SystemExit as end:  # how argparse ends; own code may give a text, as to Python itself
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1


def _drop_unwritten(streams: Iterable[TextIO]) -> None:
    """Forget what cannot be written: Python would try it again at its end, complain, and change the exit code."""
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def paragraph(text: str) -> str:
    """The text as one paragraph: all white space as single spaces."""
    return " ".join(text.split())


def _remedy(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Make room, or name a place with more of it; a run goes on with --resume from its last checkpoint."
    return "Look at the permissions and at the disk, or name another place."


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"] and words[1:]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if words[0] in ("-V", "--version"):
        from mezzotint import __version__

        sys.stdout.write(f"mezzotint {__version__}\n")
        return 0
    name = words[0]
    if name not in COMMANDS:
        fix = suggest(name, COMMANDS) or " `mezzotint --help` tells what each does."
        sys.stderr.write(f"error: no command {name!r}; commands: {', '.join(COMMANDS)}.{fix}\n")
        return 2
    command = import_module(f"mezzotint.cli.{COMMANDS[name][0]}")
    parser = Parser(prog=f"mezzotint {name}", summary=COMMANDS[name][1], examples=command.EXAMPLES)
    command.add_arguments(parser)
    arguments = parser.read(words[1:])
    _log_as_sentences()
    code: int = command.run(arguments)
    return code


def _log_as_sentences() -> None:
    """What the library logs and nobody else takes looks like the warnings of commands."""
    import logging

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("warning: %(message)s"))


def overview() -> str:
    """The text of ``mezzotint --help``."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    return (
        "usage: mezzotint COMMAND ...\n\n"
        "Trains convolutional networks sparse from the first step, in half precision.\n\n"
        f"commands:\n{lines}\n\noptions:\n  -h, --help     this text\n  -V, --version  the version\n\n{_EXAMPLES}"
    )
