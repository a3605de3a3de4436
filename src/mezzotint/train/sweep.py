"""How do methods, densities and other settings compare? One run for each combination and seed, in one folder.

``sweep.json`` lists the runs, which lie below ``runs/`` and are ordinary run folders: each survives a kill and goes on
where it was, and several processes (also of several machines that share the folder) can work on one sweep: a run that
another process trains is passed over.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mezzotint.durable import replace_file, replace_json
from mezzotint.errors import ConfigError, RunError, message
from mezzotint.train.checks import require_method
from mezzotint.train.config import RunConfig
from mezzotint.train.config_file import differences, load_config
from mezzotint.train.loop import train
from mezzotint.train.progress import Progress
from mezzotint.train.run_folder import RunLocked, claimed, discard_unstarted
from mezzotint.train.sweep_axes import Settings, name_of, with_settings, without_sparsity

PLAN: Final = "sweep.json"
_CLAIMS: Final = ".claims"  # a lock for each run
_DENSE: Final = "dense"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep; ``method`` is "dense" at density 1, ``over`` are its values of the other axes."""

    method: str
    density: float
    seed: int
    over: Settings = ()

    @property
    def name(self) -> str:
        """Of its folder below ``runs/``."""
        part = "" if self.method == _DENSE else f"-{self.density!r}"
        return f"{self.method.replace(':', '.')}{part}{name_of(self.over)}-seed{self.seed}"

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        found = {"method": self.method, "density": self.density, "seed": self.seed, "run": f"runs/{self.name}"}
        return found | ({"over": {key: json.loads(text) for key, text in self.over}} if self.over else {})


@dataclass(kw_only=True)
class Outcome:
    """How a sweep stands when a call of :func:`sweep` ends.

    Attributes:
        folder: of the sweep.
        done: finished runs, of this call and of earlier ones.
        elsewhere: runs that another process is training.
        failed: runs that ended in an error, with its text.
        signal: what asked for a stop, or None.
    """

    folder: Path
    done: list[Cell] = field(default_factory=list)
    elsewhere: list[Cell] = field(default_factory=list)
    failed: dict[Cell, str] = field(default_factory=dict)
    signal: signal.Signals | None = None


def plan(
    methods: Sequence[str],
    densities: Sequence[float],
    seeds: Sequence[int],
    over: Mapping[str, Sequence[str]] | None = None,
) -> list[Cell]:
    """The runs, seed after seed, so that a sweep that is stopped has all combinations of the first seeds.

    Args:
        methods: keys of ``mezzotint.sparse.METHODS``, or ``"package.module:Class"``.
        densities: in (0, 1]; 1 is the dense network, which is trained once a seed whatever the methods.
        seeds: of everything random.
        over: other axes, from :func:`mezzotint.train.sweep_axes.parse_axes`: dotted key -> its values as JSON. A dense
            network is trained once for all values of a key of ``[sparsity]``.

    Raises:
        ConfigError: nothing to run, an unknown method, or a density out of range.
    """
    for name in methods:
        require_method("method", name)
    for density in densities:
        if not 0 < density <= 1:
            raise ConfigError(message("density", received=density, allowed="above 0, up to 1"))
    axes = [[(key, text) for text in texts] for key, texts in (over or {}).items()]
    cells = [
        _cell(method, density, seed, settings)
        for seed in seeds
        for settings in itertools.product(*axes)
        for density in densities
        for method in methods
    ]
    if not cells:
        raise ConfigError(message("sweep", received="no run", allowed="at least one method, density and seed"))
    return list(dict.fromkeys(cells))


def _cell(method: str, density: float, seed: int, settings: Settings) -> Cell:
    if density == 1:
        return Cell(method=_DENSE, density=1.0, seed=seed, over=without_sparsity(settings))
    return Cell(method=method, density=float(density), seed=seed, over=settings)


def cell_config(config: RunConfig, cell: Cell) -> RunConfig:
    """The configuration of one run: ``config`` with the cell's method, density, seed and other values, and its name.

    A method that is not the file's has its own published settings, or those of ``[sparsity.methods]``; the value of an
    axis stands above both.

    Raises:
        ConfigError: they do not go together.
    """
    sparsity = replace(config.sparsity, methods={}, layers={}, start_density=None)
    if cell.method != _DENSE:
        sparsity = config.sparsity.for_method(cell.method)
    whole = replace(config, name=cell.name, seed=cell.seed, sparsity=replace(sparsity, density=cell.density))
    return with_settings(whole, cell.over)


