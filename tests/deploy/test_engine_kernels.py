"""Do all kernels that a dense convolution can take compute the same, and does a session say which one it is?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from deploy_networks import choosing
from torch import Tensor, nn

from mezzotint.deploy import Description, Session
from mezzotint.errors import InputError
from mezzotint.kernels import native
from mezzotint.kernels.native_program import Choice, Summing

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def has_matrices() -> bool:
    """Whether the instruction set in use has a matrix unit."""
    return native.unavailable() is None and native.isa().startswith("amx")


WORDS = {Summing.GROUPS: "4 output channels at once", Summing.LANES: "16 output channels side by side"}
SHAPE = (3, 15, 13)


class Bottleneck(nn.Module):
    """Channels that fill no block, inputs for several turns, a residual, a stride and phases."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 37, 3, padding=1)
        self.narrow = nn.Conv2d(37, 70, 3, padding=1)
        self.wide = nn.Conv2d(70, 37, 1)
        self.down = nn.Conv2d(37, 18, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.wide(torch.relu(self.narrow(x))))
        return nn.functional.relu6(self.down(x))


def session_of(model: nn.Module, dtype: str, pick: Callable[[list[Choice]], Choice]) -> Session:
    """A session whose convolutions take what is picked from their choices."""
    with choosing(pick):
        session = Session(model, 2, dtype, description=Description(input_shape=SHAPE))
        session.run([np.zeros((1, *SHAPE), np.float32)])
    return session


@pytest.mark.parametrize("summing", WORDS)
@pytest.mark.parametrize("tile", [min, max])
def test_each_way_to_sum_is_right_and_told(isa: str, summing: Summing, tile: Callable[[list[Choice]], Choice]) -> None:
    torch.manual_seed(0)
    model = Bottleneck().eval()
    x = torch.randn(3, *SHAPE)
    with torch.no_grad():
        expected = model.double()(x.double()).numpy()
    session = session_of(model.float(), "fp32", lambda choices: tile([one for one in choices if one[0] == summing]))
    np.testing.assert_allclose(session.run([x.numpy()])[0], expected, rtol=1e-5, atol=2e-6)
    assert session.explain().count(WORDS[summing]) >= 4


@pytest.mark.skipif(not has_matrices(), reason="this CPU has no matrix unit (csrc/tests emulates one)")
@pytest.mark.parametrize("tile", [min, max])
def test_a_matrix_unit_is_right_and_told(tile: Callable[[list[Choice]], Choice]) -> None:
    torch.manual_seed(0)
    model = Bottleneck().eval()
    x = torch.randn(3, *SHAPE)
    with torch.no_grad():
        expected = model(x).numpy()
    session = session_of(model, "bf16", lambda choices: tile([one for one in choices if one[0] == Summing.MATRICES]))
    np.testing.assert_allclose(session.run([x.numpy()])[0], expected, rtol=2e-2, atol=2e-2)
    assert session.explain().count("on the matrix unit") >= 4
    with native.using_isa("avx512"), pytest.raises(InputError, match="the instruction set in use has none"):
        session.run([x.numpy()])


class Depthwise(nn.Module):
    """Windows of three columns side by side, and one that has a stride and reads phases."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 21, 1)
        self.plain = nn.Conv2d(21, 21, 3, padding=1, groups=21)
        self.wide = nn.Conv2d(21, 42, 3, padding=(2, 1), dilation=(2, 1), groups=21)
        self.down = nn.Conv2d(42, 42, 3, stride=2, padding=1, groups=42)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.down(torch.relu(self.wide(torch.relu(x + self.plain(x)))))


@pytest.mark.parametrize(("dtype", "error"), [("fp32", 2e-6), ("bf16", 2e-2)])
@pytest.mark.parametrize("tile", [min, max])
def test_depthwise_windows_may_go_row_by_row(
    isa: str, dtype: str, error: float, tile: Callable[[list[Choice]], Choice]
) -> None:
    torch.manual_seed(0)
    model = Depthwise().eval()
    x = torch.randn(3, *SHAPE)
    with torch.no_grad():
        expected = model(x).numpy()

    def pick(choices: list[Choice]) -> Choice:
        return tile([one for one in choices if one[0] == Summing.WINDOWS] or choices)

    session = session_of(model, dtype, pick)
    np.testing.assert_allclose(session.run([x.numpy()])[0], expected, rtol=error, atol=error)
    assert session.explain().count("three columns at once,") == 2


@pytest.mark.parametrize(
    ("dtype", "kinds"),
    [
        ("fp32", {Summing.GROUPS, Summing.LANES}),
        ("bf16", {Summing.GROUPS, *([Summing.MATRICES] if has_matrices() else [])}),
    ],
)
def test_channels_lie_in_lanes_in_fp32_alone_and_matrices_are_of_bf16(dtype: str, kinds: set[Summing]) -> None:
    seen: set[Summing] = set()

    def note(choices: list[Choice]) -> Choice:
        seen.update(choice[0] for choice in choices)
        return choices[0]

    session_of(Bottleneck().eval(), dtype, note)
    assert seen == kinds
