"""Does every bad declaration, look-up, kernel and call say operator, field, what came and what is allowed?

The rows are those of TensorFlow's own tests of its registration (op_def_builder_test, op_def_util_test, op_kernel_test,
node_def_util_test), and ours beyond them. Everything about an operator or a kernel fails when it is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mezzotint import ops
from mezzotint.errors import DeclarationError, NoKernel, NotRegistered, ShapeError
from mezzotint.kernels import KERNELS
from mezzotint.ops import OpDef, Operator, TensorSpec
from mezzotint.ops.opdef import Specs


def same_shape(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    found = inputs["x"]
    assert found is not None
    return found


def good(name: str = "test_bad") -> OpDef:
    """A declaration without a mistake; each row adds one."""
    return OpDef(name).input("x: T").output("y: T").attr("T: floattype").shape_rule(same_shape).doc("Does nothing.")


Change = Callable[[OpDef], OpDef]


def attr(spec: str) -> Change:
    return lambda op: op.attr(spec)


def argument(spec: str) -> Change:
    return lambda op: op.input(spec)


def output(spec: str) -> Change:
    return lambda op: op.output(spec)


# (what is added to a good declaration, what the message says)
DECLARATIONS: dict[str, tuple[Change, tuple[str, ...]]] = {
    # attributes
    "attr name _": (attr("_: string"), ("attribute '_: string'", "write it as 'name: kind'")),
    "attr name 9": (attr("9: string"), ("attribute '9: string'", "write it as 'name: kind'")),
    "attr without name": (attr("string"), ("attribute 'string'", "write it as 'name: kind'")),
    "attr unknown kind": (attr("a: invalid"), ("'a: invalid'", "'invalid'", "known: string, int, float")),
    "attr no values": (attr("a: {}"), ("'a: {}'", "an allowed value is missing")),
    "attr only a comma": (attr("a: {,}"), ("'a: {,}'", "an allowed value is missing")),
    "attr two commas": (attr("a: {float32,,}"), ("'a: {float32,,}'", "an allowed value is missing")),
    "attr mixed values": (attr("a: {'s', float32}"), ("all quoted strings or all types",)),
    "attr value twice": (attr("a: {'s', 's'}"), ("named twice",)),
    "attr unknown type": (attr("a: {float99}"), ("'float99'", "known: float32")),
    "attr not closed": (attr("a: {'s'"), ("trouble reading", "a: {'s'")),
    "attr minimum no number": (attr("a: int >= b"), ("trouble reading", "a: int >= b")),
    "attr minimum of 65 bits": (attr("a: int >= 9223372036854775808"), ("'a'", "9223372036854775808", "64 bits")),
    "attr minimum of a string": (attr("a: string >= 1"), ("'a'", "'string'", "a minimum needs an int")),
    "attr minimum of a list of strings": (attr("a: list(string) >= 2"), ("list(string, length >= 2)",)),
    "attr minimum twice": (attr("a: list(int >= 1) >= 2"), ("'a'", "the minimum of the items is given twice")),
    "attr negative length": (attr("a: list(int, length >= -1)"), ("'a'", "at least 0, not -1")),
    "attr list not closed": (attr("a: list(int"), ("trouble reading", "the list is not closed")),
    "attr list of lists": (attr("a: list(list(int))"), ("a list holds one of", "'list'")),
    "attr tensor": (attr("a: tensor"), ("'tensor'", "A tensor is an input")),
    "attr func": (attr("a: func"), ("'func'", "known: string")),
    "default of the wrong kind": (attr("a: int = 1.5"), ("'a'", "default 1.5", "must be of kind int")),
    "default unreadable": (attr("a: int = one"), ("'a'", "'one'", "allowed: a value of int")),
    "default below the minimum": (attr("a: int >= 2 = 1"), ("'a'", "default 1", "must be at least 2")),
    "default not allowed": (attr("a: {'x', 'y'} = 'z'"), ("'a'", "'z'", "must be one of x, y")),
    "default of 65 bits": (attr("a: int = 9223372036854775808"), ("'a'", "64 bits")),
    "default no type": (attr("a: type = quux"), ("'a'", "'quux'", "known: float32")),
    "default too short": (attr("a: list(int, length = 2) = [1]"), ("'a'", "[1]", "exactly 2 items, not 1")),
    "text after the default": (attr("a: string = 'x' more"), ("'a'", "'x' more")),
    "text after the kind": (attr("a: int 3"), ("trouble reading", "'3' is left over")),
    "attr named like a type": (attr("float32: int"), ("'float32'", "named like a type", "any name but")),
    "attr named like a union": (attr("numbertype: int"), ("'numbertype'", "named like a type")),
    "attr named like Python's": (attr("lambda: int"), ("'lambda'", "a word of Python's")),
    "attr after defaults": (lambda op: op.attr("a: int = 1").attr("b: int"), ("'b' has no default but follows",)),
    # inputs and outputs
    "input in capitals": (argument("CAPS: T"), ("argument 'CAPS: T'", "the name in lower case")),
    "input name _": (argument("_x: T"), ("argument '_x: T'", "the name in lower case")),
    "input name 9": (argument("9: T"), ("argument '9: T'", "the name in lower case")),
    "output in capitals": (output("CAPS: T"), ("argument 'CAPS: T'", "the name in lower case")),
    "input without type": (argument("z"), ("argument 'z'", "write it as 'name: type'")),
    "input of an unknown type": (argument("z: Q"), ("'z'", "unknown type 'Q'", "allowed: T, float32")),
    "output of an unknown type": (output("z: Q"), ("'z'", "unknown type 'Q'", "allowed: T, float32")),
    "input of an attr that is no type": (
        lambda op: op.input("z: k").attr("k: int"),
        ("'z'", "'k', which is no type", "received 'int'", "allowed: type or list(type)"),
    ),
    "input times a type": (argument("z: 9*int32"), ("'z: 9*int32'", "'name: number * type'")),
    "reference not closed": (argument("z: Ref(T"), ("'z: Ref(T'", "a reference is not offered")),
    "reference": (argument("z: Ref(T)"), ("'z: Ref(T)'", "Operators are pure")),
    "text after an input": (argument("z: T more"), ("'z: T more'", "trouble reading")),
    "length unknown": (argument("z: N * T"), ("'z'", "length 'N'", "allowed: one, such as 'N: int >= 1'")),
    "length no int": (lambda op: op.input("z: N * T").attr("N: float"), ("'z'", "'N'", "no int attribute")),
    "length a list": (lambda op: op.input("z: N * T").attr("N: list(int)"), ("'z'", "'N'", "no int attribute")),
    "length negative": (
        lambda op: op.input("z: N * T").attr("N: int >= -1"),
        ("'z'", "'N'", "minimum is -1", "allowed: 0 or more"),
    ),
    "length and list of types": (
        lambda op: op.input("z: N * Ts").attr("N: int").attr("Ts: list(type)"),
        ("'z'", "a list has one of the two"),
    ),
    "optional list": (lambda op: op.input("z: N * T?").attr("N: int"), ("'z'", "an optional list", "minimum of 0")),
    "optional output": (output("z: T?"), ("'z' is optional", "outputs are always there")),
    "output only of optional inputs": (
        lambda op: op.input("z: B?").output("w: B").attr("B: floattype"),
        ("'w'", "'B', which only optional inputs give", "give the attribute a default"),
    ),
    # documentation and rules
    "doc twice": (lambda op: op.doc("Again."), ("the doc is given twice", "allowed: once")),
    "doc of an unknown name": (lambda op: op.doc("", xx="?"), ("'xx'", "known: x, y, T", "Did you mean 'x'?")),
    "argument documented twice": (lambda op: op.doc("", x="a").doc("", x="b"), ("'x' is documented twice",)),
    "shape rule twice": (lambda op: op.shape_rule(same_shape), ("the shape rule is given twice", "allowed: once")),
    "gradient twice": (
        lambda op: op.gradient(lambda call, gy: {}).gradient(lambda call, gy: {}),
        ("the gradient is given twice",),
    ),
    "gradient that takes too little": (
        lambda op: op.gradient(lambda call: {}),
        ("the gradient is rule(call)", "allowed: rule(call, grad_y)"),
    ),
    "gradient of a constant": (
        lambda op: op.gradient(lambda call, gy: {}).not_differentiable("it counts"),
        ("there is a gradient, and it is called not differentiable",),
    ),
    # the whole
    "name used twice": (argument("T: T"), ("argument 'T: T'",)),
    "name of attr and input": (attr("x: int"), ("'x' is used twice", "allowed: once")),
    "autocast of an unknown input": (lambda op: op.autocast("z"), ("autocast names the unknown input 'z'",)),
    "autocast of an attr": (lambda op: op.autocast("T"), ("autocast names the unknown input 'T'",)),
    "density of unknown names": (lambda op: op.density("v", "s"), ("unknown input 'v'", "'s', which is no list(int)")),
    "commutative unknown": (lambda op: op.commutative("x", "z"), ("commutative names the unknown input 'z'",)),
    "commutative alone": (lambda op: op.commutative("x"), ("commutative needs two inputs",)),
    "commutative of two types": (
        lambda op: op.input("z: int32").commutative(),
        ("commutative inputs must be of one type: x, z",),
    ),
    "aggregate of one tensor": (lambda op: op.aggregate(), ("an aggregate has one input 'xs: N * T'",)),
    "version of the operator": (lambda op: op.version(0), ("version is 0", "allowed: 1 or more")),
    "since nothing": (lambda op: op.since("soon"), ("since names the version 'soon'", "such as '0.2'")),
    "deprecated in words": (lambda op: op.deprecated("soon", "why"), ("deprecated names the version 'soon'",)),
    "deprecated without reason": (lambda op: op.deprecated("0.2", ""), ("a deprecation says why",)),
    "package without version": (lambda op: op.package("acme", ""), ("('acme', '')", "a name and a version")),
}


@pytest.mark.parametrize("row", DECLARATIONS)
def test_bad_declarations(row: str) -> None:
    change, parts = DECLARATIONS[row]
    with pytest.raises(DeclarationError) as caught:
        change(good()).register()
    told = str(caught.value)
    assert told.startswith("operator 'test_bad' cannot be registered: ")
    for part in parts:
        assert part in told
    assert "test_bad" not in ops.names()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Camel", "lower_case_with_underscores"),
        ("9lives", "lower_case_with_underscores"),
        ("a::b::c", "lower_case_with_underscores"),
        ("", "lower_case_with_underscores"),
        ("mezzotint::test_bad", "goes without saying"),
    ],
)
def test_bad_names(name: str, says: str) -> None:
    with pytest.raises(DeclarationError, match=says) as caught:
        good(name).register()
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        (OpDef("test_bad").output("y: float32").doc("."), "the shape rule is missing"),
        (
            OpDef("test_bad").output("y: float32").attr("device: string").shape_rule(same_shape).doc("."),
            "attribute 'device' is there without saying",
        ),
        (
            OpDef("test_bad").output("y: float32").shape_rule(same_shape).gradient(lambda call, gy: {}).doc("."),
            "there is a gradient; allowed where there are inputs and outputs",
        ),
        (OpDef("test_bad").input("x: float32?").shape_rule(same_shape).doc("."), "every input is optional"),
        (OpDef("test_bad").input("x: float32").shape_rule(same_shape).doc("."), "no output is declared: .* stateful"),
        (OpDef("test_bad").input("x: float32").output("y: float32").doc("."), "the shape rule is missing"),
        (
            OpDef("test_bad").input("x: float32").output("y: float32").shape_rule(same_shape),
            "a doc sentence is missing",
        ),
        (
            OpDef("test_bad").input("x: float32").output("y: float32").doc(".").shape_rule(lambda inputs: None),  # type: ignore[arg-type,misc]
            r"the shape rule is rule\(inputs\); allowed: rule\(inputs, attrs\)",
        ),
    ],
)
def test_missing_parts(definition: OpDef, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        definition.register()


def test_all_mistakes_are_told_at_once_in_the_order_of_the_declaration() -> None:
    with pytest.raises(DeclarationError) as caught:
        good().attr("a: {}").input("z: Q").doc("Again.").deprecated("soon", "").register()
    told = str(caught.value)
    parts = ["'a: {}'", "the doc is given twice", "unknown type 'Q'", "the version 'soon'", "a deprecation says why"]
    assert all(part in told for part in parts)
    assert [told.index(part) for part in parts] == sorted(told.index(part) for part in parts)


# -- look-up ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def op() -> Operator:
    definition = (
        good("test_bad_calls")
        .input("z: T?")
        .input("bias: V?")
        .attr("V: {float32, float64}")
        .attr("k: int >= 1 = 1")
        .attr("mode: {'a', 'b'} = 'a'")
        .attr("sizes: list(int >= 1, length = 2) = [1, 1]")
        .attr("by: float = 1.0")
        .attr("whole: bool = false")
        .attr("to: floattype = float32")
        .attr("names: list({'n', 'm'}) = []")
        .attr("like: shape = [1]")
    )
    operator = definition.register()
    operator.kernel(name="plain")(lambda x, *_, **__: x + 0)
    return operator


def test_an_unknown_operator_lists_all(op: Operator) -> None:
    with pytest.raises(NotRegistered) as caught:
        ops.get("test_bad_cals")
    for part in ("no operator 'test_bad_cals'", "sparse_conv2d", "Did you mean 'test_bad_calls'?"):
        assert part in str(caught.value)


def test_a_second_operator_of_a_name_is_refused(op: Operator) -> None:
    with pytest.raises(DeclarationError, match="'test_bad_calls' is registered already"):
        good("test_bad_calls").register()
    assert ops.get("test_bad_calls") is op


def test_a_name_that_torch_has_is_refused() -> None:
    library = torch.library.Library("test_taken", "FRAGMENT")
    library.define("here(Tensor x) -> Tensor")
    with pytest.raises(DeclarationError, match="'test_taken::here' cannot be registered: torch has an operator"):
        good("test_taken::here").register()
    assert "test_taken::here" not in ops.names()


# -- kernels ------------------------------------------------------------------------------------------------------

KERNEL_ROWS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no device": ({"device": "gpu"}, ("device: received 'gpu'", "allowed: 'any' or a device type")),
    "a single device": ({"device": "cuda:1"}, ("device: received 'cuda:1'", "allowed")),
    "type that the input cannot have": (
        {"dtypes": [torch.int8]},
        ("dtypes: received int8", "allowed: float32, float64, float16, bfloat16, the types of 'x'"),
    ),
    "absent attribute": ({"attrs": {"kk": 1}}, ("attrs: received 'kk'", "allowed: T, V, k", "Did you mean 'k'?")),
    "attribute below its minimum": ({"attrs": {"k": 0}}, ("attrs: k must be at least 1; received 0",)),
    "attribute not allowed": ({"attrs": {"mode": ("a", "c")}}, ("attrs: mode must be one of a, b; received 'c'",)),
    "attribute of the wrong kind": ({"attrs": {"by": "2"}}, ("attrs: by must be of kind float; received '2'",)),
    "no value left": ({"attrs": {"mode": ()}}, ("attrs: mode has no value left", "allowed: {'a', 'b'}")),
    "type that an attribute cannot have": (
        {"attrs": {"V": torch.float16}},
        ("attrs: V must be one of float32, float64; received torch.float16",),
    ),
    "layout": ({"layout": "NHWC"}, ("layout: received 'NHWC'", "allowed: any, contiguous, channels_last")),
    "oracle with a label": ({"oracle": True, "label": "t"}, ("an oracle has no label",)),
    "no name": ({"name": "<lambda>"}, ("name: received '<lambda>'", "allowed: an identifier")),
    "a second one of the name": ({"name": "plain"}, ("'plain'", "registered already")),
    "the same key and priority": (
        {"name": "again"},
        (
            "'again'",
            "fits the same problems as 'plain'",
            "at the same priority, 0",
            "another priority, a cost, a label",
        ),
    ),
}


@pytest.mark.parametrize("row", KERNEL_ROWS)
def test_bad_kernels(row: str, op: Operator) -> None:
    spec, parts = KERNEL_ROWS[row]
    with pytest.raises(DeclarationError) as caught:
        op.kernel(**{"name": "bad", **spec})(lambda x, *_, **__: x)
    told = str(caught.value)
    for part in (*parts, "'test_bad_calls'"):
        assert part in told
    assert [kernel.name for kernel in op.kernels()] == ["plain"]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda x, **_: x, "too many positional arguments"),
        (lambda x, z, bias, k: x, "unexpected keyword argument 'mode'|got an unexpected"),
        (lambda *_, extra, **__: None, "missing a required .*'extra'"),
        (3, "a kernel is a function, not int"),
    ],
)
def test_a_kernel_that_cannot_take_the_call_is_refused(run: Any, says: str, op: Operator) -> None:
    with pytest.raises(DeclarationError, match=says):
        op.kernel(name="bad")(run)


def test_a_kernel_into_takes_the_outputs_first(op: Operator) -> None:
    with pytest.raises(DeclarationError, match=r"cannot take the call \(y, x, z, bias, k=\.\.\."):
        op.kernel(name="bad", into=True)(lambda x, z, bias, **_: None)


def test_several_mistakes_of_a_kernel_are_told_at_once(op: Operator) -> None:
    with pytest.raises(DeclarationError) as caught:
        op.kernel(name="bad", device="gpu", dtypes=(torch.int8,), attrs={"q": 1}, layout="up")(lambda: None)
    for part in ("'gpu'", "int8", "'q'", "'up'", "cannot take the call"):
        assert part in str(caught.value)


def test_a_kernel_of_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(NotRegistered, match="no operator 'test_no_such'"):
        ops.get("test_no_such").kernel()(lambda x: x)


def test_a_miss_names_problem_and_every_refusal() -> None:
    operator = good("test_bad_miss").input("v: V").attr("V: floattype").attr("k: int >= 1 = 1").register()

    def run(x: Tensor, v: Tensor, *, k: int) -> Tensor:
        return x

    with pytest.raises(NoKernel, match="Kernels of test_bad_miss: none is registered"):
        operator(torch.zeros(2), torch.zeros(2))
    operator.kernel(name="far", device="cuda")(run)
    operator.kernel(name="half", dtypes=(torch.float16,), priority=1)(run)
    operator.kernel(name="by_k", attrs={"k": (2, 3)}, priority=2)(run)
    operator.kernel(name="by_v", attrs={"V": torch.float64}, priority=3)(run)
    operator.kernel(name="last", layout="channels_last", priority=4)(run)
    operator.kernel(name="trial", label="trial")(run)
    operator.kernel(name="picky", supports=lambda problem: "it likes only Mondays")(run)
    with pytest.raises(NoKernel) as caught:
        operator(torch.zeros(2), torch.zeros(2))
    told = str(caught.value)
    for part in (
        "test_bad_miss x[2] v[2] k=1 float32 on cpu",
        "far: it runs on cuda, the tensors are on cpu",
        "half: it takes float16, the activations are float32",
        "by_k: it takes k = 2 or 3, the call has 1",
        "by_v: it takes v of type float64, the call has float32",
        "last: it takes channels_last activations, these are contiguous",
        "trial: it has the label 'trial', which is not asked for",
        "picky: it likes only Mondays",
    ):
        assert part in told
    assert len(KERNELS.of("test_bad_miss")) == 7


# -- calls --------------------------------------------------------------------------------------------------------

X = torch.zeros(2)
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[str, ...]]] = {
    "no input": ((), {}, ("arguments", "nothing for x", "test_bad_calls(x, z=None, bias=None, *, k=1")),
    "too many inputs": ((X,) * 14, {}, ("arguments", "14 of them", "test_bad_calls(x, z=None")),
    "unknown attribute": ((X,), {"kk": 1}, ("attribute: received kk", "allowed: k, mode", "Did you mean 'k'?")),
    "no tensor": ((3,), {}, ("x: received int", "allowed: a tensor")),
    "nothing for an input": ((None,), {}, ("x: received None", "not optional")),
    "type not allowed": ((X.int(),), {}, ("x dtype: received torch.int32", "float32, float64, float16, bfloat16")),
    "types that differ": ((X, X.double()), {}, ("z dtype: received torch.float64", "the type T of the input 'x'")),
    "type of another input": ((X, None, X.half()), {}, ("bias dtype: received torch.float16", "float32, float64")),
    "value not allowed": ((X,), {"mode": "c"}, ("mode must be one of a, b; received 'c'",)),
    "value below the minimum": ((X,), {"k": 0}, ("k must be at least 1; received 0",)),
    "item below the minimum": ((X,), {"sizes": [1, 0]}, ("sizes item 1 must be at least 1; received [1, 0]",)),
    "list too short": ((X,), {"sizes": [1]}, ("sizes must have exactly 2 items, not 1; received [1]",)),
    "item not allowed": ((X,), {"names": ["n", "o"]}, ("names item 1 must be one of n, m; received ['n', 'o']",)),
    "int as words": ((X,), {"k": "2"}, ("k must be of kind int; received '2'",)),
    "int of 65 bits": ((X,), {"k": 2**63}, ("k must fit in 64 bits", "9223372036854775808")),
    "float as words": ((X,), {"by": "2"}, ("by must be of kind float; received '2'",)),
    "bool as words": ((X,), {"whole": "yes"}, ("whole must be of kind bool; received 'yes'",)),
    "list of words": ((X,), {"sizes": ["a", 1]}, ("sizes item 0 must be of kind int",)),
    "number for a list": ((X,), {"names": 3}, ("names must be a list of string; received 3",)),
    "type as words": ((X,), {"to": "float32"}, ("to must be of kind type; received 'float32'",)),
    "type that is not allowed": ((X,), {"to": torch.int8}, ("to must be one of float32", "received torch.int8")),
    "negative shape": ((X,), {"like": [-1]}, ("like must be a shape", "received [-1]")),
    "nothing for an attribute": ((X,), {"k": None}, ("k must be of kind int; received None",)),
}


@pytest.mark.parametrize("row", CALLS)
def test_bad_calls(row: str, op: Operator) -> None:
    inputs, attrs, parts = CALLS[row]
    with pytest.raises(ShapeError) as caught:
        op(*inputs, **attrs)
    told = str(caught.value)
    assert "test_bad_calls" in told
    for part in parts:
        assert part in told


def test_a_missing_attribute_is_named() -> None:
    operator = good("test_bad_required").attr("k: int").attr("names: list(string)").register()
    operator.kernel(name="plain")(lambda x, **_: x + 0)
    with pytest.raises(
        ShapeError, match=r"test_bad_required: arguments: received nothing for k, names; allowed: test_"
    ):
        operator(torch.zeros(2))


def test_a_bad_call_after_a_good_one_of_the_same_shapes_is_refused(op: Operator) -> None:
    """What is remembered of a good call must not let pass one whose types differ."""
    x = torch.zeros(2)
    op(x, None, x)
    with pytest.raises(ShapeError, match=r"bias dtype: received torch\.float16"):
        op(x, None, x.half())
    with pytest.raises(ShapeError, match=r"z dtype: received torch\.float64"):
        op(x, x.double(), x)


def test_an_error_of_a_kernel_is_not_taken_for_one_of_the_call() -> None:
    operator = good("test_bad_inside").register()

    @operator.kernel(name="fails")
    def fails(x: Tensor) -> Tensor:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        operator(torch.zeros(2))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda x: TensorSpec(x.shape, torch.float64), r"y of the shape rule: received float64; allowed: float32"),
        (lambda x: (x, x), r"received 2 outputs of the shape rule; allowed: 1, as declared"),
        (lambda x: [x], r"y of the shape rule: received list; allowed: a TensorSpec"),
    ],
)
def test_a_shape_rule_that_breaks_the_declaration_is_told(made: Any, says: str) -> None:
    name = f"test_bad_rule_{abs(hash(says)) % 10**8}"
    definition = OpDef(name).input("x: T").output("y: T").attr("T: floattype").doc("Does nothing.")
    operator = definition.shape_rule(lambda inputs, attrs: made(inputs["x"])).register()  # type: ignore[no-any-return]
    operator.kernel(name="plain")(lambda x: x + 0)
    with pytest.raises(ShapeError, match=says):
        operator(torch.zeros(2))
