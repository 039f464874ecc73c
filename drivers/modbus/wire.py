"""One open socket or serial port: a request's packet goes out, the frame that answers it comes in.

What comes in: packets, and the settings of where they go. What goes out: frames that the gate (`frames`) lets
through; all else is counted there. The same for all three media, since the gate alone knows the framing. asyncio
does the sockets, pymodbus the serial port.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from math import inf
from typing import Protocol, cast

from pymodbus.transport.serialtransport import create_serial_connection

from drivers.driver import ConnectionDown
from drivers.modbus.deadlines import deadlines, precise
from drivers.modbus.frames import BrokenFrame, Gate
from drivers.modbus.keys import RtuSettings
from drivers.modbus.planner import ModbusSettings
from drivers.modbus.reasons import not_open

_SETUP_S = 10.0
"""A serial port is open or refused at once; only this program itself can be so late."""
_IDLE_S = 10.0
"""Many peers hang up where nothing has been asked for a while. One that does so sooner has a reason: another client,
say."""
_DEAD_S = 20
"""A TCP peer that acknowledges nothing for so long is gone."""


class Answer(Protocol):
    """A future, or what behaves like one to whoever answers it."""

    def done(self) -> bool:
        """Whether it has been answered."""
        ...

    def set_result(self, frame: bytes, /) -> None:
        """This answers."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """Nothing will."""
        ...


class Wire(asyncio.Protocol):
    """The open medium. One exchange at a time: the caller holds the turn."""

    __slots__ = (
        "_answer", "_begin", "_deadlines", "_due_s", "_gate", "_loop", "_made", "begun_s", "dropped", "now_s",
        "quiet_since_s", "sent_s", "transport",
    )  # fmt: skip

    def __init__(self, gate: Gate) -> None:
        self.quiet_since_s = 0.0
        """When the last byte came or the last exchange ended, on the event loop's clock."""
        self.transport: asyncio.Transport | None = None
        """None before it is open, and once it is lost."""
        self.begun_s: float | None = None
        """How long after the request the first byte of the newest answer came; None where none has."""
        self.sent_s = 0.0
        """When the newest request left, or the connection was made."""
        self.dropped = False
        """The peer has hung up after nothing had been asked for long."""
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self.now_s = precise(self._loop)
        self._deadlines = deadlines(self._loop)
        self._made: asyncio.Future[None] = self._loop.create_future()
        self._answer: Answer | None = None
        self._due_s = inf
        """Until when the answer is waited for."""
        self._begin: asyncio.TimerHandle | None = None

    def send(
        self, packet: bytes, answer: Answer, timeout_s: float, begin_s: float | None = None, known: bytes = b""
    ) -> None:
        """Send a packet. `answer` is given the frame that answers it, of which a first byte must have come after
        `begin_s`; or BrokenFrame as soon as what came can be no answer, TimeoutError, or ConnectionResetError where
        the connection ends. `known`: see `Gate.ask`.

        Whoever has waited calls `rest`, however it ended; what is raised here has ended it already.
        """
        self._answer = answer
        transport = self.transport
        now_s = self.sent_s = self.now_s()
        self._due_s = due_s = now_s + timeout_s
        self._deadlines.begin(due_s, now_s)
        if transport is None:
            answer.set_exception(ConnectionResetError())
            return
        self.begun_s = None
        if begin_s is not None:
            self._begin = self._loop.call_later(begin_s, expire, answer)
        try:
            self._gate.ask(packet, known)
            transport.write(packet)
        except BaseException:
            self.rest()
            raise

    def rest(self) -> None:
        """The exchange has ended."""
        self._answer = None
        self._deadlines.end()
        if self._begin is not None:
            self._begun()
        self.quiet_since_s = self.now_s()

    async def exchange(self, packet: bytes, timeout_s: float, begin_s: float | None = None) -> bytes:
        """Send a packet and return the frame that answers it. Raises what `send` tells of."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self.send(packet, answer, timeout_s, begin_s)
        try:
            return await answer
        finally:
            self.rest()

    def expire(self, now_s: float) -> float:
        """Give up what should have come by now; returns by when the next should."""
        answer = self._answer
        if answer is None or answer.done():
            return inf
        if self._due_s > now_s:
            return self._due_s
        answer.set_exception(TimeoutError())
        return inf

    async def again(self, packet: bytes, timeout_s: float) -> bytes:
        """Another frame that answers the request that was sent last. Raises as `exchange` does."""
        if frame := self._gate.again(packet):
            return frame
        if self.transport is None:
            raise ConnectionResetError
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answer = answer
        timer = self._loop.call_later(timeout_s, expire, answer)
        try:
            return await answer
        finally:
            timer.cancel()
            self._answer = None
            self.quiet_since_s = self.now_s()

    def _begun(self) -> None:
        """Bytes have come, or are no longer waited for."""
        if self._begin is not None:
            self._begin.cancel()
            self._begin = None

    async def open(self, name: str, settings: ModbusSettings) -> None:
        """Connect. Raises `ConnectionDown` with what to do."""
        reason: Exception | None = None
        try:
            async with asyncio.timeout(_SETUP_S if isinstance(settings, RtuSettings) else settings.timeout):
                if isinstance(settings, RtuSettings):  # kept at once: whatever comes next, `close` gives it back
                    self.transport, _ = await create_serial_connection(
                        self._loop, lambda: self, settings.port,
                        baudrate=settings.baudrate, bytesize=8, parity=settings.parity, stopbits=settings.stopbits,
                    )  # fmt: skip
                else:
                    await self._loop.create_connection(lambda: self, settings.host, settings.port)
                await self._made
                return
        except TimeoutError as error:
            reason = error if error.errno else None
        except (OSError, ValueError) as error:  # ValueError: a baud rate that the port does not know
            reason = error
        raise ConnectionDown(not_open(name, settings, reason)) from reason

    async def close(self) -> None:
        """Give the port or socket back; what is out will not be answered any more."""
        transport = self.transport
        self.connection_lost(None)  # a serial port that is closed does not tell of it, a socket late
        if transport is not None:
            transport.close()
        await asyncio.sleep(0)  # the transport closes in the next round of the loop

    # asyncio calls these; nothing may be raised out of them.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self.transport = cast(asyncio.Transport, transport)
        self.sent_s = self.now_s()
        self._deadlines.waiting.add(self)
        _watch_peer(transport.get_extra_info("socket"))
        if not self._made.done():
            self._made.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes, in any pieces."""
        self.quiet_since_s = self.now_s()
        if self.begun_s is None:
            self.begun_s = self.quiet_since_s - self.sent_s
        self.take(data)
        if not self._gate.held() and self._answer is not None and not self._answer.done():
            self.begun_s = None  # it was the echo of the request, or somebody else's
        elif self._begin is not None:
            self._begun()

    def take(self, data: bytes) -> None:
        """Bytes; when they came is known."""
        answer = self._answer
        try:
            frame = self._gate.take(data)
        except BrokenFrame as error:
            if answer is not None and not answer.done():
                answer.set_exception(error)
            return
        if frame and answer is not None and not answer.done():
            answer.set_result(frame)

    def connection_lost(self, error: Exception | None) -> None:
        """The peer has hung up, or the adapter is gone: an exchange that is out ends at once."""
        waited_for = self._answer is not None and not self._answer.done()
        self._lost(waited_for=waited_for)
        if self._answer is not None and waited_for:
            self._answer.set_exception(ConnectionResetError())

    def _lost(self, *, waited_for: bool) -> None:
        self.dropped = not waited_for and self.now_s() - max(self.quiet_since_s, self.sent_s) > _IDLE_S
        self.transport = None
        self._deadlines.waiting.discard(self)


class TcpWire(Wire):
    """A socket of Modbus TCP: the moments at which bytes come mean nothing there."""

    __slots__ = ()

    data_received = Wire.take


def expire(answer: Answer) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _watch_peer(peer: socket.socket | None) -> None:
    """Let the kernel find out that a TCP peer is gone without a word, so that silence means the device."""
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # it may be gone already
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _DEAD_S // 2)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _DEAD_S // 4)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_S * 1000)
