"""How does a wide residual network look? Pre-activation blocks, few layers, many channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class WideBlock(nn.Module):
    """Batch norm, ReLU, 3 x 3 convolution, twice; a 1 x 1 convolution as shortcut where the number of channels changes.

    Zagoruyko and Komodakis 2016 ("Wide residual networks"), block B(3, 3). A block that changes the number of channels
    feeds the activated input to its shortcut too, as the authors' code does.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False) if in_channels != channels else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, channels, ceil(H / stride), ceil(W / stride)]."""
        active = F.relu(self.bn1(x))
        inner = F.relu(self.bn2(self.conv1(active)))
        branch: Tensor = self.conv2(inner if self.dropout is None else self.dropout(inner))
        return branch + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """WRN-depth-width for small images: 16, 16w, 32w, 64w channels.

    ``dropout`` is the share of activations that are dropped between a block's convolutions in training.
    WRN-28-2 has 1,467,610 parameters for colour images and 10 classes.
    """

    def __init__(self, num_classes: int, in_channels: int, depth: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.layer1 = _stage(16, 16 * width, blocks, stride=1, dropout=dropout)
        self.layer2 = _stage(16 * width, 32 * width, blocks, stride=2, dropout=dropout)
        self.layer3 = _stage(32 * width, 64 * width, blocks, stride=2, dropout=dropout)
        self.bn = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W], sides at least 4, to logits [N, num_classes]."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = F.relu(self.bn(x))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(in_channels: int, channels: int, blocks: int, stride: int, dropout: float) -> nn.Sequential:
    first = WideBlock(in_channels, channels, stride, dropout)
    return nn.Sequential(first, *(WideBlock(channels, channels, 1, dropout) for _ in range(blocks - 1)))
