"""Does the page for users of DeepSparse tell the truth? Its snippets are run in order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_models import content, model, node
from PIL import Image

from mezzotint.deploy.onnx.operators import OPERATORS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "from_deepsparse.md"


def pruned(batch: int | str) -> bytes:
    """A small network with zeros."""
    torch.manual_seed(0)
    weight = torch.randn(8, 3, 3, 3) * (torch.rand(8, 3, 3, 3) < 0.2)
    constants = {"w": weight, "fc": torch.randn(5, 8)}
    nodes = [
        node("Conv", "image w", "c", auto_pad="SAME_UPPER"),
        node("GlobalAveragePool", "c", "m"),
        node("Flatten", "m", "f"),
        node("Gemm", "f fc", "logits", transB=1),
    ]
    return content(model(nodes, {"image": (batch, 3, 32, 32)}, "logits", constants))


def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(pruned("N"))
    Path("fixed.onnx").write_bytes(pruned(1))
    Path("strange.onnx").write_bytes(content(model([node("TopK", "x", "y", "best")], {"x": (1, 4)}, "y")))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save("photo.png")
    snippets = re.findall(r"```python runs\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 7
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), names)
    told = capsys.readouterr().out
    assert re.search(r"^(ant|bee|cat|dog|eel) [01]\.\d{3}$", told, re.MULTILINE)
    assert "ms for 64 images, medians" in told
    assert "best (TopK): the operator is not known" in told
    assert [len(one) for one in names["outputs"]] == [64]  # type: ignore[attr-defined]


def test_the_number_of_operators_is_told() -> None:
    (number,) = re.findall(r"can be run: about (\d+), of", PAGE.read_text(encoding="utf-8"))
    assert abs(len(OPERATORS) - int(number)) <= 10
