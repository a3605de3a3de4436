"""Are gradients unscaled, checked and clipped together, and nothing else touched?"""

from __future__ import annotations

import gc

import pytest
import torch

from mezzotint.errors import InputError
from mezzotint.precision.gradients import (
    attach_gradients,
    attached_gradients,
    clip,
    detach_gradients,
    own_gradients,
    unscale,
)


def _optimizer(count: int = 1) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2)) for _ in range(count)], lr=0.1)


def test_unscales_all_kinds_in_place() -> None:
    tensors = [torch.full((3,), 8.0, dtype=dtype) for dtype in (torch.float32, torch.float64, torch.bfloat16)]
    assert unscale([*tensors, torch.empty(0)], 4.0)
    assert all(torch.equal(tensor, torch.full_like(tensor, 2.0)) for tensor in tensors)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_sees_every_element_that_is_not_finite(bad: float, place: int) -> None:
    tensors = [torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(4, 4).t()]
    tensors[place][-1] = bad
    assert not unscale(tensors, 1.0)


def test_sparse_gradients_are_unscaled() -> None:
    gradient = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.tensor([4.0, 8.0]), (3,), check_invariants=False)
    assert unscale([gradient], 4.0)
    assert gradient.to_dense().tolist() == [1, 0, 2]


def test_half_gradients_are_refused() -> None:
    with pytest.raises(InputError, match=r"float16.*no model\.half\(\)"):
        unscale([torch.ones(2, dtype=torch.float16)], 1.0)


def test_clips_by_the_norm_of_its_own_gradients_alone() -> None:
    own, other = [torch.tensor([3.0]), torch.tensor([4.0])], torch.tensor([100.0])
    clip(own, [other], 1.0)
    torch.testing.assert_close(torch.cat(own), torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(other, torch.tensor([20.0]))
    clip(own, [other], 10.0)
    torch.testing.assert_close(torch.cat(own), torch.tensor([0.6, 0.8]))
    clip([], [], 1.0)


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan"), float("inf")])
def test_clip_norm_must_be_positive(norm: float) -> None:
    with pytest.raises(InputError, match="clip_norm"):
        clip([torch.ones(1)], [], norm)


def test_own_gradients_are_those_that_exist() -> None:
    optimizer = _optimizer(3)
    optimizer.param_groups[0]["params"][1].grad = torch.ones(2)
    assert len(own_gradients(optimizer)) == 1


class _Provider:
    def __init__(self) -> None:
        self.tensor = torch.ones(2)

    def gradients(self) -> list[torch.Tensor]:
        return [self.tensor]


def test_providers_come_and_go() -> None:
    optimizer, first, second = _optimizer(), _Provider(), _Provider()
    assert attached_gradients(optimizer) == []
    attach_gradients(optimizer, first.gradients)
    attach_gradients(optimizer, second.gradients)
    assert [t is p.tensor for t, p in zip(attached_gradients(optimizer), (first, second), strict=True)] == [True, True]
    detach_gradients(optimizer, first.gradients)
    assert len(attached_gradients(optimizer)) == 1
    del second
    gc.collect()
    assert attached_gradients(optimizer) == []  # a method does not keep its object alive
    detach_gradients(optimizer, first.gradients)


def test_functions_are_held() -> None:
    optimizer = _optimizer()
    attach_gradients(optimizer, lambda: [torch.ones(3)])
    gc.collect()
    assert len(attached_gradients(optimizer)) == 1
    assert "mezzotint" not in str(optimizer.state_dict())


def test_unscaling_counts_as_a_change() -> None:
    gradient = torch.ones(3)
    before = gradient._version
    assert unscale([gradient], 2.0)
    assert gradient._version > before
