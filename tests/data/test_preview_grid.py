"""Do the grids show the pixels that training sees, the labels that the data set has, and notebooks their pictures?"""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.cli import main
from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.data.decode import read_image
from mezzotint.data.loader import Loader
from mezzotint.data.preview_grid import (
    augmentation_grid,
    augmented,
    contact_sheet,
    draw_augmentations,
    draw_contact_sheet,
    draw_rows,
    draw_sheet,
    thumbnail,
)
from mezzotint.data.source import open_source
from mezzotint.data.specimen import specimen
from mezzotint.data.transform import Evaluate, build_transform
from mezzotint.errors import InputError, NotRegistered

CHAIN = [{"name": "random_crop", "padding": 2}, {"name": "rand_augment"}]


def test_the_grid_shows_what_the_loader_gives() -> None:
    source, chain = open_source("digits"), build_transform(CHAIN)
    loader = Loader(source, chain, batch_size=50, seed=3)
    loader.seek(2)
    batch = next(iter(loader))
    for place in (0, 17):
        sample = int(batch.indices[place])
        shown = augmented(source.read(sample)[0], chain, seed=3, epochs=[2], sample=sample)[0]
        assert torch.equal(shown.permute(2, 0, 1).float() / 255, batch.images[place])


def test_pictures_stand_in_their_cells() -> None:
    image, other = specimen(100, 112), specimen(112, 80)
    sheet = np.array(draw_rows([("one", [image, other])], ["a", "b"], title="t"))
    assert np.array_equal(sheet[44 + 6 : 44 + 106, 158:270], image.numpy())
    page = np.array(draw_sheet([image, other, image], ["x", "y", "z"], columns=2))
    assert np.array_equal(page[8 + 6 + 138 : 8 + 106 + 138, 8:120], image.numpy())


def test_small_images_are_enlarged_by_whole_numbers() -> None:
    image = specimen(28, 20)
    shown = np.array(thumbnail(image, 112))
    assert np.array_equal(shown, image.numpy().repeat(4, 0).repeat(4, 1))
    assert max(thumbnail(specimen(300, 500), 112).size) == 112
    assert thumbnail(torch.zeros(1, 900, 1, dtype=torch.uint8), 112).size == (112, 1)


def test_grids_of_all_augmentations_are_repeatable(tmp_path: Path) -> None:
    image = specimen(48, 64)
    one = draw_augmentations(image, tmp_path / "1.png", epoch=4, sample=9, count=3)
    two = draw_augmentations(image, tmp_path / "2.png", epoch=4, sample=9, count=3)
    assert one.read_bytes() == two.read_bytes()
    assert read_image(one).shape[0] > len(AUGMENTATIONS) * 48
    later = draw_augmentations(image, tmp_path / "3.png", epoch=5, sample=9, count=3)
    assert later.read_bytes() != one.read_bytes()
    protocol = augmentation_grid(image, [("squash256", Evaluate("squash256"))], count=1)
    assert protocol.width > 2 * 112


def test_mistakes_of_grids(tmp_path: Path) -> None:
    image = specimen(20, 20)
    with pytest.raises(NotRegistered, match="Did you mean 'rotation'"):
        draw_augmentations(image, tmp_path / "p.png", names=["rotatoin"])
    with pytest.raises(InputError, match="1 to 20"):
        draw_augmentations(image, tmp_path / "p.png", count=0)
    with pytest.raises(InputError, match="1 to 400"):
        draw_contact_sheet(open_source("digits"), tmp_path / "p.png", count=401)
    (tmp_path / "mine.png").write_bytes(b"not a preview")
    with pytest.raises(InputError, match="existing file"):
        draw_augmentations(image, tmp_path / "mine.png")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_a_contact_sheet_shows_images_of_the_source() -> None:
    source = open_source("digits", "test")
    sheet = np.array(contact_sheet(source, count=5, seed=1))
    assert np.array_equal(sheet, np.array(contact_sheet(source, count=5, seed=1)))
    assert not np.array_equal(sheet, np.array(contact_sheet(source, count=5, seed=2)))


def test_the_command_draws_grids_and_sheets(tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", str(tmp_path / "out.png")
    Image.fromarray(specimen().numpy()).save(photo)
    config = tmp_path / "run.toml"
    config.write_text('seed = 5\n[data]\nsource = "digits"\n[[data.augment]]\nname = "affine"\n')
    sizes = set()
    for arguments in (
        [str(photo), "--augment", "equalize", "--augment", "affine", "--epoch", "2"],
        [str(photo), "--config", str(config)],
        ["--config", str(config), "--sample", "11"],
        ["digits", "--contact", "10", "--split", "test"],
        [str(photo), "--protocol", "torchvision"],
        [str(photo), "--protocol", "timm:crop_pct=0.95,crop_mode=border", "--protocol", "efficientnet-tf"],
    ):
        assert main(["preview", *arguments, "-o", out]) == 0
        sizes.add(read_image(out).shape)
    assert len(sizes) == 6
    for wrong in ([], ["--config", str(config), "--sample", "-1"], [str(photo), "--augment", "sharpen"]):
        assert main(["preview", *wrong, "-o", out]) == 2


def test_notebooks_get_words_and_a_picture() -> None:
    chain = build_transform(CHAIN)
    for html, words in (
        (chain._repr_html_(), "rand_augment"),
        (AUGMENTATIONS["shear"]()._repr_html_(), "shears along"),
        (open_source("digits")._repr_html_(), "10 classes"),  # type: ignore[attr-defined]
        (build_transform()._repr_html_(), "no augmentation"),
    ):
        assert words in html
        found = re.search(r'base64,([^"]+)"', html)
        assert found is not None
        assert Image.open(BytesIO(base64.b64decode(found[1]))).width > 200


def test_the_specimen_is_always_the_same_scene() -> None:
    assert torch.equal(specimen(), specimen())
    assert specimen(7, 300).shape == (7, 300, 3)
    assert float(specimen().float().std()) > 30
