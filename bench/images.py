"""How many images a second are read and brought into form? Ours beside every peer that is installed, in one run.

Encoded files lie in memory; each engine makes float32 [3, 224, 224], normalised, of every one. All use one thread
inside their operations. One thread: engines take turns every ten images. Two threads share the images: engines take
turns round by round. Figures are medians over the rounds.

    decode        RGB levels, no more: what no engine that decodes whole files can pass
    squash256     resized to 256 x 256, the centre 224 x 224
    torchvision   the shorter side to 256, the centre 224 x 224
    train         random resized crop to 224, horizontal flip
    rand_augment  the same, then RandAugment (2 operations of magnitude 9)
    shard         train, from files whose shorter side is 256 pixels, quality 90, as `mezzotint data pack` writes them

    pip install simplejpeg opencv-python-headless torchvision      (each may be absent)
    python bench/images.py [--data ../shared/data/imagenet_samples] [--images 120] [--rounds 5] [--write]

torchvision's transforms run without its compiled operators, which do not load beside a PyTorch for CPUs; files are then
decoded for it by simplejpeg, which is a little faster than its own decoder.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mezzotint.bench.machine import in_words, write_result
from mezzotint.data.augment import RandomResizedCrop
from mezzotint.data.batch import Normalise
from mezzotint.data.decode import read_image, read_part
from mezzotint.data.random import Key
from mezzotint.data.transform import Compose, Evaluate, build_transform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TASKS = ("decode", "squash256", "torchvision", "train", "rand_augment", "shard")
CHUNK = 10
"""Images that an engine makes before it is another's turn: the machine's speed changes within seconds."""
LAPS = 5
"""How often two threads make all images in a round."""
RESULT = Path(__file__).parent / "results" / "images.json"

Make = Callable[[bytes, int], object]
"""Of an encoded file and its number, an image; the number seeds what is random."""


def our_chains() -> dict[str, Evaluate | Compose]:
    """mezzotint's transform for each task but decoding."""
    crop: list[dict[str, Any]] = [{"name": "random_resized_crop"}, {"name": "horizontal_flip"}]
    return {
        "squash256": Evaluate("squash256"),
        "torchvision": Evaluate("torchvision"),
        "train": build_transform(crop),
        "rand_augment": build_transform([*crop, {"name": "rand_augment"}]),
        "shard": build_transform(crop),
    }


def photographs(folder: Path) -> list[Path]:
    """The JPEG files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))


def ours() -> dict[str, Make]:
    """mezzotint, as its loader works."""
    normalise, chains = Normalise(MEAN, STD), our_chains()

    def maker(name: str) -> Make:
        chain = chains[name]

        def make(data: bytes, number: int) -> Tensor:
            key = Key(0, 0, number)
            part = read_part(data, lambda size: chain.first(size, key), name=str(number))
            return normalise.stacked([chain.finish(part, key)])

        return make

    return {"decode": lambda data, number: read_image(data), **{name: maker(name) for name in chains}}


def normalised(image: Tensor) -> Tensor:
    """uint8 [3, H, W] of any strides, as a careful user of PyTorch does it: one copy, then in place."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    scaled = image.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return scaled.div_(255).sub_(mean).div_(std)


