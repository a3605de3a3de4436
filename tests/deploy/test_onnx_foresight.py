"""Are results foreseen as PyTorch's own shape rules give them, and is its compiler left alone?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mezzotint.deploy import Description, export
from mezzotint.deploy.onnx.foresight import foreseen

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
POOLS: tuple[tuple[Any, ...], ...] = (
    (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
)
AVERAGES: tuple[Any, ...] = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
KEEPING = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.LeakyReLU, nn.Tanh, nn.ELU)


def told(module: nn.Module, x: torch.Tensor) -> tuple[tuple[int, ...], torch.dtype] | None:
    """Shape and type by PyTorch; None: it refuses."""
    try:
        with torch.no_grad():
            y = module(x)
    except (RuntimeError, ValueError, IndexError):
        return None
    return tuple(y.shape), y.dtype


@st.composite
def modules(draw: st.DrawFn, axes: int) -> nn.Module:
    """Any layer that is foreseen, its settings not always sensible."""

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kind = draw(st.sampled_from(("conv", "max", "average", "whole", "norm", "linear", "keep")))
    if kind == "conv":
        groups = draw(st.sampled_from((1, 2)))
        return CONVOLUTIONS[axes - 1](4, 6, each(1, 4), each(1, 3), each(0, 2), each(1, 2), groups)
    if kind == "max":
        ceil = draw(st.booleans())
        return POOLS[0][axes - 1](each(1, 4), each(1, 3), each(0, 2), each(1, 2), ceil_mode=ceil)  # type: ignore[no-any-return]
    if kind == "average":
        return POOLS[1][axes - 1](each(1, 4), each(1, 3), each(0, 2), ceil_mode=draw(st.booleans()))  # type: ignore[no-any-return]
    if kind == "whole":
        size = draw(st.sampled_from((1, 3, each(1, 5)))) if axes == 1 else draw(st.sampled_from((1, 3, (None,) * axes)))
        return AVERAGES[axes - 1](size)  # type: ignore[no-any-return]
    if kind == "norm":
        return NORMS[axes - 1](draw(st.sampled_from((4, 5)))).eval()
    return nn.Linear(draw(st.integers(1, 9)), 3) if kind == "linear" else draw(st.sampled_from(KEEPING))()


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_it_is_as_pytorch_gives_it(data: st.DataObject) -> None:
    axes = data.draw(st.integers(1, 3))
    module = data.draw(modules(axes))
    sizes = [data.draw(st.integers(0, 9)) for _ in range(axes)]
    x = torch.zeros(data.draw(st.integers(0, 3)), data.draw(st.sampled_from((4, 4, 4, 3))), *sizes)
    found, wanted = foreseen(module, (x.to("meta"),)), told(module, x)
    if found is not None:
        assert (tuple(found.shape), found.dtype) == wanted
        assert found.is_meta
    elif wanted is not None:
        assert x.numel() == 0, "what PyTorch takes is foreseen, unless it is empty"


def test_a_compiler_is_not_loaded_for_shapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    file = tmp_path / "network.onnx"
    export(model, "onnx", file, description=Description(input_shape=(3, 16, 16)))
    script = f"""
import sys
import numpy as np
from mezzotint.deploy import Session
Session({str(file)!r}, 1).run([np.zeros((2, 3, 16, 16), np.float32)])
print([name for name in ("sympy", "torch._dynamo", "torch._inductor") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("other", [torch.int32, torch.float16])
def test_types_that_do_not_go_together_are_pytorchs_to_refuse(other: torch.dtype) -> None:
    assert foreseen(nn.Conv2d(3, 4, 1), (torch.zeros(1, 3, 2, 2, dtype=other, device="meta"),)) is None
    assert foreseen(nn.Linear(3, 4), (torch.zeros(1, 3, dtype=other, device="meta"),)) is None
