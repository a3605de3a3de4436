"""How is a graph drawn? As a self-contained SVG: a card for each operator, a box around each module, edges between.

Weights are left out; a card tells their density instead. Hovering over a card shows the node's name and attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from mezzotint.ops.graph import INPUT, WEIGHT, Graph, Node
from mezzotint.ops.graph_capture import short_name
from mezzotint.ops.graph_layout import PAGE_GAP, Box, Layout, lay_out
from mezzotint.ops.registry import REGISTRY

_MARGIN: Final = 28.0
_LEGEND: Final = 58.0
_OUTPUT: Final = "the output"
#: Kind -> (fill, line, words in an operator's name that tell the kind). The first kind that fits is taken.
_KINDS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "sparse": ("#fde8d7", "#d9722b", ("sparse_",)),
    "convolution, product": ("#fbf3d0", "#c9a227", ("conv", "linear", "mm", "matmul")),
    "normalisation": ("#e3eefb", "#5b8fd0", ("norm",)),
    "activation": ("#e4f4e4", "#5aa55a", ("relu", "gelu", "silu", "sigmoid", "tanh", "softmax", "hardswish", "mish")),
    "pooling": ("#efe6f8", "#9070c0", ("pool", "mean")),
    "elementwise": ("#fbe4ea", "#cc6680", ("add", "mul", "sub", "div")),
    "input, output": ("#e9e9ec", "#62626b", (INPUT, "output")),
    "other": ("#f6f6f7", "#a3a3ad", ("",)),
}
_STYLE: Final = (
    ".mz-graph text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#22222a}"
    ".mz-graph .op{font-size:12.5px;font-weight:600}.mz-graph .sub{font-size:10.5px;fill:#55555f}"
    ".mz-graph .module{font-size:11.5px;fill:#6a6a75;font-weight:600}.mz-graph .title{font-size:17px;font-weight:700}"
    ".mz-graph .edge{fill:none;stroke:#6d6d78;stroke-width:1.3}"
)


def to_svg(graph: Graph) -> str:
    """The drawing of ``graph`` as an SVG document; see :meth:`mezzotint.ops.graph.Graph.to_svg`."""
    shown = [node for node in graph.order() if node.operator != WEIGHT]
    output = Node(name=_OUTPUT, operator="output", arguments={"value": graph.outputs})
    cards = {node.name: _Card(node, graph) for node in [*shown, output]}
    reads = {name: _read_by(card.node, cards) for name, card in cards.items()}
    layout = lay_out({n: c.width for n, c in cards.items()}, {n: c.node.module for n, c in cards.items()}, reads)
    width, height = max(layout.width, 620.0) + 2 * _MARGIN, layout.height + 2 * _MARGIN + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" class="mz-graph">',
        f"<title>{escape(graph.name)}</title><style>{_STYLE}</style>",
        '<defs><marker id="mz-graph-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0.8 L7.5 4 L0 7.2 z" fill="#6d6d78"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *_legend(graph, cards.values()),
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN + _LEGEND:.0f})">',
        *(line for page in layout.pages for box in page for line in _module_boxes(box, 0)),
        *_edges(layout, reads),
        *(cards[name].draw(box) for name, box in layout.leaves().items()),
        "</g></svg>",
    ]
    return "\n".join(parts)


class _Card:
    """A node as it is drawn: two lines of text in a coloured rectangle."""

    def __init__(self, node: Node, graph: Graph) -> None:
        self.node = node
        self.kind = next(kind for kind, (_, _, words) in _KINDS.items() if any(word in node.operator for word in words))
        self.headline = " ".join([short_name(node.operator), *_particulars(node)])
        name = "" if node.name == _OUTPUT else node.name.rpartition(".")[2]
        told = name.rstrip("_0123456789") == short_name(node.operator)
        shape = " × ".join(str(size) for size in node.outputs[0].shape) if node.outputs else ""
        self.subline = "  ·  ".join(filter(None, ("" if told else name, shape, _density(node, graph))))
        self.width = max(96.0, 7.3 * len(self.headline) + 20, 5.7 * len(self.subline) + 20)

    def draw(self, box: Box) -> str:
        """The SVG of the card in the rectangle ``box``."""
        fill, line, _ = _KINDS[self.kind]
        middle = box.x + box.width / 2
        high = box.y + (16 if self.subline else 23)
        subline = f'<text class="sub" x="{middle:.1f}" y="{box.y + 30:.1f}">{escape(self.subline)}</text>'
        return (
            f'<g text-anchor="middle"><title>{escape(self._hint())}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" '
            f'width="{box.width:.1f}" height="{box.height:.1f}" rx="6" fill="{fill}" stroke="{line}"/>'
            f'<text class="op" x="{middle:.1f}" y="{high:.1f}">{escape(self.headline)}</text>'
            f"{subline if self.subline else ''}</g>"
        )

    def _hint(self) -> str:
        attributes = [f"{name} = {value}" for name, value in self.node.arguments.items() if "Edge(" not in str(value)]
        return "\n".join([f"{self.node.name}: {self.node.operator}", *attributes])


def _particulars(node: Node) -> Iterable[str]:
    """What tells one convolution from another at a glance: its taps and stride."""
    shape, stride = node.arguments.get("weight_shape"), node.arguments.get("stride")
    if isinstance(shape, (list, tuple)) and len(shape) == 4:
        yield f"{shape[2]}×{shape[3]}"
    if isinstance(stride, (list, tuple)) and any(step != 1 for step in stride):
        yield f"/{stride[0]}"


def _density(node: Node, graph: Graph) -> str:
    """Such as ``10 % dense``, for an operator that declares where its density is to be found."""
    if node.operator not in REGISTRY.names() or REGISTRY.get(node.operator).definition.density_of is None:
        return ""
    values, weight_shape = REGISTRY.get(node.operator).definition.density_of or ("", "")
    edges = Node(name="", operator="", arguments={"values": node.arguments.get(values)}).inputs
    spec = graph[edges[0].node].outputs[edges[0].output] if edges else None
    numel = math.prod(node.arguments.get(weight_shape, ()))
    return f"{100 * spec.shape[0] / numel:.3g} % dense" if spec is not None and numel else ""


def _read_by(node: Node, cards: dict[str, _Card]) -> Sequence[str]:
    return list(dict.fromkeys(edge.node for edge in node.inputs if edge.node in cards))


def _legend(graph: Graph, cards: Iterable[_Card]) -> Iterable[str]:
    present = {card.kind for card in cards}
    yield f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 6}">{escape(graph.name)}</text>'
    x = _MARGIN
    for kind, (fill, line, _) in _KINDS.items():
        if kind in present:
            yield f'<rect x="{x}" y="{_MARGIN + 20}" width="13" height="13" rx="3" fill="{fill}" stroke="{line}"/>'
            yield f'<text class="sub" x="{x + 18}" y="{_MARGIN + 31}">{kind}</text>'
            x += 34 + 6.0 * len(kind)


def _module_boxes(box: Box, depth: int) -> Iterable[str]:
    """A frame around each module, the inner ones on top of the outer ones."""
    if box.is_node:
        return
    fill = "#fafafb" if depth % 2 == 0 else "#f1f1f4"
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="9" '
        f'fill="{fill}" stroke="#cfcfd7"/>'
        f'<text class="module" text-anchor="end" x="{box.x + box.width - 11:.1f}" y="{box.y + 17:.1f}">'
        f"{escape(box.name)}</text>"
    )
    for member in box.members:
        yield from _module_boxes(member, depth + 1)


def _edges(layout: Layout, reads: dict[str, Sequence[str]]) -> Iterable[str]:
    leaves = layout.leaves()
    page_of = {leaf.name: number for number, page in enumerate(layout.pages) for box in page for leaf in box.leaves()}
    lanes: list[tuple[float, float, float]] = []
    for name, sources in reads.items():
        for source in sources:
            one, two = leaves[source], leaves[name]
            if page_of[source] != page_of[name]:
                path = _between_pages(one, two, layout, page_of[source], page_of[name])
            else:
                path = _within_page(one, two, list(leaves.values()), lanes)
            yield f'<path class="edge" marker-end="url(#mz-graph-tip)" d="{path}"/>'


def _within_page(one: Box, two: Box, leaves: Sequence[Box], lanes: list[tuple[float, float, float]]) -> str:
    """A curve from node to node; else down and across; else by a lane at the left of what stands in the way."""
    x1, y1, x2, y2 = one.x + one.width / 2, one.y + one.height, two.x + two.width / 2, two.y
    bend = max(8.0, min(26.0, (y2 - y1) / 2))
    passed = [leaf for leaf in leaves if leaf not in (one, two) and y1 - 1 < leaf.y + leaf.height and leaf.y < y2 + 1]
    if not any(_crosses((x1, y1, x2, y2), bend, leaf) for leaf in passed):
        return f"M{x1:.1f} {y1:.1f} C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2 - 1:.1f}"
    middle = y2 + two.height / 2
    side = two.x - 1 if x1 < two.x else two.x + two.width + 1
    beside = not two.x - 12 < x1 < two.x + two.width + 12
    across = [leaf for leaf in leaves if leaf not in (one, two) and leaf.y < middle < leaf.y + leaf.height]
    if beside and not any(_touches(x1, x1, leaf) for leaf in passed) and not any(_touches(x1, side, x) for x in across):
        turn = 7.0 if x1 < side else -7.0
        return f"M{x1:.1f} {y1:.1f} V{middle - 7:.1f} Q{x1:.1f} {middle:.1f} {x1 + turn:.1f} {middle:.1f} H{side:.1f}"
    return _by_lane(one, two, [*passed, one, two], lanes)


def _by_lane(one: Box, two: Box, near: Sequence[Box], lanes: list[tuple[float, float, float]]) -> str:
    top, bottom = one.y + one.height - 9, two.y + two.height / 2
    x = min(leaf.x for leaf in near if leaf.x + leaf.width > min(one.x, two.x)) - 13
    while any(abs(x - lane) < 6 and high < bottom and top < low for lane, high, low in lanes):
        x -= 7
    lanes.append((x, top, bottom))
    return (
        f"M{one.x:.1f} {top:.1f} H{x + 7:.1f} Q{x:.1f} {top:.1f} {x:.1f} {top + 7:.1f} "
        f"V{bottom - 7:.1f} Q{x:.1f} {bottom:.1f} {x + 7:.1f} {bottom:.1f} H{two.x - 1:.1f}"
    )


def _touches(left: float, right: float, leaf: Box) -> bool:
    """Whether the stretch between ``left`` and ``right``, in either order, meets ``leaf`` from side to side."""
    return min(left, right) - 3 <= leaf.x + leaf.width and leaf.x <= max(left, right) + 3


def _crosses(ends: tuple[float, float, float, float], bend: float, leaf: Box) -> bool:
    """Whether the curve between the ends touches ``leaf``, by points along it."""
    x1, y1, x2, y2 = ends
    for step in range(1, 20):
        t = step / 20
        u = 1 - t
        x = (u**3 + 3 * u * u * t) * x1 + (3 * u * t * t + t**3) * x2
        y = u**3 * y1 + 3 * u * u * t * (y1 + bend) + 3 * u * t * t * (y2 - bend) + t**3 * y2
        if _touches(x, x, leaf) and leaf.y - 3 <= y <= leaf.y + leaf.height + 3:
            return True
    return False


def _between_pages(one: Box, two: Box, layout: Layout, first: int, last: int) -> str:
    """Out to the gutter beside the source's page, above everything when pages lie between, and in from above."""
    right = max(box.x + box.width for box in layout.pages[first]) + PAGE_GAP * 0.35
    left = min(box.x for box in layout.pages[last]) - PAGE_GAP * 0.35
    x1, y1, x2, y2 = one.x + one.width / 2, one.y + one.height, two.x + two.width / 2, two.y
    over = "" if last == first + 1 else f"V-12 H{left:.1f} "
    gutter = left if last == first + 1 else right
    level = y2 - 11
    for leaf in sorted((leaf for box in layout.pages[last] for leaf in box.leaves()), key=lambda leaf: -leaf.y):
        if _touches(left, x2, leaf) and leaf.y < level < leaf.y + leaf.height:
            level = leaf.y - 11
    return f"M{x1:.1f} {y1:.1f} V{y1 + 9:.1f} H{gutter:.1f} {over}V{level:.1f} H{x2:.1f} V{y2 - 1:.1f}"
