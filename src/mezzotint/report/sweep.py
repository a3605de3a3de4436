"""What came out of a sweep? Means and standard errors over seeds, from the summaries of its runs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from mezzotint.errors import RunError, message
from mezzotint.report.files import Reader, finite, mapping, parsed, sequence, whole, words
from mezzotint.report.lock import being_trained
from mezzotint.report.numbers import ABSENT

PLAN: Final = "sweep.json"
DENSE: Final = "dense"
_MOST_EPOCHS: Final = 10_000
_NUMBERS: Final = (
    "test_accuracy",
    "test_loss",
    "seconds",
    "nnz",
    "numel",
    "weight_bytes",
    "optimizer_bytes",
    "index_bytes",
)
"""Of a summary, what stands in the table of all runs."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run.

    Attributes:
        over: (dotted key, value as JSON) of the other axes.
        run: its folder, from that of the sweep.
        summary: empty while it is not finished.
        state: ``"finished"``, ``"failed"``, ``"in progress"``, ``"not finished"`` or ``"not started"``.
        error: why it failed, or empty.
        errors: share of test images classified wrongly after each epoch; None where an epoch is not recorded.
    """

    method: str
    density: float
    seed: int
    run: str
    summary: dict[str, Any]
    state: str = "finished"
    error: str = ""
    errors: tuple[float | None, ...] = ()
    over: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over ``n`` seeds with its standard error (sample deviation / sqrt(n)); None of fewer than two."""

    mean: float
    error: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Of one value or more."""
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return cls(mean=fmean(values), error=error, n=len(values))

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"mean": self.mean, "standard_error": self.error, "n": self.n}


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one combination, which differ by their seeds; ``accuracy`` is None while none is finished."""

    method: str
    density: float
    trials: tuple[Trial, ...]
    over: tuple[tuple[str, str], ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """Key -> value of the other axes."""
        return {key: json.loads(text) for key, text in self.over}

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
        return Estimate.of(values)

    def against(self, base: Group) -> Estimate | None:
        """Test accuracy less that of ``base``, seed by seed: what the seeds have in common falls out."""
        differences = self.differences(base)
        return Estimate.of(list(differences.values())) if differences else None

    def differences(self, base: Group) -> dict[int, float]:
        """Seed -> test accuracy less that of ``base`` with the same seed."""
        first, second = self._accuracies(), base._accuracies()
        return {seed: value - second[seed] for seed, value in first.items() if seed in second}

    def _accuracies(self) -> dict[int, float]:
        known = ((trial.seed, finite(trial.summary.get("test_accuracy"))) for trial in self.finished)
        return {seed: value for seed, value in known if value is not None}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All of it, dense first, then method by method, densities falling, settings in the order of the plan."""

    folder: Path
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def dense(self) -> list[Group]:
        """The runs without sparsity: one group, or one for each setting that a dense network knows, too."""
        return [group for group in self.groups if group.method == DENSE]

    @property
    def axes(self) -> dict[str, str]:
        """Dotted key of every axis besides method and density -> its name: the last word, where that is one key's."""
        keys = list(dict.fromkeys(key for group in self.groups for key, _ in group.over))
        words = Counter(key.rpartition(".")[2] for key in keys)
        return {key: key if words[key.rpartition(".")[2]] > 1 else key.rpartition(".")[2] for key in keys}

    @property
    def series(self) -> list[str]:
        """What a line of a chart is: every method with its settings, without "dense", in the order of the groups."""
        return list(dict.fromkeys(self.label(group) for group in self.groups if group.method != DENSE))

    def label(self, group: Group, *, without: str = "") -> str:
        """The group's method and settings in words, without its density and the axis ``without``."""
        axes = self.axes
        settings = (f"{axes[key]} {worded(text)}" for key, text in group.over if key != without)
        return " · ".join([named(group.method), *settings])

    def base(self, group: Group) -> Group | None:
        """The dense runs with the group's settings; those of ``[sparsity]`` mean nothing to them."""
        known = {setting for setting in group.over if not setting[0].startswith("sparsity.")}
        return next((dense for dense in self.dense if set(dense.over) == known), None)


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
    keys = list(dict.fromkeys((trial.method, trial.density, trial.over) for trial in trials))
    order = list(dict.fromkeys(method for method, _, _ in keys))
    ranked = sorted(keys, key=lambda key: (key[0] != DENSE, order.index(key[0]), -key[1]))
    groups = [
        Group(
            method=method,
            density=density,
            over=over,
            trials=tuple(t for t in trials if (t.method, t.density, t.over) == (method, density, over)),
        )
        for method, density, over in ranked
    ]
    return Sweep(folder=place, groups=tuple(groups), notes=tuple(reader.notes))


def with_runs_of_sweeps(folders: Sequence[Path | str]) -> list[Path]:
    """The folders, each sweep among them replaced by those of its runs that have begun."""
    found: list[Path] = []
    for folder in map(Path, folders):
        if not (folder / PLAN).is_file():
            found.append(folder)
            continue
        runs = (folder / trial.run for group in read_sweep(folder).groups for trial in group.trials)
        found += [run for run in runs if (run / "metrics.jsonl").is_file() or (run / "summary.json").is_file()]
    return found


def _trial(reader: Reader, record: dict[str, Any]) -> Trial | None:
    density, seed = finite(record.get("density")), finite(record.get("seed"))
    if density is None or seed is None:
        return None
    run = words(record.get("run"))
    summary = mapping(reader.json(f"{run}/summary.json"))
    error = "" if summary else (reader.text(f"{run}.error.txt") or "").strip()
    return Trial(
        method=words(record.get("method")),
        density=density,
        seed=int(seed),
        run=run,
        summary=summary,
        state=_state(reader.folder / run, summary, error),
        error=error,
        errors=_errors(reader, run),
        over=tuple((key, json.dumps(value)) for key, value in mapping(record.get("over")).items()),
    )


def _state(folder: Path, summary: dict[str, Any], error: str) -> str:
    if summary:
        return "finished"
    training = being_trained(folder)
    if training:
        return "in progress"
    if error:
        return "failed"
    return "not finished" if (folder / "metrics.jsonl").is_file() else "not started"


def _errors(reader: Reader, run: str) -> tuple[float | None, ...]:
    """Test errors by epoch. Only the epochs' lines are parsed: a sweep has many runs, and runs many steps."""
    found: dict[int, float] = {}
    for line in (reader.text(f"{run}/metrics.jsonl") or "").splitlines():
        row = (parsed(line) or {}) if '"test_accuracy"' in line else {}
        epoch, accuracy = whole(row.get("epoch")), finite(row.get("test_accuracy"))
        if epoch is not None and accuracy is not None and 0 <= epoch < _MOST_EPOCHS:
            found[epoch] = 1.0 - accuracy
    return tuple(found.get(epoch) for epoch in range(max(found, default=-1) + 1))


def sweep_record(sweep: Sweep) -> dict[str, Any]:
    """The result as JSON: for each group mean, standard error and every run's summary."""
    return {
        "groups": [
            {
                "method": group.method,
                "density": group.density,
                **({"over": group.values} if group.over else {}),
                "test_accuracy": None if group.accuracy is None else group.accuracy.record(),
                "runs": [{"seed": trial.seed, **trial.summary} for trial in group.finished],
            }
            for group in sweep.groups
        ]
    }


def sweep_rows(sweep: Sweep) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(headings, rows) of the table of results; accuracies in percent, differences in percentage points."""
    heads = ("method", "density", *sweep.axes.values(), "test accuracy, %", "to dense", "seeds", "s/run")
    return heads, [_row(sweep, group) for group in sweep.groups]


def _row(sweep: Sweep, group: Group) -> tuple[str, ...]:
    dense = sweep.base(group)
    base = dense.accuracy if dense else None
    accuracy, seconds = group.accuracy, group.estimate("seconds")
    seeds = str(len(group.trials))
    if len(group.finished) < len(group.trials):
        seeds = f"{len(group.finished)} of {seeds}"
    return (
        named(group.method),
        f"{group.density:g}",
        *settings_of(sweep, group.over),
        ABSENT if accuracy is None else with_error(accuracy),
        points(accuracy.mean - base.mean) if accuracy and base and group.method != DENSE else ABSENT,
        seeds,
        ABSENT if seconds is None else f"{seconds.mean:.0f}",
    )


def settings_of(sweep: Sweep, over: tuple[tuple[str, str], ...]) -> list[str]:
    """A cell for each axis of the sweep: the value in words, or a dash where the run has none of it."""
    known = dict(over)
    return [worded(known[key]) if key in known else ABSENT for key in sweep.axes]


def worded(text: str) -> str:
    """A value that is written as JSON, as one says it: without the quotes of texts."""
    value = json.loads(text)
    return value if isinstance(value, str) else text


def named(method: str) -> str:
    """A method's registry name as words."""
    return method.replace("_", " ")


def with_error(estimate: Estimate) -> str:
    """A share in percent with its standard error: ``98.61 ± 0.03``."""
    error = "" if estimate.error is None else f" ± {100 * estimate.error:.2f}"
    return f"{100 * estimate.mean:.2f}{error}"


def hundredths(value: float) -> str:
    return f"{100 * value:.2f} %"


def points(value: float) -> str:
    """A difference of shares in percentage points with its sign: ``+0.12``."""
    return f"{'+' if value >= 0 else '−'}{abs(100 * value):.2f}"


def table_text(sweep: Sweep) -> str:
    """A row for each run as comma-separated values, shares from 0 to 1; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("method", "density", *sweep.axes, "seed", "state", *_NUMBERS))
    for group in sweep.groups:
        known = {key: worded(text) for key, text in group.over}
        settings = [known.get(key, "") for key in sweep.axes]
        for trial in group.trials:
            numbers = (trial.summary.get(key, "") for key in _NUMBERS)
            writer.writerow((trial.method, trial.density, *settings, trial.seed, trial.state, *numbers))
    return out.getvalue()


def record_text(sweep: Sweep) -> str:
    """:func:`sweep_record` as JSON text."""
    return json.dumps(sweep_record(sweep), indent=1) + "\n"
