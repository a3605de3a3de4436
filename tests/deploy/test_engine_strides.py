"""Do windows of stride 2 read what the step before wrote for them, at any size, and nothing that was left there?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deploy_networks import difference, images, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session
from mezzotint.deploy.engine import EngineModel
from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


class Halving(nn.Module):
    """A convolution, then windows of stride 2 that read its result, beside others if asked for."""

    def __init__(self, windows: list[nn.Module], also_whole: bool, positive: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.act = nn.ReLU() if positive else nn.Identity()
        self.windows = nn.ModuleList(windows)
        self.last = nn.Conv2d(6, 3, 1)
        self.also_whole = also_whole

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        found = [nn.functional.adaptive_avg_pool2d(window(x), 1) for window in self.windows]
        if self.also_whole:
            found.append(nn.functional.adaptive_avg_pool2d(self.last(x), 1))
        return torch.cat(found, 1)


def window_of(kind: str, kernel: int, padding: int) -> nn.Module:
    if kind == "max":
        return nn.MaxPool2d(kernel, 2, min(padding, kernel // 2))
    if kind == "average":
        return nn.AvgPool2d(kernel, 2, min(padding, kernel // 2))
    return nn.Conv2d(6, 6, kernel, 2, padding, groups=6 if kind == "depthwise" else 1)


def poisoned(session: Session, shape: tuple[int, ...]) -> None:
    """Fill the session's memory with NaN: who reads what is no pixel shows it."""
    session.run([np.full(shape, np.nan, np.float32)])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_windows_of_stride_two(data: st.DataObject) -> None:
    kinds = st.tuples(st.sampled_from(["conv", "depthwise", "max", "average"]), st.integers(1, 4), st.integers(0, 2))
    windows = [window_of(*data.draw(kinds)) for _ in range(data.draw(st.integers(1, 3)))]
    torch.manual_seed(1)
    model = Halving(windows, data.draw(st.booleans()), data.draw(st.booleans()))
    if data.draw(st.booleans()):
        model = mz.sparsify(model, 0.5, "uniform", layout="plain")
    model = settle(model)
    size = data.draw(st.integers(4, 45)), data.draw(st.integers(4, 45))
    half = data.draw(st.booleans())
    session = Session(model, data.draw(st.integers(1, 3)), "bf16" if half else "fp32")
    for batch in (data.draw(st.integers(1, 5)), 1):
        poisoned(session, (batch, 2, *size))
        assert difference(session, model, images(batch, 2, *size)) < (0.03 if half else 1e-5)


@pytest.mark.parametrize("isa", native.isas() if native.unavailable() is None else ())
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_on_every_instruction_set(isa: str, dtype: str) -> None:
    torch.manual_seed(2)
    windows = [window_of("conv", 3, 1), window_of("conv", 1, 0), window_of("max", 3, 1), window_of("max", 2, 0)]
    model = settle(Halving(windows, False, True))
    native.force_isa(isa)
    try:
        session = Session(model, 2, dtype, description=Description(input_shape=(2, 29, 44)))
        poisoned(session, (2, 2, 29, 44))
        assert difference(session, model, images(2, 2, 29, 44)) < (0.03 if dtype == "bf16" else 1e-5)
    finally:
        native.force_isa(None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_halved_again_and_again(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    model = settle(nn.Sequential(*[nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.ReLU6()) for _ in range(5)]))
    x = torch.from_numpy(images(3, 3, 75, 64))
    engine = EngineModel(model, dtype, 2)
    with torch.inference_mode():
        engine(torch.full_like(x, torch.nan))
        torch.testing.assert_close(
            engine(x), model(x), rtol=0, atol=1e-5 if dtype is torch.float32 else 0.03 * float(model(x).abs().max())
        )


def test_no_pass_takes_a_result_apart() -> None:
    torch.manual_seed(4)
    model = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2)))
    engine = EngineModel(model, torch.bfloat16, 1)
    with torch.inference_mode():
        engine(torch.zeros(1, 3, 20, 20))
    kernels = [what.kernel for what in next(iter(engine.segments[0].compiled.values())).alone.steps]
    assert kernels == [
        "split",
        "dense",
        "dense",
        "maximum of taps, every second pixel",
        "flatten",
    ]  # of the input alone
