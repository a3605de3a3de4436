"""Which small convolutional network suits the embedded 8 x 8 digits?"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class DigitsCNN(nn.Module):
    """Three 3 x 3 convolutions (32, 64, 128 filters, batch norm), two 2 x 2 poolings, one linear layer.

    For 8 x 8 grey images and 10 classes: 98,026 parameters, 2.4 million multiply-adds an image.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(128)
        self.fc = nn.Linear(128 * (image_size[0] // 4) * (image_size[1] // 4), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] of the built size to logits [N, num_classes]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        logits: Tensor = self.fc(x.flatten(1))
        return logits
