"""What does a run folder look like? A realistic one from a seed: 30 epochs, 6 sparse layers, 60 topology updates."""

from __future__ import annotations

import base64
import json
import math
import random
import struct
import zlib
from pathlib import Path
from typing import Any

LAYERS = {
    "features.0.conv": 864,
    "features.1.conv": 18_432,
    "features.2.conv": 36_864,
    "features.3.conv": 73_728,
    "classifier.hidden": 262_144,
    "classifier.output": 5_120,
}
DENSE_REST = 1_210
#: Places of the image at which a weight is used.
POSITIONS = {"features.0.conv": 784, "features.1.conv": 196, "features.2.conv": 196, "features.3.conv": 49}
EPOCHS = 30
STEPS_AN_EPOCH = 469
UPDATES = 60
LOG_EVERY = 20
WORST = 12
BAD = {"index": 3, "name": "seven/3.jpg", "reason": "received an empty file (0 bytes)"}
#: How a network tells that it runs in the native layout.
LAYOUT = [
    "LeNet: 3 nodes in the native layout, in 2 steps",
    "  features.0.conv: native, in one step with relu",
    "  relu: native: sparse convolution + ReLU; halo (1, 1, 1, 1)",
    "  features.1.conv: native: sparse convolution; halo (0, 0, 0, 0)",
    "  classifier.hidden: plain: it is no convolution",
]
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", '<b>seven</b> & "co"', "eight", "nine")
#: Steps whose half-precision gradients overflowed; all of them are logged ones.
SKIPPED = (40, 2060, 6100)


