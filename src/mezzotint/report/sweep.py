"""What came out of a sweep? Means and standard errors over seeds, from the summaries of its runs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from mezzotint.errors import RunError, message
from mezzotint.report.files import Reader, finite, mapping, sequence, words
from mezzotint.report.numbers import ABSENT

PLAN: Final = "sweep.json"
DENSE: Final = "dense"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run; ``summary`` is empty while it is not finished."""

    method: str
    density: float
    seed: int
    run: str
    summary: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over ``n`` seeds with its standard error (sample deviation / sqrt(n)); None of fewer than two."""

    mean: float
    error: float | None
    n: int

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"mean": self.mean, "standard_error": self.error, "n": self.n}


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one method at one density; ``accuracy`` is None while none is finished."""

    method: str
    density: float
    trials: tuple[Trial, ...]

    @property
    def finished(self) -> list[Trial]:
        """Those that have a result."""
        return [trial for trial in self.trials if trial.summary]

    @property
    def accuracy(self) -> Estimate | None:
        """Test accuracy, 0 to 1."""
        return self.estimate("test_accuracy")

    def estimate(self, key: str) -> Estimate | None:
        """Of a number in the summaries."""
        values = [value for trial in self.finished if (value := finite(trial.summary.get(key))) is not None]
        if not values:
            return None
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return Estimate(mean=fmean(values), error=error, n=len(values))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All of it, dense first, then method by method, densities falling."""

    folder: Path
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def dense(self) -> Group | None:
        """The runs without sparsity."""
        return next((group for group in self.groups if group.method == DENSE), None)

    @property
    def methods(self) -> list[str]:
        """Without "dense", in the order in which they were asked for."""
        return list(dict.fromkeys(group.method for group in self.groups if group.method != DENSE))


def read_sweep(folder: Path | str) -> Sweep:
    """Read a sweep's folder, finished or not.

    Raises:
        RunError: it holds no sweep.
    """
    place = Path(folder)
    reader = Reader(place)
    plan = mapping(reader.json(PLAN))
    if not plan:
        raise RunError(
            message(
                "sweep folder",
                received=f"{str(place)!r}, which holds no readable {PLAN}",
                allowed="a folder that `mezzotint sweep` wrote",
            )
        )
    trials = [trial for record in sequence(plan.get("runs")) if (trial := _trial(reader, mapping(record)))]
    keys = dict.fromkeys((trial.method, trial.density) for trial in trials)
    order = list(dict.fromkeys(method for method, _ in keys))
    ranked = sorted(keys, key=lambda key: (key[0] != DENSE, order.index(key[0]), -key[1]))
    groups = [
        Group(
            method=method,
            density=density,
            trials=tuple(t for t in trials if (t.method, t.density) == (method, density)),
        )
        for method, density in ranked
    ]
    return Sweep(folder=place, groups=tuple(groups), notes=tuple(reader.notes))


def _trial(reader: Reader, record: dict[str, Any]) -> Trial | None:
    density, seed = finite(record.get("density")), finite(record.get("seed"))
    if density is None or seed is None:
        return None
    run = words(record.get("run"))
    summary = mapping(reader.json(f"{run}/summary.json"))
    return Trial(method=words(record.get("method")), density=density, seed=int(seed), run=run, summary=summary)


def sweep_record(sweep: Sweep) -> dict[str, Any]:
    """The result as JSON: for each group mean, standard error and every run's summary."""
    return {
        "groups": [
            {
                "method": group.method,
                "density": group.density,
                "test_accuracy": None if group.accuracy is None else group.accuracy.record(),
                "runs": [{"seed": trial.seed, **trial.summary} for trial in group.finished],
            }
            for group in sweep.groups
        ]
    }


def sweep_rows(sweep: Sweep) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(headings, rows) of the table of results; accuracies in percent, differences in percentage points."""
    base = sweep.dense.accuracy if sweep.dense else None
    heads = ("method", "density", "test accuracy, %", "to dense", "seeds", "s/run")
    return heads, [_row(group, base) for group in sweep.groups]


def _row(group: Group, base: Estimate | None) -> tuple[str, ...]:
    accuracy, seconds = group.accuracy, group.estimate("seconds")
    seeds = str(len(group.trials))
    if len(group.finished) < len(group.trials):
        seeds = f"{len(group.finished)} of {seeds}"
    return (
        named(group.method),
        f"{group.density:g}",
        ABSENT if accuracy is None else with_error(accuracy),
        _points(accuracy.mean - base.mean) if accuracy and base and group.method != DENSE else ABSENT,
        seeds,
        ABSENT if seconds is None else f"{seconds.mean:.0f}",
    )


def named(method: str) -> str:
    """A method's registry name as words."""
    return method.replace("_", " ")


def with_error(estimate: Estimate) -> str:
    """A share in percent with its standard error: ``98.61 ± 0.03``."""
    error = "" if estimate.error is None else f" ± {100 * estimate.error:.2f}"
    return f"{100 * estimate.mean:.2f}{error}"


def hundredths(value: float) -> str:
    return f"{100 * value:.2f} %"


def _points(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{abs(100 * value):.2f}"


def record_text(sweep: Sweep) -> str:
    """:func:`sweep_record` as JSON text."""
    return json.dumps(sweep_record(sweep), indent=1, ensure_ascii=False) + "\n"
