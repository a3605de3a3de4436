"""How is a whole number shared out in proportion to weights, within bounds, so that the shares sum exactly?

Method: the real-valued proportional shares, with those that leave their bounds held at the bound and the rest shared
again among the others; then the largest-remainder method (Hamilton) turns them into integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mezzotint.errors import InputError, message


def apportion(total: int, weights: Sequence[float], lower: Sequence[int], upper: Sequence[int]) -> list[int]:
    """Integers ``n`` with ``lower[i] <= n[i] <= upper[i]``, ``sum(n) == total``, as near ``total * weights`` as may be.

    A place of weight 0 gets its lower bound until every place of positive weight is full; what is left then goes to
    these places in proportion to their room. Equal remainders are served in order. The result is a function of the
    arguments alone.

    Args:
        total: what is shared out, between ``sum(lower)`` and ``sum(upper)``.
        weights: finite, at least 0; they need not sum to 1.
        lower: the least each place gets, at least 0.
        upper: the most each place can hold.

    Raises:
        InputError: a weight is negative or not finite, or the bounds cannot hold ``total``.
    """
    _check(total, weights, lower, upper)
    shares = _bounded_shares(total, weights, lower, upper)
    counts = [min(max(math.floor(share), low), high) for share, low, high in zip(shares, lower, upper, strict=True)]
    return _settle(total, shares, counts, lower, upper)


def _check(total: int, weights: Sequence[float], lower: Sequence[int], upper: Sequence[int]) -> None:
    bad = [weight for weight in weights if not (math.isfinite(weight) and weight >= 0)]
    if bad:
        raise InputError(message("weights to share by", received=bad[0], allowed="finite numbers of at least 0"))
    if any(low < 0 or low > high for low, high in zip(lower, upper, strict=True)):
        raise InputError(message("bounds of the shares", received="lower > upper", allowed="0 <= lower <= upper"))
    if not sum(lower) <= total <= sum(upper):
        raise InputError(
            message("total to share", received=total, allowed=f"{sum(lower)} to {sum(upper)}, what the bounds can hold")
        )


def _bounded_shares(total: int, weights: Sequence[float], lower: Sequence[int], upper: Sequence[int]) -> list[float]:
    """The real-valued shares: proportional, except where a bound holds."""
    held: dict[int, float] = {}
    wanted: dict[int, float] = {}
    free = list(range(len(weights)))
    while free:
        room = total - sum(held.values())
        pull = _pulls(free, weights, lower, upper)
        wanted = {i: room * pull[i] for i in free}
        over = sum(max(wanted[i] - upper[i], 0.0) for i in free)
        under = sum(max(lower[i] - wanted[i], 0.0) for i in free)
        # Hold the side that is violated more: those bounds hold in the solution too, the other side's may not.
        if over >= under:
            newly = {i: float(upper[i]) for i in free if wanted[i] > upper[i]}
        else:
            newly = {i: float(lower[i]) for i in free if wanted[i] < lower[i]}
        if not newly:
            break
        held |= newly
        free = [i for i in free if i not in newly]
    return [held[i] if i in held else wanted[i] for i in range(len(weights))]


def _pulls(
    free: Sequence[int], weights: Sequence[float], lower: Sequence[int], upper: Sequence[int]
) -> dict[int, float]:
    """Shares of 1 for the places that are still free: by weight, or by room where no weight is left."""
    largest = max(weights[i] for i in free)
    # Divided by the largest, so that the sum of tiny weights does not vanish and that of huge ones stays finite.
    scaled = {i: weights[i] / largest if largest > 0 else float(upper[i] - lower[i]) for i in free}
    whole = sum(scaled.values())
    return {i: (scaled[i] / whole if whole > 0 else 1 / len(free)) for i in free}


def _settle(
    total: int, shares: Sequence[float], counts: list[int], lower: Sequence[int], upper: Sequence[int]
) -> list[int]:
    """Hand out the units that rounding left, largest remainder first, lowest place first among equals."""
    left = total - sum(counts)
    while left:
        sign = 1 if left > 0 else -1
        order = sorted(range(len(counts)), key=lambda i: (-sign * (shares[i] - counts[i]), i))
        for i in order:
            if left and lower[i] <= counts[i] + sign <= upper[i]:
                counts[i] += sign
                left -= sign
    return counts
