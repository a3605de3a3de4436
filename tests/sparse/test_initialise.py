"""Do fresh weights suit the fan-in that each unit really has?"""

from __future__ import annotations

import math

import torch

from mezzotint import Pattern
from mezzotint.sparse import SparseConv2d, SparseLinear
from mezzotint.sparse.initialise import fan_in, fresh_bias, fresh_values, keyed_generator, rescaled_values


def _uneven() -> Pattern:
    mask = torch.zeros(3, 400, dtype=torch.bool)
    mask[0, :4] = True
    mask[1] = True
    return Pattern.from_mask(mask)


def test_fan_in_counts_each_units_own_nonzeros() -> None:
    assert fan_in(_uneven()).tolist() == [4, 400, 0]


def test_values_and_bias_are_bounded_by_their_own_fan_in() -> None:
    values, bias = fresh_values(_uneven()), fresh_bias(_uneven())
    assert values[:4].abs().max() <= 1 / math.sqrt(4)
    assert 0.9 / 20 < values[4:].abs().max() <= 1 / 20
    assert abs(bias[0]) <= 0.5
    assert abs(bias[1]) <= 1 / 20
    assert bias[2] == 0


def test_density_one_is_torchs_own_law() -> None:
    layer = SparseLinear(1000, 50, density=1.0)
    dense = torch.nn.Linear(1000, 50)
    assert layer.values.abs().max() <= dense.weight.abs().max() * 1.01
    torch.testing.assert_close(layer.values.std(), dense.weight.std(), rtol=0.02, atol=0)


def test_output_scale_does_not_depend_on_density() -> None:
    x = torch.randn(64, 64, 8, 8)
    deviations = [SparseConv2d(64, 64, 3, density=d, bias=False)(x).std().item() for d in (1.0, 0.1)]
    assert 0.9 < deviations[0] / deviations[1] < 1.1


def test_rescaled_values_keep_the_output_variance_of_the_dense_layer() -> None:
    values = rescaled_values(torch.ones(404), _uneven())
    assert torch.allclose(values[:4], torch.tensor(10.0))
    assert torch.equal(values[4:], torch.ones(400))


def test_keyed_generators_depend_on_the_key_alone() -> None:
    first = torch.rand(3, generator=keyed_generator("a", 1))
    torch.rand(5)
    assert torch.equal(first, torch.rand(3, generator=keyed_generator("a", 1)))
    assert not torch.equal(first, torch.rand(3, generator=keyed_generator("a", 2)))
    assert not torch.equal(first, torch.rand(3, generator=keyed_generator("a1", "")))
