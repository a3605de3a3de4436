"""Does a declaration become a working operator, and does a wrong one fail at registration with every mistake?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mezzotint import ops
from mezzotint.errors import DeclarationError, NoKernel, NotRegistered, ShapeError
from mezzotint.kernels import launch
from mezzotint.ops import OpDef, TensorSpec
from mezzotint.ops.opdef import Specs


def same_shape(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    found = inputs["x"]
    assert found is not None
    return found


def scale_definition(name: str) -> OpDef:
    return (
        OpDef(name)
        .input("x: T", "any tensor")
        .output("y: T")
        .attr("T: floattype")
        .attr("by: float = 2.0", "the factor")
        .attr("mode: {'plain', 'negated'} = 'plain'")
        .shape_rule(same_shape)
        .doc("Multiplies x by a constant.")
    )


@pytest.fixture(scope="module")
def scale() -> ops.Operator:
    definition = scale_definition("test_scale")
    operator: list[ops.Operator] = []

    def gradient(call: ops.Call, gy: Tensor) -> dict[str, Tensor | None]:
        return {"x": operator[0](gy, by=call["by"], mode=call["mode"])}

    operator.append(definition.gradient(gradient).register())

    @operator[0].kernel(device="cpu", name="plain")
    def plain(x: Tensor, *, by: float, mode: str) -> Tensor:
        return x * (by if mode == "plain" else -by)

    return operator[0]


def test_an_operator_runs_differentiates_and_compiles(scale: ops.Operator) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(scale(x, by=3.0), x * 3)
    assert torch.equal(scale(x), x * 2)
    assert torch.autograd.gradcheck(lambda t: scale(t, by=3.0, mode="negated"), (x,))
    compiled = torch.compile(lambda t: scale(t, by=3.0) + 1, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), x * 3 + 1)
    torch.library.opcheck(torch.ops.mezzotint.test_scale.default, (x, 3.0, "plain"))


def test_bad_calls_name_the_operator_and_the_field(scale: ops.Operator) -> None:
    x = torch.randn(2)
    with pytest.raises(ShapeError, match="test_scale: mode must be one of plain, negated; received 'other'"):
        scale(x, mode="other")
    with pytest.raises(ShapeError, match=r"test_scale: attribute: received bye.*Did you mean 'by'"):
        scale(x, bye=1.0)
    with pytest.raises(ShapeError, match=r"test_scale: x dtype: received torch\.int64"):
        scale(torch.arange(3))


def test_all_mistakes_are_told_at_once() -> None:
    broken = (
        OpDef("Broken")
        .input("x: Q")
        .input("x: float32")
        .output("Y: T")
        .attr("float32: int")
        .attr("k: int >= 2 = 1")
        .doc("Says something.", z="about nothing")
    )
    with pytest.raises(DeclarationError) as caught:
        broken.register()
    told = str(caught.value)
    for part in (
        "trouble reading the argument 'Y: T'",
        "must be at least 2",
        "lower_case_with_underscores",
        "'x' is used twice",
        "'float32' is named like a type",
        "doc for unknown name 'z'",
        "no output is declared",
        "the shape rule is missing",
        "'x' has the unknown type 'Q'",
    ):
        assert part in told
    assert "Broken" not in ops.names()


def test_a_taken_name_is_refused(scale: ops.Operator) -> None:
    with pytest.raises(DeclarationError, match="registered already"):
        scale_definition("test_scale").register()


def test_a_second_kernel_of_the_same_name_is_refused(scale: ops.Operator) -> None:
    with pytest.raises(DeclarationError, match="kernel 'plain' of operator 'test_scale' is registered already"):
        scale.kernel(name="plain")(lambda x, **_: x)


def test_unknown_operator_is_told_with_a_suggestion() -> None:
    with pytest.raises(NotRegistered, match="Did you mean 'sparse_conv2d'"):
        ops.get("sparse_conv2")


def test_a_miss_lists_every_kernel_with_its_reason() -> None:
    operator = scale_definition("test_miss").register()
    operator.kernel(name="far", device="cuda")(lambda x, **_: x)
    operator.kernel(name="half", dtypes=(torch.float16,))(lambda x, **_: x)
    operator.kernel(name="picky", supports=lambda problem: "it only likes empty tensors")(lambda x, **_: x)
    with pytest.raises(NoKernel) as caught:
        operator(torch.randn(2))
    for part in (
        "far: it runs on cuda, the tensors are on cpu",
        "half: it takes float16, the activations are float32",
        "picky: it only likes empty tensors",
    ):
        assert part in str(caught.value)


def test_a_kernel_that_breaks_the_shape_rule_is_caught() -> None:
    operator = scale_definition("test_liar").register()
    operator.kernel(name="liar")(lambda x, **_: x[:1])
    with pytest.raises(ShapeError, match="the declaration says"):
        operator(torch.randn(3))


def test_the_fastest_kernel_wins_when_measured() -> None:
    operator = scale_definition("test_race").register()
    calls = {"slow": 0, "quick": 0}

    @operator.kernel(name="slow", priority=9)
    def slow(x: Tensor, *, by: float, mode: str) -> Tensor:
        calls["slow"] += 1
        for _ in range(300):
            x = x + 0
        return x * by

    @operator.kernel(name="quick")
    def quick(x: Tensor, *, by: float, mode: str) -> Tensor:
        calls["quick"] += 1
        return x * by

    x = torch.randn(1000)
    with launch.policy("measure"):
        decision = operator.decision(x)
        assert decision.kernel.name == "quick"
        assert set(decision.milliseconds) == {"slow", "quick"}
        before = dict(calls)
        operator(x)
        assert calls == {"slow": before["slow"], "quick": before["quick"] + 1}
    assert operator.decision(x).kernel.name == "slow", "the rule goes by cost, then priority"
    with launch.policy("quick"):
        assert operator.decision(x).reason == "forced by the policy 'quick'"
    assert "chosen: quick" in ops.explain("test_race")


def test_unknown_policy_is_told() -> None:
    with pytest.raises(NotRegistered, match=r"no kernel policy 'natve'.*Did you mean 'native'"):
        launch.set_policy("natve")


def test_describe_is_made_from_the_declaration(scale: ops.Operator) -> None:
    text = ops.describe("test_scale")
    for part in (
        "Multiplies x by a constant.",
        "the factor",
        "by: float = 2.0",
        "mode: {'plain', 'negated'}",
        "schema:",
    ):
        assert part in text
