"""Does a look at a data set find what is there, what is damaged and what is odd?"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.survey import survey
from mezzotint.errors import DataError


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (12, 10), seed: int = 0) -> Path:
    """A random image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(levels, "RGBA").convert(mode).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes with blanks and foreign letters in their names, and one of everything that can be odd."""
    root = tmp_path / "my photos"
    for place in range(4):
        picture(root / "Käse & Brot" / f"{place}.png", seed=place)
        picture(root / "日本" / f"{place}.jpg", seed=10 + place)
    picture(root / "日本" / "alpha.png", "RGBA", seed=20)
    picture(root / "日本" / "grey.png", "L", (30, 7), seed=21)
    cut = picture(root / "日本" / "cut.jpg", size=(64, 48), seed=22)
    cut.write_bytes(cut.read_bytes()[:-200])
    (root / "日本" / "page.jpg").write_text("<html>not found</html>")
    shutil.copy(root / "日本" / "0.jpg", root / "Käse & Brot" / "same.jpg")
    (root / "日本" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (root / ".hidden.txt").write_text("")
    (root / "notes.txt").write_text("")
    return root


def test_everything_that_is_odd_is_found(photos: Path) -> None:
    ticks: list[tuple[int, int]] = []
    found = survey(photos, watch=lambda done, total: ticks.append((done, total)))
    assert ticks == [(place, 13) for place in range(1, 14)]
    assert found.kind == "folder"
    assert found.classes == ("Käse & Brot", "日本")
    assert found.train.counts == (5, 8)
    assert found.test is None
    assert found.one_size is None
    assert set(found.sizes) == {(10, 12), (7, 30), (48, 64)}
    assert found.forms == {"PNG": 6, "JPEG": 6}
    assert found.modes == {"RGB": 10, "RGBA": 1, "L": 1}
    assert found.all_decoded
    assert {bad.name for bad in found.damaged} == {"日本/cut.jpg", "日本/page.jpg"}
    assert found.in_two_classes == (("Käse & Brot/same.jpg", "日本/0.jpg"),)
    assert found.passed_over == {".heic": 1, ".txt": 1}


def test_without_time_only_headers_are_read(photos: Path) -> None:
    found = survey(photos, seconds=0)
    assert not found.all_decoded
    assert {bad.name for bad in found.damaged} == {"日本/page.jpg"}, "what has no header is noticed all the same"


def test_images_in_both_parts(tmp_path: Path) -> None:
    for seed in range(12):
        part, name = ("train", "val")[seed // 6], "ab"[seed % 2]
        picture(tmp_path / part / name / f"{part}{seed % 6 // 2}.png", seed=seed)
    shutil.copy(tmp_path / "train" / "a" / "train1.png", tmp_path / "val" / "a" / "other.png")
    found = survey(tmp_path)
    assert found.test is not None
    assert found.test.counts == (4, 3)
    assert found.in_both_parts == (("a/train1.png", "a/other.png"),)


def test_a_large_data_set_is_looked_at_evenly(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.data.survey.LOOKED_AT", 3)
    assert survey(photos).train.rows == (0, 6, 12)


def test_a_folder_called_test_can_be_divided(photos: Path, tmp_path: Path) -> None:
    moved = photos.rename(tmp_path / "test")
    found = survey(moved)
    assert found.train.split == "all"
    assert found.test is None


def test_one_class_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "1.png")
    with pytest.raises(DataError, match="two classes or more"):
        survey(tmp_path)


def test_arrays() -> None:
    found = survey("digits")
    assert (found.kind, found.channels, found.one_size, found.encoded) == ("digits", 1, (8, 8), False)
    assert found.test is not None
    assert (sum(found.train.counts), sum(found.test.counts)) == (1437, 360)
