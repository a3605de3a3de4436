"""How are images of one batch mixed with each other? On the training device, in 16 or 32 bits, with soft labels.

A mix is a pure function of (batch, parameters) and a sampler of parameters from a key, as every augmentation is. Images
are normalised floats [N, C, H, W] on any device; targets float32 [N, K], rows that add up to one. The key is made of
(seed, epoch, position of the batch), so that a resumed run mixes the same images again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.data.augment.base import Parameters, as_range, is_integer, is_number, require
from mezzotint.data.augment.draws import beta
from mezzotint.data.augment.erase import random_box
from mezzotint.data.random import Key
from mezzotint.errors import ConfigError, DataError, NotRegistered, message, suggest

Mixed = tuple[Tensor, Tensor]
"""Images [N, C, H, W] and targets [N, K]."""


@dataclass(frozen=True, kw_only=True)
class Mix(ABC):
    """Base of all mixes; one happens to a whole batch with probability ``p``."""

    name: ClassVar[str]

    p: float = 1.0

    def __post_init__(self) -> None:
        require(is_number(self.p, 0.0, 1.0), f"{self.name}.p", self.p, "a probability from 0 to 1")
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Refuse settings that cannot be used; ``p`` is checked already."""

    @abstractmethod
    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """Draw the parameters for a batch of ``count`` images: plain numbers and lists."""

    @abstractmethod
    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """New images of the same shape, type and device, and new targets; the arguments are not changed."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence: what it does, with its settings."""

    def __call__(self, images: Tensor, targets: Tensor, key: Key) -> Mixed:
        """Mix the batch, or leave it as it is with probability 1 - ``p``."""
        if key.child("p").uniform() >= self.p:
            return images, targets
        return self.apply(images, targets, self.sample(key, *(int(images.shape[axis]) for axis in (0, 2, 3))))


@dataclass(frozen=True, kw_only=True)
class MixUp(Mix):
    """Mix every image and its label with those of a partner: share x + (1 - share) x', share from Beta(alpha, alpha).

    Zhang et al., "mixup: beyond empirical risk minimization" (ICLR 2018); one share for the batch, as in its code.
    """

    name: ClassVar[str] = "mixup"

    alpha: float = 0.2

    def check(self) -> None:
        """Alpha is positive."""
        require(is_number(self.alpha, 1e-3, 1e3), "mixup.alpha", self.alpha, "a number from 0.001 to 1000")

    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """``partners`` of the images, and their own ``share``."""
        return {"partners": key.permutation(count).tolist(), "share": beta(key, self.alpha)}

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """Both mixed by the same share."""
        share, partners = parameters["share"], _places(parameters["partners"], images)
        return images.lerp(images[partners], 1 - share), targets.lerp(targets[partners], 1 - share)

    def describe(self) -> str:
        """One sentence."""
        return f"mixes each image and label with another's, by a share from Beta({self.alpha:g}, {self.alpha:g})"


@dataclass(frozen=True, kw_only=True)
class CutMix(Mix):
    """Paste a box of a partner into every image; labels are mixed by area.

    Yun et al., "CutMix" (ICCV 2019): sides sqrt(1 - share) of the image's, share from Beta(alpha, alpha), the centre
    anywhere, so that the box may be cut off at the edge; the labels follow the area that is left of it.
    """

    name: ClassVar[str] = "cutmix"

    alpha: float = 1.0

    def check(self) -> None:
        """Alpha is positive."""
        require(is_number(self.alpha, 1e-3, 1e3), "cutmix.alpha", self.alpha, "a number from 0.001 to 1000")

    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """``partners``, and the box from (``top``, ``left``) up to (``bottom``, ``right``)."""
        partners, side = key.permutation(count).tolist(), math.sqrt(1 - beta(key, self.alpha))
        row, column = key.integers(0, height), key.integers(0, width)
        tall, broad = int(height * side) // 2, int(width * side) // 2
        return {
            "partners": partners,
            "top": max(row - tall, 0),
            "bottom": min(row + tall, height),
            "left": max(column - broad, 0),
            "right": min(column + broad, width),
        }

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """The boxes pasted, the labels mixed by the area of the box."""
        partners = _places(parameters["partners"], images)
        rows, columns = slice(parameters["top"], parameters["bottom"]), slice(parameters["left"], parameters["right"])
        pasted = images.clone()
        pasted[:, :, rows, columns] = images[partners, :, rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start) / (images.shape[2] * images.shape[3])
        return pasted, targets.lerp(targets[partners], area)

    def describe(self) -> str:
        """One sentence."""
        return (
            f"pastes a box of another image, its area by Beta({self.alpha:g}, {self.alpha:g}), and mixes labels by area"
        )


