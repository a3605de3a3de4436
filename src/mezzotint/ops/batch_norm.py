"""How is a batch normalised, with the activation behind it? In inference and in training, as operators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import norm
from mezzotint.kernels.geometry import surely
from mezzotint.ops.conv_shape import check_output_grad, differ
from mezzotint.ops.convolution import spec
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator


def with_activation(definition: OpDef) -> OpDef:
    """Add the attributes of a normalisation with an activation behind it."""
    names = ", ".join(f"'{name}'" for name in norm.ACTIVATIONS)
    return (
        definition.attr("eps: float = 1e-05", "added to the variance")
        .attr(f"activation: {{{names}}} = 'none'", "what is applied last")
        .attr("slope: float = 0.01", "factor of a leaky ReLU's negative side, or ELU's alpha")
    )


def check_per_channel(inputs: Specs, channels: Any, *names: str) -> None:
    """Statistics and parameters have one number a channel."""
    for name in names:
        found = inputs[name]
        if found is not None and (len(found.shape) != 1 or differ(found.shape[0], channels)):
            raise ShapeError(
                message(f"{name} shape", received=list(found.shape), allowed=f"[{channels}], one a channel")
            )


def before_activation(call: Call, gy: Tensor, y: Tensor) -> Tensor:
    """The gradient of what the activation takes, from its result ``y``."""
    activation, slope = call["activation"], call["slope"]
    if activation == "relu":
        return gy * (y > 0)
    if activation == "relu6":
        return gy * ((y > 0) & (y < 6))
    if activation == "elu":
        return torch.where(y > 0, gy, gy * (y + slope))
    return torch.where(y > 0, gy, gy * slope) if activation == "leaky_relu" else gy


def spread(per_channel: Tensor, x: Tensor) -> Tensor:
    """``[C]`` along axis 1 of a tensor like ``x``."""
    return per_channel.view(-1, *(1,) * (x.dim() - 2))


def per_channel(x: Tensor) -> Tensor:
    """The sum over everything but channels."""
    return x.sum([0, *range(2, x.dim())])


def normalisation_gradients(
    call: Call, g: Tensor, x: Tensor, names: Mapping[str, str]
) -> tuple[dict[str, Tensor | None], Tensor]:
    """Gradients of ``(x - mean) weight / sqrt(var + eps) + bias``, given that of its result, in a wide type.

    Args:
        call: has statistics and parameters under ``names["weight"]``, ``names["bias"]``, ``"mean"`` and ``"var"``.
        g, x: output gradient and input in at least FP32.
        names: what the call calls weight and bias.

    Returns:
        those that are needed, by name, and the gradient for ``x``.
    """
    weight, mean = call[names["weight"]], call["mean"]
    inverse = (call["var"] + call["eps"]).rsqrt()
    scale = inverse if weight is None else weight * inverse
    found: dict[str, Tensor | None] = {}
    if call.needs("mean"):
        found["mean"] = -per_channel(g) * scale
    if call.needs("var") or call.needs(names["weight"]):
        moment = per_channel(g * (x - spread(mean, x)))
        found["var"] = -0.5 * moment * scale * inverse * inverse
        found[names["weight"]] = None if weight is None else moment * inverse
    if call.needs(names["bias"]):
        found[names["bias"]] = per_channel(g)
    return found, g * spread(scale, g)


def in_their_types(call: Call, found: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Each gradient in the type of its input, those that are not needed left out."""
    return {name: g.to(call[name].dtype) for name, g in found.items() if g is not None and call.needs(name)}


