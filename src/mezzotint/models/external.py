"""How does a network that is not of this library come in? By its dotted path, or by its name in timm.

``"package.module:Class"`` (or any callable that returns a module) is imported, the working directory first among the
places where packages are looked for; ``"timm:resnet26d"`` is made by timm where that is installed. A name of this kind
runs code: it is taken from configurations, never from files of weights.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

import torch
from torch import nn

from mezzotint.errors import InputError, NotRegistered, message, suggest

_TIMM: Final = "timm"


def is_external(name: str) -> bool:
    """Whether ``name`` tells where a network is instead of which of ours it is."""
    return ":" in name


def build_external(
    name: str, options: Mapping[str, Any], *, num_classes: int, in_channels: int, image_size: tuple[int, int]
) -> nn.Module:
    """Make the network; its own code gives it its first weights.

    Args:
        name: ``"package.module:callable"`` or ``"timm:name"``.
        options: keyword arguments for the callable.
        num_classes, in_channels, image_size: passed on under these names where the callable has parameters for them
            and ``options`` does not set them.

    Returns:
        A module in training mode; one pass of two black images has shown that it gives logits [2, num_classes].

    Raises:
        NotRegistered: there is no such module or attribute, or timm is not installed or does not know the name.
        InputError: the callable refuses its arguments, or what it returns is no network for these images.
    """
    known: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    if name.startswith(f"{_TIMM}:"):
        make = _timm(name.partition(":")[2])
        arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels}
    else:
        make = _imported(name)
        arguments = {key: value for key, value in known.items() if key in _parameters(make)}
    try:
        model = make(**{**arguments, **options})
    except TypeError as error:
        raise InputError(
            message(f"model.options for {name!r}", received=str(error), allowed=", ".join(_parameters(make)) or "none")
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(message(f"model {name!r}", received=type(model).__name__, allowed="a torch.nn.Module"))
    _check_logits(name, model, num_classes, in_channels, image_size)
    return model.train()


def working_directory_first() -> None:
    """Let ``import`` look in the working directory too, as with ``python -m``; a console script starts elsewhere."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _imported(name: str) -> Callable[..., Any]:
    place, _, attribute = name.partition(":")
    working_directory_first()
    try:
        found: Any = import_module(place)
    except ImportError as error:
        raise NotRegistered(
            message(
                f"model {name!r}",
                received=f"a module that cannot be imported ({error})",
                allowed='"package.module:Class"',
                fix="Install the package, or start from the folder that holds the module.",
            )
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise NotRegistered(
                message(f"model {name!r}", received=f"no {part!r} in {place}", allowed="a class or function")
                + suggest(part, dir(found))
            )
        found = getattr(found, part)
    if not callable(found):
        raise NotRegistered(message(f"model {name!r}", received=type(found).__name__, allowed="a class or function"))
    made: Callable[..., Any] = found
    return made


def _timm(name: str) -> Callable[..., Any]:
    try:
        timm: Any = import_module(_TIMM)
    except (ImportError, RuntimeError, OSError) as error:  # timm imports torchvision, which may not fit PyTorch
        raise NotRegistered(
            message(
                f"model 'timm:{name}'",
                received=f"timm cannot be imported ({error})",
                allowed="an installation of timm and of the torchvision that fits PyTorch",
                fix="pip install timm",
            )
        ) from error
    if not timm.is_model(name):
        raise NotRegistered(
            message(f"model 'timm:{name}'", received=name, allowed="a name of timm.list_models()")
            + suggest(name, timm.list_models())
        )

    def create_model(**arguments: Any) -> Any:
        return timm.create_model(name, **arguments)

    return create_model


def _parameters(make: Callable[..., Any]) -> list[str]:
    """The names of the callable's parameters; a ``**kwargs`` stands for none."""
    try:
        found = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def _check_logits(name: str, model: nn.Module, classes: int, channels: int, size: tuple[int, int]) -> None:
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, channels, *size))
    except Exception as error:  # whatever the network's own code raises
        raise InputError(
            message(
                f"model {name!r}",
                received=f"{type(error).__name__} for images of {channels} x {size[0]} x {size[1]}: {error}",
                allowed="a network for the images of the data",
            )
        ) from error
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (2, classes):
        raise InputError(
            message(
                f"model {name!r}",
                received=f"an output of shape {shape} for two images",
                allowed=f"logits of shape (2, {classes}), one for each class of the data",
                fix="Set the number of classes in model.options.",
            )
        )
