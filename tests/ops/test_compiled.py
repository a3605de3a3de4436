"""Do the operators go through torch.compile and torch.export, with sizes that are known only at run time?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import mezzotint as mz
from mezzotint import ops

PATTERN = mz.Pattern.from_mask(torch.rand(6, 4, 3, 3) < 0.4)
BACK = mz.Pattern.from_mask(torch.rand(6, 4, 2, 2) < 0.4)
LAST = mz.Pattern.from_mask(torch.rand(5, 4) < 0.5)


class Network(nn.Module):
    """One of each operator."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depth = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(4, 1, 3, 3))
        self.values = nn.Parameter(torch.randn(PATTERN.nnz))
        self.back, self.last = nn.Parameter(torch.randn(BACK.nnz)), nn.Parameter(torch.randn(LAST.nnz))
        self.up = nn.Parameter(torch.randn(4, 4, 2, 2))
        self.gamma, self.beta = nn.Parameter(torch.rand(4)), nn.Parameter(torch.randn(4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("fixed", torch.ones(4))
        self.register_buffer("moving", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        statistics = (self.mean, self.fixed, self.gamma, self.beta)
        x = ops.conv2d_bn_act(x, self.first, None, *statistics, padding="SAME", stride=2, activation="leaky_relu")
        x = ops.depthwise_conv2d(x, self.depth, padding=1)
        x = ops.batch_norm(x, self.moving, self.var, self.gamma, self.beta, training=self.training, activation="relu6")
        x = ops.max_pool2d(x, 3, stride=2, padding="SAME") + ops.avg_pool2d(x, 3, stride=2, padding="SAME")
        x = ops.sparse_conv2d(x, self.values, PATTERN, padding=[[1, 1], [1, 1]])
        x = ops.sparse_conv_transpose2d(x, self.back, BACK, stride=2)
        x = ops.conv_transpose2d(x, self.up, stride=2, output_padding=1)
        x = ops.conv2d(x, self.first[:, :1].repeat(1, 2, 1, 1), groups=2, padding=((0, 1), (1, 0)))
        x = (
            ops.lp_pool2d(x.abs() + 0.1, 2.0, 2)
            + ops.adaptive_avg_pool2d(x, 3).mean()
            + ops.adaptive_max_pool2d(x, 2).sum()
        )
        return ops.sparse_linear(ops.global_avg_pool(x).flatten(1), self.last, LAST)


def network() -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    return Network().double(), torch.randn(2, 3, 17, 14, dtype=torch.float64)


@pytest.fixture(autouse=True)
def one_thread_and_no_cache() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch._dynamo.reset()
    yield
    torch.set_num_threads(threads)


def test_traced_training_step_of_any_batch() -> None:
    model, _ = network()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for batch in (2, 5):
        here = torch.randn(batch, 3, 9, 10, dtype=torch.float64, requires_grad=True)
        torch._dynamo.mark_dynamic(here, 0)
        leaves = [here, *model.parameters()]
        made, wanted = ([y, *torch.autograd.grad(y.square().sum(), leaves)] for y in (compiled(here), model(here)))
        for one, other in zip(made, wanted, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Inductor's own
def test_inductor_calls_the_operators() -> None:
    values, weight = torch.randn(PATTERN.nnz).requires_grad_(), torch.randn(4, 4, 3, 3).requires_grad_()

    def function(x: Tensor) -> Tensor:
        return ops.max_pool2d(ops.sparse_conv2d(ops.conv2d(x, weight), values, PATTERN, padding=1), 2)

    x = torch.randn(2, 4, 9, 8)
    compiled = torch.compile(function, fullgraph=True)
    leaves = [values, weight]
    made, wanted = (torch.autograd.grad(f(x).sum(), leaves) for f in (compiled, function))
    for one, other in zip(made, wanted, strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), function(x))


def test_exported_with_a_dynamic_batch_and_size() -> None:
    model, x = network()
    model.eval()
    sizes = {0: torch.export.Dim("batch", min=2, max=64), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(model, (x,), dynamic_shapes=(sizes,))
    called = {str(node.target) for node in program.graph.nodes if "mezzotint" in str(node.target)}
    assert {
        "mezzotint.sparse_conv2d.default",
        "mezzotint.conv2d_bn_act.default",
        "mezzotint.max_pool.default",
    } <= called
    other = torch.randn(5, 3, 21, 16, dtype=torch.float64)
    torch.testing.assert_close(program.module()(other), model(other))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ops.conv2d(x, torch.zeros(6, 4, 3, 3), padding="SAME", stride=2),
        lambda x: ops.conv_transpose2d(x, torch.zeros(4, 6, 3, 3), stride=2),
        lambda x: ops.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True),
        lambda x: ops.avg_pool2d(x, 2),
        lambda x: ops.adaptive_avg_pool2d(x, 3),
        lambda x: ops.sparse_conv2d(x, torch.zeros(PATTERN.nnz), PATTERN, padding=1),
    ],
    ids=["conv2d", "conv_transpose2d", "max_pool", "avg_pool", "adaptive", "sparse_conv2d"],
)
def test_sizes_that_nobody_knows(call: Callable[[Tensor], Tensor]) -> None:
    """Unbacked sizes, as ``nonzero`` gives them: the shape is an expression, nothing is guarded."""
    environment = ShapeEnv()
    with FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True):
        batch, height = environment.create_unbacked_symint(), environment.create_unbacked_symint()
        torch._check(batch >= 1)
        torch._check(height >= 5)
        y = call(torch.empty(batch, 4, height, 9))
        assert y.shape[0] == batch or str(y.shape[0]) == str(batch)
        real: Any = call(torch.zeros(2, 4, 8, 9))
    assert y.shape[1] == real.shape[1]
    assert y.shape[3] == real.shape[3]
