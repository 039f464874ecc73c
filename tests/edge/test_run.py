"""The daemon as a process: what it says, when it starts, how it stops, and what survives."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import free_port

START_S = 20.0


def site_file(folder: Path, port: int, connections: str = "", equipment: str = "") -> Path:
    path = folder / "site.yaml"
    path.write_text(
        f"site: {{id: s, name: S, timezone: Asia/Shanghai}}\nconsole: {{listen: 127.0.0.1:{port}}}\n"
        f"connections:\n{connections or '  {}'}\nequipment:\n{equipment or '  {}'}\n"
    )
    return path


@contextmanager
def courtyard(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", *arguments],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def get(port: int, path: str) -> Any:
    """An answer of the daemon, as soon as it gives one."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5, trust_env=False).json()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


ABSENT = (
    "  elevators: {type: modbus-tcp, host: 127.0.0.1, port: 1}\n"
    "  pump-room: {type: modbus-rtu, port: /dev/ttyNOSUCH}\n"
    "  lora: {type: mqtt, host: 127.0.0.1, port: 1}"
)
LIFT = "  lift-1: {profile: elevator/generic-controller, connection: elevators, unit_id: 1}"


def test_it_starts_though_nothing_is_there_and_says_what_is_missing(tmp_path: Path) -> None:
    port = free_port()
    site = site_file(tmp_path, port, ABSENT, LIFT)
    with courtyard("run", "--config", str(site), "--state", str(tmp_path / "state")) as daemon:
        assert get(port, "/healthz")["status"] == "ok"
        rows = {row["name"]: row for row in get(port, "/api/v1/connections")}
        assert {row["state"] for row in rows.values()} == {"down"}
        (point, *_) = get(port, "/api/v1/points")
        assert (point["quality"], point["reason"], point["value"]) == ("bad", "comm", None)
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        output, _ = daemon.communicate(timeout=10)
        assert time.monotonic() - began < 5
    assert daemon.returncode == 0
    assert "/dev/ttyNOSUCH" in output
    assert "127.0.0.1:1" in output
    assert "Traceback" not in output


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(START_S)
        watched = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        arguments = ("run", "--config", str(site_file(tmp_path, port)), "--state", str(tmp_path / "state"))
        with courtyard(*arguments, environment=watched) as daemon:
            assert b"READY=1" in systemd.recv(4096)
            assert any(b"WATCHDOG=1" in systemd.recv(4096) for _ in range(3))
            daemon.send_signal(signal.SIGTERM)
            while b"STOPPING=1" not in systemd.recv(4096):
                pass
            assert daemon.wait(5) == 0


def test_a_second_daemon_on_the_same_state_says_so_and_ends(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("run", "--config", str(site_file(tmp_path, port)), "--state", str(tmp_path / "state"))
    with courtyard(*arguments) as first:
        get(port, "/healthz")
        with courtyard(*arguments) as second:
            output, _ = second.communicate(timeout=START_S)
        assert second.returncode == 1
        assert str(first.pid) in output
        assert str(tmp_path / "state") in output
        assert len(output.splitlines()) == 1
        assert get(port, "/healthz")["status"] == "ok"


def test_a_busy_console_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        site = site_file(tmp_path, port)
        with courtyard("run", "--config", str(site), "--state", str(tmp_path / "state")) as daemon:
            output, _ = daemon.communicate(timeout=START_S)
    assert daemon.returncode == 1
    wanted = f"courtyard: console.listen 127.0.0.1:{port} is taken by another program; choose another port\n"
    assert output == wanted


def test_a_wrong_site_file_is_shown_whole_and_exits_with_one(tmp_path: Path) -> None:
    site = site_file(tmp_path, 1, "  a: {type: modbus-tpc}\n  b: {type: mqtt, hots: x}")
    for command in (("check",), ("run", "--state", str(tmp_path / "state"))):
        with courtyard(*command, "--config", str(site)) as process:
            output, _ = process.communicate(timeout=START_S)
        assert process.returncode == 1
        assert f"{site}:4:7: connections.a.type: no connection type 'modbus-tpc'; did you mean modbus-tcp?" in output
        assert f"{site}:5:19: connections.b.hots: unknown key; did you mean host?" in output
        assert "Traceback" not in output


def rows(state: Path) -> list[int]:
    """Sequence numbers of the readings log, in order."""
    with closing(sqlite3.connect(state / "readings.db")) as database:
        groups = database.execute("SELECT first_seq, last_seq FROM groups ORDER BY last_seq").fetchall()
    return [seq for first, last in groups for seq in range(first, last + 1)]


@pytest.mark.timeout(120)
def test_what_was_stored_and_promised_survives_a_kill(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    arguments = ("demo", "--port", str(port), "--state", str(state))
    with courtyard(*arguments) as daemon:
        get(port, "/healthz")
        time.sleep(3)
        command = {"value": False, "who": "li", "reason": "try"}
        answer = httpx.post(f"http://127.0.0.1:{port}/api/v1/points/light-01.on/write", json=command, trust_env=False)
        assert answer.json()["after"] is False
        daemon.kill()
        daemon.wait()
    before = rows(state)
    assert before == sorted(set(before))
    assert len(before) > 50
    with courtyard(*arguments):
        get(port, "/healthz")
        journal = get(port, "/api/v1/journal?kind=command")
        assert [(row["subject"], row["body"]["who"]) for row in journal] == [("light-01.on", "li")]
        time.sleep(2)
    after = rows(state)
    assert after[: len(before)] == before
    assert after == sorted(set(after))
    assert len(after) > len(before)
