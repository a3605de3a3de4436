"""What does a network see in an image? Brought into form as the network's own description says, then ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.data.decode import read_image
from mezzotint.data.preprocess import preprocess
from mezzotint.data.protocols import Protocol, get_protocol
from mezzotint.deploy.session import Session
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import InputError, message

ImageFile = str | Path | bytes
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luminance of RGB by ITU-R BT.601, as Pillow's mode "L"; of a grey image its own values."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A class and how probable the network holds it to be.

    Attributes:
        index: of the logit.
        name: of the class; its number where no names are known.
        probability: in [0, 1]; those of all classes sum to 1.
    """

    index: int
    name: str
    probability: float


class Classifier:
    """Names what is in images, by a session whose network gives one number a class.

    Args:
        session: of a classifier of one input, [N, C, H, W] or [N, H, W, C], and one output, [N, classes].
        protocol: evaluation protocol, instead of the description's.
        classes: names in the order of the logits, instead of the description's.
        mean, std: per channel, of pixels in [0, 1], instead of the description's.

    Raises:
        InputError: the network is no such classifier, or nothing says how images become its input.
    """

    def __init__(
        self,
        session: Session,
        *,
        protocol: str | None = None,
        classes: Sequence[str] = (),
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> None:
        own = session.description
        self.session = session
        self._input = _image_input(session)
        name = protocol or own.protocol
        self.protocol: Protocol | None = get_protocol(name) if name else None
        self.classes = tuple(classes) or own.classes
        self._mean, self._std = tuple(mean) or own.mean, tuple(std) or own.std
        self._stated = None if self._mean or self.protocol is None else self.protocol.normalisation
        if self._stated is None:
            _check_normalisation(self._mean, self._std, self._input.channels)

    def __call__(self, image: ImageFile, top: int = 5) -> tuple[Guess, ...]:
        """The ``top`` most probable classes, best first.

        Raises:
            ImageError: the image cannot be read.
            InputError: it does not become an input of the network's size.
        """
        results = self.session.run([self.prepare(image)])
        scores = np.asarray(results[0], np.float64)
        if len(results) != 1 or scores.ndim != 2 or len(scores) != 1:
            received = f"{len(results)} outputs, the first of the shape {list(scores.shape)}"
            raise InputError(message("network", received=received, allowed="a classifier: one output [N, classes]"))
        if self.classes and len(self.classes) != scores.shape[1]:
            received = f"{len(self.classes)} names for {scores.shape[1]} classes"
            raise InputError(message("classes", received=received, allowed="one name a class"))
        probabilities = _probabilities(scores[0])
        best = np.argsort(-probabilities, kind="stable")[:top]
        return tuple(Guess(index=int(at), name=self.name(int(at)), probability=float(probabilities[at])) for at in best)

    def name(self, index: int) -> str:
        """Of a class."""
        return self.classes[index] if self.classes else str(index)

    def prepare(self, image: ImageFile) -> NDArray[np.float32]:
        """A batch of one image as the network takes it, float32."""
        pixels = self._pixels(image)
        channels = self._input.channels
        if self._stated is not None:
            pixels = self._stated(torch.from_numpy(pixels)).numpy()
        if channels == 1:
            grey = np.tensordot(pixels, _GREY, 1).astype(np.float32)
            pixels = grey[..., None]
        if self._stated is None:
            centred = pixels - np.array(self._mean, np.float32)
            pixels = (centred / np.array(self._std, np.float32)).astype(np.float32)
        height, width = self._input.size
        if (height or pixels.shape[0], width or pixels.shape[1]) != pixels.shape[:2]:
            received = f"{pixels.shape[0]} x {pixels.shape[1]} pixels"
            way = f"protocol {self.protocol.name}" if self.protocol else "no protocol: the image as it is"
            fix = "Choose a protocol that gives this size with --protocol NAME:img_size=..., or resize the image."
            name = "image bytes" if isinstance(image, bytes) else str(image)
            raise InputError(message(f"{name} ({way})", received=received, allowed=f"{height} x {width}", fix=fix))
        laid = pixels if self._input.channels_last else np.moveaxis(pixels, 2, 0)
        return np.ascontiguousarray(laid[None], np.float32)

    def _pixels(self, image: ImageFile) -> NDArray[np.float32]:
        """float32 [H, W, 3] in [0, 1]."""
        if self.protocol is not None:
            found: NDArray[np.float32] = preprocess(image, self.protocol).numpy()
            return found
        return read_image(image).numpy().astype(np.float32) / np.float32(255)


@dataclass(frozen=True, kw_only=True)
class _ImageInput:
    channels: int
    size: tuple[int | None, int | None]
    channels_last: bool


def _image_input(session: Session) -> _ImageInput:
    """Where channels, height and width of the input are."""
    info: TensorInfo = session.inputs[0]
    shape = info.shape or ()
    single = len(session.inputs) == 1 and len(shape) == 4 and shape[0] in (None, 1) and info.dtype == "float32"
    if single and shape[1] in (1, 3):
        return _ImageInput(channels=int(shape[1] or 0), size=(shape[2], shape[3]), channels_last=False)
    if single and shape[3] in (1, 3):
        return _ImageInput(channels=int(shape[3] or 0), size=(shape[1], shape[2]), channels_last=True)
    told = ", ".join(f"{one.name} {one.dtype} {list(one.shape or ())}" for one in session.inputs)
    allowed = "one float32 input of images, [N, C, H, W] or [N, H, W, C] with 1 or 3 channels"
    raise InputError(message("network", received=f"a network with the inputs {told}", allowed=allowed))


def _check_normalisation(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
    if len(mean) in (1, channels) and len(mean) == len(std) and all(one > 0 for one in std):
        return
    received = f"the mean {list(mean)} and the deviation {list(std)}"
    raise InputError(
        message(
            "normalisation",
            received=received if mean or std else "a model that does not say how images become its input",
            allowed=f"{channels} numbers each, deviations above 0, or a protocol that states them",
            fix="Say it: --protocol torchvision --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225, say.",
        )
    )


def _probabilities(scores: NDArray[Any]) -> NDArray[Any]:
    """Softmax of logits; what sums to 1 already and is nowhere negative stays."""
    if scores.min() >= 0 and abs(scores.sum() - 1.0) < 1e-3:
        return scores
    grown: NDArray[Any] = np.exp(scores - scores.max())
    found: NDArray[Any] = grown / grown.sum()
    return found
