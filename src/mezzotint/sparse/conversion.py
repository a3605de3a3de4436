"""How does a dense network become sparse, and dense again? Layers are swapped for their twins, nothing else changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from mezzotint.errors import InputError, message, require_registered
from mezzotint.sparse.distribution import layer_nnz
from mezzotint.sparse.initialise import (
    fan_in_pattern,
    fresh_values,
    keyed_generator,
    random_pattern,
    rescaled_values,
)
from mezzotint.sparse.layer import SparseLayer, sparse_layers
from mezzotint.sparse.layers import SparseConv2d, SparseLinear
from mezzotint.sparse.past import sign_of_training
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.ranking import largest
from mezzotint.sparse.selection import Exclude, Selection, select
from mezzotint.sparse.structure import Structure, structured_counts, structured_pattern
from mezzotint.sparse.swap import replace_modules, take_over

_log = logging.getLogger(__name__)


def _random(weight: Tensor, nnz: int, generator: torch.Generator) -> Pattern:
    return random_pattern(tuple(weight.shape), nnz, generator)


def _magnitude(weight: Tensor, nnz: int, generator: torch.Generator) -> Pattern:
    return Pattern.from_indices(largest(weight.reshape(-1).abs(), nnz), weight.shape)


def _fan_in(weight: Tensor, nnz: int, generator: torch.Generator) -> Pattern:
    return fan_in_pattern(tuple(weight.shape), nnz, generator)


def _keep(kept: Tensor, pattern: Pattern, generator: torch.Generator) -> Tensor:
    return kept


def _rescale(kept: Tensor, pattern: Pattern, generator: torch.Generator) -> Tensor:
    return rescaled_values(kept, pattern)


def _fresh(kept: Tensor, pattern: Pattern, generator: torch.Generator) -> Tensor:
    return fresh_values(pattern.to("cpu"), generator)


_Choice = Callable[[Tensor, int, torch.Generator], Pattern]
_Init = Callable[[Tensor, Pattern, torch.Generator], Tensor]
CHOICES: Final[dict[str, _Choice]] = {
    "random": _random,
    "magnitude": _magnitude,
    "fan_in": _fan_in,
}
"""Name -> which weights of a layer stay."""
AUTO: Final = "auto"
"""Of ``choose`` and ``init``: as the network's past asks for."""
INITS: Final[dict[str, _Init]] = {
    "keep": _keep,
    "rescale": _rescale,
    "fresh": _fresh,
}
"""Name -> the values that the kept weights start with."""


def sparsify(
    model: nn.Module,
    density: float | Mapping[str, float],
    distribution: str = "erk",
    exclude: Iterable[Exclude] | Exclude = (),
    choose: str = AUTO,
    seed: int = 0,
    init: str = AUTO,
    structure: str | None = None,
) -> nn.Module:
    """Swap the ``nn.Conv2d`` and ``nn.Linear`` layers of ``model`` for sparse twins, in place.

    Exactly these two types are swapped; subclasses and other modules are left alone, and the log (logger
    ``mezzotint.sparse.conversion``, level INFO) says which and why; :func:`mezzotint.sparse.select` returns the same.
    Biases, hooks, training flags, devices, dtypes and ``requires_grad`` are kept. The swapped layers have new
    parameters: build the optimiser afterwards, and load a dense checkpoint before.

    Args:
        model: any module. When it is itself a layer to swap, the sparse twin is returned.
        density: of all swapped layers together, in (0, 1]: their nonzeros sum to exactly ``round(density * weights)``,
            or to the number of layers where that is more. Or one density for every layer, by name or glob: a layer's
            own name first, then the first glob that fits.
        distribution: "uniform", "er", "erk" or "uniform_plus" (see :mod:`mezzotint.sparse.distribution`).
        exclude: exact dotted names, globs, or module types; what lies inside an excluded module is excluded too.
        choose: which weights stay: "random" (drawn from ``seed`` and the layer's name on the CPU, so that the choice
            does not depend on the device or on other layers), "magnitude" (the largest, the lower position first
            among equals) or "fan_in" (random, but equally many for each output unit). "auto": "magnitude" where the
            network shows that it was trained (:func:`mezzotint.sparse.past.sign_of_training` lists the signs),
            otherwise "random"; the log says at level INFO which, and why.
        seed: of the random choice and of fresh values.
        init: what values they start with. "keep": their own, whatever ``choose`` is; right for trained weights, and
            what the published sparse momentum does. "rescale": their own times ``sqrt(dense / sparse fan-in)`` per
            output unit, which turns the model's own initialisation into the same one for the sparse fan-in; right for
            training from scratch, above all without batch normalisation. "fresh": drawn anew by PyTorch's law for the
            sparse fan-in (see :mod:`mezzotint.sparse.initialise`). "auto": "keep" where the network shows that it was
            trained, otherwise "rescale"; logged, too.
        structure: "n:m": n of every m neighbouring input channels, and ``density`` must be n/m; or "axb": blocks of a
            output by b input channels, of which ``density`` is met to within half a block a layer. ``choose`` then
            says which weights of a group, or which blocks, stay: "random" or "magnitude".

    Returns:
        ``model``, changed in place.

    Raises:
        InputError: a density outside (0, 1], an exclude or a glob that matches nothing, no layer to swap, a layer whose
            weight is parametrized or shared with another module, or something that is no module.
        NotRegistered: an unknown distribution, choice or init.
    """
    require_registered("choose", choose, (AUTO, *CHOICES))
    require_registered("init", init, (AUTO, *INITS))
    _require_module(model)
    selection = select(model, exclude)
    _require_layers(model, selection)
    shapes = {name: tuple(layer.weight.shape) for name, layer in selection.layers.items()}
    counts = layer_nnz(shapes, density, distribution)
    if AUTO in (choose, init):
        choose, init = _by_its_past(model, selection, choose, init)
    chosen, start = CHOICES[choose], INITS[init]
    if structure is not None:
        grouped = Structure.parse(structure)
        counts = structured_counts(grouped, shapes, density, counts)
        chosen = partial(structured_pattern, grouped, choose)
    twins: dict[nn.Module, nn.Module] = {}
    for name, layer in selection.layers.items():
        generator = keyed_generator("sparsify", seed, name)
        twins[layer] = _sparsified(layer, chosen, start, counts[name], generator)
    for name, reason in selection.left_alone.items():
        _log.info("left alone: %s (%s)", name or "the model", reason)
    return replace_modules(model, twins)


