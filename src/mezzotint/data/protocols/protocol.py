"""What is an evaluation protocol? A named, exact way from an image to the network's input, with a fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mezzotint.data.orientation import Orientation
from mezzotint.data.part import Part
from mezzotint.data.protocols.normalisation import Normalisation
from mezzotint.data.protocols.steps import Cropping, Step, Window
from mezzotint.errors import ImageError, InputError, message
from mezzotint.kernels.images import Box, Resizing, Size

_VERSION = 1  # part of the fingerprint; raised when the same rules come to mean other values


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named chain of steps from RGB levels to values in [0, 1], and what the network then subtracts and divides by.

    Two protocols with equal fingerprints give equal values, whatever their names. A checkpoint stores the fingerprint
    of the protocol that it was evaluated with, so that another one does not go unnoticed.

    Attributes:
        name: its key in the table of protocols, with its settings: ``"timm:crop_pct=0.95"``.
        summary: what it is for, in a sentence.
        steps: what is done to the image, in order.
        orientation: what reading does with the EXIF orientation; the published ImageNet results ignore it.
        normalisation: of the values in [0, 1]; None leaves it to the network's own mean and deviation.
        overshoot: what becomes of values that a sharpening interpolation takes out of [0, 1], where it does not round:
            they are clipped, or kept as TensorFlow does.
    """

    name: str
    summary: str
    steps: tuple[Step, ...]
    orientation: Orientation = "ignore"
    normalisation: Normalisation | None = None
    overshoot: Literal["clip", "keep"] = "clip"

    def __call__(self, image: Tensor) -> Tensor:
        """Bring an image into the network's form; it is not normalised yet, see `normalised`.

        Args:
            image: [H, W, 3], uint8 levels, or float32 in [0, 1] (which is not rounded on the way).

        Returns:
            float32 [S, S, 3] in [0, 1] (beyond, where overshoot is kept), contiguous.

        Raises:
            ImageError: the type or the shape is another.
        """
        _check(image)
        size = Size(image.shape[0], image.shape[1])
        return self.finish(Part(image, size.whole, size))

    def wanted(self, size: Size) -> Box:
        """The part of an image of that size on which the result depends."""
        return _reaches(self.steps, size)[0][1]

    def resizing(self, size: Size) -> Resizing | None:
        """All steps as one resize of a part of an image of that size; None where they are something else."""
        return _as_resizing(self.steps, size)

    def finish(self, part: Part) -> Tensor:
        """The result, as of the whole image, from a part that holds at least what is ``wanted``."""
        return self.scaled(self.unscaled(part), white=255 if part.levels.dtype == torch.uint8 else 1)

    def scaled(self, image: Tensor, *, white: int) -> Tensor:
        """The result from what the steps made, in which ``white`` is the level of white."""
        values = image.to(torch.float32)
        values = values / white if white != 1 else values
        return (values.clamp(0, 1) if self.overshoot == "clip" else values.clone()).contiguous()

    def unscaled(self, part: Part) -> Tensor:
        """The result before it is divided by 255: uint8 levels [S, S, 3] of a uint8 part where all steps round."""
        image, held = part.levels, part.box
        reaches = _reaches(self.steps, part.size)
        for step, (size, _), (_, wanted) in zip(self.steps, reaches, reaches[1:], strict=False):
            image, held = step.part(Part(image, held, size), wanted), wanted
        return image

    def normalised(self, values: Tensor) -> Tensor:
        """The network's input: ``values`` of the protocol, [..., 3], with its normalisation applied.

        Raises:
            InputError: the protocol states no normalisation.
        """
        if self.normalisation is None:
            received = f"the protocol {self.name}, which states no normalisation"
            allowed = "a protocol with a normalisation"
            fix = "Take the mean and std of the network, or name them where the protocol has such settings."
            raise InputError(message("normalise", received=received, allowed=allowed, fix=fix))
        return self.normalisation(values)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width of the result for an image of that size."""
        for step in self.steps:
            height, width = step.size(height, width)
        return height, width

    def kept(self, height: int, width: int) -> Window:
        """The part of an image of that size that the result shows, in its pixels, which may be divided."""
        sizes = [(height, width)]
        for step in self.steps:
            sizes.append(step.size(*sizes[-1]))
        window = Window(0, 0, *sizes[-1])
        for step, before, after in zip(reversed(self.steps), sizes[-2::-1], sizes[:0:-1], strict=True):
            window = _seen_before(window, step.window(*before), after)
        return window

    def describe(self) -> str:
        """The protocol in words, one line a step."""
        reading = {"ignore": "ignoring the EXIF orientation", "apply": "turned by the EXIF orientation"}
        lines = [f"Read as RGB levels, {reading[self.orientation]}."]
        lines += [step.words() for step in self.steps]
        lines += ["Divide by 255." if self.overshoot == "clip" else "Divide by 255; values beyond [0, 1] are kept."]
        lines += [self.normalisation.words()] if self.normalisation else []
        return "\n".join([f"{self.name}: {self.summary}", *(f"  {n}. {line}" for n, line in enumerate(lines, 1))])

    def rules(self) -> dict[str, object]:
        """All that decides the values, JSON-ready; the name and the summary are no part of it."""
        rules: dict[str, object] = {
            "version": _VERSION,
            "orientation": self.orientation,
            "steps": [step.rules() for step in self.steps],
            "range": [0, 1] if self.overshoot == "clip" else None,
        }
        return rules | ({"normalisation": asdict(self.normalisation)} if self.normalisation else {})

    def fingerprint(self) -> str:
        """16 hexadecimal digits over `rules`: equal rules, equal fingerprint, on every machine and in every version."""
        text = json.dumps(self.rules(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=1024)
def _reaches(steps: tuple[Step, ...], size: Size) -> tuple[tuple[Size, Box], ...]:
    """Of the input of each step, and at last of the result, the size and the part that is needed."""
    sizes = [size]
    for step in steps:
        sizes.append(Size(*step.size(*sizes[-1])))
    reaches = [(sizes[-1], sizes[-1].whole)]
    for step, before in zip(reversed(steps), sizes[-2::-1], strict=True):
        reaches.append((before, step.reach(before, reaches[-1][1])))
    return tuple(reversed(reaches))


@lru_cache(maxsize=1024)
def _as_resizing(steps: tuple[Step, ...], size: Size) -> Resizing | None:
    """Crops, one resize of Pillow's that can be done in part, and crops; otherwise None."""
    resizes = [place for place, step in enumerate(steps) if not isinstance(step, Cropping)]
    if len(resizes) != 1 or (kernel := steps[resizes[0]].kernel()) is None:
        return None
    reaches = _reaches(steps, size)
    corners = [step.window(*before) for step, (before, _) in zip(steps[: resizes[0]], reaches, strict=False)]
    (before, _), (to, window) = reaches[resizes[0]], reaches[resizes[0] + 1]
    top, left = (int(sum(side)) for side in ([at.top for at in corners], [at.left for at in corners]))
    return Resizing(reaches[0][1], Box(top, left, *before), to, window, kernel)


def _seen_before(window: Window, source: Window, size: tuple[int, int]) -> Window:
    """A window of a step's output of ``size``, in the coordinates of the step's input."""
    down, across = (source.bottom - source.top) / size[0], (source.right - source.left) / size[1]
    return Window(
        source.top + window.top * down,
        source.left + window.left * across,
        source.top + window.bottom * down,
        source.left + window.right * across,
    )


def _check(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.numel() == 0:
        allowed = "[H, W, 3] with at least one pixel"
        fix = "mezzotint.preprocess takes images of other shapes as well."
        raise ImageError(message("image", received=f"shape {list(image.shape)}", allowed=allowed, fix=fix))
    if image.dtype not in (torch.uint8, torch.float32):
        allowed = "torch.uint8 levels, or torch.float32 in [0, 1]"
        raise ImageError(message("image", received=str(image.dtype), allowed=allowed))
    if image.dtype == torch.float32 and not (image.min() >= 0 and image.max() <= 1):  # NaN fails as well
        received = f"torch.float32 from {image.min():g} to {image.max():g}"
        raise ImageError(message("image", received=received, allowed="values in [0, 1]"))