def wide(x: Tensor) -> Tensor:
    """``x`` in at least FP32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _inference_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x = spec(inputs, "x")
    _check_rank(x)
    check_per_channel(inputs, x.shape[1], "mean", "var", "weight", "bias")
    return x


def _training_rule(inputs: Specs, attrs: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    x = spec(inputs, "x")
    _check_rank(x)
    check_per_channel(inputs, x.shape[1], "weight", "bias")
    if surely(math.prod((x.shape[0], *x.shape[2:])) < 2):
        raise ShapeError(
            message("x shape in training", received=list(x.shape), allowed="more than one number a channel")
        )
    statistics = TensorSpec((x.shape[1],), attrs["stats"])
    return x, statistics, statistics


def _training_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    gy, x, mean = spec(inputs, "gy"), spec(inputs, "x"), spec(inputs, "mean")
    check_output_grad(x.shape, gy.shape)
    check_per_channel(inputs, x.shape[1], "mean", "invstd", "weight")
    statistics = TensorSpec((x.shape[1],), mean.dtype)
    return x, statistics, statistics


def _check_rank(x: TensorSpec) -> None:
    if len(x.shape) < 2:
        raise ShapeError(message("x shape", received=list(x.shape), allowed="at least two dimensions [N, C, ...]"))


def _inference_gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    g = wide(before_activation(call, gy, call["y"]))
    found, gx = normalisation_gradients(call, g, wide(call["x"]), {"weight": "weight", "bias": "bias"})
    return in_their_types(call, {**found, "x": gx})


def _training_gradient(
    call: Call, gy: Tensor | None, gmean: Tensor | None, ginvstd: Tensor | None
) -> dict[str, Tensor | None]:
    x, mean, invstd = call["x"], call["mean"], call["invstd"]
    found: dict[str, Tensor | None] = {}
    if gy is not None:
        g = before_activation(call, gy, call["y"])
        found["x"], found["weight"], found["bias"] = training_grad_op(g, x, mean, invstd, call["weight"])
    extra = _toward_statistics(x, mean, invstd, gmean, ginvstd)
    if extra is not None:
        toward_x = found.get("x")
        found["x"] = extra if toward_x is None else toward_x + extra
    return in_their_types(call, found)


def _toward_statistics(
    x: Tensor, mean: Tensor, invstd: Tensor, gmean: Tensor | None, ginvstd: Tensor | None
) -> Tensor | None:
    """Gradient for ``x`` of what was made of the batch's statistics themselves."""
    count = x.numel() / x.shape[1]
    found = None
    if gmean is not None:
        found = spread(gmean / count, x).expand_as(x)
    if ginvstd is not None:
        turned = (wide(x) - spread(mean, x)) * spread(-ginvstd * invstd.pow(3) / count, x)
        found = turned if found is None else found + turned
    return found


def _training_grad_gradient(
    call: Call, a: Tensor | None, b: Tensor | None, c: Tensor | None
) -> dict[str, Tensor | None]:
    """With ``n`` the normalised input, ``q = mean(gy n)``, ``k = weight invstd``:

    ``gx = k (gy - mean(gy) - n q)``, ``gw = count q``, ``gb = sum(gy)``; a, b, c are the gradients of these three.
    """
    gy, x, mean, invstd, weight = (call[name] for name in ("gy", "x", "mean", "invstd", "weight"))
    count = x.numel() / x.shape[1]
    centred, g = wide(x) - spread(mean, x), wide(gy)
    n, k = centred * spread(invstd, x), invstd if weight is None else invstd * weight
    toward_gy, toward_n = torch.zeros_like(g), torch.zeros_like(g)
    found: dict[str, Tensor | None] = {}
    toward_invstd = torch.zeros_like(invstd)
    if a is not None:
        a = wide(a)
        q, r = per_channel(g * n) / count, per_channel(a * n) / count
        toward_gy = spread(k, x) * (a - spread(per_channel(a) / count, x) - n * spread(r, x))
        toward_n = -spread(k, x) * (a * spread(q, x) + g * spread(r, x))
        toward_k = per_channel(a * (g - spread(per_channel(g) / count, x) - n * spread(q, x)))
        toward_invstd = toward_k if weight is None else toward_k * weight
        found["weight"] = None if weight is None else toward_k * invstd
    if b is not None:
        toward_gy, toward_n = toward_gy + spread(b, x) * n, toward_n + spread(b, x) * g
    if c is not None:
        toward_gy = toward_gy + spread(c, x)
    toward_x = toward_n * spread(invstd, x)
    found |= {"gy": toward_gy, "x": toward_x, "mean": -per_channel(toward_x)}
    found["invstd"] = toward_invstd + per_channel(toward_n * centred)
    return in_their_types(call, found)


