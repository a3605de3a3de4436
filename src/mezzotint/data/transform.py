"""What happens to an image between the source and the batch? A chain of augmentations, or an evaluation protocol.

A transform is any callable ``(image uint8 [H, W, C], key) -> tensor [C, H, W]``, uint8 or float32 in [0, 1]. It must
draw random numbers from the key only. A ``Compose`` of augmentations that all work on batches is itself applied to
whole batches where the source is in memory; the pixels are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from mezzotint.data.augment import AUGMENTATIONS, Augmentation
from mezzotint.data.preprocess import preprocess
from mezzotint.data.protocols import get_protocol
from mezzotint.data.random import Key, Keys
from mezzotint.errors import ConfigError, NotRegistered, message, suggest

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


class Compose:
    """Augmentations one after the other. Each draws from its own child key, so that none disturbs another."""

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        """Keep the steps; the second of two with one name draws from a key of its own, ``name#2``."""
        self.steps = tuple(steps)
        self.batched = all(step.batched for step in self.steps)
        self._names = _child_names([step.name for step in self.steps])

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """One image: uint8 [H, W, C] -> uint8 [C, H', W']."""
        for step, name in zip(self.steps, self._names, strict=True):
            image = step(image, key.child(name))
        return image.permute(2, 0, 1)

    def batch(self, images: Tensor, keys: Keys) -> Tensor:
        """A batch of equally large images: uint8 [N, H, W, C] -> uint8 [N, C, H', W']; ``images`` may be changed."""
        for step, name in zip(self.steps, self._names, strict=True):
            parameters = step.sample(keys.child(name), int(images.shape[1]), int(images.shape[2]))
            images = step.apply_batch(images, parameters)
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


def _child_names(names: Sequence[str]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return tuple(result)


class Evaluate:
    """A named evaluation protocol as a transform: float32 [3, S, S] in [0, 1], not normalised, nothing random."""

    def __init__(self, protocol: str) -> None:
        """Look the protocol up; settings may stand behind its name, see `mezzotint.data.protocols.get_protocol`.

        Raises:
            NotRegistered: there is none of that name.
            ConfigError: its settings are not usable.
        """
        self.protocol = get_protocol(protocol)

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """One image: uint8 [H, W, 1 or 3] -> float32 [3, S, S]; ``key`` is not used."""
        return preprocess(image, protocol=self.protocol, layout="HWC").permute(2, 0, 1)

    def describe(self) -> str:
        """The protocol's own words."""
        return self.protocol.describe()


def build_augmentation(settings: Mapping[str, Any]) -> Augmentation:
    """One augmentation from ``{"name": "random_crop", "padding": 4}``.

    Raises:
        NotRegistered: no augmentation has that name.
        ConfigError: the name is missing, or a setting is unknown or not usable.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        raise ConfigError(message("augmentation", received=dict(settings), allowed='a table with a "name"'))
    if name not in AUGMENTATIONS:
        known = ", ".join(AUGMENTATIONS)
        raise NotRegistered(
            message("augmentation", received=name, allowed=known, fix=suggest(name, AUGMENTATIONS).strip())
        )
    kind = AUGMENTATIONS[name]
    known_settings = [field.name for field in fields(kind)]
    given = {option: value for option, value in settings.items() if option != "name"}
    for option in given:
        if option not in known_settings:
            allowed = ", ".join(known_settings) or "no settings"
            fix = suggest(option, known_settings).strip()
            raise ConfigError(message(f"setting of {name}", received=option, allowed=allowed, fix=fix))
    return kind(**given)


def build_transform(steps: Iterable[Mapping[str, Any]] = ()) -> Compose:
    """A chain of augmentations from a list of tables, in their order; an empty list changes nothing.

    Raises:
        NotRegistered: no augmentation has that name.
        ConfigError: a name is missing, or a setting is unknown or not usable.
    """
    return Compose([build_augmentation(settings) for settings in steps])
