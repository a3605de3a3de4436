"""Which augmentations are there? One family a file; names as in configuration files."""

from mezzotint.data.augment.base import Augmentation, Parameters
from mezzotint.data.augment.crop import RandomCrop, RandomResizedCrop
from mezzotint.data.augment.erase import Cutout
from mezzotint.data.augment.flip import HorizontalFlip

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "random_crop": RandomCrop,
    "horizontal_flip": HorizontalFlip,
    "random_resized_crop": RandomResizedCrop,
    "cutout": Cutout,
}


def augmentations() -> dict[str, Augmentation]:
    """Every augmentation by name, with its default settings."""
    return {name: kind() for name, kind in AUGMENTATIONS.items()}


__all__ = ["AUGMENTATIONS", "Augmentation", "Parameters", "augmentations"]
