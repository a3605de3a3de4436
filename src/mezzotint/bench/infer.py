"""How fast is inference, beside other engines? One process an engine, taking turns, so that noise meets all alike."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from mezzotint.bench.infer_engines import ENGINES, Setting
from mezzotint.errors import InputError, NotRegistered, message, suggest

#: Engine -> the package that it needs.
_NEEDS: Final = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Subject:
    """A network that can be measured, and its usual batch."""

    batch: int = 1


SUBJECTS: Final = {"resnet50": Subject(), "mobilenet_v1": Subject()}


class EngineProcess:
    """An engine in a process of its own."""

    def __init__(self, setting: Setting) -> None:
        """Starts it; :meth:`ready` waits until it is."""
        self.setting = setting
        command = [sys.executable, "-m", "mezzotint.bench.infer_engines", setting.code()]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ready(self) -> float:
        """Seconds from the first import to the first result."""
        return float(self._answer()["cold_start_s"])

    def run(self, calls: int) -> list[tuple[float, float]]:
        """Milliseconds of so many calls, and of computing in all threads together."""
        answer = self._ask(f"run {calls}")
        return [(float(a), float(b)) for a, b in zip(answer["milliseconds"], answer["computed"], strict=True)]

    def end(self) -> float:
        """Its peak of resident memory in MB; the process is gone then."""
        peak = float(self._ask("end")["peak_memory_mb"])
        self._process.communicate()
        return peak

    def _ask(self, order: str) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("a process without input")
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        while line and not line.startswith("{"):
            line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            told = (self._process.communicate()[1] or "").strip().splitlines()
            raise InputError(
                message(
                    f"engine {self.setting.engine!r}",
                    received=f"an end without an answer: {told[-1] if told else 'no word'}",
                    allowed="an engine that loads the network",
                )
            )
        found: dict[str, Any] = json.loads(line)
        return found


def available() -> list[str]:
    """The engines whose packages are installed."""
    return [engine for engine in ENGINES if (need := _NEEDS.get(engine.split()[0])) is None or find_spec(need)]


def chosen(words: str | None) -> list[str]:
    """The engines that are asked for, comma-separated, by their names or how they begin; None: all that are installed.

    Raises:
        NotRegistered: a word that none begins with.
        InputError: an engine whose package is not installed.
    """
    if words is None:
        return available()
    found: list[str] = []
    for word in (part.strip() for part in words.split(",")):
        meant = [engine for engine in ENGINES if word and f"{engine} ".startswith(f"{word} ")]
        if not meant:
            raise NotRegistered(
                message("--engines", received=word, allowed=", ".join(ENGINES), fix=suggest(word, ENGINES).strip())
            )
        missing = next((engine for engine in meant if engine not in available()), None)
        if missing is not None:
            package = _NEEDS[missing.split()[0]]
            fix = f"pip install {package}."
            raise InputError(message("--engines", received=missing, allowed="installed engines", fix=fix))
        found += meant
    return list(dict.fromkeys(found))


def needs_onnx(engine: str) -> bool:
    """Whether an engine reads ONNX files."""
    return engine.split()[0] in _NEEDS


def settings(
    network: str, densities: Sequence[float], batch: int, threads: int, engines: Sequence[str], folder: Path
) -> list[Setting]:
    """Ours at every density and dense, the others dense; ONNX and plan files are made in ``folder``."""
    onnx = folder / f"{network}.onnx"
    if not onnx.exists() and any(map(needs_onnx, engines)):
        export_onnx(network, onnx)
    found = []
    for engine in engines:
        ours = engine.startswith("mezzotint")
        for density in (1.0, *densities) if ours else (1.0,):
            plan = str(folder / f"{network}-{density}-{engine.split()[1]}.plan") if ours else ""
            found.append(Setting(engine, network, density, batch, threads, str(onnx), plan))
    return found


def export_onnx(network: str, file: Path) -> None:
    """Write the dense network for the engines that read ONNX; PyTorch's older exporter needs no further package."""
    import torch

    from mezzotint.bench import infer_engines

    model = infer_engines.network(network, 1.0)
    example = (torch.zeros(1, 3, 224, 224),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model, example, file, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}}
        )


def measure(
    wanted: Sequence[Setting], rounds: int, calls: int, each_round: Callable[[], object] | None = None
) -> list[dict[str, Any]]:
    """Rows with latency in milliseconds a call, images a second, cold start and peak memory.

    All engines are loaded first (one after the other, so that cold starts are alone), then take turns; ``each_round``
    is called before each round.
    """
    rows: list[dict[str, Any]] = []
    running: list[tuple[EngineProcess, dict[str, Any]]] = []
    for setting in wanted:
        process = EngineProcess(setting)
        row = {name: value for name, value in asdict(setting).items() if name not in ("onnx", "plan", "file")}
        rows.append(row)
        try:
            row["cold_start_s"] = process.ready()
        except InputError as refused:
            row["refused"] = str(refused)
            continue
        running.append((process, row))
    taken: list[list[tuple[float, float]]] = [[] for _ in running]
    for _ in range(rounds):
        if each_round is not None:
            each_round()
        for (process, _row), times in zip(running, taken, strict=True):
            times += process.run(calls)
    for (process, row), times in zip(running, taken, strict=True):
        row["peak_memory_mb"] = process.end()
        row.update(_summary(times, row["batch"]))
    return rows


def _summary(calls: list[tuple[float, float]], batch: int) -> dict[str, Any]:
    times = [taken for taken, _ in calls]
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    median = cuts[49]
    return {
        "calls": len(times),
        "median_ms": median,
        "least_ms": min(times),
        "p90_ms": cuts[89],
        "p99_ms": cuts[98],
        "images_per_second": 1e3 * batch / median,
        "computed_ms": statistics.median(computed for _, computed in calls),
    }


def ratios(rows: Sequence[dict[str, Any]], of: str = "median_ms") -> dict[str, dict[str, float]]:
    """Each engine's time over ours: ``"openvino bf16" -> {"resnet50, bf16, density 0.1, batch 1": 2.4, ...}``.

    ``of``: ``median_ms``, ``least_ms`` or ``computed_ms``, which counts all threads and no waiting for other programs.
    """
    timed = [row for row in rows if "median_ms" in row]
    ours = [row for row in timed if row["engine"].startswith("mezzotint")]
    found: dict[str, dict[str, float]] = {}
    for other in timed:
        for mine in ours:
            same = (mine["network"], mine["batch"], mine["threads"]) == (
                other["network"],
                other["batch"],
                other["threads"],
            )
            if same and not other["engine"].startswith("mezzotint"):
                kind = mine["engine"].split()[1]
                key = f"{mine['network']}, {kind}, density {mine['density']:g}, batch {mine['batch']}"
                found.setdefault(other["engine"], {})[key] = round(other[of] / mine[of], 3)
    return found
