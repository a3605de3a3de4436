"""Do the Triton kernels give the oracle's answer? In Triton's interpreter without a GPU, and on one that is at hand.

The interpreter must be chosen before triton is imported and then holds for the whole process. So this file is also a
program: run by itself it checks all cases on the CPU and prints one line of JSON with the error of each. ::

    TRITON_INTERPRET=1 python tests/kernels/test_triton.py
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mezzotint import ops
from mezzotint.kernels import KERNELS, Kernel, Problem, cost, gather, launch
from mezzotint.kernels.table import KernelTable
from mezzotint.ops.sparse_family import transposed_order

NAME = "triton_gather"
DIRECTIONS = ("", "_input_grad", "_weight_grad")
OPERATORS = [family + direction for family in ("sparse_conv2d", "sparse_linear") for direction in DIRECTIONS]
#: Unit roundoff of the type times a growth bound, as in the contract tests of all kernels.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}
SEEDS = 8
CONTRACTS = str(Path(__file__).resolve().parents[1] / "contracts")

Case = Callable[[torch.device], None]


def kernel_of(op: str) -> Kernel:
    return next(kernel for kernel in KERNELS.of(op) if kernel.name == NAME)


def moved(tensors: tuple[Tensor | None, ...], device: torch.device) -> list[Tensor | None]:
    return [None if tensor is None else tensor.to(device) for tensor in tensors]


def close(found: Tensor, right: Tensor, tolerance: float) -> None:
    scale = right.abs().max().item() if right.numel() else 1.0
    torch.testing.assert_close(
        found.double().cpu(), right.double().cpu(), rtol=tolerance, atol=tolerance * max(scale, 1e-3)
    )


def check(op: str, inputs: tuple[Tensor | None, ...], attrs: dict[str, Any], device: torch.device) -> Tensor:
    """Hold the kernel against the oracle; the output that it must fill holds NaN before."""
    right = ops.get(op).run("reference", *inputs, **attrs)
    found = torch.full_like(right, float("nan"), device=device)
    kernel_of(op).run(found, *moved(inputs, device), **attrs)
    first = inputs[0]
    assert first is not None
    close(found, right, TOLERANCE[first.dtype])
    return found


class Layer:
    """A sparse convolution with its three directions as calls."""

    def __init__(
        self,
        x: tuple[int, ...],
        weight: tuple[int, ...],
        mask: Tensor,
        dtype: torch.dtype = torch.float32,
        **geometry: Any,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.attrs = {
            "weight_shape": list(weight),
            "stride": [1, 1],
            "padding": [1, 1, 1, 1],
            "dilation": [1, 1],
            "groups": 1,
            **geometry,
        }
        self.x = torch.randn(x, generator=generator).to(dtype)
        self.indices = mask.flatten().nonzero().flatten().to(torch.int32)
        self.transposed = transposed_order(self.indices, weight)
        self.values = torch.randn(self.indices.numel(), generator=generator)
        self.bias = torch.randn(weight[0], generator=generator)
        y = ops.get("sparse_conv2d").run("reference", *self.output(), **self.attrs)
        self.gy = torch.randn(y.shape, generator=generator).to(dtype)

    def output(self) -> tuple[Tensor | None, ...]:
        return self.x, self.values, self.indices, self.transposed, self.bias

    def calls(self) -> list[tuple[str, tuple[Tensor | None, ...], dict[str, Any]]]:
        """Operator, inputs and attributes of each direction."""
        sizes = {"input_size": list(self.x.shape[2:])}
        return [
            ("sparse_conv2d", self.output(), self.attrs),
            (
                "sparse_conv2d_input_grad",
                (self.gy, self.values, self.indices, self.transposed),
                {**self.attrs, **sizes},
            ),
            (
                "sparse_conv2d_weight_grad",
                (self.x, self.gy, self.indices),
                {**self.attrs, "out_dtype": torch.float32},
            ),
        ]


def drawn(shape: tuple[int, ...], density: float) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < density


def contract(op: str, dtype: torch.dtype) -> Case:
    """The calls of the contract tests: every geometry, batch 0, no nonzeros, every layout in memory."""

    def case(device: torch.device) -> None:
        if CONTRACTS not in sys.path:
            sys.path.insert(0, CONTRACTS)
        from problems import example

        for seed in range(SEEDS):
            call = example(op, seed, dtype)
            check(op, call.inputs, call.attrs, device)

    return case


def empty_rows(device: torch.device) -> None:
    """Channels without a nonzero get the bias, or zeros; the others begin where they should."""
    mask = drawn((6, 4, 3, 3), 0.4)
    mask[[0, 2, 3, 5]] = False
    mask[:, [0, 3]] = False
    layer = Layer((2, 4, 5, 5), (6, 4, 3, 3), mask)
    found = [check(*call, device) for call in layer.calls()]
    assert (found[0][:, 0] == layer.bias[0].to(device)).all()
    assert (found[1][:, 3] == 0).all()


def no_nonzeros(device: torch.device) -> None:
    layer = Layer((2, 4, 5, 5), (6, 4, 3, 3), torch.zeros(6, 4, 3, 3, dtype=torch.bool))
    for call in layer.calls():
        check(*call, device)


def batch_zero(device: torch.device) -> None:
    layer = Layer((0, 4, 5, 5), (6, 4, 3, 3), drawn((6, 4, 3, 3), 0.4))
    assert (check(*layer.calls()[2], device) == 0).all()
    for call in layer.calls():
        check(*call, device)


def grouped_stride_dilation(device: torch.device) -> None:
    geometry: dict[str, Any] = {"stride": [2, 3], "padding": [3, 1, 0, 2], "dilation": [2, 1], "groups": 3}
    for dtype in TOLERANCE:
        layer = Layer((3, 6, 9, 10), (9, 2, 3, 2), drawn((9, 2, 3, 2), 0.3), dtype, **geometry)
        for call in layer.calls():
            check(*call, device)


def depthwise(device: torch.device) -> None:
    layer = Layer((2, 5, 7, 7), (5, 1, 3, 3), drawn((5, 1, 3, 3), 0.5), groups=5)
    for call in layer.calls():
        check(*call, device)


def layouts(device: torch.device) -> None:
    """Channels-last and sliced activations, and values that do not lie side by side."""
    for last in (True, False):
        layer = Layer((2, 6, 6, 5), (4, 6, 3, 3), drawn((4, 6, 3, 3), 0.2))
        if last:
            layer.x, layer.gy = (t.contiguous(memory_format=torch.channels_last) for t in (layer.x, layer.gy))
        else:
            layer.x, layer.gy = (torch.stack([t, t], dim=-1)[..., 0] for t in (layer.x, layer.gy))
        layer.values = torch.stack([layer.values, layer.values], dim=-1)[:, 0]
        for call in layer.calls():
            check(*call, device)


def pixels_split(device: torch.device) -> None:
    """Few nonzeros and many pixels: several tiles, and parts of the weight gradient that are added afterwards."""
    from mezzotint.kernels.triton.weight_grad import split

    layer = Layer((2, 2, 35, 31), (1, 2, 3, 3), drawn((1, 2, 3, 3), 0.4), torch.float16)
    parts, tiles = split(1, -(-layer.gy[:, 0].numel() // 128))
    assert parts > 1
    assert parts * tiles * 128 >= layer.gy[:, 0].numel()
    first, again = ([check(*call, device) for call in layer.calls()] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def many_nonzeros(device: torch.device) -> None:
    """More nonzeros of a channel than a program takes at a time, and fewer shares than the fullest channel wants."""
    mask = drawn((3, 16, 3, 3), 0.05)
    mask[1] = True
    layer = Layer((1, 16, 4, 4), (3, 16, 3, 3), mask)
    for call in layer.calls():
        check(*call, device)


def wide_offsets(device: torch.device) -> None:
    """The code for tensors of 2**31 elements and more, on small ones."""
    from mezzotint.kernels.triton import geometry

    narrow, geometry.NARROW = geometry.NARROW, 0
    try:
        grouped_stride_dilation(device)
        pixels_split(device)
    finally:
        geometry.NARROW = narrow


def beyond_int32(device: torch.device) -> None:
    """The third image begins 2**31 elements after the first; on a CPU the 4 GiB between are promised, never touched."""
    layer = Layer((3, 3, 4, 4), (2, 3, 3, 3), drawn((2, 3, 3, 3), 0.4), torch.float16)
    buffer, used = torch.empty(2**31 + 4096, dtype=torch.float16, device=device), 0

    def apart(t: Tensor) -> Tensor:
        nonlocal used
        made, used = buffer.as_strided(t.shape, (2**30, *t.stride()[1:]), used), used + t[0].numel()
        return made.copy_(t)

    for op, inputs, attrs in layer.calls():
        right = ops.get(op).run("reference", *inputs, **attrs)
        found = apart(torch.full_like(right, float("nan"))) if right.dim() == 4 else torch.empty_like(right).to(device)
        given = [t if t is None or t.dim() != 4 else apart(t) for t in inputs]
        kernel_of(op).run(found, *moved(tuple(given), device), **attrs)
        close(found, right, TOLERANCE[torch.float16])


def infinite_activations(device: torch.device) -> None:
    """What no nonzero reads cannot spoil a sum, whereas the zeros of a dense weight would."""
    mask = torch.zeros(2, 3, 1, 1, dtype=torch.bool)
    mask[:, 1] = True
    layer = Layer((2, 3, 4, 4), (2, 3, 1, 1), mask, padding=[0, 0, 0, 0])
    layer.x[:, [0, 2]] = float("inf")
    calls = layer.calls()
    for op, inputs, attrs in (calls[0], calls[2]):
        found = torch.full_like(layer.gy if op == "sparse_conv2d" else layer.values, float("nan"), device=device)
        kernel_of(op).run(found, *moved(inputs, device), **attrs)
        assert found.isfinite().all()
    grad = torch.full_like(layer.x, float("nan"), device=device)
    layer.gy[:, 0] = float("inf")
    layer.values[0] = 0.5
    op, inputs, attrs = layer.calls()[1]
    kernel_of(op).run(grad, *moved(inputs, device), **attrs)
    assert (grad[:, [0, 2]] == 0).all()
    assert grad[:, 1].isposinf().all()


def sums_in_float32(device: torch.device) -> None:
    """With 16-bit activations only the values are rounded: seen in an output that is FP32, it is as exact as FP32."""
    for dtype in (torch.bfloat16, torch.float16):
        layer = Layer((2, 8, 6, 6), (4, 8, 3, 3), drawn((4, 8, 3, 3), 0.5), dtype)
        for op, inputs, attrs in layer.calls():
            wide = tuple(t.to(dtype).double() if t is layer.values else t for t in inputs)
            wide = tuple(t.double() if t is not None and t.dtype == dtype else t for t in wide)
            if "out_dtype" in attrs:
                right = ops.get(op).run("reference", *wide, **{**attrs, "out_dtype": torch.float64})
            else:
                right = ops.get(op).run("reference", *wide, **attrs)
            found = torch.full_like(right, float("nan"), dtype=torch.float32, device=device)
            kernel_of(op).run(found, *moved(inputs, device), **attrs)
            close(found, right, TOLERANCE[torch.float32])


def drawn_masks(device: torch.device) -> None:
    """Segments of every length, found by the search in both orders."""
    from mezzotint.kernels.triton import segments
    from mezzotint.kernels.triton.geometry import Convolution

    rng = random.Random(0)
    for _ in range(12):
        groups = rng.choice([1, 2, 3])
        shape = (groups * rng.randint(1, 4), rng.randint(1, 5), rng.randint(1, 3), rng.randint(1, 2))
        mask = torch.rand(shape) < rng.choice([0.0, 0.1, 0.6, 1.0])
        indices = mask.flatten().nonzero().flatten().to(torch.int32).to(device)
        conv = Convolution(shape, (1, 1), (0, 0, 0, 0), (1, 1), groups)
        rows = segments.by_output_channel(indices, conv)
        assert rows.diff().tolist() == mask.flatten(1).sum(1).tolist()
        columns = segments.by_input_channel(indices, transposed_order(indices, shape), conv)
        of_group = mask.view(groups, -1, *shape[1:]).sum((1, 3, 4))  # [group, channel inside the group]
        assert columns.diff().tolist() == of_group.t().flatten().tolist()
        assert (rows[0].item(), columns[-1].item()) == (0, indices.numel())


CASES: dict[str, Case] = {
    **{f"{op}-{str(dtype).removeprefix('torch.')}": contract(op, dtype) for op in OPERATORS for dtype in TOLERANCE},
    **{
        case.__name__: case
        for case in (
            empty_rows,
            no_nonzeros,
            batch_zero,
            grouped_stride_dilation,
            depthwise,
            layouts,
            pixels_split,
            many_nonzeros,
            wide_offsets,
            beyond_int32,
            infinite_activations,
            sums_in_float32,
            drawn_masks,
        )
    },
}
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed: pip install '.[gpu]'")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str | None]:
    """Case -> its error in Triton's interpreter, or None."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


