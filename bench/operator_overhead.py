"""What does a call of an operator cost beyond its kernel? Microseconds a call, and whole training steps.

    python bench/operator_overhead.py [--repeats 60] [--rounds 40]

Each operator is called on a tiny problem in four ways, turn by turn: its kernel straight from Python (with the output
allocated where the kernel wants that), and the operator without gradients, with gradients recorded, and inside
``torch.compile`` (Inductor). CPU time of one thread; the median of the differences between neighbours is told.

The step is ResNet-50's (every convolution of torch replaced), once through ``mezzotint.ops.conv2d`` and once through an
autograd function around the same three kernels, turn by turn, CPU time of the process.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import mezzotint as mz
from mezzotint import models, ops
from mezzotint.bench.machine import write_result
from mezzotint.kernels import dense, launch

ROOT = Path(__file__).resolve().parents[1]
CALLS = 40
"""Calls timed together: a clock's tick is small against them."""


def problems() -> dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Public function -> (its operator, positional arguments, keyword arguments)."""
    x1, x2, x3 = torch.randn(1, 4, 8), torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4, 4)
    w1, w2, w3 = (torch.randn(4, 4, *[3] * rank) for rank in (1, 2, 3))
    pattern = mz.Pattern.from_mask(torch.rand(4, 4, 3, 3) < 0.3)
    matrix = mz.Pattern.from_mask(torch.rand(4, 4) < 0.3)
    values, one = torch.randn(pattern.nnz), torch.rand(4) + 0.5
    same = {"padding": (1, 1)}
    return {
        "conv1d": ("conv1d", (x1, w1), {"padding": 1}),
        "conv2d": ("conv2d", (x2, w2), {**same, "stride": (1, 1)}),
        "conv3d": ("conv3d", (x3, w3), {"padding": 1}),
        "conv_transpose1d": ("conv_transpose1d", (x1, w1), {"padding": 1}),
        "conv_transpose2d": ("conv_transpose2d", (x2, w2), same),
        "conv_transpose3d": ("conv_transpose3d", (x3, w3), {"padding": 1}),
        "depthwise_conv2d": ("depthwise_conv2d", (x2, torch.randn(4, 1, 3, 3)), same),
        "conv2d_bn_act": ("conv2d_bn_act", (x2, w2, None, one, one, one, one), same),
        "sparse_conv2d": ("sparse_conv2d", (x2, values, pattern), same),
        "sparse_conv_transpose2d": ("sparse_conv_transpose2d", (x2, values, pattern), same),
        "sparse_linear": ("sparse_linear", (torch.randn(2, 4), torch.randn(matrix.nnz), matrix), {}),
        "max_pool": ("max_pool", (x2, 2), {}),
        "avg_pool": ("avg_pool", (x2, 2), {}),
        "lp_pool": ("lp_pool", (x2.abs(), 2.0, 2), {}),
        "adaptive_avg_pool": ("adaptive_avg_pool", (x2, 2), {}),
        "adaptive_max_pool": ("adaptive_max_pool", (x2, 2), {}),
        "global_avg_pool": ("adaptive_avg_pool", (x2,), {}),
        "batch_norm": ("batch_norm_inference", (x2, one, one, one, one), {}),
    }


def kernel_call(operator: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """The kernel that ``call`` comes to, with the very tensors and attributes that it gets, called from Python."""
    seen: list[Callable[[], Any]] = []
    found = ops.get(operator)
    original = found.plan

    def watch(inputs: Any, attrs: Any) -> Any:
        decision = found.decision(*inputs, **attrs)
        kernel, run = decision.kernel, original(inputs, attrs)
        if kernel.into:
            shapes = [(spec.shape, spec.dtype) for spec in run[1]]
            seen.append(lambda: kernel.run(*[torch.empty(s, dtype=d) for s, d in shapes], *inputs, **attrs))
        else:
            seen.append(lambda: kernel.run(*inputs, **attrs))
        return run

    found.plan = watch  # type: ignore[method-assign]
    launch.forget()
    call()
    del found.plan
    return seen[0]


def timed(call: Callable[[], Any]) -> float:
    """Microseconds of CPU time a call."""
    start = time.thread_time_ns()
    for _ in range(CALLS):
        call()
    return (time.thread_time_ns() - start) / CALLS / 1000


def with_gradients(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        a.clone().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments
    )


def overheads(repeats: int) -> dict[str, dict[str, float]]:
    """Public function -> microseconds of its kernel, and beyond it in the three ways of calling."""
    rows = {}
    for name, (operator, arguments, keywords) in problems().items():
        function = getattr(ops, name)
        call = lambda: function(*arguments, **keywords)  # noqa: B023, E731
        leaves = with_gradients(arguments)
        recorded = lambda: function(*leaves, **keywords)  # noqa: B023, E731
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bare = kernel_call(operator, call)
            torch._dynamo.reset()
            graph = torch.compile(lambda *tensors: function(*tensors, **keywords), fullgraph=True)  # noqa: B023
            compiled = lambda: graph(*arguments)  # noqa: B023, E731
            for _ in range(3):
                bare(), call(), compiled()
        recorded()
        samples: dict[str, list[float]] = {"kernel": [], "no_grad": [], "grad": [], "compiled": []}
        for _ in range(repeats):
            with torch.no_grad():
                base = timed(bare)
                samples["kernel"].append(base)
                samples["no_grad"].append(timed(call) - base)
                samples["compiled"].append(timed(compiled) - timed(bare))
            base = timed(bare)
            samples["grad"].append(timed(recorded) - base)
        rows[name] = {way: round(statistics.median(times), 2) for way, times in samples.items()}
    return rows


class _Direct(torch.autograd.Function):
    """The three dense kernels without any operator around them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, attrs: dict[str, Any]) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.attrs = attrs
        return dense.conv(x, weight, bias, **attrs)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needed, attrs = ctx.needs_input_grad, ctx.attrs
        gx = dense.conv_input_grad(gy, weight, input_size=x.shape[2:], **attrs) if needed[0] else None
        gw = dense.conv_weight_grad(x, gy, weight_shape=weight.shape, out_dtype=weight.dtype, **attrs)
        return gx, gw, None if bias is None else gy.sum((0, 2, 3)), None


