"""A serial line that is as slow as a real one.

What comes in: bytes that a master writes to the device path, and bytes that the simulated devices send. What
goes out: the same bytes, in both directions only after the time that they would have been on the wire: start
bit, 8 data bits, parity and stop bits each, at the line's baud rate. A burst is handed over when the line has
been silent for 3.5 characters after it (Modbus over Serial Line V1.02, 2.5.1.1). The line is half-duplex: what
arrives while the devices speak is destroyed.

Nobody but the master holds the device open, so that we see it come and go.
"""

from __future__ import annotations

import asyncio
import os
import select
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOOK_S = 0.05
"""How often we look whether somebody has opened the device."""
_CHUNK_S = 0.004
"""Bytes of about this time are written at once; a real adapter collects about as long."""
_FAST_GAP_S = 0.00175
"""Above 19200 baud the gap between frames does not shrink any further."""


def char_seconds(baudrate: int, parity: str = "N", stopbits: int = 1) -> float:
    """Time of one character on the wire, in s."""
    return (1 + 8 + (parity != "N") + stopbits) / baudrate


def gap_seconds(baudrate: int, parity: str = "N", stopbits: int = 1) -> float:
    """Silence that ends a frame, in s."""
    return _FAST_GAP_S if baudrate > 19200 else 3.5 * char_seconds(baudrate, parity, stopbits)


class PacedPty:
    """One line. `received` is called with each burst, `opened` when somebody opens the device."""

    def __init__(
        self,
        baudrate: int = 9600,
        parity: str = "N",
        stopbits: int = 1,
        *,
        paced: bool = True,
        received: Callable[[bytes], None] = lambda _: None,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        self.char_s = char_seconds(baudrate, parity, stopbits) if paced else 0.0
        self.gap_s = gap_seconds(baudrate, parity, stopbits) if paced else 0.0
        self.attended = False
        """Whether somebody has the device open. What is sent to nobody is lost, as on a wire."""
        self.collisions = 0
        self._received, self._opened = received, opened
        self._loop = asyncio.get_running_loop()
        self._fd, other = os.openpty()
        self.path = os.ttyname(other)
        tty.setraw(other)
        os.close(other)
        os.set_blocking(self._fd, False)
        self._hangup = select.poll()
        self._hangup.register(self._fd, 0)  # POLLHUP is always told
        self._incoming = bytearray()
        self._incoming_end = 0.0
        self._burst_end: asyncio.TimerHandle | None = None
        self._outgoing = bytearray()
        self._outgoing_start = 0.0
        self._outgoing_sent = 0
        self._pump: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = self._loop.call_later(0, self._look_for_master)

    def close(self) -> None:
        """Stop everything and hang up."""
        for handle in (self._look, self._burst_end, self._pump):
            if handle:
                handle.cancel()
        if self.attended:
            self._loop.remove_reader(self._fd)
            self.attended = False
        os.close(self._fd)

    @property
    def sending(self) -> bool:
        """Whether the devices are speaking, or about to."""
        return bool(self._outgoing)

    def send(self, data: bytes, after_s: float = 0.0) -> None:
        """Put bytes on the wire, `after_s` from now, behind those that are still under way."""
        if not data:
            return
        if not self._outgoing:
            self._outgoing_start = self._loop.time() + (after_s if self.char_s else 0.0)
            self._outgoing_sent = 0
        self._outgoing += data
        if self._pump is None:
            self._write_due()

    def _write_due(self) -> None:
        """Write the bytes whose time on the wire is over, and come again for the next."""
        self._pump = None
        due = len(self._outgoing)
        if self.char_s:
            due = min(due, max(0, int((self._loop.time() - self._outgoing_start) / self.char_s)))
        self._write(bytes(self._outgoing[self._outgoing_sent : due]))
        self._outgoing_sent = max(due, self._outgoing_sent)
        if self._outgoing_sent == len(self._outgoing):
            self._outgoing.clear()
            return
        chunk = max(1, round(_CHUNK_S / self.char_s))
        upto = min(len(self._outgoing), self._outgoing_sent + chunk)
        self._pump = self._loop.call_at(self._outgoing_start + upto * self.char_s, self._write_due)

    def _write(self, data: bytes) -> None:
        if data and self.attended:
            with suppress(OSError):  # nobody reads any more and the buffer is full: lost
                os.write(self._fd, data)

    def _look_for_master(self) -> None:
        self._look = None
        if any(event & select.POLLHUP for _, event in self._hangup.poll(0)):
            self._look = self._loop.call_later(_LOOK_S, self._look_for_master)
            return
        self.attended = True
        with suppress(OSError):
            tty.setraw(self._fd)  # whoever opened it may not have cared, and a line echoes nothing
        self._loop.add_reader(self._fd, self._read)
        self._opened()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError:  # the master has closed the device
            data = b""
        if not data:
            self._loop.remove_reader(self._fd)
            self.attended = False
            self._look = self._loop.call_later(_LOOK_S, self._look_for_master)
            return
        if self._outgoing:
            self.collisions += 1
            return
        self._collect(data)

    def _collect(self, data: bytes) -> None:
        """Hand bytes over when the master would have sent them and been silent."""
        if not self.char_s:
            self._received(data)
            return
        self._incoming += data
        self._incoming_end = max(self._loop.time(), self._incoming_end) + len(data) * self.char_s
        if self._burst_end:
            self._burst_end.cancel()
        self._burst_end = self._loop.call_at(self._incoming_end + self.gap_s, self._hand_over)

    def _hand_over(self) -> None:
        self._burst_end = None
        burst = bytes(self._incoming)
        self._incoming.clear()
        self._received(burst)


@contextmanager
def linked(target: str, wish: Path | None) -> Iterator[str]:
    """The path under which a pty is reached: `wish` as a link to it where that can be made, else its own.

    A file or device that already stands at `wish` is left alone; a dead link of an earlier run is not. Nothing is
    made under /dev: a real adapter may be plugged in at any moment.
    """
    if wish is None or not _free(wish):
        yield target
        return
    try:
        wish.parent.mkdir(parents=True, exist_ok=True)
        wish.unlink(missing_ok=True)
        wish.symlink_to(target)
    except OSError:
        yield target
        return
    try:
        yield str(wish)
    finally:
        with suppress(OSError):
            if wish.is_symlink() and str(wish.readlink()) == target:
                wish.unlink()


def _free(wish: Path) -> bool:
    if wish.is_relative_to("/dev"):
        return False
    return not wish.exists() and (not wish.is_symlink() or str(wish.readlink()).startswith("/dev/pts/"))
