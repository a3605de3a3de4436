"""Does the executor compute what the model computes, in any number of threads, and give its memory back?"""

from __future__ import annotations

import threading
import weakref

import pytest
import torch
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import InputError
from mezzotint.ops.graph import Edge, Graph, Node
from mezzotint.ops.graph_run import Executor


def chain(length: int) -> Graph:
    """An input and one relu after the other, 24 bytes each."""
    graph = Graph()
    last = graph.input("x", (2, 3))
    for number in range(length):
        last = graph.add("aten.relu", last, name=f"n{number}")
    return graph.returns(last)


class Branches(nn.Module):
    """Four branches with random numbers in them, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(4)])
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.drop(layer(x)) for layer in self.layers]).sum(0)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_random_numbers_are_drawn_in_the_models_order(threads: int) -> None:
    model, x = Branches().train(), torch.randn(8, 16)
    graph = mz.ops.capture(model, x)
    torch.manual_seed(7)
    expected = model(x)
    torch.manual_seed(7)
    assert torch.equal(graph.run(x, threads=threads), expected)


def test_independent_nodes_run_side_by_side() -> None:
    """A node of one branch waits for a node of the other: with one thread that would never end."""
    graph = Graph()
    x = graph.input("x", (2, 3))
    one, two = graph.add("aten.relu", x, name="one"), graph.add("aten.neg", x, name="two")
    graph.returns((one, two))
    both = threading.Barrier(2, timeout=20)

    class Waiting(Executor):
        def _compute(self, node: Node, values: object) -> object:
            both.wait()
            return super()._compute(node, values)

    value = torch.randn(2, 3)
    first, second = Waiting(graph, threads=2).run(value).outputs
    assert torch.equal(first, value.relu())
    assert torch.equal(second, -value)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_callers_modes_hold(threads: int) -> None:
    layer = nn.Linear(3, 3)
    x = torch.randn(2, 3)
    graph = mz.ops.capture(layer, x)
    assert graph.run(x, threads=threads).requires_grad
    with torch.no_grad():
        assert not graph.run(x, threads=threads).requires_grad
    with torch.inference_mode():
        assert graph.run(x, threads=threads).is_inference()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert graph.run(x, threads=threads).dtype == torch.bfloat16


def test_tensors_are_freed_when_the_last_reader_is_done() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most: list[int] = []

    def count(node: Node, outputs: tuple[Tensor, ...]) -> None:
        alive.append(weakref.ref(outputs[0]))
        most.append(sum(ref() is not None for ref in alive))

    execution = chain(10).execute(torch.zeros(2, 3), watch=count)
    assert max(most) == 2
    assert execution.peak_bytes == 2 * 24


def test_views_share_and_weights_and_inputs_are_not_counted() -> None:
    graph = Graph()
    x, weight = graph.input("x", (4, 4)), graph.weight("w", torch.randn(4, 4))
    y = graph.add("aten.mm", (x, weight), name="y")
    for number in range(5):
        y = graph.add("aten.view", y, {"size": [16] if number % 2 == 0 else [4, 4]})
    seen = graph.add("aten.view", x, {"size": [16]})
    graph.returns((y, seen))
    assert graph.execute(torch.randn(4, 4)).peak_bytes == 64


def test_watch_sees_every_computed_node_once_in_order() -> None:
    graph, seen = chain(4), []
    graph.run(torch.zeros(2, 3), watch=lambda node, outputs: seen.append((node.name, len(outputs))))
    assert seen == [("n0", 1), ("n1", 1), ("n2", 1), ("n3", 1)]
    with pytest.raises(KeyboardInterrupt):
        graph.run(torch.zeros(2, 3), watch=_interrupt)


def _interrupt(node: Node, outputs: tuple[Tensor, ...]) -> None:
    if node.name == "n1":
        raise KeyboardInterrupt


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_ends_at_a_node_and_any_tensor_is_fetched(threads: int) -> None:
    graph = Graph()
    x = graph.input("x", (3, 3))
    one = graph.add("aten.relu", x, name="one")
    halves = graph.add("aten.split.Tensor", one, {"split_size": 2}, name="halves")
    other = graph.add("aten.neg", x, name="other")
    graph.returns(graph.add("aten.add.Tensor", (other, one), name="sum"))
    value = torch.randn(3, 3)
    ended = graph.execute(value, until="halves", fetch=["one"], threads=threads)
    assert ended.ran == ("one", "halves"), "only what the node needs"
    assert ended.outputs is None
    assert torch.equal(ended["halves:1"], value.relu()[2:])
    assert torch.equal(ended["one"], value.relu())
    whole = graph.execute(value, fetch=[halves[1], "x"], threads=threads)
    assert set(whole.ran) == {"one", "halves", "other", "sum"}
    assert torch.equal(whole[Edge("halves", 1)], value.relu()[2:])
    assert whole["x"] is value
    with pytest.raises(InputError, match=r"fetched tensor: received one:0; allowed: halves:1, x:0"):
        whole["one"]
    with pytest.raises(InputError, match=r"no node 'halvs'. Did you mean 'halves'\?"):
        graph.execute(value, until="halvs")
    with pytest.raises(InputError, match="output of 'one': received 1; allowed: 0 to 0"):
        graph.execute(value, fetch=["one:1"])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failing_node_says_its_name(threads: int) -> None:
    graph = chain(3)
    indices = graph.input("i", (2,), torch.int64)
    graph.returns(graph.add("aten.index_select", ("n2", indices), {"dim": 0}, name="pick"))
    with pytest.raises(Exception, match="out of range") as caught:
        graph.run(torch.zeros(2, 3), torch.tensor([0, 9]), threads=threads)
    assert "in node 'pick' (aten.index_select) of graph" in caught.value.__notes__


def test_threads_must_be_some() -> None:
    with pytest.raises(InputError, match="threads: received 0"):
        chain(1).run(torch.zeros(2, 3), threads=0)


@pytest.mark.parametrize("name", ["lenet5_caffe", "resnet20"])
def test_networks_run_bit_for_bit_as_they_do_eagerly(name: str) -> None:
    channels, size = (1, 28) if "lenet" in name else (3, 16)
    network = mz.models.build(name, num_classes=10, in_channels=channels, image_size=size)
    network = mz.sparsify(network, 0.2, layout="plain").eval()
    x = torch.randn(2, channels, size, size)
    graph = mz.ops.capture(network, x)
    with torch.no_grad():
        expected = network(x)
        assert torch.equal(graph.run(x), expected)
        assert torch.equal(graph.run(x, threads=3), expected)