@dataclass(frozen=True, kw_only=True)
class SamplePairing(Mix):
    """Average every image with a random partner; the label stays that of the first.

    Inoue, "Data augmentation by pairing samples for images classification" (2018): ``share`` 0.5.
    """

    name: ClassVar[str] = "sample_pairing"

    share: float = 0.5

    def check(self) -> None:
        """The share keeps the image recognisable."""
        require(is_number(self.share, 0.5, 1), "sample_pairing.share", self.share, "a number from 0.5 to 1")

    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """``partners``."""
        return {"partners": key.permutation(count).tolist()}

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """The averages, and the targets as they are."""
        return images.lerp(images[_places(parameters["partners"], images)], 1 - self.share), targets

    def describe(self) -> str:
        """One sentence."""
        return f"mixes {self.share:g} of each image with the rest from another, keeping the label"


@dataclass(frozen=True, kw_only=True)
class Synthesis(Mix):
    """Move every image a random part of the way to a near image of its own class.

    After Chawla et al., "SMOTE: synthetic minority over-sampling technique" (2002), within the batch: the partner is
    one of the ``neighbours`` nearest images (Euclidean) with the same largest target; an image alone in its class
    stays.
    """

    name: ClassVar[str] = "synthesis"

    neighbours: int = 5

    def check(self) -> None:
        """There is a neighbour."""
        require(is_integer(self.neighbours, 1), "synthesis.neighbours", self.neighbours, "a positive integer")

    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """For each image: ``rank``, which neighbour, as a share of their number; ``way``, how far towards it."""
        return {"rank": [key.uniform() for _ in range(count)], "way": [key.uniform() for _ in range(count)]}

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """The new images; targets are mixed likewise, which changes nothing where they are hard."""
        partners = self._partners(images, targets.argmax(1), torch.tensor(parameters["rank"], dtype=torch.float64))
        way = torch.tensor(parameters["way"], device=images.device)
        moved = images.float().lerp(images[partners].float(), way.reshape(-1, 1, 1, 1))
        return moved.to(images.dtype), targets.lerp(targets[partners], way.unsqueeze(1))

    def _partners(self, images: Tensor, classes: Tensor, rank: Tensor) -> Tensor:
        """int64 [N]: the neighbour of each image."""
        flat = images.flatten(1).float()
        distance = torch.cdist(flat, flat)
        other = (classes.unsqueeze(0) != classes.unsqueeze(1)) | torch.eye(
            len(flat), dtype=torch.bool, device=flat.device
        )
        order = distance.masked_fill(other, math.inf).argsort(dim=1, stable=True)
        candidates = (~other).sum(1).clamp(max=self.neighbours)
        chosen = (rank.to(flat.device) * candidates).long()
        partners = order.gather(1, chosen.unsqueeze(1)).squeeze(1)
        return torch.where(candidates > 0, partners, torch.arange(len(flat), device=flat.device))

    def describe(self) -> str:
        """One sentence."""
        return (
            f"moves each image part of the way to one of its {self.neighbours} nearest of the same class in the batch"
        )


@dataclass(frozen=True, kw_only=True)
class Mosaic(Mix):
    """Put four images around a random point, one a quadrant; labels are mixed by area.

    Bochkovskiy et al., "YOLOv4" (2020), for classification and at the images' own scale: each image touches the point
    with a corner, and what does not fit into its quadrant is cut off. The point keeps ``margin`` of the side away
    from the edges.
    """

    name: ClassVar[str] = "mosaic"

    margin: float = 0.25

    def check(self) -> None:
        """The margin leaves room for the point."""
        require(is_number(self.margin, 0, 0.5), "mosaic.margin", self.margin, "a number from 0 to 0.5")

    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """``row`` and ``column`` of the point, and ``partners``: three for each image, quadrant by quadrant."""
        row, column = (round(side * key.uniform(self.margin, 1 - self.margin)) for side in (height, width))
        return {"row": row, "column": column, "partners": [key.permutation(count).tolist() for _ in range(3)]}

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """The mosaics; the image itself is at the top left."""
        height, width = int(images.shape[2]), int(images.shape[3])
        row, column = parameters["row"], parameters["column"]
        own = torch.arange(len(images), device=images.device)
        places = [own, *(_places(partners, images) for partners in parameters["partners"])]
        mosaic, mixed = torch.empty_like(images), torch.zeros_like(targets)
        for number, place in enumerate(places):
            low, right = number // 2 == 1, number % 2 == 1
            rows = (slice(row, height), slice(0, height - row)) if low else (slice(0, row), slice(height - row, height))
            columns = (slice(column, width), slice(0, width - column)) if right else (
                slice(0, column), slice(width - column, width))  # fmt: skip
            mosaic[:, :, rows[0], columns[0]] = images[place][:, :, rows[1], columns[1]]
            area = (rows[0].stop - rows[0].start) * (columns[0].stop - columns[0].start)
            mixed += targets[place] * (area / (height * width))
        return mosaic, mixed

    def describe(self) -> str:
        """One sentence."""
        return "puts four images around a random point and mixes their labels by area"


