"""Are images in tar archives found, whatever wrote the archive, and are damaged archives refused?"""

from __future__ import annotations

import gc
import gzip
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mezzotint.data.source import open_source
from mezzotint.data.sources.tar import TarSource
from mezzotint.data.sources.tarindex import members
from mezzotint.errors import DataError, ImageError


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (5, 3), (value, value, value)).save(stream, format="PNG")
    return stream.getvalue()


def pack(path: Path, files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def classes_and_names(files: Mapping[str, bytes], path: Path) -> tuple[tuple[str, ...], list[str], list[int]]:
    source = TarSource(pack(path, files))
    return source.classes, [source.name(index) for index in range(len(source))], source.labels.tolist()


FILES = {
    "./dog/1.png": png(1),
    "./cat/2.png": png(2),
    "./cat/._2.png": b"resource fork",
    "./README.txt": b"words",
    "./cat/no_extension": png(3),
    "./cat/not_an_image": b"words",
    "./dog/deep/er/4.PNG": png(4),
}


def test_class_members(tmp_path: Path) -> None:
    classes, names, labels = classes_and_names(FILES, tmp_path / "a.tar")
    assert classes == ("cat", "dog")
    assert names == ["./dog/1.png", "./cat/2.png", "./cat/no_extension", "./dog/deep/er/4.PNG"]
    assert labels == [1, 0, 0, 1]
    source = TarSource(tmp_path / "a.tar")
    assert [int(source.read(index)[0][0, 0, 0]) for index in range(4)] == [1, 2, 3, 4]
    assert "4 images, 2 classes" in source.describe()


def test_common_top_folder_is_left_out(tmp_path: Path) -> None:
    files = {"cifar/train/1.png": png(1), "cifar/plane/a/2.png": png(2)}
    assert classes_and_names(files, tmp_path / "a.tar")[0] == ("plane", "train")
    files["plane/3.png"] = png(3)
    assert classes_and_names(files, tmp_path / "b.tar")[0] == ("cifar", "plane")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_in_every_format(tmp_path: Path, form: int) -> None:
    folder = "k" * 90
    files = {f"top/{folder}/{'n' * 60}.png": png(7), "top/漢字/ü.png": png(8)}
    classes, names, _ = classes_and_names(files, tmp_path / "a.tar")
    assert (classes, names) == ((folder, "漢字"), list(files))
    assert [(m.name, m.size) for m in members(pack(tmp_path / "b.tar", files, form))] == [
        (name, len(content)) for name, content in files.items()
    ]


@given(st.dictionaries(st.text("ab/é.", min_size=1, max_size=150), st.binary(max_size=1100), max_size=5), st.booleans())
def test_index_agrees_with_tarfile(files: dict[str, bytes], gnu: bool) -> None:
    files = {name.strip("/") or "x": content for name, content in files.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = pack(Path(folder) / "a.tar", files, tarfile.GNU_FORMAT if gnu else tarfile.PAX_FORMAT)
        with tarfile.open(path) as archive:
            expected = [(info.name, info.offset_data, info.size) for info in archive]
        assert [tuple(member) for member in members(path)] == expected


def test_webdataset_with_cls_and_json(tmp_path: Path) -> None:
    files = {
        "shard/000.cls": b"3",
        "shard/000.jpg": png(1),
        "shard/001.json": json.dumps({"label": 0, "width": 5}).encode(),
        "shard/001.seg.png": png(200),
        "shard/001.png": png(2),
        "shard/002.png": png(3),
        "shard/002.cls": b"02\n",
    }
    source = TarSource(pack(tmp_path / "a.tar", files))
    assert source.labels.tolist() == [3, 0, 2]
    assert source.classes == ("0", "1", "2", "3")
    assert [int(source.read(index)[0][0, 0, 0]) for index in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"0.png": png(1), "0.cls": b"1", "1.png": png(2)}, r"1\.png' without a label"),
        ({"0.png": png(1), "0.cls": b"cat"}, r"b'cat' in 0\.cls"),
        ({"0.png": png(1), "0.json": b'{"name": "cat"}'}, r"in 0\.json"),
        ({"0.png": png(1), "0.jpg": png(1), "0.cls": b"1"}, "one image for each key"),
        ({"0.png": png(1), "0.cls": b"-1"}, r"label -1 of 0\.png"),
        ({"lost.png": png(1)}, r"lost\.png' outside of any class"),
        ({"cat/readme.txt": b"words"}, "no images"),
        ({}, "no images"),
    ],
)
def test_archives_that_tell_no_labels(tmp_path: Path, files: dict[str, bytes], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        TarSource(pack(tmp_path / "a.tar", files))
    assert "a.tar" in str(caught.value)


def cut(position: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:position]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (cut(600), "truncated"),
        (cut(700), "truncated"),
        (cut(100), "truncated"),
        (cut(0), "truncated"),
        (cut(1024), "truncated"),
        (lambda raw: raw[:1000] + b"x" * 5000, "truncated|damaged"),
        (lambda raw: raw[:100] + b"9" + raw[101:], "damaged"),
        (lambda raw: raw + raw, "after the end"),
        (gzip.compress, r"gzip -dc a\.tar"),
    ],
)
def test_damaged_archives_are_refused(tmp_path: Path, change: Callable[[bytes], bytes], match: str) -> None:
    path = pack(tmp_path / "a.tar", {"cat/1.png": png(1), "dog/2.png": png(2)}, tarfile.USTAR_FORMAT)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=match) as caught:
        TarSource(path)
    assert "a.tar" in str(caught.value)


