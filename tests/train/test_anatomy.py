"""Are ages, pictures of patterns and filters those of the network, whatever its updates did?"""

from __future__ import annotations

import base64
import itertools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mezzotint.data.loader import Loader
from mezzotint.precision import Precision
from mezzotint.sparse import Pattern, SparseConv2d, SparseLinear, sparse_layers
from mezzotint.train import RunConfig, train
from mezzotint.train.anatomy import Ages, record
from mezzotint.train.evaluate import evaluate
from mezzotint.train.result import _confusion

Make = Callable[..., RunConfig]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def unpacked(text: str) -> Bytes:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)


def linear(mask: torch.Tensor) -> SparseLinear:
    return SparseLinear(mask.shape[1], mask.shape[0], pattern=Pattern.from_mask(mask), bias=False)


_MASKS = st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=6)


@given(_MASKS)
def test_ages_are_those_of_a_dense_count(masks: list[int]) -> None:
    drawn = [torch.tensor([value >> bit & 1 for bit in range(12)], dtype=torch.bool).view(3, 4) for value in masks]
    layer = linear(drawn[0])
    model = nn.Sequential(layer)
    ages = Ages(model)
    born = torch.zeros(3, 4, dtype=torch.int16)
    for update, (before, after) in enumerate(itertools.pairwise(drawn), start=1):
        layer.set_pattern(Pattern.from_mask(after), torch.zeros(int(after.sum())))
        ages.follow(model, ended=True)
        born[after & ~before] = update
    assert ages.updates == len(drawn) - 1
    assert torch.equal(ages.of("0"), born[drawn[-1]])
    again = Ages(model)
    again.load(ages.tensors())
    assert again.updates == ages.updates
    assert torch.equal(again.of("0"), ages.of("0"))
    older = Ages(model)
    older.load({})  # a checkpoint of an earlier version
    assert not older.of("0").any()


def test_a_picture_of_a_small_convolution_is_its_pattern() -> None:
    mask = torch.zeros(2, 3, 2, 2, dtype=torch.bool)
    mask[0, 0] = True
    mask[1, 2, 0, 1] = True
    model = nn.Sequential(SparseConv2d(3, 2, 2, pattern=Pattern.from_mask(mask), bias=False))
    ages = Ages(model)
    ages.updates = 4  # all of them from the beginning
    layer = record(model, ages, 9, (3, 8, 8))["layers"]["0"]
    assert (layer["rows"], layer["columns"], layer["shape"], layer["nnz"]) == (2, 3, [2, 3, 2, 2], 5)
    assert unpacked(layer["share"]).tolist() == [15, 0, 0, 0, 0, 4]
    assert unpacked(layer["age"]).tolist() == [15, 0, 0, 0, 0, 15]
    assert layer["born"] == [5, 0, 0, 0, 0]
    assert (layer["empty_outputs"], layer["empty_inputs"]) == (0, 1)


def test_a_picture_of_a_large_layer_shows_blocks_with_the_density_of_each() -> None:
    torch.manual_seed(0)
    mask = torch.rand(200, 500) < 0.3
    model = nn.Sequential(linear(mask))
    layer = record(model, Ages(model), 0, (1, 8, 8))["layers"]["0"]
    assert (layer["rows"], layer["columns"]) == (96, 128)
    rows, columns = torch.arange(200) * 96 // 200, torch.arange(500) * 128 // 500
    shown = unpacked(layer["share"]).reshape(96, 128)
    for row, column in ((0, 0), (95, 127), (40, 77)):
        block = mask[rows == row][:, columns == column].double()
        assert shown[row, column] == max(round(15 * float(block.mean())), int(block.any()))


