"""Is a pack what was put in, to the bit, whatever interrupts it, and is every damage found and named?"""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mezzotint.data.packing import PackSettings, pack
from mezzotint.data.packing.draft import journal_path, part_path
from mezzotint.data.packing.pack import order
from mezzotint.data.source import EncodedSource, open_source
from mezzotint.data.sources.packed import PackedSource
from mezzotint.data.sources.packindex import IndexRows, index_path, read_index, to_bytes
from mezzotint.data.sources.tar import TarSource
from mezzotint.errors import ConfigError, DataError, ImageError

WEBDATASET_NAME = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")  # webdataset.tariterators.base_plus_ext


def save(path: Path, value: int, form: str = "JPEG", size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, form)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven images of two classes in three formats; one has a wrong extension, one a name of its own kind."""
    for number in range(8):
        save(tmp_path / "images" / ("cat" if number % 3 else "dog") / f"{number}.v1.jpg", number)
    save(tmp_path / "images" / "dog" / "no_jpeg.JPEG", 20, "PNG")
    save(tmp_path / "images" / "dog" / "漢字 ü.webp", 21, "WEBP")
    save(tmp_path / "images" / "cat" / "large.jpg", 22, size=(90, 60))
    return tmp_path / "images"


def contents(source: EncodedSource) -> list[tuple[str, int, bytes]]:
    return [(source.name(index), int(source.labels[index]), source.encoded(index)) for index in range(len(source))]


def images_in(folder: Path) -> EncodedSource:
    source = open_source(folder)
    assert isinstance(source, EncodedSource)
    return source


def written(output: Path) -> tuple[bytes, bytes]:
    return output.read_bytes(), index_path(output).read_bytes()


@pytest.mark.parametrize("shuffle", [None, 5])
def test_round_trip_is_bit_exact(folder: Path, tmp_path: Path, shuffle: int | None) -> None:
    source = images_in(folder)
    result = pack(source, tmp_path / "a.tar", PackSettings(shuffle=shuffle), threads=2)
    assert (result.finished, result.images, result.skipped) == (True, 11, ())
    assert result.bytes == (tmp_path / "a.tar").stat().st_size
    packed = open_source(tmp_path / "a.tar")
    assert isinstance(packed, PackedSource)
    assert packed.classes == source.classes
    everything = contents(source)
    assert contents(packed) == [everything[index] for index in order(11, shuffle).tolist()]
    assert (contents(packed) == everything) == (shuffle is None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "a.tar.mzindex", "images"]


def test_names_follow_webdatasets_rules(folder: Path, tmp_path: Path) -> None:
    pack(images_in(folder), tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        infos = archive.getmembers()
        labels = [archive.extractfile(info).read() for info in infos[1::2]]  # type: ignore[union-attr]
    parts = [WEBDATASET_NAME.fullmatch(info.name) for info in infos]
    assert all(parts)
    pairs = [part.groups() for part in parts if part]
    assert [image[0] for image in pairs[::2]] == [label[0] for label in pairs[1::2]] == [f"{n:09d}" for n in range(11)]
    assert {extension for _, extension in pairs[::2]} == {"jpg", "png", "webp"}
    assert {extension for _, extension in pairs[1::2]} == {"cls"}
    assert [int(label) for label in labels] == images_in(folder).labels.tolist()
    assert {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info in infos} == {(0, 0, 0, "", 0o644)}


def test_without_its_index_a_pack_is_an_ordinary_tar(folder: Path, tmp_path: Path) -> None:
    pack(images_in(folder), tmp_path / "a.tar")
    index_path(tmp_path / "a.tar").unlink()
    source = open_source(tmp_path / "a.tar")
    assert isinstance(source, TarSource)
    assert source.labels.tolist() == images_in(folder).labels.tolist()
    assert source.classes == ("0", "1")


def test_larger_images_are_reduced_and_others_copied(folder: Path, tmp_path: Path) -> None:
    source = images_in(folder)
    pack(source, tmp_path / "a.tar", PackSettings(size=20, quality=95))
    packed = PackedSource(tmp_path / "a.tar")
    assert "shorter sides up to 20" in packed.describe()
    for index, (name, _, content) in enumerate(contents(source)):
        if name != "cat/large.jpg":
            assert packed.encoded(index) == content
            continue
        small = Image.open(io.BytesIO(packed.encoded(index)))
        expected = Image.open(folder / name).convert("RGB").resize((30, 20), Image.Resampling.LANCZOS)
        assert small.size == (30, 20)
        assert (small.format, small.layer[1][1:3]) == ("JPEG", (1, 1))  # type: ignore[attr-defined]
        error = np.asarray(small).astype(int) - np.asarray(expected)
        assert np.abs(error).mean() < 6


def test_sizes_are_rounded_as_in_torchvision(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a" / "tall.jpg", 1, size=(375, 500))
    save(tmp_path / "images" / "a" / "wide.jpg", 2, size=(401, 300))
    pack(images_in(tmp_path / "images"), tmp_path / "a.tar", PackSettings(size=256))
    packed = PackedSource(tmp_path / "a.tar")
    assert [tuple(packed.read(index)[0].shape[:2]) for index in range(2)] == [(341, 256), (256, 342)]


def test_images_that_are_no_files_become_png(tmp_path: Path) -> None:
    digits = open_source("digits", "test")
    pack(digits, tmp_path / "a.tar", threads=2)
    packed = open_source(tmp_path / "a.tar")
    for index in (0, 100, 359):
        image, label = digits.read(index)
        read, read_label = packed.read(index)
        assert torch.equal(read, image.expand(-1, -1, 3))
        assert (read_label, packed.name(index)) == (label, digits.name(index))


def test_bytes_do_not_depend_on_threads(folder: Path, tmp_path: Path) -> None:
    settings = PackSettings(size=8, shuffle=1)
    for threads in (1, 3):
        pack(images_in(folder), tmp_path / f"{threads}.tar", settings, threads=threads)
    assert written(tmp_path / "1.tar") == written(tmp_path / "3.tar")


KILLS = """
import os, signal, sys
from pathlib import Path
from mezzotint.data.packing import PackSettings, draft, pack
from mezzotint.data.source import open_source
from mezzotint.data.sources.packindex import index_path

