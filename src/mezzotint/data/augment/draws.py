"""How are gamma, beta and Dirichlet numbers drawn from a key? From its normal and uniform draws alone.

The numbers therefore do not depend on numpy's version, as those of its generators may.
"""

from __future__ import annotations

import math

from mezzotint.data.random import Key


def log_gamma(key: Key, shape: float) -> float:
    """The logarithm of a gamma number of scale 1; the number itself may be too small for a float.

    Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); below shape 1 a number of shape + 1 is
    multiplied by U^(1 / shape).
    """
    boost = 0.0
    if shape < 1:
        boost, shape = math.log(1 - key.uniform()) / shape, shape + 1
    d = shape - 1 / 3
    while True:
        x = key.normal()
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and math.log(1 - key.uniform()) < 0.5 * x * x + d - d * v + d * math.log(v):
            return math.log(d * v) + boost


def dirichlet(key: Key, alpha: float, count: int) -> list[float]:
    """``count`` weights that add up to one; symmetric, of concentration ``alpha``."""
    logs = [log_gamma(key, alpha) for _ in range(count)]
    highest = max(logs)
    weights = [math.exp(value - highest) for value in logs]
    return [weight / sum(weights) for weight in weights]


def beta(key: Key, alpha: float) -> float:
    """A number from Beta(alpha, alpha), in 0 .. 1."""
    return dirichlet(key, alpha, 2)[0]
