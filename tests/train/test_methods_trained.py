"""Does every method train from a configuration, survive a resume in the middle, and end at the density asked for?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mezzotint.sparse import METHODS, layer_nnz
from mezzotint.train import parse_config, train
from mezzotint.train.progress import Silent, StepView

SHAPES = {"fc1": (300, 64), "fc2": (100, 300), "fc3": (10, 100)}
STRUCTURES = {"nm": "1:4", "block": "2x4"}


class StopAt(Silent):
    """Asks the run to stop, as a signal would, after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, view: StepView) -> None:
        if view.step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", sorted(METHODS))
def test_trains_and_resumes_to_the_same_end(method: str, tmp_path: Path) -> None:
    structure = STRUCTURES.get(method)
    density = 0.25
    text = f"""
        threads = 1
        [data]
        source = "digits"
        batch_size = 128
        [model]
        name = "lenet_300_100"
        [sparsity]
        density = {density}
        method = "{method}"
        interval = 7
        {f'structure = "{structure}"' if structure else ""}
        [precision]
        mode = "bf16"
        [optimizer]
        lr = 0.05
        [schedule]
        epochs = 4
        [run]
        checkpoint_steps = 5
        samples = 0
    """
    config = parse_config(text)
    result = train(config, folder=tmp_path / "whole")
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["method"] == method
    assert summary["test_accuracy"] > 0.3
    expected = sum(layer_nnz(SHAPES, density).values()) if structure is None else summary["nnz"]
    assert summary["nnz"] == expected
    with pytest.raises(KeyboardInterrupt):
        train(config, folder=tmp_path / "cut", progress=StopAt(18))
    assert train(config, folder=tmp_path / "cut", resume=True).step == result.step
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
