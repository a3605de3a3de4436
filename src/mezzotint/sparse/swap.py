"""How is a module of a network replaced by another? In every place that holds it, with everything users hung on it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mezzotint.precision import mark_replaced


def replace_modules(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put ``replacements[m]`` wherever ``m`` is a child in ``model``; a shared module is replaced in all its places.

    Returns:
        ``model`` itself, or its replacement when the model is one of the modules.
    """
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # a parent may hold one child under several names
            if child is not None and child in replacements:
                parent._modules[name] = replacements[child]
    for old, new in replacements.items():
        stays = {id(parameter) for parameter in new.parameters()}
        for parameter in old.parameters():
            if id(parameter) not in stays:
                mark_replaced(parameter)  # an optimiser built before would not notice
    return replacements.get(model, model)


def take_over(old: nn.Module, new: nn.Module) -> None:
    """Give ``new`` the training flag and the hooks of ``old``; the handles of those hooks keep working."""
    new.training = old.training
    for name, value in vars(old).items():
        if "hooks" in name:
            new.__dict__[name] = value