def sweep(
    config: RunConfig,
    cells: Sequence[Cell],
    folder: Path | str,
    *,
    progress: Callable[[Cell, int], Progress],
) -> Outcome:
    """Train every run of ``cells`` that is not finished, in their order.

    Args:
        config: what the runs have in common.
        cells: from :func:`plan`. A folder that holds a sweep already gets those that are new to it.
        folder: of the sweep; made when absent.
        progress: (run, its place in ``cells``) -> who watches it.

    Returns:
        How the sweep stands. A run that diverges is told there and does not stop the others.

    Raises:
        ConfigError: a run's configuration is not allowed; all are checked before the first begins.
        RunError: the folder holds something else, or runs with another configuration.
        MezzotintError: data or network are not as configured.
    """
    place = Path(folder)
    configs = {cell: cell_config(config, cell) for cell in cells}
    _check_place(place)
    for cell in cells:
        _refuse_another(configs[cell], place / "runs" / cell.name)
    _enlist(place, cells)
    outcome = Outcome(folder=place)
    for number, cell in enumerate(cells):
        run = place / "runs" / cell.name
        if (run / "summary.json").is_file():
            outcome.done.append(cell)
            continue
        failure = run.with_name(f"{cell.name}.error.txt")
        try:
            # Its own lock is held before there is a folder, which another sweep would take for a run that was killed.
            with claimed(run, place / _CLAIMS / cell.name):
                discard_unstarted(run)
                result = train(configs[cell], folder=run, resume=run.exists(), progress=progress(cell, number))
        except RunLocked:
            outcome.elsewhere.append(cell)
            continue
        except RunError as error:
            outcome.failed[cell] = str(error)
            replace_file(failure, f"{error}\n".encode(errors="surrogateescape"))
            continue
        failure.unlink(missing_ok=True)
        if result.summary is None:
            outcome.signal = result.signal
            return outcome
        outcome.done.append(cell)
    return outcome


def _check_place(place: Path) -> None:
    """Nothing but a sweep lies there; hidden files may be the lock and the plan of one that begins at this moment."""
    strange = place.is_file() or (place.is_dir() and any(not item.name.startswith(".") for item in place.iterdir()))
    if strange and not (place / PLAN).is_file():  # in this order: a sweep writes its plan before anything else
        raise RunError(
            message(
                "sweep folder",
                received=f"{str(place)!r}, which holds something else",
                allowed="a folder that is new, empty, or a sweep's",
                fix="Name another one with -o.",
            )
        )


def _refuse_another(config: RunConfig, run: Path) -> None:
    """A run that is there already must be the one that is wanted."""
    if not (run / "config.toml").is_file():
        return
    changed = differences(load_config(run / "config.toml"), config)
    if changed:
        raise RunError(
            message(
                f"configuration of {run}",
                received=f"changes ({'; '.join(changed)})",
                allowed="the configuration that the sweep was started with",
                fix="Undo them, or name another folder with -o.",
            )
        )


def _enlist(place: Path, cells: Sequence[Cell]) -> None:
    """Write the runs into the plan, behind those that it holds, and make the folder for them."""
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        records = _records(place / PLAN) | {record["run"]: record for record in (cell.record() for cell in cells)}
        replace_json(place / PLAN, {"format": 1, "runs": list(records.values())})
        for folder in ("runs", _CLAIMS):
            (place / folder).mkdir(exist_ok=True)


def _records(file: Path) -> dict[str, Mapping[str, Any]]:
    """Run -> its record in the plan; none where there is no plan yet.

    Raises:
        RunError: the file is damaged.
    """
    try:
        return {record["run"]: record for record in json.loads(file.read_text(encoding="utf-8"))["runs"]}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        fix = 'Put it back, or write {"runs": []} into it: the same command adds its runs, and trains none twice.'
        allowed = "the plan of a sweep, as it was written"
        raise RunError(message(str(file), received=f"a damaged file ({error!r})", allowed=allowed, fix=fix)) from error


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time writes the plan."""
    with (place / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
