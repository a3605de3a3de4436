"""Can a drawn graph be read? Nothing overlaps, no line runs through a card, and every operator and edge is there."""

from __future__ import annotations

import importlib.util
import re
from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint.errors import InputError
from mezzotint.ops.graph import Edge, Graph, Node
from mezzotint.ops.graph_card import SUB_SIZE, text_width
from mezzotint.ops.graph_drawing import CHIP, Drawing, drawing
from mezzotint.ops.graph_svg import to_svg
from mezzotint.ops.opdef import TensorSpec

DOCS = Path(__file__).resolve().parents[2] / "docs"
SPEC = TensorSpec((2, 3), torch.float32)
MODULES = ("", "a", "a.b", "a.b.c", "a.d", "e", "e.0", "e.1")
Rect = tuple[float, float, float, float]
"""Left, upper, right, lower."""


def node(name: str, reads: list[str], module: str, operator: str) -> Node:
    return Node(
        name=name,
        operator=operator if reads else "input",
        arguments={"tensors": [Edge(read) for read in reads]},
        outputs=(SPEC,),
        module=module if reads else "",
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any dataflow graph, modules in any mixture."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 16)))]
    nodes = []
    for at, name in enumerate(names):
        near = st.sampled_from(names[max(0, at - draw(st.integers(1, 8))) : at]) if at else st.nothing()
        reads = draw(st.lists(near, min_size=1, max_size=4, unique=True)) if at else []
        operator = draw(st.sampled_from(["aten.relu", "aten.cat", "aten.add.Tensor", "aten.max_pool2d"]))
        nodes.append(node(name, reads, draw(st.sampled_from(MODULES)), operator))
    return Graph(nodes=tuple(nodes), outputs=[Edge(name) for name in {names[-1], draw(st.sampled_from(names))}])


def overlap(one: Rect, two: Rect, by: float = 0.5) -> bool:
    return min(one[2], two[2]) - max(one[0], two[0]) > by and min(one[3], two[3]) - max(one[1], two[1]) > by


def inside(inner: Rect, outer: Rect) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def card_rects(plan: Drawing) -> dict[str, Rect]:
    return {card.name: (x, y, x + width, y + card.height) for card, x, y, width in plan.cards}


def label_rects(plan: Drawing) -> list[Rect]:
    return [(text.x, text.y - text.height, text.x + text.width, text.y) for text in plan.labels]


def strokes(plan: Drawing) -> list[tuple[str, Rect]]:
    """Source of a line -> each of its straight pieces."""
    return [
        (route.source, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
        for route, _ in plan.lines
        for (x1, y1), (x2, y2) in pairwise(route.points)
    ]


def widened(stroke: Rect) -> Rect:
    """As wide as it is drawn."""
    left, upper, right, lower = stroke
    return (left - 0.3, upper, right + 0.3, lower) if left == right else (left, upper - 0.3, right, lower + 0.3)


def titles(plan: Drawing) -> list[Rect]:
    """Name at the upper left of each box, class at the upper right."""
    found = []
    for frame in plan.frames:
        upper, left = frame.y + 9, frame.x + 10
        wide = text_width(frame.title, 11, bold=True) + (CHIP if frame.mark else 0)
        found.append((left, upper, left + wide, upper + 10))
        right = frame.x + frame.width - 11
        found.append((right - text_width(frame.kind, SUB_SIZE), upper, right, upper + 10))
    return found


def check(plan: Drawing) -> None:
    cards, labels = card_rects(plan), label_rects(plan)
    assert not [pair for pair in combinations(cards.items(), 2) if overlap(pair[0][1], pair[1][1])]
    assert not [(one, two) for one, two in combinations(labels, 2) if overlap(one, two)]
    assert not [(label, name) for label in labels for name, card in cards.items() if overlap(label, card)]
    for source, stroke in strokes(plan):
        assert stroke[0] == stroke[2] or stroke[1] == stroke[3], "lines run along an axis"
        line = widened(stroke)
        assert not [name for name, card in cards.items() if overlap(line, card)], f"a line from {source} crosses"
        assert not [label for label in labels if overlap(line, label)], f"a line from {source} crosses a text"
    check_frames(plan, cards)
    for title in titles(plan):
        assert not [name for name, card in cards.items() if overlap(title, card)]
        assert not [source for source, line in strokes(plan) if overlap(title, widened(line))], "a line crosses a title"
    everything = [*cards.values(), *labels, *(stroke for _, stroke in strokes(plan))]
    assert all(inside(rect, (-0.01, -20, plan.width + 0.01, plan.height + 0.01)) for rect in everything)


def check_frames(plan: Drawing, cards: dict[str, Rect]) -> None:
    frames = {frame.path: (frame.x, frame.y, frame.x + frame.width, frame.y + frame.height) for frame in plan.frames}
    for (one, first), (two, second) in combinations(frames.items(), 2):
        nested = f"{two}.".startswith(f"{one}.") or f"{one}.".startswith(f"{two}.")
        assert nested or not overlap(first, second), f"{one} and {two} overlap"
        if f"{two}.".startswith(f"{one}."):
            assert inside(second, first)
    for card, *_ in plan.cards:
        for path, frame in frames.items():
            within = f"{'.'.join(card.module)}.".startswith(f"{path}.")
            assert within or not overlap(cards[card.name], frame), f"{card.name} lies in {path}"


def check_lines(plan: Drawing, edges: set[tuple[str, str]]) -> None:
    """Each line leads from its source's lower side to its target."""
    cards = card_rects(plan)
    assert {(route.source, route.target) for route, _ in plan.lines} == edges
    for route, _ in plan.lines:
        (x, y), source = route.points[0], cards[route.source]
        assert source[0] < x < source[2]
        assert y >= source[3] - 0.01
        (x, y), target = route.points[-1], cards[route.target]
        from_above = abs(y - target[1]) < 0.01 and target[0] <= x <= target[2]
        from_beside = min(abs(x - target[0]), abs(x - target[2])) < 0.01 and target[1] < y < target[3]
        assert from_above or from_beside


def hidden_pieces(plan: Drawing) -> list[tuple[str, str]]:
    """Pairs of sources whose lines lie on each other for a while: one cannot tell which is which."""
    found = []
    for (one, a), (two, b) in combinations(strokes(plan), 2):
        if one == two:
            continue
        upright = a[0] == a[2] and b[0] == b[2] and abs(a[0] - b[0]) < 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
        level = a[1] == a[3] and b[1] == b[3] and abs(a[1] - b[1]) < 1 and min(a[2], b[2]) - max(a[0], b[0]) > 1
        if upright or level:
            found.append((one, two))
    return found


@given(graph=graphs())
def test_nothing_overlaps_and_no_line_crosses_a_card(graph: Graph) -> None:
    plan = drawing(graph, depth=None, colour="kind", profile=None)
    check(plan)
    named = {card.name for card, *_ in plan.cards}
    assert {node.name for node in graph.nodes} < named, "every operator has a card"


@given(graph=graphs(), depth=st.integers(1, 3))
def test_nor_when_modules_are_collapsed(graph: Graph, depth: int) -> None:
    plan = drawing(graph, depth=depth, colour="bytes", profile=None)
    check(plan)
    shown = [node.name for card, *_ in plan.cards for node in card.nodes]
    assert sorted(name for name in shown if name != "\0output") == sorted(node.name for node in graph.nodes)


@pytest.mark.parametrize(("name", "depth"), [("lenet5_caffe", None), ("resnet18", None), ("wrn_16_2", 2)])
def test_networks_are_drawn_without_overlaps(name: str, depth: int | None) -> None:
    channels, size = (1, 28) if "lenet" in name else (3, 32)
    network = mz.models.build(name, num_classes=10, in_channels=channels, image_size=size)
    graph = mz.ops.capture(network.eval(), torch.zeros(1, channels, size, size))
    plan = drawing(graph, depth=depth, colour="kind", profile=None)
    check(plan)
    assert not hidden_pieces(plan)
    assert 0.2 < plan.width / plan.height < 3
    if name == "resnet18":
        assert sum(skips for _, skips in plan.lines) == 5, "the blocks whose shortcut is the identity"
        assert sorted(meaning.split(",")[0] for meaning in plan.marks.values()) == ["3 × BasicBlock", "5 × BasicBlock"]
        spines = {round(x + width / 2, 1) for card, x, _, width in plan.cards if card.module[:2] == ("layer1", "0")}
        assert len(spines) == 1, "a chain is a straight line"


def residual() -> Graph:
    graph = Graph(name="two blocks")
    x = graph.input("x", (1, 4, 8, 8))
    for block in ("one", "two"):
        weight = graph.weight(f"{block}.weight", torch.zeros(4, 4, 3, 3), module=block)
        y = graph.add("aten.conv2d", (x, weight), {"padding": [1, 1]}, name=f"{block}.conv", module=f"{block}.conv")
        y = graph.add("aten.relu", y, name=f"{block}.relu", module=f"{block}.relu")
        x = graph.add("aten.add.Tensor", (y, x), name=f"{block}.add", module=block)
    graph.returns(x)
    return graph


def test_a_residual_block_is_drawn_as_one_reads_it() -> None:
    graph = residual()
    plan = drawing(graph, depth=None, colour="kind", profile=None)
    check(plan)
    check_lines(plan, {("x", "one.conv"), ("x", "one.add"), ("one.conv", "one.add"), ("one.add", "two.conv"),
                       ("one.add", "two.add"), ("two.conv", "two.add"), ("two.add", "\0output")})  # fmt: skip
    assert {(route.source, route.target) for route, skips in plan.lines if skips} == {
        ("x", "one.add"),
        ("one.add", "two.add"),
    }
    assert [card.headline for card, *_ in plan.cards if card.strip] == ["relu", "relu"]
    assert list(plan.marks.values()) == ["2 × module, 3 operators each"]
    assert [frame.mark for frame in plan.frames] == ["A", "A"]
    collapsed = drawing(graph, depth=1, colour="kind", profile=None)
    assert [card.kind for card, *_ in collapsed.cards] == ["input, output", "module", "module", "input, output"]


def test_svg_is_well_formed_whatever_nodes_are_called() -> None:
    graph = Graph(name='a <graph> & "more" \x07')
    y = graph.add("aten.relu", graph.input("x\x00<&>", (2, 3)), name="]]>\ud800")
    nameless = Node(name="", operator="aten.relu", arguments={"self": Edge("]]>\ud800")}, outputs=y.outputs)
    graph = Graph(nodes=(*graph.nodes, nameless), outputs=Edge(""), name=graph.name)
    root = ElementTree.fromstring(graph.to_svg().encode("utf-8", "surrogatepass"))
    texts = "".join(root.itertext())
    assert "a <graph>" in texts
    assert "prefers-color-scheme:dark" in texts


def test_svg_has_a_card_an_operator_and_a_line_an_edge() -> None:
    root = ElementTree.fromstring(to_svg(residual()))
    space = "{http://www.w3.org/2000/svg}"
    cards = [rect for rect in root.iter(f"{space}rect") if (rect.get("class") or "").startswith("card ")]
    lines = [path for path in root.iter(f"{space}path") if path.get("marker-end")]
    texts = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
    assert (len(cards), len(lines)) == (8, 7)
    assert texts.count("conv2d 3×3") == 2
    assert texts.count("1×4×8×8") == 5
    assert "skip connection" in texts


def test_colours_need_what_they_show() -> None:
    graph = residual()
    with pytest.raises(InputError, match=r"colour: received heat; allowed: kind, time, density, bytes"):
        graph.to_svg(colour="heat")
    with pytest.raises(InputError, match="time without a profile"):
        graph.to_svg(colour="time")
    with pytest.raises(InputError, match="depth: received 0"):
        graph.to_svg(depth=0)
    with pytest.raises(InputError, match="depth: received -1"):
        graph.to_dot(-1)
    profile = graph.profile(torch.zeros(1, 4, 8, 8), repeats=1)
    painted = to_svg(graph, colour="time", profile=profile)
    used = [number for number in range(7) if f'class="card r{number}"' in painted]
    assert used[-1] == 6, "the slowest card has the strongest colour"
    assert 'class="card none"' in painted, "inputs take no time"
    assert "kernel torch: PyTorch chooses inside" in painted, "hovering over a card tells the kernel"


def build_graphs() -> ModuleType:
    """The script that makes the guide's pictures."""
    spec = importlib.util.spec_from_file_location("build_graphs", DOCS / "build_graphs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guides_picture_is_current() -> None:
    script = build_graphs()
    written = (script.TARGET / "two_blocks.svg").read_text(encoding="utf-8")
    assert written == script.PICTURES["two_blocks.svg"](), "run `make docs`"
    shown = re.findall(r"\]\(graphs/(\S+)\)", (DOCS / "guide" / "graphs.md").read_text(encoding="utf-8"))
    assert set(shown) == set(script.PICTURES)
