"""Does a transform that reads only a part of an image give what it gives for the whole, to the bit?"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint.data import Loader, jpeg, open_source
from mezzotint.data.batch import Normalise
from mezzotint.data.content import file_content
from mezzotint.data.decode import read_image, read_part, read_parts
from mezzotint.data.maker import BatchMaker
from mezzotint.data.part import Part, Wanted
from mezzotint.data.preprocess import preprocess
from mezzotint.data.protocols import PROTOCOLS, get_protocol
from mezzotint.data.random import Key
from mezzotint.data.sources.folder import FolderSource
from mezzotint.data.transform import Compose, Evaluate, PartTransform, build_transform
from mezzotint.errors import DataError, ImageError
from mezzotint.kernels.images import Box, Size

SIDE = st.integers(1, 400)
CHAINS: list[list[dict[str, Any]]] = [
    [{"name": "random_resized_crop", "size": 32}],
    [{"name": "random_resized_crop", "size": (20, 50)}, {"name": "horizontal_flip"}, {"name": "rand_augment"}],
    [{"name": "horizontal_flip"}, {"name": "random_resized_crop", "size": 32}],
    [{"name": "random_crop"}],
    [],
]


def noise(height: int, width: int) -> Tensor:
    rng = np.random.default_rng(height * 1000 + width)
    return torch.from_numpy(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def exactly_wanted(transform: PartTransform, image: Tensor, key: Key) -> Part:
    size = Size(image.shape[0], image.shape[1])
    box = transform.wanted(size, key)
    return Part(image[box.top :, box.left :][: box.height, : box.width], box, size)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@given(st.integers(0, 1000), SIDE, SIDE)
def test_a_chain_on_what_it_wants(chain: list[dict[str, Any]], seed: int, height: int, width: int) -> None:
    image, transform, key = noise(height, width), build_transform(chain), Key(seed)
    assert isinstance(transform, PartTransform)
    assert torch.equal(transform.finish(exactly_wanted(transform, image, key), key), transform(image, key))


def test_a_chain_takes_more_than_it_wants() -> None:
    image, transform = noise(90, 80), build_transform(CHAINS[0])
    size = Size(90, 80)
    for seed in range(20):
        box = transform.wanted(size, Key(seed))
        more = Box(
            box.top // 2, box.left // 3, box.height + box.top - box.top // 2, box.width + box.left - box.left // 3
        )
        part = Part(image[more.top :, more.left :][: more.height, : more.width], more, size)
        assert torch.equal(transform.finish(part, Key(seed)), transform(image, Key(seed)))


NAMES = [*PROTOCOLS, "timm:crop_mode=border", "timm:crop_mode=squash,interpolation=bicubic", "central875:offset=ceil"]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(SIDE, SIDE)
def test_a_protocol_on_what_it_wants(name: str, height: int, width: int) -> None:
    image, transform, key = noise(height, width), Evaluate(name), Key(0)
    made = transform.finish(exactly_wanted(transform, image, key), key)
    stepwise = image
    for step in get_protocol(name).steps:
        stepwise = step(stepwise)
    assert torch.equal(made, transform(image, key))
    if made.dtype == torch.uint8:
        assert torch.equal(made, stepwise.permute(2, 0, 1))


def test_less_of_a_photograph_is_decoded() -> None:
    for name, share in (("squash256", 0.82), ("torchvision", 0.70), ("central875", 0.80), ("inception", 1.0)):
        box = get_protocol(name).wanted(Size(500, 375))
        assert box.height * box.width <= share * 500 * 375


def as_jpeg(image: Tensor, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).convert(mode).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_files_are_preprocessed_from_their_part(tmp_path: Path) -> None:
    data = as_jpeg(noise(300, 400))
    (tmp_path / "a.jpg").write_bytes(data)
    for name in NAMES:
        whole = preprocess(read_image(data), name)
        assert torch.equal(preprocess(data, name), whole)
        assert torch.equal(preprocess(tmp_path / "a.jpg", name), whole)


DONE_AT_ONCE = [
    build_transform(CHAINS[0]),
    build_transform(CHAINS[1]),
    build_transform([{"name": "random_resized_crop", "size": 40, "interpolation": "lanczos"}]),
    *(Evaluate(name) for name in ("squash256", "central875", "torchvision", "timm", "timm:crop_pct=0.95")),
]
STEPWISE = [build_transform(CHAINS[2]), build_transform([]), Evaluate("keras")]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("transform", [*DONE_AT_ONCE, *STEPWISE], ids=lambda transform: transform.describe()[:60])
@settings(max_examples=12)
@given(st.integers(0, 1000), st.integers(1, 150), st.integers(1, 150))
def test_what_is_resized_at_once(transform: Compose | Evaluate, mode: str, seed: int, height: int, width: int) -> None:
    data, key = as_jpeg(noise(height, width), mode), Key(seed)
    whole = transform(read_image(data), Key(seed))
    part = read_part(data, lambda size: transform.first(size, key), name="a file")
    assert torch.equal(transform.finish(part, key), whole)
    if jpeg.turbo_problem() is None:
        assert (part.resized is not None) == (transform in DONE_AT_ONCE)


def test_what_cannot_be_resized_at_once_is_read_and_resized() -> None:
    transform, key = DONE_AT_ONCE[1], Key(4)
    for kind in ("PNG", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(noise(60, 70).numpy()).save(buffer, kind)
        part = read_part(buffer.getvalue(), lambda size: transform.first(size, key), name="a file")
        assert part.resized is None
        assert torch.equal(transform.finish(part, key), transform(noise(60, 70), key))
    cmyk = as_jpeg(noise(60, 70), "CMYK")
    part = read_part(cmyk, lambda size: transform.first(size, key), name="a file")
    assert torch.equal(transform.finish(part, key), transform(read_image(cmyk), key))
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_part(as_jpeg(noise(60, 70))[:900], lambda size: transform.first(size, key), name="a file")


def as_png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("transform", [*DONE_AT_ONCE, *STEPWISE], ids=lambda transform: transform.describe()[:60])
def test_files_that_are_read_together(transform: Compose | Evaluate) -> None:
    image = noise(90, 70)
    files = {
        "a": as_jpeg(image),
        "another": as_jpeg(noise(64, 120)),
        "grey": as_jpeg(noise(50, 60), "L"),
        "cmyk": as_jpeg(noise(50, 60), "CMYK"),
        "png": as_png(noise(40, 30)),
        "cut short": as_jpeg(image)[:900],
        "cut short in the end": as_jpeg(image)[:-200],
        "no image": b"text",
        "png cut short": as_png(image)[:500],
        "last": as_jpeg(image),
    }
    wanted = [lambda size, at=at: transform.first(size, Key(at)) for at in range(len(files))]
    together = read_parts(list(files.values()), wanted, names=list(files))
    for (name, data), want, part in zip(files.items(), wanted, together, strict=True):
        try:
            one = read_part(data, want, name=name)
        except ImageError:
            assert part is None, name
        else:
            assert part is not None, name
            assert torch.equal(part.levels, one.levels), name
            assert part[1:] == one[1:], name


def test_a_wish_that_fails_is_nobody_elses() -> None:
    def fails(size: Size) -> Box:
        raise RuntimeError("a transform of one's own")

    first, second = read_parts([as_jpeg(noise(9, 9))] * 2, [fails, lambda size: size.whole], names=["a", "b"])
    assert first is None
    assert second is not None
    assert second.levels.shape == (9, 9, 3)


def test_a_source_that_reads_in_its_own_way_is_asked_for_each_sample(tmp_path: Path) -> None:
    class Inverted(FolderSource):
        def read_part(self, index: int, wanted: Wanted | None) -> tuple[Part, int]:
            part, label = super().read_part(index, None)
            return part._replace(levels=255 - part.levels), label

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(as_jpeg(noise(40, 50)))
    maker = BatchMaker(Inverted(tmp_path), Evaluate("squash256"), Normalise(None, None), 0)
    (sample,) = maker.samples(0, np.array([0]))
    image = 255 - read_image(tmp_path / "a" / "1.jpg")
    assert torch.equal(sample.image, Evaluate("squash256")(image, Key(0)))


@pytest.mark.parametrize("index", [-1, 1])
def test_a_sample_that_is_not_there_is_not_read_with_others(tmp_path: Path, index: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(as_jpeg(noise(40, 50)))
    source = FolderSource(tmp_path)
    there, absent = source.read_parts([0, index], [lambda size: size.whole] * 2)
    assert there is not None
    assert absent is None
    with pytest.raises(IndexError, match=f"sample {index} of 1"):
        source.read_part(index, None)


def test_the_content_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = tmp_path / "file", bytes(range(256)) * 40
    path.write_bytes(content)
    assert file_content(path) == content
    (tmp_path / "empty").write_bytes(b"")
    assert file_content(tmp_path / "empty") == b""
    with pytest.raises(FileNotFoundError):
        file_content(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        file_content(tmp_path)
    read = os.read
    monkeypatch.setattr(os, "read", lambda file, count: read(file, min(count, 1000)))  # as a network's may
    assert file_content(path) == content
    assert file_content("/proc/self/stat").startswith(str(os.getpid()).encode())  # its size is said to be 0


@pytest.mark.parametrize(
    "transform", [build_transform(CHAINS[1]), Evaluate("squash256"), None], ids=["chain", "eval", ""]
)
def test_a_loader_gives_the_pixels_of_whole_images(tmp_path: Path, transform: Compose | Evaluate | None) -> None:
    for number in range(6):
        (tmp_path / f"c{number % 2}").mkdir(exist_ok=True)
        (tmp_path / f"c{number % 2}" / f"{number}.jpg").write_bytes(as_jpeg(noise(120, 150)))
    source = open_source(tmp_path, "all")
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    loader = Loader(source, transform, batch_size=6, shuffle=False, seed=3, mean=mean, std=std)
    batch = next(iter(loader))
    assert batch.images.is_contiguous()
    for index in range(6):
        image = source.read(index)[0]
        made = image.permute(2, 0, 1) if transform is None else transform(image, Key(3, 0, index))
        assert torch.equal(batch.images[index], Normalise(mean, std)(made[None])[0])


def test_what_a_transform_refuses_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "small.jpg").write_bytes(as_jpeg(noise(20, 20)))
    transform = build_transform([{"name": "random_crop", "size": 64}])
    maker = BatchMaker(open_source(tmp_path, "all"), transform, Normalise(None, None), 0, "quarantine")
    with pytest.raises(DataError, match=r"small.jpg.*random_crop.size"):
        maker.sample(0, 0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_a_crop_is_resized_as_by_pillow(interpolation: str) -> None:
    image, key = noise(90, 120), Key(5)
    crop = build_transform([{"name": "random_resized_crop", "size": (40, 50), "interpolation": interpolation}])
    box = crop.parameters(key, 90, 120)["random_resized_crop"]
    cut = image[box["top"] :, box["left"] :][: box["height"], : box["width"]]
    picture = Image.fromarray(cut.numpy()).resize((50, 40), Image.Resampling[interpolation.upper()])
    assert torch.equal(crop(image, key).permute(1, 2, 0), torch.from_numpy(np.array(picture)))
