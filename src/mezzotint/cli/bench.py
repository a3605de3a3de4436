"""``mezzotint bench``: how fast are sparse kernels and whole training steps on this machine, against dense ones?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mezzotint.cli.files import require_folder
from mezzotint.cli.output import console, line
from mezzotint.errors import InputError, NotRegistered, message, suggest

EXAMPLES = """\
  mezzotint bench train --network wrn_28_2 --densities 0.2,0.1,0.05 -o bench-results
  mezzotint bench train --network resnet50 --batch 1,8,32 --memory
  mezzotint bench train --network resnet50 --batch 64 --mode eval
  mezzotint bench kernels --network resnet50 --fp32
  mezzotint bench infer --network resnet50 --batch 1,64
  mezzotint bench infer pruned.onnx --batch 1,16      # your network, in each engine that is installed
  mezzotint bench infer pruned.onnx --engines "mezzotint bf16" --steps      # where its time goes, layer by layer

Both sides run in one process, in turn; medians are compared. Leave the machine alone meanwhile.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "action",
        choices=("kernels", "train", "infer"),
        metavar="{kernels,train,infer}",
        help="kernels: every convolution and direction alone; train: whole training steps, or forward passes; "
        "infer: sessions beside PyTorch, ONNX Runtime and OpenVINO where they are installed",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="infer: an .onnx or .safetensors file, or a run folder"
    )
    parser.add_argument("--network", help="which one (default: resnet50)")
    parser.add_argument("--densities", help="between 0 and 1 (default: 0.2,0.1,0.05)")
    parser.add_argument("--shape", help="infer: of one input of FILE, where it leaves sizes free, as 3,224,224")
    parser.add_argument(
        "--engines",
        help='infer: which, as "mezzotint fp32,onnxruntime"; a first word is all of its kind (default: all)',
    )
    parser.add_argument("--steps", action="store_true", help="infer FILE: what each step of ours takes as well")
    parser.add_argument("--batch", help="images; train: one size or several, 1,8,32 (default: the network's usual one)")
    parser.add_argument("--rounds", type=int, default=4, help="counted rounds (default: 4)")
    parser.add_argument("--threads", type=int, default=2, help="of either side (default: 2)")
    parser.add_argument("--mode", choices=("train", "eval"), help="train: a step or a forward pass (default: train)")
    parser.add_argument("--memory", action="store_true", help="train: the peak of resident memory of each side as well")
    parser.add_argument("--fp32", action="store_true", help="kernels: dense FP32 as well")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, default=Path("bench-results"), help="for JSON and PNG files"
        " (default: bench-results)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Check, measure, print tables, write files; 0."""
    if arguments.file is not None or arguments.shape is not None:
        from mezzotint.cli import bench_file

        return bench_file.run(arguments)
    if arguments.steps:
        raise InputError(message("--steps", received="it without a file", allowed="with `bench infer FILE`"))
    known = _known(arguments.action)
    name = arguments.network = arguments.network or "resnet50"
    if name not in known:
        fix = suggest(name, known).strip()
        raise NotRegistered(message("--network", received=name, allowed=", ".join(known), fix=fix))
    written = arguments.densities or "0.2,0.1,0.05"
    densities = numbers("--densities", written, float, "numbers between 0 and 1, for example 0.2,0.1")
    if not all(0 < density < 1 for density in densities):
        raise InputError(message("--densities", received=written, allowed="numbers between 0 and 1"))
    batches = numbers("--batch", arguments.batch or str(known[name].batch), int, "whole numbers from 1, as 1,8,32")
    check(arguments, batches)
    if arguments.action == "infer":
        line(f"written: {_infer(arguments, densities, batches)}")
        return 0

    from mezzotint.bench import allocator, machine, plots

    plots.require()
    allocator.begin_again_with_pages_kept("bench")
    line(allocator.in_words())
    with machine.using_threads(arguments.threads):
        line(f"{machine.in_words()}.")
        files = (_kernels if arguments.action == "kernels" else _train)(arguments, densities, batches)
    line("written: " + ", ".join(map(str, files)))
    return 0


def _train(arguments: argparse.Namespace, densities: list[float], batches: list[int]) -> list[Path]:
    from rich.progress import track

    from mezzotint.bench import allocator, machine, memory, plots, tables, train

    name, mode, out = arguments.network, arguments.mode or "train", console()
    if arguments.memory:
        memory.require()
    rows: list[dict[str, Any]] = []
    for batch in track(batches, "measuring time", console=out, transient=True):
        rows += train.measure(name, batch, densities, mode=mode, rounds=arguments.rounds)
    peaks = []
    sides = [(batch, density) for batch in batches for density in (1.0, *densities)] if arguments.memory else []
    for batch, density in track(sides, "measuring memory", console=out, transient=True):
        peaks.append(memory.peak_of(name, batch, density, arguments.threads))
    out.print(tables.step_table(name, mode, rows, peaks))
    stem = arguments.output / f"{'step' if mode == 'train' else 'eval'}_{name}"
    content = {"network": name, "mode": mode, "allocator": allocator.in_words(), "rounds": arguments.rounds}
    return [
        machine.write_result(stem.with_suffix(".json"), {**content, "rows": rows, "memory": peaks}),
        plots.draw_steps(stem.with_suffix(".png"), name, mode, rows),
    ]


