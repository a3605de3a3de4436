"""How many bytes do weights, gradients, optimiser and index hold right now, and how many would the dense twin hold?

The first four are measured on the live tensors. The dense twin's are what the same tensors would take with one entry
for every weight of the dense layers. Activations and the dense window are left out on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint.sparse import Pattern, sparse_layers


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Bytes by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    index: int = 0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is held, and what the dense twin would hold."""

    held: Bytes
    dense: Bytes

    def record(self) -> dict[str, Any]:
        """JSON-ready: the held bytes, and those of the dense twin under ``"dense"``."""
        dense = asdict(self.dense)
        del dense["index"]
        return {**asdict(self.held), "dense": dense}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Active weights, all weights of the dense twin, and their quotient."""

    nnz: int
    numel: int

    @property
    def density(self) -> float:
        """nnz / numel; 1.0 of nothing."""
        return self.nnz / self.numel if self.numel else 1.0

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"nnz": self.nnz, "numel": self.numel, "density": self.density}


def measure(model: nn.Module, optimizer: Optimizer) -> Memory:
    """Bytes of all parameters, their gradients, the optimiser's tensors and the patterns' index arrays.

    Call it after a step and before the gradients are cleared; parameters without gradient count none.
    """
    twins = {layer.values: layer.pattern.numel for layer in sparse_layers(model).values()}
    weights = gradients = state = dense_weights = dense_gradients = dense_state = 0
    for parameter in model.parameters():
        numel = twins.get(parameter, parameter.numel())
        weights += parameter.nbytes
        dense_weights += numel * parameter.element_size()
        if parameter.grad is not None:
            gradients += parameter.grad.nbytes
            dense_gradients += numel * parameter.grad.element_size()
        for tensor in optimizer.state.get(parameter, {}).values():
            if isinstance(tensor, Tensor):
                state += tensor.nbytes
                follows = tensor.shape == parameter.shape
                dense_state += numel * tensor.element_size() if follows else tensor.nbytes
    index = sum(tensor.nbytes for layer in sparse_layers(model).values() for tensor in _arrays(layer.pattern))
    return Memory(
        held=Bytes(weights=weights, gradients=gradients, optimizer=state, index=index),
        dense=Bytes(weights=dense_weights, gradients=dense_gradients, optimizer=dense_state),
    )


def weight_counts(model: nn.Module) -> Counts:
    """Weights of the whole network: convolutions and linear layers, sparse and dense, without biases and norms."""
    nnz = numel = 0
    for layer in sparse_layers(model).values():
        nnz, numel = nnz + layer.nnz, numel + layer.pattern.numel
    dense = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim >= 2)
    return Counts(nnz=nnz + dense, numel=numel + dense)


def layer_counts(model: nn.Module) -> dict[str, Counts]:
    """Weights of every sparse layer, in module order."""
    return {name: Counts(nnz=layer.nnz, numel=layer.pattern.numel) for name, layer in sparse_layers(model).items()}


def _arrays(pattern: Pattern) -> Iterator[Tensor]:
    """Every index array that the pattern holds at this moment, those made on first use included."""
    names = [*getattr(type(pattern), "__slots__", ()), *getattr(pattern, "__dict__", ())]
    for name in names:
        array = getattr(pattern, name, None)
        if isinstance(array, Tensor):
            yield array