@dataclass(frozen=True, kw_only=True)
class EraseBatch(Mix):
    """Fill a box of random size in some of the images with 0, the mean colour of normalised images.

    Random erasing (Zhong et al., AAAI 2020) on the device; ``share`` is the probability of each image.
    """

    name: ClassVar[str] = "erase_batch"

    share: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def check(self) -> None:
        """The settings are usable."""
        require(is_number(self.share, 0, 1), "erase_batch.share", self.share, "a probability from 0 to 1")
        high = as_range(self.scale, "erase_batch.scale")[1]
        require(high <= 1, "erase_batch.scale", self.scale, "shares of the area, at most 1")
        as_range(self.ratio, "erase_batch.ratio")

    def sample(self, key: Key, count: int, height: int, width: int) -> dict[str, Any]:
        """``boxes``: top, left, height and width for each image, all 0 where nothing is erased."""
        boxes = []
        for place in range(count):
            own = key.child(f"image {place}")
            happens = own.uniform() < self.share
            box = random_box(own, height, width, self.scale, self.ratio)
            boxes.append(list(box) if happens else [0, 0, 0, 0])
        return {"boxes": boxes}

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> Mixed:
        """A copy with all boxes filled by one operation."""
        boxes = torch.tensor(parameters["boxes"], device=images.device)
        top, left, tall, broad = (side.reshape(-1, 1, 1, 1) for side in boxes.unbind(1))
        y = torch.arange(images.shape[2], device=images.device).reshape(1, 1, -1, 1)
        x = torch.arange(images.shape[3], device=images.device).reshape(1, 1, 1, -1)
        inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + broad)
        return images.masked_fill(inside, 0), targets

    def describe(self) -> str:
        """One sentence."""
        return (
            f"fills a box of {self.scale[0]:g} to {self.scale[1]:g} of the area of {self.share:g} of the images with 0"
        )


MIXES: dict[str, type[Mix]] = {
    "mixup": MixUp,
    "cutmix": CutMix,
    "sample_pairing": SamplePairing,
    "synthesis": Synthesis,
    "mosaic": Mosaic,
    "erase_batch": EraseBatch,
}


def build_mix(settings: Mapping[str, Any]) -> Mix:
    """One mix from ``{"name": "mixup", "alpha": 0.4}``.

    Raises:
        NotRegistered: no mix has that name.
        ConfigError: the name is missing, or a setting is unknown or not usable.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        raise ConfigError(message("mix", received=dict(settings), allowed='a table with a "name"'))
    if name not in MIXES:
        raise NotRegistered(message("mix", received=name, allowed=", ".join(MIXES), fix=suggest(name, MIXES).strip()))
    known = [field.name for field in fields(MIXES[name])]
    given = {option: value for option, value in settings.items() if option != "name"}
    for option in given:
        if option not in known:
            fix = suggest(option, known).strip()
            raise ConfigError(message(f"setting of {name}", received=option, allowed=", ".join(known), fix=fix))
    return MIXES[name](**given)


def mix_batch(mixes: Sequence[Mix], images: Tensor, labels: Tensor, classes: int, key: Key) -> Mixed:
    """All mixes, one after the other, each with a key of its own.

    Args:
        mixes: in order.
        images: normalised floats [N, C, H, W]: float32, float16 or bfloat16.
        labels: int64 [N], each in 0 .. classes - 1, on the images' device.
        classes: K.
        key: of (seed, epoch, position of the batch).

    Returns:
        Images of the same type, and float32 targets [N, K] for ``torch.nn.functional.cross_entropy``.

    Raises:
        DataError: the images are not floats.
    """
    if not images.is_floating_point() or images.dim() != 4:
        received = f"{images.dtype} {list(images.shape)}"
        raise DataError(
            message("images of a batch to mix", received=received, allowed="normalised floats [N, C, H, W]")
        )
    targets = F.one_hot(labels, classes).float()
    for number, mix in enumerate(mixes):
        images, targets = mix(images, targets, key.child(f"{number} {mix.name}"))
    return images, targets


def normalise_batch(images: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """uint8 [N, C, H, W] -> (image / 255 - mean) / std in ``dtype``, on the images' device.

    One multiplication and one addition in float32, rounded once; memory format is kept.

    Raises:
        DataError: the images are not uint8, or there is not one mean and deviation a channel.
    """
    if images.dtype != torch.uint8 or images.dim() != 4:
        received = f"{images.dtype} {list(images.shape)}"
        raise DataError(message("images to normalise", received=received, allowed="uint8 [N, C, H, W]"))
    if not len(mean) == len(std) == images.shape[1]:
        received = f"{len(mean)} and {len(std)} values"
        raise DataError(message("mean and std", received=received, allowed=f"{images.shape[1]}, one a channel, each"))
    deviation = torch.tensor(std, device=images.device, dtype=torch.float32).reshape(1, -1, 1, 1)
    offset = torch.tensor(mean, device=images.device, dtype=torch.float32).reshape(1, -1, 1, 1) / deviation
    return torch.addcmul(-offset, images.float(), 1 / (255 * deviation)).to(dtype)


def _places(partners: Sequence[int], images: Tensor) -> Tensor:
    return torch.tensor(partners, device=images.device)
