"""Does the served page follow a record that grows, for readers on this machine alone?"""

from __future__ import annotations

import fcntl
import html
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mezzotint.cli import main
from mezzotint.errors import RunError
from mezzotint.report import live as live_module
from mezzotint.report.live import LiveReport
from mezzotint.report.lock import being_trained


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the record at every request."""
    monkeypatch.setattr(live_module, "_PAUSE", 0.0)
    monkeypatch.setattr(live_module, "_TIMES", 0.0)


@contextmanager
def served(*runs: Path) -> Iterator[LiveReport]:
    with LiveReport(runs) as report:
        thread = threading.Thread(target=report.serve)
        thread.start()
        try:
            yield report
        finally:
            report.close()
            thread.join(20)
            assert not thread.is_alive()


def ask(report: LiveReport, path: str, host: str | None = None) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", report.port, timeout=20)
    try:
        connection.request("GET", path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def test_the_page_and_its_parts_are_served(finished: Path) -> None:
    with served(finished) as report:
        status, page, headers = ask(report, "/")
        assert status == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "connect-src 'self'" in html.unescape(page)
        state = json.loads(ask(report, "/state")[1])
        assert f'data-live="{state["version"]}"' in page
        assert list(state["parts"])[:2] == ["hero", "learning"]
        assert ask(report, "/part/learning")[1] in page
        assert ask(report, "/part/absent")[0] == ask(report, "/../config.toml")[0] == ask(report, "/x")[0] == 404


def test_parts_change_with_the_record_and_only_those(own_run: Path) -> None:
    metrics = own_run / "metrics.jsonl"
    (own_run / "summary.json").unlink()
    with served(own_run) as report:
        before = json.loads(ask(report, "/state")[1])
        row = {"kind": "epoch", "epoch": 30, "step": 14_539, "test_accuracy": 0.125, "test_loss": 2.0}
        text = json.dumps(row)
        with metrics.open("a", encoding="utf-8") as file:
            file.write(text[:20])  # as a reader meets it while it is written
        half = json.loads(ask(report, "/state")[1])
        assert half["parts"]["learning"] == before["parts"]["learning"]
        with metrics.open("a", encoding="utf-8") as file:
            file.write(text[20:] + "\n")
        after = json.loads(ask(report, "/state")[1])
        changed = {key for key in after["parts"] if after["parts"][key] != before["parts"][key]}
        assert {"hero", "learning"} <= changed
        assert not {"samples", "memory", "kernels", "mistakes"} & changed
        assert "12.50" in ask(report, "/part/hero")[1]


def test_only_requests_to_the_server_itself_are_answered(finished: Path) -> None:
    with served(finished) as report:
        for host in ("evil.example", f"evil.example:{report.port}", "127.0.0.1", f"127.0.0.1:{report.port + 1}", ""):
            status, text, _ = ask(report, "/state", host)
            assert (status, "parts" in text) == (403, False), host
        assert ask(report, "/state", f"localhost:{report.port}")[0] == 200
        headers = ask(report, "/")[2]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def test_it_listens_on_the_loopback_interface_alone(finished: Path) -> None:
    with LiveReport([finished]) as report:
        assert report.address == f"http://127.0.0.1:{report.port}/"
        assert report._server.server_address[0] == "127.0.0.1"


def test_a_record_that_goes_away_leaves_the_last_page(own_run: Path) -> None:
    with served(own_run) as report:
        before = ask(report, "/")[1]
        own_run.rename(own_run.with_name("elsewhere"))
        assert ask(report, "/")[1] == before


def test_several_runs_and_sweeps_can_be_watched(finished: Path, dense: Path, tmp_path: Path) -> None:
    with served(finished, dense) as report:
        assert "2 runs, side by side" in ask(report, "/")[1]
    (tmp_path / "runs").mkdir()
    plan = {"runs": [{"method": "rigl", "density": 0.1, "seed": 0, "run": "runs/rigl"}]}
    (tmp_path / "sweep.json").write_text(json.dumps(plan), encoding="utf-8")
    with served(tmp_path) as report:
        assert "not started" in ask(report, "/part/runs")[1]
        (tmp_path / "runs" / "rigl").mkdir()
        (tmp_path / "runs" / "rigl" / "summary.json").write_text('{"test_accuracy": 0.75}', encoding="utf-8")
        assert "75.00" in ask(report, "/part/runs")[1]


def test_a_port_that_is_taken_is_told(finished: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"port: received {port} .*any free port is taken then"):
            LiveReport([finished], port=port)
    with pytest.raises(RunError, match="a free port"):
        LiveReport([finished], port=70_000)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system has no list of locks")
def test_who_trains_is_seen_without_taking_the_lock(tmp_path: Path) -> None:
    assert being_trained(tmp_path) is None
    with (tmp_path / ".lock").open("ab") as lock:
        assert being_trained(tmp_path) is False
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert being_trained(tmp_path) is True
    assert being_trained(tmp_path) is False


def test_the_command_tells_its_address_and_ends_with_an_interrupt(finished: Path) -> None:
    # As an interactive shell starts it; a child of a background job would ignore interrupts.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from mezzotint.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "report", str(finished), "--live"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        port = int(first.split("/")[2].split(":")[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/state")
        assert connection.getresponse().status == 200
        connection.close()
        os.kill(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (0, "ended\n", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--live", "-o", "page.html"], "nothing together with --live"), (["--port", "1"], "a port together with --live")],
)
def test_arguments_that_do_not_go_together(
    finished: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(finished), *arguments]) != 0
    assert text in capsys.readouterr().err
