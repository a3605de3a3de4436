"""How does a data set become one tar with an index? Image by image, in a fixed order, on several threads.

The bytes depend on the source and the settings alone: not on threads, the time, the user, or how often packing was
killed and begun again.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from mezzotint.data.packing.draft import Draft, finished_before, journal_path
from mezzotint.data.packing.recode import Failure, encoded, encoder
from mezzotint.data.random import Key
from mezzotint.data.source import EncodedSource, Source
from mezzotint.data.sources.packindex import index_path, read_index
from mezzotint.errors import ConfigError, DataError, message

OnError = Literal["fail", "skip"]
T = TypeVar("T")
COMMIT_EVERY = 256
"""Samples between two moments at which what was done is made durable: what a kill can cost."""


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """What is packed, and in which order.

    Attributes:
        size: images whose shorter side is longer are reduced to it, in pixels; None copies all as they are.
        quality: JPEG quality of reduced images, 1 to 100.
        shuffle: seed of a random order, for readers that go from the beginning to the end; None keeps the source's.
    """

    size: int | None = None
    quality: int = 90
    shuffle: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ConfigError(message("size", received=self.size, allowed="a number of pixels, at least 1"))
        if not 1 <= self.quality <= 100:
            raise ConfigError(message("quality", received=self.quality, allowed="1 to 100"))


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """What came of packing.

    Attributes:
        path: the archive.
        finished: whether it is there; otherwise packing was stopped, and the same call goes on.
        images: how many it has, or has so far.
        bytes: its length; 0 unless finished.
        skipped: (name, reason) of the samples that were left out.
    """

    path: Path
    finished: bool
    images: int
    bytes: int
    skipped: tuple[tuple[str, str], ...]


def pack(
    source: Source,
    output: Path,
    settings: PackSettings | None = None,
    *,
    on_error: OnError = "fail",
    overwrite: bool = False,
    threads: int = 1,
    watch: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> PackResult:
    """Write a source as a tar that WebDataset reads, and an index beside it (``sources/packindex.py``).

    A call that was killed is gone on with by the same call.

    Args:
        source: the images.
        output: the archive to write.
        settings: size, quality and order; all images as they are in the source's order when not given.
        on_error: what an image that cannot be read does: ``"fail"`` ends packing, ``"skip"`` leaves the image out.
        overwrite: replace a finished archive, and forget an unfinished one with other settings.
        threads: that read and encode, at least 1.
        watch: called with the number of samples done, at the beginning and after each.
        stop: asked after each sample; True ends packing, what was done being saved.

    Raises:
        ConfigError: an argument is out of range.
        DataError: the output exists or cannot be written, an unfinished one has other settings, or no image is left.
        ImageError, DataError: an image cannot be read and ``on_error`` is ``"fail"``; it is named.
    """
    settings = settings or PackSettings()
    _check(output, on_error, threads)
    told = {"format": 1, **_fingerprint(source), **asdict(settings), "encoder": encoder()}
    try:
        skipped = finished_before(output, told)
        if skipped is not None:
            return _cleaned(output, skipped)
        with Draft(output, told, overwrite=overwrite) as draft:
            finished = _fill(draft, source, settings, on_error, threads, watch or _nobody, stop or _never)
            length = _finish(draft, source, settings) if finished else 0
    except BrokenPipeError:  # of ``watch``: files are no pipes
        raise
    except OSError as error:
        allowed = "a file in a folder that can be written and has room"
        fix = "When that is so, the same command goes on where it was."
        received = f"the system error {error.strerror or error}"
        raise DataError(message(f"output {output}", received=received, allowed=allowed, fix=fix)) from error
    images = len(draft.rows)
    return PackResult(path=output, finished=finished, images=images, bytes=length, skipped=tuple(draft.skipped))


def _check(output: Path, on_error: str, threads: int) -> None:
    if output.suffix != ".tar":
        raise ConfigError(message("output", received=str(output), allowed="a name that ends in .tar"))
    if on_error not in get_args(OnError):
        raise ConfigError(message("on_error", received=on_error, allowed='"fail" or "skip"'))
    if threads < 1:
        raise ConfigError(message("threads", received=threads, allowed="at least 1"))


def _cleaned(output: Path, skipped: list[tuple[str, str]]) -> PackResult:
    """The result of an earlier call that was killed when all was done but for the removal of its journal."""
    journal_path(output).unlink()
    images, length = len(read_index(index_path(output)).names), output.stat().st_size
    return PackResult(path=output, finished=True, images=images, bytes=length, skipped=tuple(skipped))


def _fill(
    draft: Draft,
    source: Source,
    settings: PackSettings,
    on_error: OnError,
    threads: int,
    watch: Callable[[int], None],
    stop: Callable[[], bool],
) -> bool:
    """Add what is missing; False if packing was stopped."""
    if draft.skipped and on_error == "fail":
        raise _failed(DataError(draft.skipped[0][1]))
    watch(len(draft))
    left = order(len(source), settings.shuffle)[len(draft) :].tolist()
    images = in_order(lambda index: encoded(source, index, size=settings.size, quality=settings.quality), left, threads)
    with closing(images):
        for image in images:
            if not isinstance(image, Failure):
                draft.add(image)
            elif on_error == "skip":
                draft.skip(image.name, str(image.error))
            else:
                draft.commit()
                raise _failed(image.error) from image.error
            if len(draft) % COMMIT_EVERY == 0:
                draft.commit()
            watch(len(draft))
            if stop() and len(draft) < len(source):
                draft.commit()
                return False
    return True


def _finish(draft: Draft, source: Source, settings: PackSettings) -> int:
    if not len(draft.rows):
        received = f"no image of {source.describe()} that can be read"
        raise DataError(message(f"output {draft.output}", received=received, allowed="at least one image"))
    return draft.finish(classes=source.classes, size=settings.size, quality=settings.quality)


def order(length: int, shuffle: int | None) -> NDArray[np.int64]:
    """The samples in the order in which they are packed: int64 [length]."""
    return np.arange(length) if shuffle is None else Key(shuffle).child("pack").permutation(length)


def in_order(work: Callable[[int], T], items: Iterable[int], threads: int) -> Generator[T, None, None]:
    """``work`` of each item, in the order of the items; two a thread are made ahead of their use."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, "mezzotint-pack") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fingerprint(source: Source) -> dict[str, Any]:
    """What tells whether an unfinished archive is of this source: its words, names, and labels where they lie open."""
    names = 0
    for index in range(len(source)):
        names = zlib.crc32(source.name(index).encode("utf-8", "surrogateescape") + b"\0", names)
    labels = zlib.crc32(source.labels.tobytes()) if isinstance(source, EncodedSource) else 0
    return {"source": source.describe(), "samples": len(source), "names": names, "labels": labels}


def _failed(error: Exception) -> Exception:
    fix = "What was packed before is kept: repair the image and give the same command again, or leave it out with"
    return type(error)(f"{error} {fix} --on-error skip.")


def _nobody(done: int) -> None:
    pass


def _never() -> bool:
    return False