@needs_triton
@pytest.mark.parametrize("case", CASES)
def test_interpreter_equals_oracle(case: str, interpreted: dict[str, str | None]) -> None:
    assert interpreted[case] is None, interpreted[case]


@needs_triton
@needs_gpu
@pytest.mark.parametrize("case", CASES)
def test_gpu_equals_oracle(case: str) -> None:
    assert gather.unavailable() is None
    CASES[case](torch.device("cuda"))


@needs_triton
@needs_gpu
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_through_the_launcher(dtype: torch.dtype) -> None:
    found: dict[str, list[Tensor]] = {}
    for name in (NAME, "reference"):
        layer = Layer((2, 6, 7, 7), (4, 6, 3, 3), drawn((4, 6, 3, 3), 0.2), dtype, stride=[2, 2])
        leaves = [t.cuda().requires_grad_() for t in (layer.x, layer.values, layer.bias)]
        with launch.policy(name):
            indices = layer.indices.cuda(), layer.transposed.cuda()
            y = ops.get("sparse_conv2d")(leaves[0], leaves[1], *indices, leaves[2], **layer.attrs)
            y.backward(layer.gy.cuda())
        found[name] = [y, *(leaf.grad for leaf in leaves if leaf.grad is not None)]
    for one, other in zip(found[NAME], found["reference"], strict=True):
        close(one.detach(), other.detach(), TOLERANCE[dtype])


