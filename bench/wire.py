"""How many bytes go over the wire in a training step? Sparse and dense, between two hosts that the kernel makes up.

Two network namespaces joined by a virtual cable stand for two machines, one rank on each (needs root and `ip`, from
Debian's iproute2). Whole runs of ``mezzotint train`` (ResNet-20 on the embedded digits) talk over the cable, and its
counters tell what went through, headers and all; PyTorch's DistributedDataParallel trains the dense network beside.

    python bench/wire.py [--density 0.1]

Beside the bytes of the cable stands the payload, computed from the numbers that are reduced: with it the bound holds
for any network. Windows send dense gradients too, in 44 of every ``interval`` steps; their share is told for ResNet-50
at an interval of one epoch of ImageNet, 5,004 steps, and of WRN-28-2 at CIFAR-10's 390.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import mezzotint as mz
from mezzotint import models
from mezzotint.bench.machine import write_result
from mezzotint.sparse import sparse_layers

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("mezzotint-a", "mezzotint-b")
ADDRESSES = ("10.213.77.1", "10.213.77.2")
CABLE = "mzcable"
EPOCHS, BATCH, STEPS = 4, 49, 29  # 1,437 digits

CONFIG = """
name = "wire"
threads = 1
[data]
source = "digits"
batch_size = {batch}
[model]
name = "resnet20"
[sparsity]
density = {density}
method = "{method}"
exclude = ["conv1"]
interval = {interval}
window = 44
[precision]
mode = "bf16"
[schedule]
epochs = {epochs}
[run]
samples = 0
keep = 1
"""

DDP = """
import torch, torch.distributed as dist
from mezzotint import models
dist.init_process_group("gloo")
torch.manual_seed(0)
network = models.build("resnet20", num_classes=10, in_channels=1, image_size=8)
model = torch.nn.parallel.DistributedDataParallel(network)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for step in range({steps}):
    images, labels = torch.randn({half}, 1, 8, 8), torch.randint(0, 10, ({half},))
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
"""


@contextmanager
def hosts() -> Iterator[None]:
    """Two namespaces with one cable between them; gone afterwards."""
    _ip("netns", "add", HOSTS[0])
    _ip("netns", "add", HOSTS[1])
    try:
        _ip("link", "add", CABLE, "netns", HOSTS[0], "type", "veth", "peer", "name", CABLE, "netns", HOSTS[1])
        for host, address in zip(HOSTS, ADDRESSES, strict=True):
            for words in (
                ("addr", "add", f"{address}/24", "dev", CABLE),
                ("link", "set", CABLE, "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("-n", host, *words)
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def cable_bytes() -> int:
    """What host a has sent and received so far."""
    folder = f"/sys/class/net/{CABLE}/statistics"
    told = subprocess.run(
        ["ip", "netns", "exec", HOSTS[0], "cat", f"{folder}/tx_bytes", f"{folder}/rx_bytes"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sum(map(int, told.split()))


def together(words: list[str]) -> int:
    """Run ``words`` on both hosts by torchrun; the bytes that went over the cable meanwhile."""
    before = cable_bytes()
    started = []
    for place, host in enumerate(HOSTS):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(place)]
        launcher += ["--nproc-per-node", "1", "--master-addr", ADDRESSES[0], "--master-port", "29511"]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": CABLE}
        command = ["ip", "netns", "exec", host, *launcher, *words]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    if any(process.wait(timeout=500) for process in started):
        raise SystemExit("a rank failed; its error stands above")
    return cable_bytes() - before


def measured(density: float) -> list[dict[str, Any]]:
    """Bytes a step over the cable, of each kind of run."""
    rows = []
    with hosts(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def trained(label: str, **settings: Any) -> None:
            totals = []
            for epochs in (1, EPOCHS):  # the difference leaves out what is said at the beginning and at the end
                text = CONFIG.format(
                    **{"density": density, "method": "static", "interval": 58, **settings}, epochs=epochs, batch=BATCH
                )
                config = folder / f"{label}-{epochs}.toml".replace(" ", "-")
                config.write_text(text, encoding="utf-8")
                totals.append(together(["-m", "mezzotint", "train", str(config), "-o", str(config.with_suffix(""))]))
            rows.append({"run": label, "bytes_per_step": (totals[1] - totals[0]) / ((EPOCHS - 1) * STEPS)})

        trained("dense", density=1.0)
        trained("sparse, fixed pattern")
        trained("sparse momentum, interval 58", method="sparse_momentum")
        totals = []
        for epochs in (1, EPOCHS):
            script = folder / f"ddp-{epochs}.py"
            script.write_text(DDP.format(steps=epochs * STEPS, half=BATCH // 2), encoding="utf-8")
            totals.append(together([str(script)]))
        rows.append({"run": "PyTorch DDP, dense", "bytes_per_step": (totals[1] - totals[0]) / ((EPOCHS - 1) * STEPS)})
    return rows


def payload(network: str, density: float, interval: int, window: int = 44) -> dict[str, Any]:
    """Bytes that a step gives to be reduced, averaged over an interval, against the dense network's gradients."""
    model = models.build(network, num_classes=1000 if network == "resnet50" else 10)
    dense = sum(4 * parameter.numel() for parameter in model.parameters())
    mz.sparsify(model, density, exclude=["conv1"])
    gradients = sum(4 * parameter.numel() for parameter in model.parameters())
    statistics = sum(4 * buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    weights = sum(4 * layer.pattern.numel for layer in sparse_layers(model).values())
    total = gradients + statistics + window * weights / interval
    return {
        "network": network,
        "density": density,
        "interval": interval,
        "dense_bytes": dense,
        "gradient_bytes": gradients,
        "batch_norm_bytes": statistics,
        "window_bytes": window * weights / interval,
        "share": total / dense,
        "share_of_density": total / dense / density,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, default=0.1)
    options = parser.parse_args()
    torch.manual_seed(0)
    payloads = [
        payload("resnet50", options.density, 5004),
        payload("wrn_28_2", options.density, 390),
    ]
    rows = measured(options.density)
    table = Table(title=f"Two hosts, ResNet-20 on digits, density {options.density:g}: bytes over the cable a step")
    for heading in ("run", "bytes", "to dense"):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for row in rows:
        share = row["bytes_per_step"] / rows[0]["bytes_per_step"]
        table.add_row(row["run"], f"{row['bytes_per_step']:,.0f}", f"{share:.3f}")
    Console().print(table)
    table = Table(title="Payload of a step, averaged over an interval, in megabytes")
    for heading in ("network", "interval", "dense", "nnz", "batch norms", "windows", "to dense", "/ density"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for one in payloads:
        sizes = (one[key] / 1e6 for key in ("dense_bytes", "gradient_bytes", "batch_norm_bytes", "window_bytes"))
        cells = (*(f"{size:.2f}" for size in sizes), f"{one['share']:.3f}", f"{one['share_of_density']:.2f}")
        table.add_row(one["network"], str(one["interval"]), *cells)
    Console().print(table)
    file = write_result(ROOT / "bench" / "results" / "wire.json", {"measured": rows, "payload": payloads})
    Console().print(f"written to {file}")


if __name__ == "__main__":
    main()