class Replaced(nn.Module):
    """A convolution of torch, done through an operator or through its kernels."""

    direct = False

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.pads, self.dilation, self.groups = layer.stride, layer.padding, layer.dilation, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        if Replaced.direct:
            pads = [side for amount in self.pads for side in (amount, amount)]
            attrs = {"stride": self.stride, "padding": pads, "dilation": self.dilation, "groups": self.groups}
            result: Tensor = _Direct.apply(x, self.weight, self.bias, attrs)
            return result
        return ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.pads,
            dilation=self.dilation,
            groups=self.groups,
        )


def replace(module: nn.Module) -> int:
    """Replace every convolution below ``module``; returns their number."""
    count = 0
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, Replaced(child))
            count += 1
        else:
            count += replace(child)
    return count


def steps(rounds: int, batch: int, pixels: int) -> dict[str, Any]:
    """Seconds of a ResNet-50 training step through the operators and through the kernels, turn by turn."""
    torch.manual_seed(0)
    model = models.build("resnet50", num_classes=10)
    layers = replace(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.randn(batch, 3, pixels, pixels), torch.randint(10, (batch,))

    def step() -> float:
        start = time.process_time()
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return time.process_time() - start

    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * rounds + 2):
        Replaced.direct = bool((turn + turn // 2) % 2)  # operator, kernel, kernel, operator, ...
        taken = step()
        if turn >= 2:
            seconds[Replaced.direct].append(taken)
    through, direct = (statistics.median(seconds[key]) for key in (False, True))
    pairs = [a / b - 1 for a, b in zip(seconds[False], seconds[True], strict=True)]
    spread = statistics.stdev(pairs) / len(pairs) ** 0.5
    return {
        "network": "resnet50",
        "batch": batch,
        "pixels": pixels,
        "convolutions": layers,
        "rounds": rounds,
        "seconds_operators": round(through, 4),
        "seconds_kernels": round(direct, 4),
        "percent_more": round(100 * statistics.mean(pairs), 2),
        "percent_standard_error": round(100 * spread, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60, help="turns of 40 calls each")
    parser.add_argument(
        "--rounds", type=int, default=40, help="pairs of small steps, and a fifth of it of large ones; 0: none"
    )
    args = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    gc.disable()
    rows = overheads(args.repeats)
    table = Table(
        "function", "kernel, us", "no gradients", "gradients recorded", "compiled", title="beyond the kernel, us"
    )
    for name, row in rows.items():
        table.add_row(name, *(f"{row[way]:.1f}" for way in ("kernel", "no_grad", "grad", "compiled")))
    console.print(table)
    record: dict[str, Any] = {"microseconds": rows}
    gc.enable()
    if args.rounds:
        # A small step shows what a layer costs; one at ImageNet's size, whether anybody could notice.
        record["steps"] = [steps(args.rounds, 4, 96), steps(max(2, args.rounds // 5), 4, 224)]
        console.print(record["steps"])
    console.print(f"wrote {write_result(ROOT / 'bench' / 'results' / 'operator_overhead.json', record)}")


if __name__ == "__main__":
    main()
