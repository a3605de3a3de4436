"""Does the launcher choose the same kernel whatever came before, and keep its reasons?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint import ops
from mezzotint.errors import NoKernel, NotRegistered
from mezzotint.kernels import KERNELS, Kernel, Problem, density_bucket, launch, measure, native, store
from mezzotint.kernels.decision import Decision


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
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ops.names(), "importing the operators registers their kernels"
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    launch.forget()


class Timed:
    """Runs kernels on a clock of its own, on which each takes its number of seconds; counts the runs."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = {"native": 0.003, "scatter": 0.002, **seconds}
        self.now = 0.0
        self.runs = 0

    def __call__(self, kernel: Kernel) -> None:
        self.now += self.seconds[kernel.name]
        self.runs += 1


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Timed]:
    """``timed(native=0.1)``: a trial, with the launcher's clock set to it."""

    def make(**seconds: float) -> Timed:
        trial = Timed(**seconds)
        monkeypatch.setattr(measure, "clock", lambda: trial.now)
        return trial

    return make


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


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


def test_a_measured_decision_is_stored_and_restored_without_timing(timed: Callable[..., Timed]) -> None:
    with launch.policy("measure"):
        first = launch.decide(problem(0.05), timed())
        assert (first.kernel.name, first.source) == ("scatter", "measured")
        assert first.milliseconds == {"native": 3.0, "scatter": 2.0}
        assert f"measured now, stored in {first.file}" in first.explain()
        assert launch.decide(problem(0.0501), timed()) is first, "of the same bucket"

        launch.forget()  # as a new process begins
        trial = timed(scatter=9.0)
        again = launch.decide(problem(0.0501), trial)
        assert trial.runs == 0
        assert (again.kernel.name, again.source, again.file) == ("scatter", "restored", first.file)
        assert again.milliseconds == first.milliseconds
        assert f"restored from {first.file}" in again.explain()
        (record,) = launch.decisions()
        assert (record["source"], record["file"]) == ("restored", first.file)

        trial = timed()
        assert launch.decide(problem(0.2), trial).source == "measured", "another bucket decides again"
        assert trial.runs > 0


@pytest.mark.parametrize("change", ["gone", "refuses"])
def test_a_stored_kernel_that_is_gone_or_refuses_is_measured_anew(
    change: str, timed: Callable[..., Timed], monkeypatch: pytest.MonkeyPatch
) -> None:
    with launch.policy("measure"):
        launch.decide(problem(0.05), timed())
        launch.forget()
        kernels = KERNELS.of("sparse_conv2d")
        if change == "refuses":
            own = tuple(replace(k, supports=lambda p: "not today") if k.name == "scatter" else k for k in kernels)
        else:
            own = tuple(k for k in kernels if k.name != "scatter")
        other = Kernel(op="sparse_conv2d", name="other", run=lambda: None)
        monkeypatch.setattr(type(KERNELS), "of", lambda self, op: (*own, other))
        made = launch.decide(problem(0.05), timed(other=0.001))
    assert (made.kernel.name, made.source) == ("other", "measured")


def test_deterministic_mode_never_times(timed: Callable[..., Timed], deterministic: None) -> None:
    trial = timed()
    with launch.policy("measure"):
        made = launch.decide(problem(0.05), trial)
        assert (made.kernel.name, made.source, trial.runs) == ("native", "rule", 0)
        assert "deterministic algorithms forbid to time" in made.reason
        torch.use_deterministic_algorithms(False)
        assert launch.decide(problem(0.05), timed()).source == "measured", "what was ruled then does not stay"
        torch.use_deterministic_algorithms(True)
        assert launch.decide(problem(0.05), timed()) is made
        launch.forget()
        restored = launch.decide(problem(0.05), trial)
    assert (restored.kernel.name, restored.source, trial.runs) == ("scatter", "restored", 0)


