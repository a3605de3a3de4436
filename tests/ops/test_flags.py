"""Do the flags of a declaration mean something: stateful, deprecated, not differentiable, without gradient?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch._functorch.compile_utils import fx_graph_cse
from torch.fx.experimental.proxy_tensor import make_fx

import mezzotint as mz
from mezzotint import ops
from mezzotint.errors import DeclarationError, NoGradient, NotRegistered
from mezzotint.kernels import launch
from mezzotint.ops import OpDef, Operator, TensorSpec
from mezzotint.ops.opdef import Specs
from mezzotint.ops.versions import is_version, reached


def same_shape(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    found = inputs["x"]
    assert found is not None
    return found


def definition(name: str) -> OpDef:
    return OpDef(name).input("x: T").output("y: T").attr("T: floattype").shape_rule(same_shape).doc("Adds one.")


def ready(declared: OpDef) -> Operator:
    operator = declared.register()
    operator.kernel(name="plus")(lambda x: x + 1)
    return operator


@pytest.fixture(scope="module")
def counter() -> Operator:
    operator = definition("test_counter").stateful("it counts its calls").register()
    operator.kernel(name="one", priority=1)(counted)
    operator.kernel(name="two")(counted)
    return operator


CALLS = [0]


def counted(x: Tensor) -> Tensor:
    CALLS[0] += 1
    return x + CALLS[0]


@pytest.fixture(scope="module")
def plus() -> Operator:
    return ready(definition("test_plus"))


def test_a_stateful_operator_is_neither_merged_nor_dropped_nor_folded(counter: Operator, plus: Operator) -> None:
    def program(x: Tensor) -> Tensor:
        counter(x)  # nobody reads it
        plus(x)
        return counter(x) + counter(x) + plus(x) + plus(x)

    def count(graph: fx.Graph, operator: Operator) -> int:
        return sum(node.target is operator.overload for node in graph.nodes)

    made = make_fx(program)(torch.zeros(2))
    assert (count(made.graph, counter), count(made.graph, plus)) == (3, 3)
    made.graph.eliminate_dead_code()
    assert (count(made.graph, counter), count(made.graph, plus)) == (3, 2), "only the pure one is dropped"
    merged = fx_graph_cse(made.graph)
    assert (count(merged, counter), count(merged, plus)) == (3, 1), "only the pure ones are merged"
    assert torch.Tag.nondeterministic_seeded in counter.overload.tags
    assert torch.Tag.nondeterministic_seeded not in plus.overload.tags


def test_a_compiled_program_runs_a_stateful_operator_as_often_as_it_says(counter: Operator) -> None:
    def program(x: Tensor) -> Tensor:
        counter(x)
        return counter(x) + counter(x)

    compiled = torch.compile(program, backend="aot_eager", fullgraph=True)
    before = CALLS[0]
    compiled(torch.zeros(2))
    assert CALLS[0] - before == 3


def test_a_stateful_operator_is_not_timed(counter: Operator) -> None:
    before = CALLS[0]
    with launch.policy("measure"):
        decision = counter.decision(torch.zeros(7))
    assert CALLS[0] == before
    assert decision.kernel.name == "one"
    assert "the operator is stateful, and is not run for the sake of timing" in decision.explain()
    assert ops.selfcheck(counter, torch.zeros(3)) == ["opcheck"]


def test_a_missing_gradient_is_told_when_somebody_asks_for_it(plus: Operator) -> None:
    x = torch.zeros(2, requires_grad=True)
    y = plus(x)
    with pytest.raises(NoGradient) as caught:
        y.sum().backward()
    for part in ("operator 'test_plus' has no gradient", "allowed: calls on inputs (x)", ".gradient(rule)"):
        assert part in str(caught.value)
    assert "opcheck" in ops.selfcheck(plus, torch.zeros(2))


def test_a_gradient_for_no_input_is_told() -> None:
    operator = ready(definition("test_lost").gradient(lambda call, gy: {"X": gy}))
    y = operator(torch.zeros(2, requires_grad=True))
    with pytest.raises(DeclarationError, match=r"test_lost: gradient: received X; allowed: x"):
        y.sum().backward()


def test_what_is_not_differentiable_asks_for_no_gradient() -> None:
    operator = definition("test_steps").not_differentiable("a step has no slope").register()
    operator.kernel(name="floor")(lambda x: x.floor())
    x = torch.full((2,), 1.5, requires_grad=True)
    y = operator(x)
    assert not y.requires_grad
    (y * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1], "as of a constant"
    assert ops.selfcheck(operator, torch.full((2,), 1.5)) == ["opcheck", "kernels", "strides"]
    assert "gradient: constant to its inputs: a step has no slope" in operator.describe()


def test_before_its_version_a_deprecated_operator_warns_once() -> None:
    operator = ready(definition("test_old").deprecated("99.0", "use test_new"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        operator(torch.zeros(2))
        operator(torch.zeros(3))
    assert [(warning.category, str(warning.message)) for warning in told] == [
        (FutureWarning, "operator 'test_old' is deprecated and an error from mezzotint 99.0 on: use test_new")
    ]


@pytest.mark.parametrize(("current", "gone"), [("1.4.9", False), ("1.5", True), ("1.5.0", True), ("2.0rc1", True)])
def test_from_its_version_on_a_deprecated_operator_is_an_error(current: str, gone: bool) -> None:
    name = f"test_acme::old_{current.replace('.', '_')}"
    operator = ready(definition(name).package("acme", current).deprecated("1.5", "use acme::new"))
    if not gone:
        with pytest.warns(FutureWarning, match="an error from acme 1.5 on: use acme::new"):
            operator(torch.zeros(2))
        return
    for call in (operator, operator.overload, torch.compile(operator, backend="eager")):
        with pytest.raises(
            (NotRegistered, RuntimeError), match=f"operator '{name}' is gone since acme 1.5: use acme::new"
        ):
            call(torch.zeros(2))


def test_an_operator_of_a_package_has_its_own_namespace() -> None:
    operator = ready(definition("test_acme::plus").package("acme", "1.0").since("0.3").version(2))
    assert torch.ops.test_acme.plus(torch.zeros(1)).item() == 1
    assert operator is ops.get("test_acme::plus")
    assert "version: 2, from acme 0.3" in operator.describe()


def test_names_with_an_underscore_are_hidden() -> None:
    operator = ready(definition("_test_hidden"))
    assert ops.get("_test_hidden") is operator
    assert "_test_hidden" not in ops.names()
    assert "_test_hidden" in ops.registry.REGISTRY.names(hidden=True)


def test_watchers_are_told_of_registrations() -> None:
    told: list[str] = []
    with ops.registry.REGISTRY.watching(lambda operator: told.append(operator.name)):
        ready(definition("test_watched"))
    ready(definition("test_unwatched"))
    assert told == ["test_watched"]


@pytest.mark.parametrize(
    ("current", "version", "reached_"),
    [
        ("0.1.0", "0.1", True),
        ("0.9", "0.10", False),
        ("1.0", "1.0.0", True),
        ("1.0.1", "1", True),
        ("0.1.0", "0.2", False),
    ],
)
def test_versions(current: str, version: str, reached_: bool) -> None:
    assert is_version(current)
    assert is_version(version)
    assert reached(current, version) is reached_


def test_the_version_of_mezzotint_is_one() -> None:
    assert is_version(mz.__version__)
    assert not is_version("soon")
