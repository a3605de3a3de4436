"""``mezzotint ops``: which operators are there, what does one do, why which kernel, and what does a network compute?"""

from __future__ import annotations

import argparse

from mezzotint.cli import ops_explain, ops_graph
from mezzotint.cli.output import line
from mezzotint.errors import InputError, message

EXAMPLES = """\
  mezzotint ops list
  mezzotint ops show sparse_conv2d
  mezzotint ops explain runs/digits
  mezzotint ops explain runs/digits --op sparse_linear
  mezzotint ops explain resnet50 layer2.0.conv2 --density 0.1 --measure
  mezzotint ops explain runs/lenet5 conv2 --batch 128 --dtype bfloat16
  mezzotint ops graph runs/lenet5 -o lenet5.svg --colour density
  mezzotint ops graph resnet50 --depth 2 --colour time --batch 8 -o resnet50.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "action",
        choices=("list", "show", "explain", "graph"),
        help="list: names of all operators; show: the text of one; explain: which kernels a run chose, or a layer gets,"
        " and why; graph: what a network computes, operator by operator",
    )
    parser.add_argument(
        "target", metavar="NAME_OR_RUN", nargs="?", help="operator to show; run, checkpoint, file or network to look at"
    )
    parser.add_argument("layer", metavar="LAYER", nargs="?", help="explain: dotted name of one layer")
    parser.add_argument("--density", type=float, help="of a network built by name (explain: 0.1 when not given)")
    parser.add_argument("--size", type=int, help="side of the images of a network built by name")
    parser.add_argument("--batch", type=int, help="images (explain: 32 when not given, graph: 1)")
    ops_explain.add_arguments(parser)
    ops_graph.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, show, explain or draw; 0."""
    action, target = arguments.action, arguments.target
    if (action == "list") != (target is None):
        wanted = {"list": "nothing", "show": "the name of an operator"}.get(action, "a run, a checkpoint or a network")
        raise InputError(message(f"ops {action}", received=target or "nothing after it", allowed=wanted))
    if arguments.layer is not None and action != "explain":
        raise InputError(message(f"ops {action}", received=f"{target} {arguments.layer}", allowed="one name"))
    if action in ("explain", "graph"):
        return ops_explain.run(arguments) if action == "explain" else ops_graph.run(arguments)
    from mezzotint import ops

    line("\n".join(ops.names()) if action == "list" else ops.describe(target))
    return 0
