"""Do operators work that take no tensor, or give none?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from mezzotint import ops
from mezzotint.errors import DeclarationError, NoKernel, ShapeError
from mezzotint.ops import OpDef, Operator, TensorSpec, stubs


@pytest.fixture(scope="module")
def ramp() -> Operator:
    """A source: 0, step, 2 step, ..."""
    operator = (
        OpDef("test_ramp")
        .output("y: to")
        .attr("shape: shape")
        .attr("step: float = 1.0")
        .attr("to: {float32, float64, int64} = float32")
        .shape_rule(lambda inputs, attrs: TensorSpec(tuple(attrs["shape"]), attrs["to"]))
        .doc("Numbers that rise.")
        .register()
    )

    @operator.kernel(name="plain", dtypes=(torch.float32, torch.float64))
    def plain(*, shape: list[int], step: float, to: torch.dtype, device: torch.device) -> Tensor:
        count = torch.Size(shape).numel()
        return (torch.arange(count, device=device) * step).to(to).reshape(shape)

    @operator.kernel(name="cpu", device="cpu", into=True)
    def cpu(y: Tensor, *, shape: list[int], step: float, to: torch.dtype, device: torch.device) -> None:
        torch.arange(y.numel(), out=y.view(-1)).mul_(step)

    return operator


LOG: list[float] = []


@pytest.fixture(scope="module")
def log() -> Operator:
    """A sink: what it is given is kept."""
    operator = (
        OpDef("test_log")
        .input("x: T?")
        .input("y: T")
        .attr("T: floattype")
        .attr("factor: float = 1.0")
        .stateful("it writes down what it is given")
        .doc("Writes the sum of a tensor down.")
        .register()
    )

    @operator.kernel(name="append")
    def append(x: Tensor | None, y: Tensor, *, factor: float) -> None:
        LOG.append(y.sum().item() * factor)

    return operator


def test_a_source_follows_the_device(ramp: Operator) -> None:
    assert (
        ramp.schema == "test_ramp(SymInt[] shape, float step=1.0, ScalarType to=float32, Device? device=None) -> Tensor"
    )
    torch.testing.assert_close(ramp(shape=[2, 2], step=0.5), torch.tensor([[0, 0.5], [1, 1.5]]))
    assert ramp(shape=[2], device="meta").device.type == "meta"
    with torch.device("meta"):
        assert ramp(shape=[2]).device.type == "meta"
        assert ramp(shape=[2], device="cpu").tolist() == [0, 1]
    assert ramp.decision(shape=[3]).kernel.name == "cpu"
    assert ramp.decision(shape=[3], device="meta").kernel.name == "plain"


def test_every_check_holds_for_a_source(ramp: Operator) -> None:
    assert ops.selfcheck(ramp, shape=[2, 3], step=2.0) == ["opcheck", "kernels", "strides"]
    assert ops.selfcheck(ramp, shape=[], to=torch.float64) == ["opcheck", "kernels", "strides"]
    compiled = torch.compile(lambda x: x + ramp(shape=list(x.shape)), backend="aot_eager", fullgraph=True)
    assert compiled(torch.ones(3)).tolist() == [1, 2, 3]


def test_the_type_of_a_source_is_that_of_its_output(ramp: Operator) -> None:
    with pytest.raises(NoKernel, match=r"plain: it takes float32, float64, the activations are int64"):
        ramp(shape=[2], to=torch.int64, device="meta")
    with pytest.raises(
        DeclarationError, match=r"dtypes: received float16; allowed: float32, float64, int64, the types of 'y'"
    ):
        ramp.kernel(name="half", dtypes=(torch.float16,))(lambda **_: None)
    with pytest.raises(
        DeclarationError, match=r"cannot take the call \(shape=\.\.\., step=\.\.\., to=\.\.\., device=\.\.\.\)"
    ):
        ramp.kernel(name="none")(lambda *, shape, step, to: None)


@pytest.mark.parametrize(
    ("attrs", "says"),
    [
        ({}, r"received nothing for shape; allowed: test_ramp\(\*, shape, step=1.0, to=float32, device=None\)"),
        ({"shape": [-1]}, r"shape must be a shape, a list of int that are not negative; received \[-1\]"),
        ({"shape": [1], "devise": "cpu"}, r"received devise; allowed: shape, step, to, device\. Did you mean 'device'"),
        ({"shape": [1], "device": "nowhere"}, r"test_ramp: device: received 'nowhere'; allowed: a device of torch"),
    ],
)
def test_bad_calls_of_a_source(ramp: Operator, attrs: dict[str, Any], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        ramp(**attrs)


def test_an_operator_without_output_runs_as_often_as_the_program_says(log: Operator) -> None:
    assert log.schema == "test_log(Tensor? x, Tensor y, float factor=1.0) -> ()"

    def program(x: Tensor) -> Tensor:
        log(None, x * 2)
        log(None, x * 2, factor=2.0)
        return x + 1

    LOG.clear()
    assert log(None, torch.ones(3)) is None
    program(torch.ones(2, requires_grad=True)).sum().backward()
    assert LOG == [3, 4, 8]
    torch.compile(program, backend="aot_eager", fullgraph=True)(torch.ones(2))
    assert LOG == [3, 4, 8, 4, 8]
    graph = make_fx(program)(torch.ones(2)).graph
    graph.eliminate_dead_code()
    assert sum(node.target is log.overload for node in graph.nodes) == 2
    assert ops.selfcheck(log, None, torch.ones(2)) == ["opcheck"]


def test_neither_input_nor_output(ramp: Operator, log: Operator) -> None:
    def kernel(*, word: str, device: torch.device) -> None:
        said.append((word, device.type))

    said: list[tuple[str, str]] = []
    operator = OpDef("test_say").attr("word: {'a', 'b'}").stateful("it speaks").doc("Says a word.").register()
    operator.kernel(name="say")(kernel)
    assert operator(word="a") is None
    assert said == [("a", "cpu")]
    with pytest.raises(DeclarationError, match="neither input nor output that they could speak of"):
        operator.kernel(name="typed", dtypes=(torch.float32,))(kernel)
    text = stubs.stub([operator, ramp, log])
    assert (
        'def test_say(\n    *,\n    word: Literal["a", "b"],\n    device: torch.device | None = ...,\n) -> None:'
        in text
    )
    assert operator.describe().splitlines()[3] == '  ops.get("test_say")(*, word, device=None)'


def test_a_source_of_a_list() -> None:
    def rule(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
        return [TensorSpec((2,), torch.float32)] * attrs["count"]

    operator = (
        OpDef("test_fans")
        .output("ys: count * float32")
        .attr("count: int >= 1")
        .shape_rule(rule)
        .doc("Several tensors of ones.")
        .register()
    )
    operator.kernel(name="ones")(lambda *, count, device: [torch.ones(2, device=device) for _ in range(count)])
    assert [y.tolist() for y in operator(count=2)] == [[1, 1], [1, 1]]
    assert "opcheck" in ops.selfcheck(operator, count=3)
