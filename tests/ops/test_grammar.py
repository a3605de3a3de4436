"""Is every legal declaration read, and every illegal one told? After TensorFlow's own table of bad declarations."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.ops.grammar import DTYPES, UNIONS, Argument, Attr, GrammarError, parse_argument, parse_attribute


@pytest.mark.parametrize(
    ("text", "name", "type_", "optional", "number"),
    [
        ("x: T", "x", "T", False, None),
        ("bias: float32?", "bias", "float32", True, None),
        (" xs : N * T ", "xs", "T", False, "N"),
    ],
)
def test_arguments(text: str, name: str, type_: str, optional: bool, number: str | None) -> None:
    argument = parse_argument(text)
    assert (argument.name, argument.type, argument.optional, argument.number) == (name, type_, optional, number)


@pytest.mark.parametrize("text", ["X: T", "_x: T", "9: T", "x", "x: T extra", "x: Ref(T", "x: 9 * T", ""])
def test_bad_arguments(text: str) -> None:
    with pytest.raises(GrammarError, match="trouble reading the argument"):
        parse_argument(text)


def test_list_of_int_with_minimum_and_default() -> None:
    attr = parse_attribute("stride: list(int) >= 1 = [1, 1]")
    assert (attr.kind, attr.is_list, attr.minimum, attr.default) == ("int", True, 1, [1, 1])
    assert attr.problem_with([1, 0]) == "item 1 must be at least 1"
    assert attr.problem_with(1) == "must be a list of int"
    assert attr.problem_with([1, "2"]) == "item 1 must be of kind int"
    assert attr.problem_with((2, 3)) is None


def test_unions() -> None:
    padding = parse_attribute("padding: {'SAME', 'VALID',} = 'SAME'")
    assert padding.allowed == ("SAME", "VALID")
    assert padding.problem_with("FULL") == "must be one of SAME, VALID"
    types = parse_attribute("T: {float32, bfloat16} = float32")
    assert types.default is torch.float32
    assert types.problem_with(torch.float16) == "must be one of float32, bfloat16"
    assert set(parse_attribute("T: numbertype").allowed) <= DTYPES.keys()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("_: string", "trouble reading"),
        ("9: string", "trouble reading"),
        ("string", "trouble reading"),
        ("a: invalid", "unknown kind 'invalid'"),
        ("a: {}", "missing between the commas"),
        ("a: {,}", "missing between the commas"),
        ("a: {float32,,}", "missing between the commas"),
        ("a: {'s', float32}", "either all quoted strings or all types"),
        ("a: {float99}", "unknown type 'float99'"),
        ("a: list(tensor)", "a list holds one of"),
        ("a: float >= 2", "a minimum needs an int"),
        ("a: int >= b", "trouble reading"),
        ("a: int = 1.5", "must be of kind int"),
        ("a: int = true", "cannot read the default"),
        ("a: bool = 1", "must be of kind bool"),
        ("a: int >= 2 = 1", "must be at least 2"),
        ("a: {'x', 'y'} = 'z'", "must be one of x, y"),
        ("a: type = quux", "is no type"),
        ("a: int 3", "trouble reading"),
    ],
)
def test_bad_attributes(text: str, says: str) -> None:
    with pytest.raises(GrammarError, match=says.replace("(", r"\(")):
        parse_attribute(text)


@pytest.mark.parametrize(
    ("text", "fits", "misfits"),
    [
        ("a: string", ["", "x"], [3, None]),
        ("a: int", [0, -(2**63), 2**63 - 1], [True, 1.0, 2**63, "1"]),
        ("a: int >= -2", [-2], [-3]),
        ("a: float", [1, 0.5, math.inf, -(2**70)], [True, "1", 10**400]),
        ("a: bool", [True], [0, None]),
        ("a: type", [torch.bool, torch.complex64], ["float32", torch.quint8]),
        ("a: shape", [[], (1, 0), torch.Size([2])], [[-1], [1.0], 3]),
        ("a: list(string)", [[], ["a"], ("a",)], ["a", [1]]),
        ("a: list(bool)", [[True]], [[1]]),
        ("a: list(float)", [[1, 2.0]], [["1"], 1.0]),
        ("a: list(type)", [[torch.float32, torch.bool]], [["float32"]]),
        ("a: list(shape)", [[], [[1], []]], [[1], [[-1]]]),
        ("a: list({'a', 'b'})", [["a", "b", "a"]], [["c"], "a"]),
        ("a: list({float32, int8})", [[torch.int8]], [[torch.int16]]),
        ("a: list(realnumbertype)", [[torch.uint16]], [[torch.complex64], [torch.bool]]),
        ("a: list(int) >= 1", [[], [1, 2, 3]], [[0], [1, 0]]),
        ("a: list(int >= 1)", [[], [1]], [[0]]),
        ("a: list(int, length >= 2)", [[-5, 0], [1, 2, 3]], [[1], []]),
        ("a: list(int >= 1, length = 2)", [[1, 1]], [[1], [1, 1, 1], [0, 1]]),
        ("a: list({'a', 'b'}, length >= 1)", [["a"]], [[]]),
        ("a: {'SAME', 'VALID',}", ["SAME"], ["same", ""]),
        ("a: {'a, b', \"it's\"}", ["a, b", "it's"], ["a"]),
        ("a: numbertype", [torch.complex128, torch.int64], [torch.bool]),
        ("a: floattype", [torch.bfloat16], [torch.int64]),
        ("a: integertype", [torch.uint8], [torch.float16]),
    ],
)
def test_values_of_every_kind(text: str, fits: list[Any], misfits: list[Any]) -> None:
    attr = parse_attribute(text)
    for value in fits:
        assert attr.problem_with(value) is None, value
    for value in misfits:
        assert "must" in (attr.problem_with(value) or ""), value


def test_the_two_minima_of_a_list_are_told_apart() -> None:
    items, length = parse_attribute("a: list(int) >= 2"), parse_attribute("a: list(int, length >= 2)")
    assert items == parse_attribute("a: list(int >= 2)")
    assert items != length
    assert items.problem_with([5]) is None
    assert length.problem_with([5]) == "must have at least 2 items, not 1"
    assert items.problem_with([1, 1]) == "item 0 must be at least 2"
    assert length.problem_with([1, 1]) is None


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("a: int = -3", -3),
        ("a: float = -inf", -math.inf),
        ("a: float = 2", 2),
        ("a: bool = true", True),
        ("a: bool = False", False),
        ("a: string = 'x=y, >= 2'", "x=y, >= 2"),
        ("a: type = bfloat16", torch.bfloat16),
        ("a: list(type) = [float32, bool]", [torch.float32, torch.bool]),
        ("a: list(shape) = [[1, 2], []]", [[1, 2], []]),
        ("a: shape = [2, 3]", [2, 3]),
        ("a: list(string) = []", []),
        ("a: list(bool) = [true, False]", [True, False]),
        ("a: {'SAME', 'VALID',} = 'SAME'", "SAME"),
        ("a: int >= -9223372036854775808 = 9223372036854775807", 2**63 - 1),
    ],
)
def test_defaults(text: str, default: object) -> None:
    attr = parse_attribute(text)
    assert attr.has_default
    assert attr.default == default
    assert type(attr.default) is type(default)


def test_a_default_that_is_not_a_number() -> None:
    assert math.isnan(parse_attribute("a: float = nan").default)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,5}", fullmatch=True)
words = st.text(min_size=1, max_size=5)
types = st.sampled_from(sorted(DTYPES))
values = {
    "string": words,
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "type": types.map(DTYPES.__getitem__),
    "shape": st.lists(st.integers(0, 2**63 - 1), max_size=3),
}


@st.composite
def attributes(draw: st.DrawFn) -> Attr:
    """Any attribute that the grammar can say."""
    kind = draw(st.sampled_from(sorted(values)))
    allowed: tuple[str, ...] = ()
    if kind in ("string", "type") and draw(st.booleans()):
        choices = st.lists(words if kind == "string" else types, min_size=1, max_size=4, unique=True).map(tuple)
        allowed = draw(choices if kind == "string" else choices | st.sampled_from(sorted(UNIONS.values())))
    minimum = draw(st.none() | st.integers(-5, 5)) if kind == "int" else None
    item = values[kind]
    if allowed:
        item = st.sampled_from([DTYPES[name] for name in allowed] if kind == "type" else allowed)
    elif minimum is not None:
        item = st.integers(minimum, 2**63 - 1)
    listed = draw(st.booleans())
    least = draw(st.none() | st.integers(0, 3)) if listed else None
    most = draw(st.sampled_from([None, least])) if listed else None
    attr = Attr(
        name=draw(names), kind=kind, is_list=listed, allowed=allowed, minimum=minimum, min_length=least, max_length=most
    )
    if not draw(st.booleans()):
        return attr
    default = draw(st.lists(item, min_size=least or 0, max_size=3 if most is None else most) if listed else item)
    return Attr(**{**vars(attr), "default": default})


@given(attributes())
def test_what_is_written_is_read_again(attr: Attr) -> None:
    assert parse_attribute(str(attr)) == attr
    if attr.has_default:
        assert attr.problem_with(attr.default) is None


@given(names.map(str.lower), names, st.none() | names, st.booleans())
def test_arguments_are_read_again(name: str, type_: str, number: str | None, optional: bool) -> None:
    argument = Argument(name=name, type=type_, number=number, optional=optional)
    assert parse_argument(str(argument)) == argument


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for parse in (parse_attribute, parse_argument):
        with contextlib.suppress(GrammarError):  # nothing else may come out of it
            parse(text)
