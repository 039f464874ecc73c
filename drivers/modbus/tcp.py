"""Modbus TCP with one request out, as nearly every device wants it.

Each answer carries the number of its request, so nothing has to be told apart; and where a device sends the same
bytes as last time, no more is done than to find that out.
"""

from __future__ import annotations

from drivers.driver import Clock
from drivers.modbus.frames import TcpGate
from drivers.modbus.keys import TcpSettings
from drivers.modbus.link import FAILED, GOOD, ModbusLink
from drivers.modbus.planner import ReadRequest
from drivers.modbus.wire import TcpWire, Wire
from drivers.point import Batch


class TcpLink(ModbusLink):
    """One open socket."""

    __slots__ = ()

    silent_check = "unit id, and the wiring behind the gateway"
    broken_check = "check that nothing else answers at this address"

    def __init__(self, name: str, settings: TcpSettings, clock: Clock, gate: TcpGate | None = None) -> None:
        super().__init__(name, settings, clock, gate or TcpGate(self._bad_frame))

    async def read(self, request: ReadRequest, timeout_s: float | None = None) -> Batch:
        """See `ModbusLink.read`."""
        kept = self._kept.get(request) or self._keep(request)
        turn, unit = self._turn, request.unit_id
        if turn.taken:
            await turn.free()
        turn.taken = True
        try:
            if request.pause_s or self._unheard:
                await self._before(unit, request.pause_s)
            timeout = self._timeout_s if timeout_s is None or timeout_s > self._timeout_s else timeout_s
            wire = self._wire
            answer = wire.send(self._gate.packet(unit, kept.pdu), timeout + request.wire_s, known=kept.frame)
            try:
                frame = await answer
            except FAILED as error:
                raise self._failed(error, request.device.id, unit, kept.pdu, timeout) from None
            finally:
                wire.rest()
        finally:
            turn.taken = False
            if turn.wanted:
                turn.leave()
        if self._unheard:
            self._unheard = 0
        if frame is not kept.frame:
            kept.take(request, self._said(frame, request.device.id, unit))
            kept.frame = frame
        self.tally.messages += 1
        clock = self._clock
        return Batch(request.block, kept.values, clock.wall_ns(), clock.mono_s(), GOOD, kept.qualities)

    def _new_wire(self) -> Wire:
        return TcpWire(self._gate)
