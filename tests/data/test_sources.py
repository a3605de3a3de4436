"""Do the sources hold what their files hold, and do they name what is wrong with them?"""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint.data
from mezzotint.data.names import PackedNames
from mezzotint.data.source import BatchSource, Source, check_same_classes, open_source
from mezzotint.data.sources import SOURCES
from mezzotint.data.sources.folder import FolderSource, sort_classes
from mezzotint.data.sources.idx import read_idx
from mezzotint.data.sources.memory import ArraySource
from mezzotint.data.sources.split import choose_part
from mezzotint.errors import DataError, ImageError


def save_image(path: Path, value: int, size: tuple[int, int] = (6, 4), form: str = "PNG") -> None:
    """A one-coloured image of (width, height) ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 255 - value)).save(path, format=form)


def save_idx(path: Path, array: np.ndarray, *, compress: bool = False) -> None:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if compress else raw)


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Five training and three test images of 2x3 pixels and three classes."""
    save_idx(tmp_path / "train-images-idx3-ubyte", np.arange(30).reshape(5, 2, 3))
    save_idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 1, 2, 1, 0]))
    save_idx(tmp_path / "t10k-images.idx3-ubyte.gz", np.arange(18).reshape(3, 2, 3), compress=True)
    save_idx(tmp_path / "t10k-labels.idx1-ubyte.gz", np.array([2, 0, 1]), compress=True)
    return tmp_path


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """train/ and val/ with two classes; nested, hidden, unnamed and foreign files among them."""
    for part, count in (("train", 3), ("val", 1)):
        for place, name in enumerate(("cat", "dog")):
            for number in range(count):
                save_image(tmp_path / part / name / f"{number}.png", 100 * place + number)
    save_image(tmp_path / "train" / "dog" / "more" / "deep.JPEG", 180, form="JPEG")
    save_image(tmp_path / "train" / "dog" / "no_extension", 190)
    save_image(tmp_path / "train" / "dog" / ".hidden.png", 1)
    save_image(tmp_path / "train" / ".thumbnails" / "1.png", 1)
    (tmp_path / "train" / "dog" / "notes.txt").write_text("none of this is an image")
    (tmp_path / "train" / "dog" / "unknown.xyz").write_bytes(b"nor is this")
    return tmp_path


