"""Which evaluation protocols are there? The table of names; one line an entry, one file a family.

Each entry is a function whose keyword arguments are the protocol's settings, and whose defaults are the protocol of
that name. `get_protocol` takes the settings as arguments or behind the name, ``"timm:crop_pct=0.95"``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

from mezzotint.data.protocols.ffcv import ffcv
from mezzotint.data.protocols.grammar import Setting, parse, written_out
from mezzotint.data.protocols.keras import keras
from mezzotint.data.protocols.normalisation import Normalisation
from mezzotint.data.protocols.plain import central875, squash256
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.tensorflow import central875_tf, efficientnet_tf, inception, squash256_tf
from mezzotint.data.protocols.timm import timm
from mezzotint.data.protocols.torchvision import torchvision
from mezzotint.errors import ConfigError, NotRegistered, message, suggest

__all__ = ["FAMILIES", "PROTOCOLS", "Normalisation", "Protocol", "get_protocol", "protocols", "settings_of"]

FAMILIES: dict[str, Callable[..., Protocol]] = {
    "squash256": squash256,
    "central875": central875,
    "squash256-tf": squash256_tf,
    "central875-tf": central875_tf,
    "torchvision": torchvision,
    "timm": timm,
    "inception": inception,
    "efficientnet-tf": efficientnet_tf,
    "ffcv": ffcv,
    "keras": keras,
}

PROTOCOLS: dict[str, Protocol] = {name: family() for name, family in FAMILIES.items()}
"""The protocols with their default settings."""


def protocols() -> dict[str, Protocol]:
    """The evaluation protocols by name, with their default settings; a copy, which may be changed freely."""
    return dict(PROTOCOLS)


def settings_of(name: str) -> dict[str, Setting]:
    """All settings of a protocol by its name: those that the name states, and the defaults of the others.

    Raises:
        NotRegistered, ConfigError: see `get_protocol`.
    """
    family, given = parse(get_protocol(name).name)
    return _defaults(family) | given


def _defaults(family: str) -> dict[str, Setting]:
    return {key: parameter.default for key, parameter in inspect.signature(FAMILIES[family]).parameters.items()}


def get_protocol(name: str, **settings: Setting) -> Protocol:
    """The protocol of that name.

    Args:
        name: a name of the table, settings behind it or not: ``"timm"``, ``"timm:crop_pct=0.95,crop_mode=squash"``.
        settings: more of them, as arguments: ``get_protocol("timm", crop_pct=0.95)``.

    Returns:
        The protocol; its name states the settings that are not the defaults, in the order of the table's function.

    Raises:
        NotRegistered: there is none of that name; the message lists the names and suggests the nearest.
        ConfigError: there is no such setting, it is given twice, or its value is not allowed.
    """
    family, given = parse(str(name))
    if family not in FAMILIES:
        hint = suggest(family, FAMILIES).strip()
        raise NotRegistered(message("protocol", received=str(name), allowed=", ".join(FAMILIES), fix=hint))
    defaults = _defaults(family)
    for key, value in settings.items():
        if key in given:
            fix = "Name it once, behind the name or as an argument."
            raise ConfigError(message(f"setting of {family}", received=f"{key} twice", allowed="each once", fix=fix))
        given[key] = tuple(value) if isinstance(value, list) else value
    for key in given:
        if key not in defaults:
            fix = suggest(key, defaults).strip()
            raise ConfigError(message(f"setting of {family}", received=key, allowed=", ".join(defaults), fix=fix))
    changed = {key: given[key] for key, default in defaults.items() if key in given and given[key] != default}
    if not changed:
        return PROTOCOLS[family]
    return replace(FAMILIES[family](**changed), name=written_out(family, changed))
