"""Which parts of a network can be written to ONNX, and as which operators? Two tables: modules, and calls."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from mezzotint.deploy.onnx.writer import GraphWriter

_END: Final = 1 << 62


class Refused(Exception):
    """A part has no counterpart; the message is the reason, without a full stop. Never leaves this room."""


ModuleWriter = Callable[["GraphWriter", fx.Node, Any, str], str]
CallWriter = Callable[["GraphWriter", fx.Node], str]


def _conv(out: GraphWriter, node: fx.Node, layer: Any, name: str) -> str:
    x = out.read(node.args[0])
    axes = len(layer.kernel_size)
    padding: Any = layer.padding
    if isinstance(padding, str):
        spans = [(k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        same = padding == "same"
        pads = [s // 2 if same else 0 for s in spans] + [s - s // 2 if same else 0 for s in spans]
    else:
        pads = [*padding, *padding]
    if layer.padding_mode != "zeros":
        mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[layer.padding_mode]
        if mode == "wrap":
            raise Refused("ONNX wraps around since operator set 19 only; its padding mode is 'circular'")
        around = [0, 0, *pads[:axes], 0, 0, *pads[axes:]]
        x, pads = out.add("Pad", x, out.number(torch.tensor(around)), mode=mode), [0] * (2 * axes)
    inputs = [x, out.weight(f"{name}.weight", layer.weight), *_bias(out, layer, name)]
    shape = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "dilations": layer.dilation}
    if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return out.add("Conv", *inputs, **shape, pads=pads, group=layer.groups)
    extra = layer.output_padding
    return out.add("ConvTranspose", *inputs, **shape, pads=pads, group=layer.groups, output_padding=extra)


def _linear(out: GraphWriter, node: fx.Node, layer: nn.Linear, name: str) -> str:
    x, rank = out.read(node.args[0]), len(out.shape(node))
    if rank == 2:
        return out.add("Gemm", x, out.weight(f"{name}.weight", layer.weight), *_bias(out, layer, name), transB=1)
    turned = out.add("Transpose", out.weight(f"{name}.weight", layer.weight), perm=[1, 0])
    y = out.add("MatMul", x, turned)
    return y if layer.bias is None else out.add("Add", y, *_bias(out, layer, name))


def _batch_norm(out: GraphWriter, node: fx.Node, norm: Any, name: str) -> str:
    if norm.running_mean is None or norm.running_var is None:
        raise Refused("it uses the statistics of the batch")
    ones = torch.ones_like(norm.running_mean)
    parts = {
        "weight": ones if norm.weight is None else norm.weight,
        "bias": torch.zeros_like(ones) if norm.bias is None else norm.bias,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
    }
    weights = [out.weight(f"{name}.{key}", tensor) for key, tensor in parts.items()]
    return out.add("BatchNormalization", out.read(node.args[0]), *weights, epsilon=float(norm.eps))


def _layer_norm(out: GraphWriter, node: fx.Node, norm: nn.LayerNorm, name: str) -> str:
    ones = torch.ones(norm.normalized_shape)
    parts = [out.weight(f"{name}.weight", ones if norm.weight is None else norm.weight), *_bias(out, norm, name)]
    axis = -len(norm.normalized_shape)
    return out.add("LayerNormalization", out.read(node.args[0]), *parts, axis=axis, epsilon=float(norm.eps))


def _prelu(out: GraphWriter, node: fx.Node, layer: nn.PReLU, name: str) -> str:
    slope = layer.weight.reshape(-1, *[1] * (len(out.shape(node)) - 2))
    return out.add("PRelu", out.read(node.args[0]), out.weight(f"{name}.weight", slope))


def _max_pool(out: GraphWriter, node: fx.Node, pool: Any, name: str) -> str:
    if pool.return_indices:
        raise Refused("it returns indices")
    window = _window(out, node, pool)
    dilation = _each(pool.dilation, len(window["kernel_shape"]))
    return out.add("MaxPool", out.read(node.args[0]), **window, dilations=dilation)


def _average_pool(out: GraphWriter, node: fx.Node, pool: Any, name: str) -> str:
    if getattr(pool, "divisor_override", None) is not None:
        raise Refused("it has a divisor of its own")
    counts = pool.count_include_pad
    return out.add("AveragePool", out.read(node.args[0]), **_window(out, node, pool), count_include_pad=counts)


def _adaptive(out: GraphWriter, node: fx.Node, pool: Any, name: str, *, kind: str) -> str:
    """To one number, or to sizes that divide those of the input."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    sizes, wanted = out.shape(x)[2:], out.shape(node)[2:]
    if all(size == 1 for size in wanted):
        return out.add(f"Global{kind}Pool", out.read(x))
    if -1 in sizes or any(size % want for size, want in zip(sizes, wanted, strict=True)):
        raise Refused(f"it pools {list(sizes)} to {list(wanted)}, which does not divide it")
    steps = [size // want for size, want in zip(sizes, wanted, strict=True)]
    return out.add(f"{kind}Pool", out.read(x), kernel_shape=steps, strides=steps)


def _upsample(out: GraphWriter, node: fx.Node, layer: nn.Upsample, name: str) -> str:
    return _resized(out, node, layer.mode, bool(layer.align_corners))


def _resized(out: GraphWriter, node: fx.Node, mode: str, align_corners: bool) -> str:
    if mode not in ("nearest", "bilinear", "linear", "trilinear", "bicubic"):
        raise Refused(f"its mode is {mode!r}")
    x = node.args[0]
    assert isinstance(x, fx.Node)
    if out.shape(x)[1] == -1:
        raise Refused("its channels depend on the batch")
    scales = torch.tensor([1.0, 1.0, *out.scales(node, x)])
    rule: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if mode != "nearest":
        coordinates = "align_corners" if align_corners else "pytorch_half_pixel"
        kind = "cubic" if mode == "bicubic" else "linear"
        rule = {"mode": kind, "coordinate_transformation_mode": coordinates}
    return out.add("Resize", out.read(x), "", out.number(scales), **rule)


def _padding(out: GraphWriter, node: fx.Node, layer: Any, name: str, *, mode: str) -> str:
    return _padded(out, node, layer.padding, mode, float(getattr(layer, "value", 0.0)))


def _padded(out: GraphWriter, node: fx.Node, sides: Sequence[int], mode: str, value: float) -> str:
    """``sides`` as ``F.pad`` takes them, the last axis first."""
    rank = len(out.shape(node))
    begin, end = [0] * rank, [0] * rank
    for place in range(len(sides) // 2):
        begin[rank - 1 - place], end[rank - 1 - place] = int(sides[2 * place]), int(sides[2 * place + 1])
    inputs = [out.read(node.args[0]), out.number(torch.tensor(begin + end))]
    return out.add("Pad", *inputs, *([out.number(torch.tensor(value))] if mode == "constant" else []), mode=mode)


def _gelu(out: GraphWriter, node: fx.Node, layer: nn.GELU, name: str) -> str:
    if layer.approximate != "none":
        raise Refused("ONNX has its approximation since operator set 20 only")
    x = out.read(node.args[0])
    curve = out.add("Erf", out.add("Mul", x, out.number(torch.tensor(math.sqrt(0.5)))))
    grown = out.add("Add", curve, out.number(torch.tensor(1.0)))
    return out.add("Mul", out.add("Mul", x, out.number(torch.tensor(0.5))), grown)


def _silu(out: GraphWriter, node: fx.Node, layer: nn.Module, name: str) -> str:
    x = out.read(node.args[0])
    return out.add("Mul", x, out.add("Sigmoid", x))


def _mish(out: GraphWriter, node: fx.Node, layer: nn.Module, name: str) -> str:
    x = out.read(node.args[0])
    return out.add("Mul", x, out.add("Tanh", out.add("Softplus", x)))


def _softplus(out: GraphWriter, node: fx.Node, layer: nn.Softplus, name: str) -> str:
    if layer.beta != 1:
        raise Refused(f"its beta is {layer.beta}")
    return out.add("Softplus", out.read(node.args[0]))


def _hardtanh(out: GraphWriter, node: fx.Node, layer: nn.Hardtanh, name: str) -> str:
    bounds = [out.number(torch.tensor(float(bound))) for bound in (layer.min_val, layer.max_val)]
    return out.add("Clip", out.read(node.args[0]), *bounds)


def _softmax(out: GraphWriter, node: fx.Node, layer: Any, name: str, *, op: str) -> str:
    return out.add(op, out.read(node.args[0]), axis=1 if layer.dim is None else layer.dim)


def _flatten(out: GraphWriter, node: fx.Node, layer: nn.Flatten, name: str) -> str:
    return _to_shape(out, node)


def _pass(out: GraphWriter, node: fx.Node, layer: nn.Module, name: str) -> str:
    return out.read(node.args[0])


def _shuffle(out: GraphWriter, node: fx.Node, layer: nn.PixelShuffle, name: str) -> str:
    return out.add("DepthToSpace", out.read(node.args[0]), blocksize=layer.upscale_factor, mode="CRD")


def _plain(out: GraphWriter, node: fx.Node, layer: Any, name: str, *, op: str, **settings: str) -> str:
    """An operator of the same rule; ``settings``: its attribute -> the module's."""
    values: dict[str, Any] = {key: float(getattr(layer, own)) for key, own in settings.items()}
    return out.add(op, out.read(node.args[0]), **values)


def _hard_sigmoid(out: GraphWriter, node: fx.Node, layer: nn.Module, name: str) -> str:
    return out.add("HardSigmoid", out.read(node.args[0]), alpha=1 / 6, beta=0.5)


MODULES: Final[dict[type[nn.Module], ModuleWriter]] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _conv),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average_pool),
    **dict.fromkeys(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), partial(_adaptive, kind="Average")
    ),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), partial(_adaptive, kind="Max")),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity), _pass),
    **dict.fromkeys((nn.ReLU6, nn.Hardtanh), _hardtanh),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), _upsample),
    **dict.fromkeys((nn.ZeroPad2d, nn.ConstantPad2d), partial(_padding, mode="constant")),
    nn.ReflectionPad2d: partial(_padding, mode="reflect"),
    nn.ReplicationPad2d: partial(_padding, mode="edge"),
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.ReLU: partial(_plain, op="Relu"),
    nn.LeakyReLU: partial(_plain, op="LeakyRelu", alpha="negative_slope"),
    nn.ELU: partial(_plain, op="Elu", alpha="alpha"),
    nn.CELU: partial(_plain, op="Celu", alpha="alpha"),
    nn.SELU: partial(_plain, op="Selu"),
    nn.PReLU: _prelu,
    nn.Sigmoid: partial(_plain, op="Sigmoid"),
    nn.Hardsigmoid: _hard_sigmoid,
    nn.Hardswish: partial(_plain, op="HardSwish"),
    nn.SiLU: _silu,
    nn.Mish: _mish,
    nn.GELU: _gelu,
    nn.Tanh: partial(_plain, op="Tanh"),
    nn.Softplus: _softplus,
    nn.Softmax: partial(_softmax, op="Softmax"),
    nn.LogSoftmax: partial(_softmax, op="LogSoftmax"),
    nn.Flatten: _flatten,
    nn.PixelShuffle: _shuffle,
}
"""Type of a module -> how it is written: (writer, node, module, its dotted name) -> name of the result."""


