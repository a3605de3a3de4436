"""What does a data set look like, told to somebody who wants to train on it? One readable block, and what is odd."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mezzotint.cli.files import near_to
from mezzotint.cli.output import shell
from mezzotint.cli.progress import counted

if TYPE_CHECKING:
    from mezzotint.data.survey import Survey
    from mezzotint.train import RunConfig
    from mezzotint.train.recipe import Recipe

_SHOWN: Final = 3
_UNEVEN: Final = 5
"""The largest class has so many times the images of the smallest: worth a word."""
_FEW: Final = 20
_UNREADABLE: Final = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".cr2", ".nef", ".arw", ".dng")
_LARGE: Final = 1_500_000
"""Pixels from which on an image takes much longer to decode than to train on."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A data set, and what fits it: ``text`` is the commented configuration, ``recipe`` what it holds."""

    survey: Survey
    recipe: Recipe
    config: RunConfig
    text: str


def look(
    where: str, *, minutes: float, overrides: Sequence[str] = (), quiet: bool = False, every: bool = False
) -> Look:
    """Survey a data set and choose a configuration for it, with progress on slow disks.

    Args:
        where: as for ``open_source``.
        minutes: about how long the training may take.
        overrides: ``section.key=value``: what the user has chosen.
        quiet: show no progress.
        every: decode every image, however long that takes.

    Raises:
        InputError: there is no such data set, nothing can be learnt from it, or an override is not usable.
    """
    import torch

    from mezzotint.data.survey import survey
    from mezzotint.kernels.hardware import computes_in
    from mezzotint.kernels.resources import resources
    from mezzotint.train.config_file import parse_config
    from mezzotint.train.recipe import recipe, with_overrides
    from mezzotint.train.recipe_text import commented

    _require_data(where)
    machine = resources()
    with counted(f"looking at {where}", quiet=quiet) as watch:
        limit = float("inf") if every else 20.0
        found = survey(where, seconds=limit, threads=min(machine.cores, 16), watch=watch)
    chosen = recipe(found, machine, bf16=computes_in(torch.bfloat16, "cpu"), minutes=minutes)
    chosen = with_overrides(chosen, overrides)
    text = commented(chosen, _heading(found))
    return Look(survey=found, recipe=chosen, config=parse_config(text), text=text)


def _require_data(where: str) -> None:
    """Tell a beginner what a data set looks like, before ``open_source`` lists every kind that there is.

    Raises:
        DataError: the place is there, and no kind of data set.
    """
    from mezzotint.data.sources import SOURCES
    from mezzotint.errors import DataError, message

    path = Path(where).expanduser()
    if where == "digits" or any(kind.detects(path) for kind in SOURCES.values()):
        return
    fix = ""
    if not path.exists():
        if any(sign in where for sign in "*?[{"):
            return  # a pattern of shards, none of which is there: ``open_source`` says so
        found, fix = "a path that does not exist", near_to(path, "digits")
    elif path.is_dir():
        count = sum(1 for _ in path.iterdir())
        found = f"a folder with {_count(count, 'file')} and no images" if count else "an empty folder"
    else:
        found = "a file that is no data set"
        if path.suffix == ".toml":
            found, fix = "a configuration", f"`mezzotint train {shell(path)}` trains with it."
    name = (path.is_dir() and path.name) or "photos"
    allowed = (
        f"a folder with one subfolder of images for each class ({name}/cat/1.jpg, {name}/dog/1.jpg), below train/ and"
        ' test/ or not; or a tar, parquet files, an IDX or a CIFAR folder, or "digits"'
    )
    raise DataError(message(f"data set {where!r}", received=found, allowed=allowed, fix=fix))


def _heading(survey: Survey) -> list[str]:
    from mezzotint.train.config import RunConfig
    from mezzotint.train.table import all_keys

    lines = [
        f"Training on {survey.where}. Every key has a reason beside it; change what you like.",
        "  mezzotint train FILE                # this file; the run folder is runs/<name> unless -o names another",
        "  mezzotint train FILE --set sparsity.density=0.05 -o runs/five-percent",
        f"All {len(all_keys(RunConfig))} keys: `mezzotint config` lists them with their defaults.",
        "",
    ]
    return [
        *lines,
        *(f"{name}: {text}" for name, text in facts(survey)),
        *(f"Note: {text}" for text in remarks(survey)),
    ]


def facts(survey: Survey) -> list[tuple[str, str]]:
    """(heading, what was found) in the order in which one wants to know it."""
    parts = [("data", survey.train.words)]
    parts += [("test", survey.test.words)] if survey.test else []
    looked = len(survey.found)
    rows = [*parts, ("classes", _classes(survey)), ("images", _images(survey))]
    if looked < survey.samples:
        rows.append(("looked at", f"{looked:,} of {survey.samples:,} images, evenly spread"))
    decoded = sum(one.decoded for one in survey.found)
    if survey.encoded and decoded < looked:
        rows.append(("decoded", f"{decoded:,} of them in the time for it; --every decodes all"))
    return rows


