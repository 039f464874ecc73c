"""Tells systemd how the daemon is: ready, its status in words, alive, stopping (sd_notify(3), without its library).

What comes in: the environment that systemd gives to a unit of `Type=notify`. What goes out: datagrams on its socket.
Run from a terminal, without that environment, nothing is sent. The watchdog is fed by a task of the event loop: where
the loop hangs, systemd restarts the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


class Notifier:
    """The socket of the service manager. No method raises: a daemon works on where systemd does not listen."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """`environment` with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, each of which may be missing."""
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environment)
        """Systemd kills the daemon where it hears nothing for so long. None: it does not watch."""
        self._failing = False

    def ready(self, status: str = "") -> None:
        """The daemon runs: units that wait for it may start."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog once."""
        self._send("WATCHDOG=1")

    async def feed_watchdog(self, healthy: Callable[[], bool] = lambda: True) -> None:
        """Feed the watchdog at twice the rate that it needs, while `healthy` says so; ends where nobody watches.

        Real time always: it is the box's own loop that is watched, not a simulated one.
        """
        if self.watchdog_s is None or self._address is None:
            return
        while True:
            if healthy():
                self.alive()
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            # A socket for each message: systemd's own may be made anew when it re-executes itself.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a full queue must not hold up the loop that is being watched
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failing:
                log.warning("systemd cannot be told how the daemon is: %s", error)
            self._failing = True
        else:
            self._failing = False


def _address(path: str) -> str | None:
    """As the socket library takes it: a name that begins with @ is abstract, its first byte is zero."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if process and process != str(os.getpid()):
        return None  # meant for another process of the unit
    return int(microseconds) / 1e6


def _status(text: str) -> tuple[str, ...]:
    line = " ".join(text.split())
    return (f"STATUS={line}",) if line else ()
