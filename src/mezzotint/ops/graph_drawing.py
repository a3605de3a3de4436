"""What stands where in a drawing of a graph? Cards, module boxes, lines and texts in their places, not yet painted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mezzotint.errors import InputError, message
from mezzotint.ops.graph import WEIGHT, Edge, Graph, Node
from mezzotint.ops.graph_card import (
    FOLLOWERS,
    OUTPUT,
    SUB_SIZE,
    Card,
    Figures,
    module_card,
    operator_card,
    particulars,
    path_text,
    text_width,
)
from mezzotint.ops.graph_grid import contracted
from mezzotint.ops.graph_layout import Atom, Box, Page, laid_out, pages_of
from mezzotint.ops.graph_operator import short_name
from mezzotint.ops.graph_profile import Profile
from mezzotint.ops.graph_route import MARGIN, Route, page_at, paged, routed
from mezzotint.ops.opdef import TensorSpec

COLOURS: Final = ("kind", "time", "density", "bytes")
_END: Final = "\0output"
#: Modules of fewer operators are not marked as repeated.
_WORTH_A_MARK: Final = 3
#: Classes that say nothing of what they hold.
_CONTAINERS: Final = ("Sequential", "ModuleList", "ModuleDict")
CHIP: Final = 18.0
LABEL_SIZE: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Text:
    """A line of text, its baseline's left end at ``x``, ``y``."""

    text: str
    x: float
    y: float
    width: float
    height: float = LABEL_SIZE


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A module's box. ``mark`` is the letter that it shares with others of its structure; empty for none."""

    path: str
    title: str
    kind: str
    mark: str
    depth: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A laid-out graph.

    Attributes:
        cards: (card, x, y, width): upper left corners; a stack's cards have one width.
        frames: outer ones first.
        lines: (route, whether it skips something).
        labels: shapes beside edges.
        marks: letter -> how often, class and size of the modules.
        width, height: of it all, from (0, -20): the way between pages runs above them.
    """

    cards: tuple[tuple[Card, float, float, float], ...]
    frames: tuple[Frame, ...]
    lines: tuple[tuple[Route, bool], ...]
    labels: tuple[Text, ...]
    marks: Mapping[str, str]
    width: float
    height: float


def drawing(graph: Graph, *, depth: int | None, colour: str, profile: Profile | None) -> Drawing:
    """Lay ``graph`` out; arguments as :meth:`mezzotint.ops.graph.Graph.to_svg`.

    Raises:
        InputError: a depth below 1, a colour that is not known, or ``"time"`` without a profile.
    """
    if colour not in COLOURS:
        raise InputError(message("colour", received=colour, allowed=", ".join(COLOURS)))
    if colour == "time" and profile is None:
        raise InputError(message("colour", received="time without a profile", allowed="graph.profile(example)"))
    return _Sketch(graph, depth, colour, Figures(graph, profile)).finished()


class _Sketch:
    def __init__(self, graph: Graph, depth: int | None, colour: str, figures: Figures) -> None:
        self.graph, self.colour, self.figures = graph, colour, figures
        end = Node(name=_END, operator=OUTPUT, arguments={"value": graph.outputs})
        shown = [node for node in graph.order() if node.operator != WEIGHT]
        self.nodes = [*shown, *([end] if end.inputs else [])]
        self.marks = _marks(graph, self.nodes, figures.specs)
        groups = collapsed(self.nodes, depth)
        owner = {node.name: group[0] for group, members in groups.items() for node in members}
        self.edges = _distinct(
            (owner[edge.node], owner[node.name]) for node in self.nodes for edge in node.inputs if edge.node in owner
        )
        self.cards = {group[0]: self._card(group, members) for group, members in groups.items()}
        self.stacks = _stacks(self.cards, self.edges)

    def _card(self, group: tuple[str, tuple[str, ...]], nodes: Sequence[Node]) -> Card:
        name, path = group
        if len(nodes) == 1:
            return operator_card(nodes[0], self.figures, strip=False, colour=self.colour)
        made = module_card(path, nodes, self.graph.modules.get(".".join(path), ""), self.figures, self.colour)
        return replace(made, name=name, mark=self.marks.get(".".join(path), ""))

    def finished(self) -> Drawing:
        atom_of = {card.name: name for name, stack in self.stacks.items() for card in stack}
        edges = _distinct((atom_of[a], atom_of[b]) for a, b in self.edges if atom_of[a] != atom_of[b])
        read = {source for source, _ in edges}
        atoms = [self._atom(name, stack, name in read) for name, stack in self.stacks.items()]
        root = laid_out(atoms, edges, self._title_widths)
        self.marks = self._drawn_marks(root)
        routes = [routed(root, source, target) for source, target in edges]
        pages = pages_of(root)
        height = max(page.bottom + page.dy for page in pages)
        skips = _skips([atom.name for atom in atoms], edges)
        lines = [(paged(route, pages), (route.source, route.target) in skips) for route in routes]
        return Drawing(
            cards=tuple(self._placed_cards(root, pages)),
            frames=tuple(self._frames(root, pages)),
            lines=tuple(lines),
            labels=tuple(self._labels(root, pages, read)),
            marks=self._legend(),
            width=max(page.right for page in pages),
            height=height + (MARGIN if len(pages) > 1 else 12),
        )

    def _atom(self, name: str, stack: Sequence[Card], is_read: bool) -> Atom:
        label = text_width(stack[-1].shape, LABEL_SIZE) if is_read else 0.0
        return Atom(
            name=name,
            module=stack[0].module[:-1] if stack[0].module and stack[0].kind == "module" else stack[0].module,
            width=max(card.width for card in stack),
            height=sum(card.height for card in stack),
            label=label,
            head=stack[0].height,
        )

    def _title_widths(self, box: Box) -> tuple[float, float]:
        """Of the texts at the upper left and right of a module's box."""
        chip = CHIP if self.marks.get(".".join(box.path)) else 0.0
        title, kind = text_width(path_text(box.path), 11.0, bold=True), text_width(self._kind(box.path), SUB_SIZE)
        return 22 + chip + title, kind + 14 if kind else 0.0

    def _kind(self, path: Sequence[str]) -> str:
        kind = self.graph.modules.get(".".join(path), "")
        return "" if kind in _CONTAINERS else kind

    def _placed_cards(self, root: Box, pages: Sequence[Page]) -> list[tuple[Card, float, float, float]]:
        found = []
        for box in root.boxes():
            if box.atom is not None:
                page = pages[page_at(pages, box.y)]
                y = box.y + page.dy
                for card in self.stacks[box.name]:
                    card = replace(card, mark=self.marks.get(".".join(card.module), "")) if card.mark else card
                    found.append((card, box.x + page.dx, y, box.width))
                    y += card.height
        return found

    def _frames(self, root: Box, pages: Sequence[Page]) -> list[Frame]:
        found = []
        for box in root.boxes():
            if box.path:
                page = pages[page_at(pages, box.y)]
                found.append(
                    Frame(
                        path=".".join(box.path),
                        title=path_text(box.path),
                        kind=self._kind(box.path),
                        mark=self.marks.get(".".join(box.path), ""),
                        depth=len(box.path),
                        x=box.x + page.dx,
                        y=box.y + page.dy,
                        width=box.width,
                        height=box.height,
                    )
                )
        return found

    def _labels(self, root: Box, pages: Sequence[Page], read: set[str]) -> list[Text]:
        found = []
        for box in root.boxes():
            if box.atom is not None and box.name in read and box.atom.label:
                page, text = pages[page_at(pages, box.y)], self.stacks[box.name][-1].shape
                x, y = box.x + box.spine + 6, box.y + box.height + 12
                found.append(Text(text=text, x=x + page.dx, y=y + page.dy, width=box.atom.label))
        return found

    def _drawn_marks(self, root: Box) -> dict[str, str]:
        """Module path -> letter, from A on, for the modules that are drawn as a box or as one card."""
        drawn = {".".join(box.path) for box in root.boxes() if box.path}
        drawn |= {".".join(card.module) for card in self.cards.values() if card.kind == "module"}
        kept = {path: mark for path, mark in self.marks.items() if path in drawn}
        letters = {mark: chr(ord("A") + number) for number, mark in enumerate(dict.fromkeys(kept.values()))}
        return {path: letters[mark] for path, mark in kept.items()}

    def _legend(self) -> dict[str, str]:
        """What the marks that are drawn mean."""
        found: dict[str, list[str]] = {}
        for path, mark in self.marks.items():
            found.setdefault(mark, []).append(path)
        return {letter: self._meaning(paths) for letter, paths in found.items()}

    def _meaning(self, paths: Sequence[str]) -> str:
        size = sum(f"{node.module}.".startswith(f"{paths[0]}.") for node in self.nodes)
        return f"{len(paths)} × {self.graph.modules.get(paths[0]) or 'module'}, {size} operators each"


