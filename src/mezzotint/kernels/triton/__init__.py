"""How does a GPU compute with the nonzeros alone? Triton kernels that gather the activations of each nonzero.

Importing this package imports triton; :mod:`mezzotint.kernels.gather` does so once a problem on a GPU asks for it. A
program owns one output channel (input channel, for the input gradient) and a tile of pixels, or a few nonzeros of one
output channel and a share of the pixels. It walks along its nonzeros in the order of the pattern and accumulates in
FP32, without atomics: the same tensors give the same bits on every call.
"""

from __future__ import annotations

from mezzotint.kernels.triton.activations import conv2d_input_grad, conv2d_output
from mezzotint.kernels.triton.product import linear_input_grad, linear_output, linear_weight_grad
from mezzotint.kernels.triton.weight_grad import conv2d_weight_grad

__all__ = [
    "conv2d_input_grad",
    "conv2d_output",
    "conv2d_weight_grad",
    "linear_input_grad",
    "linear_output",
    "linear_weight_grad",
]
