"""Does a recipe fit images and machine, say why, and give a configuration that trains?"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.data.survey import Found, PartFound, Survey
from mezzotint.errors import ConfigError, DataError
from mezzotint.kernels.resources import Resources
from mezzotint.models import MODELS, build
from mezzotint.train.config_file import parse_config
from mezzotint.train.recipe import HOLD_OUT, Recipe, recipe, run_name, with_overrides
from mezzotint.train.recipe_text import commented

GIB = 2**30
SERVER = Resources(logical=2, affinity=2, quota=None, memory=16 * GIB, available=12 * GIB)


def part(split: str, counts: tuple[int, ...], sizes: list[tuple[int, int]], bad: int = 0) -> PartFound:
    found = [
        Found(size=size, mode="RGB", form="JPEG", digest=bytes([place % 256]), decoded=True, problem=None)
        for place, size in enumerate(sizes)
    ]
    found += [Found(size=None, mode="", form="", digest=b"", decoded=True, problem="damaged")] * bad
    rows = tuple(range(len(found)))
    names = tuple(map(str, rows))
    return PartFound(
        split=split, words="images", counts=counts, rows=rows, labels=(0,) * len(rows), names=names, found=tuple(found)
    )


def images(
    counts: tuple[int, ...],
    sizes: list[tuple[int, int]],
    *,
    test: bool = False,
    classes: tuple[str, ...] = (),
    bad: int = 0,
    encoded: bool = True,
    channels: int = 3,
) -> Survey:
    return Survey(
        where="photos",
        kind="folder",
        classes=classes or tuple(f"class {place}" for place in range(len(counts))),
        train=part("train", counts, sizes, bad),
        test=part("test", counts, sizes) if test else None,
        channels=channels,
        encoded=encoded,
    )


def fitted(survey: Survey, machine: Resources = SERVER, **options: Any) -> Recipe:
    return recipe(survey, machine, bf16=True, **options)


SIZES = st.lists(st.tuples(st.integers(4, 900), st.integers(4, 900)), min_size=1, max_size=4)


@given(
    counts=st.lists(st.integers(2, 400_000), min_size=2, max_size=4).map(tuple),
    sizes=st.one_of(SIZES, st.integers(4, 300).map(lambda side: [(side, side)])),
    test=st.booleans(),
    bad=st.integers(0, 3),
    encoded=st.booleans(),
    cores=st.integers(1, 128),
    available=st.one_of(st.none(), st.integers(GIB // 4, 64 * GIB)),
    load=st.floats(0, 200),
    minutes=st.floats(0.1, 10_000),
    bf16=st.booleans(),
)
def test_every_recipe_is_a_configuration_with_reasons(
    counts: tuple[int, ...],
    sizes: list[tuple[int, int]],
    test: bool,
    bad: int,
    encoded: bool,
    cores: int,
    available: int | None,
    load: float,
    minutes: float,
    bf16: bool,
) -> None:
    machine = Resources(logical=cores, affinity=cores, quota=None, memory=available, available=available, load=load)
    survey = images(counts, sizes, test=test, bad=bad, encoded=encoded)
    made = recipe(survey, machine, bf16=bf16, minutes=minutes)
    text = commented(made, ["a heading", "with \x1b an odd name"])
    config = parse_config(text)
    assert tomllib.loads(text) == made.table
    assert all(made.reasons[f"{section}.{key}"] for section in made.table if section not in ("name", "threads")
               for key in made.table[section])  # fmt: skip
    assert (config.data.hold_out is None) == test
    trained = sum(counts) if test else sum(counts) - sum(max(1, round(HOLD_OUT * count)) for count in counts)
    assert config.data.batch_size <= max(1, trained), "an epoch has a batch"
    assert config.model.name in MODELS
    assert made.seconds is not None
    if config.schedule.epochs > 3:
        assert made.seconds <= 61 * minutes or minutes * 60 < made.seconds * 1.5


@pytest.mark.parametrize(
    ("count", "sizes", "machine", "network", "side"),
    [
        (1_400, [(8, 8)], SERVER, "digits_cnn", None),
        (1_000, [(32, 32)], SERVER, "resnet20", None),
        (6_000, [(28, 28)], SERVER, "wrn_16_2", None),
        (50_000, [(32, 32)], SERVER, "wrn_28_2", None),
        (3_000, [(375, 500), (500, 333)], SERVER, "resnet18", 224),
        (60_000, [(375, 500)], SERVER, "resnet18", 96),
        (60_000, [(375, 500)], replace(SERVER, logical=64, affinity=64), "resnet50", 224),
        (3_000, [(100, 120), (130, 110)], SERVER, "resnet18", 96),
        (3_000, [(40, 50), (30, 30)], SERVER, "wrn_16_2", 32),
    ],
)
def test_the_network_fits_number_size_and_machine(
    count: int, sizes: list[tuple[int, int]], machine: Resources, network: str, side: int | None
) -> None:
    config = parse_config(commented(fitted(images((count // 2, count // 2), sizes, test=True), machine), []))
    assert config.model.name == network
    assert config.data.augment[0].get("size") == side
    assert config.data.protocol == (side and f"torchvision:img_size={side},resize_size={round(side * 256 / 224)}")
    size = sizes[0] if side is None else (side, side)
    build(network, num_classes=2, image_size=size)  # no image is too small for it


def test_grey_arrays_get_the_network_that_was_made_for_them() -> None:
    made = fitted(images((30_000, 30_000), [(28, 28)], test=True, classes=("0", "1"), channels=1, encoded=False))
    config = parse_config(commented(made, []))
    assert config.model.name == "lenet5_caffe"
    assert config.optimizer.clip_norm == 1.0, "it has no batch norms"
    assert config.data.augment == ({"name": "random_crop", "padding": 2, "fill": "zero"},)


def test_time_is_kept_by_smaller_networks_then_by_fewer_epochs() -> None:
    survey = images((2_000, 2_000), [(375, 500)], test=True)
    long, short, shorter = (fitted(survey, minutes=minutes).table for minutes in (60, 3, 0.5))
    assert long["data"]["augment"][0]["size"] > short["data"]["augment"][0]["size"]
    assert shorter["schedule"]["epochs"] < short["schedule"]["epochs"]


def test_what_becomes_of_damaged_images() -> None:
    whole = fitted(images((100, 100), [(32, 32)] * 200)).table["data"]
    assert whole["cache"] is True
    assert "on_error" not in whole
    damaged = fitted(images((101, 101), [(32, 32)] * 200, bad=2)).table["data"]
    assert damaged["on_error"] == "quarantine"
    assert "cache" not in damaged
    assert damaged["max_bad"] == pytest.approx(0.02)


def test_letters_and_digits_are_not_mirrored() -> None:
    for classes, mirrored in ((("0", "1"), False), (("a", "b"), False), (("cat", "dog"), True)):
        steps = fitted(images((50, 50), [(32, 32)], classes=classes)).table["data"]["augment"]
        assert ({"name": "horizontal_flip"} in steps) is mirrored


def test_little_memory_means_small_batches() -> None:
    survey = images((2_000, 2_000), [(375, 500)], test=True)
    assert fitted(survey).table["data"]["batch_size"] == 64
    assert fitted(survey, replace(SERVER, available=GIB)).table["data"]["batch_size"] < 32


def test_a_busy_machine_gets_fewer_threads() -> None:
    survey = images((2_000, 2_000), [(375, 500)], test=True)
    assert "threads" not in fitted(survey).table
    assert fitted(survey, replace(SERVER, load=1.4)).table["threads"] == 1


def test_overrides_stand_with_their_reason() -> None:
    made = fitted(images((500, 500), [(32, 32)]))
    changed = with_overrides(made, ["schedule.epochs=3", "optimizer.momentum=0.8"])
    assert changed.table["schedule"]["epochs"] == 3
    assert made.table["schedule"]["epochs"] > 3, "the recipe itself is left as it is"
    assert changed.seconds == pytest.approx(made.seconds * 3 / made.table["schedule"]["epochs"])
    text = commented(changed, [])
    assert "epochs = 3  # as asked for with --set" in text
    assert parse_config(text).optimizer.momentum == 0.8
    with pytest.raises(ConfigError, match=r"Did you mean 'schedule\.epochs'"):
        parse_config(commented(with_overrides(made, ["data.epochs=3"]), []))


@pytest.mark.parametrize("name", MODELS)
def test_any_network_can_be_asked_for(name: str) -> None:
    """Layers that stay dense are named; those of another network may have other names."""
    made = with_overrides(fitted(images((500, 500), [(32, 32)])), [f"model.name={name}"])
    config = parse_config(commented(made, []))
    modules = dict(build(name, num_classes=2, image_size=32).named_modules())
    assert set(config.sparsity.exclude) <= set(modules)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="two or more"):
        fitted(images((1, 1), [(32, 32)]))
    with pytest.raises(DataError, match="no image that can be read"):
        fitted(images((2, 2), [], bad=4))


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("my photos/", "my-photos"),
        ("a/b.tar", "b"),
        ("digits", "digits"),
        ("shards/train-*.tar", "train"),
        ("日本", "日本"),
        ("/", "run"),
    ],
)
def test_names_of_runs(where: str, name: str) -> None:
    assert run_name(where) == name
