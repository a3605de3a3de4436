"""With how many weights is each layer to end? A number by layer, or a density shared out as ``sparsify`` does it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mezzotint.errors import InputError, message
from mezzotint.sparse.distribution import layer_nnz
from mezzotint.sparse.layer import sparse_layers


def goal_of(model: nn.Module, density: float | Mapping[str, float], distribution: str = "erk") -> dict[str, int]:
    """Sparse layer -> nonzeros at ``density`` (see :func:`mezzotint.sparse.layer_nnz`), however many it has now."""
    shapes = {name: layer.weight_shape for name, layer in sparse_layers(model).items()}
    return layer_nnz(shapes, density, distribution)


def given_goal(
    model: nn.Module, goal: Mapping[str, int] | None, density: float | Mapping[str, float] | None, distribution: str
) -> dict[str, int]:
    """The goal of a method that was given either one by layer or a density.

    Raises:
        InputError: it was given both or neither.
    """
    if goal is not None and density is None:
        return dict(goal)
    if density is None or goal is not None:
        given = "neither" if density is None else "both"
        raise InputError(
            message(
                "goal and density of a method",
                received=given,
                allowed="exactly one of them",
                fix="density=0.1 is shared out over the layers as sparsify does it.",
            )
        )
    return goal_of(model, density, distribution)
