"""Is every wrong call of the convolution family told in words that name the argument, what came and what is allowed?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint import ops
from mezzotint.errors import ShapeError

X = torch.zeros(2, 4, 8, 8)
W = torch.zeros(6, 4, 3, 3)
PATTERN = mz.Pattern.from_mask(torch.ones(6, 4, 3, 3, dtype=torch.bool))
VALUES = torch.zeros(PATTERN.nnz)


def conv(**changed: Any) -> Callable[[], Tensor]:
    arguments = {"x": X, "weight": W, **changed}
    return lambda: ops.conv2d(**arguments)


def sparse(**changed: Any) -> Callable[[], Tensor]:
    arguments = {"x": X, "values": VALUES, "pattern": PATTERN, **changed}
    return lambda: ops.sparse_conv2d(**arguments)


def gradient(name: str, **changed: Any) -> Callable[[], Tensor]:
    geometry = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "groups": 1}
    if name == "conv2d_input_grad":
        arguments = {"gy": torch.zeros(2, 6, 6, 6), "weight": W, "input_size": [8, 8], **changed}
        tensors = (arguments.pop("gy"), arguments.pop("weight"))
    else:
        arguments = {"x": X, "gy": torch.zeros(2, 6, 6, 6), "weight_shape": [6, 4, 3, 3], **changed}
        tensors = (arguments.pop("x"), arguments.pop("gy"))
    return lambda: ops.get(name)(*tensors, **{**geometry, **arguments})


#: What TensorFlow's tests of Conv2D call bad input, stage by stage, and what is this family's own.
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    # shape
    "rank of x": (conv(x=X[0, 0]), r"conv2d shapes: received x \[8, 8\].*allowed: 4 dimensions"),
    "rank of weight": (conv(weight=W[0]), r"conv2d shapes: .*weight \[4, 3, 3\]"),
    "data format": (conv(data_format="NCWH"), r'data_format: received NCWH; allowed: "NCHW" or "NHWC"'),
    "strides of N and C": (conv(stride=(1, 2, 2, 1)), r"stride: received \(1, 2, 2, 1\).*2 of them \(height, width\)"),
    "dilations of N and C": (conv(dilation=(1, 2, 2, 1)), r"dilation: received \(1, 2, 2, 1\)"),
    "depth is no multiple": (conv(x=X[:, :3]), r"input channels: received 3; allowed: 4 per group times 1"),
    "outputs are no multiple of groups": (
        conv(x=torch.zeros(2, 16, 8, 8), groups=4),
        r"groups: received 4; allowed: a divisor of the 6 channels",
    ),
    "groups of zero": (conv(groups=0), r"groups must be at least 1; received 0"),
    "stride of zero": (conv(stride=0, padding="SAME"), r"stride: received 0; allowed: an integer of at least 1"),
    "negative stride": (conv(stride=(1, -1)), r"stride: received \(1, -1\)"),
    "dilation of zero": (conv(dilation=(0, 1)), r"dilation: received \(0, 1\)"),
    "stride that is no number": (conv(stride=1.5), r"stride: received 1\.5"),
    "explicit padding too long": (conv(padding=[1, 2, 3]), r"padding: received \[1, 2, 3\].*2 pair\(s\)"),
    "explicit padding of N and C": (
        conv(padding=[[0, 0], [1, 1], [1, 1], [0, 0]]),
        r"padding: .*Batch and channels are not padded: leave their pairs out",
    ),
    "negative padding": (conv(padding=[[1, 1], [0, -1]]), r"padding item 3 must be at least 0"),
    "word for padding": (conv(padding="FULL"), r'padding: received FULL; allowed: "VALID", "SAME"'),
    "negative output": (conv(dilation=4), r"input height: received 8 \(padded 8\).*kernel's 9.*Pad more"),
    "bias": (conv(bias=torch.zeros(4)), r"bias shape: received \[4\]; allowed: \[6\], one an output channel"),
    # kernel
    "no filter elements": (conv(weight=W[:, :, :0]), r"weight shape: received \[6, 4, 0, 3\].*no empty"),
    "no filter depth": (conv(x=X[:, :0], weight=W[:, :0]), r"weight shape: received \[6, 0, 3, 3\].*no empty"),
    "types that differ": (conv(weight=W.double()), r"conv2d: weight dtype: received torch\.float64.*Cast one"),
    "whole numbers": (conv(x=X.int(), weight=W.int()), r"conv2d: x dtype: received torch\.int32"),
    "positions beyond 32 bits": (
        lambda: mz.Pattern(torch.zeros(1, dtype=torch.int64), (2**16, 2**16)),
        r"2147483648|2\*\*31|elements",
    ),
    # gradients
    "batch of the output gradient": (
        gradient("conv2d_weight_grad", gy=torch.zeros(3, 6, 6, 6)),
        r"output gradient: received \[3, 6, 6, 6\]; allowed: the output's \[2, 6, 6, 6\]",
    ),
    "depth of the output gradient": (
        gradient("conv2d_input_grad", gy=torch.zeros(2, 5, 6, 6)),
        r"output gradient: .*5",
    ),
    "size of the output gradient": (gradient("conv2d_input_grad", gy=torch.zeros(2, 6, 6, 5)), r"output gradient: .*5"),
    "scalar output gradient": (
        gradient("conv2d_input_grad", gy=torch.zeros(())),
        r"output gradient: received \[\]; allowed: 4 dimensions",
    ),
    "scalar output gradient of the weight": (
        gradient("conv2d_weight_grad", gy=torch.zeros(())),
        r"output gradient: received \[\]; allowed: 4 dimensions",
    ),
    "length of the input size": (gradient("conv2d_input_grad", input_size=[8, 8, 8]), r"input_size: .*2 size\(s\)"),
    "negative input size": (gradient("conv2d_input_grad", input_size=[8, -8]), r"input_size item 1 must be at least 1"),
    "input size that is no list": (gradient("conv2d_input_grad", input_size=8), r"input_size must be a list of int"),
    "weight shape": (gradient("conv2d_weight_grad", weight_shape=[6, 4, 3]), r"weight shape: received \[6, 4, 3\]"),
    # transposed
    "output_padding": (
        lambda: ops.conv_transpose2d(X, torch.zeros(4, 2, 3, 3), stride=2, output_padding=2),
        r"output_padding of the height: received 2; allowed: less than the stride 2 or the dilation 1",
    ),
    "SAME of a transposed one": (
        lambda: ops.conv_transpose2d(X, torch.zeros(4, 2, 3, 3), padding="SAME"),
        r"padding of a transposed convolution: received SAME.*in numbers",
    ),
    "too much cut off": (
        lambda: ops.conv_transpose2d(X[..., :1, :1], torch.zeros(4, 2, 3, 3), padding=2),
        r"padding of the height: received 2 before and 2 after, which leaves -1 outputs",
    ),
    "channels of a transposed one": (
        lambda: ops.conv_transpose2d(X, torch.zeros(5, 2, 3, 3)),
        r"input channels: received 4; allowed: 5, the weight's first size",
    ),
    # sparse
    "no pattern": (sparse(pattern=torch.ones(6, 4, 3, 3)), r"pattern: received Tensor.*Pattern\.from_mask"),
    "values": (sparse(values=VALUES[1:]), r"values shape: received \[215\]; allowed: \[216\]"),
    "rank of a sparse x": (sparse(x=X[0, 0]), r"x shape: received \[8, 8\]"),
    "depth of a sparse one": (sparse(x=X[:, :3]), r"input channels: received 3"),
    # depthwise, fused, normalised
    "multiplier": (
        lambda: ops.depthwise_conv2d(X, torch.zeros(4, 2, 3, 3)),
        r"weight shape: received \[4, 2, 3, 3\]; allowed: \[C multiplier, 1, kh, kw\]",
    ),
    "multiplier that does not divide": (
        lambda: ops.depthwise_conv2d(X, torch.zeros(6, 1, 3, 3)),
        r"groups: received 4; allowed: a divisor of the 6",
    ),
    "statistics": (
        lambda: ops.conv2d_bn_act(X, W, None, torch.zeros(4), torch.zeros(6)),
        r"mean shape: received \[4\]; allowed: \[6\], one a channel",
    ),
    "activation": (
        lambda: ops.conv2d_bn_act(X, W, None, torch.zeros(6), torch.zeros(6), activation="gelu"),
        r"activation must be one of none, relu, relu6, elu, leaky_relu; received 'gelu'",
    ),
    "one number a channel": (
        lambda: ops.batch_norm(torch.zeros(1, 3), None, None, training=True),
        r"x shape in training: received \[1, 3\]; allowed: more than one number a channel",
    ),
    "no statistics": (lambda: ops.batch_norm(X, None, None), r"running statistics: received None"),
    # pooling
    "padding of a window": (lambda: ops.max_pool2d(X, 3, padding=2), r"padding of the height: .*at most 1, half"),
    "divisor": (lambda: ops.avg_pool2d(X, 2, divisor_override=0), r"divisor_override: received 0"),
    "power": (lambda: ops.lp_pool2d(X, 0, 2), r"norm_type: received 0"),
    "empty image": (lambda: ops.avg_pool2d(X[:, :, :0], 2), r"x shape: received \[2, 4, 0, 8\].*no empty axis"),
    "adaptive size": (lambda: ops.adaptive_avg_pool2d(X, (3, 3, 3)), r"output_size: received \(3, 3, 3\)"),
    "rank of a pooling": (lambda: ops.max_pool2d(X[0, 0], 2), r"max_pool: x shape: received \[8, 8\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_are_told(name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises(ShapeError, match=words):
        call()


def test_a_wrong_call_stays_wrong() -> None:
    """Nothing of a refused call is remembered as good, and a good call stays good after it."""
    good = conv(padding=1)
    for _ in range(2):
        assert good().shape == (2, 6, 8, 8)
        with pytest.raises(ShapeError, match="bias shape"):
            conv(padding=1, bias=torch.zeros(4))()