def test_digits_are_complete_and_split_for_good() -> None:
    train, test = open_source("digits"), open_source("digits", "test")
    assert isinstance(train, ArraySource)
    assert isinstance(test, ArraySource)
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape[1:] == (8, 8, 1)
    assert train.classes == test.classes == tuple("0123456789")
    assert np.bincount(np.concatenate([train.labels, test.labels])).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert sorted(set(train.images.flatten().tolist())) == [value * 255 // 16 for value in range(17)]
    assert test.images[0, :, :, 0].tolist()[0] == [0, 0, 79, 207, 143, 15, 0, 0]  # scikit-learn's first image
    assert [test.read(index)[1] for index in range(4)] == [0, 5, 0, 5]  # rows 0, 5, 10, 15 of scikit-learn's table


def test_every_kind_satisfies_the_protocol(idx_folder: Path) -> None:
    source = open_source(idx_folder)
    assert isinstance(source, Source)
    assert isinstance(source, BatchSource)
    assert all(kind.looks_for for kind in SOURCES.values())


def test_idx_files_with_either_name_compressed_or_not(idx_folder: Path) -> None:
    train, test = open_source(idx_folder), open_source(idx_folder, "test")
    image, label = train.read(3)
    assert image.dtype == torch.uint8
    assert image.shape == (2, 3, 1)
    assert image.flatten().tolist() == list(range(18, 24))
    assert label == 1
    assert (len(test), test.read(0)[1]) == (3, 2)
    assert train.classes == test.classes == ("0", "1", "2")
    assert test.name(2) == "t10k-images.idx3-ubyte.gz[2]"
    assert "5 images" in train.describe()


def test_batches_equal_single_samples_and_are_copies(idx_folder: Path) -> None:
    source = open_source(idx_folder)
    assert isinstance(source, BatchSource)
    images, labels = source.read_batch(np.array([4, 0]))
    assert torch.equal(images[0], source.read(4)[0])
    assert labels.tolist() == [0, 0]
    images.fill_(9)
    source.read(4)[0].fill_(9)
    assert source.read(4)[0].flatten().tolist() == list(range(24, 30))


@pytest.mark.parametrize("index", [-1, 5])
def test_samples_outside_of_the_source(idx_folder: Path, index: int) -> None:
    with pytest.raises(IndexError):
        open_source(idx_folder).read(index)


def damage(path: Path, how: str) -> None:
    raw = path.read_bytes()
    path.write_bytes({"cut": raw[:-3], "long": raw + b"\0", "empty": b"", "magic": b"\0\0\x0d" + raw[3:]}[how])


@pytest.mark.parametrize(
    ("how", "match"),
    [("cut", "truncated"), ("long", "too long"), ("empty", "nothing"), ("magic", "00 00 0d 03")],
)
def test_damaged_idx_files_are_named(idx_folder: Path, how: str, match: str) -> None:
    damage(idx_folder / "train-images-idx3-ubyte", how)
    with pytest.raises(DataError, match=match) as caught:
        open_source(idx_folder)
    assert "train-images-idx3-ubyte" in str(caught.value)


def test_truncated_gzip(idx_folder: Path) -> None:
    damage(idx_folder / "t10k-images.idx3-ubyte.gz", "cut")
    with pytest.raises(DataError, match="gzip"):
        open_source(idx_folder, "test")


def test_header_alone_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(DataError, match="header"):
        read_idx(tmp_path / "x", 3)


def test_images_and_labels_of_different_counts(idx_folder: Path) -> None:
    save_idx(idx_folder / "train-labels-idx1-ubyte", np.array([0, 1, 2, 1]))
    with pytest.raises(DataError, match=r"4 labels.*allowed: 5"):
        open_source(idx_folder)


def test_test_label_that_no_training_label_reaches(idx_folder: Path) -> None:
    save_idx(idx_folder / "t10k-labels.idx1-ubyte.gz", np.array([2, 7, 1]), compress=True)
    with pytest.raises(DataError, match="label 7 for image 1"):
        open_source(idx_folder, "test")


def test_missing_idx_file_and_unknown_split(idx_folder: Path) -> None:
    (idx_folder / "t10k-labels.idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="without the test labels file"):
        open_source(idx_folder, "test")
    with pytest.raises(DataError, match="'train' or 'test'"):
        open_source(idx_folder, "val")


def test_plain_file_wins_over_its_compressed_twin(idx_folder: Path) -> None:
    save_idx(idx_folder / "train-labels-idx1-ubyte.gz", np.array([0, 0, 0, 0, 0]), compress=True)
    assert open_source(idx_folder).read(2)[1] == 2


def test_class_folders(class_folder: Path) -> None:
    train, test = open_source(class_folder), open_source(class_folder, "test")
    assert isinstance(train, FolderSource)
    assert train.classes == test.classes == ("cat", "dog")
    names = [train.name(index) for index in range(len(train))]
    expected = ["cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png", "dog/no_extension"]
    assert names == [*expected, "dog/more/deep.JPEG"]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    image, label = train.read(4)
    assert (image.shape, image[0, 0].tolist(), label) == ((4, 6, 3), [101, 0, 154], 1)
    assert (len(test), test.describe().split(":")[0]) == (2, f"image folder {class_folder / 'val'}")


def test_parts_are_named_with_or_without_their_capitals(class_folder: Path) -> None:
    (class_folder / "train").rename(class_folder / "Train")
    (class_folder / "val").rename(class_folder / "Val")
    for split in ("Val", "val", "VAL", "test", "Test"):
        assert len(open_source(class_folder, split)) == 2
    assert len(open_source(class_folder / "Val", "Val")) == 2
    with pytest.raises(DataError, match="received holdout"):
        open_source(class_folder, "holdout")
    assert choose_part(["Val", "val"], "val", class_folder) == "val"
    assert choose_part(["Val", "val"], "Val", class_folder) == "Val"


def test_part_by_its_own_name_and_missing_part(class_folder: Path) -> None:
    assert len(open_source(class_folder, "val")) == 2
    with pytest.raises(DataError, match=r"'?nonsense'?.*train, val"):
        open_source(class_folder, "nonsense")


def test_undivided_folder_is_never_tested_on_by_accident(class_folder: Path) -> None:
    undivided = class_folder / "train"
    undivided.rename(class_folder.parent / f"{class_folder.name}-photos")
    photos = class_folder.parent / f"{class_folder.name}-photos"
    assert len(open_source(photos)) == len(open_source(photos, "all")) == 8
    with pytest.raises(DataError, match="not divided"):
        open_source(photos, "test")
    assert len(open_source(class_folder / "val", "test")) == 2


def test_class_called_train_divides_nothing(tmp_path: Path) -> None:
    for name in ("train", "plane"):
        save_image(tmp_path / name / "1.png", 0)
    assert open_source(tmp_path).classes == ("plane", "train")


def test_empty_class_is_named(class_folder: Path) -> None:
    (class_folder / "train" / "emu").mkdir()
    (class_folder / "val" / "emu").mkdir()
    with pytest.raises(DataError, match="class 'emu'"):
        open_source(class_folder)


@pytest.mark.parametrize("split", ["train", "test"])
def test_parts_with_different_classes_are_refused(class_folder: Path, split: str) -> None:
    save_image(class_folder / "train" / "emu" / "1.png", 0)
    (class_folder / "val" / "dog").rename(class_folder / "val" / "dogs")
    with pytest.raises(DataError, match=r"only among the training images: 'dog', 'emu'; .*test images: 'dogs'"):
        open_source(class_folder, split)


def test_images_beside_the_classes_are_refused(class_folder: Path) -> None:
    save_image(class_folder / "train" / "lost.png", 0)
    with pytest.raises(DataError, match=r"lost\.png"):
        open_source(class_folder)


def test_corrupt_and_vanished_files_are_named(class_folder: Path) -> None:
    source = open_source(class_folder)
    path = class_folder / "train" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError, match=r"cat/1\.png"):
        source.read(1)
    path.unlink()
    with pytest.raises(DataError, match=r"cat/1\.png"):
        source.read(1)


def test_linked_folders_are_followed_once(class_folder: Path) -> None:
    cats = class_folder / "train" / "cat"
    (cats / "again").symlink_to(cats, target_is_directory=True)
    assert open_source(class_folder).read(0)[1] == 0
    assert len(open_source(class_folder)) == 8


def test_classes_that_are_numbers_are_sorted_as_numbers() -> None:
    assert sort_classes(["10", "9", "1"]) == ("1", "9", "10")
    assert sort_classes(["10", "9", "b", "B"]) == ("10", "9", "B", "b")


def test_check_same_classes_lists_the_differences(class_folder: Path) -> None:
    train, test = open_source(class_folder), open_source("digits")
    check_same_classes(train, train)
    with pytest.raises(DataError, match=r"2 in image folder.*10 in embedded digits.*'cat', 'dog'.*and 5 more"):
        check_same_classes(train, test)


def test_cache_keeps_the_same_images(class_folder: Path) -> None:
    (class_folder / "train" / "dog" / "more" / "deep.JPEG").unlink()
    source, kept = open_source(class_folder), open_source(class_folder, cache="memory")
    assert isinstance(kept, ArraySource)
    for index in range(len(source)):
        assert torch.equal(kept.read(index)[0], source.read(index)[0])
        assert kept.read(index)[1] == source.read(index)[1]
        assert kept.name(index) == source.name(index)
    digits = open_source("digits", cache="memory")
    assert isinstance(digits, ArraySource)


def test_cache_refuses_images_of_different_sizes(class_folder: Path) -> None:
    save_image(class_folder / "train" / "dog" / "0.png", 5, size=(7, 4))
    with pytest.raises(DataError, match=r"dog/0\.png"):
        open_source(class_folder, cache="memory")
    with pytest.raises(DataError, match="cache"):
        open_source(class_folder, cache="disk")  # type: ignore[arg-type]


def test_path_that_does_not_exist_tells_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist.*idx: .*tar: .*flat: .*folder: ") as caught:
        open_source(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        open_source("digit")


def test_place_without_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing that is known"):
        open_source(tmp_path)
    (tmp_path / "file.bin").write_bytes(b"x" * 2000)
    with pytest.raises(DataError, match="nothing that is known"):
        open_source(tmp_path / "file.bin")


def test_unreadable_folder_is_an_error_and_not_passed_over(class_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = class_folder / "train" / "dog" / "more"
    scan = os.scandir

    def guarded(path: str | os.PathLike[str]) -> object:
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(locked))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=f"Permission denied.*{locked} to be readable"):
        open_source(class_folder)


def test_home_is_expanded(class_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(class_folder.parent))
    assert len(open_source(f"~/{class_folder.name}")) == 8


def test_function_and_package_of_one_name() -> None:
    code = "import mezzotint.data.protocols.steps, mezzotint; print(sorted(mezzotint.data.protocols())[0])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "central875\n"
    assert set(mezzotint.data.__all__) <= set(dir(mezzotint.data))


def test_kind_can_be_given(class_folder: Path) -> None:
    assert len(open_source(class_folder, kind="folder")) == 8
    assert len(open_source(".", kind="digits")) == 1437
    with pytest.raises(DataError, match="Did you mean 'folder'"):
        open_source(class_folder, kind="folders")
    with pytest.raises(DataError, match="option 'labels'"):
        open_source(class_folder, labels="x.txt")


def test_array_source_refuses_what_does_not_fit() -> None:
    images = torch.zeros(2, 4, 4, 1, dtype=torch.uint8)
    names = {"description": "made here", "name": str}
    with pytest.raises(DataError, match="with N labels"):
        ArraySource(images, np.array([0]), ("a",), **names)
    with pytest.raises(DataError, match="uint8"):
        ArraySource(images.float(), np.array([0, 0]), ("a",), **names)
    with pytest.raises(DataError, match="from 0 to 1"):
        ArraySource(images, np.array([0, 1]), ("a",), **names)


def test_packed_names_are_a_sequence_of_any_names() -> None:
    given = ["a/1.png", "", "ü/漢.jpg", "bad\udcff.png"]
    names = PackedNames(given)
    assert list(names) == [names[index] for index in range(len(names))] == given
    with pytest.raises(IndexError):
        names[4]


def test_mnist(shared_data: Path) -> None:
    train, test = open_source(shared_data / "mnist"), open_source(shared_data / "mnist", "test")
    assert (len(train), len(test), len(train.classes)) == (60_000, 10_000, 10)
    assert isinstance(train, ArraySource)
    assert train.images.shape == (60_000, 28, 28, 1)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert float(train.images.float().mean() / 255) == pytest.approx(0.1307, abs=1e-4)
