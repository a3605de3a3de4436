"""Does a captured graph say what the model computes, and does a graph made by hand tell what is wrong with it?"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import InputError, NotRegistered, ShapeError
from mezzotint.ops.graph import Edge, Graph, Node
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


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x


class Conditional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


class ByNumPy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy())


class Selecting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Counting(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, float]:
        return x, x.sum().item()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Branching(), r"Could not guard on data-dependent.+choose with torch\.where"),
        (Conditional(), "it calls cond in the model itself, which is control flow"),
        (ByNumPy(), r"numpy\(\).+It leaves PyTorch for NumPy: compute with tensors"),
        (Selecting(), "aten.index.Tensor in the model itself, whose result has a shape that depends on the values"),
        (Counting(), "aten.item in the model itself, which takes a number out of a tensor"),
        (nn.Linear(4, 4), "it fails on the example input itself, with RuntimeError: mat1 and mat2 shapes"),
    ],
)
def test_a_model_that_is_no_graph_is_refused_with_the_reason_and_what_to_do(
    model: nn.Module, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=rf"{type(model).__name__} cannot be captured: .*{told}"):
        mz.ops.capture(model, torch.zeros(2, 3))
    assert capsys.readouterr() == ("", ""), "what torch.export prints is kept back"


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"allowed: an nn\.Module"):
        mz.ops.capture(lambda x: x, torch.zeros(2))


def test_a_failed_capture_leaves_running_statistics_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.bn(x)
            return y if y.sum() > 0 else x

    net = Net().train()
    with pytest.raises(InputError, match="cannot be captured"):
        mz.ops.capture(net, torch.randn(4, 3))
    assert net.bn.num_batches_tracked == 0
    assert torch.equal(net.bn.running_mean, torch.zeros(3))


def test_modules_are_known_by_their_classes(graph: Graph) -> None:
    assert graph.modules[""] == "Net"
    assert graph.modules["blocks.0"] == "Block"
    assert graph.modules["blocks.0.conv1"] == "SparseConv2d"


def test_a_duplicate_name_is_told() -> None:
    graph = Graph(nodes=(*chain("a", "b"), relu("a", "b")), outputs=Edge("b"), name="doubled")
    with pytest.raises(InputError, match="doubled: 2 nodes are called 'a'"):
        graph.validate()


def test_a_dangling_edge_is_told() -> None:
    with pytest.raises(InputError, match=r"node 'b' reads 'aa', but there is no such node. Did you mean 'a'\?"):
        Graph(nodes=(*chain("a"), relu("b", "aa")), outputs=Edge("b")).validate()
    with pytest.raises(InputError, match=r"node 'b' reads an output of 'a': received 1; allowed: 0, its only one"):
        Graph(nodes=(*chain("a"), relu("b", "a", output=1)), outputs=Edge("b")).validate()
    with pytest.raises(InputError, match="the output reads 'c'"):
        Graph(nodes=chain("a", "b"), outputs=[Edge("a"), {"deep": Edge("c")}]).validate()


def test_a_circle_is_told_with_its_nodes() -> None:
    nodes = (*chain("a"), relu("b", "d"), relu("c", "b"), relu("d", "c"), relu("after", "d"))
    with pytest.raises(InputError, match=r"(b -> c -> d -> b|c -> d -> b -> c|d -> b -> c -> d)") as caught:
        Graph(nodes=nodes, outputs=Edge("after")).validate()
    assert "after ->" not in str(caught.value), "a node that merely hangs behind the circle is not blamed"


def test_an_unknown_operator_is_told() -> None:
    nodes = (*chain("a"), Node(name="b", operator="aten.rleu", arguments={"self": Edge("a")}, outputs=(SPEC,)))
    with pytest.raises(NotRegistered, match=r"node 'b': no operator 'aten.rleu'.+Did you mean 'aten.relu'\?"):
        Graph(nodes=nodes, outputs=Edge("b")).validate()
    with pytest.raises(NotRegistered, match=r"its overloads: .*aten\.add\.Tensor"):
        Graph().add("aten.add.Tenso")
    with pytest.raises(InputError, match=r"aten.relu_' changes its arguments; a graph is made of pure operators"):
        Graph().add("aten.relu_")
    with pytest.raises(InputError, match="reads and writes files"):
        Graph().add("aten.from_file", (), {"filename": "/etc/passwd"})
    with pytest.raises(InputError, match=r"no node 'aa'. Did you mean 'a'\?"):
        _ = Graph(nodes=nodes, outputs=Edge("b"))["aa"]


def small() -> tuple[Graph, Node, Node, Node]:
    """A graph of three inputs: activations, indices of the wrong type, values."""
    graph = Graph(name="by hand")
    return (
        graph,
        graph.input("x", (2, 3, 8, 8)),
        graph.input("A", (5,), torch.float32),
        graph.input("values", (5,)),
    )


@pytest.mark.parametrize("layer", [nn.Conv1d(3, 4, 3), mz.SparseConv2d(3, 4, 3, density=0.5)])
def test_a_layer_alone_is_a_graph_too(layer: nn.Module) -> None:
    x = torch.randn(2, 3, 8) if isinstance(layer, nn.Conv1d) else torch.randn(2, 3, 8, 8)
    graph = mz.ops.capture(layer, x)
    assert all(node.name for node in graph.nodes)
    assert torch.equal(graph.run(x), layer(x))
    assert "<svg" in graph.to_svg()


def test_a_graph_is_built_by_hand() -> None:
    graph = Graph(name="tiny")
    x = graph.input("x", (2, 3), torch.float32)
    halves = graph.add("aten.split.Tensor", x, {"split_size": 1}, name="halves")
    assert halves.outputs == (TensorSpec((1, 3), torch.float32),) * 2
    first = graph.add("aten.relu", halves[1])
    second = graph.add("aten.relu", "halves:1")
    both = graph.add("aten.cat", [first, second], {"dim": 1}, name="both")
    graph.returns({"both": both, "x": x}).validate()
    assert [node.name for node in graph.nodes] == ["x", "halves", "relu", "relu_1", "both"]
    value = torch.randn(2, 3)
    found = graph.run(value)
    assert torch.equal(found["both"], value[1:].relu().repeat(1, 2))
    assert found["x"] is value


def test_a_sparse_operator_by_hand() -> None:
    graph, x, _, values = small()
    indices = graph.weight("indices", torch.tensor([0, 3, 9, 40, 53], dtype=torch.int32))
    y = graph.add("sparse_conv2d", (x, values, indices), {"weight_shape": [2, 3, 3, 3]}, name="y")
    assert y.outputs == (TensorSpec((2, 2, 6, 6), torch.float32),)
    mask = torch.zeros(54, dtype=torch.bool)
    mask[indices.value.long()] = True
    pattern = mz.Pattern.from_mask(mask.view(2, 3, 3, 3))
    image, weights = torch.randn(2, 3, 8, 8), torch.randn(5)
    graph.returns(y)
    expected = mz.ops.sparse_conv2d(image, weights, pattern)
    assert torch.equal(graph.run(image, torch.zeros(5), weights), expected)


@pytest.mark.parametrize(
    ("inputs", "attributes", "kind", "told"),
    [
        (
            ("x", "values", "A"),
            {"weight_shape": [2, 3, 3, 3]},
            ShapeError,
            r"input 2 of node 'B' \(indices of sparse_conv2d\) was passed float32 from A:0, incompatible with expected "
            "int32",
        ),
        (("x", "values"), {"weight_shape": [2, 3, 3, 3]}, InputError,
         r"inputs: received 2 of them; allowed: 3 to 5 \(x, values, indices, transposed, bias\)"),
        (("x",) * 6, {"weight_shape": [2, 3, 3, 3]}, InputError, "received 6 of them; allowed: 3 to 5"),
        (("x", "values", "ints"), {}, InputError, "attribute 'weight_shape' is missing; it has no default"),
        (("x", "values", "ints"), {"weight_shape": [2, 3, 3, 3], "strid": [1, 1]}, InputError,
         r"argument: received strid; allowed: .*stride.* Did you mean 'stride'\?"),
        (("x", "values", "ints"), {"weight_shape": [2, 3, 3, 3], "stride": [0, 1]}, InputError,
         r"stride item 0 must be at least 1; received \[0, 1\]"),
        (("x", "values", "ints"), {"weight_shape": [2, 4, 3, 3]}, ShapeError,
         r"cannot take x:0 float32\[2, 3, 8, 8\].*input channels: received 3; allowed: 4"),
        (("x", "values", "nowhere"), {"weight_shape": [2, 3, 3, 3]}, InputError, "reads 'nowhere', but there is no"),
        (("x:1", "values", "ints"), {"weight_shape": [2, 3, 3, 3]}, InputError,
         "reads an output of 'x': received 1; allowed: 0, its only one"),
    ],
)  # fmt: skip
def test_a_wrong_node_is_told_at_once(
    inputs: tuple[str, ...], attributes: dict[str, object], kind: type[Exception], told: str
) -> None:
    graph, *_ = small()
    graph.input("ints", (5,), torch.int32)
    before = graph.nodes
    with pytest.raises(kind, match=told):
        graph.add("sparse_conv2d", inputs, attributes, name="B")
    assert graph.nodes == before


def test_types_that_belong_together_are_compared() -> None:
    graph, x, *_ = small()
    weight = graph.input("weight", (2, 3, 3, 3), torch.bfloat16)
    with pytest.raises(ShapeError, match=r"input 1 of node 'B'.* was passed bfloat16 from weight:0.* expected float32"):
        graph.add("conv2d", (x, weight), name="B")


def test_names_collide() -> None:
    graph, x, *_ = small()
    graph.add("aten.relu", x, name="y")
    with pytest.raises(InputError, match="by hand: a node called 'y' is there already; choose another name"):
        graph.add("aten.relu", x, name="y")


@pytest.mark.parametrize(
    ("operator", "arguments", "told"),
    [
        (
            "aten.sum.dim_IntList",
            {"self": Edge("a"), "dim": [Edge("a")]},
            "dim: received the tensor a:0; allowed: a value",
        ),
        ("aten.relu", {"self": "a"}, "self: received a; allowed: an output of a node; this argument is a tensor"),
        ("aten.relu", {"self": [Edge("a")]}, "self: received a list; allowed: one output of a node"),
        ("aten.cat", {"tensors": Edge("a")}, "tensors: received a:0; allowed: a list of outputs"),
    ],
)
def test_edges_and_attributes_are_not_exchanged(operator: str, arguments: dict[str, object], told: str) -> None:
    wrong = Node(name="b", operator=operator, arguments=arguments, outputs=(SPEC,))
    with pytest.raises(InputError, match=f"node 'b' .*{told}"):
        Graph(nodes=(*chain("a"), wrong), outputs=Edge("b")).validate()


def test_outputs_must_be_what_the_operator_makes() -> None:
    lying = Node(
        name="b",
        operator="aten.relu",
        arguments={"self": Edge("a")},
        outputs=(TensorSpec((3, 2), torch.float32),),
    )
    with pytest.raises(ShapeError, match=r"received float32\[3, 2\]; allowed: what it makes, float32\[2, 3\]"):
        Graph(nodes=(*chain("a"), lying), outputs=Edge("b")).validate()


def test_weights_are_bound_by_name(graph: Graph, net: nn.Module, x: Tensor) -> None:
    assert {"stem.weight", "fc.values", "blocks.0.bn1.running_mean"} <= set(graph.weights())
    doubled = graph.bind({"stem.weight": 2 * net.stem.weight.detach()})
    assert doubled == graph
    assert not torch.equal(doubled.run(x)["sum"], graph.run(x)["sum"])
    with pytest.raises(InputError, match=r"no weight 'stem.weigth'. Did you mean 'stem.weight'\?"):
        graph.bind({"stem.weigth": torch.zeros(1)})
    with pytest.raises(ShapeError, match=r"weight 'stem.weight': received torch.float32 \[1\]"):
        graph.bind({"stem.weight": torch.zeros(1)})


def adder(name: str, one: str, two: str) -> Node:
    arguments = {"self": Edge(one), "other": Edge(two)}
    return Node(name=name, operator="aten.add.Tensor", arguments=arguments, outputs=(SPEC,))


@given(data=st.data())
def test_any_order_of_the_nodes_gives_the_same_result(data: st.DataObject) -> None:
    nodes = list(chain("n0"))
    for number in range(1, data.draw(st.integers(1, 8))):
        earlier = st.sampled_from([node.name for node in nodes])
        nodes.append(adder(f"n{number}", data.draw(earlier), data.draw(earlier)))
    shuffled = data.draw(st.permutations(nodes))
    x = torch.randn(2, 3)
    last = Edge(nodes[-1].name)
    straight = Graph(nodes=tuple(nodes), outputs=last)
    assert straight.order() == straight.nodes, "an order that is right is kept"
    graph = Graph(nodes=tuple(shuffled), outputs=(last, Edge("x"))).validate()
    place = {node.name: at for at, node in enumerate(graph.order())}
    assert all(place[edge.node] < place[node.name] for node in graph.nodes for edge in node.inputs)
    computed, returned = graph.run(x, threads=data.draw(st.sampled_from([1, 3])))
    torch.testing.assert_close(computed, straight.run(x), rtol=0, atol=0)
    assert returned is x


def test_text_lists_every_node(graph: Graph) -> None:
    text = graph.to_text()
    assert all(f"%{node.name} :" in text for node in graph.nodes)
    assert "sparse_conv2d(x=%stem, values=%blocks.0.conv1.values" in text
    assert "float32[2, 8, 8, 8]" in text


def test_dot_has_a_cluster_a_module_and_an_edge_a_tensor(graph: Graph) -> None:
    dot = graph.to_dot()
    assert dot.count("{") == dot.count("}")
    assert 'subgraph "cluster_blocks.0"' in dot
    assert '"stem" -> "blocks.0.conv1" [label="2×8×8×8"];' in dot
    assert dot.count('-> "output" [') == 2
    collapsed = graph.to_dot(depth=1)
    assert '"blocks/" [label="blocks\\nSequential\\n12 operators"];' in collapsed
    assert '"blocks.0.conv1"' not in collapsed
