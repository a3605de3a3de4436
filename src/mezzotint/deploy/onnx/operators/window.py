"""Which window slides over the image, and what is laid around it? Read alike for convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch.nn.functional as F
from torch import Tensor

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.value import Refused, Value

_MODES: Final = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True, slots=True)
class Window:
    """One entry an axis of the image.

    Attributes:
        begin, end: what is laid before and behind; None: as much as "SAME" takes, which only a run can tell.
        lower: whether the odd number of "SAME" goes before.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...] | None
    end: tuple[int, ...] | None
    lower: bool = False

    @property
    def symmetric(self) -> bool:
        """Whether the same is laid before and behind."""
        return self.begin is not None and self.begin == self.end


def read_window(call: Call, x: Value, kernel: Sequence[int]) -> Window:
    """The window of a node for the image ``x``.

    Raises:
        Refused: settings that are none of a window.
    """
    axes = len(kernel)
    if x.rank != axes + 2 or not 1 <= axes <= 3:
        raise Refused(f"its image has {x.rank} axes and its window {axes}; 1 to 3 behind batch and channels can be run")
    stride, dilation = call.ints("strides") or [1] * axes, call.ints("dilations") or [1] * axes
    pads, mode = call.ints("pads"), call.choice("auto_pad", "NOTSET", _MODES)
    for name, sizes in (("window", kernel), ("strides", stride), ("dilations", dilation)):
        if len(sizes) != axes or min(sizes) < 1 or max(sizes) > 1 << 20:
            raise Refused(f"its {name} are {list(sizes)}; {axes} numbers above 0 are needed")
    if mode == "NOTSET":
        pads = pads or [0] * (2 * axes)
        if len(pads) != 2 * axes or min(pads) < 0 or max(pads) > 1 << 20:
            raise Refused(f"its pads are {pads}; {2 * axes} numbers of at least 0 are needed")
    else:
        pads = [0] * (2 * axes) if mode == "VALID" else _same(x, kernel, stride, dilation, mode == "SAME_LOWER")
    begin, end = (None, None) if pads is None else (tuple(pads[:axes]), tuple(pads[axes:]))
    return Window(tuple(kernel), tuple(stride), tuple(dilation), begin, end, mode == "SAME_LOWER")


def laid_around(call: Call, x: Value, window: Window, value: float = 0.0) -> Value:
    """The image with everything that the window wants around it."""
    if window.begin is None or window.end is None:
        return call.emit(same_padded, x, window.kernel, window.stride, window.dilation, window.lower, value)
    if not any(window.begin + window.end):
        return x
    return call.emit(F.pad, x, _torch_pads(window.begin, window.end), "constant", value)


def same_padding(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> tuple[int, int]:
    """Before and behind one axis, so that ``ceil(size / stride)`` results come out."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def same_padded(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], lower: bool, value: float
) -> Tensor:
    """``x`` [N, C, ...] with the padding of "SAME" for its own size."""
    each = [same_padding(*sizes, lower) for sizes in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    return F.pad(x, _torch_pads([one[0] for one in each], [one[1] for one in each]), "constant", value)


def _same(
    x: Value, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], lower: bool
) -> list[int] | None:
    trials = [
        [same_padding(*sizes, lower) for sizes in zip(sample.shape[2:], kernel, stride, dilation, strict=True)]
        for sample in x.samples
    ]
    if trials[0] != trials[1] or (None in x.shape[2:] and max(stride) > 1):
        return None
    return [one[0] for one in trials[0]] + [one[1] for one in trials[0]]


def _torch_pads(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """As ``F.pad`` takes them: the last axis first."""
    return [number for pair in zip(reversed(begin), reversed(end), strict=True) for number in pair]