def _two(out: GraphWriter, node: fx.Node, *, op: str) -> str:
    if len(node.args) != 2 or node.kwargs:
        raise Refused("it is more than arithmetic on two operands")
    return out.add(op, *(out.read(value, node) for value in node.args))


def _one(out: GraphWriter, node: fx.Node, *, op: str) -> str:
    return out.add(op, out.read(node.args[0]))


def _to_shape(out: GraphWriter, node: fx.Node) -> str:
    """Any change of shape that keeps the order of the numbers."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    return out.add("Reshape", out.read(x), out.number(torch.tensor(out.target(node, x))))


def _as_module(out: GraphWriter, node: fx.Node, *, make: Callable[..., nn.Module], names: str = "") -> str:
    """A call as the module that it stands for; ``names`` are those of the call's arguments after the tensor."""
    given = dict(zip(names.split(), node.args[1:], strict=False)) | dict(node.kwargs)
    if any(isinstance(value, fx.Node) for value in given.values()) or len(node.args) - 1 > len(names.split()):
        raise Refused("its arguments are not known before it runs")
    kept = {key: value for key, value in given.items() if key in names.split()}
    module = make(**kept)
    return MODULES[type(module)](out, node, module, node.name)


def _permute(out: GraphWriter, node: fx.Node) -> str:
    order = node.args[1:] if isinstance(node.args[1], int) else tuple(node.args[1])  # type: ignore[arg-type]
    rank = len(out.shape(node))
    return out.add("Transpose", out.read(node.args[0]), perm=[int(axis) % rank for axis in order])  # type: ignore[arg-type]


