"""Are CIFAR's binary files read as they are, and are truncated ones told?"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.data.source import open_source
from mezzotint.data.sources import cifar
from mezzotint.data.sources.memory import ArraySource
from mezzotint.errors import DataError

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HUNDRED = tuple(f"fine_{number}" for number in range(100))
RECORDS = 4
PUBLISHED = cifar.VARIANTS


def records(labels: Sequence[Sequence[int]], seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072))
    return np.concatenate([np.array(labels), pixels], axis=1).astype(np.uint8)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images a file in place of ten thousand."""
    variants = [replace(variant, records=dict.fromkeys(variant.records, RECORDS)) for variant in cifar.VARIANTS]
    monkeypatch.setattr(cifar, "VARIANTS", tuple(variants))


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        rows = records([[(number + place) % 10] for place in range(RECORDS)], number)
        (folder / f"data_batch_{number}.bin").write_bytes(rows.tobytes())
    (folder / "test_batch.bin").write_bytes(records([[9], [8], [7], [0]], 6).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    (folder / "readme.html").write_text("<html>")
    return folder


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records([[1, 99], [2, 0], [3, 50], [19, 7]], 7).tobytes())
    (folder / "test.bin").write_bytes(records([[0, 98]] * 4, 8).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(HUNDRED) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(map(str, range(20))))
    return folder


def test_cifar_10(ten: Path) -> None:
    train, test = open_source(ten), open_source(ten.parent, "test")
    assert isinstance(train, ArraySource)
    assert train.images.shape == (20, 32, 32, 3)
    assert train.classes == test.classes == TEN
    assert train.labels.tolist() == [(number + place) % 10 for number in range(1, 6) for place in range(4)]
    raw = records([[5]] * RECORDS, 3)[2, 1:].reshape(3, 32, 32)
    assert torch.equal(train.read(10)[0], torch.from_numpy(raw.transpose(1, 2, 0).copy()))
    assert (train.name(10), test.name(3)) == ("data_batch_3.bin[2]", "test_batch.bin[3]")
    assert "20 images 32x32, 10 classes" in train.describe()


def test_cifar_100_has_fine_labels(hundred: Path) -> None:
    train, test = open_source(hundred), open_source(hundred, "test")
    assert isinstance(train, ArraySource)
    assert train.labels.tolist() == [99, 0, 50, 7]
    assert train.classes == test.classes == HUNDRED
    raw = records([[0, 0]] * RECORDS, 7)[3, 2:].reshape(3, 32, 32)
    assert torch.equal(train.read(3)[0], torch.from_numpy(raw.transpose(1, 2, 0).copy()))


@pytest.mark.parametrize(("change", "match"), [(-1, "truncated"), (-3073, "truncated"), (1, "too long")])
def test_lengths_are_checked(ten: Path, change: int, match: str) -> None:
    path = ten / "data_batch_4.bin"
    path.write_bytes((path.read_bytes() + b"\0")[: RECORDS * 3073 + change])
    with pytest.raises(DataError, match=rf"data_batch_4\.bin.*{match}.*12292: 4 records of 3073"):
        open_source(ten)
    assert len(open_source(ten, "test")) == 4


def test_a_missing_file_and_an_unknown_split(ten: Path) -> None:
    (ten / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin.*No such file"):
        open_source(ten)
    with pytest.raises(DataError, match="'train' or 'test'"):
        open_source(ten, "val")
    with pytest.raises(DataError, match=r"batches\.meta\.txt"):
        open_source(ten.parent.parent, kind="cifar")


def test_labels_and_names_are_checked(hundred: Path) -> None:
    (hundred / "test.bin").write_bytes(records([[0, 1], [0, 100], [0, 1], [0, 1]], 8).tobytes())
    with pytest.raises(DataError, match=r"test\.bin\[1\]: received label 100; allowed: 0 to 99"):
        open_source(hundred, "test")
    (hundred / "fine_label_names.txt").write_text("apple\n")
    with pytest.raises(DataError, match="1 class names; allowed: 100 names"):
        open_source(hundred)


def test_the_published_sizes() -> None:
    sizes = {
        variant.folder: {part: count * (variant.label_bytes + 3072) for part, count in variant.records.items()}
        for variant in PUBLISHED
    }
    assert sizes == {
        "cifar-10-batches-bin": {"train": 30_730_000, "test": 30_730_000},
        "cifar-100-binary": {"train": 153_700_000, "test": 30_740_000},
    }


def test_it_can_be_sent_to_another_process(ten: Path) -> None:
    source = open_source(ten, "test")
    assert pickle.loads(pickle.dumps(source)).name(3) == source.name(3) == "test_batch.bin[3]"
