"""Does each image of a flat folder get its own label from any label file, or else an error that names the line?"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.source import open_source
from mezzotint.data.sources.labels import parse_label_file, stem, to_indices
from mezzotint.data.sources.wnids import parse_mapping, read_mapping
from mezzotint.errors import DataError

KNOWN_WNIDS = ("n01751748", "n09193705", "n02105855")  # of the first three validation images
KIT = ("490", "361", "171")
SORTED = ("65", "970", "230")
MAPPING = "490 n01751748\n361 n09193705\n171 n02105855\n"


def image_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Three validation images in a folder of their own; sorted by WNID they are classes 0, 2, 1."""
    folder = tmp_path / "ILSVRC2012_img_val"
    folder.mkdir()
    for number in range(1, 4):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(folder / image_name(number), format="PNG")
    return folder


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def labels_of(folder: Path, **options: object) -> list[int]:
    return open_source(folder, "test", **options).labels.tolist()  # type: ignore[attr-defined, arg-type]


def test_development_kit_with_a_mapping(flat: Path) -> None:
    write(flat / "ILSVRC2012_validation_ground_truth.txt", KIT)
    (flat / "meta.txt").write_text(MAPPING)
    source = open_source(flat, "test")
    assert source.classes == tuple(sorted(KNOWN_WNIDS))
    assert [source.read(index)[1] for index in range(3)] == [0, 2, 1]
    assert [int(source.read(index)[0][0, 0, 0]) for index in range(3)] == [1, 2, 3]
    assert (source.name(0), "3 images, 3 classes" in source.describe()) == (image_name(1), True)


def test_development_kit_beside_the_images_and_given(flat: Path) -> None:
    kit = flat.parent / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    truth = write(kit / "ILSVRC2012_validation_ground_truth.txt", KIT)
    (kit / "meta.csv").write_text("ID,WNID\n" + MAPPING.replace(" ", ","))
    assert labels_of(flat) == [0, 2, 1]
    assert labels_of(flat, labels=truth, mapping=kit / "meta.csv") == [0, 2, 1]


def test_development_kit_without_a_mapping_is_refused(flat: Path) -> None:
    write(flat / "ILSVRC2012_validation_ground_truth.txt", KIT)
    with pytest.raises(DataError, match=r"without the mapping.*meta\.mat"):
        open_source(flat, "test")


@pytest.mark.parametrize(
    "lines",
    [
        [f"{image_name(n)} {label}" for n, label in enumerate(SORTED, 1)],
        [f"val/{image_name(n)[:-5]}.jpeg {label}" for n, label in reversed(list(enumerate(SORTED, 1)))],
        [f"./{image_name(n)},{label}" for n, label in enumerate(SORTED, 1)],
    ],
)
def test_names_with_sorted_indices(flat: Path, lines: list[str]) -> None:
    write(flat / "val.txt", lines)
    assert labels_of(flat) == [65, 970, 230]
    names = tuple(f"class {number}" for number in range(1000))
    assert open_source(flat, "val", classes=names).classes == names


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("LOC_val_solution.csv", ["ImageId,PredictionString"]),
        ("labels.csv", []),
    ],
)
def test_names_with_wnids(flat: Path, name: str, lines: list[str]) -> None:
    boxes = (" 85 1 499 272 ", " 1 2 3 4 n09193705 5 6 7 8 ", "")
    order = [2, 0, 1]
    rows = [f"{image_name(n + 1)[:-5]},{KNOWN_WNIDS[n]}{boxes[n]}" for n in order]
    write(flat / name, [*lines, *rows])
    assert labels_of(flat) == [0, 2, 1]
    assert labels_of(flat, classes=("n00000000", *sorted(KNOWN_WNIDS))) == [1, 3, 2]


def test_wnids_line_by_line_and_with_blanks(flat: Path) -> None:
    write(flat.parent / "imagenet_2012_validation_synset_labels.txt", KNOWN_WNIDS)
    assert labels_of(flat) == [0, 2, 1]
    write(flat / "val_map.txt", [f"{image_name(n + 1)} {wnid}" for n, wnid in enumerate(KNOWN_WNIDS)])
    assert labels_of(flat) == [0, 2, 1]