def _transpose(out: GraphWriter, node: fx.Node) -> str:
    rank = len(out.shape(node))
    order = list(range(rank))
    first, second = (int(axis) % rank for axis in node.args[1:3])  # type: ignore[arg-type]
    order[first], order[second] = second, first
    return out.add("Transpose", out.read(node.args[0]), perm=order)


def _cat(out: GraphWriter, node: fx.Node) -> str:
    axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    values: Any = node.args[0]
    return out.add("Concat", *(out.read(value) for value in values), axis=axis)


def _mean(out: GraphWriter, node: fx.Node) -> str:
    axes: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    keep = bool(node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False))
    if axes is None or "dtype" in node.kwargs:
        raise Refused("it averages everything, the batch too")
    return out.add("ReduceMean", out.read(node.args[0]), axes=[axes] if isinstance(axes, int) else axes, keepdims=keep)


def _pad(out: GraphWriter, node: fx.Node) -> str:
    given: dict[str, Any] = dict(zip(("pad", "mode", "value"), node.args[1:], strict=False)) | dict(node.kwargs)
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    if given.get("mode", "constant") not in modes or any(isinstance(side, fx.Node) for side in given["pad"]):
        raise Refused(f"its mode is {given.get('mode')!r}, or its sizes are computed")
    return _padded(out, node, given["pad"], modes[given.get("mode", "constant")], float(given.get("value") or 0.0))