def with_torch(decode: Callable[[bytes], Any]) -> dict[str, Make]:
    """A decoder, PyTorch's antialiased resize of uint8 in channels-last memory, crops before resizes."""
    sampler = RandomResizedCrop()

    def resized(image: Tensor, height: int, width: int) -> Tensor:
        return F.interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0]

    def planes(data: bytes) -> Tensor:
        return torch.from_numpy(decode(data)).permute(2, 0, 1)

    def squash(data: bytes, number: int) -> Tensor:
        return normalised(resized(planes(data), 256, 256)[:, 16:240, 16:240])

    def shorter(data: bytes, number: int) -> Tensor:
        image = planes(data)
        height, width = image.shape[1:]
        size = (256, 256 * width // height) if height <= width else (256 * height // width, 256)
        top, left = (round((side - 224) / 2) for side in size)
        return normalised(resized(image, *size)[:, top : top + 224, left : left + 224])

    def train(data: bytes, number: int) -> Tensor:
        image, key = planes(data), Key(0, 0, number)
        box = sampler.sample(key, *image.shape[1:])
        rows, columns = slice(box["top"], box["top"] + box["height"]), slice(box["left"], box["left"] + box["width"])
        image = resized(image[:, rows, columns], 224, 224)
        return normalised(image.flip(2) if key.uniform() < 0.5 else image)

    return {
        "decode": lambda data, number: decode(data),
        "squash256": squash,
        "torchvision": shorter,
        "train": train,
        "shard": train,
    }


def of_torchvision(open_image: Callable[[bytes], Any], last: Sequence[Any]) -> dict[str, Make]:
    """torchvision's transforms, version 2, on what ``open_image`` gives; ``last`` brings it to normalised floats."""
    from torchvision.transforms import v2  # type: ignore[import-not-found, unused-ignore]

    crop = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    chains = {
        "squash256": v2.Compose([v2.Resize((256, 256)), v2.CenterCrop(224), *last]),
        "torchvision": v2.Compose([v2.Resize(256), v2.CenterCrop(224), *last]),
        "train": v2.Compose([*crop, *last]),
        "rand_augment": v2.Compose([*crop, v2.RandAugment(), *last]),
        "shard": v2.Compose([*crop, *last]),
    }

    def maker(name: str) -> Make:
        return lambda data, number: chains[name](open_image(data))

    return {"decode": lambda data, number: open_image(data), **{name: maker(name) for name in chains}}


def with_opencv(cv2: Any) -> dict[str, Make]:
    """OpenCV's INTER_AREA, which averages pixels without weighting them: fast, and up to 44 levels from Pillow."""

    def levels(data: bytes) -> Any:
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def squash(data: bytes, number: int) -> Tensor:
        image = cv2.resize(levels(data), (256, 256), interpolation=cv2.INTER_AREA)
        return normalised(torch.from_numpy(image[16:240, 16:240]).permute(2, 0, 1))

    return {"decode": lambda data, number: levels(data), "squash256": squash}


def load_torchvision() -> Any:
    """torchvision, its operators declared in its stead where they do not load; None where it is not installed."""
    library = torch.library.Library("torchvision", "DEF")
    for _ in range(50):
        try:
            import torchvision  # type: ignore[import-not-found, unused-ignore]
        except ModuleNotFoundError:
            return None
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                return None
            library.define(f"{missing[1]}(Tensor input) -> Tensor")
            for name in [name for name in sys.modules if name.startswith("torchvision")]:
                del sys.modules[name]
        else:
            load_torchvision.library = library  # type: ignore[attr-defined]
            return torchvision
    return None


def engines() -> tuple[dict[str, dict[str, Make]], list[str]]:
    """(name -> task -> function, peers that are absent)."""

    def pillow(data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data)).convert("RGB")

    found, absent = {"mezzotint": ours()}, []
    try:
        import simplejpeg

        found["simplejpeg + torch"] = with_torch(simplejpeg.decode_jpeg)
    except ImportError:
        absent.append("simplejpeg")
    if load_torchvision() is None:
        absent.append("torchvision")
    else:
        from torchvision.transforms import v2

        floats = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        if "simplejpeg + torch" in found:
            decode = simplejpeg.decode_jpeg
            found["torchvision, tensors"] = of_torchvision(
                lambda data: torch.from_numpy(decode(data)).permute(2, 0, 1), floats
            )
        found["torchvision, Pillow"] = of_torchvision(pillow, [v2.PILToTensor(), *floats])
    try:
        import cv2

        cv2.setNumThreads(1)
        found["OpenCV, INTER_AREA"] = with_opencv(cv2)
    except ImportError:
        absent.append("opencv-python-headless")
    return found, absent


