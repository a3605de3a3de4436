"""Does a session compute what the network computes, check what comes in, and leave PyTorch's threads alone?"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_networks import DESCRIPTION, own, resnet20
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session, TensorInfo, export
from mezzotint.deploy.threads import using_threads
from mezzotint.errors import InputError, NotRegistered, ShapeError
from mezzotint.kernels import native


def images(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8), dtype=np.float32)


def expected(model: nn.Module, array: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: Tensor = model(torch.from_numpy(array.copy()))
    return found.numpy()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return resnet20()


@pytest.fixture(scope="module")
def session(model: nn.Module) -> Session:
    return Session(model, threads=1, description=DESCRIPTION)


def test_results_are_the_networks(session: Session, model: nn.Module) -> None:
    for batch in (1, 2, 17):
        array = images(batch)
        (result,) = session.run([array])
        np.testing.assert_allclose(result, expected(model, array), rtol=1e-4, atol=1e-5)
        assert result.dtype == np.float32


def test_a_file_and_the_module_give_the_same(session: Session, model: nn.Module, tmp_path: Path) -> None:
    path = export(model, "safetensors", tmp_path / "net.safetensors", description=DESCRIPTION).path
    plan = tmp_path / "plan.json"  # the kernels that the first has measured: others may add up in another order
    from_module = Session(model, threads=1, description=DESCRIPTION, plan=plan)
    from_file = Session(path, threads=1, plan=plan)
    np.testing.assert_array_equal(from_file.run([images(3)])[0], from_module.run([images(3)])[0])
    assert from_file.description == DESCRIPTION
    assert from_file.inputs == session.inputs


def test_inputs_and_outputs_are_known_from_the_start(session: Session) -> None:
    assert session.inputs == (TensorInfo(name="x", shape=(None, 3, 8, 8), dtype="float32"),)
    assert session.outputs == (TensorInfo(name="output", shape=(None, 4), dtype="float32"),)
    assert repr(session) == "Session(resnet20, inputs=(x), fp32, 1 threads)"


def test_inputs_may_come_by_name(session: Session) -> None:
    array = images(2)
    np.testing.assert_array_equal(session.run({"x": array})[0], session.run([array])[0])
    with pytest.raises(InputError, match=r"the unknown name 'y'; allowed: x"):
        session.run({"y": array})
    with pytest.raises(InputError, match="nothing for 'x'"):
        session.run({})


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([], r"0 arrays; allowed: 1 \(x\)"),
        ([images(1), images(1)], "2 arrays"),
        (images(1), r"a single ndarray.*run\(\[x\]\)"),
        (torch.zeros(1, 3, 8, 8), "a single Tensor"),
        ([images(1)[0]], r"\[3, 8, 8\]; allowed: \[N, 3, 8, 8\].*array\[None\]"),
        ([np.zeros((1, 3, 8, 9), np.float32)], r"\[1, 3, 8, 9\]"),
        ([images(1).astype(np.float64)], r"float64; allowed: float32.*astype"),
        ([np.zeros((1, 3, 8, 8), np.uint8)], "uint8"),
        (["text"], "<U4"),
        (
            [torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16)],
            r"'x': received a Tensor.*BFloat16.*\.to\('cpu', torch.float32\)",
        ),
        ([[[1.0, 2.0], [3.0]]], r"'x': received a list.*inhomogeneous.*one length"),
    ],
)
def test_wrong_inputs_are_told(session: Session, inputs: object, told: str) -> None:
    with pytest.raises((InputError, ShapeError), match=told):
        session.run(inputs)  # type: ignore[arg-type]


def test_any_memory_layout_and_read_only_memory_is_taken(session: Session) -> None:
    array = images(4)
    reference = session.run([array])[0]
    odd = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(session.run([odd])[0], reference, rtol=1e-5, atol=1e-6)
    flipped = np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    np.testing.assert_allclose(session.run([flipped])[0], reference, rtol=1e-5, atol=1e-6)
    array.flags.writeable = False
    np.testing.assert_array_equal(session.run([array])[0], reference)
    for needed in (False, True):
        tensor = torch.from_numpy(images(4)).requires_grad_(needed)
        np.testing.assert_array_equal(session.run([tensor])[0], reference)


class Own(nn.Module):
    """Hands on what it keeps, its input, and the same result twice; the input was overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x.sub_(1.0).flatten(1)
        return y, y, self.kept


@pytest.mark.parametrize(
    "network",
    [Own(), nn.Identity(), nn.Flatten(), nn.ReLU(inplace=True), nn.Sequential(nn.ReLU(True), nn.Conv2d(1, 2, 3))],
    ids=lambda network: type(network).__name__,
)
def test_inputs_are_left_alone_and_outputs_are_new(network: nn.Module) -> None:
    array = np.random.default_rng(0).standard_normal((2, 1, 4, 4), dtype=np.float32)
    given, session = array.copy(), Session(network, 1)
    first = session.run([given])
    wanted = [result.copy() for result in first]
    np.testing.assert_array_equal(given, array)
    for result in first:
        result[...] = 9.0
        np.testing.assert_array_equal(given, array)
    assert not any(np.shares_memory(one, two) for at, one in enumerate(first) for two in first[:at])
    for result, expects in zip(session.run([given]), wanted, strict=True):
        np.testing.assert_array_equal(result, expects)


