"""How does a dense network become sparse and fast in one call? Layers are swapped, and the forward is led natively."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from mezzotint import sparse
from mezzotint.errors import NotRegistered, message, suggest
from mezzotint.lowering.attach import attach, detach
from mezzotint.sparse.selection import Exclude

LAYOUTS = ("auto", "native", "plain")


def sparsify(
    model: nn.Module,
    density: float | Mapping[str, float],
    distribution: str = "erk",
    exclude: Iterable[Exclude] | Exclude = (),
    choose: str = "random",
    seed: int = 0,
    init: str = "keep",
    layout: str = "auto",
    structure: str | None = None,
) -> nn.Module:
    """:func:`mezzotint.sparse.sparsify`, after which the model also computes in the native layout where it can.

    Args:
        model, density, distribution, exclude, choose, seed, init, structure: see :func:`mezzotint.sparse.sparsify`.
        layout: "auto": on the CPU, convolutions, batch norms, ReLUs, residual sums and poolings keep their
            activations in the library's own layout, in training and evaluation, and convert at the borders only. The
            model's class, parameters, state dict, hooks and modes are untouched. A model that ``torch.fx`` cannot trace
            runs in the plain layout; the log (logger ``mezzotint.lowering.attach``) says so once, with the reason, and
            :func:`mezzotint.lowering.explain` tells it node by node. A batch that fills so little of the layout's cells
            of 16 (float32) or 32 images that dense would cost less runs in the plain layout, too. "native": whatever
            the batch. "plain": ordinary tensors from layer to layer.

    Raises:
        NotRegistered: an unknown layout, and what the other arguments may raise.
    """
    if layout not in LAYOUTS:
        raise NotRegistered(message("layout", received=layout, allowed=", ".join(LAYOUTS)) + suggest(layout, LAYOUTS))
    made = sparse.sparsify(model, density, distribution, exclude, choose, seed, init, structure)
    return made if layout == "plain" else attach(made, always=layout == "native")


def densify(model: nn.Module) -> nn.Module:
    """:func:`mezzotint.sparse.densify`, after which the model computes in the plain layout again."""
    return sparse.densify(detach(model))
