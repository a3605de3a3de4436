"""What was decided for a problem, on what ground, and how is that told?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mezzotint.kernels.problem import Problem
from mezzotint.kernels.table import Kernel

Source = Literal["rule", "measured", "restored", "forced"]
_SOURCES: dict[str, str] = {"rule": "by rule", "measured": "measured now", "restored": "restored", "forced": "forced"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The launcher's choice for a problem.

    Attributes:
        kernel: the winner.
        problem: the problem, its density rounded to a bucket.
        policy: the policy in force: ``"rule"``, ``"measure"`` or the name that was forced.
        source: ``"rule"``, ``"measured"`` (in this process), ``"restored"`` (from ``file``) or ``"forced"``.
        reason: one sentence.
        estimates: kernel name -> cost in dense-equivalent multiply-adds.
        milliseconds: kernel name -> median time, empty unless measured (now, or when it was stored).
        refusals: kernel name -> sentence why it could not take part.
        file: where a measured decision is stored; ``None`` when it is not.
    """

    kernel: Kernel
    problem: Problem
    policy: str
    source: Source
    reason: str
    estimates: dict[str, float]
    milliseconds: dict[str, float]
    refusals: dict[str, str]
    file: str | None = None

    def record(self) -> dict[str, Any]:
        """The decision as JSON-ready values."""
        return {
            "op": self.problem.op,
            "problem": self.problem.summary(),
            "kernel": self.kernel.name,
            "policy": self.policy,
            "source": self.source,
            "reason": self.reason,
            "estimates": self.estimates,
            "milliseconds": self.milliseconds,
            "refusals": self.refusals,
            "file": self.file,
        }

    def explain(self) -> str:
        """The decision in words, one line a kernel."""
        return in_words(self.record())


def in_words(record: Mapping[str, Any]) -> str:
    """A decision's record in words: problem, choice, ground, then one line a kernel. Older records may lack parts."""
    lines = [str(record.get("problem")), f"  chosen: {record.get('kernel')} ({record.get('reason')})"]
    if record.get("source"):
        lines.append(f"  decided: {_ground(record)}")
    times = record.get("milliseconds") or {}
    for name, cost in sorted((record.get("estimates") or {}).items(), key=lambda item: float(item[1])):
        timed = f", measured {times[name]:.3f} ms" if name in times else ""
        lines.append(f"  able: {name}: estimated cost {cost:.3g} dense multiply-adds{timed}")
    lines += [f"  refused: {name}: {why}" for name, why in sorted((record.get("refusals") or {}).items())]
    return "\n".join(lines)


def _ground(record: Mapping[str, Any]) -> str:
    source, file = str(record["source"]), record.get("file")
    told = _SOURCES.get(source, source)
    if source == "restored":
        return f"{told} from {file}"
    if source == "measured":
        return f"{told}, stored in {file}" if file else f"{told}, kept in memory only"
    return told
