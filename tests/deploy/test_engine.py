"""Does the inference engine compute what PyTorch computes, for any layer that it knows?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from deploy_networks import DESCRIPTION, difference, images, own, resnet20, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session
from mezzotint.deploy.engine import EngineModel
from mezzotint.deploy.engine.buffers import Planes, Rows, place
from mezzotint.deploy.engine.shapes import note_shapes
from mezzotint.kernels import native
from mezzotint.lowering.trace import record_shapes, traced

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

#: Of a bfloat16 session against float32: eight bits of each activation and weight, at each of a few layers.
HALF_BOUND = 0.04


class Everything(nn.Module):
    """Each kind of step: strides, "same", dilation, depthwise, residuals, all poolings, activations, rows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, 1, "same", groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 12, (3, 1), dilation=(2, 1), padding=(2, 0))
        self.down = nn.Conv2d(12, 12, 1, stride=2)
        self.beside = nn.Conv2d(12, 12, 3, stride=2, padding=1, groups=2)
        self.average = nn.AvgPool2d(2, stride=1)
        self.last = nn.BatchNorm2d(16)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 5, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = torch.relu(self.norm(self.depthwise(x)) + x)
        x = self.wide(x)
        x = nn.functional.relu(self.down(x) + self.beside(x))
        x = nn.functional.pad(self.average(x), (0, 0, 0, 0, 1, 3))[:, :, ::1, ::2]
        x = self.last(x).relu_() + x
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1))


def everything(density: float) -> nn.Module:
    torch.manual_seed(3)
    model = Everything()
    return settle(mz.sparsify(model, density, "uniform", layout="plain") if density < 1 else model)


@pytest.mark.parametrize("density", [0.3, 1.0])
@pytest.mark.parametrize(("dtype", "bound"), [("fp32", 1e-4), ("bf16", HALF_BOUND)])
def test_every_kind_of_step_on_every_instruction_set(isa: str, dtype: str, bound: float, density: float) -> None:
    model = everything(density)
    session = Session(model, 2, dtype, description=Description(input_shape=(3, 37, 30)))
    told = session.explain()
    assert "in 1 native programs" in told
    assert "PyTorch" not in told
    for batch in (0, 1, 3, 9):
        assert difference(session, model, images(batch, 3, 37, 30)) < bound


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_convolution(data: st.DataObject) -> None:
    def draw(least: int, most: int) -> int:
        return data.draw(st.integers(least, most))

    groups = draw(1, 3)
    kernel, stride, dilation = (draw(1, 4), draw(1, 4)), (draw(1, 3), draw(1, 3)), (draw(1, 2), draw(1, 2))
    padding = (draw(0, 4), draw(0, 4))
    torch.manual_seed(0)
    conv = nn.Conv2d(groups * draw(1, 3), groups * draw(1, 5), kernel, stride, padding, dilation, groups)
    density = data.draw(st.sampled_from([0.2, 0.6, 1.0]))
    model = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())
    model = settle(mz.sparsify(model, density, "uniform", layout="plain") if density < 1 else model)
    size = [draw(1, 20) + (k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    array = images(draw(1, 5), conv.in_channels, *size)
    half = data.draw(st.booleans())
    session = Session(model, draw(1, 3), "bf16" if half else "fp32")
    assert difference(session, model, array) < (0.03 if half else 1e-5)


def test_threads_and_rounds_do_not_change_a_bit() -> None:
    model = everything(0.5)
    one = EngineModel(model, torch.bfloat16, 1)
    x = torch.from_numpy(images(25, 3, 33, 40))
    with torch.inference_mode():
        one(x[:1])
        compiled = next(iter(one.segments[0].compiled.values())).alone
        alone = torch.empty(25, 5)
        compiled.program.run([x], [alone], 25, 1)
        # Threads do images of their own, one or several at a time, and what is left over together.
        for batch, threads in ((6, 3), (7, 3), (2, 3), (25, 2), (16, 2), (1, 2)):
            some = torch.empty_like(alone[:batch])
            compiled.program.run([x[:batch].contiguous()], [some], batch, threads)
            assert torch.equal(alone[:batch], some), (batch, threads)
        singly = torch.cat([one(x[at : at + 1]) for at in range(6)])
    assert torch.equal(alone[:6], singly)


def test_other_sizes_share_a_session() -> None:
    model = resnet20()
    session = Session(model, 1)
    for size in ((8, 8), (16, 12), (9, 31)):
        assert difference(session, model, images(2, 3, *size)) < 1e-4


@pytest.mark.parametrize("make", [lambda: everything(0.3), resnet20, own])
def test_shapes_are_derived_as_a_run_shows_them(make: Callable[[], nn.Module]) -> None:
    inputs = (torch.zeros(2, 2 if make is own else 3, 37, 30),)
    one, two = traced(make()), traced(make())
    note_shapes(one, inputs)
    record_shapes(two, inputs)
    for derived, recorded in zip(one.graph.nodes, two.graph.nodes, strict=True):
        if derived.op != "output":
            assert derived.meta == {**derived.meta, **recorded.meta}, derived.name
    assert all("shape" in node.meta for node in one.graph.nodes if node.op == "call_module")


def test_what_the_engine_does_not_know_runs_in_pytorch() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(8, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x).relu()
            return self.two(torch.cat([y, y.tanh()], 1)).mean((2, 3)).relu()

    model = Mixed().eval()
    session = Session(model, 2, description=Description(input_shape=(3, 10, 10)))
    assert difference(session, model, images(3, 3, 10, 10)) < 1e-5
    told = session.explain()
    assert "in 2 native programs" in told
    assert "the engine has no tanh" in told
    assert "no linear layer is before it" in told


def test_a_session_and_its_threads_under_load() -> None:
    model = resnet20()
    sessions = [Session(model, 2, description=DESCRIPTION), Session(model, 1, description=DESCRIPTION)]
    arrays = [images(1 + number % 6, 3, 8, 8) for number in range(32)]
    wanted = [sessions[0].run([array])[0] for array in arrays]
    together = threading.Barrier(8)

    def work(lane: int) -> None:
        together.wait()
        for number in range(lane, len(arrays), 8):
            np.testing.assert_allclose(sessions[number % 2].run([arrays[number]])[0], wanted[number], atol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 9), st.integers(0, 4)), max_size=20))
def test_buffers_that_are_alive_at_once_do_not_overlap(drawn: list[tuple[int, int, int]]) -> None:
    buffers = []
    for size, born, length in drawn:
        one = Rows(2, size=size)
        one.use(born)
        one.use(born + length)
        one.room = 3
        buffers.append(one)
    total = place(buffers)
    for at, one in enumerate(buffers):
        assert 0 <= one.offset <= total - 3 * one.image_bytes
        for other in buffers[:at]:
            if one.born <= other.dies and other.born <= one.dies:
                apart = one.offset + 3 * one.image_bytes <= other.offset
                assert apart or other.offset + 3 * other.image_bytes <= one.offset


def test_channels_do_not_share_cache_sets() -> None:
    planes = Planes(2, channels=64, height=16, width=32)
    planes.pitch = 32
    assert planes.stride // planes.lanes % 2 == 1
