"""Is every legal declaration read, and every illegal one told? After TensorFlow's own table of bad declarations."""

from __future__ import annotations

import pytest
import torch

from mezzotint.ops.grammar import DTYPES, GrammarError, parse_argument, parse_attribute


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
