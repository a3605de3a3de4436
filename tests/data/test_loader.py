"""Does a loader give the same batches for any number of threads, from any place, and does it clean up after itself?"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint.data.batch import Batch, Normalise
from mezzotint.data.loader import Loader
from mezzotint.data.random import Key
from mezzotint.data.source import Source, open_source
from mezzotint.data.sources.memory import ArraySource
from mezzotint.data.transform import build_transform
from mezzotint.errors import CheckpointError, ConfigError, DataError, ImageError, RunError

GOLDEN_ORDERS = ([6, 2, 1, 4, 7, 11, 9, 3, 10, 8, 5, 0], [0, 4, 1, 11, 10, 7, 3, 6, 5, 9, 2, 8])
STEPS = [{"name": "random_crop", "padding": 2}, {"name": "horizontal_flip"}]


def array_source(count: int, height: int = 6, width: int = 5, channels: int = 3) -> ArraySource:
    images = torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8)
    labels = np.arange(count, dtype=np.int64) % 7
    return ArraySource(images, labels, tuple("abcdefg"), description="made here", name=lambda index: f"made-{index}")


class OneByOne:
    """A source that is not in memory, as far as the loader can tell; counts what is read."""

    def __init__(self, inner: Source, broken: frozenset[int] = frozenset()) -> None:
        self.inner, self.broken = inner, broken
        self.classes = inner.classes
        self.reads: list[int] = []
        self.inside: list[int] = []

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, index: int) -> tuple[Tensor, int]:
        self.reads.append(index)
        self.inside.append(torch.get_num_threads())
        if index in self.broken:
            raise ImageError("it is damaged")
        return self.inner.read(index)

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def describe(self) -> str:
        return self.inner.describe()


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mezzotint-loader")]


def assert_equal(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.indices, b.indices)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Forty images of different sizes in two classes."""
    generator = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / ("ab"[number % 2]) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        size = (int(generator.integers(20, 60)), int(generator.integers(20, 60)), 3)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(path)
    return tmp_path


def test_batch_unpacks_and_keeps_its_indices() -> None:
    loader = Loader(array_source(10), batch_size=4, shuffle=False)
    assert len(loader) == 3
    for position, batch in enumerate(loader):
        images, labels = batch
        assert images.dtype == torch.float32
        assert images.is_contiguous()
        assert images.shape == (len(batch), 3, 6, 5)
        assert labels.dtype == batch.indices.dtype == torch.int64
        assert batch.indices.tolist() == list(range(10))[4 * position : 4 * position + 4]
        assert labels.tolist() == [index % 7 for index in batch.indices.tolist()]
    assert len(batch) == 2
    assert batch.to("cpu").images.equal(batch.images)


def test_images_are_in_the_range_0_to_1_or_normalised_as_torchvision_does() -> None:
    source = array_source(8)
    plain = next(iter(Loader(source, batch_size=8, shuffle=False))).images
    assert torch.equal(plain, source.images.permute(0, 3, 1, 2).float().div(255))
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    normalised = next(iter(Loader(source, batch_size=8, shuffle=False, mean=mean, std=std))).images
    expected = plain.sub(torch.tensor(mean).reshape(3, 1, 1)).div(torch.tensor(std).reshape(3, 1, 1))
    assert torch.equal(normalised, expected)
    one = next(iter(Loader(source, batch_size=8, shuffle=False, mean=0.5, std=0.25))).images
    assert torch.equal(one, plain.sub(0.5).div(0.25))


def test_float_results_of_a_transform_are_taken_as_they_are() -> None:
    def halve(image: Tensor, key: Key) -> Tensor:
        return image.permute(2, 0, 1).float() / 510

    source = array_source(4)
    batch = next(iter(Loader(source, halve, batch_size=4, shuffle=False)))
    assert torch.equal(batch.images, source.images.permute(0, 3, 1, 2).float() / 510)


