"""How are parts of tensors taken? Slices, gathered entries, and what is laid around a tensor from itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.value import Numbers, Refused, Value, checked_axis, whole

_MODES: Final = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def gather(call: Call) -> Value:
    """``Gather``: whole slices along one axis; negative indices count from the end."""
    x, indices = call.value(0), call.value(1)
    axis = x.axis(call.integer("axis", 0))
    _check_places(indices, x.shape[axis])
    if indices.constant is not None and indices.rank == 0:
        return call.emit(torch.select, x, axis, int(indices.constant))
    return call.emit(gathered, x, indices, axis)


def gathered(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Slices of ``x`` at ``indices``, whose axes stand where ``axis`` stood."""
    flat = indices.reshape(-1).long()
    found = torch.index_select(x, axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _check_places(indices: Value, size: int | None) -> None:
    """Constant indices must lie within an axis whose size is known; others are checked by PyTorch in each run."""
    if indices.dtype not in (torch.int32, torch.int64):
        raise Refused(f"its indices are {indices.dtype}")
    if indices.constant is not None and indices.constant.numel() and size is not None:
        low, high = int(indices.constant.min()), int(indices.constant.max())
        if not -size <= low <= high < size:
            raise Refused(f"it takes the entries {low} to {high} of {size}")


def gather_elements(call: Call) -> Value:
    """``GatherElements``."""
    x, indices = call.value(0), call.value(1)
    axis = x.axis(call.integer("axis", 0))
    _check_places(indices, x.shape[axis])
    return call.emit(gathered_elements, x, indices, axis)


def gathered_elements(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Single entries along ``axis``."""
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices).long())


def slice_(call: Call) -> Value:
    """``Slice``: from attributes before operator set 10, from inputs since then; steps may be negative."""
    x = call.value(0)
    axes: list[int] | None
    if call.opset < 10:
        starts, ends, axes = call.ints("starts"), call.ints("ends"), call.ints("axes")
        steps: list[int] | None = None
    else:
        axes, steps = call.fixed(3), call.fixed(4)
        return _sliced(call, x, call.numbers(1), call.numbers(2), axes, steps)
    return _sliced(call, x, starts, ends, axes, steps)


def sliced(
    x: Tensor, starts: Tensor | Sequence[int], ends: Tensor | Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> Tensor:
    """``x[..., start:end:step, ...]`` on each of ``axes``, by Python's rule."""
    for start, end, axis, step in zip(whole(starts), whole(ends), axes, steps, strict=True):
        size = x.shape[axis]
        # For a negative step Python takes an end below -size as "down to the first", and so does ONNX.
        first, last, _ = slice(start, end, step).indices(size)
        if step > 0:
            x = x[(slice(None),) * axis + (slice(first, max(first, last), step),)]
        else:
            x = x.index_select(axis, torch.arange(first, min(first, last), step, device=x.device))
    return x


def pad(call: Call) -> Value:
    """``Pad``: with a number, or with what lies near the edge."""
    x, mode = call.value(0), call.choice("mode", "constant", ("constant", *_MODES))
    axes, number = call.fixed(3), 0.0
    if call.opset < 11:
        pads: list[int] | Numbers | None = call.ints("pads")
        number = call.real("value", 0.0)
    else:
        pads = call.numbers(1)
        if call.optional(2) is not None:
            number = call.scalar(2)
    chosen = [checked_axis(axis, x.rank) for axis in axes] if axes is not None else list(range(x.rank))
    if pads is None or (isinstance(pads, list) and len(pads) != 2 * len(chosen)):
        raise Refused(f"its pads are {pads}; two for each of {len(chosen)} axes are needed")
    if isinstance(pads, list) and any(abs(side) > 1 << 31 for side in pads):
        raise Refused(f"its pads are {pads}")
    if isinstance(pads, list) and mode in ("reflect", "edge") and _is_image(x, chosen, pads):
        return call.emit(_image_padding(mode, chosen, pads), x)
    if mode == "constant":
        return call.emit(padded, x, pads, tuple(chosen), number)
    return call.emit(padded_by_itself, x, pads, tuple(chosen), mode)


def padded(x: Tensor, pads: Tensor | Sequence[int], axes: Sequence[int], number: float) -> Tensor:
    """``number`` before and behind ``axes``; negative pads cut off."""
    sizes = whole(pads)
    each = [(0, 0)] * x.dim()
    for place, axis in enumerate(axes):
        each[axis] = (sizes[place], sizes[len(axes) + place])
    return F.pad(x, [side for pair in reversed(each) for side in pair], "constant", number)


def padded_by_itself(x: Tensor, pads: Tensor | Sequence[int], axes: Sequence[int], mode: str) -> Tensor:
    """Mirrored, edge or wrapped numbers before and behind ``axes``; negative pads cut off."""
    sizes = whole(pads)
    for place, axis in enumerate(axes):
        before, behind = sizes[place], sizes[len(axes) + place]
        size = x.shape[axis]
        if before + behind + size > 1 << 24 or (size == 0 and max(before, behind) > 0):
            raise ValueError(f"pads of {before} and {behind} around {size} entries")
        places = np.pad(np.arange(size), (max(before, 0), max(behind, 0)), _MODES[mode])  # type: ignore[call-overload]
        places = places[max(-before, 0) : len(places) - max(-behind, 0)]
        x = x.index_select(axis, torch.from_numpy(places).to(x.device))
    return x


def _is_image(x: Value, axes: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether PyTorch's module pads it: an image whose last two axes alone are concerned."""
    count = len(axes)
    touched = {axis for place, axis in enumerate(axes) if pads[place] or pads[count + place]}
    return x.rank == 4 and touched <= {2, 3} and min(pads) >= 0 and x.dtype is torch.float32


def _image_padding(mode: str, axes: Sequence[int], pads: Sequence[int]) -> nn.Module:
    sides = {axis: (pads[place], pads[len(axes) + place]) for place, axis in enumerate(axes)}
    around = (*sides.get(3, (0, 0)), *sides.get(2, (0, 0)))
    return nn.ReflectionPad2d(around) if mode == "reflect" else nn.ReplicationPad2d(around)


def _sliced(
    call: Call,
    x: Value,
    starts: list[int] | Numbers | None,
    ends: list[int] | Numbers | None,
    axes: list[int] | None,
    steps: list[int] | None,
) -> Value:
    if starts is None or ends is None:
        raise Refused("it lacks starts or ends")
    count = len(axes) if axes is not None else _count(starts)
    chosen = [checked_axis(axis, x.rank) for axis in axes] if axes is not None else list(range(count))
    steps = steps if steps is not None else [1] * count
    if not len(chosen) == len(steps) == _count(starts) == _count(ends) or 0 in steps or len(chosen) > x.rank:
        raise Refused(f"its starts, ends, axes and steps do not go together (steps {steps}, axes {axes})")
    return call.emit(sliced, x, starts, ends, tuple(chosen), tuple(steps))


def _count(numbers: list[int] | Numbers) -> int:
    return len(numbers) if isinstance(numbers, list) else int(numbers.value.samples[0].numel())


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "Slice": slice_,
    "Pad": pad,
}
