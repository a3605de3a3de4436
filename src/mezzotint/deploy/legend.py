"""What do the words of a session's explanation mean? Below it, those that it uses."""

from __future__ import annotations

from typing import Final

_WORDS: Final = {
    "density": "share of a layer's weights that are stored and computed",
    "phases": "the image taken apart by a stride, every second row and column say, so that a stride reads in a row",
    "planes": "channels of an image with a border of their own, as the kernels want them",
    "rows": "one row of numbers an image, as linear layers want them",
    "pairs of nonzeros": "the kernel takes two stored weights of an output channel at a time",
    "nonzeros alone": "the kernel gathers the inputs of the stored weights of a linear layer and leaves the others out",
    "output channels at once": "the kernel computes several output channels from each input number, zeros included",
    "output channels side by side": "so many of them share a vector, by which the kernel multiplies each input number",
    "columns at once": "the kernel reads each row of a depthwise window once for all of its columns",
    "parts": "the input channels are summed in so many passes, each of which fits in the cache",
    "cells": "64 bytes of neighbouring pixels: 16 numbers of fp32, 32 of bf16",
}


def with_legend(explanation: str) -> str:
    """``explanation``, and below it the meaning of the words that it uses."""
    body = explanation.partition("\n")[2]
    used = [f"  {word}: {meaning}" for word, meaning in _WORDS.items() if word in body]
    return "\n".join([explanation, "words", *used]) if used else explanation
