"""Does the native activation layout hold what it should, and do the functions on it agree with those on tensors?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
ORDERS = {
    "NCHW": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "reversed": lambda x: x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    "sliced": lambda x: torch.stack((x, x), 4)[..., 1],
}


def weight(out: int, inputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values, indices and transposed order of a random 3x3 weight, 40 % dense."""
    indices = (torch.rand(out * inputs * 9) < 0.4).nonzero().flatten().int()
    transposed = torch.argsort(indices.long() % (inputs * 9) // 9, stable=True).int()
    return torch.randn(len(indices)), indices, transposed


def attrs(out: int, inputs: int, stride: int) -> dict[str, Any]:
    """A 3x3 convolution with padding 1."""
    return {
        "weight_shape": (out, inputs, 3, 3),
        "stride": (stride, stride),
        "padding": (1, 1, 1, 1),
        "dilation": (1, 1),
        "groups": 1,
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_round_trip(dtype: torch.dtype, order: str) -> None:
    x = ORDERS[order](torch.randn(19, 5, 6, 13).to(dtype))
    halo = (1, 0, 2, 3)
    packed = native.to_native(x, halo)
    assert packed.shape == (2, 7, 5, 18, 16)
    assert torch.equal(native.from_native(packed, halo, 19, dtype), x)
    expected = F.pad(x.float(), (2, 3, 1, 0, 0, 0, 0, 13)).view(2, 16, 5, 7, 18).permute(0, 3, 2, 4, 1)
    assert torch.equal(packed, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("halo", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 3, 1, 2)])
def test_packed_functions_agree_with_the_plain_ones(stride: int, halo: tuple[int, int, int, int]) -> None:
    conv = attrs(7, 6, stride)
    values, indices, transposed = weight(7, 6)
    x, bias = torch.randn(18, 6, 11, 9), torch.randn(7)
    y = F.conv2d(x, torch.zeros(7, 6, 3, 3), None, stride, 1)
    gy, gx, gvalues = torch.randn(y.shape), torch.empty_like(x), torch.empty_like(values)
    native.conv2d_output(x, values, indices, bias, y, **conv)
    native.conv2d_input_grad(gy, values, indices, transposed, gx, **conv)
    native.conv2d_weight_grad(x, gy, indices, gvalues, **conv)

    yp = native.empty_native(18, *y.shape[1:], (1, 2, 0, 1)).fill_(torch.nan)
    xp, gyp = native.to_native(x, halo), native.to_native(gy, halo)
    native.conv2d_output_packed(xp, halo, values, indices, bias, yp, (1, 2, 0, 1), batch=18, **conv)
    assert torch.equal(yp, native.to_native(y, (1, 2, 0, 1)))
    gxp = native.empty_native(18, *gx.shape[1:], (0, 1, 0, 0)).fill_(torch.nan)
    native.conv2d_input_grad_packed(gyp, halo, values, indices, transposed, gxp, (0, 1, 0, 0), **conv)
    assert torch.equal(gxp, native.to_native(gx, (0, 1, 0, 0)))
    packed_gvalues = torch.empty_like(gvalues)
    native.conv2d_weight_grad_packed(xp, halo, gyp, halo, indices, packed_gvalues, **conv)
    assert torch.equal(packed_gvalues, gvalues)


def test_values_are_rounded_to_the_working_type() -> None:
    values, indices, _ = weight(4, 3)
    xp = native.to_native(torch.randn(16, 3, 5, 5), (1, 1, 1, 1))
    results = []
    for held, working in ((values, torch.bfloat16), (values.bfloat16().float(), torch.float32)):
        yp = native.empty_native(16, 4, 5, 5)
        native.conv2d_output_packed(
            xp, (1, 1, 1, 1), held, indices, None, yp, native.NO_HALO, batch=16, working=working, **attrs(4, 3, 1)
        )
        results.append(yp)
    assert torch.equal(*results)


@pytest.mark.parametrize("relu", [False, True])
def test_epilogue(relu: bool) -> None:
    conv = attrs(4, 3, 1)
    values, indices, _ = weight(4, 3)
    x, bias, scale, shift = torch.randn(5, 3, 7, 8), torch.randn(4), torch.randn(4), torch.randn(4)
    y, residual = torch.empty(5, 4, 7, 8), torch.randn(5, 4, 7, 8)
    native.conv2d_output(x, values, indices, bias, y, **conv)
    yp = native.empty_native(5, 4, 7, 8)
    native.conv2d_output_packed(
        native.to_native(x, (1, 1, 1, 1)),
        (1, 1, 1, 1),
        values,
        indices,
        bias,
        yp,
        native.NO_HALO,
        batch=5,
        scale=scale,
        shift=shift,
        residual=native.to_native(residual, (0, 1, 2, 0)),
        residual_halo=(0, 1, 2, 0),
        relu=relu,
        **conv,
    )
    expected = y * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1) + residual
    expected = F.relu(expected) if relu else expected
    torch.testing.assert_close(native.from_native(yp, native.NO_HALO, 5), expected, rtol=1e-5, atol=1e-5)
    assert not yp[..., 5:].any()


def test_a_halo_that_is_wide_enough_is_used_as_it_is() -> None:
    packed = native.to_native(torch.randn(3, 2, 4, 4), (1, 2, 1, 1))
    same, halo = native.with_halo(packed, (1, 2, 1, 1), (1, 1, 0, 1))
    assert same is packed
    assert halo == (1, 2, 1, 1)
    wider, halo = native.with_halo(packed, (1, 2, 1, 1), (0, 3, 1, 2))
    assert halo == (1, 3, 1, 2)
    assert torch.equal(
        native.from_native(wider, halo, 3, torch.float32), native.from_native(packed, (1, 2, 1, 1), 3, torch.float32)
    )
    assert not wider[:, 0].any()
    assert not wider[:, -3:].any()
