"""How are images resized by ONNX's many rules? Each axis by a few taps an output; PyTorch's own where it has the rule.

An output at ``i`` looks at the coordinate that ``coordinate_transformation_mode`` gives for it; ``mode`` says which
inputs near it count, and how much. Source: https://onnx.ai/onnx/operators/onnx__Resize.html and its reference code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.value import Refused, Value, checked_axis, whole

_COORDINATES: Final = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
_NEAREST: Final[dict[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
_POLICIES: Final = ("stretch", "not_larger", "not_smaller")
_MOST: Final = 1 << 20

Rule = tuple[str, str, str, float, bool, bool]
"""(mode, coordinates, nearest, cubic coefficient, antialias, whether what lies outside is left out)."""


def resize(call: Call) -> Value:
    """``Resize`` of operator set 10 and later."""
    x = call.value(0)
    mode = call.choice("mode", "nearest", ("nearest", "linear", "cubic"))
    if call.opset < 11:
        return _resized(call, x, 1, None, None, (mode, "asymmetric", "floor", -0.75, False, False), "stretch")
    coordinates = call.choice("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    nearest = call.choice("nearest_mode", "round_prefer_floor", tuple(_NEAREST))
    cubic, outside = call.real("cubic_coeff_a", -0.75), call.flag("exclude_outside")
    antialias, policy = call.flag("antialias"), call.choice("keep_aspect_ratio_policy", "stretch", _POLICIES)
    call.real("extrapolation_value", 0.0)  # of a mode that is refused
    axes = call.ints("axes")
    rule = (mode, coordinates, nearest, cubic, antialias, outside)
    return _resized(call, x, 2, 3, axes, rule, policy)


def upsample(call: Call) -> Value:
    """``Upsample`` of operator sets 7 to 9, ``Resize``'s forerunner."""
    x, mode = call.value(0), call.choice("mode", "nearest", ("nearest", "linear"))
    scales = call.floats("scales") if call.opset < 9 else call.const(1).double().reshape(-1).tolist()
    if scales is None or len(scales) != x.rank:
        raise Refused(f"its scales are {scales}; one an axis is needed")
    return _by_scales(call, x, list(range(x.rank)), scales, (mode, "asymmetric", "floor", -0.75, False, False))


def _resized(
    call: Call, x: Value, scales_at: int, sizes_at: int | None, axes: list[int] | None, rule: Rule, policy: str
) -> Value:
    chosen = [checked_axis(axis, x.rank) for axis in axes] if axes is not None else list(range(x.rank))
    sizes = None if sizes_at is None else call.numbers(sizes_at)
    if sizes is not None:
        if isinstance(sizes, list) and len(sizes) != len(chosen):
            raise Refused(f"its sizes are {sizes}; one for each of {len(chosen)} axes is needed")
        return call.emit(resized_to, x, sizes, tuple(chosen), rule, policy)
    scales = call.const(scales_at).double().reshape(-1).tolist()
    if len(scales) != len(chosen):
        raise Refused(f"its scales are {scales}; one for each of {len(chosen)} axes is needed")
    return _by_scales(call, x, chosen, scales, rule)


def _by_scales(call: Call, x: Value, axes: list[int], scales: list[float], rule: Rule) -> Value:
    if not all(math.isfinite(scale) and 0 < scale < _MOST for scale in scales):
        raise Refused(f"its scales are {scales}")
    grown = {axis: scale for axis, scale in zip(axes, scales, strict=True) if scale != 1.0}
    if not grown:
        return x
    known = _known(rule, grown)
    if known is not None and x.rank == 4 and set(grown) <= {2, 3} and x.dtype is torch.float32:
        factors = (grown.get(2, 1.0), grown.get(3, 1.0))
        return call.emit(nn.Upsample(scale_factor=factors, **known), x)
    return call.emit(resized_by, x, tuple(grown.values()), tuple(grown), rule)


def _known(rule: Rule, grown: dict[int, float]) -> dict[str, Any] | None:
    """The settings of ``nn.Upsample`` that mean the same, if there are any."""
    mode, coordinates, nearest, _, antialias, _ = rule
    whole_numbers = all(scale == int(scale) for scale in grown.values())
    if antialias or not whole_numbers:
        return None
    if mode == "nearest" and coordinates == "asymmetric" and nearest == "floor":
        return {"mode": "nearest"}
    if mode == "linear" and coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"):
        return {"mode": "bilinear", "align_corners": False}
    return {"mode": "bilinear", "align_corners": True} if (mode, coordinates) == ("linear", "align_corners") else None


