"""Is a call the same on every path? Straight from the plan, through the dispatcher, under modes and transforms."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import mezzotint as mz
from mezzotint import ops
from mezzotint.kernels import launch
from mezzotint.ops import casting

X = torch.randn(2, 4, 7, 7, dtype=torch.float64)
W = torch.randn(6, 2, 3, 3, dtype=torch.float64)
B = torch.randn(6, dtype=torch.float64)


def conv(x: Tensor, w: Tensor = W, b: Tensor | None = B) -> Tensor:
    return ops.conv2d(x, w, b, stride=2, padding=1, groups=2)


def right(x: Tensor, w: Tensor = W, b: Tensor | None = B) -> Tensor:
    return F.conv2d(x, w, None if b is None else b.to(x.dtype), stride=2, padding=1, groups=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny problems wait for their threads longer than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Seen(TorchDispatchMode):
    """Notes which operators reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@pytest.fixture
def dispatched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls of conv2d that went through ``torch.ops``."""
    calls: list[str] = []
    operator = ops.get("conv2d")
    original = operator.overload

    def noted(*args: Any, **kwargs: Any) -> Any:
        calls.append("conv2d")
        return original(*args, **kwargs)

    monkeypatch.setattr(operator, "overload", noted)
    return calls


def test_plain_calls_go_straight_to_the_kernel(dispatched: list[str]) -> None:
    for _ in range(3):
        assert torch.equal(conv(X), right(X))
    x = X.clone().requires_grad_()
    for _ in range(3):
        (made,), (wanted,) = (torch.autograd.grad(f(x).square().sum(), x) for f in (conv, right))
        torch.testing.assert_close(made, wanted)
    with torch.inference_mode():
        assert torch.equal(conv(X), right(X))
    assert dispatched == []


def modes() -> dict[str, Callable[[], Any]]:
    return {
        "dispatch mode": Seen,
        "function mode": Functions,
        "profiler": lambda: torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]),
        "forward mode": forward_ad.dual_level,
        "default device": lambda: torch.device("cpu"),
    }


@pytest.mark.parametrize("mode", modes())
def test_who_listens_hears_the_operator(mode: str, dispatched: list[str]) -> None:
    conv(X)  # a plan is there
    with modes()[mode]() as listener:
        made = conv(X)
    assert dispatched, "the call went past the dispatcher"
    torch.testing.assert_close(made, right(X))
    if isinstance(listener, Seen):
        assert "mezzotint.conv2d.default" in listener.names
    if mode == "profiler":
        assert any(event.key == "mezzotint::conv2d" for event in listener.key_averages())


def test_fakes_and_other_tensors_keep_their_type() -> None:
    class Marked(Tensor):
        pass

    conv(X)
    assert type(conv(X.as_subclass(Marked))) is Marked  # type: ignore[arg-type]
    with FakeTensorMode() as mode:
        fake = conv(mode.from_tensor(X), mode.from_tensor(W), mode.from_tensor(B))
    assert fake.shape == right(X).shape
    assert conv(X.to("meta"), W.to("meta"), B.to("meta")).shape == right(X).shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jit_trace_records_the_operator() -> None:
    conv(X)
    traced = torch.jit.trace(lambda x: conv(x) + 1, (X,), check_trace=False)
    assert "mezzotint::conv2d" in str(traced.graph)
    other = torch.randn_like(X)
    torch.testing.assert_close(traced(other), right(other) + 1)


def test_a_plan_holds_for_its_own_kind_of_call_only() -> None:
    assert torch.equal(conv(X), right(X))
    single = (X.float(), W.float(), B.float())
    torch.testing.assert_close(conv(*single), right(*single))
    with pytest.raises(mz.errors.MezzotintError, match="dtype"):
        conv(X, W.float())
    assert torch.equal(conv(X[:, :, :5]), right(X[:, :, :5]))
    last = X.contiguous(memory_format=torch.channels_last)
    assert conv(last).is_contiguous(memory_format=torch.channels_last)
    assert conv(X).is_contiguous()
    with torch.no_grad():
        assert not conv(X.clone().requires_grad_()).requires_grad
    assert conv(X.clone().requires_grad_()).requires_grad


@pytest.mark.parametrize(
    "given",
    [
        {"stride": [2, 2], "padding": [[1, 1], [1, 1]]},
        {"stride": (2, 2), "padding": ((1, 1), (1, 1))},
        {"stride": 2, "padding": 1, "data_format": "NHWC"},
    ],
    ids=["lists", "tuples", "channels last"],
)
def test_a_call_is_planned_once_however_it_is_written(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    operator = ops.get("conv2d")
    original = operator.plan
    monkeypatch.setattr(operator, "plan", lambda *call: planned.append(1) or original(*call))  # type: ignore[func-returns-value]
    launch.forget()
    last = given.get("data_format") == "NHWC"
    for _ in range(3):
        made = ops.conv2d(X.movedim(1, -1) if last else X, W, B, groups=2, **given)
        torch.testing.assert_close(made.movedim(-1, 1) if last else made, right(X))
    assert len(planned) == 1


def unary(name: str) -> ops.Operator:
    """A new operator from one tensor to another like it, without kernels."""
    definition = ops.OpDef(name).input("x: float32", "any").output("y: float32").doc("Does as its kernel does.")
    return definition.shape_rule(lambda inputs, attrs: inputs["x"]).register()  # type: ignore[arg-type, return-value]


def test_the_launcher_is_asked_anew_when_it_is_told_otherwise() -> None:
    operator, x = unary("test_asked_anew"), torch.ones(2)
    operator.kernel(name="doubles", priority=1)(lambda x: x * 2)
    operator.kernel(name="trebles")(lambda x: x * 3)
    for _ in range(2):
        assert torch.equal(operator(x), 2 * x)
        with launch.policy("rule", force={"test_asked_anew": "trebles"}):
            assert torch.equal(operator(x), 3 * x)
            assert torch.equal(operator(x), 3 * x)
        with launch.policy("trebles"):
            assert torch.equal(torch.ops.mezzotint.test_asked_anew(x), 3 * x)
        assert torch.equal(torch.ops.mezzotint.test_asked_anew(x), 2 * x)


def test_lazily_negated_tensors_are_read_right() -> None:
    pattern = mz.Pattern.from_mask(torch.rand(4, 4, 3, 3) < 0.5)
    values, x = torch.randn(pattern.nnz), torch.randn(1, 4, 6, 6)
    negated = torch.view_as_complex(torch.stack([x, x], -1)).conj().imag
    assert negated.is_neg()
    with launch.policy("native"):
        for _ in range(2):
            plain = ops.sparse_conv2d((-x).clone(), values, pattern)
            like = torch.empty_strided(negated.shape, negated.stride()).copy_(-x)
            torch.testing.assert_close(ops.sparse_conv2d(like, values, pattern), plain)  # a plan of these strides
            torch.testing.assert_close(ops.sparse_conv2d(negated, values, pattern), plain)


# -- transforms of torch.func ---------------------------------------------------------------------------------------

PATTERN = mz.Pattern.from_mask(torch.rand(6, 4, 3, 3) < 0.4)
VALUES = torch.randn(PATTERN.nnz, dtype=torch.float64)


def dense(values: Tensor) -> Tensor:
    zeros = torch.zeros(PATTERN.shape, dtype=values.dtype).flatten()
    return zeros.index_put((PATTERN.indices.long(),), values).view(PATTERN.shape)


PAIRS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Tensor]] = {
    "conv2d": (lambda x, w: conv(x, w), lambda x, w: right(x, w), W),
    "conv_transpose2d": (
        lambda x, w: ops.conv_transpose2d(x, w, stride=2, output_padding=1),
        lambda x, w: F.conv_transpose2d(x, w, stride=2, output_padding=1),
        torch.randn(4, 3, 3, 3, dtype=torch.float64),
    ),
    "sparse_conv2d": (
        lambda x, v: ops.sparse_conv2d(x, v, PATTERN, padding=1),
        lambda x, v: F.conv2d(x, dense(v), padding=1),
        VALUES,
    ),
    "max_pool2d": (lambda x, w: ops.max_pool2d(x * w, 3, stride=2), lambda x, w: F.max_pool2d(x * w, 3, 2), X[0]),
    "avg_pool2d": (lambda x, w: ops.avg_pool2d(x * w, 2), lambda x, w: F.avg_pool2d(x * w, 2), X[0]),
    "batch_norm": (
        lambda x, w: ops.batch_norm(x, None, None, w, training=True),
        lambda x, w: F.batch_norm(x, None, None, w, training=True),
        torch.rand(4, dtype=torch.float64),
    ),
}


@pytest.fixture
def without_decomposition_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
        yield


@pytest.mark.parametrize("name", PAIRS)
def test_transforms(name: str, without_decomposition_warnings: None) -> None:
    ours, theirs, w = PAIRS[name]
    many = torch.randn(3, *X.shape, dtype=torch.float64)
    weights = torch.linspace(-1, 1, theirs(X, w).numel(), dtype=torch.float64).view_as(theirs(X, w))

    def each(function: Callable[..., Tensor]) -> list[Tensor]:
        loss = lambda x, w: (function(x, w).pow(2) * weights).sum()  # noqa: E731
        found = [
            *grad(loss, (0, 1))(X, w),
            vmap(function, (0, None))(many, w),
            vmap(grad(loss, 1), (0, None))(many, w),
            vmap(function, (1, None), 1)(many.movedim(0, 1), w),
            vmap(function, (None, 0))(X, torch.stack([w, 2 * w])),
            *vjp(function, X, w)[1](weights),
            vmap(grad(lambda x: function(x, w).pow(2).sum()))(many),
        ]
        found += [jvp(function, (X, w), (X.cos(), w.sin()))[1], jvp(grad(loss), (X, w), (X, w))[1]]
        if w.numel() < 10:
            found += [jacfwd(function, 1)(X, w), jacrev(function, 1)(X, w), hessian(loss, 1)(X, w)]
        return found

    for made, wanted in zip(each(ours), each(theirs), strict=True):
        torch.testing.assert_close(made, wanted)


def test_forward_mode_alone_and_not_inside_itself(without_decomposition_warnings: None) -> None:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, X.cos())
        tangent = forward_ad.unpack_dual(conv(dual)).tangent
        leaf = forward_ad.make_dual(X.clone().requires_grad_(), X.cos())
        assert forward_ad.unpack_dual(conv(leaf)).tangent is not None
    torch.testing.assert_close(tangent, right(X.cos(), b=None))
    one = X[:1, :, :3, :3]
    made, wanted = (hessian(lambda b: f(one, W, b).pow(3).sum())(B) for f in (conv, right))  # noqa: B023
    torch.testing.assert_close(made, wanted)
    with pytest.raises(NotImplementedError, match="forward mode inside forward mode"):
        jacfwd(jacfwd(lambda w: conv(X, w).pow(3).sum()))(W)


def test_batched_gradients_of_autograd() -> None:
    x = X.clone().requires_grad_()
    several = torch.randn(3, *right(X).shape, dtype=torch.float64)
    made, wanted = (torch.autograd.grad(f(x), x, several, is_grads_batched=True)[0] for f in (conv, right))
    torch.testing.assert_close(made, wanted)
    jacobian = torch.autograd.functional.jacobian
    small = X[:1, :, :3, :3]
    torch.testing.assert_close(jacobian(conv, small, vectorize=True), jacobian(right, small))


def test_functional_call() -> None:
    layer = mz.sparsify(nn.Sequential(nn.Conv2d(4, 6, 3)), density=0.5)
    other = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    made = functional_call(layer, other, (X.float(),))
    for name, value in layer.named_parameters():
        value.data.copy_(other[name])
    torch.testing.assert_close(made, layer(X.float()))


# -- autocast, determinism --------------------------------------------------------------------------------------------


def test_autocast_casts_what_the_declaration_names() -> None:
    x, values, bias = X.float(), VALUES.float().requires_grad_(), torch.randn(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.sparse_conv2d(x, values, PATTERN, bias)
        assert y.dtype == torch.bfloat16
        assert ops.conv2d(x, W.float().repeat(1, 2, 1, 1)).dtype == torch.bfloat16
        assert ops.conv2d(X, W.repeat(1, 2, 1, 1)).dtype == torch.float64, "float64 is never cast"
        assert ops.max_pool2d(x, 2).dtype == torch.float32
        one = torch.ones(4)
        assert ops.batch_norm(x, one, one).dtype == torch.float32
        assert ops.batch_norm(x.bfloat16(), one, one, one, one).dtype == torch.bfloat16
        # What a kernel calls is not cast again.
        gy = torch.randn(2, 6, 4, 4)
        whole = ops.conv2d_weight_grad(x[:, :2], gy, (6, 2, 3, 3), stride=2, padding=1)
    torch.testing.assert_close(whole, ops.conv2d_weight_grad(x[:, :2], gy, (6, 2, 3, 3), stride=2, padding=1))
    y.sum().backward()
    assert values.grad is not None
    assert values.grad.dtype == torch.float32


@contextlib.contextmanager
def autocast_of_another_device() -> Iterator[None]:
    """What ``torch.autocast("cuda")`` does on a machine that has one."""
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)


STATES = {
    "off": contextlib.nullcontext,
    "bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "off again": lambda: torch.autocast("cpu", enabled=False),
    "of another device": autocast_of_another_device,
    "out of the way": lambda: casting.out_of_the_way("cpu"),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(STATES)), st.sampled_from(sorted(STATES))), min_size=1, max_size=8))
def test_autocast_in_any_order_gives_what_the_dispatcher_gives(states: list[tuple[str, str]]) -> None:
    x, w, b = X[:, :2].float(), W[:, :1].float(), B.float()
    attrs = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 2}

    def both(call: Callable[..., Tensor], outer: str, inner: str) -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in (x, w, b)]
        with STATES[outer](), STATES[inner]():
            y = call(*leaves, **attrs)
            found = torch.autograd.grad(y.float().square().sum(), leaves, retain_graph=True)  # also in there
        return [y, *found, *torch.autograd.grad(y.float().square().sum(), leaves)]

    for outer, inner in states:
        ours, theirs = (both(call, outer, inner) for call in (ops.get("conv2d"), torch.ops.mezzotint.conv2d))
        for made, wanted in zip(ours, theirs, strict=True):
            assert made.dtype == wanted.dtype
            assert torch.equal(made, wanted)


def test_autocast_takes_a_plan_past_the_dispatcher(dispatched: list[str]) -> None:
    x = X.float().requires_grad_()
    for dtype in (torch.bfloat16, torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype=dtype):
            assert conv(x, W.float(), B.float()).dtype == dtype
    assert conv(x, W.float(), B.float()).dtype == torch.float32
    assert dispatched == []


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", PAIRS)
def test_deterministic_runs_give_the_same_bits(name: str) -> None:
    ours, theirs, w = PAIRS[name]
    x, leaf = X.float(), w.float()

    def run() -> list[Tensor]:
        inputs = (x.clone().requires_grad_(), leaf.clone().requires_grad_())
        y = ours(*inputs)
        return [y, *torch.autograd.grad(y.square().sum(), inputs)]

    run()
    with deterministic():
        first, second = run(), run()
    assert all(map(torch.equal, first, second))
    torch.testing.assert_close(first[0], theirs(x, leaf), rtol=1e-4, atol=1e-4)


def test_what_is_not_deterministic_is_refused_by_name() -> None:
    operator = unary("test_scattering")

    @operator.kernel(name="put")
    def put(x: Tensor) -> Tensor:
        return x.clone().put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

    x = torch.zeros(3)
    operator(x)  # there is a plan now
    with deterministic(), pytest.raises(RuntimeError, match=r"put_.*deterministic"):
        operator(x)