def _infer(arguments: argparse.Namespace, densities: list[float], batches: list[int]) -> Path:
    from mezzotint.bench import infer

    name, engines = arguments.network, infer.chosen(arguments.engines)

    def settings(batch: int, folder: Path) -> list[Any]:
        return infer.settings(name, densities, batch, arguments.threads, engines, folder)

    return measure_inference(name, batches, settings, arguments.rounds, arguments.output)


def measure_inference(
    name: str, batches: list[int], settings: Callable[[int, Path], list[Any]], rounds: int, output: Path
) -> Path:
    """Measure, print a table, write a file.

    Args:
        name: of the network.
        batches: images of a call.
        settings: batch, folder for files -> what is run in turn.
        rounds: that are counted.
        output: a folder.
    """
    from tempfile import TemporaryDirectory

    from rich.progress import track

    from mezzotint.bench import infer, machine, tables

    out, rows = console(), []
    with TemporaryDirectory() as folder:
        for batch in track(batches, "measuring", console=out, transient=True):
            rows += infer.measure(settings(batch, Path(folder)), rounds, 10 if batch < 8 else 2)
    out.print(tables.infer_table(name, rows))
    for row in rows:
        if "refused" in row:
            line(f"batch {row['batch']}: {row['refused']}")
    content = {"network": name, "rounds": rounds, "rows": rows, "others_over_ours": infer.ratios(rows)}
    return machine.write_result(output / f"infer_{name}.json", content)


def _kernels(arguments: argparse.Namespace, densities: list[float], batches: list[int]) -> list[Path]:
    from dataclasses import asdict

    import torch
    from rich.progress import track

    from mezzotint.bench import allocator, kernels, machine, plots, roofline, tables
    from mezzotint.bench.layers import LAYERS

    name, (batch,), out = arguments.network, batches, console()
    torch.manual_seed(0)
    peaks = roofline.measure_peaks()
    options = {"rounds": arguments.rounds, "peaks": peaks, "fp32": arguments.fp32}
    rows: list[kernels.Row] = []
    for layer in track(LAYERS[name].layers, "measuring layers", console=out, transient=True):
        rows += kernels.measure(layer, batch, densities, **options)
    totals = {"dense_over_ours": kernels.totals(rows)}
    if arguments.fp32:
        totals["dense_fp32_over_ours"] = kernels.totals(rows, "dense_fp32_ms")
    out.print(tables.ratio_table(name, rows))
    out.print(tables.roofline_table(rows, peaks))
    for key, dense in (("dense_over_ours", "BF16"), ("dense_fp32_over_ours", "FP32")):
        if key in totals:
            out.print(tables.totals_table(name, dense, totals[key]))
    stem = f"native_layers_{name}"
    content = {"network": name, "batch": batch, "allocator": allocator.in_words(), "rounds": arguments.rounds}
    return [
        machine.write_result(
            arguments.output / f"{stem}.json", {**content, "peaks": asdict(peaks), **totals, "rows": rows}
        ),
        plots.draw_layers(arguments.output / f"{stem}.png", name, rows, totals["dense_over_ours"]),
        plots.draw_roofline(arguments.output / f"roofline_{name}.png", name, rows, peaks),
    ]


def _known(action: str) -> Any:
    """Network -> an entry with its usual ``batch``."""
    if action == "infer":
        from mezzotint.bench import infer

        return infer.SUBJECTS
    if action == "train":
        from mezzotint.bench.train import SUBJECTS

        return SUBJECTS
    from mezzotint.bench.layers import LAYERS

    return LAYERS


def numbers(option: str, text: str, kind: type[Any], allowed: str, *, once: bool = True) -> list[Any]:
    """Comma-separated numbers, each ``once`` or as they stand."""
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        raise InputError(message(option, received=text, allowed=allowed)) from None
    return list(dict.fromkeys(found)) if once else found


def check(arguments: argparse.Namespace, batches: list[int]) -> None:
    """What argparse does not: ranges, the folder, and options that belong to the other action."""
    counts = [("--batch", batch) for batch in batches]
    for option, value in (*counts, ("--rounds", arguments.rounds), ("--threads", arguments.threads)):
        if value < 1:
            raise InputError(message(option, received=value, allowed="whole numbers from 1"))
    require_folder(arguments.output)
    if arguments.action == "infer":
        for option, given in (("--mode", arguments.mode), ("--memory", arguments.memory), ("--fp32", arguments.fp32)):
            if given:
                raise InputError(message(option, received="it with `bench infer`", allowed="with another action"))
        return
    if arguments.engines:
        received = f"it with `bench {arguments.action}`"
        raise InputError(message("--engines", received=received, allowed="with `bench infer` only"))
    kernels = arguments.action == "kernels"
    if kernels and len(batches) > 1:
        raise InputError(message("--batch", received=arguments.batch, allowed="one size with `bench kernels`"))
    strangers = (
        (("--mode", arguments.mode), ("--memory", arguments.memory)) if kernels else (("--fp32", arguments.fp32),)
    )
    for option, given in strangers:
        if given:
            other = "train" if kernels else "kernels"
            received = f"it with `bench {arguments.action}`"
            raise InputError(message(option, received=received, allowed=f"with `bench {other}` only"))
    if arguments.memory and arguments.mode == "eval":
        raise InputError(message("--memory", received="it with --mode eval", allowed="with training steps only"))
