"""Does every registered kernel give the oracle's answer, in every type and layout that it says it takes?"""

from __future__ import annotations

import pytest
import torch
from problems import example

from mezzotint import ops
from mezzotint.kernels import Kernel
from mezzotint.ops.plan import as_tuple

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
KERNELS = [
    (name, kernel)
    for name in ops.names()
    if not name.startswith("test_")
    for kernel in ops.get(name).kernels()
    if not kernel.oracle and kernel.device in ("any", "cpu")
]
CASES = [
    (name, kernel, dtype) for name, kernel in KERNELS for dtype in DTYPES if not kernel.dtypes or dtype in kernel.dtypes
]
# Unit roundoff of the type (outputs are rounded to it once) times a growth bound for sums of a few hundred terms.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}


@pytest.mark.parametrize(("name", "kernel", "dtype"), CASES, ids=lambda part: getattr(part, "name", str(part)))
def test_kernel_equals_oracle(name: str, kernel: Kernel, dtype: torch.dtype) -> None:
    operator = ops.get(name)
    done, refusals = 0, set()
    for seed in range(12):
        call = example(name, seed, dtype)
        named = dict(zip([a.name for a in operator.definition.inputs], call.inputs, strict=True))
        refusal = kernel.refusal(operator.problem(named, call.attrs))
        if refusal is not None:
            refusals.add(refusal)
            continue
        found = as_tuple(operator.run(kernel.name, *call.inputs, **call.attrs))
        right = as_tuple(operator.run("reference", *call.inputs, **call.attrs))
        done += bool(right[0].any())  # an empty or all-zero answer is right by chance
        for one, other in zip(found, right, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            scale = other.abs().max().item() if other.numel() else 1.0
            torch.testing.assert_close(
                one.double(), other.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * max(scale, 1e-3)
            )
    assert done >= 2, (
        f"{kernel.name} gave fewer than two answers that are not zero; it refused: {refusals or 'nothing'}"
    )


def test_no_kernel_is_left_out() -> None:
    for name, kernel in KERNELS:
        assert any(case[:2] == (name, kernel) for case in CASES), f"{kernel.name} of {name} takes none of {DTYPES}"


def test_every_operator_has_an_oracle_and_another_kernel() -> None:
    for name in ops.names():
        if name.startswith("test_"):
            continue
        kernels = ops.get(name).kernels()
        assert [kernel.name for kernel in kernels if kernel.oracle] == ["reference"]
        assert any(not kernel.oracle for kernel in kernels)