def test_several_outputs_have_the_names_of_the_network() -> None:
    network = own()
    session = Session(network)
    assert session.inputs == (TensorInfo(name="image", shape=None, dtype="float32"),)
    with pytest.raises(InputError, match="outputs of the session"):
        _ = session.outputs
    x = np.random.default_rng(0).standard_normal((5, 2, 9, 7), dtype=np.float32)
    results = session.run([x])
    assert [info.name for info in session.outputs] == ["logits", "features"]
    assert session.outputs[0].shape == (None, 3)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x))
    for result, tensor in zip(results, wanted.values(), strict=True):
        np.testing.assert_allclose(result, tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_several_inputs() -> None:
    class Sum(nn.Module):
        def forward(self, one: Tensor, two: Tensor, scale: float = 2.0) -> tuple[Tensor, Tensor]:
            return scale * one + two, one

    session = Session(Sum())
    one, two = np.ones((2, 3), np.float32), np.full((2, 3), 5, np.float32)
    total, first = session.run({"two": two, "one": one})
    np.testing.assert_array_equal(total, np.full((2, 3), 7, np.float32))
    np.testing.assert_array_equal(first, one)
    assert [info.name for info in session.outputs] == ["output_0", "output_1"]


def test_bf16_is_near_fp32(model: nn.Module, session: Session) -> None:
    half = Session(model, dtype="bf16", threads=1, description=DESCRIPTION)
    (result,) = half.run([images(4)])
    assert result.dtype == np.float32
    assert half.outputs == session.outputs
    reference = session.run([images(4)])[0]
    assert 0 < np.abs(result - reference).max() < 0.05 * np.abs(reference).max()
    assert "in 1 native programs" in half.explain()


def test_the_callers_autocast_does_not_reach_a_session(session: Session) -> None:
    reference = session.run([images(2)])[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(session.run([images(2)])[0], reference)


def test_a_session_is_a_snapshot_and_leaves_the_module_alone(model: nn.Module) -> None:
    mine = resnet20().train()
    session = Session(mine, description=DESCRIPTION)
    before = session.run([images(2)])[0]
    assert mine.training
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(session.run([images(2)])[0], before)


@pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
def test_it_is_compiled(session: Session) -> None:
    assert "in 1 native programs" in session.explain()
    assert "convolution + batch norm + add + activation: density" in session.explain()


def test_threads_are_used_and_given_back(model: nn.Module) -> None:
    seen: list[int] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    spy = Spy()
    spy.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    Session(spy, threads=3).run([np.zeros(2, np.float32)])
    assert seen == [3]
    assert torch.get_num_threads() == before
    Session(spy).run([np.zeros(2, np.float32)])
    assert seen == [3, before]
    with pytest.raises(ShapeError):
        Session(model, threads=before + 1, description=DESCRIPTION).run([images(1)[0]])
    with pytest.raises(ValueError, match="inside"), using_threads(before + 2):
        raise ValueError("inside")
    assert torch.get_num_threads() == before


def test_many_threads_may_call_one_session(session: Session, model: nn.Module) -> None:
    other = Session(model, threads=2, description=DESCRIPTION)
    before = torch.get_num_threads()
    arrays = [images(1 + seed % 5, seed) for seed in range(24)]
    both = (session, other)  # each is held to its own results: kernels that the two have measured may differ
    wanted = [both[number % 2].run([array])[0] for number, array in enumerate(arrays)]
    together = threading.Barrier(8)
    counts: list[int] = []

    def work(lane: int) -> None:
        together.wait()
        for number in range(lane, len(arrays), 8):
            result = both[number % 2].run([arrays[number]])[0]
            np.testing.assert_array_equal(result, wanted[number])
        counts.append(torch.get_num_threads())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert torch.get_num_threads() == before
    assert counts == [before] * 8
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [before], "a new thread gets PyTorch's own number"


def test_wrong_settings_are_told(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(NotRegistered, match=r"received fp16; allowed: fp32, bf16"):
        Session(model, dtype="fp16")
    for threads in (0, True, 1.5):
        with pytest.raises(InputError, match=f"threads: received {threads}; allowed: a whole number"):
            Session(model, threads=threads, description=DESCRIPTION)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"plan: received the folder .*; allowed: a file"):
        Session(model, plan=tmp_path, description=DESCRIPTION)
    with pytest.raises(InputError, match="a forward without inputs"):
        Session(nn.Module())
    with pytest.raises(mz.errors.CheckpointError, match="a path that does not exist"):
        Session(tmp_path / "absent")


def test_a_network_that_cannot_be_traced_runs_all_the_same() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.mean() > 0 else self.conv(-x)

    network = mz.sparsify(Branching(), 0.5)
    session = Session(network, description=Description(input_shape=(3, 8, 8)))
    np.testing.assert_allclose(session.run([images(2)])[0], expected(network, images(2)), rtol=1e-5, atol=1e-6)
    assert "runs in PyTorch, because" in session.explain()


def test_a_profile_tells_all_steps() -> None:
    model = resnet20()
    session = Session(model, 1, description=DESCRIPTION)
    profile = session.profile([images(3)], calls=2)
    assert profile.batch == 3
    told = [line for line in session.explain().splitlines() if "cells at once" in line]
    assert sum("cells at once" in step.kernel for step in profile.steps) == len(told)
    layer = model.get_submodule("layer2.0.conv2")
    (step,) = [step for step in profile.steps if step.name.startswith("layer2.0.conv2:")]
    assert step.multiply_adds == 3 * layer.nnz * 4 * 4
    assert 0 < sum(step.milliseconds for step in profile.steps) + profile.elsewhere <= profile.milliseconds * 1.5
    assert len(str(profile).splitlines()) == len(profile.steps) + 3
    with pytest.raises(InputError, match="calls: received 0"):
        session.profile([images(1)], calls=0)
    with pytest.raises(InputError, match="allowed: a list of arrays"):
        session.profile(images(1))