def _classes(survey: Survey) -> str:
    counts = survey.train.counts
    shown = ", ".join(map(_word, survey.classes[:6])) + (", ..." if len(survey.classes) > 6 else "")
    spread = (
        f"{min(counts):,} images each" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,} images"
    )
    return f"{len(survey.classes)} ({shown}), {spread}"


def _images(survey: Survey) -> str:
    if not survey.sizes:
        return "none that can be read"
    forms = ", ".join(f"{count:,} {form}" for form, count in survey.forms.most_common() if form)
    heights, widths = zip(*survey.sizes, strict=True)
    if survey.one_size:
        size = f"all {widths[0]} x {heights[0]} pixels"
    else:
        middle = f"{statistics.median_low(widths)} x {statistics.median_low(heights)}"
        size = f"{min(widths)} x {min(heights)} to {max(widths)} x {max(heights)} pixels, the middle {middle}"
    return f"{forms}, {size}" if forms else size


def remarks(survey: Survey) -> list[str]:
    """Sentences about what looks odd and may be a mistake; none where nothing does."""
    return [*_of_files(survey), *_of_classes(survey), *_of_pixels(survey)]


def _of_files(survey: Survey) -> list[str]:
    found = []
    if survey.damaged:
        names = _some([_word(bad.name) for bad in survey.damaged])
        found.append(
            f"{_count(len(survey.damaged), 'image')} cannot be read ({names}): left out, and reported by the run."
        )
    if survey.passed_over:
        kinds = _some([f"{count:,} {_word(end)}" for end, count in survey.passed_over.items()])
        found.append(f"Files that are passed over, as they are no images that can be read: {kinds}.")
        photos = [end for end in survey.passed_over if end in _UNREADABLE]
        if photos:
            found.append(f"Save {_some(photos)} files as JPEG or PNG if they belong to the data set.")
    if survey.in_both_parts:
        pairs = _some([f"{_word(one)} = {_word(other)}" for one, other in survey.in_both_parts])
        count = _count(len(survey.in_both_parts), "test image")
        found.append(f"{count} in the training part as well ({pairs}): the test accuracy will be too high.")
    if survey.in_two_classes:
        pairs = _some([f"{_word(one)} = {_word(other)}" for one, other in survey.in_two_classes])
        found.append(f"{_count(len(survey.in_two_classes), 'image')} in two classes at once: {pairs}.")
    return found


def _of_classes(survey: Survey) -> list[str]:
    counts, found = survey.train.counts, []
    order = sorted(range(len(counts)), key=lambda place: counts[place])
    if counts[order[-1]] > _UNEVEN * max(1, counts[order[0]]):
        most, least = order[-1], order[0]
        found.append(
            f"Classes are uneven: {counts[most]:,} of {_word(survey.classes[most])}, {counts[least]:,} of"
            f" {_word(survey.classes[least])}. Look at the report's table of mistakes, not only at the accuracy."
        )
    few = [_word(survey.classes[place]) for place in order if counts[place] < _FEW]
    if few:
        found.append(f"Classes of fewer than {_FEW} images: {_some(few)}. Expect little of them.")
    inner = _folders_within(survey)
    if inner:
        shown = _some([_word(f"{name}/{folder}") for name, folders in inner.items() for folder in folders])
        found.append(
            f"Class folders hold folders of their own ({shown}): all images below count as the upper one's class. If"
            " the inner ones are the classes, lay them side by side in a folder of their own, as copies or links."
        )
    if survey.test is not None and 0 in survey.test.counts:
        missing = [_word(name) for name, count in zip(survey.classes, survey.test.counts, strict=True) if not count]
        found.append(f"No test image of {_some(missing)}.")
    return found


def _folders_within(survey: Survey) -> dict[str, list[str]]:
    """Class -> two folders or more in it, where no image lies directly in a class folder."""
    if survey.kind != "folder":
        return {}
    parts = [name.split("/") for name in survey.train.names]
    if any(len(part) < 3 for part in parts):
        return {}
    inside: dict[str, dict[str, None]] = {}
    for outer, inner, *_ in parts:
        inside.setdefault(outer, {})[inner] = None
    return {name: list(folders) for name, folders in inside.items() if len(folders) > 1}


