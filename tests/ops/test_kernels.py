"""Which kernel takes part in which call: device, types, attributes, layout, label, priority, and its own conditions?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint import ops
from mezzotint.errors import DeclarationError, NoKernel, NotRegistered
from mezzotint.kernels import KERNELS, Kernel, KernelTable, Problem, launch, store
from mezzotint.ops import OpDef, Operator, TensorSpec
from mezzotint.ops.opdef import Specs


def same_shape(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    found = inputs["x"]
    assert found is not None
    return found


def operator(name: str) -> Operator:
    return (
        OpDef(name)
        .input("x: T")
        .input("v: V?")
        .output("y: T")
        .attr("T: floattype")
        .attr("V: floattype")
        .attr("mode: {'a', 'b'} = 'a'")
        .attr("stride: list(int >= 1, length = 2) = [1, 1]")
        .shape_rule(same_shape)
        .doc("Copies.")
        .register()
    )


def copy(x: torch.Tensor, v: torch.Tensor | None, **_: Any) -> torch.Tensor:
    return x.clone()


@pytest.fixture(scope="module")
def op() -> Operator:
    """One kernel for each thing that a kernel can ask for, and one for all the rest."""
    made = operator("test_kernels")
    made.kernel(name="strided", attrs={"stride": ([2, 2], [2, 1])}, priority=6)(copy)
    made.kernel(name="mode_b", attrs={"mode": "b"}, priority=5)(copy)
    made.kernel(name="half_values", attrs={"V": (torch.float16, torch.bfloat16)}, priority=4)(with_values)
    made.kernel(name="last", layout="channels_last", priority=3)(copy)
    made.kernel(name="double", dtypes=(torch.float64,), priority=2)(copy)
    made.kernel(name="small", supports=lambda p: None if p.shape("x") == (1,) else "it takes one number", priority=1)(
        copy
    )
    made.kernel(name="cpu", device="cpu")(copy)
    made.kernel(name="any")(copy)
    made.kernel(name="trial_one", label="trial")(copy)
    made.kernel(name="trial_two", label="trial", priority=1, dtypes=(torch.float64,))(copy)
    made.kernel(name="slow", oracle=True)(copy)
    return made


def with_values(x: torch.Tensor, v: torch.Tensor | None, **_: Any) -> torch.Tensor:
    return x + 1


X = torch.zeros(3)


@pytest.mark.parametrize(
    ("inputs", "attrs", "chosen"),
    [
        ((X, X), {}, "cpu"),
        ((X, X), {"stride": [2, 2]}, "strided"),
        ((X, X), {"stride": [2, 1], "mode": "b"}, "strided"),
        ((X, X), {"stride": [1, 2]}, "cpu"),
        ((X, X), {"mode": "b"}, "mode_b"),
        ((X, X.half()), {}, "half_values"),
        ((X, None), {}, "half_values"),
        ((torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last), X), {}, "last"),
        ((torch.zeros(2, 3, 4, 4), X), {}, "cpu"),
        ((X.double(), X), {}, "double"),
        ((torch.zeros(1), X), {}, "small"),
        ((X.to("meta"), X.to("meta")), {}, "any"),
    ],
)
def test_the_kernel_of_a_call(op: Operator, inputs: Any, attrs: dict[str, Any], chosen: str) -> None:
    assert op.decision(*inputs, **attrs).kernel.name == chosen


def test_an_absent_input_meets_every_constraint_on_its_type(op: Operator) -> None:
    half = next(kernel for kernel in op.kernels() if kernel.name == "half_values")
    assert half.types == (("v", (torch.float16, torch.bfloat16)),)
    assert half.refusal(op.problem({"x": X, "v": None}, {"mode": "a", "stride": [1, 1]})) is None
    told = half.refusal(op.problem({"x": X, "v": X}, {"mode": "a", "stride": [1, 1]}))
    assert told == "it takes v of type float16, bfloat16, the call has float32"


def test_a_label_as_context_and_as_argument(op: Operator) -> None:
    x = X.double()
    assert op.decision(x, None).refusals["trial_one"] == "it has the label 'trial', which is not asked for"
    with launch.label("trial"):
        assert op.decision(x, None).kernel.name == "trial_two"
        assert op.decision(X, None).kernel.name == "trial_one"
        assert op.decision(X, None).refusals["cpu"] == "it has no label, asked for is 'trial'"
        with launch.policy("measure"):
            assert op.decision(X, None).kernel.name == "trial_one", "the policy leaves the label in force"
        other = ops.get("conv2d").decision(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1), None)
        assert other.kernel.label == "", "an operator without such a kernel goes on as before"
    assert op.decision(X, None).kernel.label == ""
    assert torch.equal(op.labelled("trial")(X, None), X)


def test_a_label_that_fits_nothing_is_a_miss() -> None:
    made = operator("test_kernels_label")
    made.kernel(name="plain")(copy)
    made.kernel(name="trial", label="only_half", dtypes=(torch.float16,))(copy)
    with launch.label("only_half", "test_kernels_label"), pytest.raises(NoKernel) as caught:
        made(X, None)
    for part in (
        "plain: it has no label, asked for is 'only_half'",
        "trial: it takes float16, the activations are float32",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (
            lambda op: launch.label("trail").__enter__(),
            r"no kernel has the label 'trail'; known: .*Did you mean 'trial'",
        ),
        (
            lambda op: launch.label("trial", "conv2d").__enter__(),
            r"no kernel of conv2d has the label 'trial'; known: none",
        ),
        (lambda op: op.labelled("trail"), r"no kernel of test_kernels has the label 'trail'.*Did you mean 'trial'"),
    ],
)
def test_an_unknown_label_is_told(op: Operator, ask: Any, says: str) -> None:
    with pytest.raises(NotRegistered, match=says):
        ask(op)


def test_the_order_of_registration_does_not_matter() -> None:
    for number, order in enumerate((("alpha", "beta"), ("beta", "alpha"))):
        made = operator(f"test_kernels_order_{number}")
        for name in order:
            made.kernel(name=name, supports=lambda problem: None)(copy)
        assert made.decision(X, None).kernel.name == "alpha"


def test_a_kernel_that_comes_late_takes_part() -> None:
    made = operator("test_kernels_late")
    made.kernel(name="early")(copy)
    assert torch.equal(made(X, None), X)
    made.kernel(name="late", priority=1)(with_values)
    assert torch.equal(made(X, None), X + 1)
    assert made.decision(X, None).kernel.name == "late"


def test_a_stored_decision_knows_the_constraints_of_kernels() -> None:
    made = operator("test_kernels_stored")
    made.kernel(name="one", attrs={"mode": "a"})(copy)
    before = store.fingerprint(made.name)
    made.kernel(name="two", attrs={"mode": "b"})(copy)
    assert store.fingerprint(made.name) != before


OPTIONS: dict[str, list[Any]] = {
    "device": ["any", "cpu"],
    "dtypes": [(), (torch.float32,), (torch.float64, torch.float32)],
    "attrs": [(), (("mode", ("a",)),), (("mode", ("b",)),), (("mode", ("a", "b")), ("stride", ((2, 2),)))],
    "layout": ["any", "channels_last", "contiguous"],
    "label": ["", "t"],
    "priority": [0, 1],
    "oracle": [False, True],
}
kernels = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in OPTIONS.items()})
PROBLEMS = [
    (
        Problem(
            op="test",
            device=device,
            dtype=dtype,
            shapes=(("x", (1,)),),
            attrs=(("mode", mode), ("stride", stride)),
            channels_last=last,
        ),
        label,
    )
    for device, dtype, mode, stride, last, label in product(
        ("cpu",), (torch.float32, torch.float64), "ab", ((1, 1), (2, 2)), (False, True), ("", "t")
    )
]


@given(kernels, kernels)
def test_a_conflict_is_told_exactly_where_a_problem_would_fit_both(one: dict[str, Any], other: dict[str, Any]) -> None:
    first = Kernel(op="test", name="first", run=copy, **one)
    second = Kernel(op="test", name="second", run=copy, **other)
    table = KernelTable()
    table.add(first)
    key = ("device", "label", "priority", "oracle")
    shared = any(not first.refusal(p) and not second.refusal(p) and first.label == label for p, label in PROBLEMS)
    if shared and all(one[name] == other[name] for name in key):
        with pytest.raises(DeclarationError, match=r"'second' of operator 'test'.*fits the same problems as 'first'"):
            table.add(second)
        assert table.of("test") == (first,)
    else:
        table.add(second)
    assert first.conflicts_with(second) == second.conflicts_with(first)
    assert not first.conflicts_with(replace(second, priority=7))


@given(st.lists(kernels, max_size=6), st.sampled_from(PROBLEMS))
def test_every_kernel_is_a_candidate_or_says_why_not(specs: list[dict[str, Any]], asked: tuple[Problem, str]) -> None:
    problem, label = asked
    table = KernelTable()
    for number, spec in enumerate(specs):
        table.add(Kernel(op="test", name=f"k{number}", run=copy, supports=lambda p, n=number: None, **spec))  # type: ignore[misc]
    able, refusals = table.candidates(problem, label)
    assert {kernel.name for kernel in able} | refusals.keys() == {kernel.name for kernel in table}
    assert not {kernel.name for kernel in able} & refusals.keys()
    assert all(len(why) > 10 for why in refusals.values())
    assert all(kernel.label == label for kernel in able)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_our_own_operators_keep_what_they_declare(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    pattern = mz.Pattern.from_mask(torch.rand(3, 4, generator=generator) < 0.5)
    x, values = (torch.randn(shape, dtype=dtype, generator=generator) for shape in ((2, 4), (pattern.nnz,)))
    indices = (pattern.indices, pattern.transposed)
    gradient = ["gradient"] * (dtype == torch.float64)
    checks = ["opcheck", "kernels", "strides", *gradient]
    assert ops.selfcheck(ops.get("sparse_linear"), x, values, *indices, None, weight_shape=[3, 4]) == checks
    image, weight = (torch.randn(shape, dtype=dtype, generator=generator) for shape in ((1, 2, 5, 4), (2, 2, 3, 2)))
    assert ops.selfcheck(ops.get("conv2d"), image, weight, None, stride=[2, 1]) == checks


def test_every_registered_kernel_of_ours_can_take_the_call_of_its_operator() -> None:
    """Those that are added to the table without their operator are held to the same."""
    from mezzotint.ops.registration import signature_mistakes

    for name in ops.names():
        definition = ops.get(name).definition
        for kernel in KERNELS.of(name):
            assert not signature_mistakes(definition, kernel.run, into=kernel.into), (name, kernel.name)
