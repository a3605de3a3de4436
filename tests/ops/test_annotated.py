"""Is an operator that is declared as an annotated class the same object as one that is declared by chaining?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mezzotint import ops
from mezzotint.errors import DeclarationError
from mezzotint.ops import Attr, Input, OpDef, Output, TensorSpec, declare
from mezzotint.ops.annotated import definition_of


def rule(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> TensorSpec:
    found: TensorSpec = inputs["x"]
    return found


def slope(call: ops.Call, gy: Tensor) -> dict[str, Tensor | None]:
    return {"x": gy * call["by"], "z": gy * call["by"]}


class TestScaledSum:
    """Adds two tensors
    and multiplies.

    More about it, which is not part of the sentence.
    """

    __test__ = False  # not for pytest

    x: Input = Input("T", "one")
    z: ops.Input = Input("T", "the other")
    y: Output = Output("T", "the result")
    T: Attr = Attr("floattype")
    by: Attr = Attr("float = 2.0", "the factor")
    mode = Attr("{'a', 'b'} = 'a'")
    commutative = ("x", "z")
    autocast = ("x", "z")
    since = "0.1"
    version = 3
    deprecated = ("99.0", "use another")
    package = ("acme", "1.0")
    shape_rule = staticmethod(rule)
    gradient = slope


def chained() -> OpDef:
    return (
        OpDef("test_scaled_sum")
        .input("x: T", "one")
        .input("z: T", "the other")
        .output("y: T", "the result")
        .attr("T: floattype")
        .attr("by: float = 2.0", "the factor")
        .attr("mode: {'a', 'b'} = 'a'")
        .commutative("x", "z")
        .autocast("x", "z")
        .since("0.1")
        .version(3)
        .deprecated("99.0", "use another")
        .package("acme", "1.0")
        .shape_rule(rule)
        .gradient(slope)
        .doc("Adds two tensors and multiplies.")
    )


def test_both_forms_make_equal_declarations() -> None:
    assert definition_of(TestScaledSum) == chained()


@pytest.mark.parametrize(
    "change",
    [
        lambda op: op.attr("q: int = 1"),
        lambda op: op.doc("", x="changed"),
        lambda op: op.stateful("it may be"),
        lambda op: op.version(4),
        lambda op: op.input("w: T"),
    ],
)
def test_equality_sees_every_difference(change: Callable[[OpDef], OpDef]) -> None:
    assert definition_of(TestScaledSum) != change(chained())


def test_flags_and_names() -> None:
    class Named:
        """A stateful list."""

        name = "test_acme::named"
        xs: Input = Input("N * T")
        y: Output = Output("T")
        N: Attr = Attr("int >= 2")
        T: Attr = Attr("numbertype")
        aggregate = True
        commutative = True
        stateful = "it draws"
        not_differentiable = False
        shape_rule = staticmethod(rule)

    expected = (
        OpDef("test_acme::named")
        .input("xs: N * T")
        .output("y: T")
        .attr("N: int >= 2")
        .attr("T: numbertype")
        .aggregate()
        .commutative()
        .stateful("it draws")
        .shape_rule(rule)
        .doc("A stateful list.")
    )
    assert definition_of(Named) == expected


def test_a_declared_class_is_the_operator() -> None:
    @declare
    class TestDoubled:
        """Doubles."""

        x: Input = Input("T")
        y: Output = Output("T")
        T: Attr = Attr("floattype")
        shape_rule = staticmethod(rule)
        gradient = staticmethod(lambda call, gy: {"x": gy * 2})

    operator = ops.get("test_doubled")
    assert TestDoubled is operator  # type: ignore[comparison-overlap]
    operator.kernel(name="twice")(lambda x: x * 2)
    assert ops.selfcheck(operator, torch.ones(2, dtype=torch.float64)) == ["opcheck", "kernels", "strides", "gradient"]


def test_bases_come_first() -> None:
    class Geometry:
        stride: Attr = Attr("list(int >= 1, length = 2) = [1, 1]")
        groups: Attr = Attr("int >= 1 = 1")

    class Pooling(Geometry):
        """Pools."""

        x: Input = Input("T")
        y: Output = Output("T")
        T: Attr = Attr("floattype")
        shape_rule = staticmethod(rule)
        groups: Attr = Attr("int >= 2 = 2")

    assert [str(attr) for attr in definition_of(Pooling).attrs] == [
        "stride: list(int >= 1, length = 2) = [1, 1]",
        "groups: int >= 2 = 2",
        "T: floattype",
    ]


def test_mistakes_of_a_class_are_told_with_all_others() -> None:
    class TestBroken:
        x: Input
        y: Output = Input("T")  # type: ignore[assignment]
        T = 3
        sinc = "0.1"
        deprecated = "0.3"
        z: Output = Output("Q")

    with pytest.raises(DeclarationError) as caught:
        declare(TestBroken)
    told = str(caught.value)
    for part in (
        "operator 'test_broken' cannot be registered",
        "the class sets 'T' to a int; allowed: an Input, Output or Attr",
        "Did you mean 'since'?",
        "deprecated = '0.3', which .deprecated(...) does not take",
        "'x' is annotated as Input and has nothing; write x: Input = Input('T')",
        "'y' is annotated as Output and has an Input; write y: Output = Output('T')",
        "'z' has the unknown type 'Q'",
        "a doc sentence is missing",
    ):
        assert part in told