def test_links_to_images_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("cat/1.png")
        info.type, info.linkname = tarfile.SYMTYPE, "2.png"
        archive.addfile(info)
    with pytest.raises(DataError, match="--dereference"):
        TarSource(tmp_path / "a.tar")


def test_corrupt_member_is_named(tmp_path: Path) -> None:
    source = TarSource(pack(tmp_path / "a.tar", {"cat/1.png": png(1)[:50]}))
    with pytest.raises(ImageError, match=r"a\.tar:cat/1\.png"):
        source.read(0)


def test_archive_that_shrinks_later_is_noticed(tmp_path: Path) -> None:
    source = TarSource(pack(tmp_path / "a.tar", {"cat/1.png": png(1)}))
    os.truncate(tmp_path / "a.tar", 530)
    with pytest.raises(DataError, match="unchanged archive"):
        source.read(0)


def test_parts_are_archives_beside_each_other(tmp_path: Path) -> None:
    pack(tmp_path / "train.tar", {"cat/1.png": png(1), "dog/2.png": png(2)})
    pack(tmp_path / "val.tar", {"cat/1.png": png(1)})
    assert len(open_source(tmp_path)) == 2
    assert len(open_source(tmp_path, "test")) == 1
    assert len(open_source(tmp_path / "val.tar", "test")) == 1
    assert open_source(tmp_path, "test", classes=("cat", "dog")).classes == ("cat", "dog")
    with pytest.raises(DataError, match="not divided"):
        open_source(tmp_path / "train.tar", "test")
    with pytest.raises(DataError, match="class 'dog'"):
        open_source(tmp_path, "train", classes=("cat",))


def test_threads_read_at_once(tmp_path: Path) -> None:
    files = {f"{value % 4}/{value}.png": png(value) for value in range(64)}
    source = TarSource(pack(tmp_path / "a.tar", files))
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda index: source.read(index)[0], list(range(64)) * 4))
    assert [int(image[0, 0, 0]) for image in images] == list(range(64)) * 4


def test_the_file_is_closed_with_the_source(tmp_path: Path) -> None:
    source = TarSource(pack(tmp_path / "a.tar", {"cat/1.png": png(1)}))
    descriptor = source._file.descriptor
    os.fstat(descriptor)
    del source
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_cifar10(shared_data: Path) -> None:
    train, test = open_source(shared_data / "cifar10"), open_source(shared_data / "cifar10", "test")
    assert (len(train), len(test)) == (50_000, 10_000)
    assert train.classes == test.classes
    assert train.classes[0] == "airplane"
    image, label = train.read(7)
    assert (image.shape, image.dtype, label) == ((32, 32, 3), torch.uint8, 0)
    assert train.name(7) == "airplane/0007.jpg"
