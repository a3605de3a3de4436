"""Does what is made from the declarations say what they say: pages, export, typed calls, and the table of features?"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint import ops
from mezzotint.cli import main
from mezzotint.ops import OpDef, Operator, calls, export, page, stubs
from mezzotint.ops.dtypes import CODES, DTYPES
from mezzotint.ops.grammar import parse_argument, parse_attribute

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "reference" / "registration.md"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own: here other tests have registered operators and kernels."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_page_is_current() -> None:
    made = python(str(ROOT / "docs" / "build_reference.py"), "--check")
    assert made.returncode == 0, made.stdout + made.stderr


# -- one declaration with everything in it ------------------------------------------------------------------------


def rule(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
    return inputs["xs"][0], [inputs["xs"][0]] * attrs["N"]


@pytest.fixture(scope="module")
def op() -> Operator:
    made = (
        OpDef("test_reference::whole")
        .input("xs: N * T", "many")
        .input("scale: float32?", "one | none")
        .output("y: T")
        .output("zs: N * T", "as many")
        .attr("N: int >= 2", "how many")
        .attr("T: floattype")
        .attr("mode: {'SAME', 'VALID'}", "what to do")
        .attr("sizes: list(int >= 1, length = 2) = [1, 2]")
        .attr("words: list(string) = ['a']")
        .attr("to: type = float16")
        .attr("limit: float = inf")
        .commutative("xs")
        .stateful("it counts")
        .not_differentiable("it counts")
        .autocast("xs")
        .package("acme", "1.2")
        .since("1.1")
        .version(4)
        .deprecated("2.0", "use another")
        .shape_rule(rule)
        .doc("Does everything.", T="the type")
        .register()
    )
    made.kernel(
        name="fast",
        device="cuda",
        dtypes=(torch.float16,),
        attrs={"mode": "SAME", "sizes": ([1, 2], [2, 2])},
        layout="contiguous",
        label="trial",
        priority=3,
        supports=lambda problem: None,
    )(lambda xs, scale, **_: (xs[0], xs))
    made.kernel(name="slow", oracle=True)(lambda xs, scale, **_: (xs[0], xs))
    return made


def test_the_export_says_all_that_the_declaration_says(op: Operator) -> None:
    text = json.loads(export.to_json([op]))
    assert text["format"] == 1
    record = text["operators"][0]
    definition = op.definition
    assert [parse_argument(argument["spec"]) for argument in record["inputs"]] == definition.inputs
    assert [parse_argument(argument["spec"]) for argument in record["outputs"]] == definition.outputs
    assert [parse_attribute(attr["spec"]) for attr in record["attributes"]] == definition.attrs
    documented = [*record["inputs"], *record["attributes"], *record["outputs"]]
    assert {entry["name"]: entry["doc"] for entry in documented if entry["doc"]} == definition.texts
    assert (record["name"], record["version"], record["since"]) == ("test_reference::whole", 4, "1.1")
    assert record["package"] == {"name": "acme", "version": "1.2"}
    assert record["deprecated"] == {"version": "2.0", "why": "use another"}
    assert (record["stateful"], record["commutative"], record["aggregate"]) == ("it counts", ["xs"], False)
    assert record["gradient"] == "constant to its inputs: it counts"
    assert record["schema"].startswith("test_reference::whole(Tensor[] xs, Tensor? scale, str mode, ")
    assert [attr["name"] for attr in record["attributes"] if attr["inferred"]] == ["N", "T"]
    assert [attr.get("default") for attr in record["attributes"]] == [None, None, None, [1, 2], ["a"], "float16", "inf"]
    assert record["kernels"][0] == {
        "name": "fast",
        "device": "cuda",
        "dtypes": ["float16"],
        "types": {},
        "attributes": {"mode": ["SAME"], "sizes": [[1, 2], [2, 2]]},
        "layout": "contiguous",
        "label": "trial",
        "priority": 3,
        "conditional": True,
        "cost_model": False,
        "into": False,
        "oracle": False,
    }


def test_the_page_says_all_that_the_declaration_says(op: Operator) -> None:
    for text in (op.describe(), page.markdown(op)):
        for part in (
            "test_reference::whole",
            "Does everything.",
            'y, [zs, ...] = ops.get("test_reference::whole")([xs, ...], scale=None, *, mode, sizes=[1, 2], ',
            "words=['a'], to=float16, limit=inf)",
            "{'SAME', 'VALID'}",
            "list(int >= 1, length = 2)",
            "the type",
            "as many",
            "device=cuda",
            "label=trial",
            "the oracle",
            "autocast casts",
            "it counts; never folded, merged, dropped or timed",
            "4, from acme 1.1",
            "an error from acme 2.0 on: use another",
        ):
            assert part in text
    assert "one \\| none" in page.markdown(op)


def test_the_command_line_exports(op: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops", "json", "test_reference::whole"]) == 0
    assert json.loads(capsys.readouterr().out)["operators"][0] == export.record(op)
    assert main(["ops", "json"]) == 0
    assert {"conv2d", op.name} <= {entry["name"] for entry in json.loads(capsys.readouterr().out)["operators"]}
    assert main(["ops", "stubs"]) == 0
    assert "def sparse_conv2d(" in capsys.readouterr().out
    assert main(["ops", "stubs", "test_nobody"]) == 2
    assert "no operator is in the namespace 'test_nobody'; known: " in capsys.readouterr().err


# -- typed calls --------------------------------------------------------------------------------------------------

#: A stand-in for torch's own signatures, which a type checker takes half a minute to read.
TORCH = "class dtype: ...\nfloat32: dtype\nclass Tensor: ...\ndef zeros(*size: int) -> Tensor: ...\n"
PROGRAM = """
import torch
from torch import Tensor
import calls