folder, place, overwrite = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "overwrite"
sys.modules["mezzotint.data.packing.pack"].COMMIT_EVERY = 3
source, settings = open_source(folder), PackSettings(size=8, shuffle=2)

def ends(output, moment):
    "Pack in a process that kills itself at a moment, before or after one of the steps; whether it came to its end."
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    left = moment

    def tick():
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(function):
        def wrapper(*args, **kwargs):
            tick()
            result = function(*args, **kwargs)
            tick()
            return result
        return wrapper

    os.fsync, draft.Draft.add = deadly(os.fsync), deadly(draft.Draft.add)
    Path.replace, Path.unlink = deadly(Path.replace), deadly(Path.unlink)
    try:
        pack(source, output, settings, overwrite=overwrite)
        os._exit(0)
    finally:
        os._exit(1)

assert ends(place / "whole.tar", 10**9)
moment, ended = 0, False
while not ended:
    moment += 1
    output = place / f"{moment}.tar"
    if overwrite:
        output.write_bytes(b"old")
    ended = ends(output, moment)
    after_the_last_step = not overwrite and output.exists() and not draft.journal_path(output).exists()
    assert ended or after_the_last_step or ends(output, 7) or ends(output, 10**9), moment
    assert output.read_bytes() == (place / "whole.tar").read_bytes(), moment
    assert index_path(output).read_bytes() == index_path(place / "whole.tar").read_bytes(), moment
    assert not [*place.glob("*.part"), *place.glob("*.journal")], moment
