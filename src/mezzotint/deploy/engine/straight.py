"""How is a network called that is one native program? Straight: a look at the arrays, and nothing of PyTorch.

A call leaves the caches full of weights and activations, and whatever Python and PyTorch do around the next one is
fetched from memory anew: checks, contexts and modules that take 0.03 ms in a loop of their own take 0.24 ms between two
calls of a network with 17 MB of weights.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import fx

from mezzotint.deploy.arrays import Array
from mezzotint.deploy.engine.batches import Batches


def is_straight(graph: fx.Graph, outputs: int) -> bool:
    """Whether ``graph`` is one segment of so many outputs: inputs go there, and what comes back goes on, in order."""
    nodes = list(graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    calls = [node for node in nodes if node.op == "call_module"]
    items = [node for node in nodes if node.target is operator.getitem]
    if len(calls) != 1 or len(nodes) != len(inputs) + 1 + len(items) + 1 or list(calls[0].args) != inputs:
        return False
    results = nodes[-1].args[0]
    taken = list(results) if isinstance(results, list | tuple) else [results]
    expected = [(calls[0], at) for at in range(outputs)]
    return [node.args if isinstance(node, fx.Node) else None for node in taken] == expected


class StraightCall:
    """Calls the program of the inputs' shapes, if there is one.

    Args:
        programs: by the shapes of the inputs without the batch; others fill it.
        threads: how many a call may use.
        batch: the only one that is taken; ``None``: any.
    """

    def __init__(
        self, programs: Mapping[tuple[tuple[int, ...], ...], Batches], threads: Callable[[], int], batch: int | None
    ) -> None:
        self._programs, self._threads, self._batch = programs, threads, batch

    def __call__(self, arrays: Any) -> list[Array] | None:
        """New arrays; ``None``, and nothing done, where ``arrays`` is no list of contiguous float32 arrays that fit.

        Names, views and mistakes are the business of the caller's slower way.
        """
        if type(arrays) is not list or not all(type(x) is np.ndarray for x in arrays):
            return None
        programs = self._programs.get(tuple([x.shape[1:] for x in arrays]))
        batch = arrays[0].shape[0] if programs is not None and arrays[0].shape else 0
        if programs is None or not batch or self._batch not in (None, batch):
            return None
        results = [np.empty((batch, *shape), np.float32) for shape in programs.alone.outputs]
        return results if programs.run_arrays(arrays, results, batch, self._threads()) else None
