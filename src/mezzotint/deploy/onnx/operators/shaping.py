"""How are changes of shape translated? To static ones wherever at most one size is free."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.freed import FreedBatch
from mezzotint.deploy.onnx.value import Numbers, Refused, Value, checked_axis, whole


def reshape(call: Call) -> Value:
    """``Reshape``: 0 keeps a size, unless ``allowzero``; -1 is what is left."""
    x, shape, zero = call.value(0), call.numbers(1), call.flag("allowzero")
    if shape is None:
        raise Refused("its input 1 is missing")
    if call.freed is not None and isinstance(shape, list) and not (zero and 0 in shape):
        shape, zero = call.freed.target(x, shape), False
    return _reshaped(call, x, call.emit(reshaped, x, shape, zero))


def reshaped(x: Tensor, shape: Tensor | Sequence[int], zero: bool = False) -> Tensor:
    """``x`` in the shape that ONNX's rule gives."""
    wanted = whole(shape)
    if not zero:
        if any(size == 0 and axis >= x.dim() for axis, size in enumerate(wanted)):
            raise ValueError(f"the shape {wanted} keeps an axis that {list(x.shape)} lacks")
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(call: Call) -> Value:
    """``Flatten``: to a matrix, the axes before one and those from it on."""
    x = call.value(0)
    axis = call.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise Refused(f"it names the axis {axis} of {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    if axis == 1 and x.rank >= 2:
        return call.emit(nn.Flatten(), x)
    return _reshaped(call, x, call.emit(as_matrix, x, axis))


def as_matrix(x: Tensor, axis: int) -> Tensor:
    """``x`` as a matrix whose rows are the axes before ``axis``."""
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def transpose(call: Call) -> Value:
    """``Transpose``; without ``perm`` the other way round."""
    x = call.value(0)
    return call.emit(torch.permute, x, tuple(call.ints("perm") or reversed(range(x.rank))))


def squeeze(call: Call) -> Value:
    """``Squeeze``: axes from the attribute before operator set 13, from an input since then; none: all of size 1."""
    x, axes = call.value(0), call.ints("axes")
    if call.optional(1) is not None:
        axes = call.fixed(1)
    if axes is None:
        return call.emit(torch.squeeze, x)
    chosen = tuple(checked_axis(axis, x.rank) for axis in axes)
    if any(x.shape[axis] != 1 for axis in chosen):
        raise Refused(f"it takes away the axes {list(axes)} of {list(x.shape)}, whose size must be 1")
    return call.emit(torch.squeeze, x, chosen)


def unsqueeze(call: Call) -> Value:
    """``Unsqueeze``: axes likewise."""
    x, axes = call.value(0), call.ints("axes")
    if call.optional(1) is not None:
        axes = call.fixed(1)
    if not axes:
        raise Refused("it names no axes")
    rank = x.rank + len(axes)
    places = sorted(checked_axis(axis, rank) for axis in axes)
    if len(set(places)) != len(places):
        raise Refused(f"it names the axes {axes} twice")
    for axis in places:
        x = call.emit(torch.unsqueeze, x, axis)
    return x


def expand(call: Call) -> Value:
    """``Expand``: by NumPy's rule of broadcasting, both ways."""
    shape = call.numbers(1)
    if shape is None:
        raise Refused("its input 1 is missing")
    return call.emit(expanded, call.value(0), shape)


def expanded(x: Tensor, shape: Tensor | Sequence[int]) -> Tensor:
    """``x`` repeated along axes of size 1."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(whole(shape))))


def tile(call: Call) -> Value:
    """``Tile``."""
    x, repeats = call.value(0), call.numbers(1)
    if repeats is None or (isinstance(repeats, list) and len(repeats) != x.rank):
        raise Refused(f"its repeats are {repeats}; one an axis is needed")
    return call.emit(tiled, x, repeats)


def tiled(x: Tensor, repeats: Tensor | Sequence[int]) -> Tensor:
    """``x`` laid side by side."""
    return x.repeat(whole(repeats))


def concat(call: Call) -> Value:
    """``Concat``."""
    values = [call.value(place) for place in range(len(call.inputs))]
    axis = call.integer("axis", 0)
    if not values:
        raise Refused("it has no inputs")
    axis = values[0].axis(axis)
    if call.freed is not None and axis:
        values = _for_each_image(call, values, call.freed)
    return call.emit(torch.cat, values, axis)


def _for_each_image(call: Call, values: Sequence[Value], freed: FreedBatch) -> list[Value]:
    """What is constant and there once, such as a class token, is there for each image when the batch is free."""
    images = next((x for x in values if x.constant is None and freed.first_as_written(x) == 1), None)
    if images is None:
        return list(values)
    return [call.emit(once_each, x, images) if x.constant is not None and x.shape[:1] == (1,) else x for x in values]


def once_each(x: Tensor, images: Tensor) -> Tensor:
    """``x``, whose first axis has the size 1, as often as there are ``images``."""
    return x.expand(images.shape[0], *x.shape[1:])


def split(call: Call) -> Sequence[Value]:
    """``Split``: sizes from the attribute or an input, or equal parts, the last one smaller."""
    x, sizes, parts = call.value(0), call.ints("split"), call.integer("num_outputs", call.outputs)
    axis = x.axis(call.integer("axis", 0))
    if call.optional(1) is not None:
        sizes = call.fixed(1)
    count = len(sizes) if sizes else parts
    if count < call.outputs or count > 1 << 16 or count < 1 or (sizes and min(sizes) < 0):
        raise Refused(f"it makes {call.outputs} results of the sizes {sizes or f'of {parts} parts'}")
    made = call.emit(torch.split, x, sizes, axis) if sizes else call.emit(equal_parts, x, count, axis)
    return call.split(made, count)


def equal_parts(x: Tensor, count: int, axis: int) -> tuple[Tensor, ...]:
    """``count`` parts of one size along ``axis``, the last one smaller where it does not divide."""
    size = -(-x.shape[axis] // count)
    sizes = [max(0, min(size, x.shape[axis] - i * size)) for i in range(count)]
    return torch.split(x, sizes, axis)


def shape_of(call: Call) -> Value:
    """``Shape``, or some axes of it."""
    return call.emit(sizes_of, call.value(0), call.integer("start", 0), call.integer("end", 1 << 31))


def sizes_of(x: Tensor, start: int, end: int) -> Tensor:
    """int64 sizes of the axes from ``start`` to ``end``."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64, device="cpu")


def size_of(call: Call) -> Value:
    """``Size``: how many numbers there are."""
    return call.emit(count_of, call.value(0))


def count_of(x: Tensor) -> Tensor:
    """int64 number of entries."""
    return torch.tensor(x.numel(), dtype=torch.int64, device="cpu")


def constant_of_shape(call: Call) -> Value:
    """``ConstantOfShape``: float32 zeros, or another number."""
    shape, number = call.numbers(0), call.tensor("value")
    if shape is None or (number is not None and number.numel() != 1):
        raise Refused("it has no shape, or more than one value")
    value, dtype = (0.0, torch.float32) if number is None else (number.item(), number.dtype)
    if isinstance(shape, Numbers):
        return call.emit(constant_tensor, shape, value, dtype)
    return call.emit(expanded, call.constant(torch.full([1] * len(shape), value, dtype=dtype)), shape)


def constant_tensor(shape: Tensor | Sequence[int], value: float, dtype: torch.dtype) -> Tensor:
    """A tensor of one number."""
    return torch.full(whole(shape), value, dtype=dtype)


def depth_to_space(call: Call) -> Value:
    """``DepthToSpace``: blocks of channels to blocks of pixels, in one of two orders."""
    size, mode = call.integer("blocksize", 0), call.choice("mode", "DCR", ("DCR", "CRD"))
    if size < 1:
        raise Refused(f"its blocksize is {size}")
    return (
        call.emit(nn.PixelShuffle(size), call.value(0))
        if mode == "CRD"
        else call.emit(depth_first, call.value(0), size)
    )


def depth_first(x: Tensor, size: int) -> Tensor:
    """[N, size size C, H, W] to [N, C, size H, size W]; channels vary fastest within a block."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, size, size, channels // (size * size), height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * size, width * size)


def space_to_depth(call: Call) -> Value:
    """``SpaceToDepth``: the other way round, or its second order."""
    size, mode = call.integer("blocksize", 0), call.choice("mode", "DCR", ("DCR", "CRD"))
    if size < 1:
        raise Refused(f"its blocksize is {size}")
    return call.emit(to_channels, call.value(0), size, mode == "CRD")


def to_channels(x: Tensor, size: int, channels_first: bool) -> Tensor:
    """[N, C, size H, size W] to [N, size size C, H, W]."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // size, size, width // size, size)
    order = (0, 1, 3, 5, 2, 4) if channels_first else (0, 3, 5, 1, 2, 4)
    return blocks.permute(order).reshape(batch, channels * size * size, height // size, width // size)


def constant(call: Call) -> Value:
    """``Constant``, in its several spellings."""
    tensor, numbers = call.tensor("value"), call.floats("value_floats")
    ints = call.ints("value_ints")
    if tensor is not None:
        return call.constant(tensor)
    if numbers is not None:
        return call.constant(torch.tensor(numbers, dtype=torch.float32))
    if ints is not None:
        return call.constant(torch.tensor(ints, dtype=torch.int64))
    if call.has("value_float"):
        return call.constant(torch.tensor(call.real("value_float", 0.0), dtype=torch.float32))
    if call.has("value_int"):
        return call.constant(torch.tensor(call.integer("value_int", 0), dtype=torch.int64))
    raise Refused("it holds neither a tensor nor numbers")


def _reshaped(call: Call, x: Value, tried: Value) -> Value:
    """The static reshape to what was found in the trials, where at most one size is free; one row an image by name."""
    if tried.constant is not None:
        return tried
    shape = tried.shape
    if x.rank >= 2 and len(shape) == 2 and shape[0] is None and shape[1]:
        sizes = [(before.shape[0], after.shape[0]) for before, after in zip(x.samples, tried.samples, strict=True)]
        if all(before == after for before, after in sizes):
            return call.emit(nn.Flatten(), x)
    if shape.count(None) > 1 or 0 in shape:
        return tried
    return call.emit(torch.reshape, x, tuple(-1 if size is None else size for size in shape))


OPERATORS: Final[dict[str, Callable[[Call], Value | Sequence[Value]]]] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Tile": tile,
    "Concat": concat,
    "Split": split,
    "Shape": shape_of,
    "Size": size_of,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
