"""Modbus on a serial line, and RTU frames over TCP: an answer carries no number there.

A unit that owes an answer (it timed out) is therefore not asked again before its late answer has come or as long
again as the time-out has passed; the other units are asked meanwhile. An answer that comes still later, or twice, and
has the form of what is asked then, is told apart as far as it can be (`doubt`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from drivers.driver import BadAnswer, Clock, DeviceSilent
from drivers.modbus.doubt import CLEAR, Doubts
from drivers.modbus.frames import SHORTEST_RTU, Asked, BrokenFrame, RtuGate
from drivers.modbus.keys import RegisterKeys, RtuSettings, RtuTcpSettings
from drivers.modbus.link import Kept, ModbusLink
from drivers.modbus.planner import ReadRequest
from drivers.point import Batch, Device

_FORGET = 1 / 16
"""Of how much earlier than expected an answer began, this part is expected of the next."""
_USUAL = (0.75, 1.15)
"""An answer begins within these times of when it usually does, at the latest; another one is early or late."""
_LATEST, _LATEST_S = 1.25, 0.015
"""So many times as late, and so many seconds: nothing is waited for any longer that may answer besides."""


class LineLink(ModbusLink):
    """One serial line, at a port of this box or behind a serial server."""

    __slots__ = ("_doubts", "_owing", "_serial", "settle_s")

    silent_check = "unit id, baud rate, parity and wiring"
    broken_check = "check termination, shielding and baud rate, and that no two devices share a unit id"

    def __init__(self, name: str, settings: RtuSettings | RtuTcpSettings, clock: Clock) -> None:
        super().__init__(name, settings, clock, RtuGate(self._bad_frame, self._stray))
        self.settle_s = settings.timeout
        """How long a device that has timed out is left alone: its late answer carries no number."""
        self._serial = isinstance(settings, RtuSettings)
        self._owing: dict[int, tuple[float, asyncio.Event, Asked]] = {}
        """Units whose answer may still come: until when, what tells that it came, and what it will look like."""
        self._doubts = Doubts()

    async def read(self, request: ReadRequest, timeout_s: float | None = None) -> Batch:
        """See `ModbusLink.read`."""
        kept = self._kept.get(request) or self._keep(request)
        if self._turn.taken:
            await self._turn.free()
        self._turn.taken = True
        try:
            answer = await self._asked(request, kept, timeout_s)
            if self._doubts.asked(request, kept.form):
                answer = await self._beyond_doubt(request, kept, answer, timeout_s)
            if (begun_s := self._wire.begun_s) is not None:  # adapters hold bytes back, each in its way
                kept.begin_s += (begun_s - kept.begin_s) * (1.0 if begun_s > kept.begin_s else _FORGET)
        finally:
            self._turn.leave()
        kept.take(answer)
        return self._batch(request, kept)

    async def _asked(self, request: ReadRequest, kept: Kept, timeout_s: float | None) -> bytes:
        begin_s = None if timeout_s is None else kept.begin_s + min(timeout_s, self._timeout_s)
        return await self._exchange(
            request.device.id, request.unit_id, request.pause_s, request.wire_s, kept.pdu,
            timeout_s=timeout_s, begin_s=begin_s,
        )  # fmt: skip

    def _keep(self, request: ReadRequest) -> Kept:
        kept = self._kept[request] = Kept(request, request.start_s if self._serial else request.wire_s)
        return kept

    async def _beyond_doubt(self, request: ReadRequest, kept: Kept, answer: bytes, timeout_s: float | None) -> bytes:
        """The answer, where it is its own block's; else the other one that comes, or that comes to a second request.

        What comes early may be another block's, late or doubled: then the true one comes within its usual time.
        """
        doubts, form, unit = self._doubts, kept.form, request.unit_id
        leaning = doubts.leaning(request, form, answer)
        restless = leaning >= CLEAR and doubts.restless(unit, self._wire.now_s())
        chosen: bytes | None = answer
        if leaning > 0 or restless:
            begun = (self._wire.begun_s or 0.0) / kept.begin_s
            answers = [answer, *await self._answers_more(kept, len(answer) * self._line.character_s, unit)]
            chosen = doubts.choose(request, form, answers)
            if len(answers) > 1:
                doubts.restless(unit, self._wire.now_s(), note=True)
            elif not _USUAL[0] <= begun <= _USUAL[1]:
                chosen = None
        if chosen is None:
            self._bad_frame("doubtful")
            chosen = await self._asked(request, kept, timeout_s)
        doubts.taken(request, form, chosen)
        return chosen

    async def _answers_more(self, kept: Kept, characters_s: float, unit: int) -> list[bytes]:
        """What else comes in answer to the same request until the latest that its true answer may."""
        until_s = self._wire.sent_s + kept.begin_s * _LATEST + _LATEST_S
        until_s += characters_s if self._serial else 0.0
        packet = self._gate.packet(unit, kept.pdu)
        found = []
        with suppress(TimeoutError, BrokenFrame, ConnectionResetError):
            while (left_s := until_s - self._wire.now_s()) > 0:
                found.append(self._gate.pdu(await self._wire.again(packet, left_s)))
        self._gate.end()
        return [each for each in found if not each[0] & 0x80]

    async def _neighbours(self, device: Device, keys: RegisterKeys, address: int) -> list[int]:
        """See `ModbusLink._neighbours`; asked twice, since a late answer to something else may look the same here."""
        first = await super()._neighbours(device, keys, address)
        if await super()._neighbours(device, keys, address) != first:
            raise BadAnswer(
                f"{device.id}: two answers about register {address} differ; nothing is written, try again"
            )
        return first

    async def _before(self, unit: int, pause_s: float) -> None:
        """Settle what the unit still owes, and leave the line quiet for as long as frames and devices need."""
        if owing := self._owing.get(unit):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(owing[0]):
                    await owing[1].wait()
            self._owing.pop(unit, None)
        await self._quiet(max(pause_s, self._line.silence_s))
        if not self._serial and self._gone():
            await self._renew()

    def _unanswered(self, who: str, unit: int, pdu: bytes, timeout_s: float) -> DeviceSilent | BadAnswer:
        """What a time-out means: where nothing has come but noise, the answer is owed."""
        if not self._gate.begun() and self._gate.held() < SHORTEST_RTU:
            self._gate.end()
            until_s = asyncio.get_running_loop().time() + self.settle_s
            self._owing[unit] = (until_s, asyncio.Event(), Asked.by(unit, pdu))
            self._doubts.restless(unit, self._wire.now_s(), note=True)
        return super()._unanswered(who, unit, pdu, timeout_s)

    def _stray(self, unit: int, pdu: bytes) -> None:
        """A frame that nobody waits for; it may be the one that was owed."""
        self._doubts.restless(unit, self._wire.now_s(), note=True)
        owing = self._owing.get(unit)
        if owing and owing[2].mismatch(unit, pdu) is None:
            del self._owing[unit]
            owing[1].set()
