"""The wires of Modbus: TCP, RTU on a paced line, RTU frames over TCP.

What comes in: bytes of any master, however malformed. What goes out: the replies of `Units`, framed, at the time
that a real line would take. A wire that is cut closes its connections and takes no new ones; a frame that is not
one is counted and gets no answer. After the Modbus Messaging on TCP/IP Implementation Guide V1.0b and Modbus over
Serial Line V1.02.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from drivers.modbus.frames import crc16
from simulators.modbus_units import Units
from simulators.paced_pty import PacedPty, char_seconds, gap_seconds

_LONGEST_TCP = 254
"""Unit id and PDU, in bytes."""
_LONGEST_RTU = 256
_PIECES_S = 0.05
"""Pieces of one RTU frame that come over TCP, or an unpaced line, lie no further apart than this."""

Sent = Callable[[], None]
"""Called for each reply that is sent."""
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class TcpServer:
    """A listening socket that can be cut and mended; each client is handled by a task of its own."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.address = ("", 0)

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 is any free one. Raises OSError where that cannot be."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.address = (host, self._server.sockets[0].getsockname()[1])

    @property
    def listening(self) -> bool:
        """Whether clients can connect now."""
        return self._server is not None

    async def mend(self) -> None:
        """Listen again at the old address; where something else holds it just now, the next call tries again."""
        with suppress(OSError):
            await self.open(*self.address)

    async def cut(self) -> None:
        """Close all connections and refuse new ones."""
        if self._server:
            self._server.close()
            self._server = None
        tasks = list(self._clients)
        for task, writer in list(self._clients.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio starts this as a task
        self._clients[task] = writer
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
        except asyncio.CancelledError:  # by `cut` only; asyncio's server would report it as an error
            return
        finally:
            self._clients.pop(task, None)
            writer.close()


class ModbusTcp:
    """Modbus TCP: any number of clients, each answered in the order of its requests."""

    def __init__(self, units: Units, sent: Sent) -> None:
        self._units, self._sent = units, sent
        self.bad_frames = 0
        self.server = TcpServer(self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction, protocol, length = struct.unpack(">HHH", await reader.readexactly(6))
            if protocol != 0 or not 2 <= length <= _LONGEST_TCP:
                self.bad_frames += 1  # where the next frame begins is unknown now: start over
                return
            body = await reader.readexactly(length)
            reply = self._units.answer(body[0], body[1:])
            if reply is not None:
                writer.write(struct.pack(">HHHB", transaction, 0, len(reply) + 1, body[0]) + reply)
                self._sent()
                await writer.drain()


class Frames:
    """RTU frames out of bytes: a frame is what has a right CRC, and pauses throw away what has not."""

    def __init__(self) -> None:
        self.bad_frames = 0
        self._pieces = bytearray()
        self._last_s = 0.0

    def feed(self, data: bytes, now_s: float) -> bytes | None:
        """Unit id and PDU as soon as a whole frame has come; None until then."""
        if self._pieces and (now_s - self._last_s > _PIECES_S or len(self._pieces) + len(data) > _LONGEST_RTU):
            self.bad_frames += 1
            self._pieces.clear()
        self._pieces += data
        self._last_s = now_s
        if len(self._pieces) < 4 or crc16(bytes(self._pieces[:-2])) != self._pieces[-2:]:
            return None
        frame = bytes(self._pieces[:-2])
        self._pieces.clear()
        return frame


class ModbusLine:
    """RTU on a serial line: all units hear every request, one answers."""

    def __init__(self, units: Units, sent: Sent, is_cut: Callable[[], bool]) -> None:
        self._units, self._sent, self._is_cut = units, sent, is_cut
        self.frames = Frames()
        self.line: PacedPty | None = None

    def received(self, burst: bytes) -> None:
        """Take what a master has sent; the answer goes out on the line after the device's turnaround."""
        if self._is_cut() or self.line is None:
            return
        frame = self.frames.feed(burst, asyncio.get_running_loop().time())
        reply = self._units.answer(frame[0], frame[1:]) if frame else None
        if frame is None or reply is None:
            return
        answer = frame[:1] + reply
        self.line.send(answer + crc16(answer), after_s=self._units.turnaround_s(frame[0]))
        self._sent()


class ModbusRtuTcp:
    """RTU frames over TCP, as serial servers pass them on; the line behind is one, however many clients there are."""

    def __init__(self, units: Units, sent: Sent, *, baudrate: int, paced: bool) -> None:
        self._units, self._sent = units, sent
        self._char_s = char_seconds(baudrate) if paced else 0.0
        self._gap_s = gap_seconds(baudrate) if paced else 0.0
        self._line = asyncio.Lock()
        self.server = TcpServer(self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        while data := await reader.read(_LONGEST_RTU):
            frame = frames.feed(data, asyncio.get_running_loop().time())
            if frame is None:
                continue
            answer = await self._ask(frame)
            if answer is not None:
                writer.write(answer)
                self._sent()
                await writer.drain()

    async def _ask(self, frame: bytes) -> bytes | None:
        """One request and its reply on the line behind."""
        async with self._line:
            await self._on_the_wire(len(frame) + 2)
            reply = self._units.answer(frame[0], frame[1:])
            if reply is None:
                return None
            if self._char_s:
                await asyncio.sleep(self._units.turnaround_s(frame[0]))
            await self._on_the_wire(len(reply) + 3)
            return frame[:1] + reply + crc16(frame[:1] + reply)

    async def _on_the_wire(self, characters: int) -> None:
        if self._char_s:
            await asyncio.sleep(characters * self._char_s + self._gap_s)