def test_synset_folders(tmp_path: Path) -> None:
    for wnid in KNOWN_WNIDS:
        (tmp_path / "val" / wnid).mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(tmp_path / "val" / wnid / "1.JPEG", format="PNG")
    source = open_source(tmp_path / "val", "test")
    assert source.classes == tuple(sorted(KNOWN_WNIDS))


@pytest.mark.parametrize(
    ("name", "lines", "match"),
    [
        ("val.txt", [f"{image_name(n)} {label}" for n, label in enumerate(KIT, 1)], r"line 1.*490.*65"),
        ("val.txt", [f"{image_name(n)} {label}" for n, label in ((1, 66), (2, 971), (3, 231))], r"line 1.*66.*from 1"),
        ("ILSVRC2012_validation_ground_truth.txt", SORTED, r"line 1.*65.*490"),
        ("ILSVRC2012_validation_ground_truth.txt", ["490", "970", "171"], r"line 2.*970.*361"),
        ("ILSVRC2012_validation_ground_truth.txt", ["490", "361", "172"], r"line 3.*label 172"),
        ("ILSVRC2012_validation_ground_truth.txt", ["490", "0", "171"], r"line 2.*label 0"),
    ],
)  # fmt: skip
def test_the_two_orders_are_never_mixed(flat: Path, name: str, lines: Sequence[str], match: str) -> None:
    write(flat / name, lines)
    (flat / "meta.txt").write_text(MAPPING)
    with pytest.raises(DataError, match=match) as caught:
        open_source(flat, "test")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (KIT[:2], "2 labels without names for 3 images"),
        ((*KIT, "13"), "4 labels without names for 3 images"),
        ((), "no labels"),
        (("490", "", "171"), "line 2"),
        (("490", "361 n09193705", "171"), "line 2.*not mixed"),
        (("something", "else", "here"), "line 1"),
        ([f"{image_name(n)} 1" for n in (1, 2)], "no label for 1 of 3 images.*00000003"),
        ([f"{image_name(n)} 1" for n in (1, 2, 3, 4)], "line 4.*00000004"),
        ([f"{image_name(n)} 1" for n in (1, 2, 2)], "line 3.*second label"),
        ([f"{image_name(n)} {label}" for n, label in ((1, 65), (2, 970), (3, 1000))], "line 3.*label 1000.*0 to 999"),
        ([f"{image_name(n)} {label}" for n, label in ((1, 65), (2, 970), (3, -1))], "line 3.*label -1"),
        (["ImageId,PredictionString", f"{image_name(1)},n01751748 1 2 3 4 n09193705 1 2 3 4"], "line 2"),
    ],
)
def test_wrong_label_files_name_the_line(flat: Path, lines: Sequence[str], match: str) -> None:
    write(flat / "labels.txt", lines)
    (flat / "meta.txt").write_text(MAPPING)
    with pytest.raises(DataError, match=match):
        open_source(flat, "test")


def test_gap_in_the_numbers_would_shift_every_label(flat: Path) -> None:
    (flat / image_name(2)).rename(flat / image_name(4))
    write(flat / "ILSVRC2012_validation_ground_truth.txt", KIT)
    with pytest.raises(DataError, match="00000003' in place 2"):
        open_source(flat, "test", mapping=write(flat / "meta.txt", MAPPING.splitlines()))