@pytest.mark.parametrize(
    ("mean", "std"), [(0.5, None), ((0.5, 0.5), (1.0,)), (0.5, 0.0), ((), ()), (float("nan"), 1.0), ("a", "b")]
)
def test_impossible_normalisation(mean: object, std: object) -> None:
    with pytest.raises(ConfigError):
        Normalise(mean, std)  # type: ignore[arg-type]


def test_wrong_number_of_means_and_wrong_types() -> None:
    with pytest.raises(DataError, match="number of means"):
        next(iter(Loader(array_source(4), batch_size=2, mean=(0.1, 0.2), std=(1.0, 1.0))))
    with pytest.raises(DataError, match=r"made-\d.*result of the transform.*float64"):
        next(iter(Loader(array_source(4), lambda image, key: image.double(), batch_size=2)))
    with pytest.raises(DataError, match=r"made-\d.*result of the transform.*NoneType"):
        next(iter(Loader(array_source(4), lambda image, key: None, batch_size=2)))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"batch_size": 2.0}, {"batch_size": 2, "threads": -1}, {"batch_size": 2, "seed": "x"}],
)
def test_impossible_numbers(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=list(options)[-1]):
        Loader(array_source(4), **options)  # type: ignore[arg-type]


def test_source_without_a_single_batch() -> None:
    with pytest.raises(DataError, match="0 samples"):
        Loader(array_source(0), batch_size=2)
    with pytest.raises(DataError, match="3 samples"):
        Loader(array_source(3), batch_size=4, drop_last=True)
    assert len(Loader(array_source(3), batch_size=4)) == 1


@given(
    count=st.integers(1, 45),
    batch_size=st.integers(1, 20),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    in_memory=st.booleans(),
    threads=st.integers(0, 2),
    data=st.data(),
)
def test_resuming_anywhere_with_any_threads_gives_the_uninterrupted_run(
    count: int, batch_size: int, shuffle: bool, drop_last: bool, in_memory: bool, threads: int, data: st.DataObject
) -> None:
    if drop_last and count < batch_size:
        return
    memory = array_source(count)
    source = memory if in_memory else OneByOne(memory)

    def make(threads: int) -> Loader:
        transform = build_transform(STEPS)
        return Loader(
            source, transform, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, threads=threads, seed=3
        )

    whole = make(0)
    epochs = [list(whole), list(whole)]
    seen = sorted(index for batch in epochs[1] for index in batch.indices.tolist())
    assert len(seen) == len(set(seen)) == (count // batch_size * batch_size if drop_last else count)
    stop = data.draw(st.integers(0, len(whole)))
    first = make(threads)
    head = []
    if stop:
        for batch in first:
            head.append(batch)
            if len(head) == stop:
                break
    state = json.loads(json.dumps(first.state_dict()))
    assert (state["epoch"], state["position"]) == (0, stop)
    resumed = make(2 - threads)
    resumed.load_state_dict(state)
    assert_equal(head + list(resumed), epochs[0])
    assert (resumed.epoch, resumed.position) == (1, 0)
    assert_equal(list(resumed), epochs[1])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_bit_with_images_of_any_size(image_folder: Path, threads: int) -> None:
    source = open_source(image_folder)
    transform = build_transform([{"name": "random_resized_crop", "size": 16}, {"name": "horizontal_flip"}])
    options = {"batch_size": 9, "seed": 1, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2)}
    expected = Loader(source, transform, threads=0, **options)  # type: ignore[arg-type]
    threaded = Loader(source, transform, threads=threads, **options)  # type: ignore[arg-type]
    for _ in range(2):
        assert_equal(list(threaded), list(expected))
    assert not loader_threads()


@pytest.mark.parametrize("threads", [0, 2])
def test_resuming_at_every_position_of_an_epoch(image_folder: Path, threads: int) -> None:
    source = open_source(image_folder)
    transform = build_transform([{"name": "random_resized_crop", "size": 8}])
    whole = list(Loader(source, transform, batch_size=6, seed=5))
    for position in range(len(whole) + 1):
        resumed = Loader(source, transform, batch_size=6, seed=5, threads=threads)
        resumed.seek(0, position)
        assert_equal(list(resumed), whole[position:])
        assert (resumed.epoch, resumed.position) == (1, 0)