print(moment)
"""


@pytest.mark.parametrize("output", ["new", "overwrite"])
def test_a_kill_at_any_moment_changes_nothing(folder: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "out").mkdir()
    words = [sys.executable, "-c", KILLS, str(folder), str(tmp_path / "out"), output]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40, "there were many moments"


def test_stopping_and_going_on(folder: Path, tmp_path: Path) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"
    pack(source, tmp_path / "whole.tar")
    done: list[int] = []
    result = pack(source, output, watch=done.append, stop=lambda: done[-1] == 4)
    assert (result.finished, result.images, output.exists()) == (False, 4, False)
    done.clear()
    assert pack(source, output, watch=done.append).finished
    assert done == list(range(4, 12))
    assert written(output) == written(tmp_path / "whole.tar")


@pytest.mark.parametrize("tail", [b'["torn', b"\0\0\0\0", b"\0\0\n", b"[1,\n"])
def test_what_a_power_failure_leaves_is_done_again(folder: Path, tmp_path: Path, tail: bytes) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"
    pack(source, tmp_path / "whole.tar")
    done: list[int] = []
    pack(source, output, watch=done.append, stop=lambda: done[-1] == 4)
    with journal_path(output).open("ab") as journal, part_path(output).open("ab") as part:
        journal.write(tail)
        part.write(b"half of an image")
    assert pack(source, output).finished
    assert written(output) == written(tmp_path / "whole.tar")


def stopped_after(source: EncodedSource, output: Path, count: int, settings: PackSettings | None = None) -> None:
    done: list[int] = []
    assert not pack(source, output, settings, watch=done.append, stop=lambda: done[-1] == count).finished


def test_other_settings_do_not_go_on(folder: Path, tmp_path: Path) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"
    stopped_after(source, output, 4)
    with pytest.raises(DataError, match=r"size None -> 8.*--overwrite"):
        pack(source, output, PackSettings(size=8))
    save(folder / "dog" / "new.jpg", 40)
    with pytest.raises(DataError, match=r"names .*; samples 11 -> 12"):
        pack(images_in(folder), output)
    assert pack(images_in(folder), output, PackSettings(size=8), overwrite=True).images == 12


def test_an_unfinished_archive_that_lost_bytes_is_refused(folder: Path, tmp_path: Path) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"
    stopped_after(source, output, 4)
    os.truncate(part_path(output), 700)
    with pytest.raises(DataError, match=r"cut to 700 bytes.*--overwrite"):
        pack(source, output)
    assert pack(source, output, overwrite=True).images == 11
    pack(source, tmp_path / "whole.tar")
    assert written(output) == written(tmp_path / "whole.tar")


def test_a_finished_file_is_kept(folder: Path, tmp_path: Path) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"
    pack(source, output, PackSettings(size=8))
    before = written(output)
    with pytest.raises(DataError, match=r"a\.tar: received a file that exists.*--overwrite"):
        pack(source, output)
    assert written(output) == before
    assert pack(source, output, overwrite=True).finished
    assert written(output) != before


def test_two_processes_do_not_write_one_file(folder: Path, tmp_path: Path) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"

    def second(done: int) -> None:
        if done == 2:
            with pytest.raises(DataError, match="another process is writing"):
                pack(source, output)

    assert pack(source, output, watch=second).images == 11


def test_a_damaged_image_stops_packing_and_is_named(folder: Path, tmp_path: Path) -> None:
    victim, output = folder / "cat" / "large.jpg", tmp_path / "a.tar"
    whole = victim.read_bytes()
    pack(images_in(folder), tmp_path / "whole.tar")
    victim.write_bytes(whole[:-300])
    with pytest.raises(ImageError, match=r"cat/large\.jpg.*--on-error skip"):
        pack(images_in(folder), output, threads=2)
    assert not output.exists()
    victim.write_bytes(whole)
    done: list[int] = []
    assert pack(images_in(folder), output, watch=done.append).images == 11
    assert done[0] == 5, "what came before is kept"
    assert written(output) == written(tmp_path / "whole.tar")


def test_damaged_images_are_left_out_and_reported(folder: Path, tmp_path: Path) -> None:
    source, output = images_in(folder), tmp_path / "a.tar"
    rows = contents(source)
    (folder / "cat" / "large.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (folder / "dog" / "0.v1.jpg").unlink()
    with pytest.raises(ImageError):
        pack(source, output)
    assert not pack(source, output, on_error="skip", stop=lambda: True).finished
    with pytest.raises(DataError, match=r"large\.jpg.*--on-error skip"):
        pack(source, output, on_error="fail")
    result = pack(source, output, on_error="skip")
    assert [name for name, _ in result.skipped] == ["cat/large.jpg", "dog/0.v1.jpg"]
    assert "cannot be decoded" in result.skipped[0][1]
    assert "No such file" in result.skipped[1][1]
    packed = PackedSource(output)
    assert (len(packed), packed.classes) == (9, ("cat", "dog"))
    kept = [name for name, *_ in rows if name not in ("cat/large.jpg", "dog/0.v1.jpg")]
    assert [packed.name(index) for index in range(9)] == kept


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="at least one image"):
        pack(images_in(tmp_path / "images"), tmp_path / "a.tar", on_error="skip")


def test_places_that_cannot_be_written_and_arguments_out_of_range(folder: Path, tmp_path: Path) -> None:
    source = images_in(folder)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="File exists"):
        pack(source, tmp_path / "file" / "a.tar")
    with pytest.raises(ConfigError, match=r"ends in \.tar"):
        pack(source, tmp_path / "a.zip")
    with pytest.raises(ConfigError, match="threads"):
        pack(source, tmp_path / "a.tar", threads=0)
    with pytest.raises(ConfigError, match='"fail" or "skip"'):
        pack(source, tmp_path / "a.tar", on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="quality"):
        PackSettings(quality=101)
    with pytest.raises(ConfigError, match="size"):
        PackSettings(size=0)
    assert not (tmp_path / "a.tar.part").exists()


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    pack(images_in(folder), tmp_path / "a.tar")
    return tmp_path / "a.tar"


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 0x10
    path.write_bytes(raw)


def test_a_flipped_byte_of_an_image_is_found_and_named(packed: Path) -> None:
    index = read_index(index_path(packed))
    for image in (0, 4, 10):
        flip(packed, int(index.offsets[image]) + int(index.lengths[image]) // 2)
        with pytest.raises(ImageError, match=f"a\\.tar:{image:09d} \\({index.names[image]}\\).*checksum"):
            PackedSource(packed).read(image)
        assert len(PackedSource(packed, verify=False).encoded(image)) == index.lengths[image]
        trusting = open_source(packed, verify=False)
        assert isinstance(trusting, PackedSource)
        assert zlib.crc32(trusting.encoded(image)) != index.checksums[image]


def test_any_flipped_byte_of_the_index_is_found(packed: Path) -> None:
    whole = index_path(packed).read_bytes()
    for position in range(0, len(whole), 7):
        flip(index_path(packed), position)
        with pytest.raises(DataError, match=r"index .*a\.tar\.mzindex"):
            open_source(packed)
        index_path(packed).write_bytes(whole)
    assert len(open_source(packed)) == 11


@pytest.mark.parametrize("length", [0, 5, 8, 47, 48, 200])
def test_a_truncated_index_is_found(packed: Path, length: int) -> None:
    os.truncate(index_path(packed), length)
    with pytest.raises(DataError, match=r"index .*a\.tar\.mzindex.*--overwrite"):
        open_source(packed)


def test_another_format_or_version_of_the_index(packed: Path) -> None:
    raw = index_path(packed).read_bytes()
    index_path(packed).write_bytes(raw[:8] + b"\x02" + raw[9:])
    with pytest.raises(DataError, match="version 2 of the format"):
        open_source(packed)
    index_path(packed).write_bytes(b"v1.2 8\njpg 512 1000\n")
    with pytest.raises(DataError, match="begins with 76 31 2e 32"):
        open_source(packed)


def test_an_index_of_another_archive(packed: Path, folder: Path, tmp_path: Path) -> None:
    pack(images_in(folder), tmp_path / "b.tar", PackSettings(size=8))
    index_path(tmp_path / "b.tar").replace(index_path(packed))
    with pytest.raises(DataError, match=r"a\.tar: received an archive of \d+ bytes with the index of one of \d+"):
        open_source(packed)


def test_an_archive_without_index_is_refused_where_one_is_needed(packed: Path) -> None:
    index_path(packed).unlink()
    with pytest.raises(DataError, match=r"without a\.tar\.mzindex beside it.*mezzotint data pack"):
        PackedSource(packed)
    with pytest.raises(DataError, match="No such file"):
        PackedSource(packed.with_name("none.tar"))


def test_too_many_open_files(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=r"Too many open files.*ulimit -n"):
        PackedSource(packed)


def test_an_archive_that_shrinks_later_is_noticed(packed: Path) -> None:
    source = PackedSource(packed)
    os.truncate(packed, 600)
    with pytest.raises(DataError, match="unchanged archive"):
        source.read(10)


def test_classes_may_be_given(packed: Path) -> None:
    source = open_source(packed, classes=("dog", "bird", "cat"))
    own = PackedSource(packed)
    assert source.classes == ("dog", "bird", "cat")
    assert [source.read(index)[1] for index in range(11)] == [(2, 0)[label] for label in own.labels.tolist()]
    with pytest.raises(DataError, match="class 'dog'"):
        open_source(packed, classes=("cat",))


def test_pickling_carries_the_path_and_not_the_images(packed: Path) -> None:
    source = PackedSource(packed, ("dog", "cat"), verify=False)
    raw = pickle.dumps(source)
    assert len(raw) < 500
    again = pickle.loads(raw)
    assert (contents(again), again.classes, again._verify) == (contents(source), source.classes, False)


READ_IN_CHILD = """
import os, pickle, sys, zlib
source = pickle.load(sys.stdin.buffer)
total = lambda: sum(zlib.crc32(source.encoded(index)) for index in range(len(source)))
before, child = total(), os.fork()
if child == 0:
    os._exit(0 if total() == before else 1)
