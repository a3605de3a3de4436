"""Is the forward pass that of FP16 operands, and are the gradients those of single precision?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mezzotint import Precision, SparseConv2d, SparseLinear, ops
from mezzotint.precision.half_forward import HalfForward, operand

MODULES = {
    "conv2d": lambda: nn.Conv2d(3, 4, 3, padding=1),
    "conv1d": lambda: nn.Conv1d(3, 4, 3),
    "linear": lambda: nn.Linear(9, 5),
    "sparse_conv2d": lambda: SparseConv2d(3, 4, 3, padding=1, density=0.5),
    "sparse_linear": lambda: SparseLinear(9, 5, density=0.5),
}


PATTERN = SparseConv2d(4, 3, 3, density=0.5).pattern
#: Functions of activations and weights, and the shapes of both.
CALLS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...], tuple[int, ...]]] = {
    **{
        f"{room.__name__}.{kind}{rank}d": (getattr(room, f"{kind}{rank}d"), (2, 4, *[6] * rank), (4, 4, *[3] * rank))
        for room in (F, ops)
        for kind in ("conv", "conv_transpose")
        for rank in (1, 2, 3)
    },
    "nn.ConvTranspose2d": (
        lambda x, w: functional_call(nn.ConvTranspose2d(4, 4, 3, bias=False), {"weight": w}, (x,)),
        (2, 4, 6, 6),
        (4, 4, 3, 3),
    ),
    "depthwise_conv2d": (ops.depthwise_conv2d, (2, 4, 6, 6), (8, 1, 3, 3)),
    "conv2d_bn_act": (
        lambda x, w: ops.conv2d_bn_act(x, w, None, torch.full((3,), 0.3), torch.full((3,), 0.7)),
        (2, 4, 6, 6),
        (3, 4, 3, 3),
    ),
    "sparse_conv2d": (lambda x, w: ops.sparse_conv2d(x, w, PATTERN), (2, 4, 6, 6), (PATTERN.nnz,)),
    "sparse_conv_transpose2d": (
        lambda x, w: ops.sparse_conv_transpose2d(x, w, PATTERN),
        (2, 3, 6, 6),
        (PATTERN.nnz,),
    ),
    "linear": (F.linear, (6, 9), (5, 9)),
}


def _input(name: str) -> Tensor:
    if name.endswith("linear"):
        return torch.randn(6, 9)
    return torch.randn(2, 3, 9) if name == "conv1d" else torch.randn(2, 3, 7, 7)


def _oracle(module: nn.Module, x: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Output, and gradients for input, weight and bias, in float64 on operands rounded to FP16."""
    weight = module.dense_weight() if hasattr(module, "dense_weight") else module.weight
    half_x, half_w = (t.detach().half().double().requires_grad_() for t in (x, weight))
    bias = module.bias.detach().double().requires_grad_()
    if isinstance(module, (nn.Linear, SparseLinear)):
        y = F.linear(half_x, half_w, bias)
    else:
        padding = module.padding
        y = (F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d)(half_x, half_w, bias, padding=padding)
    grads = torch.autograd.grad(y, (half_x, half_w, bias), weights.double())
    return (y.detach(), *grads)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_half_forward_single_backward(name: str) -> None:
    module = MODULES[name]()
    x = _input(name).requires_grad_()
    with HalfForward():
        y = module(x)
    assert y.dtype == torch.float32
    weights = torch.randn(y.shape) * 1e-9  # gradients that FP16 would flush to zero
    (y * weights).sum().backward()
    expected_y, expected_x, expected_w, expected_b = _oracle(module, x, weights)
    assert torch.equal(y.half().float(), y)  # a result of FP16 ...
    torch.testing.assert_close(y.double(), expected_y, rtol=2**-10, atol=2**-12)  # ... rounded once
    ours = module.values.grad if hasattr(module, "values") else module.weight.grad.reshape(-1)
    theirs = expected_w.reshape(-1)
    if hasattr(module, "pattern"):
        theirs = theirs[module.pattern.indices.long()]
    for mine, exact in ((x.grad, expected_x), (ours, theirs), (module.bias.grad, expected_b)):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-6 * exact.abs().max().item())
        assert mine.abs().max() > 0


@pytest.mark.parametrize("name", CALLS)
def test_every_convolution_is_half(name: str) -> None:
    call, *shapes = CALLS[name]
    x, weight = (torch.randn(shape) for shape in shapes)
    with HalfForward():
        y = call(x, weight)
    exact = call(x.half().double(), weight.half().double())
    assert torch.equal(y.half().float(), y)
    torch.testing.assert_close(y.double(), exact, rtol=2**-10, atol=2**-12)
    assert not torch.equal(call(x, weight), y)


def test_direct_calls_and_keyword_arguments_are_half_too() -> None:
    layer, x = SparseConv2d(3, 4, 3, density=0.5), torch.randn(2, 3, 7, 7)
    with HalfForward():
        inside = layer(x)
        direct = ops.sparse_conv2d(x, layer.values, layer.pattern, layer.bias)
        dense = ops.conv2d(x, layer.dense_weight(), layer.bias)
        by_name = F.conv2d(input=x, weight=layer.dense_weight(), bias=layer.bias)
    assert torch.equal(inside, direct)
    for other in (dense, by_name):
        assert torch.equal(other.half().float(), other)
        torch.testing.assert_close(other, inside, rtol=2**-10, atol=2**-11)
    assert not torch.equal(layer(x), inside)


def test_everything_between_is_single_precision() -> None:
    x = torch.randn(64, 8)
    with HalfForward():
        y = F.layer_norm(torch.exp(x) * 1e-6, (8,))
        z = F.batch_norm(x, None, None, training=True)
    assert torch.equal(y, F.layer_norm(torch.exp(x) * 1e-6, (8,)))
    assert torch.equal(z, F.batch_norm(x, None, None, training=True))


def test_overflow_is_that_of_fp16() -> None:
    with HalfForward():
        y = F.linear(torch.full((1, 2), 200.0), torch.full((1, 2), 200.0))
    assert torch.isinf(y).all()


def test_float64_is_left_alone() -> None:
    x, w = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    with HalfForward():
        assert torch.equal(F.linear(x, w), x @ w.T)


def test_operand_knows_where_it_is() -> None:
    x = torch.tensor([1 / 3])
    assert operand(x) is x
    with HalfForward(), HalfForward():
        assert operand(x) == x.half().float()
    assert operand(x) is x
    with pytest.raises(ValueError, match="inside"), HalfForward():
        raise ValueError("inside")
    assert operand(x) is x


def test_contexts_are_new_and_can_be_nested() -> None:
    precision, layer, x = Precision("fp16-forward"), nn.Linear(4, 4), torch.randn(2, 4)
    with precision.autocast(), precision.autocast():
        twice = layer(x)
    with precision.autocast():
        torch.testing.assert_close(layer(x), twice, rtol=0, atol=0)
