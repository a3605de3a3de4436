"""How does the AlexNet of the pruning literature look? Strided convolutions in place of pooling, for small images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import InputError, message

#: (channels, kernel, padding) of the convolutions; all have stride 2.
_CONVOLUTIONS = ((96, 11, 2), (256, 5, 2), (384, 3, 1), (384, 3, 1), (256, 3, 1))


class AlexNetSmall(nn.Module):
    """AlexNet-s and AlexNet-b of Lee et al. 2019 ("SNIP"), table 4: five strided convolutions, three linear layers.

    Every layer but the last is followed by batch norm and ReLU. AlexNet-s has 1,024 hidden units and 5,077,066
    parameters for 32 x 32 colour images and 10 classes; AlexNet-b has twice the units.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: tuple[int, int], units: int) -> None:
        super().__init__()
        height, width = image_size
        convolutions: list[nn.Module] = []
        for channels, kernel, padding in _CONVOLUTIONS:
            convolutions += [
                nn.Conv2d(in_channels, channels, kernel, stride=2, padding=padding),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            in_channels = channels
            height, width = ((side + 2 * padding - kernel) // 2 + 1 for side in (height, width))
        if min(height, width) < 1:
            raise InputError(message("image size", received=image_size, allowed="sides of at least 11 pixels"))
        self.features = nn.Sequential(*convolutions)
        self.fc1 = nn.Linear(in_channels * height * width, units)
        self.bn1 = nn.BatchNorm1d(units)
        self.fc2 = nn.Linear(units, units)
        self.bn2 = nn.BatchNorm1d(units)
        self.fc3 = nn.Linear(units, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] of the built size to logits [N, num_classes]."""
        x = self.features(x).flatten(1)
        x = F.relu(self.bn1(self.fc1(x)))
        x = F.relu(self.bn2(self.fc2(x)))
        logits: Tensor = self.fc3(x)
        return logits
