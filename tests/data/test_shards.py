"""Are many archives one source, in the order of their numbers, and is a missing one noticed?"""

from __future__ import annotations

import io
import pickle
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mezzotint.data.packing import pack
from mezzotint.data.source import EncodedSource, open_source
from mezzotint.data.sources.packindex import index_path
from mezzotint.data.sources.shardnames import find_shards, parse
from mezzotint.data.sources.shards import ShardedSource
from mezzotint.errors import DataError


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (3, 2), value).save(stream, "PNG")
    return stream.getvalue()


def webdataset(path: Path, values: Sequence[int], labels: Sequence[int]) -> None:
    """A shard as WebDataset's writer makes it, without an index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for value, label in zip(values, labels, strict=True):
            for name, content in ((f"{value:06d}.png", png(value)), (f"{value:06d}.cls", b"%d" % label)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def packed(path: Path, values: Sequence[int], classes: Sequence[str] = ("cat", "dog")) -> None:
    """A shard with an index; images take turns at the classes."""
    images = path.parent.parent / f"images-of-{path.stem}"
    path.parent.mkdir(parents=True, exist_ok=True)
    for place, value in enumerate(values):
        (images / classes[place % len(classes)]).mkdir(parents=True, exist_ok=True)
        (images / classes[place % len(classes)] / f"{value:03d}.png").write_bytes(png(value))
    pack(open_source(images), path)


def values_in(source: object) -> list[int]:
    assert isinstance(source, EncodedSource)
    return [int(source.read(index)[0][0, 0, 0]) for index in range(len(source))]


def test_shards_without_index(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    webdataset(folder / "train-000000.tar", [1, 2], [0, 1])
    webdataset(folder / "train-000001.tar", [3], [11])
    webdataset(folder / "train-000002.tar", [4, 5, 6], [2, 1, 0])
    webdataset(folder / "val-000000.tar", [7], [1])
    train, test = open_source(folder), open_source(folder, "test", classes=tuple("abcdefghijkl"))
    assert isinstance(train, ShardedSource)
    assert values_in(train) == [1, 2, 3, 4, 5, 6]
    assert train.labels.tolist() == [0, 1, 11, 2, 1, 0]
    assert train.classes == tuple(str(number) for number in range(12))
    assert (values_in(test), test.read(0)[1], test.classes[1]) == ([7], 1, "b")
    assert train.name(3) == "train-000002.tar/000004.png"
    assert train.place(3) == f"{folder}/train-000002.tar:000004.png"
    assert "3 shards" in train.describe()
    assert values_in(pickle.loads(pickle.dumps(train))) == values_in(train)
    with pytest.raises(IndexError):
        train.read(6)


def test_shards_with_index(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    for number in range(12):
        packed(folder / f"data-{number}.tar", [10 * number, 10 * number + 1])
    source = open_source(folder)
    assert values_in(source) == [10 * number + i for number in range(12) for i in range(2)], "10 comes after 9"
    assert source.classes == ("cat", "dog")
    assert source.name(3) == "data-1.tar/dog/011.png"
    with pytest.raises(DataError, match="not divided"):
        open_source(folder, "test")
    assert len(open_source(folder, "all")) == 24


def test_indexed_and_other_shards_together(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    webdataset(folder / "train-0.tar", [1, 2], [1, 0])
    packed(folder / "train-1.tar", [3, 4])
    source = open_source(folder)
    assert source.classes == ("cat", "dog")
    assert [source.read(index)[1] for index in range(4)] == [1, 0, 0, 1]
    webdataset(folder / "train-2.tar", [5], [2])
    with pytest.raises(DataError, match=r"train-2\.tar.*label 2"):
        open_source(folder)


def test_classes_of_packs_go_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    packed(folder / "train-0.tar", [1, 2, 3], ("cat", "dog", "emu"))
    packed(folder / "train-1.tar", [4, 5], ("dog", "emu"))
    assert [open_source(folder).read(index)[1] for index in range(5)] == [0, 1, 2, 1, 2]
    packed(folder / "train-2.tar", [6, 7], ("ant", "dog"))
    with pytest.raises(DataError, match=r"train-2\.tar: received class 'ant'"):
        open_source(folder)


def test_a_pattern_chooses_shards(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    for number in range(4):
        webdataset(folder / f"train-{number:06d}.tar", [number], [0])
    webdataset(folder / "val-000000.tar", [9], [0])
    assert values_in(open_source(f"{folder}/train-*[02].tar")) == [0, 2]
    assert values_in(open_source(f"{folder}/*.tar")) == [0, 1, 2, 3]
    assert values_in(open_source(f"{folder}/*.tar", "val")) == [9]
    with pytest.raises(DataError, match="does not exist"):
        open_source(f"{folder}/none-*.tar")
    with pytest.raises(DataError, match=r"one of the parts there \(train\)"):
        open_source(f"{folder}/train*.tar", "test")


def test_parts_in_subfolders_and_below_data(tmp_path: Path) -> None:
    webdataset(tmp_path / "train" / "000000.tar", [1], [0])
    webdataset(tmp_path / "train" / "000001.tar", [2], [0])
    webdataset(tmp_path / "val" / "000000.tar", [3], [0])
    assert values_in(open_source(tmp_path)) == [1, 2]
    assert values_in(open_source(tmp_path, "test")) == [3]
    assert values_in(open_source(tmp_path / "val", "test")) == [3]
    webdataset(tmp_path / "other" / "data" / "imagenet_1k-train-0-of-1.tar", [4], [0])
    assert values_in(open_source(tmp_path / "other")) == [4]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["train-0", "train-2", "train-3"], "missing: 1"),
        (["train-2", "train-3"], "missing: 1"),
        (["train-0-of-3", "train-1-of-3"], "missing: 2"),
        (["train-0", "train-00"], "missing: none"),
        (["train-0", "train"], "2 files, 1 of them numbered"),
        (["a-train-0", "b-train-0"], "one set of shards for 'train'"),
        (["a-0", "b-0"], r"one of the parts there \(a, b\)"),
    ],
)
def test_sets_that_are_not_whole_are_refused(tmp_path: Path, names: list[str], match: str) -> None:
    for place, name in enumerate(names):
        webdataset(tmp_path / f"{name}.tar", [place], [0])
    with pytest.raises(DataError, match=match):
        open_source(tmp_path, kind="shards")
    if match.startswith("missing: 1"):
        assert len(open_source(f"{tmp_path}/train-*.tar")) == len(names), "a pattern may leave some out"


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    packed(tmp_path / "shards" / "train-0.tar", [1, 2])
    packed(tmp_path / "shards" / "train-1.tar", [3, 4])
    path = tmp_path / "shards" / "train-1.tar"
    index_path(path).write_bytes(index_path(path).read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train-1\.tar\.mzindex"):
        open_source(tmp_path / "shards")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train-000012", ("train", 12, None)),
        ("train-00001-of-00004", ("train", 1, 4)),
        ("train-00001-of-00004-8a3e8f9f1b0a4b5c", ("train", 1, 4)),
        ("imagenet_2012-val_003", ("imagenet_2012-val", 3, None)),
        ("007", ("", 7, None)),
        ("train", None),
        ("cifar10", None),
    ],
)
def test_names(name: str, expected: tuple[str, int, int | None] | None) -> None:
    found = parse(Path(f"{name}.tar"))
    assert (found and found[:3]) == expected


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 3))
def test_numbers_decide_the_order(numbers: set[int], digits: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            (Path(folder) / f"a-{number:0{digits}d}.tar").touch()
        found = find_shards(Path(folder) / "a-*.tar", "train", ".tar")
        assert [int(path.stem[2:]) for path in found] == sorted(numbers)
        if numbers in ({*range(len(numbers))}, {*range(1, len(numbers) + 1)}):
            assert find_shards(Path(folder), "train", ".tar") == found
        else:
            with pytest.raises(DataError, match="every number"):
                find_shards(Path(folder), "train", ".tar")


def test_many_shards_at_random_places(tmp_path: Path) -> None:
    counts = [3, 1, 4, 1, 5]
    values = iter(range(100))
    for number, count in enumerate(counts):
        webdataset(tmp_path / f"t-{number}.tar", [next(values) for _ in range(count)], [0] * count)
    source = open_source(tmp_path)
    for index in np.random.default_rng(0).permutation(14).tolist():
        assert int(source.read(index)[0][0, 0, 0]) == index