def write_run(folder: Path, *, name: str = "lenet-fp16", density: float = 0.1, seed: int = 0) -> Path:
    """Write a finished run into ``folder``; density 1 gives its dense twin, without topology updates."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    steps = EPOCHS * STEPS_AN_EPOCH
    weights = _Weights(density)
    rows: list[dict[str, Any]] = [{"kind": "memory", **_memory(weights.total)}]
    timing = []
    due = {(index + 1) * steps * 3 // (UPDATES * 4) for index in range(UPDATES)} if density < 1 else set()
    for step in range(steps):
        if step % LOG_EVERY == 0:
            rows.append(_step(step, steps, weights.share, rng))
            timing.append(_timing(step, density, rng, topology=step % (LOG_EVERY * 9) == 0 and density < 1))
        if step in due:
            rows.append(
                {
                    "kind": "topology",
                    "step": step,
                    "epoch": step // STEPS_AN_EPOCH,
                    "layers": weights.update(step / steps, rng),
                }
            )
        if (step + 1) % STEPS_AN_EPOCH == 0:
            rows.append(_epoch(step, steps, weights, rng))
            times = {"seconds": rng.uniform(5.5, 6.5), "waited": rng.uniform(0.2, 0.6), "tested": rng.uniform(0.4, 0.5)}
            timing.append({"epoch": step // STEPS_AN_EPOCH, **times})
    _lines(folder / "metrics.jsonl", rows)
    _lines(folder / "timing.jsonl", timing)
    _others(folder, name, density, weights, rows, rng)
    return folder


class _Weights:
    """The nnz of every layer; updates move some, and keep the sum."""

    def __init__(self, density: float) -> None:
        self.nnz = {name: max(round(density * numel), 1) for name, numel in LAYERS.items()}
        if density < 1:
            total = sum(self.nnz.values())
            shares = {name: numel**0.62 for name, numel in LAYERS.items()}
            scale = total / sum(shares.values())
            self.nnz = {name: min(round(share * scale), LAYERS[name]) for name, share in shares.items()}

    @property
    def total(self) -> int:
        return sum(self.nnz.values()) + DENSE_REST

    @property
    def share(self) -> float:
        return self.total / (sum(LAYERS.values()) + DENSE_REST)

    def layers(self) -> dict[str, Any]:
        return {
            name: {"nnz": nnz, "numel": LAYERS[name], "density": nnz / LAYERS[name]} for name, nnz in self.nnz.items()
        }

    def update(self, progress: float, rng: random.Random) -> dict[str, Any]:
        rate = 0.25 * (1 + math.cos(math.pi * progress))
        pruned = {name: int(rate * nnz) for name, nnz in self.nnz.items()}
        importance = {
            name: (1.4 - progress) * 2e-4 * (1 + index) / (LAYERS[name] ** 0.25) * rng.uniform(0.85, 1.15)
            for index, name in enumerate(LAYERS)
        }
        whole = sum(importance[name] * self.nnz[name] ** 0.9 for name in LAYERS)
        free = sum(pruned.values())
        grown = {}
        for name in LAYERS:
            wanted = round(sum(pruned.values()) * importance[name] * self.nnz[name] ** 0.9 / whole)
            room = LAYERS[name] - self.nnz[name] + pruned[name]
            grown[name] = min(wanted, room, free)
            free -= grown[name]
        for name in sorted(LAYERS, key=LAYERS.__getitem__, reverse=True):
            extra = min(free, LAYERS[name] - self.nnz[name] + pruned[name] - grown[name])
            grown[name] += extra
            free -= extra
        moves = {}
        for name, before in self.nnz.items():
            after = before - pruned[name] + grown[name]
            moves[name] = {
                "before": before,
                "pruned": pruned[name],
                "grown": grown[name],
                "after": after,
                "importance": importance[name],
                "density": after / LAYERS[name],
            }
            self.nnz[name] = after
        return moves


def _step(step: int, steps: int, density: float, rng: random.Random) -> dict[str, Any]:
    progress = step / steps
    loss = (2.3 * math.exp(-step / 700) + 0.09 * (1 - progress) + 0.004) * rng.lognormvariate(0, 0.35)
    skipped = step in SKIPPED
    return {
        "kind": "step",
        "step": step,
        "epoch": step // STEPS_AN_EPOCH,
        "loss": loss,
        "accuracy": max(0.0, min(1.0, 1 - 0.39 * loss)),
        "lr": 0.05 * (1 + math.cos(math.pi * progress)),
        "loss_scale": 2.0 ** (16 + step // 2000 - sum(step > late for late in SKIPPED)),
        "skipped": skipped,
        "density": density,
    }


def _epoch(step: int, steps: int, weights: _Weights, rng: random.Random) -> dict[str, Any]:
    done = (step + 1) / steps
    train = 0.35 * math.exp((-8.5 + 1.5 * weights.share) * done) + 0.012 * (1 - done) + 0.0018
    test = (
        0.3 * math.exp((-9 + 2.5 * weights.share) * done)
        + 0.031
        - 0.05 * min(weights.share, 0.2)
        + 0.006 * done
        + rng.uniform(-0.002, 0.002)
    )
    return {
        "kind": "epoch",
        "epoch": step // STEPS_AN_EPOCH,
        "step": step + 1,
        "train_loss": train,
        "train_accuracy": 1 - 0.3 * train,
        "test_loss": test,
        "test_accuracy": round(1 - 0.27 * test, 4),
        "test_images": 9800,
        "diverged": False,
        "nnz": weights.total,
        "numel": sum(LAYERS.values()) + DENSE_REST,
        "density": weights.share,
        "layers": weights.layers(),
    }


def _memory(nnz: int) -> dict[str, Any]:
    numel = sum(LAYERS.values()) + DENSE_REST
    sparse = nnz < numel
    return {
        "weights": 4 * nnz,
        "gradients": 4 * nnz,
        "optimizer": 4 * nnz,
        "index": 8 * (nnz - DENSE_REST) if sparse else 0,
        "dense": {"weights": 4 * numel, "gradients": 4 * numel, "optimizer": 4 * numel},
    }


def _timing(step: int, density: float, rng: random.Random, *, topology: bool) -> dict[str, Any]:
    slow = rng.lognormvariate(0, 0.08) * (12 if step == 0 else 1)
    work = 0.35 + 0.65 * density
    phases = {
        "data": 0.0021 * rng.lognormvariate(0, 0.2),
        "forward": 0.0078 * work * slow,
        "backward": 0.0141 * work * slow,
        "optimizer": 0.0016 * (0.2 + density) * slow,
        "topology": 0.006 * slow if topology else 0.00001,
    }
    seconds = sum(phases.values()) + 0.0004
    return {"step": step, "seconds": seconds, "phases": phases, "images_per_second": 128 / seconds}


def _others(
    folder: Path, name: str, density: float, weights: _Weights, rows: list[dict[str, Any]], rng: random.Random
) -> None:
    last = [row for row in rows if row["kind"] == "epoch"][-1]
    memory = rows[0]
    method = "sparse_momentum" if density < 1 else "static"
    (folder / "config.toml").write_text(_config(name, density, method), encoding="utf-8")
    _json(
        folder / "environment.json",
        {
            "mezzotint": "0.1.0",
            "python": "3.11.2",
            "torch": "2.13.0",
            "platform": "Linux-6.1-x86_64",
            "threads": 2,
            "cpu": "AMD EPYC 7543 32-Core Processor",
            "isa": "avx2",
            "device": "cpu",
            "date": "2026-11-23T18:00:00Z",
            "git": None,
            "resumed": [{"step": 6101, "threads": 1}],
        },
    )
    _json(folder / "decisions.json", _decisions(density))
    _samples(folder, rng)
    _json(
        folder / "mistakes.json",
        {"classes": list(CLASSES), "confusion": _confusion(rng), "worst": _worst(folder, rng)},
    )
    multiply_adds = {name: numel * POSITIONS.get(name, 1) for name, numel in LAYERS.items()}
    _json(folder / "arithmetic.json", {"format": 1, "multiply_adds": {"stem": 1_000_000, **multiply_adds}})
    _json(folder / "patterns.json", _patterns(weights if density < 1 else None, rng))
    _json(folder / "quarantine.json", {"train": {"limit": 9, "samples": [BAD]}, "test": {"limit": 9, "samples": []}})
    _json(
        folder / "summary.json",
        {
            "test_accuracy": last["test_accuracy"],
            "test_error": 1 - last["test_accuracy"],
            "epochs": EPOCHS,
            "steps": EPOCHS * STEPS_AN_EPOCH,
            "seconds": 14_070 * (0.012 + 0.014 * density),
            "nnz": weights.total,
            "numel": last["numel"],
            "density": weights.share,
            "weight_bytes": memory["weights"],
            "optimizer_bytes": memory["optimizer"],
            "index_bytes": memory["index"],
            "dense_weight_bytes": memory["dense"]["weights"],
            "dense_optimizer_bytes": memory["dense"]["optimizer"],
            "precision": "fp16",
            "method": method,
            "name": name,
            "model": "lenet5",
            "skipped_steps": 4,
        },
    )


def _config(name: str, density: float, method: str) -> str:
    return (
        f'name = "{name}"\nseed = 0\n\n[data]\nsource = "mnist"\nbatch_size = 128\n\n[model]\nname = "lenet5"\n\n'
        f'[sparse]\nmethod = "{method}"\ndensity = {density}\ndistribution = "erk"\nprune_rate = 0.5\nwindow = 44\n\n'
        '[precision]\nmode = "fp16"\n\n[train]\nepochs = 30\nlr = 0.1\nschedule = "cosine"\n'
    )


def _decisions(density: float) -> list[dict[str, Any]]:
    made = []
    for index, (layer, numel) in enumerate(LAYERS.items()):
        for direction in ("output", "input_grad", "weight_grad"):
            kind = "conv2d" if "conv" in layer else "linear"
            native, dense = (
                (0.21 if index < 4 or direction != "weight_grad" else 0.9) * numel * max(density, 0.02) / 1e3,
                0.06 * numel / 1e3,
            )
            wins = native < dense
            made.append(
                {
                    "op": f"sparse_{kind}_{direction}",
                    "problem": f"sparse_{kind}_{direction} x[128, {16 << index % 3}, 14, 14] weight[64, 32, 3, 3] "
                    f"stride=[1, 1] padding=[1, 1, 1, 1] float16 density={density:.3g} on cpu with 2 thread(s)",
                    "kernel": "native_avx2" if wins else "dense_onednn",
                    "policy": "measure",
                    "reason": "fastest of 2, median of 5 interleaved runs",
                    "estimates": {"native_avx2": native, "dense_onednn": dense, "reference": 40 * dense},
                    "milliseconds": {"native_avx2": native, "dense_onednn": dense},
                    "refusals": {"triton_gather": "needs a CUDA device; the tensors are on cpu"},
                }
            )
    return made


def _confusion(rng: random.Random) -> list[list[int]]:
    rows = []
    for true in range(len(CLASSES)):
        row = [0] * len(CLASSES)
        for _ in range(rng.randint(4, 12)):
            row[rng.choice([true, (true + 2) % 10, (true + 5) % 10, rng.randrange(10)])] += 1
        row[true] += 980 - sum(row)
        rows.append(row)
    return rows


def _worst(folder: Path, rng: random.Random) -> list[dict[str, Any]]:
    (folder / "mistakes").mkdir()
    made = []
    for index in range(WORST):
        file = f"mistakes/{index:02d}.png"
        (folder / file).write_bytes(_picture(rng, digit=index))
        shares = {"true_probability": 0.01 * (index + 1), "chosen_probability": 0.9 - 0.02 * index}
        made.append({"file": file, "name": f"test/{index}", "sample": index, "true": 7, "chosen": index % 7, **shares})
    return made


def _patterns(weights: _Weights | None, rng: random.Random) -> dict[str, Any]:
    """Pictures as a run records them; dense runs have filters only."""
    filters = [rng.randrange(1, 256) if weights is None or rng.random() < 0.6 else 0 for _ in range(16 * 25)]
    layers = {}
    for name, nnz in weights.nnz.items() if weights else ():
        rows, columns = (32, 27) if name == "features.0.conv" else (64, 72)
        share = nnz / LAYERS[name]
        cells = [rng.randint(1, 15) if rng.random() < share else 0 for _ in range(rows * columns)]
        old = nnz // 2
        layers[name] = {
            "shape": [32, LAYERS[name] // 32],
            "nnz": nnz,
            "rows": rows,
            "columns": columns,
            "share": _packed(cells),
            "age": _packed([rng.randint(0, 15) if cell else 0 for cell in cells]),
            "born": [old, *[(nnz - old) // 31] * 31],
            "empty_outputs": 1,
            "empty_inputs": 0,
        }
    first = {"layer": next(iter(LAYERS)), "shape": [16, 1, 5, 5], "of": 32, "largest": 0.5, "weights": _packed(filters)}
    return {"format": 1, "step": 99, "updates": UPDATES, "layers": layers, "filters": first, "layout": LAYOUT}


def _packed(values: list[int]) -> str:
    return base64.b64encode(zlib.compress(bytes(values))).decode("ascii")


def _samples(folder: Path, rng: random.Random) -> None:
    (folder / "samples").mkdir()
    listed = []
    for index in range(24):
        file = f"samples/{index:03d}.png"
        (folder / file).write_bytes(_picture(rng, digit=index % 10))
        listed.append({"file": file, "label": CLASSES[index % 10], "name": f"train/{index * 37:05d}"})
    _json(folder / "samples.json", listed)


def _picture(rng: random.Random, digit: int, side: int = 28) -> bytes:
    """A grey PNG with a ring or a stroke, shifted at random, so that the grid looks like handwriting."""
    x0, y0 = side / 2 + rng.uniform(-2, 2), side / 2 + rng.uniform(-2, 2)
    radius, lean = rng.uniform(6, 8.5), rng.uniform(-0.4, 0.4)
    rows = []
    for y in range(side):
        row = bytearray([0])
        for x in range(side):
            u, v = x - x0 + lean * (y - y0), (y - y0) * (0.75 if digit % 2 else 0.9)
            away = abs(math.hypot(u * 1.35, v) - radius) if digit % 3 != 1 else abs(u)
            inside = abs(v) <= radius
            row.append(max(0, min(255, int(255 * (2.2 - away)))) if inside else 0)
        rows.append(bytes(row))
    return png(side, side, b"".join(rows))


def png(width: int, height: int, rows: bytes) -> bytes:
    """An 8-bit grey PNG; ``rows`` holds a filter byte of 0 and ``width`` pixels for each row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
