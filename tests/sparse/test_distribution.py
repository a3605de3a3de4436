"""Does every layer get the share that its distribution says, and all together exactly the density asked for?"""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mezzotint.errors import InputError, NotRegistered
from mezzotint.sparse import DISTRIBUTIONS, layer_nnz

conv_shapes = st.tuples(st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 3, 5]), st.sampled_from([1, 3]))
linear_shapes = st.tuples(st.integers(1, 200), st.integers(1, 200))
networks = st.lists(st.one_of(conv_shapes, linear_shapes), min_size=1, max_size=8).map(
    lambda shapes: {f"layer{i}": shape for i, shape in enumerate(shapes)}
)


@given(networks, st.floats(0.001, 1), st.sampled_from(sorted(DISTRIBUTIONS)))
def test_counts_are_exact(shapes: dict[str, tuple[int, ...]], density: float, distribution: str) -> None:
    total = sum(math.prod(shape) for shape in shapes.values())
    first, last = next(iter(shapes.values())), list(shapes.values())[-1]
    needed = (math.prod(first) if len(first) == 4 else 0) + (0.2 * math.prod(last) if len(last) == 2 else 0)
    assume(distribution != "uniform_plus" or needed + len(shapes) <= density * total)
    counts = layer_nnz(shapes, density, distribution)
    assert list(counts) == list(shapes)
    assert sum(counts.values()) == max(round(density * total), len(shapes))
    assert all(1 <= counts[name] <= math.prod(shape) for name, shape in shapes.items())


def test_uniform_is_uniform() -> None:
    assert layer_nnz({"a": (10, 10), "b": (4, 5, 3, 3)}, 0.1, "uniform") == {"a": 10, "b": 18}


def test_erk_follows_its_formula() -> None:
    shapes = {"a": (64, 32, 3, 3), "b": (128, 64, 3, 3), "c": (10, 128)}
    counts = layer_nnz(shapes, 0.02, "erk")
    scale = {name: counts[name] / sum(shape) for name, shape in shapes.items()}  # nnz is in proportion to O+I+kh+kw
    assert max(scale.values()) == pytest.approx(min(scale.values()), rel=0.02)


def test_er_ignores_the_kernel() -> None:
    counts = layer_nnz({"a": (64, 64, 3, 3), "b": (64, 64, 1, 1)}, 0.02, "er")
    assert counts["a"] == pytest.approx(9 * counts["b"], rel=0.05)


def test_uniform_plus_keeps_the_first_convolution_and_a_fifth_of_the_last_layer() -> None:
    shapes = {"stem": (16, 3, 3, 3), "body": (64, 64, 3, 3), "side": (64, 64, 3, 3), "head": (10, 100)}
    counts = layer_nnz(shapes, 0.1, "uniform_plus")
    assert counts["stem"] == 432
    assert counts["head"] == 200
    assert counts["body"] == counts["side"]
    assert sum(counts.values()) == round(0.1 * sum(math.prod(shape) for shape in shapes.values()))
    with pytest.raises(InputError, match=r"at least 0\.\d+ for 'uniform_plus'.*exclude these layers"):
        layer_nnz({"stem": (16, 3, 3, 3), "head": (10, 16)}, 0.05, "uniform_plus")


def test_full_layers_pass_the_rest_on() -> None:
    shapes = {"tiny": (2, 2), "large": (100, 100)}
    counts = layer_nnz(shapes, 0.5, "erk")
    assert counts == {"tiny": 4, "large": round(0.5 * 10004) - 4}


def test_each_layer_keeps_one_nonzero() -> None:
    assert layer_nnz({"a": (10, 10), "b": (10, 10)}, 0.001) == {"a": 1, "b": 1}


def test_density_by_layer() -> None:
    assert layer_nnz({"a": (10, 10), "b": (4, 5)}, {"a": 0.5, "b": 0.001}) == {"a": 50, "b": 1}


@pytest.mark.parametrize("density", [0, 1.5, -0.1, math.nan, math.inf, "0.1", True, None])
def test_density_must_be_a_fraction(density: object) -> None:
    with pytest.raises(InputError, match=r"density: received .*; allowed: a number above 0 and up to 1"):
        layer_nnz({"a": (10, 10)}, density)  # type: ignore[arg-type]


def test_density_by_layer_must_fit() -> None:
    with pytest.raises(InputError, match=r"received bod;.*Did you mean 'body'"):
        layer_nnz({"body": (3, 3)}, {"bod": 0.5})
    with pytest.raises(InputError, match="no density for 'head'"):
        layer_nnz({"body": (3, 3), "head": (3, 3)}, {"body": 0.5})
    with pytest.raises(InputError, match="density of layer 'body': received 0"):
        layer_nnz({"body": (3, 3)}, {"body": 0})


def test_unknown_distribution_is_told() -> None:
    with pytest.raises(NotRegistered, match=r"erkk.*uniform, er, erk, uniform_plus.*Did you mean 'erk'"):
        layer_nnz({"a": (3, 3)}, 0.5, "erkk")


def test_a_density_in_quotes_is_shown_in_quotes() -> None:
    with pytest.raises(InputError, match=r"density: received '0\.1'; allowed: a number"):
        layer_nnz({"a": (4, 4)}, "0.1")  # type: ignore[arg-type]


def test_every_layer_keeps_one_weight_at_least() -> None:
    assert layer_nnz({"a": (4, 4), "b": (8, 8), "c": (2, 2)}, 1e-9) == {"a": 1, "b": 1, "c": 1}
