"""Are a batch norm's coefficients and gradients those of PyTorch? Against float64 batch norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mezzotint.errors import InputError
from mezzotint.kernels import native
from mezzotint.kernels.native_norm import norm_coefficients, norm_gradient, running_coefficients

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("count", [1, 2, 35])
def test_coefficients_gradients_and_statistics_are_those_of_pytorch(affine: bool, count: int) -> None:
    torch.manual_seed(count)
    norm = nn.BatchNorm2d(6, affine=affine, momentum=0.3).double()
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    y = torch.randn(count, 6, 1, 1, dtype=torch.float64) * 3 + 1
    running = (norm.running_mean.float(), norm.running_var.float())
    totals = torch.stack([y.sum((0, 2, 3)), y.square().sum((0, 2, 3))], 1)
    weight, bias = (norm.weight.detach().float(), norm.bias.detach().float()) if affine else (None, None)
    scale, shift, state = norm_coefficients(
        totals, count, weight=weight, bias=bias, eps=norm.eps, running=running, share=0.3
    )
    if count == 1:  # PyTorch refuses to train on one number a channel; the variance is 0 then
        found = y.flatten().float() * scale + shift
        torch.testing.assert_close(found, torch.zeros(6) if bias is None else bias, rtol=1e-2, atol=1e-2)
        return
    y.requires_grad_()
    z = norm(y)
    by_hand = y.detach() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
    torch.testing.assert_close(by_hand, z.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(running, (norm.running_mean.float(), norm.running_var.float()))
    g = torch.randn_like(z)
    z.backward(g)
    sums = torch.stack([g.sum((0, 2, 3)), (g * y.detach()).sum((0, 2, 3))], 1)
    of_weight, of_bias, companion, constant = (v.view(1, -1, 1, 1) for v in norm_gradient(sums, count, scale, state))
    assert y.grad is not None
    found = g * scale.view(1, -1, 1, 1) + y.detach() * companion + constant
    torch.testing.assert_close(found, y.grad, rtol=1e-5, atol=1e-5)
    if affine:
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        torch.testing.assert_close(of_weight.flatten().double(), norm.weight.grad, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(of_bias.flatten().double(), norm.bias.grad, rtol=1e-5, atol=1e-5)


def test_a_bias_that_was_left_out_shifts_the_running_mean_alone() -> None:
    totals = torch.tensor([[8.0, 40.0]], dtype=torch.float64)
    running = (torch.zeros(1), torch.ones(1))
    norm_coefficients(
        totals, 4, weight=None, bias=None, eps=0.0, running=running, share=0.5, left_out=torch.full((1,), 10.0)
    )
    assert running[0].item() == 6.0, "half of 2 + 10"
    assert running[1].item() == 0.5 + 0.5 * 6.0 * 4 / 3, "the variance without bias"


def test_sizes_are_checked() -> None:
    totals = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(InputError, match="weight: its size is not the number of channels, 3"):
        norm_coefficients(totals, 4, weight=torch.ones(2), bias=None, eps=0.0)


@pytest.mark.parametrize("affine", [True, False])
def test_running_statistics_are_applied_and_left_alone(affine: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6, affine=affine).double().eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    left_out = torch.randn(6)
    y = torch.randn(5, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    running = (norm.running_mean.float(), norm.running_var.float())
    before = [value.clone() for value in running]
    weight, bias = (norm.weight.detach().float(), norm.bias.detach().float()) if affine else (None, None)
    scale, shift, state = running_coefficients(running, weight=weight, bias=bias, eps=norm.eps, left_out=left_out)
    z = norm(y + left_out.view(1, -1, 1, 1))
    torch.testing.assert_close(
        y.detach() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1), z.detach(), rtol=1e-5, atol=1e-5
    )
    assert all(torch.equal(now, then) for now, then in zip(running, before, strict=True))
    g = torch.randn_like(z)
    z.backward(g)
    totals = torch.stack([g.sum((0, 2, 3)), (g * y.detach()).sum((0, 2, 3))], 1)
    of_weight, of_bias, companion, constant = norm_gradient(totals, 0, scale, state)
    assert not companion.any()
    assert not constant.any()
    if affine:
        torch.testing.assert_close(of_weight.double(), norm.weight.grad, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(of_bias.double(), norm.bias.grad, rtol=1e-5, atol=1e-5)
