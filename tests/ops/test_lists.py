"""Do lists of tensors and several outputs really work, from the schema to the gradient and the compiler?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mezzotint import ops
from mezzotint.errors import DeclarationError, NoGradient, ShapeError
from mezzotint.kernels import launch
from mezzotint.ops import Call, OpDef, Operator, TensorSpec


def like_first(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
    first = next(iter(inputs.values()))
    return first[0] if isinstance(first, list) else first


@pytest.fixture(scope="module")
def add_n() -> Operator:
    """Any number of tensors of one type, gathered into one."""
    operator = (
        OpDef("test_add_n")
        .input("xs: N * T", "what is added")
        .output("y: T")
        .attr("N: int >= 1")
        .attr("T: numbertype")
        .shape_rule(like_first)
        .gradient(lambda call, gy: {"xs": [gy] * len(call["xs"])})
        .commutative()
        .aggregate()
        .autocast("xs")
        .doc("Sum of tensors.")
        .register()
    )

    @operator.kernel(name="loop", oracle=True)
    def loop(xs: list[Tensor]) -> Tensor:
        total = xs[0].clone()
        for x in xs[1:]:
            total = total + x
        return total

    @operator.kernel(name="stacked", into=True)
    def stacked(y: Tensor, xs: list[Tensor]) -> None:
        torch.sum(torch.stack(xs), 0, out=y)

    return operator


def split_rule(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
    x, parts = inputs["x"], attrs["parts"]
    return [TensorSpec((x.shape[0] // parts, *x.shape[1:]), x.dtype)] * parts, TensorSpec((), torch.int64)


@pytest.fixture(scope="module")
def split() -> Operator:
    """Two outputs, one of them a list whose length an attribute gives."""
    operator = (
        OpDef("test_split")
        .input("x: T")
        .output("ys: parts * T")
        .output("count: int64")
        .attr("parts: int >= 1 = 2")
        .attr("T: floattype")
        .shape_rule(split_rule)
        .gradient(lambda call, gys, gcount: {"x": torch.cat(gys)})
        .doc("Equal parts of a tensor.")
        .register()
    )

    @operator.kernel(name="copies", into=True)
    def copies(ys: list[Tensor], count: Tensor, x: Tensor, *, parts: int) -> None:
        count.fill_(parts)
        for y, part in zip(ys, x.chunk(parts), strict=True):
            y.copy_(part)

    return operator


@pytest.fixture(scope="module")
def each() -> Operator:
    """A list of tensors of several types, in and out, with every kind of default that the schema has no word for."""
    operator = (
        OpDef("test_each")
        .input("xs: Ts")
        .input("scale: float64?")
        .output("ys: Ts")
        .attr("Ts: list({float32, float64, int64}, length >= 1)")
        .attr("names: list(string) = ['a', 'b']")
        .attr("shapes: list(shape) = [[1, 2], []]")
        .attr("types: list(type) = [float32]")
        .attr("to: type = float64")
        .attr("limit: float = -inf")
        .attr("word: string = 'Grüße\\n'")
        .attr("none: list(int) = []")
        .shape_rule(lambda inputs, attrs: [TensorSpec(s.shape, s.dtype) for s in inputs["xs"]])  # type: ignore[arg-type,return-value,union-attr]
        .gradient(each_gradient)
        .doc("Copies, scaled where they are float64.")
        .register()
    )

    @operator.kernel(name="copy")
    def copy(xs: list[Tensor], scale: Tensor | None, **attrs: Any) -> list[Tensor]:
        SEEN.append(attrs)
        return [x.clone() if scale is None or x.dtype != torch.float64 else x * scale for x in xs]

    return operator


SEEN: list[Mapping[str, Any]] = []
DEFAULTS = {
    "names": ["a", "b"],
    "shapes": [[1, 2], []],
    "types": [torch.float32],
    "to": torch.float64,
    "limit": -math.inf,
    "word": "Grüße\n",
    "none": [],
}


def each_gradient(call: Call, gys: list[Tensor]) -> dict[str, Any]:
    SEEN.append(call.attrs)
    scale = call["scale"]
    found: dict[str, Any] = {"xs": [g if scale is None else g * scale for g in gys]}
    if scale is not None and call.needs("scale"):
        found["scale"] = sum((g * x).sum() for g, x in zip(gys, call["xs"], strict=True))
    return found


def doubles(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_generated_check_holds_for_n_tensors(add_n: Operator, count: int) -> None:
    done = ops.selfcheck(add_n, doubles(count, 3))
    assert done == ["opcheck", "kernels", "strides", "commutative", "aggregate", "gradient"]


def test_schema_call_and_gradient_of_a_list(add_n: Operator) -> None:
    assert add_n.schema == "test_add_n(Tensor[] xs) -> Tensor"
    a, b, c = (tensor.requires_grad_() for tensor in doubles(3, 2))
    y = add_n([a, b, c])
    torch.testing.assert_close(y, a + b + c)
    y.sum().backward()
    assert all(torch.equal(tensor.grad, torch.ones(2, dtype=torch.float64)) for tensor in (a, b, c))  # type: ignore[arg-type]


def test_a_list_compiles_and_is_cast(add_n: Operator) -> None:
    a, b = doubles(2, 4)
    compiled = torch.compile(lambda x, y: add_n([x, y]) * 2, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a, b), (a + b) * 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert add_n([a.float(), b.float()]).dtype == torch.bfloat16
        assert add_n([a, b]).dtype == torch.float64


def test_the_problem_names_each_tensor(add_n: Operator) -> None:
    decision = add_n.decision(doubles(2, 4))
    assert "xs[0][4] xs[1][4]" in decision.explain()
    assert decision.kernel.name == "stacked"
    with launch.policy("rule", force={"test_add_n": "loop"}):
        assert add_n.decision(doubles(2, 4)).kernel.name == "loop"


def test_several_outputs_one_of_them_a_list(split: Operator) -> None:
    assert split.schema == "test_split(Tensor x, SymInt parts=2) -> (Tensor[], Tensor)"
    x = doubles(1, 6, 2)[0]
    ys, count = split(x, parts=3)
    assert [y.shape for y in ys] == [(2, 2)] * 3
    torch.testing.assert_close(torch.cat(ys), x)
    assert count.item() == 3
    assert ops.selfcheck(split, x, parts=3) == ["opcheck", "kernels", "strides", "gradient"]
    assert ops.selfcheck(split, x) == ["opcheck", "kernels", "strides", "gradient"]


def test_an_unused_output_of_a_list_has_a_gradient_of_zero(split: Operator) -> None:
    x = doubles(1, 4)[0].requires_grad_()
    split(x)[0][1].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 1]


def test_lists_of_several_types_and_defaults_that_the_schema_cannot_say(each: Operator) -> None:
    x, z = doubles(1, 3)[0].requires_grad_(), torch.arange(2)
    SEEN.clear()
    ys = each([x, z], None)
    assert [y.dtype for y in ys] == [torch.float64, torch.int64]
    ys[0].sum().backward()
    assert len(SEEN) == 2
    assert all(attrs == DEFAULTS for attrs in SEEN), "the kernel and the gradient see the declared defaults"
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    each([x, z], scale)[0].sum().backward()
    torch.testing.assert_close(scale.grad, x.detach().sum())
    torch.ops.mezzotint.test_each([x.detach(), z], None, ["q"], [[3]], None, torch.float32, 1.5)
    assert SEEN[-1] == {**DEFAULTS, "names": ["q"], "shapes": [[3]], "to": torch.float32, "limit": 1.5}


def test_every_generated_check_holds_for_several_types(each: Operator) -> None:
    x, z = doubles(1, 3)[0], torch.arange(2)
    for scale in (None, torch.tensor(0.5, dtype=torch.float64)):
        assert "gradient" in ops.selfcheck(each, [x, z, x], scale)
    ops.selfcheck(each, [x.float(), z], None, names=["c"], shapes=[[2]], none=[1], types=[torch.int8])


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (([],), r"test_add_n: xs: received 0 tensors; allowed: at least 1"),
        ((torch.zeros(2),), r"test_add_n: xs: received Tensor; allowed: a list of tensors"),
        (([torch.zeros(2), 3],), r"test_add_n: xs: received a list of Tensor, int; allowed: a list of tensors"),
        (
            ([torch.zeros(2), torch.zeros(2).double()],),
            r"test_add_n: xs\[1\] dtype: received torch\.float64; allowed: tor",
        ),
        (([torch.zeros(2).bool()],), r"test_add_n: xs\[0\] dtype: received torch\.bool; allowed: float32, float64"),
        ((), r"test_add_n: arguments: received nothing for xs; allowed: test_add_n\(\[xs, \.\.\.\]\)"),
    ],
)
def test_bad_lists(add_n: Operator, inputs: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        add_n(*inputs)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([], "xs dtypes: Ts must have at least 1 item, not 0; received none"),
        ([torch.zeros(1).half()], "xs dtypes: Ts item 0 must be one of float32, float64, int64; received float16"),
    ],
)
def test_bad_lists_of_types(each: Operator, tensors: list[Tensor], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        each(tensors, None)


def pair_definition(name: str, least: int) -> OpDef:
    return (
        OpDef(name)
        .input("xs: N * T")
        .input("zs: N * T")
        .input("w: T")
        .output("ys: N * T")
        .attr(f"N: int >= {least}")
        .attr("T: floattype")
        .shape_rule(lambda inputs, attrs: [inputs["w"]] * attrs["N"])  # type: ignore[arg-type,return-value]
        .doc("Sums, pair by pair.")
    )


def test_two_lists_of_one_length_and_an_empty_one() -> None:
    operator = pair_definition("test_pairs", 0).register()
    operator.kernel(name="plain")(lambda xs, zs, w: [x + z for x, z in zip(xs, zs, strict=True)])
    w = torch.ones(2)
    assert torch.equal(operator([w], [w], w)[0], w + w)
    assert operator([], [], w) == []
    with pytest.raises(ShapeError, match=r"test_pairs: zs: received 2 tensors; allowed: 1, as many \(N\) as 'xs' has"):
        operator([w], [w, w], w)
    with pytest.raises(NoGradient, match="operator 'test_pairs' has no gradient"):
        operator([w], [w], w.clone().requires_grad_())[0].sum().backward()


def test_a_kernel_or_a_rule_that_gives_too_few_is_caught() -> None:
    operator = pair_definition("test_pairs_short", 1).register()
    operator.kernel(name="short")(lambda xs, zs, w: xs[:-1])
    w = torch.ones(2)
    with pytest.raises(
        ShapeError, match=r"output of the kernel 'short' of test_pairs_short: received 1 tensors; allowed"
    ):
        operator([w, w], [w, w], w)
    definition = pair_definition("test_pairs_rule", 1)
    definition.shape_fn = lambda inputs, attrs: [inputs["w"]]  # type: ignore[assignment,list-item,return-value]
    ruled = definition.register()
    with pytest.raises(ShapeError, match=r"ys of the shape rule: received 1 tensors; allowed: 2, the N of the call"):
        ruled([w, w], [w, w], w)


def test_a_kernel_may_ask_for_the_type_of_a_list() -> None:
    operator = (
        OpDef("test_gather")
        .input("index: int64")
        .input("xs: N * T")
        .output("y: T")
        .attr("N: int")
        .attr("T: floattype")
        .shape_rule(lambda inputs, attrs: inputs["xs"][0])  # type: ignore[index,return-value]
        .doc("One of several.")
        .register()
    )

    def choose(index: Tensor, xs: list[Tensor]) -> Tensor:
        return xs[int(index)].clone()

    operator.kernel(name="half", attrs={"T": torch.float16}, priority=1)(choose)
    operator.kernel(name="others")(choose)
    index, x = torch.tensor(1), torch.zeros(2)
    assert operator.decision(index, [x.half(), x.half()]).kernel.name == "half"
    decision = operator.decision(index, [x, x])
    assert decision.kernel.name == "others"
    assert decision.refusals["half"] == "it takes xs of type float16, the call has float32"


def test_a_broken_promise_is_told() -> None:
    operator = (
        OpDef("test_subtracts")
        .input("a: T")
        .input("b: T")
        .output("y: T")
        .attr("T: floattype")
        .shape_rule(like_first)
        .gradient(lambda call, gy: {"a": gy, "b": gy})
        .commutative()
        .doc("Says that it commutes, and does not.")
        .register()
    )
    operator.kernel(name="right", oracle=True)(lambda a, b: a - b)
    operator.kernel(name="wrong")(lambda a, b: a - 2 * b)
    with pytest.raises(DeclarationError) as caught:
        ops.selfcheck(operator, *doubles(2, 3))
    for part in (
        "'test_subtracts' breaks",
        "kernels: kernels 'wrong' and 'right' differ",
        "commutative: ",
        "gradient: ",
    ):
        assert part in str(caught.value)
