"""What will a kernel cost, before anyone has timed it? Estimates in dense-equivalent multiply-adds.

They are the ground of the deterministic rule. Only ratios matter; the constants come from ``bench/kernels.py`` and hold
within a factor of two on the machines in ``bench/results``.
"""

from __future__ import annotations

import math

import torch

from mezzotint.kernels import native as native_library
from mezzotint.kernels.hardware import computes_in
from mezzotint.kernels.native_layout import lanes_of
from mezzotint.kernels.problem import Problem

#: Time of a multiply-add on a nonzero, in the time of one inside a dense convolution of the same machine.
SPARSE_PENALTY = 2.5
#: Time of moving one activation into or out of the native layout, in dense multiply-adds.
PACKING = 40.0
#: Channels that a dense kernel computes together.
VECTOR = 8
#: Time of a multiply-add of 32 bits, in the time of one of 16.
WIDENING = 2.0
#: Time of scattering one weight into a dense one, in dense multiply-adds.
SCATTERING = 8.0
#: Times as many dense multiply-adds in BF16 as on vectors, where there is a matrix unit; all else takes as long as
#: without one. ResNet-50's layers on two cores of a Xeon with AMX.
MATRIX_UNIT = 6.5
#: Time of a multiply-add of a native kernel that multiplies zeros as well on the unit, in dense ones.
ON_THE_UNIT = 1.1
#: Lanes for each image from which on a native weight gradient copies windows (``csrc/drive/columns.hpp``).
EMPTY_LANES = 2.0
#: Time of a multiply-add on a nonzero whose activation a GPU gathers, in dense ones, by the bytes of the type that the
#: dense kernel multiplies in. Counted from instructions per multiply-add against those of tensor cores, not measured.
GATHERING = {2: 80.0, 4: 40.0}


def dense(problem: Problem) -> float:
    """Multiply-adds of the dense convolution or product, and the scattering of its weight when it is sparse."""
    if problem.density is None:
        return _multiply_adds(problem)
    work = _channel_padding(problem) * _widening(problem) * _multiply_adds(problem)
    return work + SCATTERING * _unit(problem) * _weights(problem)


def native(problem: Problem) -> float:
    """Multiply-adds on nonzeros at their price, and the packing of the activations."""
    density = 1.0 if problem.density is None else problem.density
    waste, activations = _packed(problem)
    unit = _unit(problem)
    price = SPARSE_PENALTY * density if unit == 1.0 else min(SPARSE_PENALTY * density * unit, ON_THE_UNIT)
    return waste * (price * _multiply_adds(problem) + PACKING * unit * activations)


def wasted_lanes(batch: int, dtype: torch.dtype) -> float:
    """Lanes of the native layout's cells for each image: at least 1, which is reached where the batch fills them."""
    lanes = lanes_of(dtype)
    return -(-batch // lanes) * lanes / max(batch, 1)


def gather(problem: Problem) -> float:
    """Multiply-adds on nonzeros at the price of gathering, for kernels that need no dense weight on a GPU."""
    attrs = dict(problem.attrs)
    density = 1.0 if problem.density is None else problem.density
    # The dense weight gradient is computed in the type of the gradient, FP32 for FP32 masters.
    dense_type = torch.promote_types(problem.dtype, attrs.get("out_dtype", problem.dtype))
    # An input gradient visits every pixel of the input, and with a stride most of what it looks for is not there.
    visits = math.prod(attrs["stride"]) if "input_size" in attrs else 1
    return GATHERING[min(4, dense_type.itemsize)] * visits * density * _multiply_adds(problem)


def _weights(problem: Problem) -> int:
    return math.prod(problem.attr("weight_shape"))


def _packed(problem: Problem) -> tuple[float, float]:
    """The lanes for each image, or each pixel where pixels fill them, and the activations that are copied."""
    shapes = {name: problem.shape(name) for name, _ in problem.shapes if name in ("x", "gy")}
    of_output = shapes["gy"] if "gy" in shapes else shapes["x"]
    activations = float(sum(math.prod(shape) for shape in shapes.values()))
    images = wasted_lanes(of_output[0], problem.dtype)
    count = of_output[0] * math.prod(of_output[2:])
    pixels = wasted_lanes(count, problem.dtype)
    attrs, taps = dict(problem.attrs), math.prod(problem.attr("weight_shape")[2:])
    if taps == 1 and max(attrs.get("stride", ()), default=1) == 1 and not any(attrs.get("padding", ())):
        return pixels, activations
    if len(shapes) == 2 and (taps == 1 or images >= EMPTY_LANES):  # of a weight gradient, windows are copied
        return pixels, float(count * (shapes["x"][1] * taps + of_output[1]))
    return images, activations


def _multiply_adds(problem: Problem) -> float:
    """Weights times the positions at which each is used."""
    names, attrs = dict(problem.shapes), dict(problem.attrs)
    positions = problem.shape("gy" if "gy" in names else "x")
    pixels = math.prod(positions[2:])
    if "gy" not in names and "output_padding" not in attrs:  # a transposed convolution reads each of its pixels whole
        pixels = max(1, pixels // math.prod(attrs.get("stride", ())))
    weight = problem.shape("weight") if "weight" in names else attrs["weight_shape"]
    return float(positions[0] * pixels * math.prod(weight))


def _unit(problem: Problem) -> float:
    """How much faster dense multiply-adds are than those on vectors."""
    has_unit = native_library.unavailable() is None and native_library.has_matrix_unit()
    return MATRIX_UNIT if problem.device == "cpu" and problem.dtype == torch.bfloat16 and has_unit else 1.0


def _widening(problem: Problem) -> float:
    """How much longer a weight gradient takes a CPU in a wider type than the activations'; a GPU's factors hold it."""
    out_dtype = dict(problem.attrs).get("out_dtype", problem.dtype)
    wider = (
        out_dtype.itemsize > problem.dtype.itemsize and problem.device == "cpu" and computes_in(problem.dtype, "cpu")
    )
    return max(WIDENING, _unit(problem)) if wider else 1.0


def _channel_padding(problem: Problem) -> float:
    """How much work a dense kernel adds by filling its vectors: channels count in steps of eight."""
    outputs, inputs = problem.attr("weight_shape")[:2]
    return float(math.prod(-(-channels // VECTOR) * VECTOR / channels for channels in (outputs, inputs)))
