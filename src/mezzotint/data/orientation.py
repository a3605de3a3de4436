"""How is an image turned the way its EXIF orientation tag says, and back?

The tag tells where the camera's first row and column lie. 1 is upright; 2, 4, 5 and 7 are mirrored; 3, 6 and 8 are
turned by 180, 90 (clockwise) and 270 degrees. Anything else is treated as 1, as every viewer does.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Orientation: TypeAlias = Literal["ignore", "apply"]

ORIENTATION_TAG = 274

_INVERSE = {6: 8, 8: 6}  # every other turn is its own inverse


def turned(image: npt.NDArray[Any], tag: int) -> npt.NDArray[Any]:
    """The image [H, W, C] as it is meant to be seen, contiguous; 5 to 8 exchange height and width."""
    if tag in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if tag in (2, 3, 6, 7):
        image = image[:, ::-1]
    if tag in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def turned_back(image: npt.NDArray[Any], tag: int) -> npt.NDArray[Any]:
    """The inverse of `turned`: the image as it was stored."""
    return turned(image, _INVERSE.get(tag, tag))
