"""What is written on a card of a drawing? An operator or a collapsed module, in two lines, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mezzotint.ops.graph import INPUT, WEIGHT, Edge, Graph, Node, edges_in
from mezzotint.ops.graph_operator import declaration, short_name
from mezzotint.ops.graph_profile import Profile, spec_bytes, weight_counts
from mezzotint.ops.graph_table import size_text, time_text
from mezzotint.ops.opdef import TensorSpec

OUTPUT: Final = "output"
#: Kind -> words in an operator's name that tell it. The first kind that fits is taken.
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "sparse": ("sparse_",),
    "convolution, product": ("conv", "linear", "mm", "matmul", "attention"),
    "normalisation": ("norm",),
    "activation": ("relu", "gelu", "silu", "sigmoid", "tanh", "softmax", "hardswish", "mish", "elu"),
    "pooling": ("pool", "mean"),
    "elementwise": ("add", "mul", "sub", "div", "cat"),
    "input, output": (INPUT, OUTPUT),
    "module": ("\0module",),
    "other": ("",),
}
#: Kinds that are joined to the card of what they read, when nothing else reads that.
FOLLOWERS: Final = ("normalisation", "activation")
CARD_HEIGHT: Final = 40.0
STRIP_HEIGHT: Final = 20.0
HEAD_SIZE: Final = 12.5
SUB_SIZE: Final = 10.5
_NARROW: Final = frozenset("iljtfrI.,:;|'()[] /-")
_WIDE: Final = frozenset("mwMWQO@%×→")


@dataclass(frozen=True, kw_only=True)
class Card:
    """A rectangle with text.

    Attributes:
        name: of the node, or path of the collapsed module.
        nodes: what it stands for.
        kind: of operator, one of ``KINDS``.
        headline, subline: its two lines; a strip shows them in one.
        hint: what hovering tells.
        module: names of the modules that it stands in, from the outside in.
        shape: of the tensor that leaves it, as it is written beside its edge.
        strip: whether it is joined to the card above it.
        mark: the letter that a collapsed module shares with others of its structure; empty for none.
        value: by which it is coloured, ``None`` where there is none.
    """

    name: str
    nodes: tuple[Node, ...]
    kind: str
    headline: str
    subline: str
    hint: str
    module: tuple[str, ...]
    shape: str
    strip: bool = False
    mark: str = ""
    value: float | None = None

    @property
    def height(self) -> float:
        """Pixels."""
        return STRIP_HEIGHT if self.strip else CARD_HEIGHT

    @property
    def width(self) -> float:
        """Pixels that its text needs."""
        if self.strip:
            return text_width(self.headline, SUB_SIZE, bold=True) + text_width(f"  {self.subline}", SUB_SIZE) + 18
        pad = 18 + (36 if self.mark else 0)
        return max(96.0, pad + max(text_width(self.headline, HEAD_SIZE, bold=True), text_width(self.subline, SUB_SIZE)))


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Pixels of a line of text, rather too many than too few: fonts differ."""
    ems = sum(0.42 if sign in _NARROW else 0.95 if sign in _WIDE else 0.68 if sign.isupper() else 0.63 for sign in text)
    return ems * size * (1.08 if bold else 1.0)


class Figures:
    """What is known of a graph's nodes: shapes, densities, bytes, and times where there is a profile."""

    def __init__(self, graph: Graph, profile: Profile | None) -> None:
        used = {edge for node in graph.nodes for edge in node.inputs} | set(edges_in(graph.outputs))
        self.read = {node.name: [n for n in range(len(node.outputs)) if node[n] in used] for node in graph.nodes}
        self.specs = {node[number]: spec for node in graph.nodes for number, spec in enumerate(node.outputs)}
        profiled = () if profile is None else profile.nodes
        self.seconds = {node.name: node.seconds for node in profiled}
        self.kernels = {node.name: f"kernel {node.kernel}: {node.reason}" for node in profiled}

    def weights(self, nodes: Iterable[Node]) -> tuple[int, int]:
        """(active weights, weights of the dense twins) of operators that declare their density."""
        nnz = numel = 0
        for node in nodes:
            if "." not in node.operator and node.operator not in (INPUT, OUTPUT, WEIGHT):
                active, whole = weight_counts(node, declaration(node.operator), self.specs)
                nnz, numel = nnz + (active or 0), numel + whole
        return nnz, numel

    def density(self, nodes: Iterable[Node]) -> float | None:
        """Of all weights together."""
        nnz, numel = self.weights(nodes)
        return nnz / numel if numel else None

    def time(self, nodes: Sequence[Node]) -> float | None:
        """Seconds of all together."""
        known = [self.seconds[node.name] for node in nodes if node.name in self.seconds]
        return sum(known) if known else None

    def value(self, nodes: Sequence[Node], colour: str) -> float | None:
        """By what a card of these nodes is coloured."""
        if colour == "density":
            return self.density(nodes)
        if colour == "time":
            return self.time(nodes)
        if colour == "bytes" and nodes[0].operator not in (INPUT, OUTPUT):
            return float(sum(spec_bytes(spec) for node in nodes for spec in node.outputs))
        return None

    def shape(self, node: Node) -> str:
        """Such as ``2×64×56×56``: of the outputs that are read, the first, and how many there are besides."""
        read = self.read.get(node.name, ())
        if not read:
            return ""
        first = "×".join(map(str, node.outputs[read[0]].shape)) or "scalar"
        return first if len(read) == 1 else f"{first} +{len(read) - 1}"

    def told(self, nodes: Sequence[Node]) -> list[str]:
        """Density and time in words, as far as they are known."""
        density, seconds = self.density(nodes), self.time(nodes)
        shares = [] if density is None else [f"{100 * density:.3g} % dense"]
        return shares if seconds is None else [*shares, time_text(seconds)]