def collapsed(nodes: Sequence[Node], depth: int | None) -> dict[tuple[str, tuple[str, ...]], list[Node]]:
    """(name, module) -> the nodes of one card, each card behind all that it reads; no module where it is one node.

    Raises:
        InputError: a depth below 1.
    """
    if depth is None:
        return {(node.name, ()): [node] for node in nodes}
    if depth < 1:
        raise InputError(message("depth", received=depth, allowed="1 or more"))
    by_name = {node.name: node for node in nodes}
    reads = {node.name: [edge.node for edge in node.inputs] for node in nodes}
    deep: dict[tuple[str, ...], list[str]] = {}
    for node in nodes:
        parts = tuple(node.module.split(".")) if node.module else ()
        if len(parts) >= depth:
            deep.setdefault(parts[:depth], []).append(node.name)
    found: dict[tuple[str, tuple[str, ...]], list[Node]] = {}
    for names in contracted(list(by_name), reads, [names for names in deep.values() if len(names) > 1]):
        path = tuple(by_name[names[0]].module.split("."))[:depth] if len(names) > 1 else ()
        found[".".join(path) + "/" if path else names[0], path] = [by_name[name] for name in names]
    return found


def _stacks(cards: Mapping[str, Card], edges: Sequence[tuple[str, str]]) -> dict[str, list[Card]]:
    """Name of the first card -> the cards that are joined: an operator, and norms and activations that follow it."""
    reads: dict[str, list[str]] = {name: [] for name in cards}
    readers: dict[str, list[str]] = {name: [] for name in cards}
    for source, target in edges:
        reads[target].append(source)
        readers[source].append(target)
    stacks: dict[str, list[Card]] = {}
    first: dict[str, str] = {}
    held = Counter(card.module[:length] for card in cards.values() for length in range(1, len(card.module) + 1))
    for name, card in cards.items():
        source = reads[name][0] if len(reads[name]) == 1 else ""
        if source and len(readers[source]) == 1 and _follows(card, cards[source], held):
            first[name] = first[source]
            stacks[first[name]].append(replace(card, strip=True))
        else:
            first[name] = name
            stacks[name] = [card]
    return stacks


