"""Which network does a word on the command line mean? A run, a checkpoint, an exported file, or a name of the table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mezzotint.errors import InputError, NotRegistered, message, suggest

if TYPE_CHECKING:
    from torch import Tensor, nn

_LARGE: Final = 224
_SMALL: Final = 32
#: Beginning of a name -> (channels, side) of the images that such networks are for.
_IMAGES: Final = {"lenet": (1, 28), "digits": (1, 8)}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A network in evaluation mode, on the CPU.

    Attributes:
        model: led natively where it is sparse; ``torch.export`` and ``mz.ops.capture`` see it in the plain layout.
        shape: of one input, without the batch.
        title: what it is called in texts.
    """

    model: nn.Module
    shape: tuple[int, ...]
    title: str

    def example(self, batch: int) -> Tensor:
        """Random inputs, the same ones every time: float32 ``[batch, *shape]``."""
        import torch

        if batch < 1:
            raise InputError(message("--batch", received=batch, allowed="1 or more"))
        return torch.randn(batch, *self.shape, generator=torch.Generator().manual_seed(0))


def open_network(target: str, *, density: float | None = None, size: int | None = None) -> Opened:
    """The network that ``target`` means.

    Args:
        target: run folder, checkpoint folder, ``.safetensors`` file of ours; or a name of ``mezzotint.models``, which
            is built with random weights, the same ones every time.
        density: a network built by name is made sparse, with the ERK distribution; ``None`` leaves it dense.
        size: side of the images of a network built by name; ``None``: what such networks are for.

    Raises:
        NotRegistered: neither a path nor a name.
        InputError: a density or size that the network cannot have, or one for a network that is read from a file.
    """
    if Path(target).exists():
        if density is not None or size is not None:
            what = "--density" if density is not None else "--size"
            raise InputError(message(what, received="a network from a file", allowed="networks built by name"))
        return _from_file(Path(target))
    return _by_name(target, density, size)


def _from_file(path: Path) -> Opened:
    from mezzotint import deploy
    from mezzotint.cli.export import network_of

    model = deploy.load(path, model=network_of(path))
    shape = deploy.describe(path).input_shape
    if shape is None:
        raise InputError(
            message(
                f"shape of the inputs of {str(path)!r}",
                received="nothing",
                allowed="a file that names it",
                fix="Export it anew with mezzotint export.",
            )
        )
    sizes = tuple(_LARGE if size is None else size for size in shape)
    return Opened(model=model, shape=sizes, title=f"{type(model).__name__} of {path}")


def _by_name(name: str, density: float | None, size: int | None) -> Opened:
    import torch

    import mezzotint as mz
    from mezzotint.models import MODELS, build, is_external

    if name not in MODELS and not is_external(name):
        raise NotRegistered(
            f"{name!r} is no path that exists and no network; networks: {', '.join(MODELS)}.{suggest(name, MODELS)}"
        )
    large = name not in MODELS or "ImageNet" in MODELS[name].doc
    channels, side = next((found for start, found in _IMAGES.items() if name.startswith(start)), (3, _SMALL))
    side = size if size is not None else _LARGE if large else side
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, num_classes=1000 if large else 10, in_channels=channels, image_size=side)
    if density is not None and density != 1.0:
        model = mz.sparsify(model, density)
    sparse = "" if density is None else f", density {density:g}"
    return Opened(model=model.eval(), shape=(channels, side, side), title=f"{name}{sparse}")
