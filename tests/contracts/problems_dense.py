"""Which problems are the dense operators of any rank put to? Convolution, pooling, normalisation, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mezzotint.kernels.geometry import effective_kernel, output_size, transposed_output_size

Draw = tuple[tuple[Tensor | None, ...], dict[str, Any]]
Maker = Callable[[random.Random, torch.Generator, torch.dtype], Draw]


@dataclass(frozen=True)
class Problem:
    """A drawn convolution or pooling of ``rank`` axes: shapes, and the attributes that say where windows lie."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: list[int]
    padding: list[int]
    dilation: list[int]

    def output(self, *, dilation: list[int] | None = None, ceil: bool = False) -> tuple[int, ...]:
        """Sizes of the output behind N and C."""
        spread = dilation or self.dilation
        return tuple(
            output_size(
                self.x[2 + axis],
                self.kernel[axis],
                before=self.padding[2 * axis],
                after=self.padding[2 * axis + 1],
                stride=self.stride[axis],
                dilation=spread[axis],
                ceil=ceil,
            )
            for axis in range(len(self.kernel))
        )


def draw(rng: random.Random, rank: int, *, channels: int, pool: bool = False) -> Problem:
    """Any kernel size, stride, padding (at most half of the window for a pooling), dilation, batch (0 included)."""
    kernel = [rng.randint(1, 3) for _ in range(rank)]
    dilation = [rng.randint(1, 2) for _ in range(rank)]
    most = [k // 2 if pool else 2 for k in kernel]
    padding = [rng.randint(0, limit) for limit in most for _ in range(2)]
    if rng.random() < 0.5:
        padding[1::2] = padding[::2]
    sizes = [
        max(1, effective_kernel(k, d) - padding[2 * axis] - padding[2 * axis + 1]) + rng.randint(0, 4 - rank)
        for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True))
    ]
    return Problem(
        (rng.choice([0, 1, 2]), channels, *sizes),
        tuple(kernel),
        [rng.randint(1, 3) for _ in range(rank)],
        padding,
        dilation,
    )


