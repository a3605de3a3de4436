"""How does somebody else's code follow a run? Callbacks, told at five moments; whatever they do, the run goes on.

A callback is any object with some of the methods of :class:`Callback`. It is given to ``train(..., callbacks=[...])``
or named in the configuration: ``[run] callbacks = ["package.module:Class"]``. With several ranks the first alone calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from torch import nn

from mezzotint.errors import ConfigError, NotRegistered, message
from mezzotint.outside import found_at
from mezzotint.sparse import LayerView, sparse_layers
from mezzotint.train.config import RunConfig, RunOptions

Row = Mapping[str, Any]
MOMENTS: Final = ("on_run_begin", "on_step", "on_topology_update", "on_epoch_end", "on_run_end")
_PATIENCE: Final = 3
"""Failures in a row after which a callback is left out."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as callbacks see it; keep it from ``on_run_begin`` to look at the layers later.

    Attributes:
        folder: of the run.
        config: everything that decides it.
        step: batches done before, above 0 in a run that is resumed.
        total_steps: batches of the whole run.
        layers: call it for the sparse layers as they are at that moment: name, values ``[nnz]`` (copies) and pattern
            of each, in module order.
    """

    folder: Path
    config: RunConfig
    step: int
    total_steps: int
    layers: Callable[[], list[LayerView]] = field(default=list, repr=False, compare=False)


def layer_views(model: nn.Module) -> list[LayerView]:
    """The sparse layers of ``model`` at this moment, in module order; the values are copies."""
    return [
        LayerView(name=name, values=layer.values.detach().clone(), pattern=layer.pattern)
        for name, layer in sparse_layers(model).items()
    ]


class Callback:
    """The five moments of a run. Derive from it, or write a class with some of these methods.

    Rows are those of ``metrics.jsonl``, whose keys do not change their meaning between versions. A callback may keep
    what it likes, but must not touch the network: the run would not be what its configuration says.
    """

    def on_run_begin(self, run: RunView) -> None:
        """The run begins or goes on."""

    def on_step(self, row: Row) -> None:
        """A step that is logged (every ``run.log_every``-th) is done.

        Args:
            row: step, epoch, loss, accuracy, lr, loss_scale, skipped, density; also seconds, images_per_second.
        """

    def on_topology_update(self, row: Row) -> None:
        """Weights were pruned and grown.

        Args:
            row: step, epoch, prune_rate and layers: name -> what changed; extra, where the method tells more.
        """

    def on_epoch_end(self, row: Row) -> None:
        """An epoch is trained and tested.

        Args:
            row: epoch, step, train_loss, train_accuracy, test_loss, test_accuracy, nnz, numel, density, layers.
        """

    def on_run_end(self, summary: Row | None) -> None:
        """Nothing more will come.

        Args:
            summary: what ``summary.json`` holds; None for a run that was stopped or failed.
        """


@dataclass(kw_only=True)
class Callbacks:
    """Those of a run, in their order. What one of them raises is told once; the others and the run go on."""

    members: Sequence[Any]
    tell: Callable[[str], None] = field(default_factory=lambda: _warn)
    _failures: dict[int, int] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for member in self.members:
            if not any(callable(getattr(member, moment, None)) for moment in MOMENTS):
                received = f"{type(member).__name__}, which has none of them"
                raise ConfigError(message("callback", received=received, allowed=f"methods {', '.join(MOMENTS)}"))

    def __call__(self, moment: str, *arguments: Any) -> None:
        """Tell all of them."""
        for place, member in enumerate(self.members):
            method = getattr(member, moment, None)
            if method is None or self._failures.get(place, 0) >= _PATIENCE:
                continue
            try:
                method(*arguments)
            except Exception as error:  # noqa: BLE001  # another's code: a log that is lost must not cost the run
                self._failures[place] = self._failures.get(place, 0) + 1
                self._tell_once(place, member, moment, error)
            else:
                self._failures[place] = 0

    def _tell_once(self, place: int, member: Any, moment: str, error: Exception) -> None:
        if place in self._told:
            return
        self._told.add(place)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        self.tell(
            f"callback {type(member).__name__} failed in {moment} ({reason}). The run goes on; this is not told again,"
            f" and after {_PATIENCE} failures in a row the callback is left out."
        )


def from_options(options: RunOptions) -> list[Any]:
    """The callbacks that ``[run]`` names.

    Raises:
        ConfigError: one cannot be imported or made, or TensorBoard is not installed.
    """
    made = [_made(name) for name in options.callbacks]
    if not options.tensorboard:
        return made
    if find_spec("tensorboard") is None:
        fix = "pip install 'mezzotint[tensorboard]', or set run.tensorboard = false."
        received = "true without the package tensorboard"
        raise ConfigError(message("run.tensorboard", received=received, allowed="true where it is installed", fix=fix))
    from mezzotint.train.tensorboard import TensorBoard

    return [*made, TensorBoard()]


def _made(name: str) -> Any:
    """What ``"package.module:attribute"`` names: an object, or one made by calling a class or function."""
    try:
        found = found_at(name, "run.callbacks")
    except NotRegistered as error:
        raise ConfigError(str(error)) from error
    try:
        return found() if callable(found) else found
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(
            message(f"run.callbacks {name!r}", received=reason, allowed="something that is made without arguments")
        ) from error


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
