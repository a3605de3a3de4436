"""Does it help to visit more of the weight space? RigL-ITOP: rare, large updates to the end, and how much was seen.

Liu et al. 2021, "Do we actually need dense over-parameterization? In-time over-parameterization in sparse training".
The in-time over-parameterisation rate R_s is the fraction of all weights that have been active at some time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from mezzotint.sparse.layer import SparseLayer
from mezzotint.sparse.methods.rigl import rigl_rules
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology


class RigLITOP(DynamicTopology):
    """RigL that goes on to the end; :attr:`explored`, and each report, tell how much of the weight space was visited.

    What was visited is kept as one bit a weight (1/32 of a dense FP32 weight), on the CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int = 1500,
        total_steps: int,
        prune_rate: float = 0.5,
        decay: str = "cosine",
        window: int = 1,
        stagger: bool = True,
    ) -> None:
        """Arguments as of :class:`~mezzotint.sparse.methods.rigl.RigL`, with the defaults of ITOP's CIFAR runs."""
        schedule = Schedule(
            interval=interval,
            total_steps=total_steps,
            prune_rate=prune_rate,
            decay=decay,
            window=window,
            stagger=stagger,
        )
        super().__init__(model, optimizer, schedule, rigl_rules("rigl_itop"))
        self._visited = {name: np.zeros(-(-layer.pattern.numel // 8), np.uint8) for name, layer in self._layers.items()}
        for name, layer in self._layers.items():
            self._moved(name, layer)

    @property
    def explored(self) -> float:
        """R_s: the fraction of all weights that have been active at some time, 0 to 1."""
        visited = sum(int(np.unpackbits(bits).sum()) for bits in self._visited.values())
        return visited / sum(math.prod(layer.weight_shape) for layer in self._layers.values())

    def _moved(self, name: str, layer: SparseLayer) -> None:
        mask = layer.pattern.to_mask().reshape(-1).cpu()
        self._visited[name] |= np.packbits(mask.numpy())

    def _extra(self) -> dict[str, Any]:
        return {"explored": self.explored}

    def state_dict(self) -> dict[str, Any]:
        """As of all methods, with the visited weights."""
        return super().state_dict() | {
            "visited": {name: torch.from_numpy(bits.copy()) for name, bits in self._visited.items()}
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._visited = {name: bits.cpu().numpy().copy() for name, bits in state["visited"].items()}
