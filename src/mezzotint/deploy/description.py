"""What must travel with a network's weights so that others can use it? Architecture, input, classes, normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from mezzotint.data.protocols import get_protocol
from mezzotint.errors import CheckpointError, InputError, message

_SIDE: Final = 32


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything about a network that its tensors do not say.

    Attributes:
        architecture: a key of ``mezzotint.models.MODELS``, or None for a network of the user's own.
        arguments: keyword arguments of ``mezzotint.models.build``, JSON-ready.
        input_shape: of one input, without the batch, such as ``(3, 224, 224)``, or ``(3, None, None)`` for images of
            any size; None when unknown.
        classes: names, in the order of the logits; empty when unknown.
        protocol: evaluation protocol that makes the input from an image; None: images enter as they are.
        protocol_fingerprint: the protocol's fingerprint when the network was made.
        mean, std: per channel, of pixels in [0, 1]; the network expects ``(pixel - mean) / std``. Empty: no
            normalisation.
    """

    architecture: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input_shape: tuple[int | None, ...] | None = None
    classes: tuple[str, ...] = ()
    protocol: str | None = None
    protocol_fingerprint: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape = self.input_shape
        if shape is not None and not (any(shape) and all(s is None or (isinstance(s, int) and s > 0) for s in shape)):
            allowed = "positive sizes without the batch, None for a free one"
            raise InputError(message("input_shape", received=shape, allowed=allowed))
        if len(self.mean) != len(self.std):
            received = f"{len(self.mean)} and {len(self.std)} numbers"
            raise InputError(message("mean and std", received=received, allowed="one of each per channel"))
        if not all(math.isfinite(number) for number in (*self.mean, *self.std)) or any(s <= 0 for s in self.std):
            raise InputError(message("mean and std", received=(self.mean, self.std), allowed="finite, std above 0"))
        if self.protocol is not None and self.protocol_fingerprint is None:
            object.__setattr__(self, "protocol_fingerprint", get_protocol(self.protocol).fingerprint())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_json` gives the description back."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: object, where: str) -> Description:
        """The description from plain JSON values; ``where`` names the file in errors.

        Raises:
            CheckpointError: a key is missing, unknown or holds something odd.
        """
        names = {item.name for item in fields(cls)}
        if not isinstance(saved, Mapping) or set(saved) != names:
            odd = sorted(names ^ set(saved)) if isinstance(saved, Mapping) else [type(saved).__name__]
            received = f"odd or missing {', '.join(odd)}"
            raise CheckpointError(
                message(f"{where}: description", received=received, allowed="the keys it is saved with")
            )
        values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in saved.items()}
        try:
            return cls(**values)
        except (InputError, TypeError, LookupError) as error:
            raise CheckpointError(f"{where}: description: {error}") from error


def require_input_shape(description: Description, why: str) -> tuple[int | None, ...]:
    """The shape of an input without the batch; None for a free size.

    Args:
        description: what is known of the network.
        why: who needs it, such as ``"torch.export needs it"``: the beginning of what is to be done.

    Raises:
        InputError: it is unknown.
    """
    if description.input_shape is None:
        raise InputError(
            message(
                "input_shape",
                received="nothing",
                allowed="the shape of one input",
                fix=f"{why}: pass description=Description(input_shape=(3, 224, 224)), say.",
            )
        )
    return description.input_shape


def trial_shapes(shape: Sequence[int | None]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that ``shape`` allows; free sizes differ, from each other too, and halve five times without a rest."""
    free = [axis for axis, size in enumerate(shape) if size is None]
    first, second = (
        tuple(_SIDE * (2 + free.index(axis) + more) if size is None else size for axis, size in enumerate(shape))
        for more in (0, 1)
    )
    return first, second
