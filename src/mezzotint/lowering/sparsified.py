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
    choose: str = "auto",
    seed: int = 0,
    init: str = "auto",
    layout: str = "auto",
    structure: str | None = None,
) -> nn.Module:
    """Swap the ``nn.Conv2d`` and ``nn.Linear`` layers of ``model`` for sparse twins, in place, and lead it natively.

    Exactly these two types are swapped; subclasses and other modules are left alone. The swapped layers have new
    parameters: build the optimiser afterwards, and load a dense checkpoint before.
    :func:`mezzotint.sparse.sparsify` does the same without the native layout.

    Args:
        model: any module. When it is itself a layer to swap, the sparse twin is returned.
        density: of all swapped layers together, in (0, 1]: their nonzeros sum to exactly ``round(density * weights)``.
            Or one density for every layer, by name or glob: a layer's own name first, then the first glob that fits.
        distribution: of the nonzeros over layers: "uniform", "er", "erk" (wide layers get lower densities) or
            "uniform_plus" (:mod:`mezzotint.sparse.distribution`).
        exclude: exact dotted names, globs, or module types that stay dense, with all that lies inside them.
        choose: which weights stay: "random", "magnitude" (the largest), "fan_in" (random, but equally many for each
            output unit), or "auto": "magnitude" where the network shows that it was trained
            (:func:`mezzotint.sparse.past.sign_of_training` lists the signs), otherwise "random"; the log (logger
            ``mezzotint.sparse.conversion``, level INFO) says which, and why.
        seed: of the random choice and of fresh values.
        init: the values that stay: "keep" (their own; right for trained weights), "rescale" (their own times
            ``sqrt(dense / sparse fan-in)`` per output unit; right for training from scratch, above all without batch
            norms), "fresh" (drawn anew for the sparse fan-in), or "auto": "keep" where the network shows that it was
            trained, otherwise "rescale"; logged, too.
        layout: "auto": on the CPU, convolutions, batch norms, ReLUs, residual sums and poolings keep their
            activations in the library's own layout, in training and evaluation, and convert at the borders only. The
            model's class, parameters, state dict, hooks and modes are untouched. A model that ``torch.fx`` cannot
            trace, or whose forward does more than a graph can repeat (it draws numbers, or writes attributes), runs in
            the plain layout; the log (logger ``mezzotint.lowering.attach``) says so once, with the reason, and
            :func:`mezzotint.lowering.explain` tells it node by node. A batch that fills so little of the layout's cells
            of 16 (float32) or 32 images that the plain layout costs less runs in that, too; up to 16 images of a 16-bit
            type lie in float32 within the layout. "native": whatever the batch. "plain": ordinary tensors from layer to
            layer.
        structure: "n:m": n of every m neighbouring input channels, and ``density`` must be n/m; or "axb": blocks of a
            output by b input channels. None: single weights.

    Returns:
        ``model``, changed in place.

    Raises:
        InputError: a density outside (0, 1], an exclude or a glob that matches nothing, no layer to swap, a layer whose
            weight is parametrized or shared with another module, or something that is no module.
        NotRegistered: an unknown distribution, choice, init or layout.
    """
    if layout not in LAYOUTS:
        raise NotRegistered(message("layout", received=layout, allowed=", ".join(LAYOUTS)) + suggest(layout, LAYOUTS))
    made = sparse.sparsify(model, density, distribution, exclude, choose, seed, init, structure)
    return made if layout == "plain" else attach(made, always=layout == "native")


def densify(model: nn.Module) -> nn.Module:
    """Swap the sparse layers of ``model`` for plain ones with explicit zeros, in place, and let PyTorch lead it again.

    Returns:
        ``model`` itself; the dense twin when the model is a sparse layer. ``copy.deepcopy(model)`` first keeps both.
    """
    return sparse.densify(detach(model))
