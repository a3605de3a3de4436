"""How is a page served while its run still trains? On this machine alone, renewed section by section.

The server reads the same files as the written page; the training does not know of it. Only requests that name this
server as their host are answered, so that no other site's page can read it through the reader's browser.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from mezzotint.errors import RunError, message
from mezzotint.report.compare import comparison_parts
from mezzotint.report.lock import being_trained
from mezzotint.report.page import Page, page, run_parts
from mezzotint.report.read import read_run
from mezzotint.report.sweep import PLAN, read_sweep, with_runs_of_sweeps
from mezzotint.report.sweep_page import sweep_parts

_HOST: Final = "127.0.0.1"
#: Between two looks at the record at least so many seconds, and so many times what making the page took: the training
#: needs the processor more.
_PAUSE: Final = 1.0
_TIMES: Final = 12.0
_HERO: Final = "hero"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The page as it was made last; ``parts`` are its top and its sections by anchor."""

    version: str
    html: bytes
    parts: dict[str, bytes]

    def state(self) -> bytes:
        """What a browser asks for again and again: which parts are new."""
        digests = {key: _digest(part) for key, part in self.parts.items()}
        return json.dumps({"version": self.version, "parts": digests}).encode()


class LiveReport:
    """A server of one page. Use it as a context; :meth:`serve` answers until it is interrupted."""

    def __init__(self, runs: Sequence[Path | str], *, port: int = 0) -> None:
        """Read the record and open the port, on the loopback interface alone.

        Args:
            runs: a run folder, a sweep's folder, or several runs to be compared.
            port: 0: any free one.

        Raises:
            RunError: one of them is no run, or the port cannot be opened.
        """
        self._runs = [Path(run) for run in runs] if len(runs) == 1 else with_runs_of_sweeps(runs)
        self._make = _maker(self._runs)
        self._lock = threading.Lock()
        self._signature = signature(self._runs)
        began = time.monotonic()
        self._snapshot = snapshot(self._make())
        self._due = time.monotonic() + self._pause_after(began)
        try:
            self._server = _Server((_HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            fix = "Leave --port out: any free port is taken then."
            raise RunError(message("port", received=f"{port} ({error})", allowed="a free port", fix=fix)) from error
        self._server.report = self

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{_HOST}:{self.port}/"

    def serve(self) -> None:
        """Answer until KeyboardInterrupt or :meth:`close`."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """End :meth:`serve` in whatever thread it runs, and give the port back."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LiveReport:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def current(self) -> Snapshot:
        """The page of the record as it stands, or as it stood a moment ago."""
        with self._lock:
            if time.monotonic() < self._due:
                return self._snapshot
            began = time.monotonic()
            found = signature(self._runs)
            if found != self._signature:
                # A run that was moved away, or is being written anew: its last page stays.
                with suppress(RunError, OSError):
                    self._snapshot, self._signature = snapshot(self._make()), found
            self._due = time.monotonic() + self._pause_after(began)
            return self._snapshot

    def _pause_after(self, began: float) -> float:
        return max(_PAUSE, _TIMES * (time.monotonic() - began))


def snapshot(parts: Page) -> Snapshot:
    """The page and its parts as bytes."""
    made = {_HERO: parts.top.encode(), **{section.key: section.html().encode() for section in parts.sections}}
    version = _digest(b"".join(made.values()))
    return Snapshot(version=version, html=page(parts, live=version).encode(), parts=made)


def signature(runs: Iterable[Path]) -> tuple[object, ...]:
    """Something that changes when the record does: sizes and times of its files, and who trains."""
    folders = [folder for run in runs for folder in (run, *(run / "runs").glob("*")) if folder.is_dir()]
    files = [file for folder in folders for file in sorted(folder.glob("*")) if file.suffix in _SUFFIXES]
    return (*(_stamp(file) for file in files), *(being_trained(folder) for folder in folders))


_SUFFIXES: Final = frozenset({".json", ".jsonl", ".toml", ".txt"})


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:  # replaced at this moment
        return (str(file), 0, 0)
    return (str(file), found.st_mtime_ns, found.st_size)


def _maker(runs: Sequence[Path]) -> Callable[[], Page]:
    if not runs:
        raise RunError(message("runs", received="none", allowed="one run folder or more"))
    if len(runs) > 1:
        return lambda: comparison_parts([read_run(run) for run in runs])
    if (runs[0] / PLAN).is_file():
        return lambda: sweep_parts(read_sweep(runs[0]))
    return lambda: run_parts(read_run(runs[0]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: A browser that goes away in the middle of an answer is no error.
    report: LiveReport

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is told nobody."""


class _Handler(BaseHTTPRequestHandler):
    """Answers ``/``, ``/state`` and ``/part/KEY`` to those who ask for this very server."""

    server: _Server
    server_version, sys_version = "mezzotint", ""
    timeout = 20

    def do_GET(self) -> None:
        """The page, which of its parts are new, or a part."""
        if self.headers.get("Host") not in self._hosts():
            self._answer(HTTPStatus.FORBIDDEN, b"This server answers only to its own name.", "text/plain")
            return
        found = self.server.report.current()
        if self.path == "/":
            self._answer(HTTPStatus.OK, found.html, "text/html")
        elif self.path == "/state":
            self._answer(HTTPStatus.OK, found.state(), "application/json")
        elif (key := self.path.removeprefix("/part/")) != self.path and key in found.parts:
            self._answer(HTTPStatus.OK, found.parts[key], "text/html")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"There is no such part of the page.", "text/plain")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal belongs to the address."""

    def _hosts(self) -> set[str]:
        port = self.server.report.port
        return {f"{name}:{port}" for name in (_HOST, "localhost")}

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
