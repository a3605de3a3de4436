"""Are the reference networks the ones of the literature? Sizes, names, shapes, and the way they start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mezzotint import models
from mezzotint.errors import InputError, NotRegistered

#: (model, classes, channels, side) -> published number of parameters.
PUBLISHED = {
    ("lenet_300_100", 10, 1, 28): 266_610,
    ("lenet5_caffe", 10, 1, 28): 431_080,
    ("resnet20", 10, 3, 32): 269_722,
    ("resnet32", 10, 3, 32): 464_154,
    ("resnet56", 10, 3, 32): 853_018,
    ("wrn_28_2", 10, 3, 32): 1_467_610,
    ("wrn_16_8", 10, 3, 32): 10_961_370,
    ("wrn_16_10", 10, 3, 32): 17_116_634,
    ("wrn_22_8", 10, 3, 32): 17_158_106,
    ("alexnet_s", 10, 3, 32): 5_077_066,
    ("alexnet_b", 10, 3, 32): 8_501_322,
    ("vgg_c", 10, 3, 32): 10_537_034,
    ("vgg_d", 10, 3, 32): 15_255_626,
    ("vgg_like", 10, 3, 32): 14_991_946,
    ("mobilenet_v1", 1000, 3, 224): 4_231_976,
    ("wrn_16_2", 10, 3, 32): 691_674,
    ("resnet18", 1000, 3, 224): 11_689_512,
    ("resnet50", 1000, 3, 224): 25_557_032,
    ("digits_cnn", 10, 1, 8): 98_026,
}


@pytest.mark.parametrize(("key", "count"), PUBLISHED.items(), ids=lambda item: str(item))
def test_number_of_parameters(key: tuple[str, int, int, int], count: int) -> None:
    name, classes, channels, side = key
    with torch.device("meta"):
        model = models.MODELS[name].make(classes, channels, (side, side))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


#: Millions of parameters as Lee et al. 2019 ("SNIP") round them in tables 2 and 4.
MILLIONS = {"alexnet_s": 5.1, "alexnet_b": 8.5, "vgg_c": 10.5, "vgg_d": 15.2, "vgg_like": 15.0, "wrn_16_10": 17.1}


@pytest.mark.parametrize("name", MILLIONS)
def test_sizes_are_those_of_the_pruning_literature(name: str) -> None:
    assert PUBLISHED[name, 10, 3, 32] / 1e6 == pytest.approx(MILLIONS[name], abs=0.06)


def test_options_reach_the_network_and_unknown_ones_are_told() -> None:
    model = models.build("wrn_16_2", num_classes=10, options={"dropout": 0.3})
    drops = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert drops == [0.3] * 6
    assert not any(isinstance(m, nn.Dropout) for m in models.build("wrn_16_2", num_classes=10).modules())
    half = models.build("mobilenet_v1", num_classes=1000, image_size=224, options={"width": 0.5})
    assert sum(parameter.numel() for parameter in half.parameters()) == 1_331_592
    with pytest.raises(InputError, match=r"option of model 'wrn_16_2': received droput; allowed: dropout"):
        models.build("wrn_16_2", num_classes=10, options={"droput": 0.3})


def test_every_model_has_a_published_size() -> None:
    assert {key[0] for key in PUBLISHED} == set(models.MODELS)


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_smallest_and_odd_images_give_logits(name: str, channels: int) -> None:
    smallest = models.MODELS[name].smallest
    for size in ((smallest, smallest), (smallest + 5, smallest + 8)):
        model = models.build(name, num_classes=7, in_channels=channels, image_size=size)
        logits = model(torch.randn(2, channels, *size))
        assert logits.shape == (2, 7)
        logits.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("side", [8, 15, 16, 28, 32])
def test_lenet5_takes_small_images(side: int) -> None:
    model = models.build("lenet5_caffe", num_classes=10, in_channels=1, image_size=side)
    assert model(torch.randn(3, 1, side, side)).shape == (3, 10)


def test_resnet50_has_the_names_of_torchvision() -> None:
    with torch.device("meta"):
        keys = models.MODELS["resnet50"].make(1000, 3, (224, 224)).state_dict()
    expected = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.num_batches_tracked": (),
        "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.running_mean": (256,),
        "layer4.2.bn3.bias": (2048,),
        "fc.weight": (1000, 2048),
    }
    assert {name: tuple(keys[name].shape) for name in expected} == expected
    assert len(keys) == 320  # of torchvision's resnet50


def test_only_the_first_block_of_a_stage_projects() -> None:
    model = models.build("resnet18", num_classes=3, image_size=32)
    projected = [name for name, module in model.named_modules() if name.endswith("downsample") and module is not None]
    assert projected == ["layer2.0.downsample", "layer3.0.downsample", "layer4.0.downsample"]


def test_he_initialisation_has_its_variance() -> None:
    model = models.build("wrn_28_2", num_classes=10)
    weight = model.get_submodule("layer3.1.conv1").weight
    fan_out = weight.shape[0] * 9
    assert math.isclose(float(weight.detach().std()), math.sqrt(2 / fan_out), rel_tol=0.02)


def test_same_seed_same_weights() -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(models.build("resnet20", num_classes=10).state_dict())
    same = [all(torch.equal(states[0][key], other[key]) for key in states[0]) for other in states[1:]]
    assert same == [True, False]


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "resnet50"])
def test_zero_init_makes_every_block_its_shortcut(name: str) -> None:
    model = models.build(name, num_classes=5, image_size=32, zero_init=True)
    blocks = [module for module in model.modules() if hasattr(module, "last_norm")]
    assert blocks
    assert all(float(block.get_submodule(block.last_norm).weight.detach().abs().max()) == 0 for block in blocks)


def test_option_a_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    block = models.resnet_cifar.CifarBlock(2, 6, stride=2)
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 2, 5, 5)
    y = block.eval()(x)
    assert torch.equal(y[:, 2:4], x[:, :, ::2, ::2])
    assert float(y[:, [0, 1, 4, 5]].detach().abs().max()) == 0


def test_errors_name_the_thing_and_the_remedy() -> None:
    with pytest.raises(NotRegistered, match="Did you mean 'lenet5_caffe'"):
        models.build("lenet5_cafe", num_classes=10)
    with pytest.raises(InputError, match="num_classes"):
        models.build("resnet20", num_classes=0)
    with pytest.raises(InputError, match="at least 32 x 32"):
        models.build("resnet50", num_classes=10, image_size=28)
