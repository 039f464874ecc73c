"""What systemd is told, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.notify import Notifier
from tests.support import eventually


class Systemd:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        """All datagrams since the last call."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(str(tmp_path / "notify"))
    yield listener
    listener.close()


def test_ready_status_and_stopping_are_told(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environment)
    notifier.ready("5 connections,\n60 equipment")
    notifier.status("运行中")
    notifier.stopping()
    assert systemd.heard() == ["READY=1\nSTATUS=5 connections, 60 equipment", "STATUS=运行中", "STOPPING=1"]


def test_an_abstract_socket_is_understood() -> None:
    listener = Systemd(f"@courtyard-test-{os.getpid()}-{time.monotonic_ns()}")
    Notifier(listener.environment).ready()
    assert listener.heard() == ["READY=1"]
    listener.close()


async def test_without_systemd_nothing_is_sent_and_nothing_waits() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    notifier.stopping()
    assert notifier.watchdog_s is None
    await asyncio.wait_for(notifier.feed_watchdog(), 1)


async def test_the_watchdog_is_fed_by_the_loop_for_as_long_as_it_is_well(systemd: Systemd) -> None:
    notifier = Notifier({**systemd.environment, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier.watchdog_s == 0.02
    well = True
    task = asyncio.create_task(notifier.feed_watchdog(lambda: well))
    fed: list[str] = []
    await eventually(lambda: _gather(fed, systemd) >= 3)
    assert set(fed) == {"WATCHDOG=1"}
    time.sleep(0.05)  # noqa: ASYNC251  # the loop hangs, and that is the point
    assert systemd.heard() == []
    well = False
    await asyncio.sleep(0.05)
    assert systemd.heard() == []
    task.cancel()


def _gather(fed: list[str], systemd: Systemd) -> int:
    fed += systemd.heard()
    return len(fed)


@pytest.mark.parametrize(
    "watchdog",
    [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, {}],
)
def test_a_watchdog_that_is_off_or_watches_another_process_is_not_fed(watchdog: dict[str, str]) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/x", **watchdog}).watchdog_s is None


def test_a_systemd_that_does_not_listen_is_logged_once_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.ready()
    notifier.status("x")
    assert [record.getMessage() for record in caplog.records] == [
        "systemd cannot be told how the daemon is: [Errno 2] No such file or directory"
    ]


def test_a_full_queue_of_systemd_does_not_hold_up_the_loop(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environment)
    began = time.monotonic()
    for _ in range(5000):
        notifier.alive()
    assert time.monotonic() - began < 5
    assert len(systemd.heard()) < 5000