def test_pixels_do_not_depend_on_batch_size_or_order() -> None:
    source, transform = array_source(20), build_transform(STEPS)

    def by_sample(batch_size: int, shuffle: bool) -> dict[int, bytes]:
        loader = Loader(source, transform, batch_size=batch_size, shuffle=shuffle)
        return {
            int(index): image.numpy().tobytes()
            for batch in loader
            for index, image in zip(batch.indices, batch.images, strict=True)
        }

    assert by_sample(3, True) == by_sample(20, False) == by_sample(7, False)


def test_order_and_pixels_change_with_epoch_and_seed() -> None:
    source, transform = array_source(50), build_transform(STEPS)
    loader = Loader(source, transform, batch_size=50)
    first, second = next(iter(loader)), loader.batch_at(1, 0)
    other = Loader(source, transform, batch_size=50, seed=1).batch_at(0, 0)
    assert first.indices.tolist() != second.indices.tolist()
    assert first.indices.tolist() != other.indices.tolist()
    assert not torch.equal(first.images[first.indices.argsort()], second.images[second.indices.argsort()])


def test_a_batch_of_no_epoch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"epoch: received -1; allowed: an integer of at least 0"):
        Loader(array_source(4), batch_size=2).batch_at(-1, 0)


def test_order_is_golden() -> None:
    """The order of a recorded run must never change."""
    loader = Loader(array_source(12), batch_size=4, seed=7)
    assert loader.order(0).tolist() == GOLDEN_ORDERS[0]
    assert loader.order(3).tolist() == GOLDEN_ORDERS[1]


def test_position_counts_what_was_handed_over_not_what_was_prefetched() -> None:
    source = OneByOne(array_source(200))
    loader = Loader(source, batch_size=10, threads=2)
    batches = iter(loader)
    assert (loader.epoch, loader.position) == (0, 0)
    next(batches)
    next(batches)
    time.sleep(0.05)
    assert loader.state_dict()["position"] == loader.position == 2
    assert 20 <= len(source.reads) < 100, "prefetching is bounded"
    del batches


def test_epoch_moves_when_the_loop_ends_and_not_with_the_last_batch() -> None:
    loader = Loader(array_source(6), batch_size=3)
    batches = iter(loader)
    next(batches)
    next(batches)
    at_the_end = loader.state_dict()
    assert (loader.epoch, loader.position) == (0, 2)
    with pytest.raises(StopIteration):
        next(batches)
    assert (loader.epoch, loader.position) == (1, 0)
    with pytest.raises(StopIteration):
        next(batches)
    assert (loader.epoch, loader.position) == (1, 0)
    again = Loader(array_source(6), batch_size=3)
    again.load_state_dict(at_the_end)
    assert list(again) == []
    assert (again.epoch, again.position) == (1, 0)
    assert len(list(again)) == 2


@pytest.mark.parametrize("threads", [0, 2])
def test_a_broken_loop_is_gone_on_with(threads: int) -> None:
    loader = Loader(array_source(30), batch_size=5, threads=threads)
    expected = list(Loader(array_source(30), batch_size=5))
    seen = []
    for batch in loader:
        seen.append(batch)
        if len(seen) == 2:
            break
    del batch
    assert loader.position == 2
    seen += list(loader)
    assert [batch.indices.tolist() for batch in seen] == [batch.indices.tolist() for batch in expected]


def test_any_batch_and_any_sample_can_be_made_again() -> None:
    source = array_source(20)
    loader = Loader(source, build_transform(STEPS), batch_size=6, mean=0.5, std=0.5)
    epochs = [list(loader), list(loader)]
    assert_equal([loader.batch_at(1, position) for position in range(4)], epochs[1])
    assert (loader.epoch, loader.position) == (2, 0)
    batch = epochs[1][2]
    image, label = loader.sample_at(1, int(batch.indices[3]))
    assert image.dtype == torch.uint8
    assert torch.equal(Normalise(0.5, 0.5)(image[None])[0], batch.images[3])
    assert label == int(batch.labels[3])
    with pytest.raises(ConfigError, match="position"):
        loader.batch_at(0, 4)