def operator_card(node: Node, figures: Figures, *, strip: bool, colour: str) -> Card:
    """The card of one operator."""
    weight = _weight_shape(node, figures.specs)
    operator = short_name(node.operator)
    headline = " ".join([operator, *_kernel(node, weight)])
    own = _own_name(node)
    told = own.rstrip("_0123456789") == operator or node.operator == OUTPUT
    channels = _channels(node, weight)
    details = [*(() if told else (own,)), *channels, *figures.told([node])]
    attributes = [f"{name} = {value}" for name, value in node.attributes.items()]
    written = f"writes {size_text(sum(spec_bytes(spec) for spec in node.outputs))}"
    return Card(
        name=node.name,
        nodes=(node,),
        kind=kind_of(node),
        headline=headline,
        subline=" · ".join(dict.fromkeys(details)),
        hint="\n".join(
            [
                OUTPUT if node.operator == OUTPUT else f"{node.name}: {node.operator}",
                *attributes,
                *figures.told([node]),
                written,
                *figures.kernels.get(node.name, "").splitlines(),
            ]
        ),
        module=tuple(node.module.split(".")) if node.module else (),
        shape=figures.shape(node),
        strip=strip,
        value=figures.value([node], colour),
    )


def module_card(path: tuple[str, ...], nodes: Sequence[Node], kind: str, figures: Figures, colour: str) -> Card:
    """The card of a collapsed module, whose last node's output leaves it."""
    name = ".".join(path)
    operators = [short_name(node.operator) for node in nodes]
    count = f"{len(nodes)} operators"
    counts = "\n".join(f"{operators.count(operator)} x {operator}" for operator in dict.fromkeys(operators))
    return Card(
        name=name,
        nodes=tuple(nodes),
        kind="module",
        headline=" ".join(filter(None, [path_text(path), kind])),
        subline=" · ".join([count, *figures.told(nodes)]),
        hint="\n".join([f"{name}: {kind or 'module'}, {count}", counts, *figures.told(nodes)]),
        module=path,
        shape=figures.shape(nodes[-1]),
        value=figures.value(nodes, colour),
    )


def kind_of(node: Node) -> str:
    """One of ``KINDS``."""
    return next(kind for kind, words in KINDS.items() if any(word in node.operator for word in words))


def path_text(path: Sequence[str]) -> str:
    """A module's own name; a number says little without the name before it."""
    return ".".join(path[-2:]) if path[-1].isdecimal() else path[-1]


def particulars(node: Node, specs: Mapping[Edge, TensorSpec]) -> tuple[str, ...]:
    """What tells one operator from another of its name: taps and stride."""
    return tuple(_kernel(node, _weight_shape(node, specs)))


def _own_name(node: Node) -> str:
    return path_text(node.name.split(".")) if node.operator != OUTPUT else ""


def _weight_shape(node: Node, specs: Mapping[Edge, TensorSpec]) -> Sequence[int]:
    shape = node.arguments.get("weight_shape")
    weight = node.arguments.get("weight")
    if isinstance(weight, Edge) and "norm" not in node.operator:
        shape = specs[weight].shape
    return shape if isinstance(shape, (list, tuple)) else ()


def _kernel(node: Node, weight: Sequence[int]) -> Iterable[str]:
    size = weight[2:] or node.arguments.get("kernel_size")
    if isinstance(size, (list, tuple)) and len(size):
        yield "×".join(map(str, list(size) * 2 if len(size) == 1 and "2d" in node.operator else size))
    stride = node.arguments.get("stride")
    if isinstance(stride, (list, tuple)) and any(step != 1 for step in stride):
        yield f"/{stride[0]}" if len(set(stride)) == 1 else f"/{'×'.join(map(str, stride))}"


def _channels(node: Node, weight: Sequence[int]) -> Iterable[str]:
    if len(weight) < 2 or math.prod(weight) == 0:
        return
    groups = node.arguments.get("groups", 1)
    if node.arguments.get("transposed"):
        yield f"{weight[0]}→{weight[1] * groups}"
    else:
        yield f"{weight[1] * groups}→{weight[0]}"
    if groups > 1:
        yield "depthwise" if groups == weight[0] and weight[1] == 1 else f"{groups} groups"
