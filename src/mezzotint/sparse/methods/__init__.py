"""Which methods move (or keep) a topology? One file each, one line here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message, require_registered, suggest
from mezzotint.outside import is_outside, subclass_at
from mezzotint.sparse.methods.ac_dc import ACDC
from mezzotint.sparse.methods.block import Block
from mezzotint.sparse.methods.dsr import DSR
from mezzotint.sparse.methods.falling_momentum import FallingMomentum
from mezzotint.sparse.methods.gmp import GMP
from mezzotint.sparse.methods.granet import GraNet
from mezzotint.sparse.methods.mest import MEST
from mezzotint.sparse.methods.nm import NM
from mezzotint.sparse.methods.rigl import RigL
from mezzotint.sparse.methods.rigl_itop import RigLITOP
from mezzotint.sparse.methods.set_method import SET
from mezzotint.sparse.methods.snfs import SNFS
from mezzotint.sparse.methods.sparse_momentum import SparseMomentum
from mezzotint.sparse.methods.srigl import SRigL
from mezzotint.sparse.methods.static import Static
from mezzotint.sparse.methods.top_kast import TopKAST
from mezzotint.sparse.topology import DynamicTopology, Topology

METHODS: Final[dict[str, type[Topology]]] = {
    "static": Static,
    "sparse_momentum": SparseMomentum,
    "falling_momentum": FallingMomentum,
    "set": SET,
    "dsr": DSR,
    "rigl": RigL,
    "rigl_itop": RigLITOP,
    "snfs": SNFS,
    "srigl": SRigL,
    "top_kast": TopKAST,
    "mest": MEST,
    "gmp": GMP,
    "ac_dc": ACDC,
    "granet": GraNet,
    "nm": NM,
    "block": Block,
}
"""Name -> class. All are made as ``METHODS[name](model, optimizer, **options)``; :func:`options_of` lists options."""


def method(name: str) -> type[Topology]:
    """The class of that name: a key of :data:`METHODS`, or somebody's own as ``"package.module:Class"``.

    Raises:
        NotRegistered: there is none.
    """
    if is_outside(name):
        return subclass_at(name, "method", DynamicTopology, "mezzotint.sparse.DynamicTopology")
    require_registered("method", name, METHODS)
    return METHODS[name]


def options_of(name: str) -> dict[str, Any]:
    """Option -> default (``inspect.Parameter.empty``: it must be given) of the method ``name``."""
    parameters = inspect.signature(method(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def first_density(name: str, density: float) -> float:
    """How dense training starts when ``density`` is where it is to end: the same, unless the method says otherwise."""
    says = getattr(method(name), "first_density", None)
    return density if says is None else float(says(density))


def build(
    name: str, model: nn.Module, optimizer: Optimizer, given: Mapping[str, Any], offered: Mapping[str, Any]
) -> Topology:
    """The method ``name`` for ``model``.

    Args:
        name: a key of :data:`METHODS`.
        model: with sparse layers.
        optimizer: over its parameters.
        given: options that the method must understand.
        offered: options that it may take: interval, total_steps, goal, seed ...

    Raises:
        NotRegistered: an unknown method.
        InputError: an option that the method does not have, or a value that it does not take.
    """
    known = options_of(name)
    for key in given:
        if key not in known:
            raise InputError(
                message(f"option of method {name!r}", received=key, allowed=", ".join(known) or "none")
                + suggest(key, known)
            )
    options = {key: value for key, value in offered.items() if key in known} | dict(given)
    return method(name)(model, optimizer, **options)  # type: ignore[call-arg]
