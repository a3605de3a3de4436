"""Do we compute what ONNX Runtime computes? Six architectures from PyTorch's exporter.

As PyTorch initialises them, and with larger random weights and batch norms that fit them, dense and with 90 % zeros.

    pip install onnx onnxruntime
    python bench/onnx_agreement.py [--batch 2 16] [-o bench/results/onnx_agreement.json]

Differences are those of the logits: the greatest, and the same over the greatest logit; and how far either engine is
from PyTorch in FP64. Below 1e-4 must be the first of untrained networks, and the second of the others: logits of some
of them are so large that FP32 says no more.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mezzotint.bench.machine import write_result
from mezzotint.deploy import Session, load_onnx
from mezzotint.sparse import sparse_layers
from onnx_networks import NETWORKS, exported, plain, prepared

ROOT = Path(__file__).resolve().parents[1]
BOUND = 1e-4


def compared(
    name: str, weights: str, network: torch.nn.Module, density: float, batches: list[int], size: int
) -> list[dict[str, Any]]:
    """One row a batch."""
    import onnxruntime

    content = exported(network, size)
    network.double()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        path.write_bytes(content)
        session = Session(path)
        layers = sparse_layers(load_onnx(path))
    theirs = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rows = []
    for batch in batches:
        images = np.random.default_rng(batch).standard_normal((batch, 3, size, size), dtype=np.float32)
        ours, wanted = session.run([images])[0], theirs.run(None, {"image": images})[0]
        with torch.no_grad():
            exact = network(torch.from_numpy(images).double()).numpy()
        scale = float(np.abs(exact).max())
        greatest, our_error, their_error = (
            float(np.abs(one - other).max()) for one, other in ((ours, wanted), (ours, exact), (wanted, exact))
        )
        row: dict[str, Any] = {"network": name, "weights": weights, "density": density, "batch": batch}
        row["sparse_layers"] = len(layers)
        row |= {"largest_logit": scale, "difference": greatest, "relative": greatest / scale}
        rows.append({**row, "error": our_error, "error_of_onnxruntime": their_error})
    return rows


def main() -> None:
    """Compare all, print a table, write JSON; an agreement beyond the bound is an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "bench" / "results" / "onnx_agreement.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    table = Table("network", "weights", "density", "batch", "sparse layers", "largest logit", "difference", "relative")
    table.add_column("from FP64, ours")
    table.add_column("theirs")
    for name in NETWORKS:
        networks = [("untrained", plain(name), 1.0), *(("larger", prepared(name, d), d) for d in (1.0, 0.1))]
        for weights, network, density in networks:
            found = compared(name, weights, network, density, arguments.batch, arguments.size)
            rows += found
            for row in found:
                table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    versions = {name: metadata.version(name) for name in ("torch", "onnx", "onnxruntime")}
    write_result(arguments.output, {"bound": BOUND, "size": arguments.size, "versions": versions, "rows": rows})
    for weights, kind in (("untrained", "difference"), ("larger", "relative")):
        worst = max(row[kind] for row in rows if row["weights"] == weights)
        if worst > BOUND:
            raise SystemExit(f"{weights} weights: the worst {kind} is {worst:.2g}, and {BOUND} is allowed")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
