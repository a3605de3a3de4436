"""What does every sparse layer hold, and how is it replaced, saved and watched? Values, a pattern, nothing dense."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from mezzotint.errors import InputError, ShapeError, message
from mezzotint.sparse import copies
from mezzotint.sparse.distribution import checked_density
from mezzotint.sparse.initialise import fresh_bias, fresh_values, random_pattern
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.window import DenseWindow

_DENSE: Final = message(
    "state dict for sparse layers",
    received="dense weights",
    allowed="values and indices, as a sparse model saves them",
    fix="Load a dense checkpoint before sparsify(); or densify(model), load, and sparsify(model, ...) anew.",
)


class SparseLayer(nn.Module):
    """What sparse layers share: storage, its replacement, state dicts, and the dense window. Abstract."""

    values: nn.Parameter
    """float32 ``[nnz]``: the active weights in the row-major order of the dense weight."""
    bias: nn.Parameter | None

    def __init__(
        self,
        shape: tuple[int, ...],
        bias: bool,
        density: float | None,
        pattern: Pattern | None,
        generator: torch.Generator | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self._pattern = _chosen_pattern(shape, density, pattern, generator)
        self._window: DenseWindow | None = None
        kind: dict[str, Any] = {"device": device, "dtype": dtype or torch.get_default_dtype()}
        self.values = nn.Parameter(torch.empty(self._pattern.nnz, **kind))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape[0], **kind)) if bias else None)
        self._follow_device()
        if self.values.device.type != "meta":
            self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw values and bias anew for the fan-in that each output unit really has (see ``sparse.initialise``)."""
        pattern = self._pattern.to("cpu")
        self.values.copy_(fresh_values(pattern, generator))
        if self.bias is not None:
            self.bias.copy_(fresh_bias(pattern, generator))

    @property
    def pattern(self) -> Pattern:
        """Which weights are active."""
        return self._pattern

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the dense weight: ``[O, I/groups, kh, kw]`` or ``[O, I]``."""
        return self._pattern.shape

    @property
    def nnz(self) -> int:
        """Number of active weights."""
        return self._pattern.nnz

    @property
    def density(self) -> float:
        """nnz / numel of the dense weight."""
        return self._pattern.density

    def dense_weight(self) -> Tensor:
        """The dense weight with explicit zeros, made anew at each call; gradients flow back to ``values``."""
        zeros = torch.zeros(self._pattern.numel, dtype=self.values.dtype, device=self.values.device)
        return zeros.index_put((self._pattern.indices.long(),), self.values).view(self.weight_shape)

    def set_pattern(self, pattern: Pattern, values: Tensor) -> None:
        """Replace pattern and values in place: ``self.values`` stays the same Parameter, its gradient is cleared.

        Args:
            pattern: of the same dense shape, with any number of nonzeros.
            values: ``[pattern.nnz]``, copied and converted to the layer's device and dtype.

        Raises:
            ShapeError: the pattern has another dense shape, or there are not ``nnz`` values.
        """
        if pattern.shape != self.weight_shape:
            raise ShapeError(
                message("pattern", received=f"shape {pattern.shape}", allowed=f"shape {self.weight_shape}")
            )
        if tuple(values.shape) != (pattern.nnz,):
            raise ShapeError(
                message("values", received=f"shape {tuple(values.shape)}", allowed=f"[{pattern.nnz}], one per nonzero")
            )
        with torch.inference_mode(False):  # else the parameter could not be trained any more
            fresh = values.detach().to(device=self.values.device, dtype=self.values.dtype, copy=True).contiguous()
        self.values.grad = None
        # A graph that is still referenced (the last step's loss) keeps the gradient accumulator of the old length
        # alive; autograd makes a new one only when the parameter's dtype has changed in between.
        other = torch.float32 if fresh.dtype == torch.float64 else torch.float64
        self.values.data = torch.empty(0, dtype=other, device=fresh.device)
        self.values.data = fresh
        if not self.values.is_inference():
            increment_version(self.values)  # a backward pass through the values of before is an error, and says so
        self._pattern = pattern
        self._follow_device()

    def open_window(self, window: DenseWindow) -> None:
        """From the next training forward on, collect the dense weight gradient in ``window``; replaces an open one."""
        self._window = window

    def close_window(self) -> None:
        """Compute no dense gradient any more."""
        self._window = None

    def _window_for(self, output: Tensor) -> DenseWindow | None:
        """The open window, when ``output`` was computed to be trained on."""
        return self.training_window if output.requires_grad else None

    @property
    def training_window(self) -> DenseWindow | None:
        """The open window, when the layer is being trained: who computes its backward pass adds to it."""
        return self._window if self.training and self.values.requires_grad else None

    def _follow_device(self) -> None:
        # "meta" has no data: the positions stay real, so that a later to_empty() finds them.
        if self.values.device.type != "meta":
            self._pattern = self._pattern.to(self.values.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SparseLayer:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._follow_device()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseLayer:
        """As of any module; copies that turn out to be averages are told when the pattern moves (``sparse.copies``)."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__setstate__(copy.deepcopy(self.__getstate__(), memo))  # type: ignore[no-untyped-call]
        copies.remember(self, made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start with their window closed."""
        return {**self.__dict__, "_window": None}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        indices = self._pattern.indices
        destination[prefix + "indices"] = indices if keep_vars else indices.clone()  # patterns are never written to

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if prefix + "weight" in state_dict and prefix + "values" not in state_dict:
            if _DENSE not in error_msgs:  # once, not for each layer
                error_msgs.append(_DENSE)
            return
        rest = {key: value for key, value in state_dict.items() if key != prefix + "indices"}
        indices, values = state_dict.get(prefix + "indices"), state_dict.get(prefix + "values")
        if indices is None:
            missing_keys.append(prefix + "indices")
            rest.pop(prefix + "values", None)
        elif values is not None:
            try:
                self.set_pattern(Pattern.from_indices(indices, self.weight_shape), values)
            except ShapeError as error:
                error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {error}")
                return
        super()._load_from_state_dict(rest, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)

    def _density_text(self) -> str:
        return f"density={self.density:.4g} (nnz={self.nnz} of {self._pattern.numel})"


def sparse_layers(model: nn.Module) -> dict[str, SparseLayer]:
    """Dotted name -> layer for every sparse layer of ``model``, in module order; a shared module counts once."""
    return {name: module for name, module in model.named_modules() if isinstance(module, SparseLayer)}


def _chosen_pattern(
    shape: tuple[int, ...], density: float | None, pattern: Pattern | None, generator: torch.Generator | None
) -> Pattern:
    if density is not None and pattern is None:
        nnz = max(1, round(checked_density(density) * math.prod(shape)))
        return random_pattern(shape, nnz, generator)
    if pattern is None or density is not None:
        given = "neither" if pattern is None else "both"
        raise InputError(
            message("density and pattern of a sparse layer", received=given, allowed="exactly one of them")
        )
    if pattern.shape != shape:
        raise ShapeError(message("pattern", received=f"shape {pattern.shape}", allowed=f"shape {shape}"))
    return pattern


def topology_digest(model: nn.Module) -> str:
    """SHA-256, in hex, of the names and patterns of all sparse layers: equal on all ranks that agree."""
    content = hashlib.sha256()
    for name, layer in sparse_layers(model).items():
        content.update(f"{name}={layer.pattern.digest()};".encode())
    return content.hexdigest()