def _normal(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _maybe(rng: random.Random, tensor: Tensor) -> Tensor | None:
    return tensor if rng.random() < 0.5 else None


def _laid(x: Tensor, rng: random.Random) -> Tensor:
    if x.dim() == 4 and rng.random() < 0.3:
        return x.contiguous(memory_format=torch.channels_last)
    return torch.stack([x, x], dim=-1)[..., 0] if rng.random() < 0.3 else x


def _convolution(rank: int, part: str, rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    groups, inner, outer = rng.choice([1, 2]), rng.randint(1, 2), rng.randint(1, 2)
    p = draw(rng, rank, channels=inner * groups)
    weight_shape = (outer * groups, inner, *p.kernel)
    attrs: dict[str, Any] = {"stride": p.stride, "padding": p.padding, "dilation": p.dilation, "groups": groups}
    x, weight = _laid(_normal(p.x, generator, dtype), rng), _normal(weight_shape, generator, dtype)
    gy = _normal((p.x[0], outer * groups, *p.output()), generator, dtype)
    if part == "input_grad":
        return (gy, weight), {**attrs, "input_size": list(p.x[2:])}
    if part == "weight_grad":
        return (x, gy), {**attrs, "weight_shape": list(weight_shape), "out_dtype": _wide(dtype)}
    return (x, weight, _maybe(rng, _normal((outer * groups,), generator, _wide(dtype)))), attrs


def transposed(rank: int, rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...], int, dict[str, Any]]:
    """(shape of x, of the weight, output channels, attributes) of a transposed convolution."""
    groups, inner, outer = rng.choice([1, 2]), rng.randint(1, 2), rng.randint(1, 2)
    p = draw(rng, rank, channels=inner * groups)
    more = [rng.randint(0, max(s, d) - 1) for s, d in zip(p.stride, p.dilation, strict=True)]
    padding = []
    for axis in range(rank):
        whole = transposed_output_size(
            p.x[2 + axis],
            p.kernel[axis],
            before=0,
            after=0,
            stride=p.stride[axis],
            dilation=p.dilation[axis],
            more=0,
        )
        before = rng.randint(0, min(2, whole - 1))
        padding += [before, rng.randint(0, min(2, whole - 1 - before))]
    attrs = {"stride": p.stride, "padding": padding, "output_padding": more, "dilation": p.dilation, "groups": groups}
    return p.x, (inner * groups, outer, *p.kernel), outer * groups, attrs


def _transposed(rank: int, rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    x, weight, outputs, attrs = transposed(rank, rng)
    bias = _maybe(rng, _normal((outputs,), generator, _wide(dtype)))
    return (_laid(_normal(x, generator, dtype), rng), _normal(weight, generator, dtype), bias), attrs


def _depthwise(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    channels, multiplier = rng.randint(1, 3), rng.randint(1, 2)
    p = draw(rng, 2, channels=channels)
    weight = _normal((channels * multiplier, 1, *p.kernel), generator, dtype)
    bias = _maybe(rng, _normal((channels * multiplier,), generator, _wide(dtype)))
    attrs = {"stride": p.stride, "padding": p.padding, "dilation": p.dilation}
    return (_laid(_normal(p.x, generator, dtype), rng), weight, bias), attrs


def _window(p: Problem, rng: random.Random) -> dict[str, Any]:
    return {
        "kernel_size": list(p.kernel),
        "stride": p.stride,
        "padding": p.padding,
        "ceil_mode": rng.random() < 0.5,
    }


def _max_pool(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    p = draw(rng, rng.randint(1, 3), channels=2, pool=True)
    return (_laid(_normal(p.x, generator, dtype), rng),), {**_window(p, rng), "dilation": p.dilation}


def _max_pool_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    rank = rng.randint(1, 3)
    size, shape = [rng.randint(1, 4) for _ in range(rank)], (rng.choice([0, 1, 2]), 2, *[2] * rank)
    places = torch.randint(int(torch.tensor(size).prod()), shape, generator=generator)
    return (_laid(_normal(shape, generator, dtype), rng), places), {"input_size": size}


def _avg_pool(part: str, rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    p = draw(rng, rng.randint(1, 3), channels=2, pool=True)
    attrs = {**_window(p, rng), "count_include_pad": rng.random() < 0.5, "divisor": rng.choice([0, 0, 3, -2])}
    attrs["padding"] = p.padding
    ones = [1] * len(p.kernel)
    sizes = [
        n + effective_kernel(k, d) - k for n, k, d in zip(p.x[2:], p.kernel, p.dilation, strict=True)
    ]  # drawn for a dilated window: any window without dilation fits
    p = Problem((*p.x[:2], *sizes), p.kernel, p.stride, p.padding, ones)
    if part == "grad":
        gy = _normal((*p.x[:2], *p.output(ceil=attrs["ceil_mode"])), generator, dtype)
        return (_laid(gy, rng),), {**attrs, "input_size": sizes}
    return (_laid(_normal(p.x, generator, dtype), rng),), attrs


def _lp_pool(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    (x,), attrs = _avg_pool("", rng, generator, dtype)
    assert x is not None
    kept = {name: attrs[name] for name in ("kernel_size", "stride", "ceil_mode")}
    size = [max(n, k) for n, k in zip(x.shape[2:], kept["kernel_size"], strict=True)]
    positive = _normal((*x.shape[:2], *size), generator, torch.float64).abs() + 0.25
    return (_laid(positive.to(dtype), rng),), {**kept, "norm": rng.choice([1.0, 2.0, 2.5, 3.0])}


def _adaptive(part: str, rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    rank = rng.randint(1, 3)
    size, out = [rng.randint(1, 4) for _ in range(rank)], [rng.randint(1, 3) for _ in range(rank)]
    out = [1] * rank if rng.random() < 0.3 else out
    batch = rng.choice([0, 1, 2])
    if part == "grad":
        return (_laid(_normal((batch, 2, *out), generator, dtype), rng),), {"input_size": size}
    return (_laid(_normal((batch, 2, *size), generator, dtype), rng),), {"output_size": out}


def _activation(rng: random.Random) -> dict[str, Any]:
    return {
        "eps": rng.choice([1e-5, 0.1]),
        "activation": rng.choice(["none", "relu", "relu6", "elu", "leaky_relu"]),
        "slope": rng.choice([0.01, 0.7]),
    }


def _channels(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return _normal((shape[1],), generator, _wide(dtype))


def _batch_shape(rng: random.Random) -> tuple[int, ...]:
    return (rng.randint(2, 3), rng.randint(1, 3), *[rng.randint(1, 3) for _ in range(rng.randint(0, 3))])


def _batch_norm(part: str, rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    shape = _batch_shape(rng)
    x, one = _laid(_normal(shape, generator, dtype), rng), partial(_channels, shape, generator, dtype)
    affine = (one(), one()) if rng.random() < 0.7 else (None, None)
    if part == "inference":
        return (x, one(), one().abs() + 0.25, *affine), _activation(rng)
    if part == "training":
        return (x, *affine), {**_activation(rng), "stats": _wide(dtype)}
    return (_normal(shape, generator, dtype), x, one(), one().abs() + 0.25, affine[0]), {}


def _fused(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Draw:
    (x, weight, _), attrs = _convolution(2, "", rng, generator, dtype)
    assert weight is not None
    one = partial(_channels, (0, weight.shape[0]), generator, dtype)
    rest = (_maybe(rng, one()), one(), one().abs() + 0.25, _maybe(rng, one()), _maybe(rng, one()))
    return (x, weight, *rest), {**attrs, **_activation(rng)}


MAKERS: dict[str, Maker] = {
    **{f"conv{rank}d": partial(_convolution, rank, "") for rank in (1, 3)},
    **{
        f"conv{rank}d_{part}": partial(_convolution, rank, part)
        for rank in (1, 3)
        for part in ("input_grad", "weight_grad")
    },
    **{f"conv_transpose{rank}d": partial(_transposed, rank) for rank in (1, 2, 3)},
    "adaptive_avg_pool": partial(_adaptive, ""),
    "adaptive_avg_pool_grad": partial(_adaptive, "grad"),
    "adaptive_max_pool": partial(_adaptive, ""),
    "avg_pool": partial(_avg_pool, ""),
    "avg_pool_grad": partial(_avg_pool, "grad"),
    "batch_norm_inference": partial(_batch_norm, "inference"),
    "batch_norm_training": partial(_batch_norm, "training"),
    "batch_norm_training_grad": partial(_batch_norm, "grad"),
    "conv2d_bn_act": _fused,
    "depthwise_conv2d": _depthwise,
    "lp_pool": _lp_pool,
    "max_pool": _max_pool,
    "max_pool_grad": _max_pool_grad,
}