def test_second_pass_ends_the_first() -> None:
    loader = Loader(array_source(30), batch_size=5, threads=1)
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(RunError, match="only one can be live"):
        next(first)
    assert len(list(second)) == 5
    third = iter(loader)
    loader.seek(0)
    with pytest.raises(RunError):
        next(third)
    assert not loader_threads()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seed": 1}, "seed"),
        ({"batch_size": 3}, "batch_size"),
        ({"samples": 9}, "samples"),
        ({"shuffle": False}, "shuffle"),
        ({"drop_last": True}, "drop_last"),
        ({"version": 2}, "version"),
        ({"position": 4}, "position"),
        ({"position": None}, "position"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": "0"}, "epoch"),
    ],
)
def test_state_of_another_loader_is_refused(change: dict[str, object], match: str) -> None:
    loader = Loader(array_source(10), batch_size=4)
    next(iter(loader))
    state = {**loader.state_dict(), **change}
    with pytest.raises(CheckpointError, match=match):
        loader.load_state_dict(state)
    assert loader.position == 1


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_error_names_the_sample_and_the_place_stays(threads: int) -> None:
    source = OneByOne(array_source(100), broken=frozenset({41, 47, 58}))
    loader = Loader(source, batch_size=20, shuffle=False, threads=threads)
    batches = iter(loader)
    assert [next(batches).indices.tolist()[0] for _ in range(2)] == [0, 20]
    with pytest.raises(ImageError, match=r"made-41 \(sample 41 of made here\): it is damaged"):
        next(batches)
    assert loader.position == 2
    assert not loader_threads()
    source.broken = frozenset()
    assert [batch.indices.tolist()[0] for batch in loader] == [40, 60, 80]


@pytest.mark.parametrize("threads", [0, 2])
def test_foreign_errors_keep_their_type_and_get_a_note(threads: int) -> None:
    def broken(image: Tensor, key: Key) -> Tensor:
        raise ZeroDivisionError("in the user's own transform")

    with pytest.raises(ZeroDivisionError) as caught:
        next(iter(Loader(array_source(5), broken, batch_size=2, shuffle=False, threads=threads)))
    assert caught.value.__notes__ == ["while making sample 0 (made-0) of made here"]
    assert not loader_threads()


@pytest.mark.parametrize("threads", [0, 2])
def test_even_an_exit_in_a_worker_reaches_the_consumer(threads: int) -> None:
    def leave(image: Tensor, key: Key) -> Tensor:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        next(iter(Loader(array_source(5), leave, batch_size=2, threads=threads)))
    assert not loader_threads()


def test_too_many_threads_for_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len(loader_threads()) >= 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RunError, match="threads: received 5"):
        iter(Loader(OneByOne(array_source(50)), batch_size=2, threads=5))
    gc.collect()
    for _ in range(100):
        if not loader_threads():
            break
        time.sleep(0.01)
    assert not loader_threads()


@pytest.mark.parametrize("threads", [0, 2])
def test_corrupt_file_in_a_folder(image_folder: Path, threads: int) -> None:
    (image_folder / "a" / "12.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    transform = build_transform([{"name": "random_resized_crop", "size": 8}])
    with pytest.raises(ImageError, match=r"a/12\.png"):
        list(Loader(open_source(image_folder), transform, batch_size=4, threads=threads))


def test_images_of_different_sizes_need_a_transform(image_folder: Path) -> None:
    with pytest.raises(DataError, match=r"image a/\d+\.png in a batch.*random_resized_crop"):
        list(Loader(open_source(image_folder), batch_size=8, threads=1))


def test_no_threads_are_left_however_a_pass_ends() -> None:
    source = OneByOne(array_source(300))
    loader = Loader(source, batch_size=5, threads=3)

    def leave_early() -> None:
        for _ in loader:
            assert len(loader_threads()) == 3
            return

    leave_early()
    assert not loader_threads()
    batches = iter(loader)
    next(batches)
    batches.close()
    batches.close()
    assert not loader_threads()
    with pytest.raises(RunError):
        next(batches)
    cycle: list[object] = [iter(loader)]
    cycle.append(cycle)
    assert len(loader_threads()) == 3
    del cycle
    gc.collect()
    assert not loader_threads()
    list(loader)
    assert not loader_threads()


def test_threads_of_the_caller_are_untouched_and_workers_use_one() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        source = OneByOne(array_source(40))
        batches = iter(Loader(source, batch_size=4, threads=2))
        list(batches)
        assert set(source.inside) == {1}
        assert torch.get_num_threads() == 2
        seen: list[int] = []
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)


