"""Does the engine compute activations, products and joined channels as PyTorch does, however they are written?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from deploy_networks import difference, images, settle
from torch import Tensor, nn

from mezzotint.deploy import Description, Session
from mezzotint.deploy.engine import EngineModel
from mezzotint.deploy.rounding import rounded
from mezzotint.errors import ShapeError
from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

Function = Callable[[Tensor], Tensor]
torch.fx.wrap("rounded")  # one node, as in an ONNX file


class After(nn.Module):
    """A convolution, a function of its result, and another convolution."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two, self.function = nn.Conv2d(3, 7, 3, padding=1), nn.Conv2d(7, 4, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.function(4 * self.one(x)))


def told_of(model: nn.Module, shape: tuple[int, int, int] = (3, 9, 11), dtype: str = "fp32") -> str:
    """What a session tells that has been compared with PyTorch for several batches."""
    session = Session(model, 2, dtype, description=Description(input_shape=shape))
    for batch in (1, 6):
        assert difference(session, model, images(batch, *shape)) < (3e-6 if dtype == "fp32" else 0.04)
    return session.explain()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "function",
    [
        *(nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-0.5, 2.0), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.SiLU(), nn.Mish()),
        *(nn.Hardsigmoid(), nn.Hardswish(), nn.SiLU(inplace=True), nn.Hardswish(inplace=True)),
        *(F.leaky_relu, lambda x: F.leaky_relu(x, 0.3), lambda x: F.leaky_relu(x, negative_slope=0.3)),
        *(F.silu, F.mish, F.hardswish, F.hardsigmoid, torch.sigmoid, lambda x: x.sigmoid(), F.relu6),
        *(lambda x: x * torch.sigmoid(x), lambda x: F.hardsigmoid(x) * x, lambda x: x.mul(x.sigmoid())),
        lambda x: x * torch.tanh(F.softplus(x)),
        *(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=(3, 1)), nn.UpsamplingNearest2d(scale_factor=2)),
        *(lambda x: F.interpolate(x, None, 2.0), lambda x: F.interpolate(x, scale_factor=(1, 3), mode="nearest-exact")),
        *(lambda x: rounded(x, 0.0625, -128, 127), lambda x: rounded(x.relu(), 0.031, 0, 200)),
        *(
            lambda x: F.relu6(rounded(F.silu(x), 0.05, -20, 235)),
            lambda x: rounded(rounded(x, 0.05, -90, 90), 0.02, 0, 500),
        ),
        *(lambda x: F.silu(x) + x, lambda x: F.silu(x) * x, lambda x: x * x),
    ],
)
def test_an_activation(function: Function, dtype: str) -> None:
    class Scaled(After):
        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.function(self.one(x)))

    told = told_of(Scaled(function).eval(), dtype=dtype)
    assert "in 1 native programs" in told
    assert "PyTorch" not in told


def test_a_product_that_is_an_activation_is_no_step_of_its_own() -> None:
    told = told_of(After(lambda x: x * torch.sigmoid(x)).eval())
    assert "mul" not in told.split("one:")[1].splitlines()[0]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: 2 * x, "more than the product of two tensors"),
        (lambda x: x * x.mean(2, keepdim=True), "multiplies tensors of different shapes"),
        (lambda x: torch.cat([x, x], 2)[:, :, ::2], "joins other axes than channels"),
        (nn.Upsample(size=(20, 20)), "it resizes in another way"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "it resizes in another way"),
        (F.gelu, "the engine has no gelu"),
        (lambda x: F.leaky_relu(x, float(x.shape[1]) / 70), "PyTorch"),
    ],
)
def test_what_is_left_to_pytorch(function: Function, reason: str) -> None:
    class Plain(After):
        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.function(self.one(x)))

    assert reason in told_of(Plain(function).eval())


class Squeeze(nn.Module):
    """Squeeze and excitation: channels times numbers found from their averages."""

    def __init__(self, channels: int, gate: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)
        self.curve, self.gate, self.first = nn.SiLU(), gate, first

    def forward(self, x: Tensor) -> Tensor:
        factor = self.gate(self.up(self.curve(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return factor * x if self.first else x * factor


class Branches(nn.Module):
    """Joined channels: flat as in torchvision's DenseNet, nested, twice the same, of an input, read with borders."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.stem = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.squeeze = nn.Sequential(Squeeze(5, nn.Sigmoid(), first=True), Squeeze(5, nn.Hardsigmoid(), first=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in (5, 9, 13))
        self.grow = nn.ModuleList(nn.Conv2d(size, 4, 3, padding=1) for size in (5, 9, 13))
        self.flat = nn.Conv2d(17, 6, 5, padding=2)
        self.nested = nn.Conv2d(6 + 17 + 6, 3, 3, stride=2, padding=1)
        self.again = nn.Conv2d(6 + 3, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = [self.squeeze(self.stem(image))]
        for norm, grow in zip(self.norms, self.grow, strict=True):
            features.append(grow(F.relu(norm(torch.cat(features, 1)))))
        joined = torch.cat(features, 1)
        flat = F.silu(self.flat(joined))
        nested = torch.cat([torch.cat([flat, joined], dim=1), flat], 1)
        small = F.max_pool2d(flat, 3, 2, 1)
        again = self.again(torch.cat([small, self.nested(nested)], 1)) * 0.5
        return self.head(again.mean((2, 3))), nested


@pytest.mark.parametrize(("dtype", "bound"), [("fp32", 2e-6), ("bf16", 0.04)])
@pytest.mark.parametrize("isa", native.isas() if native.unavailable() is None else ())
def test_branches(isa: str, dtype: str, bound: float) -> None:
    model = settle(Branches())
    native.force_isa(isa)
    try:
        engine = EngineModel(settle(Branches()), torch.bfloat16 if dtype == "bf16" else torch.float32, 2)
        for shape in ((1, 3, 21, 18), (6, 3, 33, 40), (2, 3, 5, 5)):
            x = torch.from_numpy(images(*shape))
            with torch.no_grad():
                for found, wanted in zip(engine(x), model(x), strict=True):
                    torch.testing.assert_close(found, wanted, rtol=0, atol=bound * float(wanted.abs().max()))
    finally:
        native.force_isa(None)
    told = engine.explain()
    plain = [line for line in told.splitlines() if "PyTorch" in line]
    assert len(plain) == 1, plain  # the product with a constant
    # Four tensors lie in the last joint from the beginning; the nested one takes a copy of what is there twice.
    assert told.count("split") < 9


def test_a_parameter_without_a_batch() -> None:
    class Scaled(After):
        def __init__(self) -> None:
            super().__init__(lambda x: x * self.scale + self.shift)
            self.scale = nn.Parameter(torch.randn(1, 7, 1, 1))
            self.shift = nn.Parameter(torch.randn(1, 7, 9, 11))

    told_of(Scaled().eval())


def test_an_input_is_joined() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(10, 5, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.cat([x, self.one(x), x], 1))

    assert "PyTorch" not in told_of(Joined().eval())


def test_another_image_size_that_does_not_join_is_told() -> None:
    class Sizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.three(torch.cat([self.one(x), self.two(x)], 1))

    engine = EngineModel(Sizes().eval(), torch.float32, 1)
    assert engine(torch.zeros(1, 3, 8, 8)).shape == (1, 2, 4, 4)
    with pytest.raises(ShapeError, match="image that is joined with others"):
        engine(torch.zeros(1, 3, 9, 9))
