"""``mezzotint ops``: which operators are there, what does one do, and which kernels did a run choose?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mezzotint.cli.output import line
from mezzotint.errors import InputError, RunError, message

EXAMPLES = """\
  mezzotint ops list
  mezzotint ops show sparse_conv2d
  mezzotint ops explain runs/digits
  mezzotint ops explain runs/digits --op sparse_linear
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "action",
        choices=("list", "show", "explain"),
        help="list: names of all operators; show: the text of one; explain: which kernels a run chose, why, and whether"
        " that was measured, restored from a file, ruled or forced",
    )
    parser.add_argument("target", metavar="NAME_OR_RUN", nargs="?", help="operator to show, or run folder to explain")
    parser.add_argument("--op", help="explain one operator only")


def run(arguments: argparse.Namespace) -> int:
    """List, show or explain; 0."""
    action, target = arguments.action, arguments.target
    if (action == "list") != (target is None):
        wanted = {"list": "nothing", "show": "the name of an operator", "explain": "a run folder"}[action]
        raise InputError(message(f"ops {action}", received=target or "nothing after it", allowed=wanted))
    if action == "explain":
        from mezzotint.kernels.decision import in_words

        records = _decisions(Path(target))
        line("\n".join(in_words(record) for record in records if arguments.op in (None, record.get("op"))))
        return 0
    from mezzotint import ops

    line("\n".join(ops.names()) if action == "list" else ops.describe(target))
    return 0


def _decisions(folder: Path) -> list[dict[str, Any]]:
    file = folder / "decisions.json"
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            message(
                "decisions of the run",
                received=f"{str(file)!r}, which cannot be read ({getattr(error, 'strerror', None) or 'no JSON'})",
                allowed="the folder of a run that has finished an epoch",
                fix="`mezzotint train` writes the file after every epoch.",
            )
        ) from error
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
