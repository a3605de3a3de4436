"""How are convolution, bias, batch normalisation and activation done as one? ``conv2d_bn_act``, the inference form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mezzotint.kernels import cost, norm
from mezzotint.ops.batch_norm import (
    before_activation,
    check_per_channel,
    in_their_types,
    normalisation_gradients,
    per_channel,
    wide,
    with_activation,
)
from mezzotint.ops.conv_shape import Padding, conv_output, per_axis, resolve_padding
from mezzotint.ops.convolution import FAMILIES, geometry, in_format, like_format, spec, with_geometry
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator


def _rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x, weight = spec(inputs, "x"), spec(inputs, "weight")
    shape = conv_output(x.shape, weight.shape, **geometry(attrs))
    check_per_channel(inputs, weight.shape[0], "bias", "mean", "var", "gamma", "beta")
    return TensorSpec(shape, x.dtype)


def _gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    x, weight, family = call["x"], call["weight"], FAMILIES[2]
    g = wide(before_activation(call, gy, call["y"]))
    convolved = family.output(x, weight, call["bias"], **geometry(call))
    found, toward = normalisation_gradients(call, g, wide(convolved), {"weight": "gamma", "bias": "beta"})
    inner = toward.to(x.dtype)
    if call.needs("x"):
        found["x"] = family.input_grad(inner, weight, input_size=list(x.shape[2:]), **geometry(call))
    if call.needs("weight"):
        shape = list(weight.shape)
        found["weight"] = family.weight_grad(x, inner, weight_shape=shape, out_dtype=weight.dtype, **geometry(call))
    if call.needs("bias"):
        found["bias"] = per_channel(toward)
    return in_their_types(call, found)


op: Operator = (
    with_activation(with_geometry(OpDef("conv2d_bn_act")))
    .input("x: T", "activations [N, C, H, W]")
    .input("weight: T", "[O, C / groups, kh, kw]")
    .input("bias: S?", "[O], of the convolution")
    .input("mean: S", "[O], running mean")
    .input("var: S", "[O], running variance")
    .input("gamma: S?", "[O], weight of the normalisation")
    .input("beta: S?", "[O], bias of the normalisation")
    .output("y: T", "[N, O, H', W']")
    .attr("T: floattype", "type of the activations and the weight")
    .attr("S: floattype", "type of statistics, bias and parameters")
    .autocast("x", "weight")
    .keeps("y")
    .samples("x")
    .shape_rule(_rule)
    .gradient(_gradient)
    .doc("2-D cross-correlation, bias, batch normalisation by given statistics, and an activation.")
    .register()
)
op.kernel(name="folded", priority=1, cost=cost.dense)(norm.folded)
op.kernel(name="in_turn", cost=cost.dense)(norm.in_turn)
op.kernel(name="reference", oracle=True)(norm.oracle_folded)


def conv2d_bn_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    eps: float = 1e-5,
    activation: str = "relu",
    slope: float = 0.01,
    data_format: str = "NCHW",
) -> Tensor:
    """Convolution, bias, batch normalisation by running statistics and activation, in one pass where a kernel can.

    Args:
        x, weight, bias, stride, padding, dilation, groups, data_format: as for :func:`mezzotint.ops.conv2d`.
        running_mean, running_var, gamma, beta: ``[O]``; the last two may be ``None``.
        eps, activation, slope: as for :func:`mezzotint.ops.batch_norm`.

    Returns:
        ``[N, O, H', W']`` (or NHWC), of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, dilation, groups, eps, activation, slope, data_format)
    run = op.find((x, weight, bias, running_mean, running_var, gamma, beta), given)
    if run is not None:
        return run(x, weight, bias, running_mean, running_var, gamma, beta)  # type: ignore[no-any-return]
    plain = in_format("conv2d_bn_act", x, weight, data_format, 2)
    steps, spread = per_axis("stride", stride, 2), per_axis("dilation", dilation, 2)
    pads = resolve_padding(padding, plain.shape[2:], weight.shape[2:], steps, spread)
    attrs = {
        "stride": steps,
        "padding": list(pads),
        "dilation": spread,
        "groups": groups,
        "eps": eps,
        "activation": activation,
        "slope": slope,
    }
    inputs = (plain, weight, bias, running_mean, running_var, gamma, beta)
    if plain is x:
        resolved: Tensor = op.resolved(inputs, given, attrs)
        return resolved
    return like_format(op(*inputs, **attrs), x, data_format, 2)
