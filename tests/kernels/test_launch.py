"""Does the launcher choose the same kernel whatever came before, and keep its reasons?"""

from __future__ import annotations

import pytest
import torch

from mezzotint import ops
from mezzotint.errors import NotRegistered
from mezzotint.kernels import KERNELS, Problem, density_bucket, launch


def problem(density: float, op: str = "sparse_conv2d") -> Problem:
    nnz = round(density * 32 * 32 * 9)
    return Problem(
        op=op,
        device="cpu",
        dtype=torch.float32,
        shapes=(("x", (8, 32, 16, 16)), ("values", (nnz,)), ("indices", (nnz,)), ("transposed", None), ("bias", None)),
        attrs=(
            ("weight_shape", (32, 32, 3, 3)),
            ("stride", (1, 1)),
            ("padding", (1, 1, 1, 1)),
            ("dilation", (1, 1)),
            ("groups", 1),
        ),
        density=density,
    )


@pytest.fixture(autouse=True)
def _fresh() -> None:
    assert ops.names(), "importing the operators registers their kernels"
    launch.forget()


@pytest.mark.parametrize("density", [0.02, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.9])
def test_the_first_member_of_a_bucket_does_not_decide_for_the_others(density: float) -> None:
    neighbours = [d for d in (density * 0.86, density * 0.95, density, density * 1.05, density * 1.15) if d <= 1]
    same = [d for d in neighbours if density_bucket(d) == density_bucket(density)]
    chosen = set()
    for first in same:
        launch.forget()
        launch.decide(problem(first))
        chosen |= {launch.decide(problem(d)).kernel.name for d in same}
    assert len(chosen) == 1


def test_sparse_kernels_win_where_little_is_left_and_dense_ones_where_much_is() -> None:
    assert launch.decide(problem(0.05)).kernel.name == "native"
    assert launch.decide(problem(0.95)).kernel.name == "scatter"


def test_a_decision_is_made_once_per_bucket_and_recorded() -> None:
    for nnz_share in (0.1, 0.1001, 0.1002):
        launch.decide(problem(nnz_share))
    (record,) = launch.decisions()
    assert record["kernel"] == "native"
    assert record["reason"] == "lowest cost estimate"
    assert set(record["estimates"]) == {"native", "scatter"}
    assert "density=0.0884" in record["problem"]


def test_bucket_of_a_density() -> None:
    assert density_bucket(0.0) == 0.0
    assert density_bucket(1.0) == 1.0
    assert density_bucket(0.26) == 0.25
    assert density_bucket(0.3) == pytest.approx(0.35355, abs=1e-4)


def test_the_policy_is_restored_after_an_error() -> None:
    def fail_inside() -> None:
        with launch.policy("measure"):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail_inside()
    assert launch.get_policy() == "rule"
    with pytest.raises(NotRegistered):
        launch.set_policy("no-such-kernel")


def test_an_operator_without_kernels_is_told() -> None:
    assert KERNELS.of("no_such_operator") == ()
