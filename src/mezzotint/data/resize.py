"""How is an image resized? In the arithmetic of one of five libraries, each with the interpolations that it has.

``"torch"``: bilinear, bicubic
    Antialiased, by torch. uint8 stays uint8. torch rounds its weights to 16 bits and Pillow to 22, and both round
    between the two directions, so single values differ by one level. Where the ratio makes exact halves frequent, such
    as 5 : 4, a difference of two is possible: 35 of 91 million values over 335 photographs, shorter side to 256, and
    none in 116 million of ``squash256`` and ``central875``. The image goes in as channels-last memory, for which torch
    has AVX2 and AVX-512 code; elsewhere the same function takes a plain loop with identical values at a third of the
    speed. There is therefore no second path, and no difference between machines.
``"pillow"``: nearest, box, bilinear, hamming, bicubic, lanczos
    Antialiased (but for nearest), by Pillow: bit-exact with whatever uses Pillow, at half of torch's speed. Float
    images, which Pillow does not have in colour, are resized channel by channel without rounding.
``"tensorflow"``: nearest, bilinear, bicubic
    Without antialiasing: only the nearest pixels count, however much the image shrinks. This is ``tf.image.resize`` of
    TensorFlow 2. Output pixel ``i`` lies at ``(i + 0.5) * in / out - 0.5``. The result is float32, never rounded; a
    bicubic one may leave the image's range, as there.
``"tensorflow1"``: bilinear
    ``tf.compat.v1.image.resize_bilinear``: likewise, but output pixel ``i`` lies at ``i * in / out``.
``"opencv"``: area
    ``cv2.resize(..., interpolation=cv2.INTER_AREA)``, bit-exact; see `mezzotint.data.opencv`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mezzotint.data import taps
from mezzotint.data.opencv import resize_area
from mezzotint.errors import InputError, message

Resampling: TypeAlias = Literal["torch", "pillow", "tensorflow", "tensorflow1", "opencv"]
Interpolation: TypeAlias = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "area"]

INTERPOLATIONS: dict[Resampling, tuple[Interpolation, ...]] = {
    "torch": ("bilinear", "bicubic"),
    "pillow": ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"),
    "tensorflow": ("nearest", "bilinear", "bicubic"),
    "tensorflow1": ("bilinear",),
    "opencv": ("area",),
}
"""What each way of resampling can interpolate with."""


def resize(
    image: Tensor, height: int, width: int, *, resampling: Resampling, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Resize an image [H, W, 3] to [height, width, 3].

    Args:
        image: uint8 levels, or float32 of any range.
        height, width: the new size in pixels, at least 1.
        resampling: the arithmetic, see above.
        interpolation: the filter, one of those that the resampling has.

    Returns:
        uint8 if the image is uint8 and the resampling rounds, otherwise float32 in the image's own range.

    Raises:
        InputError: there is no such resampling, or it has no such interpolation.
    """
    if interpolation not in INTERPOLATIONS.get(resampling, ()):
        _refuse(resampling, interpolation)
    if resampling in ("tensorflow", "tensorflow1"):
        return _tensorflow(image, height, width, resampling, interpolation)
    if image.shape[:2] == (height, width):
        return image
    if resampling == "opencv":
        return resize_area(image, height, width)
    if resampling == "pillow":
        return _pillow(image, height, width, Image.Resampling[interpolation.upper()])
    return _interpolated(image, height, width, mode=interpolation, antialias=True)


def _pillow(image: Tensor, height: int, width: int, kernel: Image.Resampling) -> Tensor:
    if image.dtype == torch.uint8:
        return torch.from_numpy(np.array(Image.fromarray(image.numpy()).resize((width, height), kernel)))
    planes = [Image.fromarray(plane.numpy()) for plane in image.permute(2, 0, 1).contiguous()]
    return torch.from_numpy(np.stack([np.asarray(plane.resize((width, height), kernel)) for plane in planes], axis=2))


def _tensorflow(image: Tensor, height: int, width: int, version: Resampling, interpolation: Interpolation) -> Tensor:
    if interpolation == "nearest":
        rows, columns = (taps.nearest(*sides) for sides in zip(image.shape[:2], (height, width), strict=True))
        return image[rows][:, columns]
    image = image.to(torch.float32)
    if version == "tensorflow" and interpolation == "bilinear":
        return _interpolated(image, height, width, mode="bilinear", antialias=False)
    rule = taps.cubic if interpolation == "bicubic" else taps.linear_from_the_corner
    image = taps.weighted(image, rule(image.shape[0], height), axis=0)
    return taps.weighted(image, rule(image.shape[1], width), axis=1)


def _interpolated(image: Tensor, height: int, width: int, *, mode: str, antialias: bool) -> Tensor:
    planes = image.permute(2, 0, 1).unsqueeze(0)  # NCHW with channels-last strides: nothing is copied
    resized = F.interpolate(planes, (height, width), mode=mode, align_corners=False, antialias=antialias)
    return resized[0].permute(1, 2, 0).contiguous()


def _refuse(resampling: str, interpolation: str) -> None:
    table = {str(name): known for name, known in INTERPOLATIONS.items()}
    if resampling not in table:
        raise InputError(message("resampling", received=resampling, allowed=", ".join(table)))
    allowed = ", ".join(table[resampling])
    raise InputError(message(f"interpolation of resampling {resampling!r}", received=interpolation, allowed=allowed))
