"""Does every operator give what ONNX says? The node tests of the ``onnx`` package, through our importer.

Each case is one small model with inputs and the results that the specification's authors computed. It is run three
times: all inputs given at run time, all but the first constant, and all constant, which folds it. A case passes when at
least one of these can be run and every one that can be run gives the results.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import content, model, node

from mezzotint.deploy.onnx import read_onnx, schema
from mezzotint.deploy.onnx.operators import OPERATORS
from mezzotint.errors import CheckpointError, UnsupportedModel

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")

LEAST = 900
"""Cases that pass; of about 990 that have no operators but ours."""
NOT_OURS = {
    # The specification's reference computes the last place of an output of fractional size; ONNX Runtime and PyTorch
    # take the size that the output really has.
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}
REFUSED_FOR = (
    "in training mode",
    "stores torch.uint",  # unsigned numbers of 16 bits and more
    "type string",
    "operator set 1;",
    "of which only 1 can be computed",  # places of greatest numbers
    "tf_crop_and_resize",
    "which PyTorch has no arithmetic for",
    "torch.uint",
    "it makes numbers of type",
    "it reads numbers of type",
)
"""The only reasons for which a case of a known operator may be refused in all three ways."""


def applicable() -> list[Any]:
    """The cases whose operators are all in our table."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found = []
    for case in cases:
        known = all(one.domain in ("", "ai.onnx") and one.op_type in OPERATORS for one in case.model.graph.node)
        arrays = [*case.data_sets[0][0], *case.data_sets[0][1]]
        if known and all(isinstance(one, np.ndarray | np.generic) for one in arrays):
            found.append(case)
    return found


def with_constants(case: Any, given: Iterable[int]) -> tuple[bytes, list[Any]]:
    """The model with all inputs constant but those at ``given``, and their arrays."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    declared = list(model.graph.input)
    del model.graph.input[:]
    left = []
    for place, (info, array) in enumerate(zip(declared, case.data_sets[0][0], strict=True)):
        if place in given:
            model.graph.input.append(info)
            left.append(array)
        else:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), info.name))
    return model.SerializeToString(), left


def tensor(array: Any) -> torch.Tensor:
    whole = np.array(array)
    return (
        torch.from_numpy(whole.view(np.int16)).view(torch.bfloat16)
        if whole.dtype == "bfloat16"
        else torch.from_numpy(whole)
    )


def check(case: Any, results: Any) -> None:
    found = [results] if isinstance(results, torch.Tensor) else list(results)
    for result, wanted in zip(found, case.data_sets[0][1], strict=True):
        wide = result.float() if result.dtype is torch.bfloat16 else result
        exact = np.asarray(wanted).astype(np.float32) if result.dtype is torch.bfloat16 else np.asarray(wanted)
        assert (tuple(wide.shape), wide.numpy().dtype) == (exact.shape, exact.dtype)
        np.testing.assert_allclose(wide.numpy(), exact, rtol=case.rtol, atol=case.atol)


def outcome(case: Any) -> str:
    """ "passed", or why it is refused; a wrong result raises."""
    count = len(case.data_sets[0][0])
    ways, reasons = {tuple(range(count)), tuple(range(min(count, 1))), ()}, []
    if len(case.model.graph.node) > 1:
        ways = {tuple(range(min(count, 1)))}  # an operator spelt out in others, which have cases of their own
    passed = False
    for given in sorted(ways):
        content, arrays = with_constants(case, given)
        try:
            module = read_onnx(content).module
        except (CheckpointError, UnsupportedModel) as error:
            reasons.append(str(error))
            continue
        with torch.no_grad():
            check(case, module(*map(tensor, arrays)))
        passed = True
    return "passed" if passed else reasons[0]


@pytest.mark.timeout(240)
def test_the_node_tests_of_onnx() -> None:
    outcomes = {case.name: outcome(case) for case in applicable() if case.name not in NOT_OURS}
    refused = {name: reason for name, reason in outcomes.items() if reason != "passed"}
    odd = {name: reason for name, reason in refused.items() if not any(one in reason for one in REFUSED_FOR)}
    assert not odd
    assert len(outcomes) - len(refused) >= LEAST


def of_reference(made: schema.Model, x: torch.Tensor) -> torch.Tensor:
    """The reference's result of a model of one input "x" and one output."""
    from onnx.reference import ReferenceEvaluator

    (result,) = ReferenceEvaluator(onnx.load_from_string(content(made))).run(None, {"x": x.numpy()})
    return torch.from_numpy(result)


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("op", sorted(name for name in OPERATORS if name.startswith("Reduce")))
def test_a_reduction_without_axes_that_keeps_all_still_applies_its_function(op: str, keep: int) -> None:
    x = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) + (0.5 if "Log" in op else -0.5)
    settings = {"noop_with_empty_axes": 1, "keepdims": keep}
    constants = {"axes": torch.empty(0, dtype=torch.int64)}
    for reads in ("x", "x axes"):
        made = model([node(op, reads, "y", **settings)], {"x": ("N", 3, 4)}, "y", constants, opset=18)
        torch.testing.assert_close(read_onnx(content(made)).module(x), of_reference(made, x))


@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 3, [0, 1]), (3, 3, [0, 3]), (2, 3, [1, 2]), (3, 2, [2, 1])])
def test_rounding_up_adds_no_window_that_begins_behind_the_image(kernel: int, stride: int, pads: list[int]) -> None:
    settings = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pads[0]] * 2 + [pads[1]] * 2}

    def pooling(op: str) -> schema.Model:
        return model([node(op, "x", "y", ceil_mode=1, **settings)], {"x": ("N", 3, None, None)}, "y", opset=22)

    for size in (7, 8, 9):
        x = torch.randn(2, 3, size, size + 1, generator=torch.Generator().manual_seed(size))
        wanted = of_reference(pooling("MaxPool"), x)
        assert torch.equal(read_onnx(content(pooling("MaxPool"))).module(x), wanted)
        for op in ("AveragePool", "LpPool"):  # of which the reference reads beyond the image, or fails
            y = read_onnx(content(pooling(op))).module(x)
            assert (y.shape, bool(y.isfinite().all())) == (wanted.shape, True)
