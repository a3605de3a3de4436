"""Does the short way to a network that is one native program give what the long way gives, and leave the rest to it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from deploy_networks import DESCRIPTION, images, resnet20
from torch import Tensor, nn

from mezzotint.deploy import Session
from mezzotint.deploy.engine import EngineModel
from mezzotint.errors import InputError, ShapeError
from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def by_the_long_way(session: Session, *arrays: Any) -> list[np.ndarray]:
    """Inputs by name never go straight."""
    return session.run(dict(zip([info.name for info in session.inputs], arrays, strict=True)))


def goes_straight(session: Session, *arrays: Any) -> bool:
    return session._straight is not None and session._straight(list(arrays)) is not None


class Branches(nn.Module):
    """Two inputs, two outputs; ``form`` says what becomes of the outputs."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.form = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3, padding=1), form

    def forward(self, x: Tensor, y: Tensor) -> Any:
        one, two = self.a(x).relu(), self.b(y).relu()
        return self.form(one, two)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(resnet20(), threads=2, description=DESCRIPTION)


@pytest.mark.parametrize("batch", [1, 2, 3, 17])
def test_results_are_those_of_the_long_way(session: Session, batch: int) -> None:
    array = images(batch, 3, 8, 8)
    assert goes_straight(session, array)
    first, again = session.run([array]), session.run([array])
    np.testing.assert_array_equal(first[0], by_the_long_way(session, array)[0])
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.shares_memory(first[0], again[0])
    assert first[0].dtype == np.float32
    assert first[0].flags.writeable


def test_arrays_that_may_not_be_written_go_straight_too(session: Session) -> None:
    array = images(2, 3, 8, 8)
    array.flags.writeable = False
    assert goes_straight(session, array)


def test_other_arrays_go_the_long_way(session: Session) -> None:
    wide = images(2, 3, 8, 16)
    views = [wide[..., ::2], wide[:, :, :, 7::-1], np.asfortranarray(wide[..., :8]), wide[..., :8].astype(">f4")]
    for view in views[:3]:
        assert not goes_straight(session, view)
        np.testing.assert_array_equal(session.run([view])[0], session.run([np.ascontiguousarray(view)])[0])
    assert not goes_straight(session, views[3])
    assert not goes_straight(session, torch.zeros(2, 3, 8, 8))
    assert session.run((wide[..., :8].copy(),))[0].shape == (2, 4)


def test_a_fixed_batch_is_the_only_one() -> None:
    engine = EngineModel(resnet20(), torch.float32, threads=1)
    engine(torch.from_numpy(images(1, 3, 8, 8)))
    one, any_batch = engine.straight_call(lambda: 1, 1), engine.straight_call(lambda: 1, None)
    assert one is not None
    assert any_batch is not None
    assert one([images(1, 3, 8, 8)]) is not None
    assert one([images(2, 3, 8, 8)]) is None
    assert any_batch([images(2, 3, 8, 8)]) is not None


def test_an_empty_batch_is_an_empty_result(session: Session) -> None:
    assert session.run([images(0, 3, 8, 8)])[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([], "0 arrays"),
        ([images(1, 3, 8, 8)] * 2, "2 arrays"),
        ([images(1, 3, 8, 8).astype(np.float64)], "float64"),
        ([np.float32(1).reshape(())], r"received \[\]"),
        ([images(1, 3, 8, 9)], r"\[1, 3, 8, 9\]"),
    ],
)
def test_mistakes_are_told_after_a_good_call(session: Session, inputs: Any, told: str) -> None:
    session.run([images(1, 3, 8, 8)])
    with pytest.raises((InputError, ShapeError), match=told):
        session.run(inputs)


def test_several_inputs_and_outputs() -> None:
    session = Session(Branches(lambda one, two: (one, two)).eval(), threads=2)
    x, y = images(2, 3, 7, 9), images(2, 4, 5, 6)
    expected = session.run([x, y])
    assert goes_straight(session, x, y)
    for found, right in zip(session.run([x, y]), expected, strict=True):
        np.testing.assert_array_equal(found, right)
    assert not goes_straight(session, x, y[:1])  # which is no batch
    assert not goes_straight(session, images(2, 3, 9, 9), y)  # whose size is not compiled yet


@pytest.mark.parametrize(
    "form",
    [
        lambda one, two: (two, one),
        lambda one, two: (one, two, one),
        lambda one, two: {"one": one, "two": two},
        lambda one, two: (one, torch.cumsum(two, 1)),
    ],
    ids=["exchanged", "repeated", "named", "PyTorch behind"],
)
def test_networks_that_are_more_than_their_program(form: Callable[[Tensor, Tensor], Any]) -> None:
    model = Branches(form).eval()
    session = Session(model, threads=2)
    x, y = images(2, 3, 7, 9), images(2, 4, 5, 6)
    for _ in range(2):
        found = session.run([x, y])
        with torch.no_grad():
            right = model(torch.from_numpy(x), torch.from_numpy(y))
        for one, other in zip(found, right.values() if isinstance(right, dict) else right, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)
