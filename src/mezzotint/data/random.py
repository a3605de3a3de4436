"""How is a random number drawn so that it depends only on (seed, epoch, sample, operation)?

A ``Key`` is a counter-based generator. Its 64-bit state is made by absorbing the words seed, epoch and sample, one
after the other; ``child(name)`` absorbs the name of an operation. Draw ``i`` is ``mix(state + i * GAMMA)``, where
``mix`` is the 64-bit finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014; the multipliers are David Stafford's variant 13) and GAMMA the golden ratio times 2^64.

What follows from that: nothing depends on threads, batch size or the order in which samples are read, and any sample of
any epoch can be made again from four numbers. Keys of different samples, epochs or names behave as independent streams
(``tests/data/test_random.py`` measures it). The generator is not for cryptography. Building a key or drawing from it
costs one to two microseconds in plain Python; building a numpy generator costs thirty.

``Keys`` holds one state per sample in an array and draws for all of them at once, giving the same numbers.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from operator import index as whole_number
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import InputError, message

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_ABSORB = 0xD1B54A32D192ED03  # another odd number than GAMMA, so that no child's state is made from a draw
_MULTIPLY_1 = 0xBF58476D1CE4E5B9
_MULTIPLY_2 = 0x94D049BB133111EB
_MAX_SPAN = 1 << 31
_NORMAL = NormalDist()


def mix(word: int) -> int:
    """A bijection of 64-bit words in which every bit of the input changes about half of the bits of the output."""
    word = ((word ^ (word >> 30)) * _MULTIPLY_1) & _MASK
    word = ((word ^ (word >> 27)) * _MULTIPLY_2) & _MASK
    return word ^ (word >> 31)


def mix_array(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``mix`` of each element; the product wraps around modulo 2^64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_MULTIPLY_1)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_MULTIPLY_2)
    return words ^ (words >> np.uint64(31))


def absorb(state: int, word: int) -> int:
    """The state after one more word: for each state a bijection of words, for each word a bijection of states."""
    return mix((mix((state + _ABSORB) & _MASK) + word) & _MASK)


@lru_cache(maxsize=1024)
def name_word(name: str) -> int:
    """A fixed 64-bit word for a name (BLAKE2b); unlike ``hash`` it is the same in every process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=64)
def _epoch_base(seed: int, epoch: int) -> int:
    """``absorb(absorb(absorb(0, seed), epoch), sample)`` up to the point where the sample comes in."""
    return mix((absorb(absorb(0, seed & _MASK), epoch & _MASK) + _ABSORB) & _MASK)


def _span(low: int, high: int) -> int:
    if not 0 < high - low <= _MAX_SPAN:
        raise InputError(message("integers(low, high)", received=(low, high), allowed="low < high <= low + 2^31"))
    return high - low


class Key:
    """A stream of random numbers for one sample and one operation.

    Each draw moves the stream's counter by one; ``child`` does not depend on the counter, so an operation that draws
    more or fewer numbers never disturbs another.
    """

    __slots__ = ("_counter", "_state")

    def __init__(self, seed: int, epoch: int = 0, sample: int = 0) -> None:
        """The key of one sample in one epoch; the words are integers of any type, taken modulo 2^64."""
        base = _epoch_base(whole_number(seed), whole_number(epoch))
        self._state = mix((base + whole_number(sample)) & _MASK)
        self._counter = self._state

    @classmethod
    def from_state(cls, state: int) -> Key:
        """The key that ``state`` belongs to, its counter at the beginning."""
        key = cls.__new__(cls)
        key._state = key._counter = state & _MASK
        return key

    @property
    def state(self) -> int:
        """The 64-bit state, without the counter."""
        return self._state

    def child(self, name: str) -> Key:
        """The independent key of an operation, or of a part of one."""
        return Key.from_state(absorb(self._state, name_word(name)))

    def bits(self) -> int:
        """The next 64 random bits, 0 <= value < 2^64."""
        self._counter = (self._counter + _GAMMA) & _MASK
        return mix(self._counter)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high) with 53 random bits (rounding may give ``high`` where the interval is not [0, 1))."""
        return low + (high - low) * ((self.bits() >> 11) * 2.0**-53)

    def integers(self, low: int, high: int) -> int:
        """An integer in low..high-1; high - low <= 2^31. The bias of a value is below (high - low) / 2^32."""
        return low + (((self.bits() >> 32) * _span(low, high)) >> 32)

    def normal(self) -> float:
        """A standard normal number, by inversion of its distribution function: one draw each."""
        return _NORMAL.inv_cdf(((self.bits() >> 12) + 0.5) * 2.0**-52)

    def generator(self) -> np.random.Generator:
        """A numpy generator (Philox 4x64) for whole arrays of numbers, such as noise for every pixel; costs 30 us."""
        return np.random.Generator(np.random.Philox(key=(self.bits() << 64) | self.bits()))

    def permutation(self, length: int) -> NDArray[np.int64]:
        """A random order of 0..length-1: the stable argsort of ``length`` draws. Does not depend on numpy's version."""
        counters = np.arange(1, length + 1, dtype=np.uint64) * np.uint64(_GAMMA) + np.uint64(self._counter)
        self._counter = (self._counter + length * _GAMMA) & _MASK
        return np.argsort(mix_array(counters), kind="stable").astype(np.int64, copy=False)

    def __repr__(self) -> str:
        return f"Key(state={self._state:#018x})"


class Keys:
    """The keys of many samples of one epoch; every draw is an array with one number per sample, equal to ``Key``'s."""

    __slots__ = ("_counter", "_state")

    def __init__(self, seed: int, epoch: int, samples: NDArray[np.int64]) -> None:
        base = np.uint64(_epoch_base(whole_number(seed), whole_number(epoch)))
        self._state = mix_array(np.atleast_1d(samples).astype(np.uint64) + base)
        self._counter = self._state

    def __len__(self) -> int:
        return int(self._state.size)

    def child(self, name: str) -> Keys:
        """The independent keys of an operation."""
        keys = Keys.__new__(Keys)
        inner = mix_array(self._state + np.uint64(_ABSORB)) + np.uint64(name_word(name))
        keys._state = keys._counter = mix_array(inner)
        return keys

    def bits(self) -> NDArray[np.uint64]:
        """The next 64 random bits of each key."""
        self._counter = self._counter + np.uint64(_GAMMA)
        return mix_array(self._counter)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """As ``Key.uniform``: float64 [N]."""
        return low + (high - low) * ((self.bits() >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    def integers(self, low: int, high: int) -> NDArray[np.int64]:
        """As ``Key.integers``: int64 [N]."""
        scaled = (self.bits() >> np.uint64(32)) * np.uint64(_span(low, high))
        return low + (scaled >> np.uint64(32)).astype(np.int64)

    def normal(self) -> NDArray[np.float64]:
        """As ``Key.normal``: float64 [N]."""
        centres = ((self.bits() >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return np.array([_NORMAL.inv_cdf(centre) for centre in centres.tolist()])
