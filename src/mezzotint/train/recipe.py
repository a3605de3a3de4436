"""Which configuration fits these images and this machine? A few rules, each with the reason that it gives the user.

The rules are starting points that train well without a search: the published recipes of ``configs/`` scaled to the
number and the size of the images, and to the time that the machine needs for them.
"""

from __future__ import annotations

import copy
import math
import os
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mezzotint.data.held_out import held_of
from mezzotint.data.survey import Survey
from mezzotint.errors import DataError, message
from mezzotint.kernels.resources import Resources
from mezzotint.train.config_file import set_key

MINUTES: Final = 60.0
"""A first run is to take no longer than this, if there is a network that can keep to it."""
HOLD_OUT: Final = 0.1
_PHOTO_MEAN: Final = [0.485, 0.456, 0.406]
_PHOTO_STD: Final = [0.229, 0.224, 0.225]
_SMALL: Final = 64  # pixels: the longest side of images that a network for small images takes
_STEM_AND_FC: Final = ("resnet", "wrn_", "mobilenet_", "digits_cnn")
"""Networks whose first layer is called "conv1" and whose last "fc"."""
_GMACS_A_SECOND: Final = {True: 85.0, False: 30.0}
"""Images a second x 10^9 multiply-adds of the dense forward pass, a core, of a sparse training step at density 0.1 in
``bench/results`` (ResNet-50 and WRN-28-2): with and without BF16 arithmetic."""
_MOVING: Final = {True: 1.2, False: 1.9}
"""How much longer a training takes than its first steps at that density: early layers fill up, dense windows, tests.

Of small images with ERK, and of photographs with the uniform distribution; measured with Wide ResNet 16-2 on CIFAR-10
and ResNet-18 on 300 photographs.
"""
_FEWEST_STEPS: Final = 100
"""Between two updates: windows of a useful length would else be open most of the time."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A candidate.

    Attributes:
        name: a key of ``mezzotint.models.MODELS``.
        side: pixels of the side of a square image for which ``gmacs`` holds.
        gmacs: 10^9 multiply-adds of a dense forward pass; twice as many of the two smallest, which use half of a core.
        megabytes: of activations that a training step keeps for an image of that side.
        least: training images from which on so large a network is worth its time.
    """

    name: str
    side: int
    gmacs: float
    megabytes: float
    least: int

    def at(self, height: int, width: int) -> Network:
        """The same network for images of another size."""
        share = height * width / self.side**2
        return Network(
            name=self.name,
            side=round(math.sqrt(height * width)),
            gmacs=self.gmacs * share,
            megabytes=self.megabytes * share,
            least=self.least,
        )


