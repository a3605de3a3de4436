"""Does the native activation layout hold what it should, and do the functions on it agree with those on tensors?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.errors import InputError
from mezzotint.kernels import native, native_layout
from mezzotint.kernels.native_layout import ConvGeometry, Epilogue
from mezzotint.kernels.native_weight_grad import conv2d_weight_grad

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
    packed = native_layout.to_native(x, (1, 0, 2, 3))
    lanes = native_layout.lanes_of(dtype)
    blocks = -(-19 // lanes)
    assert packed.data.shape == (blocks, 7, 5, 18, lanes)
    assert (packed.channels, packed.size, packed.count) == (5, (6, 13), 19 * 6 * 13)
    assert torch.equal(native_layout.from_native(packed), x)
    back = native_layout.from_native(packed, torch.channels_last)
    assert back.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(back, x)
    padded = F.pad(x, (2, 3, 1, 0, 0, 0, 0, blocks * lanes - 19))
    assert torch.equal(packed.data, padded.view(blocks, lanes, 5, 7, 18).permute(0, 3, 2, 4, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("halo", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 3, 1, 2)])
def test_functions_agree_with_those_on_plain_tensors(
    dtype: torch.dtype, stride: int, halo: tuple[int, int, int, int]
) -> None:
    conv = attrs(7, 6, stride)
    geometry = ConvGeometry(**conv)
    values, indices, transposed = weight(7, 6)
    x, bias = torch.randn(18, 6, 11, 9).to(dtype), torch.randn(7)
    y = torch.empty(18, 7, *geometry.output_size((11, 9)), dtype=dtype)
    gy, gx, gvalues = torch.randn(y.shape).to(dtype), torch.empty_like(x), torch.empty_like(values)
    native.conv2d_output(x, values, indices, bias, y, **conv)
    native.conv2d_input_grad(gy, values, indices, transposed, gx, **conv)
    native.conv2d_weight_grad(x, gy, indices, gvalues, **conv)

    xp, gyp = native_layout.to_native(x, halo), native_layout.to_native(gy, halo)
    yp = native_layout.conv2d_output(xp, values, indices, geometry, bias=bias, halo=(1, 2, 0, 1))
    assert torch.equal(yp.data, native_layout.to_native(y, (1, 2, 0, 1)).data)
    gxp = native_layout.conv2d_input_grad(gyp, values, indices, transposed, geometry, (11, 9), halo=(0, 1, 0, 0))
    assert torch.equal(gxp.data, native_layout.to_native(gx, (0, 1, 0, 0)).data)
    assert torch.equal(conv2d_weight_grad(xp, gyp, indices, geometry), gvalues)


@pytest.mark.parametrize("relu", [False, True])
def test_epilogue_of_an_inference(relu: bool) -> None:
    conv = attrs(4, 3, 1)
    values, indices, _ = weight(4, 3)
    x, bias, scale, shift = torch.randn(5, 3, 7, 8), torch.randn(4), torch.randn(4), torch.randn(4)
    y, residual = torch.empty(5, 4, 7, 8), torch.randn(5, 4, 7, 8)
    native.conv2d_output(x, values, indices, bias, y, **conv)
    epilogue = Epilogue(scale=scale, shift=shift, residual=native_layout.to_native(residual, (0, 1, 2, 0)), relu=relu)
    xp = native_layout.to_native(x, (1, 1, 1, 1))
    yp = native_layout.conv2d_output(xp, values, indices, ConvGeometry(**conv), bias=bias, epilogue=epilogue)
    expected = y * channelwise(scale) + channelwise(shift) + residual
    expected = F.relu(expected) if relu else expected
    torch.testing.assert_close(native_layout.from_native(yp), expected, rtol=1e-5, atol=1e-5)
    assert not yp.data[..., 5:].any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_epilogue_of_a_backward_pass(dtype: torch.dtype, stride: int) -> None:
    """What is pending is added, the ReLU's gradient applied, and the two sums of a batch norm are taken."""
    geometry = ConvGeometry(**attrs(4, 3, stride))
    values, indices, transposed = weight(4, 3)
    gy = torch.randn(21, 4, *geometry.output_size((7, 9))).to(dtype)
    pending, mask, companion = (torch.randn(21, 3, 7, 9).to(dtype) for _ in range(3))
    scale, shift = torch.randn(3), torch.randn(3)
    packed = (
        native_layout.to_native(tensor, halo)
        for tensor, halo in zip((pending, mask, companion), ((1, 0, 0, 2), (0, 1, 1, 0), (0, 0, 0, 0)), strict=True)
    )
    residual, masked, beside = packed
    epilogue = Epilogue(residual=residual, mask=masked, mask_scale=scale, mask_shift=shift, companion=beside)
    totals = torch.full((3, 2), torch.nan, dtype=torch.float64)
    arguments = (native_layout.to_native(gy), values, indices, transposed, geometry, (7, 9))
    plain = native_layout.from_native(native_layout.conv2d_input_grad(*arguments)).double()
    result = native_layout.conv2d_input_grad(*arguments, epilogue=epilogue, totals=totals)
    kept = mask.double() * channelwise(scale) + channelwise(shift) > 0
    expected = torch.where(kept, plain + pending.double(), 0.0)
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype != torch.float32 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(native_layout.from_native(result).double(), expected, **tolerance)
    sums = torch.stack([expected.sum((0, 2, 3)), (expected * companion.double()).sum((0, 2, 3))], 1)
    torch.testing.assert_close(totals, sums, rtol=2e-2, atol=1.0 if dtype != torch.float32 else 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalise_and_reduce(dtype: torch.dtype) -> None:
    x, other, addend = (torch.randn(35, 3, 4, 5).to(dtype) for _ in range(3))
    a, b, c, d = torch.randn(4, 3)
    xp, op, ap = (native_layout.to_native(tensor) for tensor in (x, other, addend))
    z = native_layout.normalise(
        xp, scale=a, shift=b, other=op, other_scale=c, other_shift=d, addend=ap, relu=True, halo=(1, 0, 2, 1)
    )
    scaled = x.float() * channelwise(a) + channelwise(b) + other.float() * channelwise(c) + channelwise(d)
    expected = F.relu(scaled + addend.float()).to(dtype)
    torch.testing.assert_close(native_layout.from_native(z), expected)
    assert torch.equal(z.data, native_layout.to_native(native_layout.from_native(z), (1, 0, 2, 1)).data), "zeros around"
    totals = torch.empty(3, 2, dtype=torch.float64)
    native_layout.reduce(xp, mask=op, companion=ap, masked=xp, totals=totals)
    kept = torch.where(other > 0, x, torch.zeros_like(x))
    assert torch.equal(native_layout.from_native(xp), kept)
    sums = torch.stack([kept.double().sum((0, 2, 3)), (kept.double() * addend.double()).sum((0, 2, 3))], 1)
    torch.testing.assert_close(totals, sums, rtol=1e-4, atol=1e-3)


def test_totals_beside_a_bias_or_a_shift_are_refused() -> None:
    """The images that fill up a cell would be counted."""
    geometry, totals = ConvGeometry((2, 2, 1, 1)), torch.empty(2, 2, dtype=torch.float64)
    x, one = native_layout.to_native(torch.randn(3, 2, 4, 4)), torch.ones(2)
    weight = (torch.ones(2), torch.tensor([0, 3], dtype=torch.int32))
    for arguments in ({"bias": one}, {"epilogue": Epilogue(shift=one)}):
        with pytest.raises(InputError, match="a bias or a shift"):
            native_layout.conv2d_output(x, *weight, geometry, totals=totals, **arguments)
    with pytest.raises(InputError, match="a bias or a shift"):
        native_layout.conv2d_input_grad(
            x, *weight, weight[1] // 3, geometry, (4, 4), epilogue=Epilogue(shift=one), totals=totals
        )


def test_results_do_not_depend_on_threads() -> None:
    geometry = ConvGeometry((96, 64, 3, 3), padding=(1, 1, 1, 1))
    indices = (torch.rand(96 * 64 * 9) < 0.2).nonzero().flatten().int()
    values, x = torch.randn(len(indices)), native_layout.to_native(torch.randn(40, 64, 14, 14).bfloat16(), (1, 1, 1, 1))
    threads, results = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        totals = torch.empty(96, 2, dtype=torch.float64)
        y = native_layout.conv2d_output(x, values, indices, geometry, totals=totals)
        results.append((y.data, totals, conv2d_weight_grad(x, y, indices, geometry)))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_a_halo_that_is_wide_enough_is_used_as_it_is() -> None:
    packed = native_layout.to_native(torch.randn(3, 2, 4, 4), (1, 2, 1, 1))
    assert native_layout.with_halo(packed, (1, 1, 0, 1)) is packed
    wider = native_layout.with_halo(packed, (0, 3, 1, 2))
    assert wider.halo == (1, 3, 1, 2)
    assert torch.equal(native_layout.from_native(wider), native_layout.from_native(packed))
    assert not wider.data[:, 0].any()
    assert not wider.data[:, -3:].any()


def channelwise(coefficients: Tensor) -> Tensor:
    return coefficients.view(1, -1, 1, 1)
