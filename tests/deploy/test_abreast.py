"""Do small images that lie side by side come out as they do alone, whatever the network does with them?"""

from __future__ import annotations

import random

import pytest
import torch
from deploy_networks import choosing, difference, images, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Session
from mezzotint.deploy.engine import EngineModel
from mezzotint.deploy.engine.abreast import lay_abreast, visits_of
from mezzotint.deploy.engine.batches import Batches
from mezzotint.deploy.engine.buffers import Planes, Rows
from mezzotint.kernels import native
from mezzotint.kernels.native_program import Choice, NativeProgram

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


class Narrowing(nn.Module):
    """Blocks that halve an image until several lie abreast, and what else may read and write such images."""

    def __init__(self, between: str, channels: int = 12) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU())
        self.down = nn.ModuleList([nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(3)])
        self.beside = nn.ModuleList([nn.Conv2d(channels, channels, 1, 2) for _ in range(3)])
        self.point = nn.ModuleList([nn.Conv2d(channels, channels, 1) for _ in range(3)])
        self.window = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in (1, 2, 1)])
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.factor = nn.Conv2d(channels, channels, 1)
        self.joined = nn.Conv2d(2 * channels, channels, 1)
        self.between = between
        self.head = nn.Linear(channels, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        for down, beside, window, point in zip(self.down, self.beside, self.window, self.point, strict=True):
            y = torch.relu(down(x))
            x = torch.relu(point(window(y)) + beside(x))
        x = self.between_of(x, y)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)), x

    def between_of(self, x: Tensor, y: Tensor) -> Tensor:
        if self.between == "depthwise":
            return self.depthwise(x)
        if self.between == "maximum":
            return nn.functional.max_pool2d(x, 3, 1, 1)
        if self.between == "signed maximum":
            return nn.functional.max_pool2d(self.factor(x), 3, 1, 1)
        if self.between == "factor":
            return x * torch.sigmoid(self.factor(nn.functional.adaptive_avg_pool2d(x, 1)))
        if self.between == "joint":
            return self.joined(torch.cat([x, y], 1))
        if self.between == "larger":
            return nn.functional.max_pool2d(nn.functional.interpolate(x, scale_factor=2), 2)
        return x


APART = ("signed maximum", "larger")
BETWEEN = ("nothing", "depthwise", "maximum", "factor", "joint", *APART)


def narrowing(between: str, density: float) -> nn.Module:
    torch.manual_seed(5)
    model: nn.Module = Narrowing(between)
    return settle(mz.sparsify(model, density, "uniform", layout="plain") if density < 1 else model)


def programs_of(engine: EngineModel) -> Batches:
    return next(iter(engine.segments[0].compiled.values()))


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.04)])
def test_on_every_instruction_set(isa: str, between: str, dtype: torch.dtype, bound: float) -> None:
    model = narrowing(between, 0.4)
    engine = EngineModel(model, dtype, 2)
    x = torch.from_numpy(images(11, 3, 52, 56))
    poison = torch.full_like(x, torch.nan)
    with torch.inference_mode():
        engine(poison)  # whatever reads what is no pixel, or another image, shows it
        for wanted, found in zip(model(x), engine(x), strict=True):
            assert float((wanted - found).abs().max()) < bound * float(wanted.abs().max())
    abreast = programs_of(engine).abreast
    if between in APART:
        assert abreast is None, "what the last images go through wants them alone, and so the larger ones, too"
    else:
        assert abreast is not None, "these images are small enough"
        assert abreast.images == (4 if dtype is torch.bfloat16 else 2)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_size_batch_and_kernel(data: st.DataObject) -> None:
    model = narrowing(data.draw(st.sampled_from(BETWEEN)), data.draw(st.sampled_from([0.1, 0.4, 1.0])))
    size = data.draw(st.integers(9, 60)), data.draw(st.integers(9, 60))
    half, threads = data.draw(st.booleans()), data.draw(st.integers(1, 3))
    chance = random.Random(data.draw(st.integers(0, 99)))
    engine = EngineModel(model, torch.bfloat16 if half else torch.float32, threads)
    x = torch.from_numpy(images(data.draw(st.integers(1, 3)) * 4 * threads + data.draw(st.integers(0, 5)), 3, *size))

    def pick(choices: list[Choice]) -> Choice:
        return chance.choice(choices)

    with torch.inference_mode(), choosing(pick):
        engine(torch.full_like(x, torch.nan))
        for wanted, found in zip(model(x), engine(x), strict=True):
            assert float((wanted - found).abs().max()) < (0.04 if half else 1e-5) * float(wanted.abs().max())


