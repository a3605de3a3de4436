"""What does the reader see first? The run's result in a sentence, a field of dots, and a few large numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from mezzotint.report.dots import dots
from mezzotint.report.headline import Headline, guessed, headline, luck
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT, ENOUGH_IMAGES, count, duration, percent, plain, ratio, size
from mezzotint.report.record import Run

#: A longer value of a tile is set smaller.
_LONG = 11
_LOST = (
    "The training diverged: its loss is far beyond that of a network that guesses. What follows shows how; no accuracy"
    " of this run means anything. A smaller learning rate (optimizer.lr) or a longer warm-up helps most often."
)
_LATER = "not recorded yet"
#: Epochs that are named one by one.
_FEW = 6


def hero(run: Run) -> Markup:
    """The top of a run's page."""
    head = headline(run)
    state = tag("span", head.state, class_=f"state {head.state.split()[0]}")
    word = "diverged" if head.diverged else guessed(head.accuracy, head.chance) if head.as_a_guess else ""
    lost = tag("span", word, class_="state diverged") if word else ""
    return tag(
        "div",
        tag("p", f"Training report {f'of {head.model} ' if head.model else ''}", state, lost, class_="kicker"),
        tag("h1", titled(head)),
        tag("p", sentence(head), class_="result"),
        *(tag("p", text, class_="lost", role="note") for text in doubts(head)),
        dots(head.density),
        tag("dl", *(_tile(*values) for values in tiles(run, head)), class_="tiles"),
        class_="hero",
        id="hero",
    )


def doubts(head: Headline) -> Iterable[str]:
    """What should be known before the result is believed."""
    if head.diverged:
        yield _LOST
        return
    if head.as_a_guess:
        chance = f"always naming the largest class gets {percent(head.chance)} of them right"
        yield (
            f"Too few test images to tell this from guessing: {chance}. Test on more of them (data.hold_out)."
            if luck(head.accuracy, head.chance)
            else f"No better than guessing these test images: {chance}. Train longer, or with another learning rate"
            " (optimizer.lr); and see whether the images are what the names of their classes say."
        )
    if head.lost:
        epochs = f"epoch {head.lost[0]}" if len(head.lost) == 1 else f"{len(head.lost)} epochs ({_listed(head.lost)})"
        yield (
            f"The loss ran away in {epochs} and came back. The result stands; a smaller learning rate (optimizer.lr), a"
            " longer warm-up or clipped gradients (optimizer.clip_norm) may end better."
        )


def _listed(epochs: Sequence[int]) -> str:
    return ", ".join(map(str, epochs[:_FEW])) + (", ..." if len(epochs) > _FEW else "")


def sentence(head: Headline) -> Markup:
    """The result in words; parts that are not known are left out."""
    who = join(tag("strong", percent(head.density)), " of the weights") if _sparse(head) else Markup("A dense network")
    how = f", trained in {head.precision}" if head.precision else ""
    if head.method and _sparse(head):
        how += f" by {spoken(head.method)}" if how else f", trained by {spoken(head.method)}"
    if how:
        how += ","
    verb = "classify" if _sparse(head) else "classifies"
    if head.density is None:
        return Markup("No epoch has ended yet.")
    if head.accuracy is None:
        return join(who, how, " not tested yet.")
    return join(who, how, f" {verb} ", *right(head), " test images correctly.")


def titled(head: Headline) -> str:
    """The run's name, with its folder's where that is another: runs on one data set share the name."""
    return f"{head.name} ({head.folder})" if head.folder else head.name


def right(head: Headline) -> tuple[Markup, str]:
    """The accuracy as the beginning of "... test images": a share, or a number where they are few."""
    if head.accuracy is None or head.images is None or head.images >= ENOUGH_IMAGES:
        return tag("strong", percent(head.accuracy, 4)), " of the"
    return tag("strong", f"{count(head.accuracy * head.images)} of {count(head.images)}"), ""


def spoken(method: str) -> str:
    """A method's registry name as words: ``sparse_momentum`` -> ``sparse momentum``."""
    return {"static": "a static pattern"}.get(method, method.replace("_", " "))


def tiles(run: Run, head: Headline) -> Iterable[tuple[str, str, str]]:
    """(name, value, remark) of every tile."""
    yield "Test accuracy", percent(head.accuracy, _digits(head)), _error(head)
    yield "Density", percent(head.density), _computed(head)
    nnz = _LATER if head.nnz is None else f"nnz {count(head.nnz)} of {count(head.numel)}"
    yield "Nonzero weights", _short(head.nnz), nnz
    yield "Memory", size(head.sparse_bytes), _against_dense(head)
    yield "Training time", duration(head.seconds), _speed(run)
    yield "Epochs", _epochs(head), f"{count(head.steps)} steps"
    yield "Precision", head.precision or ABSENT, _skipped(run, head)
    yield "Method", head.method.replace("_", " ") or ABSENT, _updates(run)


def _error(head: Headline) -> str:
    if head.accuracy is None:
        return _LATER
    digits = _digits(head)
    few = f"{count(head.accuracy * (head.images or 0))} of {count(head.images)} images · " if digits == 2 else ""
    return (
        f"{few}error {percent(1 - head.accuracy, min(digits, 3))} · best accuracy {percent(head.best_accuracy, digits)}"
    )


def _digits(head: Headline) -> int:
    """Of an accuracy in percent."""
    return 2 if head.images is not None and head.images < ENOUGH_IMAGES else 4


def _computed(head: Headline) -> str:
    told = "of the dense network's weights"
    return told if head.multiply_adds is None else f"{told}; {percent(head.multiply_adds)} of its multiply-adds"


def _epochs(head: Headline) -> str:
    more = head.of_epochs is not None and head.epochs is not None and head.epochs < head.of_epochs
    return f"{count(head.epochs)} of {count(head.of_epochs)}" if more else count(head.epochs)


def _against_dense(head: Headline) -> str:
    if head.sparse_bytes is None:
        return _LATER
    against = f"{ratio(head.sparse_bytes, head.dense_bytes)} of {size(head.dense_bytes)} dense; "
    return f"{against if head.dense_bytes else ''}weights, optimiser, index"


def _tile(name: str, value: str, remark: str) -> Markup:
    return tag(
        "div",
        tag("dt", name),
        tag("dd", value, class_="value long" if len(value) > _LONG else "value"),
        tag("dd", remark, class_="remark"),
    )


def _sparse(head: Headline) -> bool:
    return head.density is not None and head.density < 1


def _short(value: float | None) -> str:
    if value is None or value < 1e5:
        return count(value)
    return f"{plain(value / 1e6, 3)} M" if value >= 1e6 else f"{plain(value / 1e3, 3)} k"


def _speed(run: Run) -> str:
    known = [item.images_per_second for item in run.timing if item.images_per_second is not None]
    return f"{plain(median(known), 3)} images a second" if known else "speed not recorded"


def _skipped(run: Run, head: Headline) -> str:
    if head.skipped is not None:
        return f"{count(head.skipped)} step{'' if head.skipped == 1 else 's'} skipped"
    logged = sum(step.skipped for step in run.steps)
    return f"{logged} of the logged steps skipped" if run.steps else "steps not recorded"


def _updates(run: Run) -> str:
    return f"{len(run.topology)} topology update{'' if len(run.topology) == 1 else 's'}"
