"""Are the native operations Pillow's, bit for bit, on pictures of any size, kind and tone?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.data.augment import operate
from mezzotint.data.augment.operate import run
from mezzotint.data.augment.pillow_ops import OPERATIONS, Surface, to_image, to_picture
from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
NUMBERS = {
    **{name: st.floats(-0.99, 2.0) for name in ("brightness", "color", "contrast", "sharpness")},
    **{name: st.floats(-0.5, 0.5) for name in ("shear_x", "shear_y")},
    **{name: st.floats(-60, 60) for name in ("translate_x", "translate_y")},
    "rotate": st.one_of(st.floats(-200, 400), st.sampled_from([0.0, 90.0, 180.0, -90.0, 270.0, 30.0, 1e-9])),
    "posterize": st.integers(1, 8).map(float),
    "solarize": st.floats(0, 256),
    **{name: st.just(0.0) for name in ("autocontrast", "equalize", "invert", "identity")},
}


def tones(seed: int, height: int, width: int, channels: int) -> Tensor:
    """Noise in part of the levels, or of very few of them: so that histograms have gaps and ends."""
    draw = np.random.default_rng(seed)
    low = int(draw.integers(0, 200))
    levels = draw.integers(low, int(draw.integers(low + 1, 257)), (height, width, channels), dtype=np.uint8)
    if draw.random() < 0.3:
        levels = draw.choice(levels.reshape(-1)[:3], (height, width, channels))
    return torch.from_numpy(np.ascontiguousarray(levels))


@pytest.mark.parametrize("name", NUMBERS)
@given(
    st.data(),
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
    st.integers(0, 255),
)
def test_an_operation_is_pillows(
    name: str, data: st.DataObject, seed: int, shape: tuple[int, int, int], fill: int
) -> None:
    image, value, surface = tones(seed, *shape), data.draw(NUMBERS[name]), Surface(fill=fill)
    before = image.clone()
    made = run(image, [(name, value)], surface)
    assert torch.equal(image, before)
    assert torch.equal(made, to_image(OPERATIONS[name](to_picture(image), value, surface)))


@given(st.floats(-0.99, 2.0), st.sampled_from(["brightness", "color", "contrast", "sharpness"]))
def test_every_pair_of_levels_is_blended_as_by_pillow(value: float, name: str) -> None:
    grid = np.stack(np.broadcast_arrays(*np.ogrid[0:256, 0:256], np.uint8(77)), axis=2).astype(np.uint8)
    image = torch.from_numpy(np.ascontiguousarray(grid))
    assert torch.equal(run(image, [(name, value)]), to_image(OPERATIONS[name](to_picture(image), value, Surface())))


@pytest.mark.parametrize("name", [*NUMBERS])
def test_all_are_native(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("Pillow was asked")

    image = tones(0, 30, 20, 3)
    run(image, [(name, 1.0)])  # tables are made by Pillow, once
    monkeypatch.setitem(operate.OPERATIONS, name, refuse)
    run(image, [(name, 1.0)])


def test_pillow_does_what_is_not_native(monkeypatch: pytest.MonkeyPatch) -> None:
    image, surface = tones(1, 30, 20, 3), Surface(interpolation="bicubic", fill=9)
    for name in MOVES:
        assert torch.equal(
            run(image, [(name, 0.3)], surface), to_image(OPERATIONS[name](to_picture(image), 0.3, surface))
        )
    expected = run(image, [("color", 0.5), ("rotate", 7.0)])
    monkeypatch.setattr(native, "unavailable", lambda: "not built")
    assert torch.equal(run(image, [("color", 0.5), ("rotate", 7.0)]), expected)


def test_a_view_is_read_as_it_is_seen() -> None:
    image = tones(2, 24, 40, 3)[3:20, 5:31]
    for name in NUMBERS:
        assert torch.equal(run(image, [(name, 3.0)]), run(image.contiguous(), [(name, 3.0)]))
    turned = tones(3, 24, 40, 3).transpose(0, 1)
    assert torch.equal(run(turned, [("sharpness", 0.9)]), run(turned.contiguous(), [("sharpness", 0.9)]))