assert os.waitpid(child, 0)[1] == 0
print(before)
"""


def test_other_processes_read_the_same(packed: Path) -> None:
    words = [sys.executable, "-c", READ_IN_CHILD]
    done = subprocess.run(words, input=pickle.dumps(PackedSource(packed)), capture_output=True, check=True)
    assert int(done.stdout) == int(read_index(index_path(packed)).checksums.astype(np.int64).sum())


def test_tar_sources_can_be_pickled_and_notice_another_archive(packed: Path) -> None:
    index_path(packed).unlink()
    source = TarSource(packed)
    assert contents(pickle.loads(pickle.dumps(source))) == contents(source)
    raw = pickle.dumps(source)
    os.truncate(packed, 2048)
    with pytest.raises(DataError, match="2048 bytes"):
        pickle.loads(raw)


def test_threads_read_at_once(packed: Path) -> None:
    source = PackedSource(packed)
    expected = [content for *_, content in contents(source)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.encoded, list(range(11)) * 20)) == expected * 20


ROWS = st.lists(
    st.tuples(st.text(max_size=20), st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(0, 2)), max_size=20
)


@given(ROWS, st.lists(st.text(max_size=9), min_size=3, max_size=3), st.one_of(st.none(), st.integers(1, 4096)))
def test_index_round_trip(rows: list[tuple[str, int, int, int]], classes: list[str], size: int | None) -> None:
    grown = IndexRows()
    for name, offset, length, label in rows:
        grown.append(name, offset, length, label, zlib.crc32(name.encode("utf-8", "surrogatepass")))
    index = grown.index(classes=classes, size=size, quality=90, archive_bytes=2**42)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mzindex"
        path.write_bytes(to_bytes(index))
        read = read_index(path)
    assert (read.classes, read.size, read.quality, read.archive_bytes) == (tuple(classes), size, 90, 2**42)
    assert list(read.names) == [name for name, *_ in rows]
    columns: list[tuple[NDArray[np.generic], NDArray[np.generic]]] = [
        (getattr(read, name), getattr(index, name)) for name in ("offsets", "lengths", "labels", "checksums")
    ]
    assert all(np.array_equal(one, other) for one, other in columns)


@given(st.integers(1, 300), st.one_of(st.none(), st.integers(-(2**70), 2**70)))
def test_every_sample_is_packed_once(length: int, shuffle: int | None) -> None:
    assert sorted(order(length, shuffle).tolist()) == list(range(length))


def test_places_outside_of_the_archive_are_refused(tmp_path: Path) -> None:
    for row, match in (
        (("a", 90, 20, 0, 0), "outside"),
        (("a", -1, 2, 0, 0), "outside"),
        (("a", 0, 2, 2, 0), "label 2"),
    ):
        rows = IndexRows()
        rows.append(*row)
        (tmp_path / "x").write_bytes(to_bytes(rows.index(classes="ab", size=None, quality=90, archive_bytes=100)))
        with pytest.raises(DataError, match=match):
            read_index(tmp_path / "x")


def test_the_journal_is_lines_of_json(folder: Path, tmp_path: Path) -> None:
    stopped_after(images_in(folder), tmp_path / "a.tar", 2, PackSettings(size=8))
    settings, *rows = map(json.loads, journal_path(tmp_path / "a.tar").read_text().splitlines())
    assert (settings["size"], settings["samples"], len(rows)) == (8, 11, 2)
    assert [row[0] for row in rows] == ["cat/1.v1.jpg", "cat/2.v1.jpg"]
