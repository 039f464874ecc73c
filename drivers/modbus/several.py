"""Modbus TCP with several requests out: each answer is known by its transaction id, in whatever order they come.

What comes in: requests, while others are unanswered, and bytes. What goes out: to each request its own answer. A lost
answer costs its own request only. Bytes that are no Modbus TCP spoil what is out, since nobody can tell whose they
were. To one unit goes one request at a time, or as many as its profile's `limits` allow; a write goes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import cast

from drivers.driver import BadAnswer, Clock, DeviceSilent
from drivers.modbus.frames import HEADER, LARGEST_TCP, MBAP, Asked, BrokenFrame, TcpGate
from drivers.modbus.keys import Limits, TcpSettings, UnitKeys
from drivers.modbus.link import ModbusLink
from drivers.modbus.planner import ReadRequest
from drivers.modbus.tcp import TcpLink
from drivers.modbus.wire import Wire, expire
from drivers.point import Batch, Device, Point, Value


class SeveralGate(TcpGate):
    """MBAP frames, of which several are waited for."""

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__(count)
        self._out: dict[int, Asked] = {}
        """By transaction id."""

    def ask(self, packet: bytes, known: bytes = b"") -> None:
        """A request leaves; others may be out."""
        if not self._out:
            super().end()
        asked = self._asked = self._expect(packet)
        self._out[asked.transaction] = asked

    def end(self) -> bool:
        """Nothing: each request is given up by itself."""
        return False

    def give_up(self, transaction: int) -> bool:
        """One is waited for no longer. True where part of its answer had come; that is counted and dropped."""
        asked = self._out.pop(transaction, None)
        if not self._out:
            self._asked = None
        if asked is None or self._held[:2] != transaction.to_bytes(2, "big"):
            return False
        self._held = b""
        self._count("truncated")
        return True

    def clear(self) -> list[int]:
        """The connection is made anew: nothing is out any more. Returns what was."""
        out = list(self._out)
        self._out.clear()
        super().end()
        return out

    def answers(self, data: bytes) -> list[tuple[int, bytes | BrokenFrame]]:
        """Bytes came. What they are to which request: the frame that answers it, or why there will be none."""
        if self._held and self._begins_anew(data):
            self._held = b""
            self._count("truncated")
        self._held += data
        found: list[tuple[int, bytes | BrokenFrame]] = []
        while len(self._held) > MBAP + 1:
            transaction, protocol, length, unit = HEADER.unpack_from(self._held)
            if protocol or not 2 <= length <= LARGEST_TCP:
                found += self._spoilt()
                break
            if len(self._held) < MBAP + length:
                break
            frame, self._held = self._held[: MBAP + length], self._held[MBAP + length :]
            asked = self._out.pop(transaction, None)
            if asked is None:
                self._pass(unit, frame[MBAP + 1 :], "late")
                continue
            found.append((transaction, self._judged(asked, unit, frame)))
        if not self._out:
            self._asked = None
        return found

    def _judged(self, asked: Asked, unit: int, frame: bytes) -> bytes | BrokenFrame:
        if reason := asked.mismatch(unit, frame[MBAP + 1 :]):
            self._count("mismatch")
            return BrokenFrame(reason)
        if self._held[2:4].strip(b"\0") or self._held[4:5].strip(b"\0"):
            self._count("merged")
            return BrokenFrame("the answer runs into bytes that begin no frame; it may have been cut short")
        return frame

    def _spoilt(self) -> list[tuple[int, bytes | BrokenFrame]]:
        self._held = b""
        self._count("header")
        out = list(self._out)
        self._out.clear()
        return [(each, BrokenFrame("the bytes that came are no Modbus TCP header")) for each in out]


class SeveralWire(Wire):
    """The open socket."""

    def __init__(self, gate: SeveralGate) -> None:
        super().__init__(gate)
        self._several = gate
        self._answers: dict[int, tuple[asyncio.Future[bytes], float]] = {}
        """By transaction id, and until when it is waited for."""

    async def exchange(self, packet: bytes, timeout_s: float, begin_s: float | None = None) -> bytes:
        """Send a packet and return the frame that answers it, whatever else is out.

        Raises BrokenFrame, TimeoutError, and ConnectionResetError where the connection ends.
        """
        if self.transport is None:
            raise ConnectionResetError
        transaction = int.from_bytes(packet[:2], "big")
        answer: asyncio.Future[bytes] = self._loop.create_future()
        now_s = self.now_s()
        due_s = now_s + timeout_s
        self._answers[transaction] = answer, due_s
        self._deadlines.begin(due_s, now_s)
        try:
            self._several.ask(packet)
            self.transport.write(packet)
            return await answer
        except TimeoutError:
            if self._several.give_up(transaction):
                raise BrokenFrame("the answer is cut short") from None
            raise
        finally:
            self._deadlines.end()
            self._several.give_up(transaction)
            self._answers.pop(transaction, None)

    def expire(self, now_s: float) -> float:
        """Give up what should have come by now; returns by when the next should."""
        next_s = inf
        for answer, due_s in self._answers.values():
            if due_s <= now_s:
                expire(answer)
            elif not answer.done():
                next_s = min(next_s, due_s)
        return next_s

    def data_received(self, data: bytes) -> None:
        """Bytes, in any pieces."""
        self.quiet_since_s = self.now_s()
        for transaction, found in self._several.answers(data):
            answer, _ = self._answers.get(transaction, (None, 0.0))
            if answer is None or answer.done():
                continue
            if isinstance(found, BrokenFrame):
                answer.set_exception(found)
            else:
                answer.set_result(found)

    def connection_lost(self, error: Exception | None) -> None:
        """The peer has hung up: all that is out ends at once."""
        self._lost(waited_for=bool(self._answers))
        for answer, _ in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())

    async def close(self) -> None:
        """Give the socket back; what is out will not be answered any more."""
        for answer, _ in self._answers.values():
            expire(answer)
        await super().close()


class SeveralLink(ModbusLink):
    """One open connection with several requests out. Whoever sends one asks `ready` first."""

    __slots__ = ("_quiet_s", "_several", "_units", "_written")

    silent_check = TcpLink.silent_check
    broken_check = TcpLink.broken_check

    def __init__(self, name: str, settings: TcpSettings, clock: Clock) -> None:
        self._several = SeveralGate(self._bad_frame)
        super().__init__(name, settings, clock, self._several)
        self._units: dict[int, int] = {}
        """Requests that are out, by unit."""
        self._written: set[int] = set()
        """Units that are written to."""
        self._quiet_s: dict[int, float] = {}
        """When a unit's last exchange ended."""

    def ready(self, device: Device, *, write: bool = False) -> bool:
        """Whether one more request may go to a device, beside those that are out; a write goes alone to its unit."""
        unit = cast(UnitKeys, device.address).unit_id
        out = self._units.get(unit, 0)
        if unit in self._written or sum(self._units.values()) >= self.at_once:
            return False
        return out < (1 if write else cast(Limits, device.options).max_in_flight)

    async def read(self, request: ReadRequest, timeout_s: float | None = None) -> Batch:
        """One planned request."""
        kept = self._kept.get(request) or self._keep(request)
        async with self._out(request.unit_id):
            answer = await self._exchange(
                request.device.id, request.unit_id, request.pause_s, request.wire_s, kept.pdu, timeout_s=timeout_s
            )
        kept.take(answer)
        return self._batch(request, kept)

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write and return what is then read back; nothing else is out at the unit meanwhile."""
        unit = cast(UnitKeys, device.address).unit_id
        async with self._out(unit):
            self._written.add(unit)
            try:
                return await self._write(device, point, value)
            finally:
                self._written.discard(unit)

    @asynccontextmanager
    async def _out(self, unit: int) -> AsyncIterator[None]:
        self._units[unit] = self._units.get(unit, 0) + 1
        try:
            yield
        finally:
            self._units[unit] -= 1
            if not self._units[unit]:
                del self._units[unit]
            self._quiet_s[unit] = self._wire.now_s()

    async def _before(self, unit: int, pause_s: float) -> None:
        """What the unit needs between two requests; the line is a network and needs nothing."""
        wait_s = self._quiet_s.get(unit, 0.0) + pause_s - self._wire.now_s() if pause_s > 0 else 0.0
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if self._turn.taken:  # it is made anew just now
            await self._turn.free()
        if self._gone():
            self._turn.taken = True
            try:
                await self._renew()
            finally:
                self._turn.leave()

    def _unanswered(self, who: str, unit: int, pdu: bytes, timeout_s: float) -> DeviceSilent | BadAnswer:
        """What a time-out means: nothing of the peer, where others were heard while this one was out."""
        silent = super()._unanswered(who, unit, pdu, timeout_s)
        if self._wire.now_s() - self._wire.quiet_since_s < timeout_s:
            self._unheard = 0
        return silent

    def _new_wire(self) -> Wire:
        self._several.clear()
        return SeveralWire(self._several)
