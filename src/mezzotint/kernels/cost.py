"""What will a kernel cost, before anyone has timed it? Estimates in dense-equivalent multiply-adds.

They are the ground of the deterministic rule. Only ratios matter; the constants come from ``bench/kernels.py`` and hold
within a factor of two on the machines in ``bench/results``.
"""

from __future__ import annotations

import math

from mezzotint.kernels.problem import Problem

#: Time of a multiply-add on a nonzero, in the time of one inside a dense convolution of the same machine.
SPARSE_PENALTY = 2.5
#: Time of moving one activation into or out of the native layout, in dense multiply-adds.
PACKING = 40.0
#: Channels that a dense kernel computes together.
VECTOR = 8
#: Time of scattering one weight into a dense one, in dense multiply-adds.
SCATTERING = 8.0


def dense(problem: Problem) -> float:
    """Multiply-adds of the dense convolution or product, and the scattering of its weight when it is sparse."""
    if problem.density is None:
        return _multiply_adds(problem)
    return _channel_padding(problem) * _multiply_adds(problem) + SCATTERING * _weights(problem)


def native(problem: Problem) -> float:
    """Multiply-adds on nonzeros at their price, and the packing of the activations."""
    density = 1.0 if problem.density is None else problem.density
    return SPARSE_PENALTY * density * _multiply_adds(problem) + PACKING * _activations(problem)


def _weights(problem: Problem) -> int:
    return math.prod(problem.attr("weight_shape"))


def _activations(problem: Problem) -> float:
    return float(sum(math.prod(problem.shape(name)) for name, _ in problem.shapes if name in ("x", "gy")))


def _multiply_adds(problem: Problem) -> float:
    """Weights times the positions at which each is used."""
    names = dict(problem.shapes)
    positions = problem.shape("gy" if "gy" in names else "x")
    pixels = math.prod(positions[2:]) if len(positions) == 4 else 1
    if "gy" not in names and len(positions) == 4:
        stride = problem.attr("stride")
        pixels = max(1, pixels // (stride[0] * stride[1]))
    weight = problem.shape("weight") if "weight" in names else problem.attr("weight_shape")
    return float(positions[0] * pixels * math.prod(weight))


def _channel_padding(problem: Problem) -> float:
    """How much work a dense kernel adds by filling its vectors: channels count in steps of eight."""
    outputs, inputs = problem.attr("weight_shape")[:2]
    return float(math.prod(-(-channels // VECTOR) * VECTOR / channels for channels in (outputs, inputs)))
