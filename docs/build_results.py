"""What was measured? Writes docs/results.md from bench/results: a table a file, losses included."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results"
TARGET = Path(__file__).parent / "results.md"

HEAD = """# Measured results

Made by `make docs` from the files in `bench/results`, which scripts in `bench/` and `mezzotint bench` write; do not
edit by hand. Ratios are from one run each, contenders interleaved, medians; above 1 is a win for us, **below 1 a
loss**. The machines are shared and noisy: the same ratio measured some minutes later may differ by a tenth.
"""

Content = dict[str, Any]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def ratio(value: float) -> str:
    """ "3.2x", in bold where it is a loss."""
    return f"{value:.2f}x" if value >= 1 else f"**{value:.2f}x**"


def on(machine: Content) -> str:
    """Where and when a file was measured."""
    facts = [
        machine["cpu"],
        f"{machine['threads']} threads",
        machine["isa"],
        f"PyTorch {machine['torch']}",
        machine["date"],
    ]
    if machine.get("handover_ns"):
        facts.append(f"{machine['handover_ns']:.0f} ns between two cores")
    return ", ".join(facts)


def steps(content: Content) -> str:
    """Whole training steps, or forward passes in evaluation."""
    training = content["mode"] == "train"
    kind, key = ("step", "step_ms") if training else ("forward pass", "forward_ms")
    rows = [
        (f"{row['batch']}", f"{row['density']:g}", f"{row[key]:.0f}", ratio(row["dense_over_ours"]))
        for row in content["rows"]
    ]
    return table(("batch", "density", f"{kind}, ms", "dense / ours"), rows)


def layer_sums(content: Content) -> str:
    """The convolutions alone, by direction."""
    directions = ("all", "output", "input gradient", "weight gradient")
    rows = [
        (density, *(ratio(ratios[one]) for one in directions)) for density, ratios in content["dense_over_ours"].items()
    ]
    slower = sum(row["dense_over_ours"] < 1 for row in content["rows"])
    text = table(("density", *directions), rows)
    return f"{text}\n\n{slower} of {len(content['rows'])} (layer, direction, density) are slower than dense."


def avx2(content: Content) -> str:
    """All convolutions of a network, both sides held to AVX2."""
    rows = [(name, ratio(found)) for name, found in content["dense_over_ours"].items()]
    return table((f"{content['network']}: ours, density", "dense FP32 / ours"), rows)


def plain_layers(content: Content) -> str:
    """Single layers between ordinary tensors."""
    rows = [
        (
            f"{row['network']} {row['layer']}",
            f"{row['density']:g}",
            row["direction"],
            ratio(row["dense"] / row["sparse"]),
        )
        for row in content["rows"]
    ]
    return table(("layer", "density", "direction", "dense / ours"), rows)


def memory(content: Content) -> str:
    """Weight-side memory."""

    def total(sizes: dict[str, int]) -> float:
        return sum(sizes.values()) / 1e6

    rows = [("dense", f"{total(content['dense']):.1f}", "1")]
    for one in content["densities"]:
        rows.append((f"density {one['density']:g}", f"{total(one['fixed']):.1f}", f"{one['fixed_ratio']:.3f}"))
        rows.append(("with its largest window open", f"{total(one['moving']):.1f}", f"{one['moving_ratio']:.3f}"))
    return table((content["model"], "MB", "of dense"), rows)


def mnist(content: Content) -> str:
    """Test errors beside the published ones."""
    rows = [
        (
            row["network"],
            f"{row['density']:g}",
            f"{row['published']:.2f}",
            f"{row['mean']:.3f} ± {row['standard_error']:.3f}",
            str(len(row["runs"])),
        )
        for row in content["rows"]
    ]
    return table(("network", "density", "published, %", "ours, %", "seeds"), rows)


def cifar(content: Content) -> str:
    """Methods on CIFAR-10, as far as their runs are finished; differences are between runs of the same seed."""
    parts = []
    for name, runs in content.items():
        beside = content.get("methods", []) if name == "minutes" else runs
        dense = {run["seed"]: run["test_accuracy"] for run in beside if run["method"] == "dense"}
        rows = []
        for method in sorted({run["method"] for run in runs}, key=lambda method: (method != "dense", method)):
            found = {run["seed"]: run["test_accuracy"] for run in runs if run["method"] == method}
            differences = [accuracy - dense[seed] for seed, accuracy in found.items() if seed in dense]
            behind = f"{statistics.fmean(differences):+.2f}" if differences else ""
            rows.append((method, f"{statistics.fmean(found.values()):.2f}", behind, str(len(found))))
        if rows:
            network = {
                "methods": "Wide ResNet 16-2, 12 epochs",
                "minutes": "Wide ResNet 16-2, 24 epochs, in the minutes of 12 dense ones",
                "clock": "Wide ResNet 28-2, 30 epochs",
                "rate": "Wide ResNet 28-2, 30 epochs, learning rate 0.1",
            }[name]
            parts.append(table((network, "test accuracy, %", "minus dense", "seeds"), rows))
    return "\n\n".join(parts)


def window(content: Content) -> str:
    """What a short window gets right, and what it costs."""
    lengths = list(content["overlap"][0]["overlap"])
    shares = {one: [100 * row["overlap"][one] for row in content["overlap"]] for one in lengths}
    rows = [(one, f"{statistics.fmean(found):.2f}", f"{min(found):.2f}") for one, found in shares.items()]
    parts = [table(("window, steps", "grown as by the exact algorithm, %", "worst update, %"), rows)]
    if content.get("accuracy"):
        errors: dict[int, list[float]] = {}
        for row in content["accuracy"]:
            errors.setdefault(row["window"], []).append(100 * row["test_error"])
        rows = [(str(one), f"{statistics.fmean(found):.3f}", str(len(found))) for one, found in errors.items()]
        parts.append(table(("window, steps", "test error, %", "seeds"), rows))
    cost, layers = content["cost"], content["layers"]
    share = 100 * (cost["trimmed_mean_of_ratios"] - 1)
    by_epoch = f"{100 * layers['share']:.2f} % on ResNet-50 with one every {layers['interval']:,}"
    parts.append(
        f"A window of {cost['window']} steps costs {share:.1f} % of the step's time on WRN-28-2 at density"
        f" {cost['density']:g} with an update every {cost['interval']} steps, and {by_epoch}."
    )
    return "\n\n".join(parts)


def images(content: Content) -> str:
    """Images a second, by task, engine and threads."""
    engines = list(dict.fromkeys(row["engine"] for row in content["rows"]))
    speeds = {(row["task"], row["threads"], row["engine"]): row["images_per_second"] for row in content["rows"]}
    rows = []
    for task, threads in dict.fromkeys((task, threads) for task, threads, _ in speeds):
        ours = speeds.get((task, threads, "mezzotint"))
        cells = []
        for engine in engines:
            found = speeds.get((task, threads, engine))
            told = "" if found is None else f"{found:.0f}"
            if found and ours and engine != "mezzotint":
                told += f" ({ratio(ours / found)})"
            cells.append(told)
        rows.append((task, str(threads), *cells))
    return table(("images a second (ours / theirs)", "threads", *engines), rows)


def loader_threads(content: Content) -> str:
    """What a second thread of a loader brings, beside a second process."""
    rows = [
        (
            row["task"],
            f"{row['one_thread']:.0f}",
            f"{row['two_threads']:.0f}",
            ratio(row["two_over_one"]),
            ratio(row["two_processes_over_one"]),
        )
        for row in content["rows"]
    ]
    heads = ("one thread", "two threads", "two threads / one", "two processes / one thread")
    return table(("images a second by the loader", *heads), rows)


def protocols(content: Content) -> str:
    """Largest differences to the libraries that the protocols are named after."""
    rows = [(row["protocol"], row["peer"], f"{row['maximum']:.2g}", f"{row['mean']:.2g}") for row in content["rows"]]
    return table(("protocol", "library", "largest difference, levels", "mean"), rows)


def wire(content: Content) -> str:
    """Bytes between two hosts in a step."""
    dense = next(row["bytes_per_step"] for row in content["measured"] if row["run"] == "dense")
    rows = [
        (row["run"], f"{row['bytes_per_step'] / 1e6:.3f}", f"{row['bytes_per_step'] / dense:.3f}")
        for row in content["measured"]
    ]
    return table(("run", "MB a step", "of dense"), rows)


def loader(content: Content) -> str:
    """Memory of a long-lived loader."""
    first, last = content["epochs"][2], content["epochs"][-1]
    return (
        f"{first['images']:,} images an epoch: {first['resident_bytes'] / 1e6:.0f} MB resident after epoch 3,"
        f" {last['resident_bytes'] / 1e6:.0f} MB after epoch {len(content['epochs'])}."
    )


def sparseprop(content: Content) -> str:
    """The one other library that trains unstructured sparse convolutions on CPUs."""
    rows = [(density, ratio(found)) for density, found in content["sparseprop_over_ours"].items()]
    return table(("density", "SparseProp / ours"), rows)


def inference(content: Content) -> str:
    """Milliseconds of a call by engine, for each network and batch."""
    parts = []
    for title, run in content["runs"].items():
        rows = [
            (row["engine"], f"{row['density']:g}", f"{row['median_ms']:.2f}", f"{row['p90_ms']:.2f}",
             f"{row['cold_start_s']:.1f}", f"{row['peak_memory_mb']:.0f}")
            for row in run["rows"]
        ]  # fmt: skip
        heads = (title, "density", "median, ms", "90th percentile", "cold start, s", "peak memory, MB")
        parts.append(f"{table(heads, rows)}\n\n*{on(run['machine'])}*")
    return "\n\n".join(parts)


def callers(content: Content) -> str:
    """One session, called by several threads."""
    rows = [
        (
            str(row["callers"]),
            f"{row['calls_per_second']:.0f}",
            f"{row['of_one_caller']:.2f}",
            f"{row['longest_ms']:.0f}",
        )
        for row in content["rows"]
    ]
    return table(("callers", "calls a second", "of one caller's", "longest call, ms"), rows)


def onnx(content: Content) -> str:
    """Differences to ONNX Runtime."""
    keys = ("difference", "relative", "error", "error_of_onnxruntime")
    rows = [
        (
            f"{row['network']}, batch {row['batch']}",
            row["weights"],
            f"{row['density']:g}",
            f"{row['largest_logit']:.1e}",
            *(f"{row[key]:.1e}" for key in keys),
        )
        for row in content["rows"]
    ]
    heads = ("largest difference", "of the largest logit", "ours from FP64", "ONNX Runtime's from FP64")
    return table(("network", "weights", "density", "largest logit", *heads), rows)


def overhead(content: Content) -> str:
    """Microseconds of a call beyond its kernel."""
    paths = list(next(iter(content["microseconds"].values())))
    rows = [(name, *(f"{found[path]:.1f}" for path in paths)) for name, found in content["microseconds"].items()]
    return table(("function", *paths), rows)


def cold_start(content: Content) -> str:
    """Seconds from the start of Python to a first result."""
    parts = ("import_s", "load_s", "first_result_s", "whole_s")
    rows = [(name, *(f"{row[part]:.2f}" for part in parts)) for name, row in content["rows"].items()]
    return table(("engine", "imports, s", "loading, s", "first result, s", "all, s"), rows)


def startup(content: Content) -> str:
    """Milliseconds until a command answers, or an import is done."""
    rows = [
        (f"`{name}`", f"{row['wall_ms']:.0f}", f"{row['processor_ms']:.0f}", f"{row['processor_of_import_torch']:.3f}")
        for name, row in content["cases"].items()
    ]
    return table(("process", "wall, ms", "processor, ms", "of `import torch`"), rows)


NO_AMX = "Its virtual machine hides AMX: dense BF16 takes half as long again as dense FP32 there."
AMX = "Both sides multiply matrices there, ours zeros as well: from a density of some six percent on (decision 0045)."
SMALL = (
    "Where images are few, pixels fill the lanes of pointwise layers and of weight gradients (decision 0048), and up to"
    " 16 images lie in cells of FP32 (0053)."
)
SMALL_XEON = (
    "The same machine, both sides without the unit (ONEDNN_MAX_CPU_ISA, MEZZOTINT_ISA): what a CPU without it gains."
)
EVAL_BATCHES = "Through `mz.lower`, few images in a program. Other tables of evaluation are of before that."

#: File -> heading, what it is about, and how it is told.
SECTIONS: dict[str, tuple[str, str, Callable[[Content], str]]] = {
    "step_resnet50": ("Training step, ResNet-50", "Dense is PyTorch's best: BF16, channels-last.", steps),
    "step_wrn_28_2": ("Training step, WRN-28-2", "", steps),
    "step_resnet50_zen4": ("Training step, ResNet-50, on Zen 4", "", steps),
    "step_wrn_28_2_zen4": ("Training step, WRN-28-2, on Zen 4", "", steps),
    "step_resnet50_xeon": ("Training step, ResNet-50, on a Xeon", NO_AMX, steps),
    "step_wrn_28_2_xeon": ("Training step, WRN-28-2, on a Xeon", "", steps),
    "step_resnet50_amx": ("Training step, ResNet-50, on a Xeon with AMX", AMX, steps),
    "step_resnet50_small": ("Training step, ResNet-50, small batches", SMALL, steps),
    "step_resnet50_small_amx": ("Training step, ResNet-50, small batches, on a Xeon with AMX", SMALL, steps),
    "step_resnet50_small_xeon": ("Training step, ResNet-50, small batches, its AMX switched off", SMALL_XEON, steps),
    "step_wrn_28_2_amx": ("Training step, WRN-28-2, on a Xeon with AMX", "", steps),
    "step_wrn_28_2_small": ("Training step, WRN-28-2, small batches", "", steps),
    "step_wrn_28_2_small_amx": ("Training step, WRN-28-2, small batches, on a Xeon with AMX", "", steps),
    "step_wrn_28_2_small_xeon": ("Training step, WRN-28-2, small batches, its AMX switched off", SMALL_XEON, steps),
    "step_wrn_28_2_batches": ("Training step, WRN-28-2, by batch", "Small batches leave lanes empty.", steps),
    "eval_resnet50": ("Evaluation, ResNet-50", "Through `mz.lower`.", steps),
    "eval_resnet50_zen4": ("Evaluation, ResNet-50, on Zen 4", "", steps),
    "eval_resnet50_xeon": ("Evaluation, ResNet-50, on a Xeon", NO_AMX, steps),
    "eval_resnet50_amx": ("Evaluation, ResNet-50, on a Xeon with AMX", AMX, steps),
    "eval_resnet50_batches": ("Evaluation, ResNet-50, by batch", EVAL_BATCHES, steps),
    "eval_resnet50_batches_amx": ("Evaluation, ResNet-50, by batch, on a Xeon with AMX", EVAL_BATCHES, steps),
    "eval_resnet50_batches_xeon": ("Evaluation, ResNet-50, by batch, its AMX switched off", SMALL_XEON, steps),
    "native_layers_resnet50": (
        "Convolutions of ResNet-50",
        "In the native layout, every layer and direction.",
        layer_sums,
    ),
    "native_layers_wrn_28_2": ("Convolutions of WRN-28-2", "", layer_sums),
    "native_layers_resnet50_zen4": ("Convolutions of ResNet-50 on Zen 4", "", layer_sums),
    "native_layers_wrn_28_2_zen4": ("Convolutions of WRN-28-2 on Zen 4", "", layer_sums),
    "native_layers_resnet50_xeon": ("Convolutions of ResNet-50 on a Xeon", NO_AMX, layer_sums),
    "native_layers_wrn_28_2_xeon": ("Convolutions of WRN-28-2 on a Xeon", "", layer_sums),
    "native_layers_resnet50_amx": ("Convolutions of ResNet-50 on a Xeon with AMX", AMX, layer_sums),
    "native_layers_wrn_28_2_amx": ("Convolutions of WRN-28-2 on a Xeon with AMX", "", layer_sums),
    "avx2_layers": (
        "Convolutions of ResNet-50 with AVX2 alone",
        "Outputs and both gradients; FP32 and stored BF16.",
        avx2,
    ),
    "infer": ("Inference", "Random patterns, stem and classifier dense.", inference),
    "infer_zen4": ("Inference on Zen 4", "", inference),
    "infer_xeon": ("Inference on a Xeon", NO_AMX, inference),
    "infer_amx": ("Inference on a Xeon with AMX", AMX, inference),
    "infer_callers": ("Several callers of one session", "ResNet-50, density 0.1, BF16, one image a call.", callers),
    "cold_start": (
        "A session's first result",
        "ResNet-50 with 90 % zeros from an ONNX file; others run the zeros.",
        cold_start,
    ),
    "onnx_agreement": (
        "Agreement with ONNX Runtime",
        "FP32; networks as PyTorch initialises them, and with larger random weights and batch norms that fit.",
        onnx,
    ),
    "operator_overhead": ("A call of an operator", "Microseconds: the kernel, and what comes on top of it.", overhead),
    "sparseprop_resnet50": ("SparseProp, ResNet-50's layers", "SparseProp computes in FP32, ours in BF16.", sparseprop),
    "sparseprop_wrn_28_2": ("SparseProp, WRN-28-2's layers", "", sparseprop),
    "sparseprop_resnet50_xeon": ("SparseProp, ResNet-50's layers, on a Xeon", "", sparseprop),
    "sparseprop_wrn_28_2_xeon": ("SparseProp, WRN-28-2's layers, on a Xeon", "", sparseprop),
    "kernels": ("Single layers between ordinary tensors", "Conversions of layout included.", plain_layers),
    "memory": ("Weight-side memory", "Weights, gradients, optimiser state, index, 16-bit copies.", memory),
    "mnist_table": ("MNIST, sparse momentum, test error", "BF16; last epoch; published: best epoch.", mnist),
    "cifar_table": ("CIFAR-10, a tenth of the weights", "BF16; recipes in `configs/fast`.", cifar),
    "window": ("Dense windows", "LeNet-5-Caffe on MNIST at density 0.05.", window),
    "wire": ("Two hosts", "ResNet-20; network namespaces; bytes counted on the wire.", wire),
    "images": ("Image pipeline", "Encoded photographs to normalised float32 [3, 224, 224].", images),
    "images_xeon": ("Image pipeline on a Xeon", "", images),
    "loader_threads": (
        "A second thread of a loader",
        "Photographs in a folder; `bench/loader_threads.py`.",
        loader_threads,
    ),
    "protocols": ("Evaluation protocols", "100 photographs; a level is 1/255.", protocols),
    "loader_memory": ("The loader's memory", "", loader),
    "startup": (
        "Start",
        "Medians of processes that take turns. A public name imports its room when it is first used.",
        startup,
    ),
}


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    for name, (heading, words, told) in SECTIONS.items():
        file = RESULTS / f"{name}.json"
        if not file.is_file():
            continue
        content = json.loads(file.read_text(encoding="utf-8"))
        body = told(content)
        if not body:
            continue
        machine = content.get("machine") or next(iter(content.get("machines", {}).values()), None)
        where = f"\n\n*{on(machine)}; [{name}.json](../bench/results/{name}.json)*" if machine else ""
        parts.append(f"## {heading}\n{words}\n\n{body}{where}\n".replace("\n\n\n", "\n\n"))
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