def _of_pixels(survey: Survey) -> list[str]:
    modes, found = survey.modes, []
    alpha = sum(modes[mode] for mode in ("RGBA", "LA", "PA", "RGBa", "La"))
    if alpha:
        found.append(
            f"{_count(alpha, 'image')} with transparency: the colour is used as it is stored, alpha is dropped."
        )
    grey = sum(modes[mode] for mode in ("L", "1", "LA")) + sum(modes[mode] for mode in modes if mode.startswith("I;16"))
    if survey.encoded and grey:
        found.append(f"{_count(grey, 'image')} in grey: read as three equal channels.")
    if modes["CMYK"]:
        found.append(f"{_count(modes['CMYK'], 'image')} in CMYK: converted as Pillow does.")
    pixels = [height * width for height, width in survey.sizes]
    if pixels and statistics.median_low(pixels) > _LARGE:
        megapixels = statistics.median_low(pixels) / 1e6
        found.append(
            f"The images are large ({megapixels:.1f} megapixels). Pack them once, and every epoch reads faster:"
            f" mezzotint data pack {_word(survey.where)} -o {_word(Path(survey.where).name + '.tar')} --size 256"
        )
    return found


def chosen(found: Look) -> list[tuple[str, str]]:
    """(heading, what was chosen): the lines that one reads before it starts."""
    config, recipe = found.config, found.recipe
    data, sparsity = config.data, config.sparsity
    steps = f"{recipe.steps:,} steps" if recipe.steps > 1 else "one step"
    share = f"{100 * sparsity.density:g} % of its weights, {sparsity.method}" if not sparsity.dense else "dense"
    length = f"{config.schedule.epochs} epochs of {steps}, batches of {data.batch_size}, {config.precision.mode}"
    rows = [
        ("network", f"{config.model.name}, {share}"),
        ("images", ", ".join(map(_augmentation, data.augment)) or "as they are"),
        ("training", length),
    ]
    if data.hold_out is not None:
        rows.append(("testing", _testing(found.survey, data.hold_out)))
    if recipe.seconds is not None:
        rows.append(("time", f"roughly {duration(recipe.seconds)} on this machine as busy as it is now"))
    return rows


def _testing(survey: Survey, share: float) -> str:
    """What is held out, and what the accuracy on so few images is worth."""
    from mezzotint.data.held_out import held_of

    held = sum(held_of(count, share) for count in survey.train.counts)
    told = f"{100 * share:g} % of each class is held out, always the same {held:,} images: there is no test part"
    if held >= _FEW:
        return told
    each = f"So few say little, each is {100 / held:.0f} % of the accuracy"
    return f"{told}. {each}: --set data.hold_out=0.3 tests on more"


def _augmentation(step: Mapping[str, Any]) -> str:
    words = {
        "random_crop": f"shifted by up to {_count(step.get('padding', 4), 'pixel').lower()}",
        "random_resized_crop": f"random parts at {step.get('size')} x {step.get('size')} pixels",
        "horizontal_flip": "half of them mirrored",
    }
    return words.get(step["name"], str(step["name"]))


def block(rows: list[tuple[str, str]]) -> str:
    """Headings in one column, texts in another, wrapped to the terminal."""
    import shutil
    import textwrap

    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    wide = max(len(heading) for heading, _ in rows) + 4
    lines = []
    for heading, text in rows:
        first = f"  {heading}".ljust(wide)
        lines.append(textwrap.fill(text, width, initial_indent=first, subsequent_indent=" " * wide))
    return "\n".join(lines)


def as_json(found: Look, **more: Any) -> str:
    """What ``init --json`` prints."""
    survey = found.survey
    content = {
        "data": survey.where,
        "kind": survey.kind,
        "classes": list(survey.classes),
        "train": {"split": survey.train.split, "counts": list(survey.train.counts)},
        "test": None if survey.test is None else {"split": survey.test.split, "counts": list(survey.test.counts)},
        "looked_at": len(survey.found),
        "decoded": sum(one.decoded for one in survey.found),
        "formats": dict(survey.forms),
        "modes": dict(survey.modes),
        "one_size": survey.one_size,
        "damaged": [{"name": bad.name, "reason": bad.reason} for bad in survey.damaged],
        "in_both_parts": list(survey.in_both_parts),
        "in_two_classes": list(survey.in_two_classes),
        "passed_over": survey.passed_over,
        "remarks": remarks(survey),
        "config": found.recipe.table,
        "reasons": found.recipe.reasons,
        "seconds": found.recipe.seconds,
        **more,
    }
    return json.dumps(content, indent=1)


def duration(seconds: float) -> str:
    """A rough time in words: "40 seconds", "12 minutes", "3.5 hours", "2 days"."""
    for limit, unit, size, digits in ((90, "seconds", 1, 0), (5400, "minutes", 60, 0), (172_800, "hours", 3600, 1)):
        if seconds < limit:
            number = max(1.0, round(seconds / size, digits))
            return f"{number:g} {unit[:-1] if number == 1 else unit}"
    return f"{seconds / 86_400:.1f} days"


def _some(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN:,} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


def _count(number: int, what: str) -> str:
    return f"One {what}" if number == 1 else f"{number:,} {what}s"


def _word(name: str) -> str:
    """A name as it can be shown and copied: signs that no terminal shows become ``?``, blanks get quotes."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in name)
    return f"'{plain}'" if any(sign.isspace() for sign in plain) else plain
