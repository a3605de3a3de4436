"""What became of every run of a sweep? Its state, its result, and the way to its page."""

from __future__ import annotations

from collections import Counter

from mezzotint.report.files import finite, sequence
from mezzotint.report.headline import guessed
from mezzotint.report.links import Link
from mezzotint.report.markup import Markup, tag
from mezzotint.report.numbers import duration, percent
from mezzotint.report.section import Section
from mezzotint.report.sweep import Sweep, Trial, named, settings_of
from mezzotint.report.table import Column, Heads, Keyed, table


def runs_section(sweep: Sweep, link: Link) -> Section:
    """One row a run."""
    trials = [trial for group in sweep.groups for trial in group.trials]
    states = Counter(trial.state for trial in trials)
    lead = ", ".join(f"{number} {state}" for state, number in states.most_common())
    columns: Heads = (
        Column(name="Run", text=True),
        Column(name="method", text=True),
        "density",
        *(Column(name=name, text=True) for name in sweep.axes.values()),
        "seed",
        Column(name="state", text=True),
        "test accuracy",
        "time",
        Column(name="remark", text=True),
    )
    remarked = any(map(_remark, trials))
    shown = len(columns) if remarked else len(columns) - 1
    rows = (_row(sweep, trial, link(sweep.folder / trial.run))[:shown] for trial in trials)
    body = table(columns[:shown], rows).html("All runs", kind="data sortable")
    return Section(key="runs", title="Run by run", short="Runs", lead=f"{lead}.", body=body)


def _row(sweep: Sweep, trial: Trial, address: str | None) -> tuple[str, ...]:
    name = trial.run.rpartition("/")[2]
    accuracy, seconds = finite(trial.summary.get("test_accuracy")), finite(trial.summary.get("seconds"))
    return (
        name if address is None else tag("a", name, href=address),
        named(trial.method),
        Keyed.of(f"{trial.density:g}", trial.density),
        *settings_of(sweep, trial.over),
        Keyed.of(str(trial.seed), trial.seed),
        _state(trial.state),
        Keyed.of(percent(accuracy, 4), accuracy),
        Keyed.of(duration(seconds), seconds),
        _remark(trial),
    )


def _remark(trial: Trial) -> str:
    """Why it failed, or what makes its result doubtful."""
    summary = trial.summary
    if summary.get("diverged") is True:
        return "diverged"
    known = (finite(summary.get(key)) for key in ("test_accuracy", "chance"))
    doubtful = guessed(*known) if summary.get("as_a_guess") is True else ""
    lost = len(sequence(summary.get("diverged_epochs")))
    rough = f"ran away in {lost} epoch{'' if lost == 1 else 's'} and came back" if lost else ""
    return trial.error or ", ".join(filter(None, (doubtful, rough)))


def _state(state: str) -> Markup:
    return tag("span", state, class_=f"state {state.split()[0]}")