def test_interpreter_ends_with_a_pass_under_way() -> None:
    code = """
import numpy as np, torch
from mezzotint.data.loader import Loader
from mezzotint.data.source import open_source
loader = Loader(open_source("digits"), lambda image, key: image.permute(2, 0, 1), batch_size=8, threads=2)
batches = iter(loader)
next(batches)
print("first batch")
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "first batch\n", "")


def test_description_of_a_loader() -> None:
    assert repr(Loader(array_source(10), batch_size=4)) == "Loader(made here; 3 batches; epoch 0, position 0)"


@settings(max_examples=15)
@given(st.integers(1, 200), st.integers(0, 50))
def test_every_sample_comes_once_an_epoch(count: int, epoch: int) -> None:
    loader = Loader(array_source(count, 1, 1, 1), batch_size=7, seed=epoch)
    assert sorted(loader.order(epoch).tolist()) == list(range(count))


def test_digits_with_threads_from_memory() -> None:
    source, transform = open_source("digits"), build_transform(STEPS)
    expected = list(Loader(source, transform, batch_size=100))
    for threads in (1, 2):
        assert_equal(list(Loader(source, transform, batch_size=100, threads=threads)), expected)
    assert_equal(list(Loader(OneByOne(source), transform, batch_size=100, threads=2)), expected)


def test_mnist_epoch(shared_data: Path) -> None:
    loader = Loader(open_source(shared_data / "mnist"), batch_size=256, mean=0.1307, std=0.3081, threads=1)
    total, count = 0.0, 0
    for images, labels in loader:
        total += float(images.sum())
        count += len(labels)
    assert count == 60_000
    assert abs(total / (count * 784)) < 1e-3


def test_cifar10_from_memory_equals_cifar10_from_the_archive(shared_data: Path) -> None:
    archive = open_source(shared_data / "cifar10", "test")
    memory = open_source(shared_data / "cifar10", "test", cache="memory")
    transform = build_transform([{"name": "random_crop", "fill": "reflect"}, {"name": "horizontal_flip"}])
    loaders = [
        Loader(memory, transform, batch_size=50, seed=2),
        Loader(memory, transform, batch_size=50, seed=2, threads=2),
        Loader(archive, transform, batch_size=50, seed=2, threads=2),
    ]
    for loader in loaders:
        loader.seek(3, len(loader) - 12)
    expected, threaded, from_archive = [list(loader) for loader in loaders]
    assert_equal(threaded, expected)
    assert_equal(from_archive, expected)


def test_imagenet_samples(shared_data: Path, tmp_path: Path) -> None:
    """Real photographs, grey ones and one with an EXIF orientation among them, as class folders of links."""
    names = sorted(path.name for path in (shared_data / "imagenet_samples").iterdir())[:48]
    for name in [*names, "n02951585_can_opener.JPEG"]:
        (tmp_path / name[:9]).mkdir(exist_ok=True)
        (tmp_path / name[:9] / name).symlink_to(shared_data / "imagenet_samples" / name)
    transform = build_transform([{"name": "random_resized_crop", "size": 64}, {"name": "horizontal_flip"}])
    source = open_source(tmp_path)
    single, double = (list(Loader(source, transform, batch_size=20, threads=threads)) for threads in (0, 2))
    assert_equal(single, double)
    assert sum(len(batch) for batch in single) == 49
