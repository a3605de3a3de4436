"""Which layers of a network become sparse, and why do the others stay as they are?"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from mezzotint.errors import InputError, message, suggest

Exclude = str | type[nn.Module]
CONVERTIBLE: Final = (nn.Conv2d, nn.Linear)
_READ_THEIR_CHILDREN: Final = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.MultiheadAttention)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The layers to be made sparse, and what is left alone.

    Attributes:
        layers: first dotted name -> layer, in module order.
        left_alone: dotted name -> reason, for every module that has a weight of two axes or more and is not chosen.
    """

    layers: dict[str, nn.Conv2d | nn.Linear]
    left_alone: dict[str, str]


def select(model: nn.Module, exclude: Iterable[Exclude] | Exclude = ()) -> Selection:
    """Choose every ``nn.Conv2d`` and ``nn.Linear`` (exactly these types) that ``exclude`` does not name.

    Args:
        model: any module.
        exclude: dotted names, globs over dotted names (``"layer1.*"``) or module types. What lies inside an excluded
            module is excluded with it.

    Raises:
        InputError: an exclude matches no module of the model, a chosen layer's weight is parametrized, tied to another
            module or not initialised yet.
    """
    entries: Sequence[Exclude] = [exclude] if isinstance(exclude, (str, type)) else list(exclude)
    names = _names_by_module(model)
    excluded = _excluded(names, entries)
    layers: dict[str, nn.Conv2d | nn.Linear] = {}
    left_alone: dict[str, str] = {}
    for module, places in names.items():
        reason = _reason_to_leave(model, module, places, excluded)
        if reason is None and isinstance(module, CONVERTIBLE):
            _check_plain(places[0], module)
            layers[places[0]] = module
        elif reason:
            left_alone[places[0]] = reason
    _check_untied(names, layers)
    return Selection(layers=layers, left_alone=left_alone)


def _names_by_module(model: nn.Module) -> dict[nn.Module, list[str]]:
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    return names


def _excluded(names: dict[nn.Module, list[str]], entries: Sequence[Exclude]) -> dict[str, str]:
    """Dotted name -> the exclude that covers it, for the modules that excludes match themselves."""
    found: dict[str, str] = {}
    for entry in entries:
        shown = entry if isinstance(entry, str) else entry.__name__
        matches = [place for module, places in names.items() for place in places if _matches(entry, module, place)]
        if not matches:
            every = [place for places in names.values() for place in places if place]
            raise InputError(
                message("exclude", received=shown, allowed="names, globs or types that match a module of the model")
                + suggest(shown, every)
            )
        found |= dict.fromkeys(matches, shown)
    return found


def _matches(entry: Exclude, module: nn.Module, place: str) -> bool:
    if isinstance(entry, str):
        return fnmatch.fnmatchcase(place, entry)
    return isinstance(module, entry)


def _reason_to_leave(
    model: nn.Module, module: nn.Module, places: Sequence[str], excluded: dict[str, str]
) -> str | None:
    """Why ``module`` stays dense; "" for modules of which there is nothing to say, None for those to convert."""
    weight = getattr(module, "weight", None)
    if not isinstance(module, CONVERTIBLE):
        return f"{type(module).__name__} has no sparse twin" if getattr(weight, "ndim", 0) >= 2 else ""
    for place in places:
        for around in _prefixes(place):
            if around in excluded:
                return f"excluded by {excluded[around]!r}"
            if isinstance(model.get_submodule(around), _READ_THEIR_CHILDREN):
                return f"{type(model.get_submodule(around)).__name__} reads its weight directly"
    if type(module) in CONVERTIBLE or _parametrized(module) or _lazy(module):
        return None  # the last two are told as errors: leaving them alone silently would not be what was asked for
    return f"{type(module).__name__} is a subclass of a layer that has a sparse twin, and may compute otherwise"


def _prefixes(place: str) -> list[str]:
    """The names of the modules around ``place``, outermost first, and itself."""
    parts = place.split(".") if place else []
    return ["", *(".".join(parts[: end + 1]) for end in range(len(parts)))]


def _parametrized(module: nn.Module) -> bool:
    return is_parametrized(module) or "weight" not in module._parameters


def _lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin)


def _check_plain(name: str, module: nn.Module) -> None:
    shown = f"layer {name!r}" if name else "the model"
    if _lazy(module):
        raise InputError(
            message(
                shown,
                received="a lazy layer",
                allowed="layers whose sizes are known",
                fix="Run one forward pass first.",
            )
        )
    if _parametrized(module):
        raise InputError(
            message(
                shown,
                received="a weight that is computed from others (weight_norm, spectral_norm, pruning masks ...)",
                allowed="a plain weight parameter",
                fix=f"Remove the parametrization first, or add {name!r} to exclude.",
            )
        )


def _check_untied(names: dict[nn.Module, list[str]], layers: dict[str, nn.Conv2d | nn.Linear]) -> None:
    owners: dict[int, list[str]] = {}
    for module, places in names.items():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(".".join(part for part in (places[0], key) if part))
    for name, layer in layers.items():
        shared = owners[id(layer.weight)]
        if len(shared) > 1:
            raise InputError(
                message(
                    f"weight of layer {name!r}",
                    received=f"one parameter used as {' and '.join(shared)}",
                    allowed="a weight of its own",
                    fix=f"Add {name!r} to exclude, or untie the weights.",
                )
            )
