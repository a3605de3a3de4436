"""Who runs what we cannot? ONNX Runtime, the whole model, as one node of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import CheckpointError, InputError, message

_TYPES: Final = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


class Runtime:
    """A model as ONNX Runtime has loaded it; copies are the same one, which any thread may call."""

    def __init__(self, source: str | bytes, threads: int | None = None) -> None:
        """Load it.

        Args:
            source: a path, or a file's bytes.
            threads: of the arithmetic; None: as many as ONNX Runtime likes.

        Raises:
            InputError: ONNX Runtime is not installed.
            CheckpointError: it does not take the model.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                message(
                    "fallback 'onnxruntime'",
                    received="no package of that name",
                    allowed="an installed onnxruntime",
                    fix="Install it: pip install onnxruntime.",
                )
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self._session: Any = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no base but this
            raise CheckpointError(f"ONNX Runtime does not take the model: {error}") from error
        self.inputs = tuple(_info(one) for one in self._session.get_inputs())
        self.outputs = tuple(_info(one) for one in self._session.get_outputs())
        self.__name__ = "onnxruntime"

    def __call__(self, *inputs: Tensor) -> Any:
        """Tensors in, tensors out; a tuple of them unless there is one."""
        arrays = {info.name: np.ascontiguousarray(x.numpy()) for info, x in zip(self.inputs, inputs, strict=True)}
        results = tuple(torch.from_numpy(np.asarray(one)) for one in self._session.run(None, arrays))
        return results[0] if len(results) == 1 else results

    def __deepcopy__(self, memo: dict[int, Any]) -> Runtime:
        return self


def as_graph(runtime: Runtime) -> fx.GraphModule:
    """A graph of one call, which other graph passes leave alone."""
    graph = fx.Graph()
    inputs = tuple(graph.placeholder(f"input_{place}") for place in range(len(runtime.inputs)))
    graph.output(graph.call_module("runtime", inputs))
    root = nn.Module()
    root.add_module("runtime", _Leaf(runtime))
    return fx.GraphModule(root, graph, "OnnxRuntimeModel")


class _Leaf(nn.Module):
    def __init__(self, run: Callable[..., Any]) -> None:
        super().__init__()
        self.run = run

    def forward(self, *inputs: Tensor) -> Any:
        return self.run(*inputs)


def _info(found: Any) -> TensorInfo:
    sizes = tuple(size if isinstance(size, int) else None for size in found.shape)
    return TensorInfo(name=found.name, shape=sizes, dtype=_TYPES.get(found.type, found.type[len("tensor(") : -1]))