def _interpolate(out: GraphWriter, node: fx.Node) -> str:
    if node.kwargs.get("antialias"):
        raise Refused("it is antialiased")
    return _resized(out, node, str(node.kwargs.get("mode", "nearest")), bool(node.kwargs.get("align_corners")))


def _getitem(out: GraphWriter, node: fx.Node) -> str:
    """Slices with whole numbers, and single entries."""
    places: Any = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if not all(isinstance(one, slice | int) for one in places):
        raise Refused("it is indexed with more than slices and whole numbers")
    starts: list[int] = []
    ends: list[int] = []
    steps: list[int] = []
    axes: list[int] = []
    single: list[int] = []
    for axis, place in enumerate(places):
        if isinstance(place, int):
            place, single = slice(place, place + 1 or None), [*single, axis]
        ends_known = (place.start or 0, _END if place.stop is None else place.stop, place.step or 1)
        if any(isinstance(number, fx.Node) for number in ends_known) or ends_known[2] < 1:
            raise Refused("its slices are computed, or go backwards")
        if ends_known != (0, _END, 1):
            axes.append(axis)
            for numbers, number in zip((starts, ends, steps), ends_known, strict=True):
                numbers.append(number)
    name = out.read(node.args[0])
    if axes:
        name = out.add("Slice", name, *(out.number(torch.tensor(numbers)) for numbers in (starts, ends, axes, steps)))
    return out.add("Squeeze", name, out.number(torch.tensor(single))) if single else name