def test_threads_do_not_change_a_bit() -> None:
    engine = EngineModel(narrowing("depthwise", 0.4), torch.bfloat16, 1)
    x = torch.from_numpy(images(24, 3, 56, 56))
    with torch.inference_mode():
        engine(x)
    abreast = programs_of(engine).abreast
    assert abreast is not None
    alone = tuple(torch.empty(24, *shape) for shape in abreast.outputs)
    abreast.program.run([x], alone, 24, 1)
    for batch, threads in ((24, 2), (24, 3), (12, 3), (10, 2), (3, 2)):
        some = tuple(torch.empty_like(y[:batch]) for y in alone)
        abreast.program.run([x[:batch].contiguous()], some, batch, threads)
        assert all(torch.equal(y[:batch], z) for y, z in zip(alone, some, strict=True)), (batch, threads)


def test_large_images_and_small_batches_are_done_as_before() -> None:
    model = settle(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)))
    engine = EngineModel(model, torch.float32, 2)
    with torch.inference_mode():
        engine(torch.zeros(16, 3, 40, 40))
        assert programs_of(engine).abreast is None
    engine = EngineModel(narrowing("nothing", 0.4), torch.bfloat16, 2)
    with torch.inference_mode():
        engine(torch.zeros(7, 3, 56, 56))
        assert programs_of(engine).abreast is None, "made when a batch is large enough for it"
        engine(torch.zeros(8, 3, 56, 56))
        assert programs_of(engine).abreast is not None


def test_a_session_runs_arrays_and_says_so() -> None:
    model = narrowing("joint", 0.4)

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, x: Tensor) -> Tensor:
            first: Tensor = self.body(x)[0]
            return first

    session = Session(First().eval(), 2, "bf16")
    for batch in (1, 8, 13):
        assert difference(session, First().eval(), images(batch, 3, 50, 50)) < 0.04
    assert "batches of 8 and more: up to 4 images abreast" in session.explain()


def planes(width: int, pitch: int) -> Planes:
    made = Planes(2, channels=1, height=7, width=width)
    made.pitch = pitch
    return made


def test_what_lies_abreast_fits_its_phases() -> None:
    large, middle, small = planes(28, 30), planes(14, 16), planes(7, 8)
    lay_abreast([large, middle, small], [(large, middle), (middle, small)], [])
    assert [(one.abreast, one.pitch) for one in (large, middle, small)] == [(1, 30), (2, 32), (4, 32)]
    # Phases with a wider border: half of the room of two images is not theirs.
    middle, small = planes(14, 16), planes(7, 9)
    lay_abreast([middle, small], [(middle, small)], [])
    assert [one.abreast for one in (middle, small)] == [1, 2]
    middle, beside = planes(14, 16), planes(14, 16)
    middle.link(beside)
    lay_abreast([middle, beside], [], [middle])
    assert beside.abreast == 1


def test_visits_never_shrink() -> None:
    alone, pair = planes(28, 30), planes(14, 16)
    lay_abreast([alone, pair], [], [])
    assert visits_of([[alone], [alone, pair], [alone], [Rows(2, size=4)]]) == [1, 2, 2, 2]


def test_programs_check_what_lies_abreast() -> None:
    program = NativeProgram(torch.bfloat16, 1 << 16, 64, 4)
    good = (0, 4096, 1, 7, 7, 32, 0, 32 * 8, 4, 4)
    with pytest.raises(ValueError, match="planes: received images abreast that do not fit the pitch"):
        program.average((*good[:8], 3, 4), (0, 64, 1, 1, 1, 1, 0, 32, 1, 4))
    with pytest.raises(ValueError, match="average of a program: received several pixels"):
        program.average(good, good)
    with pytest.raises(ValueError, match="maximum of a program: received images abreast"):
        program.max(good, good, True, [0])
    with pytest.raises(ValueError, match="resizing of a program: received planes of another size"):
        program.spread(good, good, (1, 1))
    with pytest.raises(ValueError, match="phases of a program: received images abreast"):
        program.split(good, (2, 2), good, 0.0)
    with pytest.raises(ValueError, match="shift of planes: received channels or columns beyond them"):
        program.shift(good, 1, [(0, 1, 1)])
    program.set_visit(3)
    program.flatten(good, (None, 0, 49))
    program.set_visit(4)
    with pytest.raises(ValueError, match="visit of a step: received 4 images"):
        program.flatten(good, (None, 0, 49))
