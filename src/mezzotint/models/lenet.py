"""How do the two LeNets of the pruning literature look? LeNet-300-100 (linear layers) and LeNet-5-Caffe."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_SMALL = 16


class LeNet300(nn.Module):
    """LeNet-300-100: three linear layers (LeCun et al. 1998).

    266,610 parameters for 28 x 28 grey images and 10 classes.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_channels * image_size[0] * image_size[1], 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] of the built size to logits [N, num_classes]."""
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


class LeNet5Caffe(nn.Module):
    """LeNet-5 as Caffe ships it and pruning papers use it: 20 and 50 filters of 5 x 5, then 500 units.

    431,080 parameters for 28 x 28 grey images and 10 classes. The convolutions are not padded. Images with a side
    below 16 pixels are too small for two of those; for them both convolutions are padded by 2.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        padding = 2 if min(image_size) < _SMALL else 0
        self.conv1 = nn.Conv2d(in_channels, 20, 5, padding=padding)
        self.conv2 = nn.Conv2d(20, 50, 5, padding=padding)
        height, width = (_pooled(_pooled(side, padding), padding) for side in image_size)
        self.fc1 = nn.Linear(50 * height * width, 500)
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] of the built size to logits [N, num_classes]."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits


def _pooled(side: int, padding: int) -> int:
    """The side of a map after a 5 x 5 convolution and 2 x 2 pooling."""
    return (side + 2 * padding - 4) // 2
