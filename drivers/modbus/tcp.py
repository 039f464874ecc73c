"""Modbus TCP with one request out, as nearly every device wants it.

Each answer carries the number of its request, so nothing has to be told apart; and where a device sends the same
bytes as last time, no more is done than to find that out.

Many gateways ask their own line one thing after the other. Where a unit is given up sooner than the connection's
time-out, its gateway may still wait for it, and whoever is asked next waits too: a unit that has answered until then
is given that time as well, so that it is not taken for dead with its neighbour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from drivers.driver import Clock
from drivers.modbus.frames import TcpGate
from drivers.modbus.keys import TcpSettings
from drivers.modbus.link import GOOD, Kept, ModbusLink
from drivers.modbus.planner import ReadRequest
from drivers.modbus.wire import TcpWire, Wire
from drivers.point import Batch

Told = Callable[[Batch | Exception], None]


class TcpLink(ModbusLink):
    """One open socket. To its wire it is itself what a future would be: one answer is waited for at a time."""

    __slots__ = ("_asked", "_busy_s", "_extended", "_given_up", "_in_turn", "_limit_s", "_newest", "_told")

    silent_check = "unit id, and the wiring behind the gateway"
    broken_check = "check that nothing else answers at this address"

    def __init__(self, name: str, settings: TcpSettings, clock: Clock) -> None:
        super().__init__(name, settings, clock, TcpGate(self._bad_frame, self._stray))
        self._asked: Kept | None = None
        """Of the request that is out."""
        self._newest: Kept | None = None
        """Of the one that was asked last: nearly always it is asked again."""
        self._limit_s = 0.0
        """How long what is out may take."""
        self._told: Told | None = None
        """Who is told what comes of it."""
        self._given_up: set[int] = set()
        """Units whose newest request was not answered."""
        self._busy_s = 0.0
        """Until when the gateway may wait for the unit that was given up last."""
        self._in_turn = True
        """Whether waiting for that is worth it: not again, once it was for nothing, before a late answer is seen."""
        self._extended = False
        """Whether what is out is given such time."""

    async def read(self, request: ReadRequest, timeout_s: float | None = None) -> Batch:
        """See `ModbusLink.read`."""
        turn = self._turn
        if turn.taken:
            await turn.free()
        turn.taken = True
        try:
            await self._before(request.unit_id, request.pause_s)
        except BaseException:
            turn.leave()
            raise
        answer: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        self._begin(request, timeout_s, partial(_tell, answer))
        return await answer

    def ask(self, request: ReadRequest, timeout_s: float | None, told: Told) -> bool:
        """As `read`, but `told` is called with what comes of it; False where something must be waited for first."""
        turn = self._turn
        if turn.taken or self._unheard or request.pause_s or self._wire.transport is None:
            return False
        turn.taken = True
        self._begin(request, timeout_s, told)
        return True

    def _begin(self, request: ReadRequest, timeout_s: float | None, told: Told) -> None:
        try:
            kept = self._newest
            if kept is None or kept.request is not request:
                kept = self._newest = self._kept.get(request) or self._keep(request)
            timeout = self._timeout_s if timeout_s is None or timeout_s > self._timeout_s else timeout_s
            if self._busy_s:
                timeout = self._beyond_busy(request.unit_id, timeout)
            self._asked, self._limit_s, self._told = kept, timeout, told
            packet = self._gate.packet(request.unit_id, kept.pdu)
            self._wire.send(packet, self, timeout + request.wire_s, None, kept.known)
        except BaseException:  # nobody else will leave the turn
            self._asked = None
            self._turn.leave()
            raise

    def _beyond_busy(self, unit: int, timeout_s: float) -> float:
        """How long a unit may take that is asked while its gateway may still wait for another one."""
        left_s = self._busy_s - self._wire.now_s()
        if left_s <= 0:
            self._busy_s = 0.0
        elif self._in_turn and unit not in self._given_up:
            self._extended = True
            return left_s + timeout_s
        return timeout_s

    def _stray(self, unit: int, pdu: bytes) -> None:
        """A late answer: the gateway has done with what was given up, and does one thing after the other."""
        self._busy_s, self._in_turn = 0.0, True

    # What the wire knows of it.

    def done(self) -> bool:
        """Whether nothing is waited for."""
        return self._asked is None

    def set_result(self, frame: bytes, /) -> None:
        """The answer has come."""
        kept, told = self._ended()
        request = kept.request
        if self._unheard:
            self._unheard = 0
        if self._given_up:
            self._given_up.discard(request.unit_id)
        if frame is not kept.known:
            try:
                kept.take(self._said(frame, request.device.id, request.unit_id, kept.pdu))
            except Exception as error:  # whatever it is, whoever asked must hear of it
                told(error)
                return
            kept.known = frame[2:]
        self.tally.messages += 1
        clock = self._clock
        told(Batch(request.block, kept.values, clock.wall_ns(), clock.mono_s(), GOOD, kept.qualities))

    def set_exception(self, error: Exception, /) -> None:
        """None will come."""
        extended, timeout = self._extended, self._limit_s
        kept, told = self._ended()
        request = kept.request
        if isinstance(error, TimeoutError):
            self._given_up.add(request.unit_id)
            if extended:
                self._in_turn = False
            elif timeout < self._timeout_s:
                self._busy_s = self._wire.sent_s + self._timeout_s
        told(self._failed(error, request.device.id, request.unit_id, kept.pdu, timeout))

    def _ended(self) -> tuple[Kept, Told]:
        kept, told = self._asked, self._told
        assert kept is not None  # noqa: S101  # the wire has looked whether it is done
        assert told is not None  # noqa: S101  # set together with it
        self._asked, self._told, self._extended = None, None, False
        self._wire.rest()
        turn = self._turn
        turn.taken = False
        if turn.wanted:
            turn.leave()
        return kept, told

    def _new_wire(self) -> Wire:
        return TcpWire(self._gate)


def _tell(answer: asyncio.Future[Batch], what: Batch | Exception) -> None:
    if answer.done():  # whoever waited has gone
        return
    if isinstance(what, Batch):
        answer.set_result(what)
    else:
        answer.set_exception(what)
