"""Which evaluation protocols are there? The table of names; one line an entry, one file a family."""

from __future__ import annotations

from mezzotint.data.protocols.plain import CENTRAL875, SQUASH256
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.tensorflow import CENTRAL875_TF, SQUASH256_TF
from mezzotint.data.protocols.torchvision import TORCHVISION
from mezzotint.errors import NotRegistered, message, suggest

__all__ = ["PROTOCOLS", "Protocol", "get_protocol", "protocols"]

PROTOCOLS: dict[str, Protocol] = {
    "squash256": SQUASH256,
    "central875": CENTRAL875,
    "squash256-tf": SQUASH256_TF,
    "central875-tf": CENTRAL875_TF,
    "torchvision": TORCHVISION,
}


def protocols() -> dict[str, Protocol]:
    """The evaluation protocols by name; a copy, which may be changed freely."""
    return dict(PROTOCOLS)


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        NotRegistered: there is none; the message lists the names and suggests the nearest.
    """
    if name not in PROTOCOLS:
        hint = suggest(name, PROTOCOLS).strip()
        raise NotRegistered(message("protocol", received=name, allowed=", ".join(PROTOCOLS), fix=hint))
    return PROTOCOLS[name]
