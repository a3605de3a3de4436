"""How many weights should there be while a network is pruned gradually? A cubic descent to a goal, layer by layer.

Zhu and Gupta 2017, "To prune, or not to prune", equation 1: the part still to be pruned shrinks with the third power of
the time that is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message
from mezzotint.sparse.goal import given_goal
from mezzotint.sparse.layer import sparse_layers
from mezzotint.sparse.rules import Rules
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology


@dataclass(frozen=True, kw_only=True)
class Descent:
    """From the first numbers of nonzeros down to the goal.

    Attributes:
        first: layer -> nonzeros at the start.
        goal: layer -> nonzeros at the end.
        schedule: when the updates are.
        begin: fraction of the training at which pruning begins, in [0, 1).
        end: fraction at which the goal is reached, above ``begin``, up to 1; the last update is the latest.
    """

    first: Mapping[str, int]
    goal: Mapping[str, int]
    schedule: Schedule
    begin: float = 0.0
    end: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end <= 1:
            raise InputError(
                message(
                    "begin and end of pruning",
                    received=(self.begin, self.end),
                    allowed="fractions of the training, 0 <= begin < end <= 1",
                )
            )
        if set(self.goal) != set(self.first):
            raise InputError(
                message("goal", received=", ".join(self.goal), allowed=f"a number for each of {', '.join(self.first)}")
            )
        for name, count in self.goal.items():
            if not 1 <= count <= self.first[name]:
                raise InputError(
                    message(
                        f"goal of layer {name!r}",
                        received=count,
                        allowed=f"1 to {self.first[name]}, what it starts with",
                        fix="Start denser: gradual methods only take weights away.",
                    )
                )
        if last_update(self.schedule) < 1 or last_update(self.schedule) <= self.begin * self.schedule.total_steps:
            raise InputError(
                message(
                    "schedule of gradual pruning",
                    received=f"{self.schedule.total_steps} steps, an update every {self.schedule.interval}",
                    allowed="at least one update between the beginning of pruning and the last interval",
                )
            )

    @classmethod
    def of(
        cls,
        model: nn.Module,
        schedule: Schedule,
        *,
        goal: Mapping[str, int] | None,
        density: float | Mapping[str, float] | None,
        distribution: str,
        begin: float,
        end: float,
    ) -> Descent:
        """From what the sparse layers of ``model`` have to a goal that is given by layer or as a density."""
        first = {name: layer.nnz for name, layer in sparse_layers(model).items()}
        wanted = given_goal(model, goal, density, distribution)
        return cls(first=first, goal=wanted, schedule=schedule, begin=begin, end=end)

    @property
    def settings(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"goal": self.goal, "first": self.first, "begin": self.begin, "end_of_pruning": self.end}

    def targets(self, step: int) -> dict[str, int]:
        """Layer -> nonzeros after an update that ends after ``step`` steps."""
        begin = self.begin * self.schedule.total_steps
        end = min(self.end * self.schedule.total_steps, last_update(self.schedule))
        progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
        left = (1 - progress) ** 3
        return {name: self.goal[name] + round((first - self.goal[name]) * left) for name, first in self.first.items()}

    def total(self, step: int) -> int:
        """Nonzeros of all layers after ``step`` steps, updates or not."""
        update = min(step // self.schedule.interval * self.schedule.interval, last_update(self.schedule))
        return sum((self.targets(update) if update else self.first).values())


class Descending(DynamicTopology):
    """A method with fewer and fewer weights; one that is resumed descends from where the training began."""

    _of_the_state = ("first",)  # a model that is to be loaded may have been made with other numbers

    def __init__(self, model: nn.Module, optimizer: Optimizer, descent: Descent, rules: Rules) -> None:
        """
        Args:
            model, optimizer, rules: as of :class:`DynamicTopology`.
            descent: how many weights there are when, with the schedule.
        """
        self._descent = descent
        super().__init__(model, optimizer, descent.schedule, rules)

    @property
    def budget(self) -> int:
        """What the descent says."""
        return self._descent.total(self.steps)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._descent = replace(self._descent, first=state["settings"]["first"])

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), **self._descent.settings}


def last_update(schedule: Schedule) -> int:
    """The step of the last update; 0 or less when there is none."""
    return (schedule.total_steps // schedule.interval - 1) * schedule.interval
