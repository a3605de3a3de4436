"""How do several processes train one network? Each computes a part of every batch; what they sum makes them one.

Started by ``torchrun``, each process (*rank*) holds the whole sparse network and takes every ``size``-th image of each
batch. After the backward passes the gradients are summed over ranks: those of active weights (nnz numbers a layer, not
the dense weight's), those of dense parameters, and the dense gradients of open windows. The loss is a mean over the
whole batch, so the sum is the gradient of that mean. Everything after it (unscaling, the check for overflow, clipping,
the optimiser, the topology's decisions) works on equal numbers and stays equal; a hash of all patterns is compared
after each update of the topology. Running statistics of batch norms are averaged over ranks in every step; the
statistics with which a batch is normalised are those of the rank's own part, as in PyTorch's DistributedDataParallel.

Rank 0 alone reads and writes the run folder.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from mezzotint.errors import MezzotintError, RunError, message

T = TypeVar("T")
_BUCKET: Final = 25 << 20  # bytes that are copied together and sent while the next are copied
_PATIENCE: Final = timedelta(hours=2)  # rank 0 may write or test for long while the others wait


@dataclass(kw_only=True)
class Ranks:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: of this process, 0 for the leader.
        size: number of processes.
        local_rank, local_size: among those on the same machine.
        payload: bytes that the last :meth:`sum_` gave to the network's library; several times that go over the wires
            of a ring.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    payload: int = field(default=0, compare=False)

    @property
    def leads(self) -> bool:
        """Whether this process reads and writes files."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the ranks, in place; all ranks must have the same ones, in this order.

        Raises:
            RunError: another rank has ended.
        """
        self.payload = 0
        if self.size == 1:
            return
        with _told():
            open_buckets = [(bucket, *self._begun(bucket)) for bucket in _buckets(tensors)]
            for bucket, flat, work in open_buckets:
                work.wait()
                for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                    tensor.copy_(part.view_as(tensor))

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its mean over the ranks, in place."""
        if self.size > 1 and tensors:
            before = self.payload
            self.sum_(tensors)
            self.payload += before
            torch._foreach_div_(list(tensors), float(self.size))

    def totals(self, *numbers: float) -> list[float]:
        """The sums over ranks of a few numbers."""
        if self.size == 1:
            return list(numbers)
        with _told():
            box = torch.tensor(numbers, dtype=torch.float64, device=_device())
            dist.all_reduce(box)
            return [float(number) for number in box.tolist()]

    def from_leader(self, action: Callable[[], T]) -> T:
        """What ``action`` returns on rank 0, which alone calls it; an error there is raised on every rank."""
        if self.size == 1:
            return action()
        found: Any = None
        if self.leads:
            try:
                found = action()
            except MezzotintError as error:
                found = error
        box = [found]
        with _told():
            dist.broadcast_object_list(box, src=0, device=_device())
        if isinstance(box[0], MezzotintError):
            box[0].told_elsewhere = not self.leads
            raise box[0]
        result: T = box[0]
        return result

    def on_leader(self, action: Callable[[], object]) -> None:
        """Call ``action`` on rank 0; an error there is raised on every rank, its result stays there."""

        def done() -> None:
            action()

        self.from_leader(done)

    def gathered(self, value: T) -> list[T]:
        """What every rank has as ``value``, in the order of the ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _told():
            dist.all_gather_object(values, value)
        return values

    def require_equal(self, what: str, value: str) -> None:
        """Compare a text over the ranks.

        Raises:
            RunError: it differs: something that is computed alike everywhere was not.
        """
        values = self.gathered(value)
        odd = [rank for rank, other in enumerate(values) if other != values[0]]
        if odd:
            raise RunError(
                message(
                    what,
                    received=f"another one on rank {', '.join(map(str, odd))} than on rank 0",
                    allowed="the same on all ranks",
                    fix="Use equal software and processors on all of them, then go on from the last checkpoint with"
                    " --resume.",
                )
            )

    def _begun(self, bucket: Sequence[Tensor]) -> tuple[Tensor, Any]:
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        self.payload += flat.numel() * flat.element_size()
        return flat, dist.all_reduce(flat, async_op=True)


def restarted() -> bool:
    """Whether torchrun has started this process again after another one of its group had ended."""
    return _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def described() -> Ranks:
    """What the environment variables of torchrun say; one process where there are none.

    Raises:
        RunError: they contradict each other.
    """
    names = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}
    given = {key: os.environ[name] for key, name in names.items() if name in os.environ}
    if len(given) < len(names):
        return Ranks()
    numbers = {key: int(text) if text.isdigit() else -1 for key, text in given.items()}
    if not (0 <= numbers["rank"] < numbers["size"] and 0 <= numbers["local_rank"] < numbers["local_size"]):
        told = ", ".join(f"{names[key]}={text}" for key, text in given.items())
        raise RunError(message("environment", received=told, allowed="the numbers that torchrun sets"))
    return Ranks(**numbers)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks of this run: inside of the context they can talk to each other.

    Args:
        device: of the configuration; NCCL carries the numbers of GPUs, Gloo those of CPUs.

    Raises:
        RunError: the others cannot be reached.
    """
    ranks = described()
    if ranks.size == 1 or dist.is_initialized():
        yield ranks
        return
    # Its functions have the process group of their import as a default argument. Imported later, by torch.compile's
    # machinery, they would keep Gloo's threads alive beyond the end of the interpreter, which then aborts now and then.
    importlib.import_module("torch.distributed.nn.functional")
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(ranks.local_rank)
    with _told():
        store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
        # After a restart torchrun may hand out the same store, in which the addresses of the dead ranks still lie.
        fresh = PrefixStore(f"restart {_restarts()}", store)
        backend = "nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=fresh, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield ranks
        with _told():
            dist.barrier()  # rank 0, which serves the others' store, is still busy with its last files
    finally:
        dist.destroy_process_group()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, cut into parts of one type and of at most ``_BUCKET`` bytes or one tensor."""
    bucket: list[Tensor] = []
    room = _BUCKET
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if bucket and (tensor.dtype != bucket[0].dtype or size > room):
            yield bucket
            bucket, room = [], _BUCKET
        bucket.append(tensor)
        room -= size
    if bucket:
        yield bucket


def _device() -> torch.device:
    """Where small messages lie: NCCL sends from GPUs only."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def _told() -> Iterator[None]:
    """A failure of the connection as an error that tells the remedy."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise RunError(
            message(
                "connection of the ranks",
                received=" ".join(str(error).split())[:300],
                allowed="all ranks alive until the end",
                fix="Look for the first error of another rank. --resume goes on from the last checkpoint, and so does"
                " torchrun by itself with --max-restarts.",
            )
        ) from error