def resized_by(x: Tensor, scales: Sequence[float], axes: Sequence[int], rule: Rule) -> Tensor:
    """``x`` with ``axes`` ``scales`` times as long, rounded down."""
    sizes = [math.floor(x.shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True)]
    return _run(x, axes, sizes, scales, rule)


def resized_to(x: Tensor, sizes: Tensor | Sequence[int], axes: Sequence[int], rule: Rule, policy: str) -> Tensor:
    """``x`` with ``axes`` of these sizes, or of sizes near them in the proportions of ``x``."""
    wanted = whole(sizes)
    lengths = [x.shape[axis] for axis in axes]
    scales = [size / max(length, 1) for size, length in zip(wanted, lengths, strict=True)]
    if policy != "stretch":
        scale = min(scales) if policy == "not_larger" else max(scales)
        wanted = [math.floor(scale * length + 0.5) for length in lengths]
        scales = [scale] * len(lengths)
    return _run(x, axes, wanted, scales, rule)


def _run(x: Tensor, axes: Sequence[int], sizes: Sequence[int], scales: Sequence[float], rule: Rule) -> Tensor:
    exact = x if x.is_floating_point() or rule[0] == "nearest" else x.float()
    for axis, size, scale in zip(axes, sizes, scales, strict=True):
        if not 0 <= size <= _MOST:
            raise ValueError(f"an axis of {size} entries")
        if size != x.shape[axis] or scale != 1.0:
            exact = _axis(exact, axis, *taps(x.shape[axis], size, scale, rule))
    return exact.to(x.dtype)


def _axis(x: Tensor, axis: int, places: NDArray[Any], weights: NDArray[Any]) -> Tensor:
    """Sum of the taps along one axis."""
    shape = [1] * x.dim()
    shape[axis] = len(places)
    y: Tensor | None = None
    for place, weight in zip(places.T, weights.T, strict=True):
        picked = x.index_select(axis, torch.from_numpy(np.ascontiguousarray(place)).to(x.device))
        if len(weights.T) > 1:
            picked = picked * torch.from_numpy(np.ascontiguousarray(weight)).to(x).reshape(shape)
        y = picked if y is None else y + picked
    return x if y is None else y


def taps(length: int, size: int, scale: float, rule: Rule) -> tuple[NDArray[Any], NDArray[Any]]:
    """int64 places and float64 weights [size, taps] for one axis from ``length`` to ``size`` entries."""
    mode, coordinates, nearest, cubic, antialias, outside = rule
    at = _coordinates(length, size, scale, coordinates)
    if mode == "nearest":
        places = np.clip(_NEAREST[nearest](at), 0, max(length - 1, 0)).astype(np.int64)
        return places[:, None], np.ones((size, 1))
    reach = 1 if mode == "linear" else 2
    shrink = min(scale, 1.0) if antialias else 1.0
    reach = math.ceil(reach / shrink)
    first = np.floor(at).astype(np.int64) - reach + 1
    places = first[:, None] + np.arange(2 * reach)
    distance = (places - at[:, None]) * shrink
    weights = _triangle(distance) if mode == "linear" else _cubic(distance, cubic)
    if outside or (antialias and mode == "linear") or antialias:
        inside = (places >= 0) & (places < length)
        weights = np.where(inside, weights, 0.0) if outside else weights
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(places, 0, max(length - 1, 0)), weights


def _coordinates(length: int, size: int, scale: float, mode: str) -> NDArray[Any]:
    out = np.arange(size, dtype=np.float64)
    if mode == "asymmetric":
        return out / scale
    if mode == "align_corners":
        return out * ((length - 1) / (size - 1)) if size > 1 else np.zeros(size)
    if mode == "pytorch_half_pixel" and size == 1:
        return np.full(size, -0.5)
    centred = (out + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":  # about the image's centre, also where the size was rounded
        adjustment = size / (scale * length) if length else 1.0
        return length / 2 * (1 - adjustment) + centred
    return centred


def _triangle(x: NDArray[Any]) -> NDArray[Any]:
    weights: NDArray[Any] = np.maximum(0.0, 1.0 - np.abs(x))
    return weights


def _cubic(x: NDArray[Any], a: float) -> NDArray[Any]:
    """Keys' kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    weights: NDArray[Any] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return weights


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {"Resize": resize, "Upsample": upsample}
