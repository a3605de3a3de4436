"""How does a session remember which kernels were fastest? A plan file, bound to the network and to the machine.

JSON: a format number, what the plan is bound to, and for each program and input size the kernel of every step; over
all that a SHA-256. A file that is damaged, or that belongs to another network, machine or version, is measured anew and
replaced; the log (logger ``mezzotint.deploy.engine.plan_file``) says so and why.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import fx, nn

from mezzotint.durable import replace_file
from mezzotint.errors import message
from mezzotint.kernels import native
from mezzotint.kernels.hardware import processor_model
from mezzotint.kernels.native_program import Choice, Summing

_FORMAT: Final = 2
_log = logging.getLogger(__name__)


class _Unusable(Exception):
    """Why a file is not used, without a full stop."""


class PlanFile:
    """The choices of one network on one machine, kept in ``path``.

    Args:
        path: the file; it is made where it is not there.
        network: fingerprint of the network, see :func:`fingerprint`.
        dtype, threads: of the session.
    """

    def __init__(self, path: Path, network: str, dtype: torch.dtype, threads: int) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._bound = {
            "network": network,
            "type": str(dtype).removeprefix("torch."),
            "threads": threads,
            "processor": processor_model(),
            "instructions": native.isa(),
            "library": _library(),
        }
        self._programs = self._read()

    def get(self, key: str) -> list[Choice | None] | None:
        """What was stored under ``key``, None where nothing was."""
        return self._programs.get(key)

    def put(self, key: str, choices: list[Choice | None]) -> None:
        """Remember choices; a file that cannot be written is told in the log, and the session goes on."""
        with self._lock:
            self._programs[key] = choices
            content = {"format": _FORMAT, "bound": self._bound, "programs": self._programs}
            whole = {**content, "sha256": _digest(content)}
            try:
                replace_file(self.path, (json.dumps(whole, indent=1) + "\n").encode())
            except OSError as error:
                _log.warning(
                    message(
                        f"plan file {self.path}",
                        received=f"the system error {error.strerror or error}",
                        allowed="a file in a folder that can be written",
                        fix="Kernels are measured anew by the next session.",
                    )
                )

    def _read(self) -> dict[str, list[Choice | None]]:
        try:
            return _checked(json.loads(self.path.read_bytes()), self._bound)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, _Unusable) as error:
            reason = str(error) if isinstance(error, _Unusable) else f"it is damaged ({type(error).__name__}: {error})"
            _log.warning(
                message(
                    f"plan file {self.path}",
                    received=f"one that is not used, because {reason}",
                    allowed="a plan of this network on this machine",
                    fix="Kernels are measured anew and the file is replaced.",
                )
            )
            return {}


def _checked(whole: Any, bound: dict[str, Any]) -> dict[str, list[Choice | None]]:
    if not isinstance(whole, dict) or whole.get("format") != _FORMAT:
        raise _Unusable(f"it is no plan of format {_FORMAT}")
    content = {name: value for name, value in whole.items() if name != "sha256"}
    if whole.get("sha256") != _digest(content):
        raise _Unusable("it is damaged: its checksum is another one")
    made_for = content.get("bound")
    if made_for != bound:
        other = [name for name in bound if not isinstance(made_for, dict) or made_for.get(name) != bound[name]]
        raise _Unusable(f"it was made for another {', '.join(other)}")
    programs = content.get("programs")
    if not isinstance(programs, dict) or not all(isinstance(choices, list) for choices in programs.values()):
        raise _Unusable("its programs are no lists of choices")
    return {key: [_choice(one) for one in choices] for key, choices in programs.items()}


def _choice(found: Any) -> Choice | None:
    match found:
        case None:
            return None
        case [int(summing), int(tile), int(parts)] if summing in list(Summing):
            return Summing(summing), tile, parts
        case _:
            raise _Unusable("one of its choices is no kernel")


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _library() -> str:
    """Of the compiled kernels: another build has other times."""
    file = getattr(sys.modules.get("mezzotint._native"), "__file__", None)
    return "none" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def fingerprint(model: nn.Module) -> str:
    """Of a network's graph and all its numbers; the same for the same network in another process."""
    found = hashlib.sha256()
    graph = model.graph if isinstance(model, fx.GraphModule) else model
    found.update(str(graph).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        found.update(np.asarray(raw).data)
    return found.hexdigest()
