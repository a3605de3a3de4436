"""How is a run folder read into its record? File by file, finished or not; only a folder that is no run is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from mezzotint.errors import RunError, message, suggest
from mezzotint.report.files import Object, Reader, finite, mapping, number, sequence, whole, words
from mezzotint.report.lock import being_trained
from mezzotint.report.read_inside import read_bad, read_inside, read_mistakes, read_sample
from mezzotint.report.record import (
    Decision,
    Epoch,
    EpochTime,
    Layer,
    Memory,
    Move,
    Run,
    Sample,
    Step,
    Summary,
    Timing,
    Topology,
)

#: One of these makes a folder a run.
_MARKS = ("metrics.jsonl", "config.toml", "summary.json", "environment.json")

T = TypeVar("T", Step, Epoch, Topology, Timing, EpochTime)


def read_run(folder: Path | str) -> Run:
    """Read a run folder, finished or still in progress.

    Raises:
        RunError: ``folder`` does not exist or is no run; the message says which folder to give.
    """
    path = Path(folder)
    _check(path)
    reader = Reader(path)
    metrics: dict[str, list[Object]] = {}
    for row in reader.lines("metrics.jsonl"):
        metrics.setdefault(words(row.get("kind")), []).append(row)
    times = list(reader.lines("timing.jsonl"))
    config_text = reader.text("config.toml")
    return Run(
        folder=path,
        config_text=config_text,
        config=_toml(config_text, reader),
        environment=mapping(reader.json("environment.json")),
        steps=_ordered(_step, metrics.get("step", ()), "step"),
        epochs=_ordered(_epoch, metrics.get("epoch", ()), "epoch"),
        topology=_ordered(_topology, metrics.get("topology", ()), "step"),
        memory=_memory(metrics.get("memory", [])),
        timing=_ordered(_timing, times, "step"),
        decisions=_decisions(reader.json("decisions.json")),
        samples=_samples(reader),
        mistakes=read_mistakes(reader),
        summary=_summary(reader.json("summary.json")),
        inside=read_inside(reader),
        bad=read_bad(reader),
        epoch_times=_ordered(_epoch_time, times, "epoch"),
        arithmetic=_numbers(mapping(reader.json("arithmetic.json")).get("multiply_adds")),
        training=being_trained(path),
        notes=tuple(reader.notes),
    )


def _check(path: Path) -> None:
    allowed = f"a run folder, which holds at least one of {', '.join(_MARKS)}"
    if not path.exists():
        near = path.resolve().parent
        known = [item.name for item in near.iterdir() if item.is_dir()] if near.is_dir() else []
        fix = f"Check the path.{suggest(path.name, known)}"
        raise RunError(message("run", received=f"{str(path)!r}, which does not exist", allowed=allowed, fix=fix))
    if not path.is_dir():
        fix = f"Give the folder itself, perhaps {str(path.parent)!r}."
        raise RunError(message("run", received=f"{str(path)!r}, which is a file", allowed=allowed, fix=fix))
    if not _is_run(path):
        inner = sorted(item.name for item in path.iterdir() if item.is_dir() and _is_run(item))
        fix = f"Runs inside it: {', '.join(inner[:8])}." if inner else "`mezzotint train` makes such a folder."
        raise RunError(message("run", received=f"{str(path)!r}, which is no run", allowed=allowed, fix=fix))


def _is_run(path: Path) -> bool:
    return any((path / mark).is_file() for mark in _MARKS)


def _toml(text: str | None, reader: Reader) -> Object:
    try:
        return tomllib.loads(text or "")
    except tomllib.TOMLDecodeError as error:
        reader.notes.append(f"config.toml is not valid TOML ({error}); its text is shown as it is.")
        return {}


def _ordered(make: Callable[[Object], T | None], rows: Iterable[Object], key: str) -> tuple[T, ...]:
    """The rows that parse, in the order of ``key``. A resumed run may log a step twice: the later one counts."""
    made: dict[int, T] = {}
    for row in rows:
        item = make(row)
        if item is not None:
            made[getattr(item, key)] = item
    return tuple(made[place] for place in sorted(made))


def _step(row: Object) -> Step | None:
    step = whole(row.get("step"))
    if step is None:
        return None
    values = {key: number(row.get(key)) for key in ("loss", "accuracy", "lr", "loss_scale", "density")}
    return Step(step=step, epoch=whole(row.get("epoch")), skipped=row.get("skipped") is True, **values)


def _epoch(row: Object) -> Epoch | None:
    epoch = whole(row.get("epoch"))
    if epoch is None:
        return None
    return Epoch(
        epoch=epoch,
        step=whole(row.get("step")),
        train_loss=number(row.get("train_loss")),
        train_accuracy=number(row.get("train_accuracy")),
        test_loss=number(row.get("test_loss")),
        test_accuracy=number(row.get("test_accuracy")),
        test_images=whole(row.get("test_images")),
        diverged=row.get("diverged") is True,
        nnz=whole(row.get("nnz")),
        numel=whole(row.get("numel")),
        density=finite(row.get("density")),
        layers={name: _layer(mapping(value)) for name, value in mapping(row.get("layers")).items()},
    )


def _layer(row: Object) -> Layer:
    nnz, numel, density = whole(row.get("nnz")), whole(row.get("numel")), finite(row.get("density"))
    if density is None and nnz is not None and numel:
        density = nnz / numel
    return Layer(nnz=nnz, numel=numel, density=density)


def _topology(row: Object) -> Topology | None:
    step = whole(row.get("step"))
    if step is None:
        return None
    layers = {name: _move(mapping(value)) for name, value in mapping(row.get("layers")).items()}
    return Topology(step=step, epoch=whole(row.get("epoch")), layers=layers)


def _move(row: Object) -> Move:
    counts = {key: whole(row.get(key)) for key in ("before", "pruned", "grown", "after")}
    return Move(importance=finite(row.get("importance")), density=finite(row.get("density")), **counts)


def _memory(rows: list[Object]) -> Memory | None:
    if not rows:
        return None
    return Memory(sparse=_numbers(rows[-1]), dense=_numbers(rows[-1].get("dense")))


def _timing(row: Object) -> Timing | None:
    step = whole(row.get("step"))
    if step is None:
        return None
    return Timing(
        step=step,
        seconds=finite(row.get("seconds")),
        phases=_numbers(row.get("phases")),
        images_per_second=finite(row.get("images_per_second")),
    )


def _epoch_time(row: Object) -> EpochTime | None:
    epoch = whole(row.get("epoch"))
    # A step's row has the step too.
    if epoch is None or "step" in row:
        return None
    values = {key: finite(row.get(key)) for key in ("seconds", "waited", "tested")}
    return EpochTime(epoch=epoch, **values)


def _numbers(value: object) -> dict[str, float]:
    found = ((key, finite(item)) for key, item in mapping(value).items())
    return {key: item for key, item in found if item is not None}


def _decisions(value: object) -> tuple[Decision, ...] | None:
    return None if value is None else tuple(_decision(mapping(row)) for row in sequence(value))


def _decision(row: Object) -> Decision:
    return Decision(
        **{key: words(row.get(key)) for key in ("op", "problem", "kernel", "policy", "reason")},
        estimates=_numbers(row.get("estimates")),
        milliseconds=_numbers(row.get("milliseconds")),
        refusals={key: words(item) for key, item in mapping(row.get("refusals")).items()},
    )


def _samples(reader: Reader) -> tuple[Sample, ...] | None:
    rows = reader.json("samples.json")
    if rows is None:
        return None
    made = (read_sample(mapping(row), reader) for row in sequence(rows))
    return tuple(sample for sample in made if sample is not None)


def _summary(value: object) -> Summary | None:
    if not isinstance(value, dict):
        return None
    texts = {"name", "model", "method", "precision"}
    made: dict[str, Any] = {
        item.name: words(value.get(item.name)) if item.name in texts else finite(value.get(item.name))
        for item in fields(Summary)
    }
    return Summary(**{**made, "as_a_guess": value.get("as_a_guess") is True})
