"""Does every registered kernel give the oracle's answer, in every type and layout that it says it takes?"""

from __future__ import annotations

import pytest
import torch
from problems import example

from mezzotint import ops
from mezzotint.kernels import Kernel

CASES = [
    (name, kernel)
    for name in ops.names()
    if not name.startswith("test_")
    for kernel in ops.get(name).kernels()
    if not kernel.oracle and kernel.device in ("any", "cpu")
]
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# Unit roundoff of the type (outputs are rounded to it once) times a growth bound for sums of a few hundred terms.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "kernel"), CASES, ids=lambda case: getattr(case, "name", case))
def test_kernel_equals_oracle(name: str, kernel: Kernel, dtype: torch.dtype) -> None:
    operator = ops.get(name)
    if kernel.dtypes and dtype not in kernel.dtypes:
        pytest.skip(f"{kernel.name} does not take {dtype}")
    done = 0
    for seed in range(12):
        call = example(name, seed, dtype)
        named = dict(zip([a.name for a in operator.definition.inputs], call.inputs, strict=True))
        refusal = kernel.refusal(operator.problem(named, call.attrs))
        if refusal is not None:
            continue
        done += 1
        found = operator.run(kernel.name, *call.inputs, **call.attrs)
        right = operator.run("reference", *call.inputs, **call.attrs)
        assert (found.shape, found.dtype) == (right.shape, right.dtype)
        scale = right.abs().max().item() if right.numel() else 1.0
        torch.testing.assert_close(
            found.double(), right.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * max(scale, 1e-3)
        )
    assert done >= 2, f"{kernel.name} refuses nearly all examples, the last one because {refusal}"


def test_every_operator_has_an_oracle_and_another_kernel() -> None:
    for name in ops.names():
        if name.startswith("test_"):
            continue
        kernels = ops.get(name).kernels()
        assert [kernel.name for kernel in kernels if kernel.oracle] == ["reference"]
        assert any(not kernel.oracle for kernel in kernels)
