"""How many nonzeros does each layer get? Density distributions over layers, as exact whole numbers.

* ``uniform``: every layer has the same density.
* ``er`` (Erdős-Rényi; Mocanu et al. 2018): density of a layer in proportion to ``(O + I) / (O * I)``.
* ``erk`` (Erdős-Rényi kernel; Evci et al. 2020, RigL): in proportion to ``(O + I + kh + kw) / (O * I * kh * kw)``.

* ``uniform_plus`` (Gale et al. 2019, "The state of sparsity", section 4.3): as uniform, but the first convolution is
  full and the last linear layer has at least 20 % of its weights.

``I`` counts the input channels of one group, as the weight's shape does. Layers that would need more than density 1
are full, and the rest is shared again among the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from mezzotint.errors import InputError, message, require_registered, suggest
from mezzotint.sparse.apportion import apportion

Shape = tuple[int, ...]


def _uniform(shape: Shape) -> float:
    return 1.0


def _erdos_renyi(shape: Shape) -> float:
    return (shape[0] + shape[1]) / (shape[0] * shape[1])


def _erdos_renyi_kernel(shape: Shape) -> float:
    return sum(shape) / math.prod(shape)


DISTRIBUTIONS: Final[dict[str, Callable[[Shape], float]]] = {
    "uniform": _uniform,
    "er": _erdos_renyi,
    "erk": _erdos_renyi_kernel,
    "uniform_plus": _uniform,
}
"""Name -> the density a layer of that shape asks for, up to a factor common to all layers."""
_LEAST_OF_THE_LAST: Final = 0.2


def layer_nnz(
    shapes: Mapping[str, Shape], density: float | Mapping[str, float], distribution: str = "erk"
) -> dict[str, int]:
    """The number of nonzeros of every layer.

    Args:
        shapes: layer name -> shape of the dense weight.
        density: of all layers together, in (0, 1]: the result sums to ``round(density * total number of weights)``
            exactly, or to the number of layers where that is more: each has one nonzero at least. Or a density for
            each layer, by name or glob: then each layer gets ``max(1, round(density * numel))`` and ``distribution``
            is not used.
        distribution: a name in :data:`DISTRIBUTIONS`. "uniform_plus" takes ``shapes`` in the order of the network.

    Raises:
        InputError: a density outside (0, 1], or densities that do not name the layers.
        NotRegistered: an unknown distribution.
    """
    if isinstance(density, Mapping):
        shares = density_by_layer(shapes, density)
        return {name: max(1, round(share * math.prod(shapes[name]))) for name, share in shares.items()}
    checked_density(density)
    require_registered("distribution", distribution, DISTRIBUTIONS)
    sizes = [math.prod(shape) for shape in shapes.values()]
    total = max(round(density * sum(sizes)), len(sizes))
    weights = [DISTRIBUTIONS[distribution](shape) * size for shape, size in zip(shapes.values(), sizes, strict=True)]
    least = _least(list(shapes.values()), distribution)
    if sum(least) > total:
        needed = sum(least) / sum(sizes)
        raise InputError(
            message(
                "density",
                received=density,
                allowed=f"at least {needed:.4g} for {distribution!r}, which keeps all of the first convolution and a"
                " fifth of the last linear layer",
                fix='Choose distribution "uniform" or "erk", or exclude these layers.',
            )
        )
    return dict(zip(shapes, apportion(total, weights, least, sizes), strict=True))


def _least(shapes: Sequence[Shape], distribution: str) -> list[int]:
    """The least number of nonzeros of each layer."""
    least = [1] * len(shapes)
    if distribution == "uniform_plus":
        if len(shapes[0]) == 4:
            least[0] = math.prod(shapes[0])
        if len(shapes[-1]) == 2:
            least[-1] = math.ceil(_LEAST_OF_THE_LAST * math.prod(shapes[-1]))
    return least


def checked_density(density: float, name: str = "density") -> float:
    """``density`` itself when it lies in (0, 1].

    Raises:
        InputError: it does not; ``name`` says in the message which one.
    """
    if isinstance(density, bool) or not isinstance(density, (int, float)) or not 0 < density <= 1:
        raise InputError(
            message(
                name,
                received=repr(density),
                allowed="a number above 0 and up to 1, the fraction of weights that are active",
                fix="Density is nnz / numel: 0.1 keeps one weight in ten (a sparsity of 90 %).",
            )
        )
    return float(density)


def density_by_layer(layers: Iterable[str], density: Mapping[str, float]) -> dict[str, float]:
    """The density of each of ``layers``: that of its own name, or else of the first glob in ``density`` that fits.

    Raises:
        InputError: an entry that no layer fits, a layer that no entry fits, or a density outside (0, 1].
    """
    names = list(layers)
    for key in density:
        if not any(fnmatchcase(name, key) for name in names) and key not in names:
            raise InputError(
                message("density by layer", received=key, allowed="names of layers that can be made sparse, or globs")
                + suggest(key, names)
            )
    found: dict[str, float] = {}
    for name in names:
        fitting = [key for key in density if key == name] or [glob for glob in density if fnmatchcase(name, glob)]
        if not fitting:
            raise InputError(
                message(
                    "density by layer",
                    received=f"no density for {name!r}",
                    allowed="a density for every layer, by name or glob",
                    fix="Leave layers dense by exclude.",
                )
            )
        found[name] = checked_density(density[fitting[0]], f"density of layer {name!r}")
    return found
