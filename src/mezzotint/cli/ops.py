"""``mezzotint ops``: which operators are there, what does one do, why which kernel, and what does a network compute?

``json`` and ``stubs`` say the same to programs and to type checkers.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any, Final

from mezzotint.cli import ops_explain, ops_graph
from mezzotint.cli.output import line, warn
from mezzotint.cli.parser import at_least
from mezzotint.errors import InputError, NotRegistered, message

EXAMPLES = """\
  mezzotint ops list
  mezzotint ops show sparse_conv2d
  mezzotint ops explain runs/digits
  mezzotint ops explain runs/digits --op sparse_linear
  mezzotint ops explain resnet50 layer2.0.conv2 --density 0.1 --measure
  mezzotint ops explain runs/lenet5 conv2 --batch 128 --dtype bfloat16
  mezzotint ops graph runs/lenet5 -o lenet5.svg --colour density
  mezzotint ops graph resnet50 --depth 2 --colour time --batch 8 -o resnet50.svg
  mezzotint ops json > operators.json
  mezzotint ops stubs acme > acme/calls.pyi
"""

_WANTED: Final = {
    "list": "nothing",
    "show": "the name of an operator",
    "explain": "a run, a checkpoint or a network",
    "graph": "a run, a checkpoint or a network",
    "json": "nothing, or the name of an operator",
    "stubs": "nothing, or the namespace of a package, such as 'acme'",
}
_ALONE: Final = ("json", "stubs")  # actions that go without a target, too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "action",
        choices=tuple(_WANTED),
        metavar="{" + ",".join(_WANTED) + "}",
        help="list: all operators, where they come from and what they do; show: the text of one; explain: which"
        " kernels a run chose, or a layer gets, and why; graph: what a network computes, operator by operator; json:"
        " the declarations and kernels for programs; stubs: typed signatures for type checkers",
    )
    parser.add_argument(
        "target",
        metavar="NAME_OR_RUN",
        nargs="?",
        help="operator to show; run, checkpoint, file or network to look at; or namespace",
    )
    parser.add_argument("layer", metavar="LAYER", nargs="?", help="explain: dotted name of one layer")
    parser.add_argument("--density", type=float, help="of a network built by name (explain: 0.1 when not given)")
    parser.add_argument("--size", type=at_least(1), help="side of the images of a network built by name")
    parser.add_argument("--batch", type=at_least(1), help="images (explain: 32 when not given, graph: 1)")
    ops_explain.add_arguments(parser)
    ops_graph.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, show, explain, draw or export; 0."""
    action, target = arguments.action, arguments.target
    if action not in _ALONE and (action == "list") != (target is None):
        raise InputError(message(f"ops {action}", received=target or "nothing after it", allowed=_WANTED[action]))
    if arguments.layer is not None and action != "explain":
        raise InputError(message(f"ops {action}", received=f"{target} {arguments.layer}", allowed="one name"))
    if action in ("explain", "graph"):
        return ops_explain.run(arguments) if action == "explain" else ops_graph.run(arguments)
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
