"""Does the preview pick a repeatable image, draw what the protocols give, and never lose a file?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data.decode import read_image
from mezzotint.data.picture import SCALE, View, compose
from mezzotint.data.preprocess import preprocess
from mezzotint.data.preview import PreviewResult, draw_preview, pick_image
from mezzotint.data.protocols import PROTOCOLS
from mezzotint.errors import ImageError, InputError, NotRegistered


def picture(height: int = 60, width: int = 90, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images at three depths, one with a strange name, among files that are none."""
    root = tmp_path / "images"
    (root / "a" / "deep").mkdir(parents=True)
    for i, place in enumerate(("one.png", "two.jpg", "a/three.bmp", "a/deep/four.png", "a/five.tif", "six.txt")):
        picture(seed=i).save(
            root / place, format={".jpg": "JPEG", ".bmp": "BMP", ".tif": "TIFF"}.get(place[-4:], "PNG")
        )
    (root / "notes.jpg").write_text("no image")
    (root / "a" / "empty.png").write_bytes(b"")
    return root


def test_a_file_gives_the_values_of_the_protocols(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "preview.png"
    result = draw_preview(folder / "one.png", output)
    expected = PreviewResult(
        source=folder / "one.png",
        output=output,
        height=60,
        width=90,
        protocols=("squash256", "central875"),
        seed=None,
    )
    assert result == expected
    sheet = read_image(output).numpy()
    for name in result.protocols:
        values = (preprocess(folder / "one.png", name) * 255).round().numpy().astype(np.uint8)
        enlarged = values.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        assert _contains(sheet, enlarged), name


def _contains(sheet: np.ndarray[Any, Any], part: np.ndarray[Any, Any]) -> bool:
    height, width = part.shape[:2]
    corners = np.argwhere((sheet[: -height + 1, : -width + 1] == part[0, 0]).all(-1))
    return any(np.array_equal(sheet[y : y + height, x : x + width], part) for y, x in corners)


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    one = draw_preview(folder, tmp_path / "1.png", seed=5)
    two = draw_preview(folder, tmp_path / "2.png", seed=5)
    assert one.source == two.source
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_a_seed_drawn_by_chance_is_told(folder: Path, tmp_path: Path) -> None:
    result = draw_preview(folder, tmp_path / "1.png")
    assert result.seed is not None
    assert draw_preview(folder, tmp_path / "2.png", seed=result.seed).source == result.source


def test_all_images_are_picked_and_nothing_else(folder: Path) -> None:
    picked = {pick_image(folder, seed).relative_to(folder).as_posix() for seed in range(120)}
    assert picked == {"one.png", "two.jpg", "a/three.bmp", "a/deep/four.png", "a/five.tif", "six.txt"}


def test_the_pick_does_not_depend_on_the_order_of_the_listing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [pick_image(folder, seed) for seed in range(20)]
    walk = os.walk

    def backwards(*args: Any, **options: Any) -> Any:
        for place, folders, names in walk(*args, **options):
            folders.reverse()
            yield place, folders, names[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert [pick_image(folder, seed) for seed in range(20)] == before


def test_folders_without_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="without any file"):
        draw_preview(tmp_path, tmp_path / "p.png")
    (tmp_path / "x.jpg").write_text("text")
    with pytest.raises(ImageError, match="1 files and no image"):
        draw_preview(tmp_path, tmp_path / "p.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.jpg"]


def test_a_preview_inside_the_folder_is_never_the_image(tmp_path: Path) -> None:
    picture().save(tmp_path / "only.png")
    for seed in range(4):
        assert draw_preview(tmp_path, tmp_path / "preview.png", seed=seed).source.name == "only.png"


def test_an_image_is_never_overwritten(folder: Path) -> None:
    path = folder / "one.png"
    before = path.read_bytes()
    for source in (path, folder, folder / "two.jpg"):
        with pytest.raises(InputError, match="existing file"):
            draw_preview(source, path)
    assert path.read_bytes() == before


def test_an_earlier_preview_is_replaced(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "preview.png"
    draw_preview(folder / "one.png", output)
    first = output.read_bytes()
    draw_preview(folder / "two.jpg", output)
    assert output.read_bytes() != first


def test_the_folder_of_an_output_is_made(folder: Path, tmp_path: Path) -> None:
    draw_preview(folder / "one.png", tmp_path / "new" / "deep" / "preview.png")
    assert (tmp_path / "new" / "deep" / "preview.png").is_file()


@pytest.mark.parametrize(
    ("name", "part"),
    [("preview.jpg", "end in .png"), ("file/preview.png", "File exists"), ("there.png", "a folder")],
)
def test_outputs_that_cannot_be(name: str, part: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=part) as caught:
        draw_preview(folder / "one.png", tmp_path / name)
    assert name in str(caught.value)


def test_a_write_that_fails_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "preview.png"
    draw_preview(folder / "one.png", output)
    before, names = output.read_bytes(), sorted(path.name for path in tmp_path.iterdir())

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        draw_preview(folder / "two.jpg", output)
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_bad_images_and_names(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "preview.png"
    with pytest.raises(ImageError, match=r"notes\.jpg"):
        draw_preview(folder / "notes.jpg", output)
    with pytest.raises(ImageError, match="no such file"):
        draw_preview(folder / "missing.jpg", output)
    with pytest.raises(NotRegistered, match="squash256"):
        draw_preview(folder, output, protocols=("squash",))
    with pytest.raises(InputError, match="at least one"):
        draw_preview(folder, output, protocols=())
    assert not output.exists()


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
@pytest.mark.parametrize("names", [("squash256",), ("squash256", "central875"), tuple(PROTOCOLS)])
def test_odd_sizes_and_all_protocols_fit_on_the_sheet(size: tuple[int, int], names: tuple[str, ...]) -> None:
    image = torch.from_numpy(np.array(picture(*size)))
    views = [View(protocol=PROTOCOLS[name], values=PROTOCOLS[name](image)) for name in names]
    sheet = compose(image, views, title="a name that is far too long " * 20 + "\n\t", subtitle="PNG")
    pixels = np.array(sheet)
    paper = pixels[0, 0]
    tall = 2 * max(view.values.shape[0] for view in views)
    assert sheet.height < tall + 500 + 40 * len(names)
    assert sheet.width >= len(names) * 448 + 360
    for edge in (pixels[:20], pixels[-20:], pixels[:, :20], pixels[:, -20:]):
        assert (edge == paper).all()  # nothing runs over the margin


def test_the_outlines_lie_where_the_protocols_cut() -> None:
    image = torch.full((256, 256, 3), 255, dtype=torch.uint8)
    image[16:240, 16:240] = 0  # exactly what both keep
    names = ("squash256", "central875")
    views = [View(protocol=PROTOCOLS[name], values=PROTOCOLS[name](image)) for name in names]
    sheet = np.array(compose(image, views, title="t", subtitle="s"))
    top = int(np.argmax((sheet == (213, 94, 0)).all(-1).any(1)))
    orange = np.argwhere((sheet[top] == (213, 94, 0)).all(-1))[:, 0]
    # 224 of 256 pixels, drawn 448 / 256 as large, and three pixels of outline on either side
    assert orange[-1] - orange[0] + 1 == pytest.approx(224 * 448 / 256 + 6, abs=1)
    assert views[0].values.max() < 0.05
