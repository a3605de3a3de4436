"""Does a pass that is done again do what its steps would do, whatever has happened meanwhile?"""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import mezzotint as mz
from mezzotint import models
from mezzotint.kernels import arena, passes
from mezzotint.kernels.recording import Recording
from mezzotint.lowering import tapes
from mezzotint.lowering.differentiable import DifferentiableSegment
from mezzotint.sparse import Pattern, SparseConv2d
from mezzotint.sparse.window import DenseWindow

CHANNELS, SIDE = 16, 24
BATCH = 32


class Net(nn.Module):
    """A stem, a convolution with bias and batch norm, one with bias alone, pooling, a residual; activations that the
    arena holds, and smaller ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(CHANNELS)
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.pool = nn.MaxPool2d(4)
        self.head = nn.Conv2d(CHANNELS, 8, 3)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        y = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.conv2(y))
        return self.linear(self.average(self.head(self.pool(x))).flatten(1))  # type: ignore[no-any-return]


class Bench:
    """A network under training, and everything that can happen to it. What is seen on the way is kept."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = mz.sparsify(Net(), 0.3, exclude=["stem", "linear"], layout="native")
        self.model.forward.always = True  # type: ignore[union-attr]  # the attached one
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.seen: list[Tensor] = []
        self.held: list[Tensor] = []
        self.dtype = torch.float32
        self.wants_input_grad = False

    @property
    def convs(self) -> list[SparseConv2d]:
        return [module for module in self.model.modules() if isinstance(module, SparseConv2d)]

    def batch(self, size: int = BATCH) -> Tensor:
        x = torch.randn(size, 3, SIDE, SIDE)
        return x.requires_grad_() if self.wants_input_grad else x

    def loss(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            out = self.model(x)
        self.seen.append(out.detach().clone())
        return F.cross_entropy(out.float(), torch.arange(len(x)) % 5)

    def step(self, size: int = BATCH) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        x = self.batch(size)
        self.loss(x).backward()
        self.see_gradients(x)
        self.optimizer.step()

    def see_gradients(self, x: Tensor | None = None) -> None:
        for tensor in (x, *self.model.parameters()):
            if tensor is not None and tensor.grad is not None:
                self.seen.append(tensor.grad.clone())

    def small_step(self) -> None:
        self.step(5)

    def evaluation(self) -> None:
        self.model.eval()
        with torch.no_grad():
            self.loss(self.batch())
        self.model.train()

    def without_gradients(self) -> None:
        with torch.no_grad():
            self.loss(self.batch())

    def accumulation(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(3):
            self.loss(self.batch()).backward()
        self.see_gradients()
        self.optimizer.step()

    def two_at_a_time(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        one, other = self.loss(self.batch()), self.loss(self.batch())
        other.backward()
        one.backward()
        self.see_gradients()

    def gradients_of_some(self) -> None:
        some = [self.model.conv1.values, self.model.linear.bias]  # type: ignore[union-attr]  # modules
        grads = torch.autograd.grad(self.loss(self.batch()), some)  # type: ignore[arg-type]  # tensors
        self.held += grads
        self.seen += [grad.clone() for grad in grads]

    def backward_at_once(self) -> None:
        """As while another thread's pass is under way."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.batch())
        with by_the_steps():
            loss.backward()
        self.see_gradients()

    def other_weights(self) -> None:
        """Gradients are those at the weights of the forward pass, which the model has no more."""
        given = {name: (value.detach() * 2).requires_grad_() for name, value in self.model.named_parameters()}
        out = torch.func.functional_call(self.model, given, (self.batch(),))
        self.seen += torch.autograd.grad(out.float().square().mean(), list(given.values()))

    def parametrised(self) -> None:
        if not nn.utils.parametrize.is_parametrized(self.model.stem):  # type: ignore[arg-type]  # a module
            nn.utils.parametrizations.weight_norm(self.model.stem)  # type: ignore[arg-type]  # a module

    def never_backward(self) -> None:
        self.loss(self.batch())

    def graph_that_lasts(self) -> None:
        self.held.append(self.loss(self.batch()))

    def backward_of_what_lasts(self) -> None:
        if self.held and self.held[-1].requires_grad:
            self.optimizer.zero_grad(set_to_none=True)
            self.held.pop().backward()
            self.see_gradients()

    def spoiled_gradients(self) -> None:
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                self.held.append(parameter.grad.mul_(torch.nan))

    def other_pattern(self) -> None:
        layer = self.convs[1]
        kept = torch.randperm(layer.pattern.numel)[: layer.pattern.nnz].sort().values
        layer.set_pattern(Pattern(kept, layer.weight_shape), torch.randn(len(kept)) * 0.1)

    def fewer_weights(self) -> None:
        layer = self.convs[0]
        kept = layer.pattern.indices[::2]
        layer.set_pattern(Pattern(kept, layer.weight_shape), layer.values.detach()[::2].clone())
        self.optimizer.state.clear()  # the momentum of weights that are gone

    def no_weights(self) -> None:
        layer = self.convs[-1]
        layer.set_pattern(Pattern(torch.empty(0, dtype=torch.int32), layer.weight_shape), torch.empty(0))
        self.optimizer.state.clear()

    def open_window(self) -> None:
        self.convs[0].open_window(DenseWindow())

    def see_window(self) -> None:
        window = self.convs[0].training_window
        if window is not None and (taken := window.take()) is not None:
            self.seen.append(taken)

    def close_window(self) -> None:
        self.see_window()
        self.convs[0].close_window()

    def other_momentum(self) -> None:
        norm: nn.BatchNorm2d = self.model.bn1  # type: ignore[assignment]  # a module
        norm.momentum = {0.1: 0.3, 0.3: None, None: 0.1}[norm.momentum]

    def other_eps(self) -> None:
        self.model.bn1.eps *= 2  # type: ignore[union-attr, operator]  # a module

    def freeze(self) -> None:
        self.model.bn.train(not self.model.bn.training)  # type: ignore[union-attr, operator]  # a module

    def fixed_bias(self) -> None:
        bias: Tensor = self.model.conv2.bias  # type: ignore[union-attr, assignment]  # a module
        bias.requires_grad_(not bias.requires_grad)

    def loaded(self) -> None:
        state = {name: value.detach() * 0.9 for name, value in self.model.state_dict().items() if "weight" in name}
        self.model.load_state_dict(state, strict=False)

    def moved(self) -> None:
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            tensor.data = tensor.data.clone()

    def bfloat16(self) -> None:
        self.dtype = torch.bfloat16 if self.dtype == torch.float32 else torch.float32

    def input_grad(self) -> None:
        self.wants_input_grad = not self.wants_input_grad

    def threads(self) -> None:
        torch.set_num_threads(3 - torch.get_num_threads())

    def released(self) -> None:
        arena.release()

    def copied(self) -> None:
        self.step()
        self.seen.append(copy.deepcopy(self.model)(self.batch()).detach())

    def tapes(self) -> tapes.Tapes:
        """Of its one segment in training."""
        (lowered,) = self.model.__dict__["forward"]._lowered.values()
        (segment,) = (module for module in lowered.module.modules() if isinstance(module, DifferentiableSegment))
        return segment.program.tapes

    def result(self) -> list[Tensor]:
        state = [value for value in self.model.state_dict().values() if isinstance(value, Tensor)]
        return [*self.seen, *(tensor.detach().clone() for tensor in state)]


_TOOLS = {"convs", "batch", "loss", "step", "see_gradients", "tapes", "result"}
HAPPENINGS = sorted(name for name in vars(Bench) if not name.startswith("_") and name not in _TOOLS)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry each time that a recording is done again."""
    done: list[None] = []
    do_again = passes.do_again

    def counting(recording: Recording) -> None:
        done.append(None)
        do_again(recording)

    monkeypatch.setattr(passes, "do_again", counting)
    return done


@pytest.fixture(autouse=True)
def _spoiled_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tape finds in its memory is of no use: 16-bit and 32-bit words of ones are NaN."""
    lease = tapes.Tape.lease

    def spoiling(self: tapes.Tape) -> arena.Lease | None:
        leased = lease(self)
        for view in () if leased is None else leased.views:
            torch.frombuffer(view, dtype=torch.uint8).fill_(255)
        return leased

    monkeypatch.setattr(tapes.Tape, "lease", spoiling)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@contextmanager
def by_the_steps() -> Iterator[None]:
    """As while another pass is under way."""
    mine = passes._one_at_a_time.acquire(blocking=False)
    try:
        yield
    finally:
        if mine:
            passes._one_at_a_time.release()


def same(run: Callable[[], list[Tensor]]) -> list[Tensor]:
    torch.set_num_threads(1)
    with by_the_steps():
        expected = run()
    torch.set_num_threads(1)
    found = run()
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert torch.equal(mine, other) or (mine.isnan() & other.isnan() | (mine == other)).all()
    return found


def happen(names: list[str]) -> list[Tensor]:
    bench = Bench()
    for name in names:
        getattr(bench, name)()
    return bench.result()


@pytest.mark.parametrize("happening", HAPPENINGS)
def test_steps_before_and_after(happening: str, counted: list[None]) -> None:
    found = same(lambda: happen(["step", "step", happening, "step", "step", happening, "step", "step"]))
    assert counted
    assert not any(tensor.isnan().any() for tensor in found)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["step", *HAPPENINGS]), min_size=3, max_size=14))
def test_whatever_happens(names: list[str]) -> None:
    same(lambda: happen([*names, "step", "step"]))


def test_every_step_is_done_again(counted: list[None]) -> None:
    happen(["step"] * 5)
    assert len(counted) == 2 * 4


def test_last_batches_have_tapes_of_their_own(counted: list[None]) -> None:
    happen(["step", "step", "small_step"] * 3)
    assert len(counted) == 2 * (9 - 2)


def test_accumulated_passes_are_done_again(counted: list[None]) -> None:
    happen(["accumulation"] * 2)
    assert len(counted) == 2 * 5


def test_other_threads_leave_a_recording_alone() -> None:
    bench, footprint = Bench(), arena.Footprint()
    loss = bench.loss(bench.batch())
    with passes.one_pass(), arena.leaves_footprint(footprint):
        thread = threading.Thread(target=loss.backward)
        thread.start()
        thread.join()
        arena.empty((1 << 20,), torch.float32)
    assert sum(end - begin for _, begin, end in footprint.places) == 4 << 20


def test_inputs_of_all_sizes_are_not_all_remembered() -> None:
    bench = Bench()
    for size in range(1, 8):
        bench.step(size)
    assert len(bench.tapes()._known) == tapes._REMEMBERED


def test_sparse_momentum_with_open_windows(counted: list[None]) -> None:
    """Most steps have a window open: they are done again all the same."""

    def train() -> list[Tensor]:
        torch.manual_seed(0)
        model = mz.sparsify(models.build("resnet20", num_classes=10), 0.2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        topology = mz.SparseMomentum(model, optimizer, interval=100, total_steps=300, window=20)
        precision = mz.Precision("bf16")
        for _ in range(30):
            with precision.autocast():
                loss = F.cross_entropy(model(torch.randn(128, 3, 32, 32)), torch.randint(0, 10, (128,)))
            optimizer.zero_grad(set_to_none=True)
            topology.step(precision.step(loss, optimizer))
        return [value for value in model.state_dict().values() if isinstance(value, Tensor)]

    same(train)
    assert len(counted) > 10


def test_nobody_keeps_a_gradient_that_changes() -> None:
    bench = Bench()
    grads = []
    for _ in range(3):
        bench.gradients_of_some()
        grads.append([grad.clone() for grad in bench.held[-2:]])
    flat = [grad for pair in grads for grad in pair]
    assert all(torch.equal(mine, then) for mine, then in zip(bench.held, flat, strict=True))


def test_memory_is_what_it_was() -> None:
    """No activations are held between the steps."""
    gc.collect()  # what other tests have left is none of its business
    bench = Bench()
    for _ in range(3):
        bench.step()
    arena.release()
    assert arena._activations._used == 0
