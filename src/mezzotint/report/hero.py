"""What does the reader see first? The run's result in a sentence, a field of dots, and a few large numbers."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from mezzotint.report.dots import dots
from mezzotint.report.headline import Headline, headline
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT, count, duration, percent, plain, ratio, size
from mezzotint.report.record import Run

#: A longer value of a tile is set smaller.
_LONG = 11
_LATER = "not recorded yet"


def hero(run: Run) -> Markup:
    """The top of a run's page."""
    head = headline(run)
    state = tag("span", head.state, class_=f"state {head.state.split()[0]}")
    return tag(
        "div",
        tag("p", f"Training report {f'of {head.model} ' if head.model else ''}", state, class_="kicker"),
        tag("h1", head.name),
        tag("p", sentence(head), class_="result"),
        dots(head.density),
        tag("dl", *(_tile(*values) for values in tiles(run, head)), class_="tiles"),
        class_="hero",
        id="hero",
    )


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
    return join(who, how, f" {verb} ", tag("strong", percent(head.accuracy, 4)), " of the test images correctly.")


def spoken(method: str) -> str:
    """A method's registry name as words: ``sparse_momentum`` -> ``sparse momentum``."""
    return {"static": "a static pattern"}.get(method, method.replace("_", " "))


def tiles(run: Run, head: Headline) -> Iterable[tuple[str, str, str]]:
    """(name, value, remark) of every tile."""
    yield "Test accuracy", percent(head.accuracy, 4), _error(head)
    yield "Density", percent(head.density), "of the dense network's weights"
    nnz = _LATER if head.nnz is None else f"nnz {count(head.nnz)} of {count(head.numel)}"
    yield "Nonzero weights", _short(head.nnz), nnz
    yield "Memory", size(head.sparse_bytes), _against_dense(head)
    yield "Training time", duration(head.seconds), _speed(run)
    yield "Epochs", count(head.epochs), f"{count(head.steps)} steps"
    yield "Precision", head.precision or ABSENT, _skipped(run, head)
    yield "Method", head.method.replace("_", " ") or ABSENT, _updates(run)


def _error(head: Headline) -> str:
    if head.accuracy is None:
        return _LATER
    return f"error {percent(1 - head.accuracy)} · best accuracy {percent(head.best_accuracy, 4)}"


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
