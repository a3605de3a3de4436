"""How fast does this machine read images and train? A few seconds of measuring, and what the numbers advise."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mezzotint.data.loader import Loader
    from mezzotint.data.source import EncodedSource, Source

SECONDS: Final = 2.0
"""For how long reading is measured, with one thread and with all."""
_NETWORK: Final = "wrn_16_2"
_DENSITY: Final = 0.1
_BATCH: Final = 64
_DRAWN: Final = (375, 500)  # height and width of the drawn images: the middle of ImageNet's
_SLOW_STEP: Final = 1.2
_SLOW_THREADS: Final = 1.3


def measured(
    data: str | None, *, seconds: float = SECONDS, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Measure.

    Args:
        data: a data set whose images are read; drawn ones when not given.
        seconds: for how long each way of reading is measured.
        tell: is told what is being measured.

    Returns:
        ``reading``: what is read, images_per_second with one thread and with ``threads``, bytes of a file;
        ``step``: network, batch, density, dense_ms, sparse_ms, dense_over_sparse, images_per_second.

    Raises:
        DataError: ``data`` is no data set.
    """
    from mezzotint.kernels.resources import resources

    cores = resources().cores
    if tell is not None:
        tell("measuring: reading images ...")
    source = _drawn() if data is None else _opened(data)
    one = _rate(source, 1, seconds)
    many = _rate(source, cores, seconds) if cores > 1 else one
    reading = {"data": source.describe(), "one_thread": one, "threads": cores, "all_threads": many}
    if tell is not None:
        tell("measuring: a training step, dense and sparse ...")
    return {"reading": reading, "step": _step()}


def _step() -> dict[str, Any]:
    from mezzotint.bench.train import measure

    dense, sparse = measure(_NETWORK, _BATCH, [_DENSITY], mode="train", rounds=2)
    return {
        "network": _NETWORK,
        "batch": _BATCH,
        "density": _DENSITY,
        "dense_ms": dense["step_ms"],
        "sparse_ms": sparse["step_ms"],
        "dense_over_sparse": sparse["dense_over_ours"],
        "images_per_second": 1000 * _BATCH / sparse["step_ms"],
        "spread": max(dense["spread"], sparse["spread"]),
    }


def _opened(data: str) -> Source:
    from mezzotint.data.source import open_source
    from mezzotint.errors import NoPart

    try:
        return open_source(data)
    except NoPart:
        return open_source(data, "all")


def _drawn() -> EncodedSource:
    """32 JPEG files of the drawn scene in memory, as large as photographs usually are."""
    import numpy as np
    from PIL import Image

    from mezzotint.data.source import EncodedSource
    from mezzotint.data.specimen import specimen

    class Drawn(EncodedSource):
        classes = ("drawn",)
        labels = np.zeros(32, dtype=np.int64)

        def __init__(self) -> None:
            buffer = BytesIO()
            Image.fromarray(specimen(*_DRAWN).numpy()).save(buffer, "JPEG", quality=90)
            self._bytes = buffer.getvalue()

        def encoded(self, index: int) -> bytes:
            return self._bytes

        def name(self, index: int) -> str:
            return f"drawn[{index}]"

        def place(self, index: int) -> str:
            return self.name(index)

        def describe(self) -> str:
            return f"a drawn scene of {_DRAWN[1]} x {_DRAWN[0]} pixels as JPEG"

    return Drawn()


def _rate(source: Source, threads: int, seconds: float) -> float:
    """Images a second from the files to float32 batches [N, 3, 224, 224], randomly cropped and flipped."""
    from mezzotint.data.loader import Loader
    from mezzotint.data.source import EncodedSource
    from mezzotint.data.transform import build_transform

    steps = [{"name": "random_resized_crop"}, {"name": "horizontal_flip"}] if isinstance(source, EncodedSource) else []
    loader = Loader(
        source,
        build_transform(steps),
        batch_size=min(16, len(source)),
        threads=threads,
        mean=0.5,
        std=0.25,
        on_error="quarantine",
        max_bad=1.0,
    )
    try:
        return _counted(loader, seconds)
    finally:
        loader.close()


def _counted(loader: Loader, seconds: float) -> float:
    done, began = 0, None
    end = time.perf_counter() + seconds + 0.2
    while True:
        for batch in loader:
            now = time.perf_counter()
            if began is None:
                began = now  # the first batch brings libraries and files into memory, and does not count
            else:
                done += len(batch.labels)
            if now > end and done:
                return done / (now - began)


def in_words(speed: dict[str, Any]) -> dict[str, str]:
    """Fact -> value, for the table."""
    if not speed:
        return {}
    reading, step = speed["reading"], speed["step"]
    many = f", {reading['all_threads']:,.0f} with {reading['threads']} threads" if reading["threads"] > 1 else ""
    return {
        "reading": f"{reading['one_thread']:,.0f} images a second with one thread{many} ({reading['data']})",
        "training step": (
            f"{step['network']}, batch {step['batch']}: dense {step['dense_ms']:.0f} ms, density {step['density']:g}"
            f" {step['sparse_ms']:.0f} ms ({step['dense_over_sparse']:.1f}x), {step['images_per_second']:,.0f} images"
            " a second"
        ),
    }


def speed_advice(speed: dict[str, Any]) -> list[str]:
    """What the numbers advise."""
    reading, step = speed["reading"], speed["step"]
    advice = []
    if reading["threads"] > 1 and reading["all_threads"] < _SLOW_THREADS * reading["one_thread"]:
        advice.append(
            f"{reading['threads']} threads read hardly faster than one: the cores are busy with other work, or the disk"
            " is the limit. Pack the images into one file: mezzotint data pack FOLDER -o FILE.tar --size 256."
        )
    if step["dense_over_sparse"] < _SLOW_STEP:
        advice.append(
            f"The sparse step is only {step['dense_over_sparse']:.2f} times as fast as the dense one. On a quiet"
            f" machine it should be 2 to 4 times: look at the load, and measure again with `mezzotint bench train"
            f" --network {step['network']}`."
        )
    if step["spread"] > 2:
        advice.append(
            f"Times of equal steps differ by a factor of {step['spread']:.1f}: other work disturbs, and the numbers"
            " above say little."
        )
    return advice
