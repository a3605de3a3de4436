"""How fast are the convolutions alone? Each layer and direction in the native layout against PyTorch's dense kernels.

Dense: BF16 in channels_last, and FP32 where asked. Sparse: BF16 in the native layout, where a network keeps it, with
random nonzeros. Sums over a network weigh each layer by how often it occurs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from mezzotint.bench.layers import Layer
from mezzotint.bench.roofline import Peaks
from mezzotint.kernels import native_layout, native_weight_grad
from mezzotint.sparse import Pattern

DIRECTIONS: Final = ("output", "input gradient", "weight gradient")
Job = Callable[[], object]
Row = dict[str, Any]
K = TypeVar("K", bound=Hashable)


def dense_jobs(layer: Layer, batch: int, dtype: torch.dtype) -> dict[str, Job]:
    """Direction -> PyTorch's own kernel in channels_last."""
    stride, pad = layer.stride, layer.kernel // 2
    x = torch.randn(batch, layer.inputs, layer.size, layer.size).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(layer.geometry.weight_shape).to(dtype, memory_format=torch.channels_last)
    gy = torch.randn_like(torch.nn.functional.conv2d(x, weight, None, stride, pad))

    def back(wanted: list[bool]) -> object:
        shape = ([stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1)
        return torch.ops.aten.convolution_backward(gy, x, weight, None, *shape, wanted)

    jobs: tuple[Job, ...] = (
        lambda: torch.nn.functional.conv2d(x, weight, None, stride, pad),
        lambda: back([True, False, False]),
        lambda: back([False, True, False]),
    )
    return dict(zip(DIRECTIONS, jobs, strict=True))


def sparse_jobs(
    layer: Layer, batch: int, density: float, dtype: torch.dtype = torch.bfloat16
) -> tuple[int, dict[str, Job]]:
    """The number of nonzeros, and direction -> our native kernel."""
    geometry, size = layer.geometry, (layer.size, layer.size)
    pattern = Pattern.from_mask(torch.rand(geometry.weight_shape) < density)
    values = torch.randn(pattern.nnz)
    x = native_layout.to_native(torch.randn(batch, layer.inputs, *size).to(dtype), geometry.padding)
    halo = geometry.input_grad_halo(size, layer.output_size)
    gy = native_layout.to_native(torch.randn(batch, layer.outputs, *layer.output_size).to(dtype), halo)
    weight: tuple[Tensor, Tensor, Tensor] = (values, pattern.indices, pattern.transposed)
    jobs: tuple[Job, ...] = (
        lambda: native_layout.conv2d_output(x, values, pattern.indices, geometry),
        lambda: native_layout.conv2d_input_grad(gy, *weight, geometry, size),
        lambda: native_weight_grad.conv2d_weight_grad(x, gy, pattern.indices, geometry),
    )
    return pattern.nnz, dict(zip(DIRECTIONS, jobs, strict=True))


def medians(jobs: Mapping[K, Job], rounds: int) -> dict[K, float]:
    """Milliseconds of each job: the median of ``rounds``, in each of which all take turns, after a round to warm up."""
    taken: dict[K, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            if turn:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in taken.items()}


def measure(
    layer: Layer, batch: int, densities: Sequence[float], *, rounds: int, peaks: Peaks, fp32: bool = False
) -> list[Row]:
    """One row a density and direction of ``layer``.

    Returns:
        Rows with ``layer`` (its numbers), ``density``, ``direction``, ``nnz``; in milliseconds ``ms``, ``dense_ms`` and
        (with ``fp32``) ``dense_fp32_ms``; ``dense_over_ours``, above 1 where the sparse kernel wins; and the kernel's
        place under the roofline, see :meth:`mezzotint.bench.roofline.Peaks.place`.
    """
    dense = {"dense_ms": dense_jobs(layer, batch, torch.bfloat16)}
    if fp32:
        dense["dense_fp32_ms"] = dense_jobs(layer, batch, torch.float32)
    sparse = {density: sparse_jobs(layer, batch, density) for density in densities}
    jobs: dict[tuple[str | float, str], Job] = {(side, d): job for side, js in dense.items() for d, job in js.items()}
    jobs |= {(density, d): job for density, (_, js) in sparse.items() for d, job in js.items()}
    ms = medians(jobs, rounds)
    return [
        {
            "layer": list(layer),
            "density": density,
            "direction": direction,
            "nnz": nnz,
            "ms": ms[density, direction],
            **{side: ms[side, direction] for side in dense},
            "dense_over_ours": ms["dense_ms", direction] / ms[density, direction],
            **peaks.place(layer.flop(nnz, batch), layer.bytes(batch), 1e-3 * ms[density, direction]),
        }
        for density, (nnz, _) in sparse.items()
        for direction in DIRECTIONS
    ]


def totals(rows: Sequence[Row], dense: str = "dense_ms") -> dict[str, dict[str, float]]:
    """Density -> ``"all"`` and each direction -> dense time / ours, summed over the network's layers."""
    found: dict[str, dict[str, float]] = {}
    for density in dict.fromkeys(row["density"] for row in rows):
        mine = [row for row in rows if row["density"] == density]
        groups = {"all": mine} | {name: [row for row in mine if row["direction"] == name] for name in DIRECTIONS}
        found[f"{density:g}"] = {name: _sum(group, dense) / _sum(group, "ms") for name, group in groups.items()}
    return found


def _sum(rows: Sequence[Row], key: str) -> float:
    return float(sum(row[key] * Layer(*row["layer"]).times for row in rows))
