"""Does every registered evaluation protocol keep the contract? Shape, range, words, fingerprint, determinism."""

from __future__ import annotations

import pytest
import torch

import mezzotint as mz

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
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    made = mz.preprocess(image, protocol=name, layout="HWC")
    assert made.dtype == torch.float32
    assert made.shape == (224, 224, 3)
    assert 0.0 <= made.min().item() <= made.max().item() <= 1.0
    assert torch.equal(made, mz.preprocess(image, protocol=name, layout="HWC"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_flat_image_stays_flat(name: str) -> None:
    made = mz.preprocess(torch.full((123, 77, 3), 128, dtype=torch.uint8), protocol=name)
    torch.testing.assert_close(made, torch.full((224, 224, 3), 128 / 255), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_what_it_does(name: str) -> None:
    assert PROTOCOLS[name].name == name
    assert len(PROTOCOLS[name].describe()) > 40
