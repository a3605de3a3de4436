"""What happens to an image between the source and the batch? A chain of augmentations, or an evaluation protocol.

A transform is any callable ``(image uint8 [H, W, C], key) -> tensor [C, H, W]``, uint8 or float32 in [0, 1]. It must
draw random numbers from the key only. A ``Compose`` of augmentations that all work on batches is itself applied to
whole batches where the source is in memory; the pixels are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from mezzotint.data.augment import AUGMENTATIONS, Augmentation
from mezzotint.data.augment.flip import HorizontalFlip
from mezzotint.data.part import Part
from mezzotint.data.protocols import get_protocol
from mezzotint.data.random import Key, Keys
from mezzotint.errors import ConfigError, InputError, NotRegistered, message, suggest
from mezzotint.kernels.images import Box, Resizing, Size
from mezzotint.outside import is_outside, subclass_at

Transform = Callable[[Tensor, Key], Tensor]


@runtime_checkable
class BatchTransform(Protocol):
    """A transform that can also work on a whole batch of equally large images."""

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """One image."""
        ...

    @property
    def batched(self) -> bool:
        """Whether ``batch`` may be called."""
        ...

    def batch(self, images: Tensor, keys: Keys) -> Tensor:
        """uint8 [N, H, W, C] -> [N, C, H', W'], equal to the transform of each image; ``images`` may be changed."""
        ...


@runtime_checkable
class PartTransform(Protocol):
    """A transform that does not look at all of an image, so that not all of it need be decoded."""

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """A whole image."""
        ...

    def wanted(self, size: Size, key: Key) -> Box:
        """The part of an image of that size that ``finish`` needs; perhaps the whole."""
        ...

    def finish(self, part: Part, key: Key) -> Tensor:
        """What calling the transform with the whole image gives; ``part`` holds at least what is wanted."""
        ...


@runtime_checkable
class ResizeTransform(PartTransform, Protocol):
    """A part transform that may begin with a resize, which costs less where it is done while the image is decoded."""

    def first(self, size: Size, key: Key) -> Box | Resizing:
        """That resize for an image of that size, or what is ``wanted``. ``finish`` also takes what it makes."""
        ...


class Compose:
    """Augmentations one after the other. Each draws from its own child key, so that none disturbs another."""

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        """Keep the steps; the second of two with one name draws from a key of its own, ``name#2``."""
        self.steps = tuple(steps)
        self.batched = all(step.batched for step in self.steps)
        self._names = _child_names([step.name for step in self.steps])
        self._flips_second = len(self.steps) > 1 and isinstance(self.steps[1], HorizontalFlip)

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """One image: uint8 [H, W, C] -> uint8 [C, H', W']."""
        return self._from_step(0, image, key)

    def _from_step(self, first: int, image: Tensor, key: Key) -> Tensor:
        for step, name in zip(self.steps[first:], self._names[first:], strict=True):
            image = _checked(step(image, key.child(name)), step, "[H, W, C]")
        return image.permute(2, 0, 1)

    def wanted(self, size: Size, key: Key) -> Box:
        """What the first step looks at."""
        if not self.steps:
            return size.whole
        return self.steps[0].wanted(self.steps[0].sample(key.child(self._names[0]), *size)) or size.whole

    def first(self, size: Size, key: Key) -> Box | Resizing:
        """The first step where it is a resize, and a horizontal flip behind it; or what the first step looks at."""
        if not self.steps:
            return size.whole
        parameters = self.steps[0].sample(key.child(self._names[0]), *size)
        if (how := self.steps[0].resizing(parameters)) is None:
            return self.steps[0].wanted(parameters) or size.whole
        if not self._flips_second:
            return how
        flip = self.steps[1].sample(key.child(self._names[1]), *how.to)
        return how._replace(mirrored=bool(flip["flip"]))

    def finish(self, part: Part, key: Key) -> Tensor:
        """The chain on a part of an image."""
        if part.resized is not None:
            return self._from_step(2 if self._flips_second else 1, part.levels, key)
        if part.box == part.size.whole:
            return self(part.levels, key)
        first = self.steps[0]
        parameters = first.sample(key.child(self._names[0]), *part.size)
        corner = {side: parameters[side] - at for side, at in (("top", part.box.top), ("left", part.box.left))}
        image = _checked(first.apply(part.levels, parameters | corner), first, "[H, W, C]")
        return self._from_step(1, image, key)

    def batch(self, images: Tensor, keys: Keys) -> Tensor:
        """A batch of equally large images: uint8 [N, H, W, C] -> uint8 [N, C, H', W']; ``images`` may be changed."""
        for step, name in zip(self.steps, self._names, strict=True):
            parameters = step.sample(keys.child(name), int(images.shape[1]), int(images.shape[2]))
            images = _checked(step.apply_batch(images, parameters), step, "[N, H, W, C]")
        return images.permute(0, 3, 1, 2)

    def parameters(self, key: Key, height: int, width: int) -> dict[str, dict[str, Any]]:
        """What each step draws for an image of the given size, as long as no earlier step changes the size."""
        steps = zip(self.steps, self._names, strict=True)
        return {name: step.sample(key.child(name), height, width) for step, name in steps}

    def describe(self) -> str:
        """The sentences of all steps, or that there are none."""
        return "; ".join(f"{step.name}: {step.describe()}" for step in self.steps) or "no augmentation"

    def settings(self) -> list[dict[str, Any]]:
        """What ``build_transform`` makes this chain from, every setting written out."""
        return [{"name": step.name, **step.settings()} for step in self.steps]

    def _repr_html_(self) -> str:
        """The steps in words and on a drawn scene, for notebooks."""
        from mezzotint.data.notebook import chain_html

        return chain_html(self)


