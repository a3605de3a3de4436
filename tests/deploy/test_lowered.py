"""Does each batch take the fastest way through a lowered network, and compute the same on all of them?

Tolerance: 1e-5 of the largest output in float32, where the ways differ in the order of sums alone; 2 % in BF16.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import ways
from mezzotint.deploy.lowered import LoweredModel, lower
from mezzotint.deploy.ways import Way, Ways
from mezzotint.errors import InputError
from mezzotint.kernels import native
from mezzotint.lowering.worth import Worth

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def network(density: float = 0.1) -> nn.Module:
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    second = [nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 1)]
    model = nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5))
    return mz.sparsify(model, density, "uniform", exclude=("0", "8"), layout="plain").eval()


def images(batch: int, size: int = 32) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))


def close(lowered: nn.Module, model: nn.Module, x: Tensor, tolerance: float = 1e-5) -> None:
    with torch.no_grad():
        expected = model(x)
        computed = lowered(x)
    assert computed.dtype == expected.dtype
    scale = max(1.0, expected.abs().max().item()) if len(x) else 1.0
    torch.testing.assert_close(computed, expected, rtol=0, atol=tolerance * scale)


def way_of(lowered: LoweredModel) -> str:
    return lowered.explain().splitlines()[-1]


@pytest.fixture(params=[Way.NATIVE, Way.PROGRAM])
def faster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The way that turns out to be faster wherever it is measured."""

    way: Way = request.param

    def timed(calls: dict[Way, Callable[[], object]]) -> dict[Way, float]:
        return {each: 0.001 if each is way else 0.002 for each in calls}

    monkeypatch.setattr(ways, "_timed", timed)
    return way


def test_small_batches_are_a_programs_and_full_cells_go_the_faster_way(faster: Way) -> None:
    model = network()
    lowered = lower(model)
    for batch in (1, 3, 7, 17):
        close(lowered, model, images(batch))
        assert "took a program" in way_of(lowered)
        assert "times in a program" in way_of(lowered)
    for batch in (16, 32, 31):
        close(lowered, model, images(batch))
        assert f"took {faster.value}: measured: " in way_of(lowered)
    close(lowered, model, images(0))
    close(lowered, model, images(2, size=20))


def test_other_sizes_of_images_and_types_are_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    whole = ways._timed

    def timed(calls: dict[Way, Callable[[], object]]) -> dict[Way, float]:
        measured.append(len(calls))
        return whole(calls)

    monkeypatch.setattr(ways, "_timed", timed)
    model = network()
    lowered = lower(model)
    for size, batch in ((32, 16), (32, 32), (24, 16), (32, 16)):
        close(lowered, model, images(batch, size))
    assert measured == [2, 2]
    with torch.autocast("cpu", torch.bfloat16):
        close(lowered, model, images(32), tolerance=0.02)
        close(lowered, model, images(64), tolerance=0.02)
    assert measured == [2, 2, 2]


def test_dense_networks_stay_in_the_plain_layout() -> None:
    model = network(density=0.9)
    lowered = lower(model)
    for batch in (16, 17):
        close(lowered, model, images(batch, size=96))
        assert "took the plain layout: " in way_of(lowered)


def test_deterministic_algorithms_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_timed", None)
    model = network()
    lowered = lower(model)
    torch.use_deterministic_algorithms(True)
    try:
        for batch, way in ((16, Way.NATIVE), (1, Way.PLAIN)):
            close(lowered, model, images(batch, size=96))
            assert f"took {way.value}: a batch of {batch} would cost" in way_of(lowered)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_its_own_type(dtype: torch.dtype) -> None:
    model = network()
    lowered = lower(model)
    with torch.autocast("cpu", dtype):
        for batch in (2, 32):
            close(lowered, model, images(batch), tolerance=0.02)
            assert ("program" in way_of(lowered)) == (dtype == torch.bfloat16)


def test_inputs_of_another_type_than_float32_are_no_programs() -> None:
    model = network()
    lowered = lower(model)
    x = images(2).bfloat16()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(lowered(x), model(x), rtol=0, atol=0.02)
    assert "program" not in way_of(lowered)


def test_a_network_the_engine_does_not_hold_whole_has_no_program() -> None:
    model = network()
    model[3].register_forward_hook(lambda module, inputs, output: None)
    lowered = lower(model)
    close(lowered, model, images(2))
    assert "3: plain: it carries forward hooks" in lowered.explain()
    assert "took a program" in way_of(lowered), "what the native layout would hold, the engine does"
    hooked = lower(network(), images(1))
    hooked.plain.get_submodule("5").register_forward_hook(lambda module, inputs, output: None)
    close(hooked, model, images(2))
    assert "program" not in way_of(hooked)


def test_a_snapshot_takes_no_other_weights(faster: Way) -> None:
    model = network()
    lowered = lower(model)
    before = [lowered(images(batch)) for batch in (2, 16)]
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.mul_(2)
    for batch, result in zip((2, 16), before, strict=True):
        assert torch.equal(lowered(images(batch)), result)
    with pytest.raises(InputError, match=r"load_state_dict\(\) of a lowered model.*lower that again"):
        lowered.load_state_dict(lowered.state_dict())


@pytest.mark.parametrize("name", ["resnet18", "wrn_16_2", "mobilenet_v1"])
def test_copies_and_pickles_plan_and_measure_for_themselves(name: str) -> None:
    model = mz.sparsify(mz.models.build(name, num_classes=5, image_size=32), 0.1, "uniform", layout="plain").eval()
    lowered = lower(model, images(1))
    close(lowered, model, images(2))
    for again in (pickle.loads(pickle.dumps(lowered)), copy.deepcopy(lowered)):
        assert "not planned yet" in again.explain()
        close(again, model, images(2))
        assert again.native_steps == lowered.native_steps > 0
    assert "_engines" not in str(lowered.state_dict().keys())
    assert set(lowered.state_dict()) >= {f"plain.{key}" for key in model.state_dict()}


_COSTS = st.floats(0, 1e9)


@settings(max_examples=200)
@given(full=_COSTS, lanes=st.floats(1, 32), plain=_COSTS, batch=st.integers(1, 64))
def test_nothing_is_taken_that_the_rule_says_costs_more(full: float, lanes: float, plain: float, batch: int) -> None:
    found = Worth(full=full, native=full * lanes, plain=plain, dense=max(full, plain))
    done: list[Way] = []
    calls = {way: (lambda way=way: done.append(way)) for way in Way}
    way, why = Ways().fastest(found, batch, (), calls)
    costs = {Way.PROGRAM: full, Way.NATIVE: full * lanes, Way.PLAIN: plain}
    if done:
        assert set(done) == {Way.NATIVE, Way.PROGRAM}
        assert costs[Way.NATIVE] <= 1.25 * full < 1.25 * plain
        assert why.startswith("measured: ")
    else:
        assert costs[way] == min(costs.values())
        assert f"a batch of {batch} would cost" in why