@pytest.mark.parametrize("network", ["convolution", "linear", "dense"])
def test_filters_hold_the_first_layers_weights_and_gaps(network: str) -> None:
    torch.manual_seed(1)
    shape = (4, 2, 3, 3)
    mask = torch.rand(shape) < (1.1 if network == "dense" else 0.5)
    pattern = Pattern.from_mask(mask)
    first = {
        "convolution": lambda: SparseConv2d(2, 4, 3, pattern=pattern, bias=False),
        "linear": lambda: linear(mask.flatten(1)),
        "dense": lambda: nn.Conv2d(2, 4, 3),
    }[network]()
    model = nn.Sequential(first)
    filters = record(model, Ages(model), 0, (2, 3, 3))["filters"]
    assert (filters["layer"], filters["shape"], filters["of"]) == ("0", list(shape), 4)
    shown = torch.from_numpy(unpacked(filters["weights"]).copy()).view(shape).int() - 128
    assert torch.equal(shown == -128, ~mask)
    weight = first.dense_weight() if hasattr(first, "dense_weight") else first.weight
    close = (shown / 127 * filters["largest"])[mask]
    assert torch.allclose(close, weight.detach().view(shape)[mask], atol=filters["largest"] / 250)


def test_a_linear_layer_that_is_no_picture_has_no_filters() -> None:
    model = nn.Sequential(nn.Linear(7, 3))
    assert record(model, Ages(model), 0, (1, 2, 2))["filters"] is None


def test_a_run_records_patterns_ages_worst_mistakes_and_times(small: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = train(small(), folder=folder)
    found = json.loads((folder / "patterns.json").read_text())
    assert (found["step"], found["updates"]) == (28, 4)
    assert set(found["layers"]) == set(layers_of(folder))
    for layer in found["layers"].values():
        assert sum(layer["born"]) == layer["nnz"]
    assert sum(layer["born"][-1] for layer in found["layers"].values()) > 0
    times = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()]
    epochs = [row for row in times if "epoch" in row]
    assert [row["epoch"] for row in epochs] == [0, 1]
    assert all(row["seconds"] > row["tested"] > 0 and row["waited"] > 0 for row in epochs)
    mistakes = json.loads((folder / "mistakes.json").read_text())
    wrong = 360 - sum(mistakes["confusion"][index][index] for index in range(10))
    assert len(mistakes["worst"]) == min(wrong, 24) > 0
    shares = [one["true_probability"] for one in mistakes["worst"]]
    assert shares == sorted(shares)
    assert all(one["true"] != one["chosen"] and (folder / one["file"]).is_file() for one in mistakes["worst"])
    assert result.summary is not None


def layers_of(folder: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found: dict[str, Any] = next(row["layers"] for row in rows if row["kind"] == "epoch")
    return found


def test_many_classes_are_recorded_as_pairs() -> None:
    counts = torch.zeros(300, 300, dtype=torch.int64)
    counts.fill_diagonal_(5)
    counts[3, 7], counts[8, 1], counts[3, 9] = 2, 4, 2
    found = _confusion(counts)
    assert found["pairs"] == [[8, 1, 4], [3, 7, 2], [3, 9, 2]]
    assert (found["images"][3], found["right"][3]) == (9, 5)


class Reads(nn.Module):
    """Logits from the first pixels of the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3].float()


def test_the_worst_mistakes_are_those_of_all_batches() -> None:
    class Source:
        classes = ("a", "b", "c")

        def __len__(self) -> int:
            return 40

        def read(self, index: int) -> tuple[torch.Tensor, int]:
            generator = torch.Generator().manual_seed(index)
            return torch.randint(0, 256, (2, 2, 1), generator=generator, dtype=torch.uint8), index % 3

        def name(self, index: int) -> str:
            return f"image {index}"

        def describe(self) -> str:
            return "noise"

    source = Source()
    loader = Loader(source, batch_size=7, shuffle=False)
    found = evaluate(Reads(), loader, Precision("fp32"), 3)
    expected = []
    for index in range(40):
        image, label = loader.sample_at(0, index)
        shares = (image.flatten()[:3].float() / 255).softmax(0)
        if int(shares.argmax()) != label:
            expected.append((float(shares[label]), index))
    assert [one.sample for one in found.worst] == [index for _, index in sorted(expected)[:24]]
    assert len(expected) == found.count - found.correct
    assert sparse_layers(Reads()) == {}
