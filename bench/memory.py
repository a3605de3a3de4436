"""How many bytes do weights, gradients, optimiser and index hold at their peak? ResNet-50, sparse against dense AMP.

Measured, not computed: real BF16 training steps run, and at every gradient that arrives and after every module and step
the live storages are added up: parameters, gradients, optimiser state, index arrays, and every 16-bit working copy of a
parameter that autocast or an operator has made and somebody still holds. The dense side is PyTorch's own autocast. Left
out on both sides: activations, and scratch that lives inside one kernel call (ours expands one layer's nonzeros there).

Two figures for each density: with a fixed pattern, which is what nearly all steps see, and the peak of a whole interval
of sparse momentum whose staggered windows open one layer after the other.

    python bench/memory.py [--density 0.1 0.05] [--distribution erk] [--size 64] [--batch 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

import mezzotint as mz
from mezzotint import models
from mezzotint.bench.machine import write_result
from mezzotint.sparse import sparse_layers

RESULTS = Path(__file__).parent / "results"
PARTS = ("weights", "gradients", "optimizer", "index", "working copies", "windows")
_CASTS = ("aten::_to_copy", "aten::to.dtype", "aten::clone")


class WorkingCopies(TorchDispatchMode):
    """Remembers, weakly, every tensor that a cast makes of a parameter."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()
        self._parameters = {p.untyped_storage().data_ptr() for p in parameters}
        self._copies: list[tuple[StorageWeakRef, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.name() in _CASTS and isinstance(args[0], Tensor) and isinstance(out, Tensor):
            source, made = args[0].untyped_storage(), out.untyped_storage()
            if source.data_ptr() in self._parameters and made.data_ptr() != source.data_ptr():
                self._copies.append((StorageWeakRef(made), made.nbytes()))
        return out

    def live_bytes(self) -> int:
        """Bytes of the copies that somebody still holds."""
        self._copies = [(ref, size) for ref, size in self._copies if not ref.expired()]
        return sum(size for _, size in self._copies)


class Ledger:
    """Adds up the live weight-side bytes whenever asked, and keeps the peak."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, copies: WorkingCopies) -> None:
        self.model, self.optimizer, self.copies = model, optimizer, copies
        self.peak = dict.fromkeys(PARTS, 0)
        self.topology: mz.SparseMomentum | None = None

    def note(self, *_: object) -> None:
        """Take a sample; keep it when it is the largest so far."""
        now = self.now()
        if sum(now.values()) > sum(self.peak.values()):
            self.peak = now

    def now(self) -> dict[str, int]:
        """Live bytes by part."""
        parameters = list(self.model.parameters())
        state = [t for entry in self.optimizer.state.values() for t in entry.values() if isinstance(t, Tensor)]
        return {
            "weights": storage_bytes(parameters),
            "gradients": storage_bytes(p.grad for p in parameters if p.grad is not None),
            "optimizer": storage_bytes(state),
            "index": storage_bytes(index_arrays(self.model)),
            "working copies": self.copies.live_bytes(),
            "windows": storage_bytes(self._windows()),
        }

    def _windows(self) -> list[Tensor]:
        """Dense gradients and dense moments of the windows that are open."""
        if self.topology is None:
            return []
        moments = [t for entry in self.topology._collector._open.values() for t in (entry.moments or {}).values()]
        return [*self.topology.pending_gradients(), *moments]


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages under ``tensors``."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def index_arrays(model: nn.Module) -> list[Tensor]:
    """Every index tensor that the patterns of ``model`` hold at this moment, lazily made ones included."""
    found = []
    for layer in sparse_layers(model).values():
        held = [getattr(layer.pattern, name, None) for name in type(layer.pattern).__slots__]
        found += [t for t in held if isinstance(t, Tensor)]
    return found


def measure(
    model: nn.Module, size: int, batch: int, *, plain_autocast: bool, steps: int = 3, interval: int | None = None
) -> dict[str, int]:
    """Peak live bytes by part over ``steps`` training steps, from the second one on (the optimiser has its state).

    With ``interval`` the topology moves, in windows of two steps.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    precision = mz.Precision("bf16")
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 1000, (batch,))
    copies = WorkingCopies(model.parameters())
    ledger = Ledger(model, optimizer, copies)
    if interval is not None:
        ledger.topology = mz.SparseMomentum(model, optimizer, interval=interval, total_steps=3 * interval, window=2)
    handles = [p.register_post_accumulate_grad_hook(ledger.note) for p in model.parameters()]
    handles += [m.register_forward_hook(ledger.note) for m in model.modules() if not list(m.children())]
    for _ in range(steps):
        with copies:
            with torch.autocast("cpu", torch.bfloat16) if plain_autocast else precision.autocast():
                loss = nn.functional.cross_entropy(model(images).float(), labels)
            ledger.note()
            optimizer.zero_grad(set_to_none=True)
            precision.backward(loss)
            ledger.note()
            stepped = precision.update(optimizer)
        ledger.note()
        if ledger.topology is not None:
            ledger.topology.step(stepped)
            ledger.note()
    for handle in handles:
        handle.remove()
    return ledger.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, nargs="+", default=[0.1, 0.05])
    parser.add_argument("--distribution", default="erk")
    parser.add_argument("--size", type=int, default=64, help="image side; it does not change weight-side bytes")
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    dense = measure(models.build("resnet50", num_classes=1000), options.size, options.batch, plain_autocast=True)
    rows = [measure_density(density, options, dense) for density in options.density]
    Console().print(in_table(rows, dense))
    path = write_result(
        RESULTS / "memory.json",
        {"model": "resnet50", "distribution": options.distribution, "dense": dense, "densities": rows},
    )
    Console().print(f"written to {path}")


def measure_density(density: float, options: argparse.Namespace, dense: dict[str, int]) -> dict[str, Any]:
    """Both figures of one density."""
    row: dict[str, Any] = {"density": density}
    for name in ("fixed", "moving"):
        model = mz.sparsify(models.build("resnet50", num_classes=1000), density, distribution=options.distribution)
        layers = sparse_layers(model)
        # Long enough for two steps of window for each layer, the largest among them.
        steps = {"steps": 3} if name == "fixed" else {"steps": 2 * len(layers) + 2, "interval": 2 * len(layers)}
        peak = measure(model, options.size, options.batch, plain_autocast=False, **steps)
        row |= {"nnz": sum(layer.nnz for layer in layers.values()), name: peak}
        row[f"{name}_ratio"] = sum(peak.values()) / sum(dense.values())
    return row


def in_table(rows: list[dict[str, Any]], dense: dict[str, int]) -> Table:
    """Megabytes by part: dense AMP, then both figures of each density."""
    peaks = {"dense AMP": dense}
    for row in rows:
        peaks[f"{row['density']:g}, fixed"] = row["fixed"]
        peaks[f"{row['density']:g}, moving"] = row["moving"]
    table = Table(title="ResNet-50, SGD momentum, BF16: peak megabytes, measured")
    for heading in ("part", *peaks):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part in PARTS:
        table.add_row(part, *(f"{peak[part] / 1e6:.1f}" for peak in peaks.values()))
    table.add_row("all", *(f"{sum(peak.values()) / 1e6:.1f}" for peak in peaks.values()))
    table.add_row("to dense", *(f"{sum(peak.values()) / sum(dense.values()):.3f}" for peak in peaks.values()))
    return table


if __name__ == "__main__":
    main()
