"""How many bytes do weights, gradients, optimiser and index hold at their peak? ResNet-50, sparse against dense AMP.

Measured, not computed: real BF16 training steps run, and at every gradient that arrives and after every module and step
the live storages are added up: parameters, gradients, optimiser state, index arrays, and every 16-bit working copy of a
parameter that autocast or an operator has made and somebody still holds. The dense side is PyTorch's own autocast. Left
out on both sides: activations, and scratch that lives inside one kernel call (ours expands one layer's nonzeros there).

    python bench/memory.py [--density 0.1] [--distribution erk] [--size 64] [--batch 2]
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
PARTS = ("weights", "gradients", "optimizer", "index", "working copies")
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
        }


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


def measure(model: nn.Module, size: int, batch: int, *, plain_autocast: bool, steps: int = 3) -> dict[str, int]:
    """Peak live bytes by part over ``steps`` training steps, from the second one on (the optimiser has its state)."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    precision = mz.Precision("bf16")
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 1000, (batch,))
    copies = WorkingCopies(model.parameters())
    ledger = Ledger(model, optimizer, copies)
    handles = [p.register_post_accumulate_grad_hook(ledger.note) for p in model.parameters()]
    handles += [m.register_forward_hook(ledger.note) for m in model.modules() if not list(m.children())]
    for _ in range(steps):
        with copies:
            with torch.autocast("cpu", torch.bfloat16) if plain_autocast else precision.autocast():
                loss = nn.functional.cross_entropy(model(images).float(), labels)
            ledger.note()
            optimizer.zero_grad(set_to_none=True)
            precision.step(loss, optimizer)
        ledger.note()
    for handle in handles:
        handle.remove()
    return ledger.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--distribution", default="erk")
    parser.add_argument("--size", type=int, default=64, help="image side; it does not change weight-side bytes")
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    dense = measure(models.build("resnet50", num_classes=1000), options.size, options.batch, plain_autocast=True)
    sparse_model = mz.sparsify(
        models.build("resnet50", num_classes=1000), options.density, distribution=options.distribution
    )
    sparse = measure(sparse_model, options.size, options.batch, plain_autocast=False)
    nnz = sum(layer.pattern.nnz for layer in sparse_layers(sparse_model).values())
    ratio = sum(sparse.values()) / sum(dense.values())

    table = Table(title=f"ResNet-50, SGD momentum, BF16, density {options.density}: peak bytes, measured")
    for heading in ("part", "dense AMP", "sparse", "ratio"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part in PARTS:
        share = f"{sparse[part] / dense[part]:.3f}" if dense[part] else "-"
        table.add_row(part, f"{dense[part]:,}", f"{sparse[part]:,}", share)
    table.add_row("all", f"{sum(dense.values()):,}", f"{sum(sparse.values()):,}", f"{ratio:.3f}")
    Console().print(table)
    path = write_result(
        RESULTS / "memory.json",
        {
            "model": "resnet50",
            "density": options.density,
            "distribution": options.distribution,
            "nnz": nnz,
            "dense": dense,
            "sparse": sparse,
            "ratio": ratio,
        },
    )
    Console().print(f"nnz {nnz:,}; written to {path}")


if __name__ == "__main__":
    main()
