"""Which reference networks are there, and how is one built? A table of plain PyTorch modules; they know no sparsity.

To add a network: one file with its module, one line in ``MODELS``. Networks of other packages come by their dotted
path: see :mod:`mezzotint.models.external`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from torch import nn

from mezzotint.errors import InputError, NotRegistered, message, suggest
from mezzotint.models.alexnet import AlexNetSmall
from mezzotint.models.digits import DigitsCNN
from mezzotint.models.external import build_external, is_external
from mezzotint.models.initialise import he_, zero_branches_
from mezzotint.models.lenet import LeNet5Caffe, LeNet300
from mezzotint.models.mobilenet import MobileNetV1
from mezzotint.models.resnet import BasicBlock, Bottleneck, ResNet
from mezzotint.models.resnet_cifar import CifarResNet
from mezzotint.models.vgg import VGG16
from mezzotint.models.wide_resnet import WideResNet

__all__ = ["MODELS", "Model", "build", "is_external"]

Factory = Callable[..., nn.Module]


@dataclass(frozen=True, kw_only=True)
class Model:
    """An entry of the table.

    Attributes:
        make: ``make(num_classes, in_channels, (height, width), **options)`` -> module, not yet initialised.
        smallest: the least height and width that the network can take.
        doc: one line.
        options: names of what ``make`` takes besides, with the values that they have when they are not given.
    """

    make: Factory
    smallest: int
    doc: str
    options: Mapping[str, float] = field(default_factory=dict)


def _cifar(blocks: int) -> Model:
    def make(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
        return CifarResNet(classes, channels, blocks=blocks)

    doc = f"ResNet-{6 * blocks + 2} for small images, parameter-free shortcuts (option A)"
    return Model(make=make, smallest=4, doc=doc)


def _wide(depth: int, width: int) -> Model:
    def make(classes: int, channels: int, size: tuple[int, int], dropout: float = 0.0) -> nn.Module:
        return WideResNet(classes, channels, depth=depth, width=width, dropout=dropout)

    doc = f"wide ResNet {depth}-{width} for small images"
    return Model(make=make, smallest=4, doc=doc, options={"dropout": 0.0})


def _mobilenet(classes: int, channels: int, size: tuple[int, int], width: float = 1.0) -> nn.Module:
    return MobileNetV1(classes, channels, width)


MODELS: Final[dict[str, Model]] = {
    "lenet_300_100": Model(make=LeNet300, smallest=1, doc="LeNet-300-100: three linear layers"),
    "lenet5_caffe": Model(make=LeNet5Caffe, smallest=4, doc="LeNet-5 of Caffe: two convolutions, two linear layers"),
    "digits_cnn": Model(make=DigitsCNN, smallest=4, doc="small network for the embedded 8 x 8 digits"),
    "alexnet_s": Model(make=partial(AlexNetSmall, units=1024), smallest=11, doc="AlexNet-s of SNIP for small images"),
    "alexnet_b": Model(make=partial(AlexNetSmall, units=2048), smallest=11, doc="AlexNet-b: twice the hidden units"),
    "vgg_c": Model(
        make=partial(VGG16, pointwise=True, hidden=2), smallest=32, doc="VGG-C of SNIP: 1 x 1 convolutions end stages"
    ),
    "vgg_d": Model(make=partial(VGG16, pointwise=False, hidden=2), smallest=32, doc="VGG-D of SNIP for small images"),
    "vgg_like": Model(
        make=partial(VGG16, pointwise=False, hidden=1), smallest=32, doc="VGG-like of SNIP: one hidden linear layer"
    ),
    "resnet20": _cifar(3),
    "resnet32": _cifar(5),
    "resnet56": _cifar(9),
    "wrn_16_2": _wide(16, 2),
    "wrn_16_8": _wide(16, 8),
    "wrn_16_10": _wide(16, 10),
    "wrn_22_8": _wide(22, 8),
    "wrn_28_2": _wide(28, 2),
    "mobilenet_v1": Model(
        make=_mobilenet, smallest=32, doc="MobileNet-V1 for ImageNet, any width", options={"width": 1.0}
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
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build and initialise a network of the table, or one of another package.

    Weights follow :func:`mezzotint.models.initialise.he_`, drawn from PyTorch's global generator: call
    ``torch.manual_seed`` first for repeatable ones.

    Args:
        name: a key of ``MODELS``, ``"package.module:Class"`` or ``"timm:name"``; networks of other packages keep the
            weights that they make themselves.
        num_classes: length of the logits, at least 1.
        in_channels: channels of the images, at least 1.
        image_size: side, or (height, width), of the images in pixels.
        zero_init: start residual branches at zero (see :func:`mezzotint.models.initialise.zero_branches_`).
        options: what else the network takes, by name: ``{"dropout": 0.3}`` for wide ResNets.

    Returns:
        A module from float images [N, in_channels, height, width] to logits [N, num_classes], in training mode.

    Raises:
        NotRegistered: no network of that name.
        InputError: a count below 1, images too small for the network, or an unknown option.
    """
    given = dict(options or {})
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    for what, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value < 1:
            raise InputError(message(what, received=value, allowed="at least 1"))
    if is_external(name):
        external = build_external(name, given, num_classes=num_classes, in_channels=in_channels, image_size=size)
        return zero_branches_(external) if zero_init else external
    if name not in MODELS:
        fix = suggest(name, MODELS).strip() or 'A network of your own is named "package.module:Class".'
        raise NotRegistered(message("model", received=name, allowed=", ".join(MODELS), fix=fix))
    model = MODELS[name]
    for key in given:
        if key not in model.options:
            raise InputError(
                message(f"option of model {name!r}", received=key, allowed=", ".join(model.options) or "none")
                + suggest(key, model.options)
            )
    if min(size) < model.smallest:
        raise InputError(
            message(
                f"image size for model {name!r}",
                received=f"{size[0]} x {size[1]}",
                allowed=f"at least {model.smallest} x {model.smallest}",
                fix="Enlarge the images, or choose a network for smaller ones.",
            )
        )
    network = he_(model.make(num_classes, in_channels, size, **given))
    return zero_branches_(network) if zero_init else network
