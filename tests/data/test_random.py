"""Do random numbers depend on (seed, epoch, sample, operation) only, and do they look random?"""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.data.random import Key, Keys, absorb, mix
from mezzotint.errors import InputError

GOLDEN_BITS = 0x693223FCDBF7A911
GOLDEN_INTEGERS = [56, 2, 77, 65, 16, 78]
GOLDEN_UNIFORM = 0.9120423356657502
GOLDEN_NORMAL = -0.05696522174933015
GOLDEN_ORDER = [4, 9, 5, 2, 0, 3, 8, 6, 1, 7]
WORDS = st.integers(0, 2**64 - 1)


def test_golden_values() -> None:
    """A change of any of these changes every run that was ever recorded."""
    key = Key(1, 2, 3).child("random_crop")
    assert key.bits() == GOLDEN_BITS
    assert [key.integers(0, 100) for _ in range(6)] == GOLDEN_INTEGERS
    assert key.uniform() == GOLDEN_UNIFORM
    assert key.normal() == pytest.approx(GOLDEN_NORMAL, abs=1e-14)
    assert Key(0, 0, -1).child("order").permutation(10).tolist() == GOLDEN_ORDER


def test_words_may_be_integers_of_any_type() -> None:
    words = np.int64(-1), np.uint8(2), np.int64(3)
    assert Key(*words).state == Key(-1, 2, 3).state
    assert Keys(*words[:2], np.array([3])).bits().tolist() == [Key(-1, 2, 3).bits()]


def test_splitmix64_matches_its_published_sequence() -> None:
    """The generator at state 0 is SplitMix64 seeded with 0, whose first outputs are widely published."""
    key = Key.from_state(0)
    assert [key.bits() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_another_process_draws_the_same_numbers() -> None:
    code = "from mezzotint.data.random import Key; print(Key(5, 6, 7).child('cutout').bits())"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(output) == Key(5, 6, 7).child("cutout").bits()


@given(WORDS, WORDS, WORDS)
def test_mixing_words_never_collides_for_one_state(state: int, first: int, second: int) -> None:
    assert (mix(first) == mix(second)) == (first == second)
    assert (absorb(state, first) == absorb(state, second)) == (first == second)
    assert 0 <= absorb(state, first) < 2**64


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**40), st.lists(st.integers(0, 2**31), min_size=1, max_size=6))
def test_keys_of_a_batch_draw_what_single_keys_draw(seed: int, epoch: int, samples: list[int]) -> None:
    singles = [Key(seed, epoch, sample).child("op") for sample in samples]
    batch = Keys(seed, epoch, np.array(samples, dtype=np.int64)).child("op")
    assert len(batch) == len(samples)
    assert batch.bits().tolist() == [key.bits() for key in singles]
    assert batch.uniform(-2.0, 5.0).tolist() == [key.uniform(-2.0, 5.0) for key in singles]
    assert batch.integers(-7, 1000).tolist() == [key.integers(-7, 1000) for key in singles]
    assert batch.normal().tolist() == [key.normal() for key in singles]


def test_a_child_does_not_depend_on_what_was_drawn() -> None:
    used, fresh = Key(1, 2, 3), Key(1, 2, 3)
    for _ in range(5):
        used.bits()
    assert used.child("a").bits() == fresh.child("a").bits()
    assert fresh.child("a").bits() != fresh.child("b").bits()
    assert used.state == fresh.state


@given(st.integers(-50, 50), st.integers(1, 2**31))
def test_integers_stay_in_their_range(low: int, span: int) -> None:
    key = Key(low, span)
    draws = [key.integers(low, low + span) for _ in range(20)]
    assert all(low <= draw < low + span for draw in draws)


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3), (0, 2**31 + 1)])
def test_impossible_ranges_are_refused(low: int, high: int) -> None:
    with pytest.raises(InputError, match="low < high"):
        Key(0).integers(low, high)


def chi_square(counts: np.ndarray) -> float:
    """How far counts lie from equal ones, in standard deviations of the chi-square distribution."""
    expected = counts.sum() / counts.size
    degrees = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - degrees) / math.sqrt(2 * degrees))


def test_numbers_are_uniform() -> None:
    """Over the draws of one key, and over neighbouring samples, epochs and seeds."""
    samples = np.arange(40_000, dtype=np.int64)
    one_key = Key(3)
    streams = {
        "draws": np.array([one_key.uniform() for _ in range(40_000)]),
        "samples": Keys(0, 0, samples).child("op").uniform(),
        "epochs": np.array([Key(0, epoch, 0).uniform() for epoch in range(20_000)]),
        "seeds": np.array([Key(seed, 0, 0).uniform() for seed in range(20_000)]),
    }
    for name, draws in streams.items():
        assert abs(chi_square(np.bincount((draws * 64).astype(int), minlength=64))) < 4.5, name
        assert draws.min() >= 0
        assert draws.max() < 1


def test_pairs_are_uniform() -> None:
    """Neighbouring samples, two operations of one sample, and two epochs of one sample fill the square evenly."""
    samples = np.arange(60_000, dtype=np.int64)
    crop = Keys(0, 0, samples).child("random_crop").uniform()
    flip = Keys(0, 0, samples).child("horizontal_flip").uniform()
    later = Keys(0, 1, samples).child("random_crop").uniform()
    second = Keys(0, 0, samples).child("random_crop")
    second.uniform()
    for other in (flip, later, np.roll(crop, 1), second.uniform()):
        cells = (crop * 16).astype(int) * 16 + (other * 16).astype(int)
        assert abs(chi_square(np.bincount(cells, minlength=256))) < 4.5
        assert abs(np.corrcoef(crop, other)[0, 1]) < 0.02


def test_every_bit_is_even() -> None:
    bits = Keys(0, 0, np.arange(20_000, dtype=np.int64)).bits()
    ones = np.array([((bits >> np.uint64(bit)) & np.uint64(1)).mean() for bit in range(64)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / math.sqrt(20_000)


def test_normal_numbers_have_the_moments_of_a_normal() -> None:
    draws = Keys(1, 0, np.arange(20_000, dtype=np.int64)).normal()
    assert abs(draws.mean()) < 0.03
    assert abs(draws.std() - 1) < 0.03
    assert abs((draws**3).mean()) < 0.1
    assert abs((draws**4).mean() - 3) < 0.3


def test_generator_depends_on_the_key() -> None:
    first = Key(1, 2, 3).generator().random(4)
    assert first.tolist() == Key(1, 2, 3).generator().random(4).tolist()
    assert first.tolist() != Key(1, 2, 4).generator().random(4).tolist()


@given(st.integers(0, 300), st.integers(0, 1000))
def test_permutation_is_one(length: int, seed: int) -> None:
    assert sorted(Key(seed).permutation(length).tolist()) == list(range(length))


def test_permutations_are_uniform() -> None:
    """Every order of three, and every place of every element of a longer one, is equally likely."""
    orders = np.array([Key(seed).permutation(3) for seed in range(6000)])
    assert abs(chi_square(np.bincount(orders @ [9, 3, 1], minlength=27)[[5, 7, 11, 15, 19, 21]])) < 4.5
    longer = np.array([Key(seed).permutation(20) for seed in range(4000)])
    for element in (0, 7, 19):
        assert abs(chi_square(np.bincount(np.nonzero(longer == element)[1], minlength=20))) < 4.5


def test_two_permutations_of_one_key_differ() -> None:
    key = Key(0)
    assert key.permutation(50).tolist() != key.permutation(50).tolist()