x = torch.zeros(2)
y: Tensor = calls.conv2d(x, x)
calls.conv2d(x, x, None, stride=(1, 1), groups=2)
calls.sparse_linear(x, x, x, weight_shape=[2, 2])
first, rest = calls.whole([x, x], mode="SAME", sizes=(1, 2), words=["a"], to=torch.float32, limit=1)
z: list[Tensor] = rest
calls.conv2d(x)  # wrong: call-arg
calls.conv2d(x, 3)  # wrong: arg-type
calls.conv2d(x, x, stride=1)  # wrong: arg-type
calls.conv2d(x, x, groups="2")  # wrong: arg-type
calls.conv2d(x, x, strides=[1, 1])  # wrong: call-arg
calls.conv2d(x, x, x, [1, 1])  # wrong: call-arg
calls.conv2d(x=x, weight=x)  # wrong: call-arg
calls.sparse_linear(x, x, x)  # wrong: call-arg
calls.whole(x, mode="SAME")  # wrong: arg-type
calls.whole([x], mode="same")  # wrong: arg-type
calls.whole([x], mode="SAME", to="float32")  # wrong: arg-type
s: str = calls.conv2d(x, x)  # wrong: assignment
calls.no_such(x)  # wrong: attr-defined
"""


def test_a_type_checker_refuses_wrong_calls(op: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.pyi").write_text(TORCH, encoding="utf-8")
    named = [ops.get(name) for name in ("conv2d", "sparse_linear")]
    (tmp_path / "calls.pyi").write_text(stubs.stub([*named, op]), encoding="utf-8")
    (tmp_path / "user.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setenv("MYPYPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told, errors, _ = api.run(["--strict", "--no-incremental", "--cache-dir", str(tmp_path / "cache"), "user.py"])
    assert not errors
    found = {(int(line), code) for line, code in re.findall(r"^user\.py:(\d+): error: .*\[([\w-]+)\]$", told, re.M)}
    lines = enumerate(PROGRAM.splitlines(), start=1)
    wrong = {(number, match.group(1)) for number, line in lines if (match := re.search(r"# wrong: (\S+)", line))}
    assert {number for number, _ in found} == {number for number, _ in wrong}, told
    assert wrong <= found, told


def test_typed_calls_are_the_operators() -> None:
    assert calls.conv2d is ops.get("conv2d")
    assert "sparse_linear" in dir(calls)
    with pytest.raises(AttributeError, match="Did you mean 'conv2d'"):
        _ = calls.conv2


# -- the table of features ----------------------------------------------------------------------------------------


def rows() -> list[list[str]]:
    """The cells of every row of a feature."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "feature"]


def test_every_row_of_the_table_of_features_is_whole() -> None:
    assert len(rows()) > 50
    for row in rows():
        assert len(row) == 6, row
        assert all(row[:5]), row
        assert row[5] or row[4].startswith("no: "), f"{row[0]}: what is offered has a test"


@pytest.mark.parametrize("test", sorted({row[5].strip("`") for row in rows() if row[5]}))
def test_every_test_that_the_table_names_exists(test: str) -> None:
    file, _, name = test.partition("::")
    path = ROOT / "tests" / "ops" / file
    assert path.is_file()
    source = path.read_text(encoding="utf-8")
    function, _, row = name.partition("[")
    assert function in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert not row or f'"{row.rstrip("]")}": (' in source, "no such row in the test's table"


def test_the_guide_runs() -> None:
    """Every line of Python in it."""
    text = (ROOT / "docs" / "howto" / "operator.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) > 5
    made = python("-c", "\n".join(blocks))
    assert made.returncode == 0, made.stderr
    assert "chosen: builtin" in made.stdout


# -- torch's numbers of types -------------------------------------------------------------------------------------


def test_the_numbers_of_types_are_those_of_torch() -> None:
    library = torch.library.Library("test_codes", "FRAGMENT")
    for name, dtype in DTYPES.items():
        library.define(f"o_{name}(Tensor x, ScalarType t={name}) -> Tensor")
        default = getattr(torch.ops.test_codes, f"o_{name}").default._schema.arguments[1].default_value
        assert CODES[default] is dtype
    assert len(CODES) == len(DTYPES)