_SIGNATURES = r"""
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mezzotint.kernels.triton import activations, geometry, segments, weight_grad

ints = ("indices", "transposed", "starts", "order")
conv = geometry.Convolution((8, 8, 3, 3), (2, 1), (1, 1, 1, 1), (1, 1), 1).constants()
tiled = {**conv, "NONZEROS": 4, "PIXELS": 512}
search = {"TAPS": 9, "TRANSPOSED": True, "BLOCK": 128}
for kind, sums, index in (("*bf16", "*fp32", tl.int32), ("*fp16", "*fp16", tl.int64), ("*fp32", "*fp64", tl.int32)):
    floats = {**dict.fromkeys(("x", "y", "gx", "gy", "weights"), kind), "bias": "*fp32", "sums": sums}
    types = {**floats, **dict.fromkeys(ints, "*i32")}
    for kernel, constants in (
        (activations._output, {**tiled, "BIAS": True, "INDEX": index}),
        (activations._input_grad, {**tiled, "INDEX": index}),
        (weight_grad._weight_grad, {**conv, "NONZEROS": 16, "PIXELS": 128, "INDEX": index}),
        (segments._search, search),
    ):
        signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names}
        source = ASTSource(kernel, signature, constants)
        made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=dict(geometry.OPTIONS))
        assert "st.global" in made.asm["ptx"] and len(made.asm["cubin"]) > 1000
        assert "ld.local" not in made.asm["ptx"]
"""