_TINY: Final = Network(name="digits_cnn", side=8, gmacs=0.005, megabytes=0.1, least=0)
_GREY: Final = Network(name="lenet5_caffe", side=28, gmacs=0.005, megabytes=0.3, least=0)
_FOR_SMALL: Final = (
    Network(name="wrn_28_2", side=32, gmacs=0.22, megabytes=5, least=10_000),
    Network(name="wrn_16_2", side=32, gmacs=0.10, megabytes=3, least=2_000),
    Network(name="resnet20", side=32, gmacs=0.08, megabytes=2, least=0),
)
_FOR_PHOTOS: Final = (
    Network(name="resnet50", side=224, gmacs=4.1, megabytes=65, least=20_000),
    *(Network(name="resnet18", side=224, gmacs=1.82, megabytes=20, least=0).at(side, side) for side in (224, 160, 128)),
    Network(name="resnet18", side=224, gmacs=1.82, megabytes=20, least=0).at(96, 96),
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A configuration with its reasons.

    Attributes:
        table: the keys to set, as ``config_file.parse_config`` reads them.
        reasons: dotted key -> why it has this value.
        seconds: roughly how long the training takes on this machine; None where that cannot be told.
        steps: batches of an epoch.
    """

    table: dict[str, Any]
    reasons: dict[str, str]
    seconds: float | None
    steps: int


def recipe(survey: Survey, machine: Resources, *, bf16: bool, minutes: float = MINUTES) -> Recipe:
    """Choose everything that ``[data]``, ``[model]`` and the rest need for these images on this machine.

    Args:
        survey: what is in the data set.
        machine: cores and memory.
        bf16: whether the processor computes in BF16 (otherwise it only stores it).
        minutes: about how long the training may take.

    Raises:
        DataError: too few images for training and testing, or none that can be read.
    """
    if not survey.sizes:
        shown = "; ".join(bad.reason for bad in survey.damaged[:2])
        raise DataError(message(survey.where, received=f"no image that can be read ({shown})", allowed="some"))
    count = _training_images(survey)
    small = survey.one_size is not None and max(survey.one_size) <= _SMALL
    epochs = min(200, max(30, round((200_000 if small else 60_000) / count)))
    speed = machine.idle * _GMACS_A_SECOND[bf16] / _MOVING[small]
    network = _network(survey, small, count, lambda gmacs: epochs * count * gmacs / speed <= 60 * minutes)
    wished, longest = epochs, int(60 * minutes * speed / (count * network.gmacs))
    epochs = max(3, min(epochs, longest))
    batch = _batch(count, small, network, machine)
    steps = max(1, count // batch)
    made = _Table()
    _threads(made, network, machine)
    _data(made, survey, count, small, network, batch, machine)
    _network_keys(made, survey, small, network, count)
    _sparsity(made, network, steps, epochs)
    _training(made, network, bf16, batch, epochs, wished, count, minutes)
    made.put("run.log_every", max(1, min(20, steps // 2)), "steps between the lines of metrics.jsonl")
    table = {"name": run_name(survey.where), **made.table}
    return Recipe(table=table, reasons=made.reasons, seconds=epochs * count * network.gmacs / speed, steps=steps)


def run_name(where: str) -> str:
    """A name for runs on a data set: that of its folder or file, with what a folder's name should not have replaced."""
    path = Path(where).expanduser()
    name = path.resolve().name if where != "digits" else where
    stem = re.split(r"[.*?{\[]", name)[0] or name
    return re.sub(r"[\s/\\]+", "-", stem).strip("-. ") or "run"


def with_overrides(chosen: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with what the user has chosen instead, as ``--set`` takes it; what depends on that follows.

    Raises:
        ConfigError: an override is not usable.
    """
    table, reasons = copy.deepcopy(chosen.table), dict(chosen.reasons)
    changed = [set_key(table, override) for override in overrides]
    reasons |= dict.fromkeys(changed, "as asked for with --set")
    epochs = _ratio(table, chosen.table, "schedule", "epochs")
    batch = _ratio(table, chosen.table, "data", "batch_size")
    if epochs != 1 and "schedule.warmup_epochs" not in changed:
        warmup = chosen.table["schedule"]["warmup_epochs"] * epochs
        table["schedule"]["warmup_epochs"] = float(f"{warmup:.3g}")
    if batch != 1 and "optimizer.lr" not in changed:
        table["optimizer"]["lr"] = float(f"{chosen.table['optimizer']['lr'] * batch:.3g}")
    if "model.name" in changed and "sparsity.exclude" not in changed:
        _exclude_anew(table)
    steps = max(1, int(chosen.steps / batch))
    if isinstance(table.get("sparsity"), dict) and not {"sparsity.interval", "sparsity.window"} & set(changed):
        for key, value, reason in _moves(steps, max(1, int(chosen.table["schedule"]["epochs"] * epochs))):
            table["sparsity"][key], reasons[f"sparsity.{key}"] = value, reason
    others = any(key.startswith(("model", "data.augment", "data.path", "sparsity.density")) for key in changed)
    seconds = None if others or chosen.seconds is None else chosen.seconds * epochs
    return Recipe(table=table, reasons=reasons, seconds=seconds, steps=steps)


def _exclude_anew(table: dict[str, Any]) -> None:
    """Leave the stem and the classifier out of another network only where it calls them by the same names."""
    model, sparsity = table.get("model"), table.get("sparsity")
    name = str(model.get("name")) if isinstance(model, dict) else ""
    if isinstance(sparsity, dict) and not name.startswith(_STEM_AND_FC):
        sparsity.pop("exclude", None)


def _ratio(table: dict[str, Any], before: dict[str, Any], section: str, key: str) -> float:
    """A number over what it was; 1 where it is none, which the configuration will refuse."""
    inside = table.get(section)
    value = inside.get(key) if isinstance(inside, dict) else None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
    return float(value / before[section][key]) if usable and value is not None else 1.0


class _Table:
    """The keys with their reasons, in the order in which they were put."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def put(self, key: str, value: Any, reason: str) -> None:
        section, _, name = key.rpartition(".")
        table = self.table.setdefault(section, {}) if section else self.table
        table[name] = value
        self.reasons[key] = reason


def _training_images(survey: Survey) -> int:
    """How many images there will be to train on."""
    counts = survey.train.counts
    if survey.test is None:
        held = sum(held_of(count, HOLD_OUT) for count in counts)
        if held == 0:
            raise DataError(
                message(survey.where, received="one image in every class", allowed="two or more, to test on some")
            )
        return sum(counts) - held
    return sum(counts)


def _network(survey: Survey, small: bool, count: int, fast_enough: Callable[[float], bool]) -> Network:
    """The largest network that the number of images and the time allow; otherwise the cheapest."""
    if survey.one_size is not None and small:
        height, width = survey.one_size
        if min(height, width) < 16:
            return _TINY.at(height, width)
        if survey.channels == 1 and max(height, width) <= 32:
            return _GREY.at(height, width)
        candidates = [network.at(height, width) for network in _FOR_SMALL]
    else:
        side = statistics.median(min(size) for size in survey.sizes)
        if side <= 1.1 * _SMALL:
            candidates = [network.at(*[32 if side <= 48 else _SMALL] * 2) for network in _FOR_SMALL]
        else:
            candidates = [network for network in _FOR_PHOTOS if network.side <= 1.1 * side]
    worthy = [network for network in candidates if count >= network.least]
    return next((network for network in worthy if fast_enough(network.gmacs)), worthy[-1])


def _batch(count: int, small: bool, network: Network, machine: Resources) -> int:
    """A power of two: enough steps an epoch, cells of 32 images filled where it can be, and in memory."""
    wanted = 128 if small else 64
    while wanted > 32 and count < 16 * wanted:
        wanted //= 2
    while wanted > 1 and count < 2 * wanted:
        wanted //= 2
    room = (machine.available or 8 * 2**30) / 2
    while wanted > 8 and wanted * network.megabytes * 1e6 > room:
        wanted //= 2
    return wanted


def _threads(made: _Table, network: Network, machine: Resources) -> None:
    if network.name in (_TINY.name, _GREY.name):
        made.put("threads", 1, "so small a network keeps a second thread waiting more than working")
    elif machine.idle < machine.cores:
        busy = f"other work keeps {machine.cores - machine.idle} of {machine.cores} cores busy"
        made.put("threads", machine.idle, f"{busy}, and threads wait for the slowest; 0: as many as there are cores")


def _data(
    made: _Table, survey: Survey, count: int, small: bool, network: Network, batch: int, machine: Resources
) -> None:
    if survey.where == "digits":
        made.put("data.source", "digits", "the embedded data set")
    else:
        made.put("data.path", _absolute(survey.where), survey.train.words)
    if survey.train.split != "train":
        made.put("data.train_split", survey.train.split, "every image that is there")
    if survey.test is None:
        made.put(
            "data.hold_out",
            HOLD_OUT,
            "no test part was found: this share of each class is for testing alone, always the same images",
        )
    cores = machine.cores
    if survey.encoded:
        _reading(made, survey, count, small, cores)
    made.put("data.batch_size", batch, f"{max(1, count // batch):,} steps an epoch; below 32 sparse kernels are slow")
    if not small:
        made.put("data.test_batch_size", max(batch, 64), "does not change the result, only the memory")
    _pixels(made, survey, small, network.side)


def _absolute(where: str) -> str:
    """The full path without ``..``; links are kept, but for one that such a step would have left another way."""
    given = Path(where).expanduser().absolute()
    short = Path(os.path.normpath(given))
    same = not given.exists() or (short.exists() and short.samefile(given))
    return str(short if same else given.resolve())


def _reading(made: _Table, survey: Survey, count: int, small: bool, cores: int) -> None:
    fits = small and survey.samples * 3 * math.prod(survey.one_size or (0, 0)) <= 512 * 2**20
    if fits and survey.all_decoded and not survey.damaged:
        made.put("data.cache", True, "all images are whole and fit into memory: each is decoded once")
        return
    made.put("data.threads", cores, "threads that decode and augment images while the network trains")
    bad = len(survey.damaged)
    told = f"{bad:,} cannot be read" if bad else "none was found so far"
    reason = f"images that cannot be read ({told}) are left out and reported; 'fail' would end the run at the first one"
    made.put("data.on_error", "quarantine", reason)
    share = bad / max(1, sum(one.decoded for one in survey.found))
    if bad > 1 and share > 0.005:
        limit = min(1.0, math.ceil(200 * share) / 100)
        made.put("data.max_bad", limit, "twice the share of damaged images that was found; more end the run")


def _pixels(made: _Table, survey: Survey, small: bool, side: int) -> None:
    mirrored = not _read_characters(survey)
    flip = [{"name": "horizontal_flip"}] if mirrored else []
    kept = "" if mirrored else "; not mirrored, as the classes look like letters or digits"
    if small and survey.one_size is not None:
        padding = max(1, round(min(survey.one_size) / (8 if mirrored else 16)))
        steps = [{"name": "random_crop", "padding": padding, "fill": "reflect" if mirrored else "zero"}, *flip]
        made.put("data.augment", steps, f"all images are {_spoken(survey.one_size)}: shifted a little{kept}")
        return
    crop = {"name": "random_resized_crop", "size": side, "scale": [0.25, 1.0], "reduced_decoding": True}
    steps = [crop, *flip]
    made.put("data.augment", steps, f"a random part, at least a quarter, at {side} x {side} pixels{kept}")
    protocol = f"torchvision:img_size={side},resize_size={round(side * 256 / 224)}"
    made.put("data.protocol", protocol, "test images: the shorter side resized, then the centre")
    made.put("data.mean", _PHOTO_MEAN, 'of ImageNet, the usual one for photographs; "auto" measures these images')
    made.put("data.std", _PHOTO_STD, "likewise")


def _read_characters(survey: Survey) -> bool:
    """Whether the classes seem to be letters, digits or numbers, which a mirror makes into something else."""
    written = all(len(name) == 1 or name.isdecimal() for name in survey.classes)
    return written or survey.kind == "idx" or survey.where == "digits"


def _network_keys(made: _Table, survey: Survey, small: bool, network: Network, count: int) -> None:
    shown = _spoken(survey.one_size) if small and survey.one_size else f"{network.side} x {network.side} pixels"
    reason = f"the largest of the usual networks that {count:,} images of {shown} and the time allow"
    made.put("model.name", network.name, reason)


def _sparsity(made: _Table, network: Network, steps: int, epochs: int) -> None:
    photos = network.name.startswith(("resnet18", "resnet50"))
    density = 0.2 if network.name == "resnet20" else 0.1
    made.put("sparsity.density", density, f"{100 * density:g} % of the weights exist; 1.0 trains the dense network")
    spread = "uniform" if photos else "erk"
    reason = (
        "the same share in every layer at first, cheapest to compute until updates move weights into early layers;"
        " 'erk' is often a little more accurate and slower from the start"
        if photos
        else "more of them in small layers"
    )
    made.put("sparsity.distribution", spread, reason)
    if network.name.startswith(_STEM_AND_FC):
        made.put("sparsity.exclude", ["conv1", "fc"], "first and last layer stay dense: they are small and matter most")
    made.put("sparsity.method", "sparse_momentum", '"rigl", "set", "gmp", "static" ... are others')
    for key, value, reason in _moves(steps, epochs):
        made.put(f"sparsity.{key}", value, reason)


def _moves(steps: int, epochs: int) -> list[tuple[str, int | str, str]]:
    """(key, value, reason) of how often weights move: never so seldom that they do not move at all."""
    interval: int | str = "epoch" if steps >= _FEWEST_STEPS else _FEWEST_STEPS
    length, why = max(steps, _FEWEST_STEPS), f"every {_FEWEST_STEPS} steps: an epoch has fewer"
    if interval == "epoch":
        why = f"once an epoch ({steps:,} steps)"
    if 4 <= steps * epochs < 4 * length:
        interval = length = steps * epochs // 4
        why = f"every {length:,} steps: there are no more than {steps * epochs:,}"
    return [
        ("interval", interval, f"weights are pruned and regrown {why}"),
        ("window", max(1, min(44, length // 5)), "steps before that in which dense gradients are collected"),
    ]


def _training(
    made: _Table, network: Network, bf16: bool, batch: int, epochs: int, wished: int, count: int, minutes: float
) -> None:
    arithmetic = "this processor computes in it" if bf16 else "this processor stores in it and computes in FP32"
    made.put("precision.mode", "bf16", f"16-bit arithmetic, FP32 masters of the weights: {arithmetic}")
    made.put("optimizer.lr", float(f"{0.1 * batch / 128:.3g}"), "0.1 at a batch of 128, in proportion")
    made.put("optimizer.weight_decay", 5e-4 if count < 200_000 else 1e-4, "of the weights; less for very many images")
    if network.name == _GREY.name:
        reason = "without batch norms one large step in the first epochs can end filters for good"
        made.put("optimizer.clip_norm", 1.0, reason)
    short = f"{wished} would be better, in more than the {minutes:g} minutes allowed" if epochs < wished else ""
    made.put("schedule.epochs", epochs, short or f"{epochs * count:,} images in all; more is usually better")
    made.put("schedule.name", "cosine", "the learning rate falls to 0 along a cosine")
    made.put("schedule.warmup_epochs", max(1, epochs // 20), "it rises from 0 first")


def _spoken(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"
