"""Does whatever the grammar can say reach the kernel unchanged, through torch's dispatcher and compilers?"""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mezzotint.ops import OpDef, Operator, TensorSpec
from mezzotint.ops.dtypes import DTYPES, UNIONS

COUNTER = itertools.count()
WORDS = st.text(max_size=5)
TYPES = st.sampled_from(sorted(DTYPES))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": WORDS,
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "type": TYPES.map(DTYPES.__getitem__),
    "shape": st.lists(st.integers(0, 2**40), max_size=3),
}


@st.composite
def kinds(draw: st.DrawFn) -> tuple[str, st.SearchStrategy[Any]]:
    """(a kind as the grammar writes it, its values)."""
    scalar = draw(st.sampled_from(sorted(VALUES)))
    text, values = scalar, VALUES[scalar]
    if scalar == "string" and draw(st.booleans()):
        allowed = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
        text, values = f"{{{', '.join(map(repr, allowed))}}}", st.sampled_from(allowed)
    elif scalar == "type" and draw(st.booleans()):
        text = draw(st.sampled_from(sorted(UNIONS)))
        values = st.sampled_from([DTYPES[name] for name in UNIONS[text]])
    elif scalar == "int" and draw(st.booleans()):
        least = draw(st.integers(-3, 3))
        text, values = f"int >= {least}", st.integers(least, 2**63 - 1)
    if not draw(st.booleans()):
        return text, values
    least = draw(st.integers(0, 2))
    return f"list({text}, length >= {least})", st.lists(values, min_size=least, max_size=3)


@st.composite
def attributes(draw: st.DrawFn) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """(attributes as the grammar writes them, values of a call, what a call of only the needed ones comes to)."""
    from mezzotint.ops.attribute import value_text
    from mezzotint.ops.grammar import parse_attribute

    needed, optional, values, defaults = [], [], {}, {}
    for position in range(draw(st.integers(1, 5))):
        name = f"a{position}"
        kind, strategy = draw(kinds())
        values[name] = defaults[name] = draw(strategy)
        if draw(st.booleans()):
            defaults[name] = draw(strategy)
            optional.append(f"{name}: {kind} = {value_text(defaults[name], parse_attribute(f'{name}: {kind}').kind)}")
        else:
            needed.append(f"{name}: {kind}")
    return [*needed, *optional], values, defaults


SEEN: list[dict[str, Any]] = []


def recording(specs: list[str], *, lists: bool) -> Operator:
    """An operator with these attributes whose kernel keeps what it is given."""
    definition = OpDef(f"test_any::o{next(COUNTER)}").input("xs: N * T" if lists else "x: T").output("y: T")
    definition = definition.attr("T: floattype").attr("N: int") if lists else definition.attr("T: floattype")
    for spec in specs:
        definition = definition.attr(spec)

    def rule(inputs: Any, attrs: Any) -> TensorSpec:
        found: TensorSpec = inputs["xs"][0] if lists else inputs["x"]
        return found

    operator = definition.shape_rule(rule).gradient(slope).doc("Keeps its attributes.").register()

    @operator.kernel(name="keep")
    def keep(x: Any, **attrs: Any) -> Tensor:
        SEEN.append(attrs)
        made: Tensor = x[0] if lists else x
        return made * 2

    return operator


def slope(call: Any, gy: Tensor) -> dict[str, Any]:
    SEEN.append(dict(call.attrs))
    return {"xs": [gy * 2]} if "xs" in call.inputs else {"x": gy * 2}


@settings(max_examples=60)
@given(attributes(), st.booleans())
def test_every_attribute_reaches_kernel_and_gradient(drawn: Any, lists: bool) -> None:
    specs, values, defaults = drawn
    operator = recording(specs, lists=lists)
    x = torch.ones(2, requires_grad=True)
    given_ = [x] if lists else x
    needed = {spec.split(":")[0]: defaults[spec.split(":")[0]] for spec in specs if " = " not in spec}
    for attrs, expected in ((values, values), (needed, defaults)):
        SEEN.clear()
        operator(given_, **attrs).sum().backward()
        kernel, gradient = SEEN
        assert kernel == gradient == expected, operator.schema


@pytest.mark.parametrize("name", ["self", "kernel", "ctx", "args", "out", "device", "Tensor", "int", "shape", "type"])
def test_names_that_python_or_torch_use_themselves(name: str) -> None:
    operator = recording([f"{name}: int = 3"], lists=False)
    x = torch.ones(2)
    SEEN.clear()
    operator(x)
    operator(x, **{name: 4})
    operator.run("keep", x, **{name: 5})
    assert [attrs[name] for attrs in SEEN] == [3, 4, 5]


class Module(nn.Module):
    def __init__(self, operator: Operator, attrs: dict[str, Any]) -> None:
        super().__init__()
        self.operator, self.attrs = operator, attrs

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.operator([x, x], **self.attrs)
        return made + 1


EXPLICIT = {
    "words": ["z", ""],
    "types": [torch.int8, torch.float16],
    "to": torch.int16,
    "limit": 2.5,
    "word": "é\n\\",
}
DEFAULTS = {
    "words": ["a"],
    "types": [torch.float32],
    "shapes": [],
    "to": torch.float64,
    "limit": float("-inf"),
    "word": "ü\t",
}
SPECS = [
    "words: list(string) = ['a']",
    "types: list(type) = [float32]",
    "shapes: list(shape) = []",
    "to: type = float64",
    "limit: float = -inf",
    f"word: string = {DEFAULTS['word']!r}",
]


@pytest.mark.parametrize(
    ("attrs", "expected"), [({}, DEFAULTS), (EXPLICIT, {**DEFAULTS, **EXPLICIT})], ids=["defaults", "explicit"]
)
def test_odd_attributes_survive_compilation_export_and_saving(attrs: dict[str, Any], expected: dict[str, Any]) -> None:
    module, x = Module(recording(SPECS, lists=True), attrs), torch.ones(3)
    file = io.BytesIO()
    exported = torch.export.export(module, (x,))
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for run in (torch.compile(module, backend="aot_eager", fullgraph=True), exported.module(), loaded):
        SEEN.clear()
        assert run(x).tolist() == [3, 3, 3]
        assert next(iter(SEEN)) == expected
        assert len(SEEN) == 1
