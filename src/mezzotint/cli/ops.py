"""``mezzotint ops``: which operators are there, what does one do, and which kernels did a run choose?

``json`` and ``stubs`` say the same to programs and to type checkers.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mezzotint.cli.output import line, warn
from mezzotint.errors import InputError, NotRegistered, RunError, message

EXAMPLES = """\
  mezzotint ops list
  mezzotint ops show sparse_conv2d
  mezzotint ops explain runs/digits
  mezzotint ops explain runs/digits --op sparse_linear
  mezzotint ops json > operators.json
  mezzotint ops stubs acme > acme/calls.pyi
"""

_WANTED: Final = {
    "list": "nothing",
    "show": "the name of an operator",
    "explain": "a run folder",
    "json": "nothing, or the name of an operator",
    "stubs": "nothing, or the namespace of a package, such as 'acme'",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "action",
        choices=tuple(_WANTED),
        help="list: all operators, where they come from and what they do; show: the text of one; explain: which"
        " kernels a run chose, why, and whether that was measured, restored from a file, ruled or forced; json: the"
        " declarations and kernels for programs; stubs: typed signatures for type checkers",
    )
    parser.add_argument(
        "target", metavar="NAME_OR_RUN", nargs="?", help="operator to show, run folder to explain, or namespace"
    )
    parser.add_argument("--op", help="explain one operator only")


def run(arguments: argparse.Namespace) -> int:
    """List, show, explain or export; 0."""
    action, target = arguments.action, arguments.target
    if (action == "list" and target is not None) or (action in ("show", "explain") and target is None):
        raise InputError(message(f"ops {action}", received=target or "nothing after it", allowed=_WANTED[action]))
    if action == "explain":
        from mezzotint.kernels.decision import in_words

        records = _decisions(Path(target))
        line("\n".join(in_words(record) for record in records if arguments.op in (None, record.get("op"))))
        return 0
    tell: dict[str, Callable[[Any], str]] = {"list": _list, "show": _show, "json": _json, "stubs": _stubs}
    line(tell[action](target))
    return 0


def _list(_: None) -> str:
    """One line an operator; below, the packages that some of them come from."""
    from mezzotint import ops
    from mezzotint.ops import page, plugins

    rows = page.overview(ops.get(name) for name in _names())
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {origin:<{widths[1]}}  {summary}" for name, origin, _, summary in rows]
    lines += [
        f"from the package {plugin.label}: {', '.join(plugin.operators) or 'kernels only'}"
        for plugin in plugins.loaded()
        if not plugin.error
    ]
    return "\n".join(lines)


def _show(name: str) -> str:
    from mezzotint import ops

    _names()
    return ops.describe(name)


def _json(name: str | None) -> str:
    from mezzotint import ops
    from mezzotint.ops import export

    names = _names()
    return export.to_json(ops.get(name) for name in ([name] if name else names))


def _stubs(namespace: str | None) -> str:
    from mezzotint import ops
    from mezzotint.ops import schema, stubs
    from mezzotint.ops.opdef import HOME

    names, wanted = _names(), namespace or HOME
    chosen = [name for name in names if schema.qualified(name)[0] == wanted]
    if not chosen:
        known = ", ".join(sorted({schema.qualified(name)[0] for name in names}))
        raise NotRegistered(f"no operator is in the namespace {wanted!r}; known: {known}.")
    return stubs.stub((ops.get(name) for name in chosen), by="`mezzotint ops stubs`").rstrip("\n")


def _names() -> list[str]:
    """Names of all operators; a package that cannot be loaded is told of in a line."""
    from mezzotint import ops

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        names = ops.names()
    for warning in told:
        warn(str(warning.message))
    return names


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
