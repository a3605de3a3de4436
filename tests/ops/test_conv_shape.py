"""Is the one shape rule right? Against PyTorch's own results, its definitions, and with sizes that nobody knows."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mezzotint import ops
from mezzotint.kernels.geometry import effective_kernel
from mezzotint.ops.conv_shape import conv_output, conv_transpose_output, resolve_padding, spatial_output

RANKS = st.integers(1, 3)


@st.composite
def axes(draw: st.DrawFn, rank: int) -> dict[str, list[int]]:
    """Sizes of an input, a window and its steps, such that one window fits at least."""
    take = lambda low, high: [draw(st.integers(low, high)) for _ in range(rank)]  # noqa: E731
    kernel, dilation = take(1, 3), take(1, 2)
    size = [effective_kernel(k, d) + draw(st.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True)]
    return {"size": size, "kernel": kernel, "stride": take(1, 3), "dilation": dilation}


@given(st.data(), RANKS, st.integers(1, 2), st.integers(0, 2))
def test_convolutions_have_the_size_that_pytorch_gives(data: st.DataObject, rank: int, groups: int, pad: int) -> None:
    a = data.draw(axes(rank))
    x = torch.empty(2, 2 * groups, *a["size"], device="meta")
    weight = torch.empty(3 * groups, 2, *a["kernel"], device="meta")
    torch_conv = getattr(F, f"conv{rank}d")
    wanted = torch_conv(x, weight, None, a["stride"], pad, a["dilation"], groups).shape
    attrs = {"stride": a["stride"], "padding": [pad] * (2 * rank), "dilation": a["dilation"], "groups": groups}
    assert conv_output(x.shape, weight.shape, **attrs, rank=rank) == tuple(wanted)  # type: ignore[arg-type]
    made = getattr(ops, f"conv{rank}d")(
        x, weight, None, stride=a["stride"], padding=pad, dilation=a["dilation"], groups=groups
    )
    assert made.shape == wanted
    last = getattr(ops, f"conv{rank}d")(
        x.movedim(1, -1),
        weight,
        stride=a["stride"],
        padding=pad,
        dilation=a["dilation"],
        groups=groups,
        data_format={1: "NWC", 2: "NHWC", 3: "NDHWC"}[rank],
    )
    assert last.shape == made.movedim(1, -1).shape


@given(st.data(), RANKS)
def test_same_gives_the_size_over_the_stride_rounded_up(data: st.DataObject, rank: int) -> None:
    a = data.draw(axes(rank))
    pads = resolve_padding("SAME", a["size"], a["kernel"], a["stride"], a["dilation"])
    for before, after in zip(pads[::2], pads[1::2], strict=True):
        assert after - before in (0, 1), "the odd one is at the end"
    out = spatial_output(a["size"], a["kernel"], stride=a["stride"], padding=pads, dilation=a["dilation"])
    assert out == tuple(-(-size // step) for size, step in zip(a["size"], a["stride"], strict=True))


@given(st.data(), RANKS, st.integers(0, 1))
def test_a_transposed_convolution_leads_back(data: st.DataObject, rank: int, pad: int) -> None:
    """``output_padding`` names which of the sizes that a convolution takes to one is meant."""
    a = data.draw(axes(rank))
    size = [n + 2 * pad for n in a["size"]]
    attrs = {"stride": a["stride"], "padding": [pad] * (2 * rank), "dilation": a["dilation"], "groups": 1}
    y = conv_output((1, 2, *size), (3, 2, *a["kernel"]), **attrs, rank=rank)  # type: ignore[arg-type]
    more = [
        (n + 2 * pad - effective_kernel(k, d)) % s
        for n, k, d, s in zip(size, a["kernel"], a["dilation"], a["stride"], strict=True)
    ]
    back = conv_transpose_output(y, (3, 2, *a["kernel"]), **attrs, output_padding=more, rank=rank)  # type: ignore[arg-type]
    assert back == (1, 2, *size)
    torch_conv = getattr(F, f"conv_transpose{rank}d")
    wanted = torch_conv(torch.empty(y), torch.empty(3, 2, *a["kernel"]), None, a["stride"], pad, more, 1, a["dilation"])
    assert back == tuple(wanted.shape)


@given(st.data(), RANKS, st.booleans())
def test_pools_have_the_size_that_pytorch_gives(data: st.DataObject, rank: int, ceil: bool) -> None:
    a = data.draw(axes(rank))
    # Over one and three axes PyTorch pads at most half of a window without its dilation.
    most = [
        k // 2 if rank != 2 else effective_kernel(k, d) // 2 for k, d in zip(a["kernel"], a["dilation"], strict=True)
    ]
    pads = [data.draw(st.integers(0, limit)) for limit in most]
    x = torch.randn(1, 2, *a["size"])
    wanted = getattr(F, f"max_pool{rank}d")(x, a["kernel"], a["stride"], pads, a["dilation"], ceil)
    made = ops.max_pool(x, a["kernel"], stride=a["stride"], padding=pads, dilation=a["dilation"], ceil_mode=ceil)
    assert torch.equal(made, wanted)


def test_what_depends_on_an_unknown_size_is_unknown() -> None:
    attrs = {"stride": [2, 2], "padding": [1] * 4, "dilation": [1, 1], "groups": 1}
    assert conv_output((None, 4, None, 9), (6, 4, 3, 3), **attrs) == (None, 6, None, 5)  # type: ignore[arg-type]
    assert conv_output((2, None, 9, 9), (None, 4, 3, 3), **attrs) == (2, None, 5, 5)  # type: ignore[arg-type]
    back = conv_transpose_output((None, 6, None, 5), (6, 4, 3, 3), **attrs, output_padding=[0, 0])  # type: ignore[arg-type]
    assert back == (None, 4, None, 9)
