"""Which architectures of other people are read from ONNX files? Plain PyTorch, small enough to check by eye.

Each takes a divisor of its widths, so that tests can have small ones; 1 is the published network. ResNet-50 and
MobileNet-V1 are those of ``mezzotint.models``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import mezzotint as mz


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int, act: nn.Module | None, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias, batch norm, and an activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([] if act is None else [act]))


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al. 2018) with SiLU, as in EfficientNet."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(nn.functional.silu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class Inverted(nn.Module):
    """An inverted residual (Sandler et al. 2018, figure 3; Tan and Le 2019 with excitation)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        expand: int,
        kernel: int,
        stride: int,
        make: Callable[[], nn.Module],
        excite: bool,
    ) -> None:
        super().__init__()
        wide = inputs * expand
        layers: list[nn.Module] = [conv_norm(inputs, wide, 1, 1, make())] if expand > 1 else []
        layers.append(conv_norm(wide, wide, kernel, stride, make(), groups=wide))
        layers += [Excite(wide, max(1, inputs // 4))] if excite else []
        self.body = nn.Sequential(*layers, conv_norm(wide, outputs, 1, 1, None))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def _inverted(
    table: list[tuple[int, int, int, int, int]],
    make: Callable[[], nn.Module],
    excite: bool,
    ends: tuple[int, int],
    divide: int,
    classes: int,
) -> nn.Module:
    """From rows of (expansion, channels, repeats, stride, kernel)."""
    channels = ends[0] // divide
    layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, make())]
    for expand, wanted, repeats, stride, kernel in table:
        for i in range(repeats):
            outputs = max(4, wanted // divide)
            layers.append(Inverted(channels, outputs, expand, kernel, stride if i == 0 else 1, make, excite))
            channels = outputs
    last = ends[1] // divide
    head = [conv_norm(channels, last, 1, 1, make()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, *head, nn.Linear(last, classes))


def mobilenet_v2(divide: int = 1, classes: int = 1000) -> nn.Module:
    """Sandler et al. 2018, table 2."""
    rows = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3), (6, 160, 3, 2, 3)]
    return _inverted([*rows, (6, 320, 1, 1, 3)], nn.ReLU6, False, (32, 1280), divide, classes)


def efficientnet_b0(divide: int = 1, classes: int = 1000) -> nn.Module:
    """Tan and Le 2019, table 1."""
    rows = [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
    ]
    return _inverted([*rows, (6, 320, 1, 1, 3)], nn.SiLU, True, (32, 1280), divide, classes)


class Dense(nn.Module):
    """A layer of a dense block (Huang et al. 2017): its result is laid beside what it reads."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


def densenet121(divide: int = 1, classes: int = 1000) -> nn.Module:
    """Huang et al. 2017, table 1."""
    growth, channels = 32 // divide, 64 // divide
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, 7, 2, 3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for place, repeats in enumerate((6, 12, 24, 16) if divide == 1 else (2, 3, 3, 2)):
        if place:
            layers += [
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels // 2, 1, bias=False),
                nn.AvgPool2d(2),
            ]
            channels //= 2
        for _ in range(repeats):
            layers.append(Dense(channels, growth))
            channels += growth
    return nn.Sequential(
        *layers,
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


def vgg16(divide: int = 1, classes: int = 1000) -> nn.Module:
    """Simonyan and Zisserman 2015, configuration D."""
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width // divide, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width // divide
        layers.append(nn.MaxPool2d(2))
    hidden = 4096 // divide
    side = 7 if divide == 1 else 2
    head = [
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
        nn.Linear(channels * side * side, hidden),
        nn.ReLU(),
        nn.Dropout(),
    ]
    return nn.Sequential(*layers, *head, nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes))


def _own(name: str, divide: int, classes: int) -> nn.Module:
    small = {"options": {"width": 1 / divide}} if name == "mobilenet_v1" and divide > 1 else {}
    return mz.models.build(
        name if divide == 1 else {"resnet50": "resnet18"}.get(name, name),
        num_classes=classes,
        in_channels=3,
        image_size=224,
        **small,
    )


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet50": lambda divide, classes: _own("resnet50", divide, classes),
    "mobilenet_v1": lambda divide, classes: _own("mobilenet_v1", divide, classes),
    "mobilenet_v2": mobilenet_v2,
    "vgg16": vgg16,
    "densenet121": densenet121,
    "efficientnet_b0": efficientnet_b0,
}


def plain(name: str) -> nn.Module:
    """A network as PyTorch initialises it: untrained, batch norms of mean 0 and variance 1, dense."""
    torch.manual_seed(1)
    return NETWORKS[name](1, 1000).eval()


def prepared(name: str, density: float, divide: int = 1, classes: int = 1000) -> nn.Module:
    """A network with random weights of which a part is zero, batch norms that fit them, and dense depthwise layers."""
    torch.manual_seed(1)
    model = NETWORKS[name](divide, classes)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                depthwise = isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.in_channels <= 4)
                if not depthwise and density < 1:
                    weight = layer.weight
                    bound = weight.abs().flatten().kthvalue(max(1, int((1 - density) * weight.numel()))).values
                    alive = weight.abs() > bound
                    layer.weight.copy_(torch.where(alive, weight * 0.5 * density**-0.25, torch.zeros(())))
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        model.train()
        model(torch.randn(4, 3, 96 if divide == 1 else 64, 96 if divide == 1 else 64))
    return model.eval()


def exported(model: nn.Module, size: int) -> bytes:
    """The ONNX file that PyTorch's own exporter writes, with a free batch."""
    buffer = io.BytesIO()
    free = {"image": {0: "batch"}, "logits": {0: "batch"}}
    names = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": free}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(2, 3, size, size),), buffer, dynamo=False, opset_version=17, **names)
    return buffer.getvalue()
