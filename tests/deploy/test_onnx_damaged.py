"""Are damaged files refused in words, whatever is wrong with them, within bounds of memory and time?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from onnx_models import content, model, node

from mezzotint.deploy import load_onnx
from mezzotint.errors import CheckpointError, UnsupportedModel

COUNT = 500


@pytest.mark.timeout(120)
def test_five_hundred_mutations_end_in_a_model_or_an_error() -> None:
    """In a process that may take 1 GiB more than PyTorch itself, and no second a file."""
    program = Path(__file__).with_name("onnx_mutations.py")
    done = subprocess.run([sys.executable, program, str(COUNT), "1024"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["read"] + report["refused"] == COUNT
    assert report["refused"] > COUNT // 2
    assert report["run"] > COUNT // 20  # damage to a weight's numbers does no harm to the reading
    assert report["slowest"] < 5.0  # of processor time: a bound against hanging, not a measurement


def refused(made: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_onnx(made)
    return str(caught.value)


def test_what_contradicts_itself_is_named() -> None:
    relu = node("Relu", "x", "y", "r")
    assert "reads 'x', which nothing before it makes" in refused(content(model([relu], {"z": (1,)}, "y")))
    cycle = [node("Relu", "b", "a"), node("Relu", "a", "b")]
    assert "reads 'b', which nothing before it makes" in refused(content(model(cycle, {"x": (1,)}, "a")))
    assert "output 'w' that no node makes" in refused(content(model([relu], {"x": (1,)}, "w")))
    assert "two nodes that make 'y'" in refused(content(model([relu, relu], {"x": (1,)}, "y")))
    assert "operator set 6; 7 to" in refused(content(model([relu], {"x": (1,)}, "y", opset=6)))
    assert "operator set 99" in refused(content(model([relu], {"x": (1,)}, "y", opset=99)))
    assert "no whole" not in refused(b"\x89PNG\r\n")
    assert "an empty file" in refused(b"")
    short = model([node("Add", "x c", "y")], {"x": (4,)}, "y", {"c": torch.ones(4)})
    assert short.graph is not None
    short.graph.initializer[0].raw_data = b"\0" * 12
    assert "12 bytes for 4 numbers" in refused(content(short))


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    wide = {"huge": torch.tensor([1 << 20, 1 << 20])}
    for nodes in (
        [node("ConstantOfShape", "huge", "y")],
        [node("Expand", "x huge", "y")],
        [node("Tile", "x huge", "y")],
    ):
        with pytest.raises(UnsupportedModel):
            load_onnx(content(model(nodes, {"x": (1, 1)}, "y", wide)))
    column, row = torch.ones(1 << 15, 1), torch.ones(1, 1 << 15)
    sum_of = [node("Add", "column row", "z"), node("Add", "x z", "y")]
    with pytest.raises(UnsupportedModel, match="more than 1024 MiB"):
        load_onnx(content(model(sum_of, {"x": (1, 1)}, "y", {"column": column, "row": row})))