def _follows(card: Card, source: Card, held: Mapping[tuple[str, ...], int]) -> bool:
    """Whether ``card`` can be joined to ``source``: it keeps its shape, and stands in the same box."""
    if card.kind not in FOLLOWERS or source.kind in ("input, output", "module") or card.shape != source.shape:
        return False
    one, two = source.module, card.module
    if two in (one, (*one, *two[-1:])):
        return True
    # A module that holds one thing alone has no box of its own.
    return held[one] == 1 and two in (one[:-1], (*one[:-1], *two[-1:]))


def _marks(graph: Graph, nodes: Sequence[Node], specs: Mapping[Edge, TensorSpec]) -> dict[str, str]:
    """Module path -> letter, for modules whose structure occurs more than once; channels and densities may differ."""
    members: dict[str, list[Node]] = {}
    for node in nodes:
        parts = node.module.split(".") if node.module else []
        for length in range(1, len(parts) + 1):
            members.setdefault(".".join(parts[:length]), []).append(node)
    structures: dict[tuple[object, ...], list[str]] = {}
    for path, inside in members.items():
        if len(inside) >= _WORTH_A_MARK:
            place = {node.name: number for number, node in enumerate(inside)}
            structure = tuple(
                (short_name(n.operator), particulars(n, specs), tuple(place.get(e.node, -1) for e in n.inputs))
                for n in inside
            )
            structures.setdefault((graph.modules.get(path), *structure), []).append(path)
    repeated = [paths for paths in structures.values() if len(paths) > 1]
    blocks = [paths for paths in repeated if graph.modules.get(paths[0]) not in _CONTAINERS]
    repeated = [paths for paths in blocks or repeated if not _only_inside(paths, blocks or repeated)]
    return {path: chr(ord("A") + number) for number, paths in enumerate(repeated[:26]) for path in paths}


def _only_inside(paths: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether all of them lie in modules that are marked themselves."""
    larger = [other for group in others if group is not paths for other in group]
    return all(any(path.startswith(f"{other}.") for other in larger) for path in paths)


def _skips(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges beside which a longer way leads from the one end to the other: residual connections."""
    reads: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        reads[target].append(source)
    before: dict[str, set[str]] = {}
    for name in names:
        before[name] = set().union(*({read} | before[read] for read in reads[name]))
    return {(source, target) for source, target in edges if any(source in before[other] for other in reads[target])}


def _distinct(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))
