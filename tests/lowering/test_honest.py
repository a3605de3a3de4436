"""Does a model that is led natively compute what its forward says, whatever Python is in that forward?"""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import mezzotint as mz
from mezzotint.lowering import attach, explain
from mezzotint.sparse import sparse_layers


class Base(nn.Module):
    """Convolutions with what belongs to them, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)
        self.alpha = 0.5
        self.seen: Any = []
        self.scale = nn.Parameter(torch.ones(16, 1, 1))
        self.register_buffer("offset", torch.zeros(1, 16, 1, 1))

    def features(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.body(x))
        return found

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


def images(count: int = 4, side: int = 6) -> Tensor:
    return torch.randn(count, 8, side, side, generator=torch.Generator().manual_seed(1))


def pair(kind: type[Base]) -> tuple[Base, Base]:
    """The same network led natively, and not."""
    torch.manual_seed(0)
    plain = kind()
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight, 1.0, 0.2)
    mz.sparsify(plain, 0.3, layout="plain")
    led = copy.deepcopy(plain)
    attach(led, always=True)
    return led, plain


def assert_same(one: Any, two: Any) -> None:
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def assert_agree(led: Base, plain: Base, *inputs: Any) -> None:
    assert_same(led(*inputs), plain(*inputs))


def why(led: Base) -> str:
    """The reason for the plain layout; empty where the model is led."""
    return explain(led).partition("plain layout, because ")[2] if "plain layout, because" in explain(led) else ""


class MayTakeMore(Base):
    def forward(self, x: Tensor, aux: Tensor | None = None, twice: bool = False, times: float = 1.0) -> Any:
        y = self.features(x) * times
        if aux is not None:
            y = y + aux
        return (y, y) if twice else y


def test_arguments_that_are_not_given_have_their_defaults() -> None:
    led, plain = pair(MayTakeMore)
    x, aux = images(), torch.randn(4, 16, 6, 6)
    more = ((x, aux, True), (x, None), (x, aux, False, 2.0), (x, None, True, 3.0))
    for inputs in ((x,), (x, aux), (x, None, True), (x,), *more):
        found = led(*inputs)
        assert isinstance(found, tuple) == (True in inputs[2:3])
        assert_same(found, plain(*inputs))
        assert not why(led)


@pytest.mark.parametrize("layout", ["native", "auto"])
@pytest.mark.parametrize("example", [(), (torch.ones(4, 16, 6, 6),), (None, True), (None, False, 2.0)], ids=len)
def test_a_lowered_model_takes_optional_arguments_too(layout: str, example: tuple[Any, ...]) -> None:
    _, plain = pair(MayTakeMore)
    lowered = mz.lower(plain.eval(), (images(), *example), layout=layout)
    assert lowered.native_steps > 0
    with torch.no_grad():
        for more in (example, (), (torch.randn(4, 16, 6, 6),), (None, True), (None, False, 3.0)):
            assert_same(lowered(images(), *more), plain(images(), *more))


class Attribute(Base):
    def forward(self, x: Tensor) -> Any:
        return self.features(x) * self.alpha


def test_attributes_are_those_of_the_call() -> None:
    led, plain = pair(Attribute)
    for alpha in (0.5, 0.0, 2.0, 0.5):
        led.alpha = plain.alpha = alpha
        assert_agree(led, plain, images())
        assert not why(led)


class Tensors(Base):
    def forward(self, x: Tensor) -> Any:
        return self.features(x) * self.scale + self.offset


def test_parameters_and_buffers_that_are_replaced() -> None:
    led, plain = pair(Tensors)
    led(images())
    for each in (led, plain):
        each.scale = nn.Parameter(torch.full((16, 1, 1), 5.0))
        each.offset = torch.ones(1, 16, 1, 1)
    assert_agree(led, plain, images())
    led(images()).sum().backward()
    assert led.scale.grad is not None
    state = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in plain.state_dict().items()}
    led.load_state_dict(state, assign=True)
    plain.load_state_dict(state)
    assert_agree(led, plain, images())
    changed = {"scale": torch.full((16, 1, 1), 3.0)}
    assert_same(
        torch.func.functional_call(led, changed, images()), torch.func.functional_call(plain, changed, images())
    )
    assert_agree(led, plain, images())
    assert not why(led)


class Writes(Base):
    def forward(self, x: Tensor) -> Any:
        self.seen = self.features(x)
        return self.seen


class Appends(Base):
    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        self.seen.append(y)
        return y


class Sums(Base):
    def forward(self, x: Tensor) -> Any:
        total = torch.zeros(1)
        total += self.features(x).mean()
        return total


class Draws(Base):
    def forward(self, x: Tensor) -> Any:
        return self.features(x) + torch.rand(1) + random.random() + np.random.rand()


class NoGradient(Base):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            y = self.body(x)
        return self.last(y)


class NoAutocast(Base):
    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        with torch.autocast("cpu", enabled=False):
            return self.head(y.float().mean((2, 3)))


class Asks(Base):
    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        return y * 2 if isinstance(y, Tensor) else y


class Late(Base):
    def forward(self, x: Tensor) -> Any:
        a = x * 2
        t = a[:, :1] + torch.sigmoid(self.features(x))
        b = torch.relu_(a)
        return t.mean() + b.mean()


REFUSED: dict[type[Base], str] = {
    Writes: "its forward changes the attribute 'seen' of Writes",
    Appends: "its forward changes the attribute 'seen' of Appends",
    Sums: "works in place on a tensor that the forward makes anew at each call",
    Draws: "its forward draws random numbers that depend on no tensor",
    NoGradient: "turns gradients or autocast on or off",
    NoAutocast: "turns gradients or autocast on or off",
    Asks: "takes another way than with tensors",
    Late: "works in place on memory that",
}


@pytest.mark.parametrize(("kind", "reason"), REFUSED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_a_graph_cannot_say_is_left_to_python(kind: type[Base], reason: str) -> None:
    led, plain = pair(kind)
    for repeat in range(3):
        for each in (led, plain):
            torch.manual_seed(repeat)
            random.seed(repeat)
            np.random.seed(repeat)
            with torch.autocast("cpu", torch.bfloat16, enabled=kind is NoAutocast):
                result = each(images())
            result.float().sum().backward()
            each.seen = [result]
        assert led.seen[0].dtype == plain.seen[0].dtype
        assert_same(led.seen[0], plain.seen[0])
    assert reason in why(led)
    grads = [[p.grad is None for p in each.parameters()] for each in (led, plain)]
    assert grads[0] == grads[1]
    assert [name for name in vars(led) if name.startswith("_tensor")] == []


def test_planning_leaves_no_trace() -> None:
    led, plain = pair(Base)
    state, draws = copy.deepcopy(led.state_dict()), (torch.get_rng_state(), random.getstate())
    calls: list[int] = []
    led.body.register_forward_hook(lambda *_: calls.append(1))
    led.forward.outlook(images(), 32)
    assert calls == []
    assert all(torch.equal(value, state[name]) for name, value in led.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws[0])
    assert random.getstate() == draws[1]
    assert_agree(led, plain, images())
    assert_same(dict(led.named_buffers()), dict(plain.named_buffers()))


@pytest.mark.parametrize("kind", [Asks, Draws, MayTakeMore])
def test_sessions_of_such_a_network(kind: type[Base], caplog: pytest.LogCaptureFixture) -> None:
    plain = pair(kind)[1].eval()
    session = mz.deploy.Session(plain)
    runs: tuple[Callable[[], Any], ...] = (lambda: session.run([images()])[0], lambda: plain(images()).detach().numpy())
    for draw in range(2):
        results = []
        for run in runs:
            torch.manual_seed(draw)
            random.seed(draw)
            np.random.seed(draw)
            results.append(run())
        np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)
    assert ("runs in PyTorch alone" in caplog.text) == (kind in REFUSED)


class Counts(Base):
    def forward(self, x: Tensor) -> Any:
        self.offset.add_(1)
        return self.features(x) + self.offset


def test_a_forward_that_writes_into_a_buffer_is_led() -> None:
    led, plain = pair(Counts)
    for each in (led, plain):
        each.eval()
    for _ in range(3):
        assert_agree(led, plain, images())
    assert_same(led.offset, plain.offset)
    assert not why(led)


class Position(Base):
    def forward(self, x: Tensor) -> Any:
        return self.features(x) + self.features(x[:1])


class Pooled(Base):
    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        return y + self.last(F.adaptive_avg_pool2d(self.body(x), 1))


@pytest.mark.parametrize("kind", [Position, Pooled])
def test_sums_of_tensors_that_are_of_one_shape_in_some_images_only(kind: type[Base]) -> None:
    led, plain = pair(kind)
    for module in (led, plain):
        module.eval()
    for shape in ((1, 1), (4, 6), (2, 3), (4, 1), (4, 6), (1, 6)):
        assert_agree(led, plain, images(*shape))
    assert not why(led)


class Dictionary(Base):
    def forward(self, x: Any) -> Any:
        return self.features(x["x"] if isinstance(x, dict) else x[0])


def test_inputs_that_are_no_tensors() -> None:
    led, plain = pair(Dictionary)
    assert_agree(led, plain, {"x": images()})
    assert_agree(led, plain, [images()])
    assert_agree(led, plain, (images(), images()))


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpoints(reentrant: bool) -> None:
    led, plain = pair(Base)
    for each in (led, plain):
        x = images().requires_grad_()
        for _ in range(2):
            checkpoint(each, x, use_reentrant=reentrant).square().mean().backward()
    for one, two in zip(led.parameters(), plain.parameters(), strict=True):
        assert_same(one.grad, two.grad)
    assert not why(led)


def test_an_exception_of_a_hook_is_the_users() -> None:
    class Enough(Exception):
        pass

    led, _ = pair(Base)
    calls: list[int] = []

    def hook(*_: Any) -> None:
        calls.append(1)
        raise Enough

    led.last.register_forward_hook(hook)
    with pytest.raises(Enough):
        led(images())
    assert len(calls) == 1
    assert led.body[1].num_batches_tracked == 1


def test_a_forward_that_was_replaced_stays() -> None:
    model = Base()
    model.forward = lambda x: torch.zeros(1)  # type: ignore[method-assign,assignment]
    assert mz.sparsify(model, 0.3)(images()).shape == (1,)
    assert mz.densify(model)(images()).shape == (1,)


@pytest.mark.parametrize("name", ["body", "body.0", "body.1", "body.2"])
def test_a_forward_that_was_replaced_inside_counts(name: str) -> None:
    led, plain = pair(Base)
    for each in (led, plain):
        module = each.get_submodule(name)
        module.forward = lambda x, own=module.forward: own(x) + 1
    assert_agree(led, plain, images())
    assert "native" in explain(led)


def test_layers_that_are_changed_later() -> None:
    class Pools(Base):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Any:
            return self.last(self.pool(self.body(x)))

    led, plain = pair(Pools)
    assert_agree(led, plain, images())
    for each in (led, plain):
        each.pool.kernel_size = each.pool.stride = 3
    assert_agree(led, plain, images())
    assert not why(led)
    with torch.autocast("cpu", torch.bfloat16):
        led(images())
    led.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert led(images()).dtype == torch.bfloat16


def together(count: int, run: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            run(number)
        except BaseException as error:  # noqa: BLE001  what a thread raises is told by the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_that_call_for_the_first_time() -> None:
    led, plain = pair(Base)
    for each in (led, plain):
        each.eval()
    found: list[Tensor] = [torch.empty(0)] * 6

    def run(number: int) -> None:
        found[number] = led(images())

    together(6, run)
    for result in found:
        assert_same(result, plain(images()))


def test_models_of_other_threads_run_while_one_is_planned() -> None:
    begun, done, other = threading.Event(), threading.Event(), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    class Waits(Base):
        def forward(self, x: Tensor) -> Any:
            begun.set()
            assert done.wait(60)
            return self.features(x)

    led, plain = pair(Waits)

    def run(number: int) -> None:
        if number == 0:
            assert_agree(led, plain, images())
            return
        assert begun.wait(60)
        try:
            other(torch.zeros(2, 4)).sum().backward()
        finally:
            done.set()

    together(2, run)
    assert not why(led)


def test_nothing_is_planned_for_no_images() -> None:
    led, plain = pair(Base)
    for each in (led, plain):
        each.eval()
    assert led(images()[:0]).shape == (0, 5)
    assert_agree(led, plain, images())
    assert not why(led)
    assert len(sparse_layers(led)) == 3