def as_shard(files: list[bytes]) -> list[bytes]:
    """The files with a shorter side of 256 pixels at most, quality 90."""
    made = []
    for data in files:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        share = min(1.0, 256 / min(image.size))
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def alone(makes: dict[str, Make], files: list[bytes], rounds: int) -> dict[str, float]:
    """Images a second of each engine in one thread: engines take turns after a few images; medians of the rounds."""
    chunks = [range(first, min(first + CHUNK, len(files))) for first in range(0, len(files), CHUNK)]
    taken = {name: [[0.0] * rounds for _ in chunks] for name in makes}
    order, draw = list(makes.items()), random.Random(0)
    for turn in range(-1, rounds):  # the first round warms up
        for place, chunk in enumerate(chunks):
            draw.shuffle(order)  # whoever comes first finds the files out of the caches
            for name, make in order:
                began = time.perf_counter()
                for number in chunk:
                    make(files[number], number)
                if turn >= 0:
                    taken[name][place][turn] = time.perf_counter() - began
    return {name: len(files) / sum(map(statistics.median, times)) for name, times in taken.items()}


def together(makes: dict[str, Make], files: list[bytes], rounds: int, threads: int) -> dict[str, float]:
    """The same, the images spread over threads, a core each: engines take turns after all files, some times over."""
    files = files * LAPS
    taken: dict[str, list[float]] = {name: [] for name in makes}
    cores = itertools.cycle(sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None])

    def begin() -> None:
        torch.set_num_threads(1)
        if (core := next(cores)) is not None:  # each on one of its own: the system may be slow to part them
            os.sched_setaffinity(0, {core})

    def make_all(make: Make, numbers: range) -> None:
        for number in numbers:
            make(files[number], number)

    chunks = [range(first, min(first + CHUNK, len(files))) for first in range(0, len(files), CHUNK)]
    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        for turn in range(-1, rounds):
            for name, make in makes.items():
                began = time.perf_counter()
                list(pool.map(make_all, itertools.repeat(make), chunks))
                if turn >= 0:
                    taken[name].append(len(files) / (time.perf_counter() - began))
    return {name: statistics.median(speeds) for name, speeds in taken.items()}


def measure(files: list[bytes], tasks: Sequence[str], rounds: int) -> tuple[list[dict[str, Any]], list[str]]:
    """(a row for each task, engine and number of threads, peers that are absent)."""
    found, absent = engines()
    shard = as_shard(files)
    rows = []
    for task in tasks:
        makes = {name: engine[task] for name, engine in found.items() if task in engine}
        of_task = shard if task == "shard" else files
        for threads in (1, 2):
            speeds = alone(makes, of_task, rounds) if threads == 1 else together(makes, of_task, rounds, threads)
            rows += [
                {"task": task, "engine": name, "threads": threads, "images_per_second": round(speed, 1)}
                for name, speed in speeds.items()
            ]
    return rows, absent


def show(rows: list[dict[str, Any]], threads: int) -> None:
    """A table of images a second, and of how many times ours is as fast."""
    speeds = {(row["task"], row["engine"]): row["images_per_second"] for row in rows if row["threads"] == threads}
    names = list(dict.fromkeys(engine for _, engine in speeds))
    table = Table(title=f"images a second, {threads} thread{'s' if threads > 1 else ''} (ours / theirs)")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for task in dict.fromkeys(task for task, _ in speeds):
        cells = []
        for name in names:
            speed = speeds.get((task, name))
            ratio = "" if name == "mezzotint" or speed is None else f" ({speeds[task, 'mezzotint'] / speed:.2f})"
            cells.append("" if speed is None else f"{speed:.0f}{ratio}")
        table.add_row(task, *cells)
    Console().print(table)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "imagenet_samples")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--write", action="store_true", help="write the results")
    parser.add_argument(
        "--results", type=Path, default=RESULT, help=f"their file (default: {RESULT.name} in bench/results)"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    paths = photographs(chosen.data)
    files = [path.read_bytes() for path in paths[:: max(1, len(paths) // chosen.images)]][: chosen.images]
    rows, absent = measure(files, chosen.tasks, chosen.rounds)
    for threads in (1, 2):
        show(rows, threads)
    Console().print(
        f"{len(files)} files of {chosen.data}, {in_words()}" + "".join(f"; {name} is absent" for name in absent)
    )
    if chosen.write:
        size = statistics.mean(len(data) for data in files)
        write_result(chosen.results, {"images": len(files), "mean_bytes": round(size), "absent": absent, "rows": rows})


if __name__ == "__main__":
    main()
