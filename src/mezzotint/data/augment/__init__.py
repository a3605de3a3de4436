"""Which augmentations are there? One family a file; names as in configuration files."""

from mezzotint.data.augment.augmix import AugMix
from mezzotint.data.augment.automatic import AutoAugment, RandAugment, TrivialAugmentWide
from mezzotint.data.augment.base import Augmentation, Parameters
from mezzotint.data.augment.blur import Elastic, GaussianBlur, GaussianNoise
from mezzotint.data.augment.colour import ColourJitter, Grayscale
from mezzotint.data.augment.crop import RandomCrop, RandomResizedCrop
from mezzotint.data.augment.erase import Cutout, RandomErasing
from mezzotint.data.augment.flip import HorizontalFlip, VerticalFlip
from mezzotint.data.augment.geometry import Affine, Perspective, Rotation, Shear, Translate
from mezzotint.data.augment.three import ThreeAugment
from mezzotint.data.augment.tone import (
    Autocontrast,
    Brightness,
    Colour,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Sharpness,
    Solarize,
)

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "random_crop": RandomCrop,
    "random_resized_crop": RandomResizedCrop,
    "horizontal_flip": HorizontalFlip,
    "vertical_flip": VerticalFlip,
    "rotation": Rotation,
    "shear": Shear,
    "translate": Translate,
    "affine": Affine,
    "perspective": Perspective,
    "elastic": Elastic,
    "colour_jitter": ColourJitter,
    "grayscale": Grayscale,
    "brightness": Brightness,
    "contrast": Contrast,
    "colour": Colour,
    "sharpness": Sharpness,
    "solarize": Solarize,
    "posterize": Posterize,
    "equalize": Equalize,
    "autocontrast": Autocontrast,
    "invert": Invert,
    "gaussian_blur": GaussianBlur,
    "gaussian_noise": GaussianNoise,
    "cutout": Cutout,
    "random_erasing": RandomErasing,
    "auto_augment": AutoAugment,
    "rand_augment": RandAugment,
    "trivial_augment_wide": TrivialAugmentWide,
    "aug_mix": AugMix,
    "three_augment": ThreeAugment,
}


def augmentations() -> dict[str, Augmentation]:
    """Every augmentation by name, with its default settings."""
    return {name: kind() for name, kind in AUGMENTATIONS.items()}


__all__ = ["AUGMENTATIONS", "Augmentation", "Parameters", "augmentations"]