def test_where_nothing_can_be_stored_the_process_remembers(
    timed: Callable[..., Timed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "folder", lambda: None)
    with launch.policy("measure"):
        made = launch.decide(problem(0.05), timed())
        assert (made.source, made.file) == ("measured", None)
        assert "kept in memory only" in made.explain()
        trial = timed()
        assert launch.decide(problem(0.0501), trial) is made
        assert trial.runs == 0


def test_a_decision_that_another_process_stored_meanwhile_is_taken_over(timed: Callable[..., Timed]) -> None:
    bucket = problem(0.05).bucket()
    theirs = store.Entry(kernel="native", milliseconds={"native": 1.0}, kernels=store.fingerprint("sparse_conv2d"))
    told: list[Decision | None] = []

    def meanwhile(timed_problem: Problem, decision: Decision | None) -> None:
        told.append(decision)
        store.settle(bucket, theirs, lambda entry: True)

    with launch.policy("measure"), launch.measuring(meanwhile):
        made = launch.decide(problem(0.05), timed())
    assert (made.kernel.name, made.source) == ("native", "restored")
    assert told == [None, made]


def test_watchers_see_what_is_timed_and_nothing_else(timed: Callable[..., Timed]) -> None:
    told: list[tuple[Problem, Decision | None]] = []
    with launch.measuring(lambda seen, decision: told.append((seen, decision))):
        launch.decide(problem(0.05))
        assert told == []
        with launch.policy("measure"):
            made = launch.decide(problem(0.05), timed())
            assert told == [(problem(0.05).bucket(), None), (problem(0.05).bucket(), made)]
            launch.forget()
            launch.decide(problem(0.05), timed())
    with launch.policy("measure"):
        launch.decide(problem(0.5), timed())
    assert len(told) == 2


def test_a_kernel_is_forced_on_one_operator_only(timed: Callable[..., Timed]) -> None:
    with launch.policy("measure", force={"sparse_conv2d": "reference"}):
        trial = timed()
        made = launch.decide(problem(0.05), trial)
        assert (made.kernel.name, made.source, trial.runs) == ("reference", "forced", 0)
        assert "decided: forced" in made.explain()
        assert (launch.get_policy(), launch.get_force()) == ("measure", {"sparse_conv2d": "reference"})
        with launch.policy("rule"):
            assert launch.get_force() == {}
        assert launch.get_force() == {"sparse_conv2d": "reference"}
    assert launch.get_force() == {}
    with launch.policy("reference", force={"sparse_conv2d": "scatter"}):
        assert launch.decide(problem(0.05)).kernel.name == "scatter"


def test_forcing_what_is_not_there_is_told() -> None:
    with pytest.raises(NotRegistered, match=r"operator 'sparse_conv'.*Did you mean 'sparse_conv2d'"):
        launch.set_policy("rule", force={"sparse_conv": "scatter"})
    with pytest.raises(
        NotRegistered, match=r"no kernel 'torch' can be forced on sparse_conv2d; known: native, scatter"
    ):
        launch.set_policy("rule", force={"sparse_conv2d": "torch"})
    assert launch.get_force() == {}


def test_a_forced_kernel_that_refuses_is_an_error(timed: Callable[..., Timed]) -> None:
    wide = replace(problem(0.05), dtype=torch.float64)
    with launch.policy("rule", force={"sparse_conv2d": "native"}), pytest.raises(NoKernel, match="it takes float32"):
        launch.decide(wide)
    with launch.policy("native"):  # a policy's name holds where it can
        made = launch.decide(wide)
    assert (made.kernel.name, made.source, made.reason) == ("scatter", "rule", "the only kernel that can do it")


def test_a_refusal_for_one_nnz_decides_for_it_alone_and_is_not_stored(
    timed: Callable[..., Timed], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = dict(problem(0.0501).shapes)["values"]

    def refuses(asked: Problem) -> str | None:
        return "an odd number" if dict(asked.shapes).get("values") == odd else None

    own = tuple(
        replace(kernel, supports=refuses) if kernel.name == "scatter" else kernel
        for kernel in KERNELS.of("sparse_conv2d")
    )
    monkeypatch.setattr(type(KERNELS), "of", lambda self, op: own)
    with launch.policy("measure"):
        assert launch.decide(problem(0.05), timed()).kernel.name == "scatter"
        trial = timed()
        alone = launch.decide(problem(0.0501), trial)
        assert (alone.kernel.name, alone.source, trial.runs) == ("native", "rule", 0)
        launch.forget()
        assert launch.decide(problem(0.05), timed()).kernel.name == "scatter"


def layer(batch: int, op: str = "sparse_conv2d") -> Problem:
    """A BF16 layer of ResNet-50 at density 0.1."""
    nnz = round(0.1 * 64 * 64 * 9)
    x, gy = ("x", (batch, 64, 28, 28)), ("gy", (batch, 64, 28, 28))
    values = (("values", (nnz,)), ("indices", (nnz,)), ("transposed", None), ("bias", None))
    attrs = (("weight_shape", (64, 64, 3, 3)), *problem(0.1).attrs[1:])
    if op == "sparse_conv2d_weight_grad":
        shapes: tuple[Any, ...] = (x, gy, ("indices", (nnz,)))
        attrs = (*attrs, ("out_dtype", torch.float32))
    else:
        shapes = (x, *values)
    return replace(problem(0.1, op), dtype=torch.bfloat16, shapes=shapes, attrs=attrs)


@pytest.mark.parametrize(("batch", "expected"), [(1, "scatter"), (8, "scatter"), (32, "native")])
def test_batches_that_leave_lanes_empty_cost_as_much_as_full_ones(batch: int, expected: str) -> None:
    with native.using_isa("portable"):
        assert launch.decide(layer(batch)).kernel.name == expected


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("batch", [1, 8, 32])
def test_the_lanes_of_weight_gradients_are_full_at_any_batch(
    batch: int, unit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "has_matrix_unit", lambda: unit)
    assert launch.decide(layer(batch, "sparse_conv2d_weight_grad")).kernel.name == "native"


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_the_lanes_of_pointwise_layers_are_full_at_any_batch(batch: int) -> None:
    attrs = (("weight_shape", (256, 256, 1, 1)), ("stride", (1, 1)), ("padding", (0, 0, 0, 0)), *problem(0.1).attrs[3:])
    shapes = (("x", (batch, 256, 14, 14)), *layer(batch).shapes[1:])
    pointwise = replace(layer(batch), shapes=shapes, attrs=attrs)
    with native.using_isa("portable"):
        assert launch.decide(pointwise).kernel.name == "native"
        strided = tuple((name, (2, 2) if name == "stride" else value) for name, value in attrs)
        wanted = "native" if batch == 32 else "scatter"
        assert launch.decide(replace(pointwise, attrs=strided)).kernel.name == wanted


def test_a_matrix_unit_leaves_outputs_of_the_plain_layout_to_dense_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_matrix_unit", lambda: True)
    assert launch.decide(layer(32)).kernel.name == "scatter"
    with launch.policy("rule"):
        fp32 = replace(layer(32), dtype=torch.float32)
        assert launch.decide(fp32).kernel.name == "native"  # it multiplies BF16 alone
