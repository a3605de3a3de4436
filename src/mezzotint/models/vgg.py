"""How do the VGG networks of the pruning literature look? VGG-16 for small images in three variants."""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

#: Channels of each stage's convolutions, which are 3 x 3; the stages end in 2 x 2 pooling.
_STAGES: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """VGG-C, VGG-D and VGG-like of Lee et al. 2019 ("SNIP"), table 4: batch norms, hidden linear layers of 512 units.

    VGG-C has 1 x 1 convolutions at the end of its last three stages. (The code of sparse momentum pads those by 1, so
    that its maps grow; here they keep their size, as in Simonyan and Zisserman 2014, and the network has the 10.5
    million parameters that the papers tell.) VGG-like has one hidden linear layer, the others have two; a batch norm
    after the ReLU of each stands for the dropout of the original.
    """

    def __init__(
        self, num_classes: int, in_channels: int, image_size: tuple[int, int], *, pointwise: bool, hidden: int
    ) -> None:
        """
        Args:
            num_classes, in_channels, image_size: see ``models.build``; sides of at least 32 pixels.
            pointwise: the third convolution of a stage is 1 x 1.
            hidden: number of hidden linear layers.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for stage in _STAGES:
            for place, channels in enumerate(stage):
                kernel = 1 if pointwise and place == 2 else 3
                layers += [
                    nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                ]
                in_channels = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        inputs = in_channels * (image_size[0] // 32) * (image_size[1] // 32)
        self.hidden = nn.ModuleList(nn.Linear(inputs if i == 0 else 512, 512) for i in range(hidden))
        self.norms = nn.ModuleList(nn.BatchNorm1d(512) for _ in range(hidden))
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] of the built size to logits [N, num_classes]."""
        x = self.features(x).flatten(1)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            x = norm(F.relu(linear(x)))
        logits: Tensor = self.fc(x)
        return logits
