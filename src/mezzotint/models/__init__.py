"""Which reference networks are there, and how is one built? A table of plain PyTorch modules; they know no sparsity.

To add a network: one file with its module, one line in ``MODELS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import nn

from mezzotint.errors import InputError, NotRegistered, message, suggest
from mezzotint.models.digits import DigitsCNN
from mezzotint.models.initialise import he_, zero_branches_
from mezzotint.models.lenet import LeNet5Caffe, LeNet300
from mezzotint.models.resnet import BasicBlock, Bottleneck, ResNet
from mezzotint.models.resnet_cifar import CifarResNet
from mezzotint.models.wide_resnet import WideResNet

__all__ = ["MODELS", "Model", "build"]

Factory = Callable[[int, int, tuple[int, int]], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Model:
    """An entry of the table.

    Attributes:
        make: ``make(num_classes, in_channels, (height, width))`` -> module, not yet initialised.
        smallest: the least height and width that the network can take.
        doc: one line.
    """

    make: Factory
    smallest: int
    doc: str


MODELS: Final[dict[str, Model]] = {
    "lenet_300_100": Model(make=LeNet300, smallest=1, doc="LeNet-300-100: three linear layers"),
    "lenet5_caffe": Model(make=LeNet5Caffe, smallest=4, doc="LeNet-5 of Caffe: two convolutions, two linear layers"),
    "digits_cnn": Model(make=DigitsCNN, smallest=4, doc="small network for the embedded 8 x 8 digits"),
    "resnet20": Model(
        make=lambda classes, channels, size: CifarResNet(classes, channels, blocks=3),
        smallest=4,
        doc="ResNet-20 for small images, parameter-free shortcuts (option A)",
    ),
    "wrn_16_2": Model(
        make=lambda classes, channels, size: WideResNet(classes, channels, depth=16, width=2),
        smallest=4,
        doc="wide ResNet 16-2 for small images, no dropout",
    ),
    "wrn_28_2": Model(
        make=lambda classes, channels, size: WideResNet(classes, channels, depth=28, width=2),
        smallest=4,
        doc="wide ResNet 28-2 for small images, no dropout",
    ),
    "resnet18": Model(
        make=lambda classes, channels, size: ResNet(classes, channels, BasicBlock, (2, 2, 2, 2)),
        smallest=32,
        doc="ResNet-18 for ImageNet, parameter names of torchvision",
    ),
    "resnet50": Model(
        make=lambda classes, channels, size: ResNet(classes, channels, Bottleneck, (3, 4, 6, 3)),
        smallest=32,
        doc="ResNet-50 (v1.5) for ImageNet, parameter names of torchvision",
    ),
}
"""Name -> how the network is made."""


def build(
    name: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    image_size: int | tuple[int, int] = 32,
    zero_init: bool = False,
) -> nn.Module:
    """Build and initialise a network of the table.

    Weights follow :func:`mezzotint.models.initialise.he_`, drawn from PyTorch's global generator: call
    ``torch.manual_seed`` first for repeatable ones.

    Args:
        name: a key of ``MODELS``.
        num_classes: length of the logits, at least 1.
        in_channels: channels of the images, at least 1.
        image_size: side, or (height, width), of the images in pixels.
        zero_init: start residual branches at zero (see :func:`mezzotint.models.initialise.zero_branches_`).

    Returns:
        A module from float images [N, in_channels, height, width] to logits [N, num_classes], in training mode.

    Raises:
        NotRegistered: no network of that name.
        InputError: a count below 1, or images too small for the network.
    """
    if name not in MODELS:
        raise NotRegistered(
            message("model", received=name, allowed=", ".join(MODELS), fix=suggest(name, MODELS).strip())
        )
    model = MODELS[name]
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    for what, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value < 1:
            raise InputError(message(what, received=value, allowed="at least 1"))
    if min(size) < model.smallest:
        raise InputError(
            message(
                f"image size for model {name!r}",
                received=f"{size[0]} x {size[1]}",
                allowed=f"at least {model.smallest} x {model.smallest}",
                fix="Enlarge the images, or choose a network for smaller ones.",
            )
        )
    network = he_(model.make(num_classes, in_channels, size))
    return zero_branches_(network) if zero_init else network
