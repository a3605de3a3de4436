"""How does MobileNet-V1 look? Depthwise and pointwise convolutions in turns; nearly all weights are pointwise."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

#: (channels, stride) of the thirteen separable convolutions, before the width is applied.
_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *(((512, 1),) * 5),
    (1024, 2),
    (1024, 1),
)


class Separable(nn.Module):
    """A 3 x 3 depthwise and a 1 x 1 convolution, each with batch norm and ReLU (Howard et al. 2017, figure 3)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, channels, ceil(H / stride), ceil(W / stride)]."""
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class MobileNetV1(nn.Module):
    """MobileNet of Howard et al. 2017, table 1, with a width multiplier.

    4,231,976 parameters for 1,000 classes at width 1, of which 3,139,584 are in pointwise convolutions.
    """

    def __init__(self, num_classes: int, in_channels: int, width: float = 1.0) -> None:
        super().__init__()
        channels = _wide(32, width)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        blocks = []
        for wanted, stride in _SEPARABLE:
            blocks.append(Separable(channels, _wide(wanted, width), stride))
            channels = _wide(wanted, width)
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W], sides at least 32, to logits [N, num_classes]."""
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _wide(channels: int, width: float) -> int:
    """The channels at a width, in steps of 8 and at least 8."""
    return max(8, 8 * round(channels * width / 8))