def densify(model: nn.Module) -> nn.Module:
    """Swap the sparse layers of ``model`` for plain ``nn.Conv2d`` and ``nn.Linear`` with explicit zeros, in place.

    Returns:
        ``model``; the dense twin when the model is itself a sparse layer. A model without sparse layers is unchanged.
    """
    return replace_modules(model, {layer: _dense_twin(layer) for layer in sparse_layers(model).values()})


def _by_its_past(model: nn.Module, selection: Selection, choose: str, init: str) -> tuple[str, str]:
    """What "auto" means for this network; logged with the reason."""
    sign = sign_of_training(model, selection.layers)
    reason = sign or "nothing shows that the network was trained"
    if choose == AUTO:
        choose = "random" if sign is None else "magnitude"
        _log.info("choose='auto' is %r, because %s", choose, reason)
    if init == AUTO:
        init = "rescale" if sign is None else "keep"
        _log.info("init='auto' is %r, because %s", init, reason)
    return choose, init


def _require_module(model: object) -> None:
    if isinstance(model, nn.Module):
        return
    raise InputError(
        message(
            "model to sparsify",
            received=type(model).__name__,
            allowed="an nn.Module",
            fix="Load a state dict into the network first: model.load_state_dict(state), then sparsify(model, ...)."
            if isinstance(model, Mapping)
            else "",
        )
    )


def _require_layers(model: nn.Module, selection: Selection) -> None:
    if selection.layers:
        return
    if made := sparse_layers(model):
        raise InputError(
            message(
                "model to sparsify",
                received=f"a model that is sparse already ({len(made)} sparse layers, no other that can be swapped)",
                allowed="a model with nn.Conv2d or nn.Linear layers that are not excluded",
                fix="Call densify(model) first to choose its weights anew.",
            )
        )
    left = "; ".join(f"{name or 'the model'}: {why}" for name, why in list(selection.left_alone.items())[:3])
    raise InputError(
        message(
            "model to sparsify",
            received=f"no layer that can be swapped{f' ({left})' if left else ''}",
            allowed="a model with nn.Conv2d or nn.Linear layers that are not excluded",
        )
    )


def _sparsified(
    layer: nn.Conv2d | nn.Linear, choose: _Choice, start: _Init, nnz: int, generator: torch.Generator
) -> SparseLayer:
    """The sparse twin of ``layer`` with ``nnz`` weights."""
    weight = layer.weight.detach()
    pattern = choose(weight, nnz, generator)
    if not weight.is_meta:  # a model without data yet: its pattern is real all the same
        pattern = pattern.to(weight.device)
    kept = weight.reshape(-1)[pattern.indices.long().to(weight.device)]
    return sparse_twin(layer, pattern, start(kept, pattern, generator))


def sparse_twin(layer: nn.Conv2d | nn.Linear, pattern: Pattern, values: Tensor) -> SparseLayer:
    """A sparse layer with the geometry, bias, hooks and flags of ``layer``, this pattern and these ``[nnz]`` values."""
    bias = layer.bias is not None
    twin: SparseLayer
    if isinstance(layer, nn.Conv2d):
        twin = SparseConv2d(
            layer.in_channels,
            layer.out_channels,
            _two(layer.kernel_size),
            _two(layer.stride),
            layer.padding if isinstance(layer.padding, str) else _two(layer.padding),
            _two(layer.dilation),
            layer.groups,
            bias,
            layer.padding_mode,
            pattern=pattern,
            device="meta",
            dtype=layer.weight.dtype,
        )
    else:
        twin = SparseLinear(
            layer.in_features, layer.out_features, bias, pattern=pattern, device="meta", dtype=layer.weight.dtype
        )
    twin.values = nn.Parameter(values.to(layer.weight), requires_grad=layer.weight.requires_grad)
    twin.bias = cast("nn.Parameter | None", layer.bias)
    take_over(layer, twin)
    return twin


def _dense_twin(layer: SparseLayer) -> nn.Conv2d | nn.Linear:
    bias = layer.bias is not None
    twin: nn.Conv2d | nn.Linear
    if isinstance(layer, SparseConv2d):
        twin = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            bias,
            cast(Any, layer.padding_mode),
            device="meta",
        )
    else:
        twin = nn.Linear(layer.weight_shape[1], layer.weight_shape[0], bias, device="meta")
    weight = layer.dense_weight().detach()
    twin.weight = nn.Parameter(weight, requires_grad=layer.values.requires_grad)
    twin.bias = layer.bias
    take_over(layer, twin)
    return twin


def _two(sizes: tuple[int, ...]) -> tuple[int, int]:
    return sizes[0], sizes[1]
