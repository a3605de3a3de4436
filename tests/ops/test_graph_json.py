"""Does a graph come back from JSON as it was, and is a damaged or hostile document told in words?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import InputError, MezzotintError
from mezzotint.ops.graph import Edge, Graph


class Mixed(nn.Module):
    """Types, infinities, lists of tensors and nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = mz.SparseConv2d(3, 4, 3, density=0.4)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        z = self.conv(x).to(torch.bfloat16).clamp(max=float("inf"))
        one, two = torch.split(z, 2, dim=1)
        return {"pair": (torch.cat([two, one], 1), y), "list": [y.mean(), None, 3]}


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    return mz.ops.capture(Mixed().eval(), (torch.zeros(1, 3, 5, 5), torch.zeros(2)))


def test_a_graph_comes_back_and_runs(graph: Graph) -> None:
    text = graph.to_json()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (document["format"], document["version"]) == ("mezzotint-graph", 2)
    back = Graph.from_json(text)
    assert back == graph
    assert back.outputs["pair"] == graph.outputs["pair"]
    assert isinstance(back.outputs["pair"], tuple)
    x, y = torch.randn(1, 3, 5, 5), torch.randn(2)
    with pytest.raises(InputError, match=r"weight 'conv.values' is not known. Give it: graph = graph.bind"):
        back.run(x, y)
    again, first = back.bind(graph.weights()).run(x, y), graph.run(x, y)
    assert torch.equal(again["pair"][0], first["pair"][0])
    assert again["list"][1:] == [None, 3]
    assert Graph.from_json(back.to_json()) == graph


def test_graphs_differ_in_whatever_differs(graph: Graph) -> None:
    document = json.loads(graph.to_json())
    document["nodes"][-1]["module"] = "elsewhere"
    assert Graph.from_json(json.dumps(document)) != graph


def edited(graph: Graph, path: list[Any], value: Any) -> str:
    """The graph's document with something replaced, or left out when ``value`` is ``...``."""
    document = json.loads(graph.to_json())
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (["format"], "onnx", "no graph of mezzotint"),
        (["version"], 1, "version 1; allowed: version 2, which this mezzotint reads"),
        (["version"], ..., "version None"),
        (["nodes"], ..., "it without 'nodes'"),
        (["nodes"], {}, "'nodes' of it as dict"),
        (["name"], 3, "'name' of it as int"),
        (["modules"], {"a": 1}, "modules whose classes are no strings"),
        (["nodes", 0], "x", "node 0 as str"),
        (["nodes", 0, "name"], ..., "node 0 without 'name'"),
        (["nodes", 1, "name"], "x", "2 nodes are called 'x'"),
        (["nodes", -1, "operator"], "os.system", "no operator 'os.system'"),
        (["nodes", -1, "operator"], "aten.relu_", "changes its arguments"),
        (["nodes", -1, "arguments"], {"self": {"edge": ["x"]}}, r'\{"edge": \["x"\]\} in node'),
        (["nodes", -1, "arguments"], {"self": {"edge": ["y", True]}}, "with a value of that kind"),
        (["nodes", -1, "arguments"], {"self": {"pickle": "cos"}}, "pickle.+one of edge, tuple"),
        (["nodes", -1, "arguments"], {"self": {"a": 1, "b": 2}}, "an object of 2 keys"),
        (["nodes", -1, "arguments"], {"self": {"edge": ["y", 7]}}, "reads an output of 'y': received 7"),
        (["nodes", -1, "arguments"], {"self": {"edge": ["gone", 0]}}, "reads 'gone', but there is no such node"),
        (["nodes", -1, "outputs", 0, "dtype"], "load", "the dtype 'load'"),
        (["nodes", -1, "outputs", 0, "shape"], [-1], r"the shape \[-1\]"),
        (["nodes", -1, "outputs", 0, "shape"], [10**9, 10**9, 10**9], "the shape"),
        (["nodes", -1, "outputs", 0, "shape"], [2, 2], "allowed: what it makes"),
        (["outputs"], {"edge": ["nobody", 0]}, "the output reads 'nobody'"),
        (["outputs"], {"device": "toaster"}, "toaster"),
        (["nodes", 0, "arguments"], {"self": 1}, "a weight has one output and no arguments"),
    ],
)
def test_a_damaged_document_is_told(graph: Graph, path: list[Any], value: Any, told: str) -> None:
    with pytest.raises(MezzotintError, match=told):
        Graph.from_json(edited(graph, path, value))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": "mezzotint-graph"}', "\ud800"])
def test_what_is_no_graph_is_told(text: str) -> None:
    with pytest.raises(InputError, match="graph in JSON: received"):
        Graph.from_json(text)


def test_values_nested_too_deep_are_told(graph: Graph) -> None:
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    assert Graph.from_json(edited(graph, ["outputs"], deep)).outputs is not None
    text = edited(graph, ["outputs"], 0).replace('"outputs": 0', '"outputs": ' + "[" * 900 + "]" * 900)
    try:
        Graph.from_json(text)
    except InputError as error:
        assert "graph in JSON" in str(error)  # noqa: PT017  (deep nesting is read where Python can)


@given(data=st.data())
def test_any_damage_is_either_told_or_harmless(data: st.DataObject) -> None:
    text = BASE.to_json()
    start = data.draw(st.integers(0, len(text) - 1))
    stop = min(len(text), start + data.draw(st.integers(0, 12)))
    damaged = text[:start] + data.draw(st.text('{}[]":,0aé-', max_size=6)) + text[stop:]
    try:
        graph = Graph.from_json(damaged)
    except MezzotintError as error:
        assert str(error)  # noqa: PT017
    else:
        assert Graph.from_json(graph.to_json()) == graph


def _base() -> Graph:
    graph = Graph(name="base")
    x = graph.input("x", (2, 3))
    y = graph.add("aten.add.Tensor", (x, x), {"alpha": 2}, name="y")
    return graph.returns([y, Edge("x"), {"dtype": torch.float32, "inf": float("inf")}])


BASE = _base()