def test_label_files_that_are_missing_or_several(flat: Path) -> None:
    with pytest.raises(DataError, match="without a label file"):
        open_source(flat, "test")
    write(flat / "answers.txt", KNOWN_WNIDS)
    assert labels_of(flat) == [0, 2, 1]
    write(flat / "other.csv", KNOWN_WNIDS)
    with pytest.raises(DataError, match=r"several label files.*answers\.txt.*other\.csv"):
        open_source(flat, "test")
    assert labels_of(flat, labels=flat / "other.csv") == [0, 2, 1]
    with pytest.raises(DataError, match="a file that exists"):
        open_source(flat, "test", labels=flat / "nowhere.txt")
    (flat / "other.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="readable text"):
        open_source(flat, "test", labels=flat / "other.csv")


def test_two_images_of_one_name_and_training_split(flat: Path) -> None:
    write(flat / "val.txt", [f"{image_name(n)} {label}" for n, label in enumerate(SORTED, 1)])
    with pytest.raises(DataError, match="split"):
        open_source(flat, "train")
    Image.new("RGB", (4, 3)).save(flat / image_name(1).replace(".JPEG", ".png"))
    with pytest.raises(DataError, match="two images named"):
        open_source(flat, "test")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "one to one"),
        ("1 n00000001\n1 n00000002", "line 2"),
        ("1 n00000001\n2 n00000001", "one to one"),
        ("1 n00000001\nn2", "line 2"),
        ("66 n01751748\n", "sorted order"),
    ],
)
def test_wrong_mappings(text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        parse_mapping(text, "map.txt")


def test_mapping_either_way_round_and_without_inner_nodes() -> None:
    assert parse_mapping("n02119789 1 kit_fox\nn02100735 2 English_setter\n", "map.txt") == {
        1: "n02119789",
        2: "n02100735",
    }
    assert parse_mapping("1 n00000001\n1860 n00000002", "map.txt") == {1: "n00000001"}


def test_meta_mat_needs_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meta.mat").write_bytes(b"MATLAB")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match="pip install scipy"):
        read_mapping(tmp_path / "meta.mat")


def test_meta_mat_leaves_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of the MATLAB format is SciPy's; here only its answer is played."""
    rows = [(490, "n01751748", "sea snake", "", 0), (1001, "n00001740", "entity", "", 3)]
    fake = SimpleNamespace(loadmat=lambda path, squeeze_me: {"synsets": rows})
    monkeypatch.setitem(sys.modules, "scipy", SimpleNamespace(io=fake))
    monkeypatch.setitem(sys.modules, "scipy.io", fake)
    assert read_mapping(tmp_path / "meta.mat") == {490: "n01751748"}
    fake.loadmat = lambda path, squeeze_me: {}
    with pytest.raises(DataError, match="synsets"):
        read_mapping(tmp_path / "meta.mat")


def test_every_form_gives_the_same_50000_labels() -> None:
    """The full size, in all forms, from one truth: 50,000 images of 1,000 classes."""
    shuffled = random.Random(0)
    wnids = sorted({f"n{shuffled.randrange(10**8):08d}" for _ in range(1200)})[:1000]
    ids = list(range(1, 1001))
    shuffled.shuffle(ids)  # ids[place] is the ILSVRC2012_ID of the WNID in that place of the sorted order
    truth = np.array([row % 1000 for row in range(50_000)])
    truth[:5] = [65, 970, 230, 809, 516]
    for place, number in ((65, 490), (970, 361), (230, 171), (809, 822), (516, 297)):
        other = ids.index(number)
        ids[place], ids[other] = ids[other], ids[place]
    mapping = dict(zip(ids, wnids, strict=True))
    names = [image_name(row + 1) for row in range(50_000)]
    forms = {
        "kit": [str(ids[place]) for place in truth],
        "index": [f"{name} {place}" for name, place in zip(names, truth, strict=True)],
        "wnid": [f"{name[:-5]},{wnids[place]} 1 2 3 4" for name, place in zip(names, truth, strict=True)],
        "lines": [wnids[place] for place in truth],
    }
    stems = [stem(name) for name in names]
    for form, lines in forms.items():
        file = parse_label_file("\n".join(lines), form)
        labels, classes = to_indices(file, stems, mapping if form == "kit" else None, None)
        assert np.array_equal(labels, truth), form
        assert len(classes) == 1000
        wrong = [*lines[:40_000], "nonsense here", *lines[40_001:]]
        with pytest.raises(DataError, match="line 40001"):
            parse_label_file("\n".join(wrong), form)


def test_imagenet_samples_as_a_flat_folder(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "imagenet_samples"
    names = sorted(path.name for path in folder.iterdir())
    labels = write(tmp_path / "labels.csv", ["ImageId,Label", *(f"{name},{name[:9]}" for name in names)])
    source = open_source(folder, "test", labels=labels)
    assert len(source) == len(names) == len(source.classes)
    image, label = source.read(10)
    assert (image.shape[2], source.classes[label]) == (3, names[10][:9])
