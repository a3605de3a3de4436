"""Is a 16-bit network without 16-bit arithmetic the same network? Rounded operands, FP32 sums, 16-bit storage."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mezzotint.precision.stored_half import StoredHalf

DTYPES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_convolution_rounds_its_operands_and_its_result(dtype: torch.dtype) -> None:
    x, weight, bias = torch.randn(3, 4, 8, 8), torch.randn(5, 4, 3, 3), torch.randn(5)
    with torch.autocast("cpu", dtype), StoredHalf(dtype):
        y = F.conv2d(x, weight, bias, padding=1)
    rounded = [t.to(dtype).double() for t in (x, weight, bias)]
    exact = F.conv2d(*rounded, padding=1)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact, rtol=2.0 * torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_those_of_the_rounded_operands(dtype: torch.dtype) -> None:
    x, weight = torch.randn(6, 10, requires_grad=True), torch.randn(7, 10, requires_grad=True)
    with torch.autocast("cpu", dtype), StoredHalf(dtype):
        y = F.linear(x, weight)
    gy = torch.randn(6, 7).to(dtype)
    y.backward(gy)
    assert weight.grad is not None
    assert x.grad is not None
    torch.testing.assert_close(weight.grad, gy.float().t() @ x.detach().to(dtype).float())
    torch.testing.assert_close(x.grad, gy.float() @ weight.detach().to(dtype).float())


def test_saved_activations_take_sixteen_bits_and_lose_nothing() -> None:
    packed: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watched(StoredHalf):
        def _pack(self, x: torch.Tensor) -> torch.Tensor:
            packed.append((x, super()._pack(x)))
            return packed[-1][1]

    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), Watched(torch.bfloat16):
        F.linear(x, weight)
    assert len(packed) == 2
    for before, after in packed:
        assert after.dtype == torch.bfloat16
        assert torch.equal(before, after.float())


def test_other_functions_are_left_alone() -> None:
    x = torch.randn(4, 4)
    with StoredHalf(torch.bfloat16):
        assert torch.equal(F.relu(x), x.clamp_min(0))
        assert F.softmax(x, dim=1).dtype == torch.float32


KINDS = [torch.int64, torch.float64, torch.complex64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("inner", ["on", "off", "of another type"])
def test_it_casts_what_autocast_casts(kind: torch.dtype, inner: str) -> None:
    """602 is no BF16 number."""
    x = torch.tensor([[602, 0], [0, 1]]).to(kind)
    y = torch.eye(2).to(kind)
    local = torch.autocast("cpu", torch.float16 if inner == "of another type" else torch.bfloat16, inner != "off")
    with torch.autocast("cpu", torch.bfloat16):
        with local:
            expected = torch.mm(x, y)
        with StoredHalf(torch.bfloat16), local:
            found = torch.mm(x, y)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_types_that_do_not_fit_are_refused_as_by_autocast() -> None:
    with (
        torch.autocast("cpu", torch.bfloat16),
        StoredHalf(torch.bfloat16),
        pytest.raises(RuntimeError, match="same dtype"),
    ):
        torch.mm(torch.eye(2), torch.eye(2, dtype=torch.float64))


def test_a_result_goes_where_it_is_told_to() -> None:
    out = torch.zeros(1, 1)
    with torch.autocast("cpu", torch.bfloat16), StoredHalf(torch.bfloat16):
        torch.mm(torch.full((1, 1), 602.0), torch.ones(1, 1), out=out)
    assert out.item() == 602.0


def test_a_master_weight_gets_more_than_sixteen_bits_of_gradient() -> None:
    weight = torch.zeros(1, 3, requires_grad=True)
    x = torch.tensor([[1.0, 1.0, 1.0], [2.0**-12, 0.0, 0.0]])
    with torch.autocast("cpu", torch.bfloat16), StoredHalf(torch.bfloat16):
        total = F.linear(x, weight).float().sum()
    total.backward()
    assert weight.grad is not None
    assert weight.grad[0, 0].item() == 1.0 + 2.0**-12
