"""What runs a lowered network image by image? The inference engine, in the type of its activations."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.deploy.engine import EngineModel
from mezzotint.lowering.plan import Plan

_TYPES = (torch.float32, torch.bfloat16)


class Programs:
    """The engine's models of ``model``, one for each type.

    Args:
        model: the network, in evaluation mode. Its weights stay what they are.
        plan: what the native layout would hold of it.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self._model = model
        self._wanted = {str(step.conv.target) for step in plan.steps if step.conv is not None}
        self._engines: dict[torch.dtype, EngineModel | None] = {}
        self._lock = threading.Lock()

    def find(self, inputs: tuple[Any, ...], dtype: torch.dtype) -> EngineModel | None:
        """For such inputs; ``None`` where the engine leaves a convolution to PyTorch that the native layout would hold.

        Nor are there any under ``torch.use_deterministic_algorithms(True)``: their kernels are chosen by measuring.
        """
        of_engine = all(x.dtype == torch.float32 for x in inputs if isinstance(x, Tensor)) and dtype in _TYPES
        if not of_engine or torch.are_deterministic_algorithms_enabled():
            return None
        with self._lock:
            if dtype not in self._engines:
                engine = EngineModel(self._model, dtype, results=dtype)
                engine.plan(*inputs)
                self._engines[dtype] = engine if self._wanted <= engine.convolutions else None
            return self._engines[dtype]