_POOL: Final = "kernel_size stride padding"
CALLS: Final[dict[Any, CallWriter]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), partial(_two, op="Add")),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), partial(_two, op="Sub")),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), partial(_two, op="Mul")),
    **dict.fromkeys((operator.truediv, torch.div, "div"), partial(_two, op="Div")),
    **dict.fromkeys((torch.matmul, operator.matmul, "matmul"), partial(_two, op="MatMul")),
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), partial(_one, op="Relu")),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), partial(_one, op="Sigmoid")),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh"), partial(_one, op="Tanh")),
    **dict.fromkeys((torch.exp, "exp"), partial(_one, op="Exp")),
    **dict.fromkeys((torch.sqrt, "sqrt"), partial(_one, op="Sqrt")),
    **dict.fromkeys((torch.abs, "abs"), partial(_one, op="Abs")),
    **dict.fromkeys((torch.flatten, torch.reshape, "flatten", "reshape", "view"), _to_shape),
    **dict.fromkeys((torch.squeeze, torch.unsqueeze, "squeeze", "unsqueeze"), _to_shape),
    **dict.fromkeys((torch.permute, "permute"), _permute),
    **dict.fromkeys((torch.transpose, "transpose"), _transpose),
    **dict.fromkeys((torch.cat, "cat", "concat"), _cat),
    **dict.fromkeys((torch.mean, "mean"), _mean),
    "contiguous": lambda out, node: out.read(node.args[0]),
    F.dropout: lambda out, node: out.read(node.args[0]),
    F.relu6: partial(_as_module, make=nn.ReLU6),
    F.silu: partial(_as_module, make=nn.SiLU),
    F.hardswish: partial(_as_module, make=nn.Hardswish),
    F.hardsigmoid: partial(_as_module, make=nn.Hardsigmoid),
    F.leaky_relu: partial(_as_module, make=nn.LeakyReLU, names="negative_slope"),
    F.elu: partial(_as_module, make=nn.ELU, names="alpha"),
    F.gelu: partial(_as_module, make=nn.GELU, names="approximate"),
    F.mish: partial(_as_module, make=nn.Mish),
    F.softplus: partial(_as_module, make=nn.Softplus, names="beta threshold"),
    F.softmax: partial(_as_module, make=nn.Softmax, names="dim"),
    torch.softmax: partial(_as_module, make=nn.Softmax, names="dim"),
    F.log_softmax: partial(_as_module, make=nn.LogSoftmax, names="dim"),
    F.max_pool2d: partial(_as_module, make=nn.MaxPool2d, names=f"{_POOL} dilation ceil_mode return_indices"),
    F.avg_pool2d: partial(_as_module, make=nn.AvgPool2d, names=f"{_POOL} ceil_mode count_include_pad divisor_override"),
    F.adaptive_avg_pool2d: partial(_as_module, make=nn.AdaptiveAvgPool2d, names="output_size"),
    F.adaptive_max_pool2d: partial(_as_module, make=nn.AdaptiveMaxPool2d, names="output_size"),
    F.pad: _pad,
    F.interpolate: _interpolate,
    operator.getitem: _getitem,
}
"""Function, or name of a tensor's method -> how the call is written: (writer, node) -> name of the result."""


def _bias(out: GraphWriter, layer: Any, name: str) -> list[str]:
    bias: Tensor | None = layer.bias
    return [] if bias is None else [out.weight(f"{name}.bias", bias)]


def _window(out: GraphWriter, node: fx.Node, pool: Any) -> dict[str, Any]:
    axes = len(out.shape(node)) - 2
    kernel, padding = _each(pool.kernel_size, axes), _each(pool.padding, axes)
    stride = kernel if pool.stride is None else _each(pool.stride, axes)
    return {"kernel_shape": kernel, "strides": stride, "pads": padding * 2, "ceil_mode": bool(pool.ceil_mode)}


def _each(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(one) for one in value]
