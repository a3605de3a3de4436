"""How is an image resized? In the arithmetic of one of four libraries, each with the interpolations that it has.

``"pillow"``: nearest, box, bilinear, hamming, bicubic, lanczos
    Antialiased (but for nearest), bit-exact with Pillow 13, by the native library at several times its speed, and in
    part where not all of the result is wanted. Float images, which Pillow does not have in colour, are resized channel
    by channel without rounding. (PyTorch's own antialiased resize of uint8 has weights of 16 bits: it is within a level
    of these values on photographs, and nobody's reference.)
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
from mezzotint.kernels import images
from mezzotint.kernels.images import FILTERS, Size

Resampling: TypeAlias = Literal["pillow", "tensorflow", "tensorflow1", "opencv"]
Interpolation: TypeAlias = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "area"]

INTERPOLATIONS: dict[Resampling, tuple[Interpolation, ...]] = {
    "pillow": ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"),
    "tensorflow": ("nearest", "bilinear", "bicubic"),
    "tensorflow1": ("bilinear",),
    "opencv": ("area",),
}
"""What each way of resampling can interpolate with."""


def resize(
    image: Tensor, height: int, width: int, *, resampling: Resampling, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Resize an image [H, W, 1 or 3] to [height, width, 1 or 3].

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
    size, to = Size(image.shape[0], image.shape[1]), Size(height, width)
    if resizes_in_part(resampling, interpolation) and image.dtype == torch.uint8:
        return images.resize(image, to, to.whole, resampling_filter=interpolation, held=size.whole, size=size)
    return _pillow(image, height, width, Image.Resampling[interpolation.upper()])


def resizes_in_part(resampling: Resampling, interpolation: Interpolation) -> bool:
    """Whether uint8 images are resized by the native library, which computes any part of the result from a part."""
    return resampling == "pillow" and interpolation in FILTERS


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
        return _interpolated(image, height, width)
    rule = taps.cubic if interpolation == "bicubic" else taps.linear_from_the_corner
    image = taps.weighted(image, rule(image.shape[0], height), axis=0)
    return taps.weighted(image, rule(image.shape[1], width), axis=1)


def _interpolated(image: Tensor, height: int, width: int) -> Tensor:
    planes = image.permute(2, 0, 1).unsqueeze(0)  # NCHW with channels-last strides: nothing is copied
    resized = F.interpolate(planes, (height, width), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).contiguous()


def _refuse(resampling: str, interpolation: str) -> None:
    table = {str(name): known for name, known in INTERPOLATIONS.items()}
    if resampling not in table:
        raise InputError(message("resampling", received=resampling, allowed=", ".join(table)))
    allowed = ", ".join(table[resampling])
    raise InputError(message(f"interpolation of resampling {resampling!r}", received=interpolation, allowed=allowed))
