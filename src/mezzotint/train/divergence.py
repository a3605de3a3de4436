"""Has the training run away, or learnt nothing? Told by the loss and the right answers of a network that guesses."""

from __future__ import annotations

import math
from typing import Final

_FAR: Final = 10.0
"""So many times the loss of a guess is no slow start: a mean over an epoch above it comes of weights that grow."""
_FAR_IN_TESTS: Final = 100.0
"""The same of test images: the statistics of batch norms, still young in a short first epoch, may cost much as well."""

_SURE: Final = 1.645
"""Standard deviations above the mean that a guess exceeds in one case of 20."""


def guess(classes: int) -> float:
    """The cross entropy of a network that finds all classes equally likely."""
    return math.log(max(classes, 2))


def diverged(
    *, train_loss: float, test_loss: float, classes: int, taken: int, steps: int, loss_scale: float = 1.0
) -> bool:
    """Whether an epoch's numbers are those of a training that has diverged.

    Args:
        train_loss: mean over the epoch's steps that were taken; NaN where none was.
        test_loss: after the epoch.
        classes: how many there are.
        taken: steps whose gradients were finite.
        steps: all of the epoch.
        loss_scale: while it is above 1, skipped steps are how it is searched, and tell nothing.
    """
    if loss_scale <= 1 and 2 * taken < steps:
        return True
    far = taken > 0 and not train_loss <= _FAR * guess(classes)  # not <=: so is a NaN
    return far or not test_loss <= _FAR_IN_TESTS * guess(classes)


def as_a_guess(right: int, images: int, largest: int) -> bool:
    """Whether a network that names one class for all images would be right as often, in one case of 20 at least.

    Args:
        right: images that were classified rightly.
        images: all of them.
        largest: how many belong to the largest class.
    """
    if not 0 < largest < images:
        return False
    chance = largest / images
    spread = math.sqrt(images * chance * (1 - chance))
    return right - 0.5 <= largest + _SURE * spread  # the half: right answers are whole numbers
