"""Does a captured graph say what the model computes, run to the same result, and tell what is wrong with a bad one?"""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import InputError, ShapeError
from mezzotint.ops.graph import Edge, Graph, Node
from mezzotint.ops.graph_layout import Box, lay_out
from mezzotint.ops.opdef import TensorSpec

SPEC = TensorSpec((2, 3), torch.float32)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.relu(self.bn1(self.conv1(x))))
        y += x
        return self.relu(y)


class Net(nn.Module):
    """In-place operators, a module used twice, an operator with several outputs, one with a list, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.blocks(self.stem(x))
        one, two = torch.split(x, [3, 5], dim=1)
        mixed = torch.cat([two, one], dim=1)
        return {"logits": self.fc(mixed.mean((2, 3))), "sum": x.sum()}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return mz.sparsify(Net(), 0.3, exclude=("stem",), layout="plain").eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def graph(net: nn.Module, x: Tensor) -> Graph:
    return mz.ops.capture(net, x)


def chain(*names: str) -> tuple[Node, ...]:
    """An input and one relu after the other."""
    nodes = [Node(name="x", operator="input", outputs=(SPEC,))]
    for before, name in zip(("x", *names), names, strict=False):
        nodes.append(relu(name, before))
    return tuple(nodes)


def relu(name: str, reads: str, output: int = 0) -> Node:
    return Node(
        name=name,
        operator="aten.relu",
        arguments={"self": Edge(reads, output)},
        outputs=(SPEC,),
        call=torch.ops.aten.relu.default,
    )


def test_a_captured_graph_computes_what_the_model_computes(graph: Graph, net: nn.Module, x: Tensor) -> None:
    other = torch.randn_like(x)
    for sample in (x, other):
        computed, expected = graph.run(sample), net(sample)
        assert computed.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(computed[key], value, rtol=0, atol=0)


def test_nodes_carry_operator_module_shape_and_type(graph: Graph) -> None:
    conv = graph["blocks.0.conv1"]
    assert conv.operator == "sparse_conv2d"
    assert conv.module == "blocks.0.conv1"
    assert conv.arguments["weight_shape"] == [8, 8, 3, 3]
    assert conv.outputs == (TensorSpec((2, 8, 8, 8), torch.float32),)
    assert Edge("blocks.0.conv1.values") in conv.inputs
    assert graph["stem"].operator == "aten.conv2d"
    assert graph["blocks.0.conv1.values"].operator == "weight"
    assert {node.operator for node in graph.nodes} >= {"sparse_conv2d", "sparse_linear", "aten.relu", "input", "weight"}
    assert len(graph["cat"].inputs) == 2
    assert {edge.output for edge in graph["cat"].inputs} == {0, 1}


def test_in_place_operators_become_pure_ones(graph: Graph) -> None:
    assert not [node.operator for node in graph.nodes if node.operator.endswith("_")]


def test_a_model_in_training_mode_is_captured_as_such(net: nn.Module, x: Tensor) -> None:
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = mz.ops.capture(net, x)
    computed = graph.run(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "capture changes nothing"
    torch.testing.assert_close(computed["logits"], net(x)["logits"], rtol=0, atol=0)
    net.load_state_dict(before)
    net.eval()


def test_several_inputs_and_a_plain_tensor_as_output() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a * 2 + b

    graph = mz.ops.capture(Two(), (torch.zeros(3), torch.zeros(3)))
    a, b = torch.randn(3), torch.randn(3)
    torch.testing.assert_close(graph.run(a, b), a * 2 + b)
    with pytest.raises(InputError, match=r"received 1 of them; allowed: 2 \(a, b\)"):
        graph.run(a)


def test_run_checks_its_inputs(graph: Graph, x: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"input 'x'.*\[2, 3, 9, 8\].*\[2, 3, 8, 8\]"):
        graph.run(torch.zeros(2, 3, 9, 8))
    with pytest.raises(ShapeError, match="float64"):
        graph.run(x.double())
    with pytest.raises(ShapeError, match="str"):
        graph.run("x")


def test_a_model_that_branches_on_values_is_refused_with_its_reason() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if x.sum() > 0 else x

    with pytest.raises(InputError, match=r"Branching cannot be captured: .+"):
        mz.ops.capture(Branching(), torch.zeros(2))
    with pytest.raises(InputError, match=r"allowed: an nn\.Module"):
        mz.ops.capture(lambda x: x, torch.zeros(2))


def test_a_duplicate_name_is_told() -> None:
    graph = Graph(nodes=(*chain("a", "b"), relu("a", "b")), outputs=Edge("b"), name="doubled")
    with pytest.raises(InputError, match="doubled: 2 nodes are called 'a'"):
        graph.validate()


def test_a_dangling_edge_is_told() -> None:
    with pytest.raises(InputError, match=r"node 'b' reads 'aa', but there is no such node. Did you mean 'a'\?"):
        Graph(nodes=(*chain("a"), relu("b", "aa")), outputs=Edge("b")).validate()
    with pytest.raises(InputError, match=r"node 'b' reads an output of 'a': received 1; allowed: 0 to 0"):
        Graph(nodes=(*chain("a"), relu("b", "a", output=1)), outputs=Edge("b")).validate()
    with pytest.raises(InputError, match="the output reads 'c'"):
        Graph(nodes=chain("a", "b"), outputs=[Edge("a"), {"deep": Edge("c")}]).validate()


def test_a_circle_is_told_with_its_nodes() -> None:
    nodes = (*chain("a"), relu("b", "d"), relu("c", "b"), relu("d", "c"), relu("after", "d"))
    with pytest.raises(InputError, match=r"(b -> c -> d -> b|c -> d -> b -> c|d -> b -> c -> d)") as caught:
        Graph(nodes=nodes, outputs=Edge("after")).validate()
    assert "after ->" not in str(caught.value), "a node that merely hangs behind the circle is not blamed"


def test_a_node_without_a_call_is_told() -> None:
    nodes = (*chain("a"), Node(name="b", operator="mystery", arguments={"x": Edge("a")}, outputs=(SPEC,)))
    with pytest.raises(InputError, match=r"node 'b' \(mystery\) has nothing to call"):
        Graph(nodes=nodes, outputs=Edge("b")).run(torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"no node 'aa'. Did you mean 'a'\?"):
        _ = Graph(nodes=nodes, outputs=Edge("b"))["aa"]


def adder(name: str, one: str, two: str) -> Node:
    arguments = {"self": Edge(one), "other": Edge(two)}
    return Node(name=name, operator="aten.add", arguments=arguments, outputs=(SPEC,), call=torch.ops.aten.add.Tensor)


@given(data=st.data())
def test_any_order_of_the_nodes_gives_the_same_result(data: st.DataObject) -> None:
    nodes = list(chain("n0"))
    for number in range(1, data.draw(st.integers(1, 8))):
        earlier = st.sampled_from([node.name for node in nodes])
        nodes.append(adder(f"n{number}", data.draw(earlier), data.draw(earlier)))
    shuffled = data.draw(st.permutations(nodes))
    x = torch.randn(2, 3)
    last = Edge(nodes[-1].name)
    expected = Graph(nodes=tuple(nodes), outputs=last).run(x)
    graph = Graph(nodes=tuple(shuffled), outputs=(last, Edge("x")))
    place = {node.name: at for at, node in enumerate(graph.order())}
    assert all(place[edge.node] < place[node.name] for node in graph.nodes for edge in node.inputs)
    computed, returned = graph.run(x)
    torch.testing.assert_close(computed, expected, rtol=0, atol=0)
    assert returned is x


def test_watch_sees_every_node_once_in_order(graph: Graph, x: Tensor) -> None:
    seen: list[str] = []
    graph.run(x, watch=lambda node, outputs: seen.append(f"{node.name} {len(outputs) >= len(node.outputs)}"))
    assert seen == [f"{node.name} True" for node in graph.order()]


def test_tensors_are_freed_when_nobody_needs_them() -> None:
    import weakref

    alive: list[weakref.ref[Tensor]] = []
    most: list[int] = []

    def count(node: Node, outputs: tuple[Tensor, ...]) -> None:
        if node.operator != "input":
            alive.append(weakref.ref(outputs[0]))
        most.append(sum(ref() is not None for ref in alive))

    names = [f"n{number}" for number in range(10)]
    Graph(nodes=chain(*names), outputs=Edge(names[-1])).run(torch.zeros(2, 3), watch=count)
    assert max(most) <= 2


def test_text_lists_every_node(graph: Graph) -> None:
    text = graph.to_text()
    assert all(f"%{node.name} :" in text for node in graph.nodes)
    assert "sparse_conv2d(x=%stem, values=%blocks.0.conv1.values" in text
    assert "float32[2, 8, 8, 8]" in text


def test_json_can_be_read_back(graph: Graph) -> None:
    document = json.loads(graph.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["format"] == "mezzotint-graph"
    assert [node["name"] for node in document["nodes"]] == [node.name for node in graph.order()]
    nodes = {node["name"]: node for node in document["nodes"]}
    assert nodes["blocks.0.conv1"]["arguments"]["x"] == {"edge": ["stem", 0]}
    assert nodes["stem"]["outputs"] == [{"shape": [2, 8, 8, 8], "dtype": "float32"}]


def test_dot_has_a_cluster_a_module_and_an_edge_a_tensor(graph: Graph) -> None:
    dot = graph.to_dot()
    assert dot.count("{") == dot.count("}")
    assert 'subgraph "cluster_blocks.0"' in dot
    assert '"stem" -> "blocks.0.conv1";' in dot
    assert dot.count('-> "output";') == 2


def test_svg_is_well_formed_and_draws_every_operator(graph: Graph) -> None:
    root = ElementTree.fromstring(graph.to_svg())
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    shown = [node for node in graph.nodes if node.operator != "weight"]
    cards = [element for element in root.iter("{http://www.w3.org/2000/svg}rect") if element.get("rx") == "6"]
    assert len(cards) == len(shown) + 1, "a card an operator, and one for the output"
    assert texts.count("sparse_conv2d 3×3") == 4
    assert any("% dense" in text for text in texts)
    assert "blocks.1" in texts
    edges = [element for element in root.iter("{http://www.w3.org/2000/svg}path") if element.get("class") == "edge"]
    names = {node.name for node in shown}
    wanted = sum(len({edge.node for edge in node.inputs} & names) for node in shown)
    assert len(edges) == wanted + 2


def overlap(one: Box, two: Box) -> bool:
    beside = one.x + one.width <= two.x or two.x + two.width <= one.x
    above = one.y + one.height <= two.y or two.y + two.height <= one.y
    return not (beside or above)


@given(data=st.data())
def test_layout_lets_nothing_overlap_and_keeps_modules_together(data: st.DataObject) -> None:
    names = [f"n{number}" for number in range(data.draw(st.integers(1, 14)))]
    reads = {
        name: data.draw(st.lists(st.sampled_from(names[:at]), max_size=3, unique=True)) if at else []
        for at, name in enumerate(names)
    }
    modules = {name: data.draw(st.sampled_from(["", "a", "a.b", "a.b.c", "d", "d.e"])) for name in names}
    layout = lay_out({name: float(data.draw(st.integers(40, 200))) for name in names}, modules, reads)
    leaves = list(layout.leaves().values())
    assert sorted(leaf.name for leaf in leaves) == sorted(names)
    assert not any(overlap(one, two) for at, one in enumerate(leaves) for two in leaves[:at])
    boxes = [box for page in layout.pages for box in page]
    while boxes:
        box = boxes.pop()
        for member in box.members:
            assert box.x <= member.x
            assert member.x + member.width <= box.x + box.width
            assert box.y <= member.y
            assert member.y + member.height <= box.y + box.height
        assert not any(overlap(one, two) for at, one in enumerate(box.members) for two in box.members[:at])
        boxes += box.members
    assert all(leaf.x >= 0 and leaf.y >= 0 for leaf in leaves)
    assert all(leaf.x + leaf.width <= layout.width and leaf.y + leaf.height <= layout.height for leaf in leaves)