inference_op: Operator = (
    with_activation(OpDef("batch_norm_inference"))
    .input("x: T", "activations [N, C, ...]")
    .input("mean: S", "[C], running mean")
    .input("var: S", "[C], running variance")
    .input("weight: S?", "[C]")
    .input("bias: S?", "[C]")
    .output("y: T", "like x")
    .attr("T: floattype", "type of the activations")
    .attr("S: floattype", "type of statistics and parameters; FP32 for activations of 16 bits")
    .keeps("y")
    .samples("x")
    .shape_rule(_inference_rule)
    .gradient(_inference_gradient)
    .doc("Batch normalisation by given statistics, and an activation.")
    .register()
)
training_op: Operator = (
    with_activation(OpDef("batch_norm_training"))
    .input("x: T", "activations [N, C, ...]")
    .input("weight: S?", "[C]")
    .input("bias: S?", "[C]")
    .output("y: T", "like x")
    .output("mean: stats", "[C], mean of the batch")
    .output("invstd: stats", "[C], 1 / sqrt(biased variance of the batch + eps)")
    .attr("T: floattype", "type of the activations")
    .attr("S: floattype", "type of the parameters; FP32 for activations of 16 bits")
    .attr("stats: floattype = float32", "type of the statistics")
    .keeps("y", "mean", "invstd")
    .shape_rule(_training_rule)
    .gradient(_training_gradient)
    .doc("Batch normalisation by the batch's own statistics, and an activation.")
    .register()
)
training_grad_op: Operator = (
    OpDef("batch_norm_training_grad")
    .input("gy: T", "gradient of the normalised activations, before the activation function")
    .input("x: T", "activations [N, C, ...]")
    .input("mean: R", "[C]")
    .input("invstd: R", "[C]")
    .input("weight: S?", "[C]")
    .output("gx: T", "like x")
    .output("gweight: R", "[C]")
    .output("gbias: R", "[C]")
    .attr("T: floattype", "type of the activations")
    .attr("R: floattype", "type of the statistics")
    .attr("S: floattype", "type of the weight")
    .shape_rule(_training_grad_rule)
    .gradient(_training_grad_gradient)
    .doc("Gradient of batch_norm_training for activations, weight and bias.")
    .register()
)

inference_op.kernel(name="torch")(norm.inference)
inference_op.kernel(name="reference", oracle=True)(norm.oracle_inference)
training_op.kernel(name="torch")(norm.training)
training_op.kernel(name="reference", oracle=True)(norm.oracle_training)
training_grad_op.kernel(name="torch")(norm.training_grad)
training_grad_op.kernel(name="reference", oracle=True)(norm.oracle_training_grad)


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str = "none",
    slope: float = 0.01,
) -> Tensor:
    """Batch normalisation and the activation behind it.

    Args:
        x: activations ``[N, C, ...]``; float.
        running_mean, running_var: ``[C]``; training moves them towards the batch's (unbiased) statistics, they may be
            ``None`` then.
        weight, bias: ``[C]`` or ``None``; FP32 for activations of 16 bits.
        training: whether to normalise by the batch's statistics or by the running ones.
        momentum: share of the batch's statistics in the new running ones.
        eps: added to the variance.
        activation: ``"none"``, ``"relu"``, ``"relu6"``, ``"elu"`` or ``"leaky_relu"``.
        slope: factor of a leaky ReLU's negative side, or ELU's alpha.

    Raises:
        ShapeError: arguments that do not go together.
    """
    attrs = {"eps": eps, "activation": activation, "slope": slope}
    if not training:
        if running_mean is None or running_var is None:
            raise ShapeError(message("running statistics", received=None, allowed="[C] tensors, unless training=True"))
        inputs, given = (x, running_mean, running_var, weight, bias), (eps, activation, slope)
        run = inference_op.find(inputs, given)
        normalised: Tensor = run(*inputs) if run else inference_op.resolved(inputs, given, attrs)
        return normalised
    stats = torch.promote_types(x.dtype, torch.float32) if x.is_floating_point() else torch.float32
    made: tuple[Tensor, Tensor, Tensor] = training_op(x, weight, bias, **attrs, stats=stats)
    y, mean, invstd = made
    with torch.no_grad():
        count = x.numel() / x.shape[1]
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = (invstd.pow(-2) - eps) * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return y