@needs_triton
def test_kernels_compile_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    """The interpreter forgives what the compiler does not: types of loop variables, say."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    script = tmp_path / "compile_all.py"
    script.write_text(_SIGNATURES, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_operators_are_imported_without_triton() -> None:
    code = (
        "import sys; import mezzotint, mezzotint.ops; from mezzotint.kernels import KERNELS; "
        f"assert any(kernel.name == {NAME!r} for kernel in KERNELS); "
        "assert not [name for name in sys.modules if name.split('.')[0] == 'triton' or 'kernels.triton' in name]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def problem(op: str, density: float, dtype: torch.dtype = torch.bfloat16, stride: int = 1) -> Problem:
    """A ResNet layer on a GPU: 256 channels at 14x14, batch 32."""
    activations = "gy" if op.endswith("input_grad") else "x"
    shapes: list[tuple[str, tuple[int, ...] | None]] = [(activations, (32, 256, 14, 14))]
    attrs: list[tuple[str, Any]] = [("weight_shape", (256, 256, 3, 3)), ("stride", (stride, stride)), ("groups", 1)]
    if op.endswith("input_grad"):
        attrs.append(("input_size", (14 * stride, 14 * stride)))
    if op.endswith("weight_grad"):
        shapes.append(("gy", (32, 256, 14, 14)))
        attrs.append(("out_dtype", torch.float32))
    return Problem(op=op, device="cuda", dtype=dtype, shapes=tuple(shapes), attrs=tuple(attrs), density=density)


@pytest.mark.parametrize("op", [op for op in OPERATORS if "conv2d" in op])
def test_rule_scatters_unless_density_is_very_low(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "unavailable", lambda: None)
    launch.forget()
    chosen = {density: launch.decide(problem(op, density)) for density in (0.5, 0.1, 0.05, 0.01, 0.002)}
    launch.forget()
    names = [decision.kernel.name for decision in chosen.values()]
    assert names == ["scatter", "scatter", "scatter", NAME, NAME]
    assert all(NAME in decision.estimates and "scatter" in decision.estimates for decision in chosen.values())


def test_stride_makes_the_input_gradient_dearer() -> None:
    one, two = (cost.gather(problem("sparse_conv2d_input_grad", 0.01, stride=stride)) for stride in (1, 2))
    assert two == 4 * one


def test_refusals_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, asked = kernel_of("sparse_conv2d"), problem("sparse_conv2d", 0.01)
    assert kernel.refusal(replace(asked, device="cpu")) == "it runs on cuda, the tensors are on cpu"
    assert "float64" in str(kernel.refusal(replace(asked, dtype=torch.float64)))
    large = replace(asked, attrs=(("weight_shape", (2**20, 2**11, 1, 1)),))
    assert "32 bits" in str(kernel.refusal(large))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gather.unavailable.cache_clear()
    assert kernel.refusal(asked) == "PyTorch finds no GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: ((7, 5), (9, 0))[device])
    gather.unavailable.cache_clear()
    assert kernel.refusal(asked) == "Triton needs compute capability 8.0 or more, a GPU here has 7.5"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(gather, "find_spec", lambda name: None)
    gather.unavailable.cache_clear()
    assert kernel.refusal(asked) == "triton is not installed: run `pip install 'mezzotint[gpu]'`"
    gather.unavailable.cache_clear()


def test_the_table_holds_one_gather_kernel_for_each_direction() -> None:
    assert isinstance(KERNELS, KernelTable)
    assert sorted(kernel.op for kernel in KERNELS if kernel.name == NAME) == sorted(
        [*OPERATORS, "sparse_conv_transpose2d"]
    )


def _main() -> None:
    """Every case on the CPU; errors as JSON."""
    torch.set_num_threads(1)
    errors: dict[str, str | None] = {}
    for name, case in CASES.items():
        try:
            case(torch.device("cpu"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test of this case tells it
            errors[name] = f"{type(error).__name__}: {error}"
        else:
            errors[name] = None
    sys.stdout.write(json.dumps(errors))


if __name__ == "__main__":
    _main()
