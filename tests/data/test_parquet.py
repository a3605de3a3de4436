"""Are images in parquet files read by row group, with Hugging Face's names, and is damage told with its row?"""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.packing import pack
from mezzotint.data.source import open_source
from mezzotint.data.sources.packed import PackedSource
from mezzotint.errors import DataError, ImageError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra parquet)")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (the extra parquet)")

NAMES = ["cat", "dog", "emu"]


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (3, 2), value).save(stream, "PNG")
    return stream.getvalue()


def features(label: str = "label", image: str = "image", names: Sequence[str] = NAMES) -> dict[bytes, bytes]:
    described = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names)}}
    return {b"huggingface": json.dumps({"info": {"features": described}}).encode()}


def write(
    path: Path,
    images: Sequence[Any],
    labels: Sequence[int | None],
    *,
    columns: tuple[str, str] = ("image", "label"),
    metadata: dict[bytes, bytes] | None = None,
    group: int = 3,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({columns[0]: images, columns[1]: pa.array(labels, pa.int64())})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=group)
    return path


def structs(values: Sequence[int], named: bool = True) -> list[dict[str, object]]:
    return [{"bytes": png(value), "path": f"{value}.png" if named else None} for value in values]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files for training and one for testing, as `datasets` writes them."""
    data = tmp_path / "set" / "data"
    for number in range(2):
        values = range(10 * number, 10 * number + 8)
        labels = [value % 3 for value in values]
        write(data / f"train-{number:05d}-of-00002.parquet", structs(values), labels, metadata=features())
    write(data / "test-00000-of-00001.parquet", structs([50, 51]), [2, 2], metadata=features())
    return tmp_path / "set"


def values_in(source: Any) -> list[int]:
    return [int(source.read(index)[0][0, 0, 0]) for index in range(len(source))]


TRAIN = [*range(8), *range(10, 18)]


def test_hugging_faces_layout(folder: Path) -> None:
    train, test = open_source(folder), open_source(folder, "test")
    assert values_in(train) == TRAIN
    assert [train.read(index)[1] for index in range(16)] == [value % 3 for value in TRAIN]
    assert train.classes == test.classes == tuple(NAMES)
    assert values_in(test) == [50, 51]
    assert train.name(9) == "train-00001-of-00002.parquet[1] 11.png"
    assert "16 images, 3 classes" in train.describe()
    assert train.read(0)[0].shape == (2, 3, 3)


def test_a_single_file_and_binary_images(tmp_path: Path) -> None:
    path = write(tmp_path / "images.parquet", [png(value) for value in range(5)], [0, 1, 4, 0, 1])
    source = open_source(path)
    assert values_in(source) == list(range(5))
    assert (source.classes, source.name(2)) == (("0", "1", "2", "3", "4"), "images.parquet[2]")
    assert open_source(path, classes=tuple("abcde")).classes == tuple("abcde")
    with pytest.raises(DataError, match="label 4; allowed: 0 to 1"):
        open_source(path, classes=("a", "b"))
    with pytest.raises(DataError, match="not divided"):
        open_source(path, "test")


def test_columns_of_other_names_are_found_by_their_type(tmp_path: Path) -> None:
    columns = ("img", "fine_label")
    described = features("fine_label", "img")
    path = write(tmp_path / "train.parquet", structs([3], named=False), [1], columns=columns, metadata=described)
    source = open_source(path)
    assert (values_in(source), source.read(0)[1], source.name(0)) == ([3], 1, "train.parquet[0]")
    write(path, structs([3]), [1], columns=columns)
    with pytest.raises(DataError, match=r"columns img, fine_label; allowed: a column 'image'"):
        open_source(path)


def test_given_classes_keep_the_names(folder: Path) -> None:
    source = open_source(folder, "test", classes=("emu", "cat", "dog"))
    assert source.read(0)[1] == 0
    with pytest.raises(DataError, match="class 'dog'"):
        open_source(folder, "test", classes=("emu", "cat"))


def test_random_order_threads_and_row_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source: Any = open_source(folder)
    order = np.random.default_rng(0).integers(0, 16, 300).tolist()
    monkeypatch.setattr("mezzotint.data.sources.parquet._KEPT", 2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: int(source.read(index)[0][0, 0, 0]), order))
    assert found == [TRAIN[index] for index in order]
    assert len(source._recent) <= 2, "only the last groups are held"


def test_a_group_is_read_once_for_readers_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source: Any = open_source(folder)
    read: list[int] = []
    inner = source._read_group
    monkeypatch.setattr(source, "_read_group", lambda file, group: read.append(group) or inner(file, group))
    assert values_in(source) == TRAIN
    assert read == [0, 1, 2, 0, 1, 2]


def test_pickling(folder: Path) -> None:
    source = open_source(folder, classes=("emu", "cat", "dog"))
    source.read(3)
    raw = pickle.dumps(source)
    assert len(raw) < 2000
    again = pickle.loads(raw)
    assert values_in(again) == TRAIN
    assert again.labels.tolist() == source.labels.tolist()  # type: ignore[attr-defined]


def test_packing_a_parquet_file(folder: Path, tmp_path: Path) -> None:
    source: Any = open_source(folder)
    pack(source, tmp_path / "a.tar", threads=2)
    packed = PackedSource(tmp_path / "a.tar")
    assert [packed.encoded(index) for index in range(16)] == [source.encoded(index) for index in range(16)]
    assert (packed.name(9), packed.classes) == (source.name(9), tuple(NAMES))


@pytest.mark.parametrize(
    ("images", "labels", "metadata", "match"),
    [
        (["words"], [0], None, r"column 'image' of .*received type string"),
        ([{"path": "a.png"}], [0], None, r"column 'image' of .*struct with the field bytes"),
        (structs([1]), [None], None, "1 rows without a label"),
        (structs([1]), [3], features(), "label 3; allowed: 0 to 2"),
        (structs([1]), [-1], features(), "label -1.*kept secret"),
        ([], [], features(), "column 'image'|no rows"),
    ],
)
def test_tables_that_hold_no_images(
    tmp_path: Path, images: list[Any], labels: list[int | None], metadata: dict[bytes, bytes] | None, match: str
) -> None:
    path = write(tmp_path / "train.parquet", images, labels, metadata=metadata)
    with pytest.raises(DataError, match=match) as caught:
        open_source(path)
    assert "train.parquet" in str(caught.value)


def test_labels_must_be_integers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": structs([1]), "label": ["cat"]}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"column 'label' of .*type string; allowed: integers"):
        open_source(tmp_path / "train.parquet")


def test_files_must_agree(folder: Path) -> None:
    path = folder / "data" / "train-00001-of-00002.parquet"
    write(path, structs([1]), [0], metadata=features(names=["cat", "emu", "dog"]))
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: received other columns or class names"):
        open_source(folder)
    path.unlink()
    with pytest.raises(DataError, match="missing: 1"):
        open_source(folder)


def test_an_image_left_outside_and_one_that_is_damaged(tmp_path: Path) -> None:
    rows: list[Any] = [*structs([1]), {"bytes": None, "path": "there.png"}, {"bytes": png(2)[:40], "path": None}, None]
    source = open_source(write(tmp_path / "train.parquet", rows, [0, 0, 0, 0]))
    assert source.read(0)[1] == 0
    with pytest.raises(DataError, match=r"train\.parquet\[1\] there\.png.*without bytes"):
        source.read(1)
    with pytest.raises(ImageError, match=r"train\.parquet\[2\]"):
        source.read(2)
    with pytest.raises(DataError, match=r"train\.parquet\[3\].*without bytes"):
        source.read(3)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", structs(range(6)), [0] * 6)
    whole = path.read_bytes()
    for raw in (b"", b"no parquet file at all", whole[:-20], whole[:40] + whole[60:]):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=r"train\.parquet: received its "):
            values_in(open_source(path))
    path.write_bytes(whole)
    source = open_source(path)
    path.unlink()
    with pytest.raises(DataError, match=r"train\.parquet: received its row group 0 cannot be read"):
        source.read(0)


def test_without_pyarrow_the_extra_is_named(folder: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from mezzotint.data.source import open_source\n"
        "from mezzotint.errors import DataError\n"
        "try: open_source(sys.argv[1])\n"
        "except DataError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True).stdout
    assert "pip install 'mezzotint[parquet]'" in told