def _checked(made: Tensor, step: Augmentation, axes: str) -> Tensor:
    """What ``step`` made, when it is an image (or a batch of them): those of one's own may make anything."""
    if not isinstance(made, Tensor) or made.dim() != axes.count(",") + 1:
        received = f"shape {list(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise InputError(
            message(f"result of augmentation {step.name!r}", received=received, allowed=f"a tensor {axes}")
        )
    return made


def _child_names(names: Sequence[str]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return tuple(result)


class Evaluate:
    """A named evaluation protocol as a transform: [3, S, S], nothing random.

    The levels stay uint8 where the protocol rounds them; otherwise float32 in [0, 1].
    """

    def __init__(self, protocol: str) -> None:
        """Look the protocol up; settings may stand behind its name, see `mezzotint.data.protocols.get_protocol`.

        Raises:
            NotRegistered: there is none of that name.
            ConfigError: its settings are not usable.
        """
        self.protocol = get_protocol(protocol)

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """One image: uint8 [H, W, 1 or 3]; ``key`` is not used."""
        size = Size(image.shape[0], image.shape[1])
        return self.finish(Part(image.expand(-1, -1, 3), size.whole, size), key)

    def wanted(self, size: Size, key: Key) -> Box:
        """What the protocol looks at."""
        return self.protocol.wanted(size)

    def first(self, size: Size, key: Key) -> Box | Resizing:
        """The protocol's resize with the crops around it, where that is all, or what the protocol looks at."""
        return self.protocol.resizing(size) or self.protocol.wanted(size)

    def finish(self, part: Part, key: Key) -> Tensor:
        """The protocol on a part of an image."""
        if part.resized is not None:
            return part.levels.permute(2, 0, 1)
        image = self.protocol.unscaled(part)
        return (image if image.dtype == torch.uint8 else self.protocol.scaled(image, white=255)).permute(2, 0, 1)

    def describe(self) -> str:
        """The protocol's own words."""
        return self.protocol.describe()


def build_augmentation(settings: Mapping[str, Any]) -> Augmentation:
    """One augmentation from ``{"name": "random_crop", "padding": 4}``; the name may be ``"package.module:Class"``.

    Raises:
        NotRegistered: no augmentation has that name.
        ConfigError: the name is missing, or a setting is unknown or not usable.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        raise ConfigError(message("augmentation", received=dict(settings), allowed='a table with a "name"'))
    kind = _kind(name)
    known_settings = [field.name for field in fields(kind)]
    given = {option: value for option, value in settings.items() if option != "name"}
    for option in given:
        if option not in known_settings:
            allowed = ", ".join(known_settings) or "no settings"
            fix = suggest(option, known_settings).strip()
            raise ConfigError(message(f"setting of {name}", received=option, allowed=allowed, fix=fix))
    return kind(**given)


def _kind(name: str) -> type[Augmentation]:
    """The class of that name, or somebody's own at a dotted path."""
    if is_outside(name):
        return subclass_at(name, "augmentation", Augmentation, "mezzotint.data.Augmentation")  # type: ignore[type-abstract]
    if name not in AUGMENTATIONS:
        known = ", ".join(AUGMENTATIONS)
        raise NotRegistered(
            message("augmentation", received=name, allowed=known, fix=suggest(name, AUGMENTATIONS).strip())
        )
    return AUGMENTATIONS[name]


def build_transform(steps: Iterable[Mapping[str, Any]] = ()) -> Compose:
    """A chain of augmentations from a list of tables, in their order; an empty list changes nothing.

    Raises:
        NotRegistered: no augmentation has that name.
        ConfigError: a name is missing, or a setting is unknown or not usable.
    """
    return Compose([build_augmentation(settings) for settings in steps])
