"""Do bad images leave the epoch as it is, all but themselves, and is every one of them told once?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loader_parts import CROP, Drawn, by_sample, digest, write_folder
from torch import Tensor

from mezzotint.data import Key, Loader, open_source
from mezzotint.data.quarantine import BadSample, Quarantine
from mezzotint.errors import CheckpointError, ConfigError, DataError, ImageError

BROKEN = frozenset({3, 17, 30})


def loader(broken: frozenset[int] = BROKEN, count: int = 40, **options: object) -> Loader:
    options = {"batch_size": 9, "seed": 4, "on_error": "quarantine", "max_bad": 0.5, **options}
    return Loader(Drawn(count, broken), CROP, **options)  # type: ignore[arg-type]


@given(broken=st.frozensets(st.integers(0, 23), max_size=8), threads=st.integers(0, 2), epoch=st.integers(0, 3))
def test_all_but_the_bad_samples_are_those_of_a_whole_data_set(
    broken: frozenset[int], threads: int, epoch: int
) -> None:
    whole, holey = loader(frozenset(), 24), loader(broken, 24, threads=threads)
    whole.seek(epoch)
    holey.seek(epoch)
    expected, found = list(whole), list(holey)
    assert [batch.indices.tolist() for batch in found] == [batch.indices.tolist() for batch in expected]
    pixels, others = by_sample(expected), by_sample(found)
    assert {index for index in pixels if pixels[index] != others[index]} == broken
    assert {sample.index for sample in holey.quarantine} == broken
    assert len(holey.quarantine) == len(broken)


def test_the_stand_in_is_another_sample_with_its_label_and_the_bad_ones_key() -> None:
    def plain(image: Tensor, key: Key) -> Tensor:
        return image.permute(2, 0, 1)

    source = Drawn(40, BROKEN)
    stands: dict[int, list[bytes]] = {}
    images = {
        source.read(index)[0].permute(2, 0, 1).numpy().tobytes(): index for index in range(40) if index not in BROKEN
    }
    for epoch in range(6):
        one = Loader(source, plain, batch_size=40, on_error="quarantine", max_bad=1)
        for index in BROKEN:
            image, label = one.sample_at(epoch, index)
            other = images[image.numpy().tobytes()]
            assert label == other % 5
            stands.setdefault(index, []).append(image.numpy().tobytes())
    assert all(len(set(drawn)) > 1 for drawn in stands.values()), "drawn anew in every epoch"
    keyed = Loader(source, lambda image, key: torch.tensor([[[key.integers(0, 256)]]], dtype=torch.uint8), batch_size=1)
    keyed._maker.on_error = "quarantine"
    assert int(keyed.sample_at(2, 3)[0]) == Key(0, 2, 3).integers(0, 256)


def test_the_report_belongs_to_the_place_and_not_to_what_was_prefetched() -> None:
    one = loader(shuffle=False, batch_size=10, threads=2)
    met = [([sample.index for sample in batch.bad], len(one.quarantine)) for batch in one]
    assert met == [([3], 1), ([17], 2), ([], 2), ([30], 3)]
    list(one)
    assert [sample.name for sample in one.quarantine] == ["drawn-3", "drawn-17", "drawn-30"], "each once"
    assert next(iter(one.quarantine)).reason == "drawn-3: it is damaged"
    assert repr(one.quarantine) == "Quarantine(3 of at most 20 bad samples of 40 drawn images)"


def test_the_report_travels_with_the_state() -> None:
    whole, first = loader(threads=2), loader()
    expected = [digest(batch) for _ in range(2) for batch in whole]
    batches = iter(first)
    head = [digest(next(batches)) for _ in range(3)]
    state = json.loads(json.dumps(first.state_dict()))
    resumed = loader(threads=1)
    resumed.load_state_dict(state)
    assert resumed.quarantine.records() == first.quarantine.records() != []
    assert head + [digest(batch) for _ in range(2) for batch in resumed] == expected
    assert resumed.quarantine.records() == whole.quarantine.records()
    assert "quarantine" not in loader(frozenset()).state_dict()


@pytest.mark.parametrize(
    "records", [[{"index": 40, "name": "a", "reason": "b"}], [{"index": 1}], [3], None, [{"index": "x", "name": 1}]]
)
def test_a_damaged_report_is_refused_and_nothing_changes(records: object) -> None:
    one = loader()
    next(iter(one))
    before = one.state_dict()
    with pytest.raises(CheckpointError, match="quarantine"):
        one.load_state_dict({**before, "position": 0, "quarantine": records})
    assert one.state_dict() == before


@pytest.mark.parametrize("threads", [0, 2])
def test_fail_is_the_default(threads: int) -> None:
    one = Loader(Drawn(40, BROKEN), CROP, batch_size=10, shuffle=False, threads=threads)
    with pytest.raises(ImageError, match="drawn-3: it is damaged"):
        list(one)
    assert not one.quarantine


@pytest.mark.parametrize("threads", [0, 2])
def test_rotten_data_stops_the_loader(threads: int) -> None:
    one = loader(frozenset(range(0, 40, 4)), max_bad=0.1, shuffle=False, batch_size=8, threads=threads)
    batches = iter(one)
    next(batches)
    next(batches)
    match = r"bad samples of 40 drawn images: received 6 of 40.*drawn-0.*at most 4, as max_bad is 0\.1.*raise max_bad"
    with pytest.raises(DataError, match=match):
        next(batches)
    assert one.position == 2
    assert 16 in one.quarantine


def test_one_bad_sample_is_always_borne() -> None:
    one = loader(frozenset({5}), max_bad=0)
    list(one)
    assert one.quarantine.limit == len(one.quarantine) == 1


def test_nothing_to_stand_in() -> None:
    for source in (Drawn(1, frozenset({0})), Drawn(6, frozenset(range(6)))):
        one = Loader(source, CROP, batch_size=1, on_error="quarantine", max_bad=1)
        with pytest.raises(DataError, match=r"stand-in for drawn-\d.*other samples"):
            list(one)


@pytest.mark.parametrize("error", [ZeroDivisionError, ImageError])
def test_a_failing_transform_is_no_bad_image(error: type[Exception]) -> None:
    def broken(image: Tensor, key: Key) -> Tensor:
        raise error("its own fault")

    with pytest.raises(error, match="its own fault"):
        list(Loader(Drawn(4), broken, batch_size=2, on_error="quarantine", max_bad=1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"on_error": "quarantin"}, "on_error.*Did you mean 'quarantine'"),
        ({"on_error": None}, "on_error"),
        ({"max_bad": 1.5}, "max_bad"),
        ({"max_bad": True}, "max_bad"),
        ({"prefetch_bytes": -1}, "prefetch_bytes"),
        ({"processes": 1.0}, "processes"),
        ({"processes": 1, "threads": 1}, "threads and processes"),
    ],
)
def test_impossible_settings(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        loader(**options)


def test_damaged_files_of_a_folder(tmp_path: Path) -> None:
    source = open_source(write_folder(tmp_path, damaged=(2, 11)))
    one = Loader(source, CROP, batch_size=7, threads=2, on_error="quarantine", max_bad=0.05)
    assert sum(len(batch) for batch in one) == 40
    (first, second) = one.quarantine.records()
    assert [first["name"], second["name"]] == [source.name(2), source.name(11)]
    assert source.name(2) in first["reason"]


def test_a_report_needs_no_loader() -> None:
    report = Quarantine("here", 10, 0.2)
    report.add([BadSample(index=4, name="x", reason="y"), BadSample(index=1, name="z", reason="y")])
    report.add([BadSample(index=4, name="x", reason="told again")])
    assert [record["index"] for record in report.records()] == [1, 4]
    assert [sample.index for sample in report] == [4, 1]
    assert report.records()[1]["reason"] == "y"
