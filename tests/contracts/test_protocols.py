"""Does every registered evaluation protocol keep the contract? Shape, range, words, fingerprint, determinism."""

from __future__ import annotations

import pytest
import torch

import mezzotint as mz
from mezzotint.errors import InputError

PROTOCOLS = mz.data.protocols()


def test_the_mission_protocols_are_there() -> None:
    assert {"squash256", "central875", "squash256-tf", "central875-tf"} <= set(PROTOCOLS)


def test_fingerprints_tell_protocols_apart() -> None:
    prints = {name: protocol.fingerprint() for name, protocol in PROTOCOLS.items()}
    assert len(set(prints.values())) == len(prints)
    assert prints == {name: protocol.fingerprint() for name, protocol in mz.data.protocols().items()}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (224, 224), (375, 500), (256, 256)])
def test_a_protocol_gives_a_square_in_the_unit_range(name: str, size: tuple[int, int]) -> None:
    side, _ = PROTOCOLS[name].size(*size)
    beyond = 0.25 if PROTOCOLS[name].overshoot == "keep" else 0.0  # what a cubic filter can add to black and white
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    made = mz.preprocess(image, protocol=name, layout="HWC")
    assert made.dtype == torch.float32
    assert made.shape == (side, side, 3)
    assert -beyond <= made.min().item() <= made.max().item() <= 1.0 + beyond
    assert torch.equal(made, mz.preprocess(image, protocol=name, layout="HWC"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_flat_image_stays_flat(name: str) -> None:
    made = mz.preprocess(torch.full((123, 77, 3), 128, dtype=torch.uint8), protocol=name)
    torch.testing.assert_close(made, torch.full_like(made, 128 / 255), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_normalised_values_are_finite_and_undone_by_the_statement(name: str) -> None:
    image = torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8)
    stated = PROTOCOLS[name].normalisation
    if stated is None:
        with pytest.raises(InputError, match="states no normalisation"):
            mz.preprocess(image, protocol=name, normalise=True)
        return
    made = mz.preprocess(image, protocol=name, normalise=True)
    undone = (made * torch.tensor(stated.std) + torch.tensor(stated.mean)) / stated.white
    undone = undone.flip(-1) if stated.channels == "BGR" else undone
    torch.testing.assert_close(undone, mz.preprocess(image, protocol=name), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_what_it_does(name: str) -> None:
    assert PROTOCOLS[name].name == name
    assert len(PROTOCOLS[name].describe()) > 40
