"""``mezzotint ops graph``: what does a network compute, drawn, as text, or in a form for other programs?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mezzotint.cli.output import line
from mezzotint.cli.parser import at_least
from mezzotint.errors import InputError, message

if TYPE_CHECKING:
    from mezzotint.ops.graph import Graph
    from mezzotint.ops.graph_profile import Profile

SUFFIXES: Final = (".svg", ".dot", ".json", ".txt")
_REPEATS: Final = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that ``graph`` alone has."""
    group = parser.add_argument_group("graph")
    group.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="by its suffix: .svg, .dot, .json or .txt (default: text)"
    )
    group.add_argument(
        "--depth", metavar="N", type=at_least(1), help="draw modules deeper than N names as one card each"
    )
    group.add_argument(
        "--colour", default="kind", choices=("kind", "time", "density", "bytes"), help="what the cards' colours show"
    )
    group.add_argument("--profile", action="store_true", help="time every operator and print the table")


def run(arguments: argparse.Namespace) -> int:
    """Capture, profile where that is asked for, write; 0."""
    output: Path | None = arguments.output
    if output is not None and output.suffix not in SUFFIXES:
        raise InputError(message("--output", received=output.name, allowed=f"a name that ends with {_listed()}"))
    graph, profile = _captured(arguments)
    if profile is not None and arguments.profile:
        line(profile.to_text())
    if output is None:
        if profile is None:
            line(graph.to_text())
        return 0
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(_written(graph, profile, arguments), encoding="utf-8")
    line(str(output))
    return 0


def _captured(arguments: argparse.Namespace) -> tuple[Graph, Profile | None]:
    from mezzotint import ops
    from mezzotint.cli.network import open_network

    timed = arguments.profile or arguments.colour == "time"
    if arguments.target.endswith(".json"):
        if timed:
            raise InputError("a graph in JSON has no weights, and so cannot be timed; name the network itself.")
        return _read(Path(arguments.target)), None
    opened = open_network(arguments.target, density=arguments.density, size=arguments.size)
    example = opened.example(arguments.batch or 1)
    graph = ops.capture(opened.model, example)
    return graph, graph.profile(example, repeats=_REPEATS) if timed else None


def _read(file: Path) -> Graph:
    from mezzotint.ops.graph import Graph

    try:
        return Graph.from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "no text"
        raise InputError(
            message(f"graph {str(file)!r}", received=what, allowed="a file that ops graph wrote")
        ) from error


def _written(graph: Graph, profile: Profile | None, arguments: argparse.Namespace) -> str:
    suffix = arguments.output.suffix
    if suffix == ".svg":
        return graph.to_svg(depth=arguments.depth, colour=arguments.colour, profile=profile)
    if suffix == ".dot":
        return graph.to_dot(arguments.depth) + "\n"
    return (graph.to_json() if suffix == ".json" else graph.to_text()) + "\n"


def _listed() -> str:
    return f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
