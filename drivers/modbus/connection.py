"""Modbus over TCP, over serial lines (RTU), and RTU frames over TCP: one open connection.

A connection is one TCP socket or one serial port; an address is a unit id and a register or coil behind it.
One request is out at a time (`several` has more). What comes in: planned requests and values to write; what goes
out: batches and values read back. `requests` (pymodbus) says what is asked, `wire` moves the bytes, `frames` decides
which of them answer, `codec` says what they mean.

On RTU an answer carries no number. A unit that owes one (it timed out) is therefore not asked again before its
late answer has come or as long again as the time-out has passed; the other units are asked meanwhile. An answer
that comes still later, or twice, and has the form of what is asked then, is told apart as far as it can be (`doubt`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

from drivers.driver import BadAnswer, Clock, ConnectionDown, DeviceSilent, Driver, DriverError, Refused
from drivers.modbus import requests
from drivers.modbus.check import check
from drivers.modbus.codec import decode as decode_one
from drivers.modbus.codec import encode, qualities
from drivers.modbus.doubt import CLEAR, Doubts
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.frames import Asked, BrokenFrame, Gate, RtuGate, TcpGate
from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, RtuTcpSettings, TcpSettings, UnitKeys
from drivers.modbus.planner import ModbusSettings, ReadRequest, line_of, place, plan
from drivers.modbus.probe import probe
from drivers.modbus.reasons import EXCEPTIONS, GATEWAY_SILENT, lost
from drivers.modbus.scan import describe, scan
from drivers.modbus.wire import TcpWire, Wire
from drivers.point import Batch, Device, Point, Quality, Tally, Value

DEAF = 4
"""After so many time-outs without a byte from anybody a network connection is made anew."""
_FORGET = 1 / 16
"""Of how much earlier than expected an answer began, this part is expected of the next."""
_USUAL = (0.75, 1.15)
"""An answer begins within these times of when it usually does, at the latest; another one is early or late."""
_LATEST, _LATEST_S = 1.25, 0.015
"""So many times as late, and so many seconds: nothing is waited for any longer that may answer besides."""


_FAILED = (BrokenFrame, TimeoutError, ConnectionResetError)
_GOOD = Quality.GOOD
"""Looked up once: a member of an enumeration is slow to find."""


class Kept:
    """What is kept of one planned request: its PDU, and the newest answer."""

    __slots__ = ("_answer", "begin_s", "form", "frame", "pdu", "qualities", "values")

    def __init__(self, request: ReadRequest, begin_s: float) -> None:
        self.begin_s = begin_s
        """How long after the request its answer begins, the device's patience apart; learned."""
        self.pdu = requests.read(request.table, request.address, request.count)
        self.form = request.unit_id, self.pdu[0], Asked.by(request.unit_id, self.pdu).size
        """All that an answer on a serial line shows of what it answers."""
        self.frame: bytes | None = None
        """What came last on a network, from the third byte on."""
        self.values: tuple[Value, ...] = ()
        self.qualities: tuple[Quality, ...] | None = None
        self._answer: bytes | None = None

    def take(self, request: ReadRequest, answer: bytes) -> None:
        """An answer's PDU: decoded where it differs from the newest."""
        if answer != self._answer:
            self.values = request.decode(answer[2:])
            self.qualities = qualities(self.values)
            self._answer = answer


class ModbusLink:
    """One open connection."""

    def __init__(self, name: str, settings: ModbusSettings, clock: Clock) -> None:
        self.tally = Tally()
        self._name = name
        self._settings = settings
        self._timeout_s = settings.timeout
        self._clock = clock
        self._turn = asyncio.Lock()
        self._rtu = not isinstance(settings, TcpSettings)
        self._gate: Gate = RtuGate(self._bad_frame, self._stray) if self._rtu else TcpGate(self._bad_frame)
        self._line = line_of(settings)
        self._owing: dict[int, tuple[float, asyncio.Event, Asked]] = {}
        """Units whose answer may still come: until when, what tells that it came, and what it will look like."""
        self._kept: dict[ReadRequest, Kept] = {}
        self._doubts = Doubts()
        self._wire = self._new_wire()
        self._rests = self._line.silence_s > 0
        """Whether a request may always have to wait before it is sent."""
        self._unheard = 0
        """Time-outs in a row without a byte from anybody on this connection."""

    async def connect(self) -> None:
        """Open. Raises `ConnectionDown` with what to do."""
        await self._wire.open(self._name, self._settings)
        await asyncio.sleep(self._settings.pause_after_connect)

    async def close(self) -> None:
        """Give the port or socket back."""
        await self._wire.close()

    @property
    def settle_s(self) -> float:
        """How long a device that has timed out is left alone: its late answer carries no number on RTU."""
        return self._settings.timeout if self._rtu else 0.0

    @property
    def at_once(self) -> int:
        """How many requests may be out."""
        return self._settings.at_once

    def ready(self, device: Device, *, write: bool = False) -> bool:
        """Whether one more request may go to a device: those that come together wait for each other."""
        return not self._turn.locked()

    async def read(self, request: ReadRequest, timeout_s: float | None = None) -> Batch:
        """One planned request. Where the device sent the same bytes as last time, `values` is the same object.

        `timeout_s`: how long this device may take, where that is less than the connection's time-out; on a line
        its answer must begin by then.
        """
        kept = self._kept.get(request) or self._keep(request)
        await self._turn.acquire()
        try:
            if self._rtu:
                kept.take(request, await self._read_line(request, kept, timeout_s))
            else:
                await self._read_network(request, kept, timeout_s)
        finally:
            self._turn.release()
        return self._batch(request, kept)

    async def _read_network(self, request: ReadRequest, kept: Kept, timeout_s: float | None) -> None:
        """Nothing has to be told apart there, and the same frame as last time is known by its bytes."""
        if self._rests or request.pause_s or self._unheard:
            await self._before(request.unit_id, request.pause_s)
        timeout = self._timeout_s if timeout_s is None or timeout_s > self._timeout_s else timeout_s
        wire = self._wire
        try:
            frame = await wire.send(self._gate.packet(request.unit_id, kept.pdu), timeout + request.wire_s)
        except _FAILED as error:
            raise self._failed(error, request.device.id, request.unit_id, kept.pdu, timeout) from None
        finally:
            wire.rest()
        self._unheard = 0
        if frame[2:] != kept.frame:
            kept.take(request, self._said(frame, request.device.id, request.unit_id))
            kept.frame = frame[2:]  # without its transaction id
        self.tally.messages += 1

    async def _read_line(self, request: ReadRequest, kept: Kept, timeout_s: float | None) -> bytes:
        """The answer, as far as it can be told whose it is."""
        answer = await self._exchange(
            request.device.id, request.unit_id, request.pause_s, request.wire_s, kept.pdu,
            timeout_s=timeout_s, start_s=kept.begin_s,
        )  # fmt: skip
        if self._doubts.asked(request, kept.form):
            answer = await self._beyond_doubt(request, kept, answer, timeout_s)
        begun_s = self._wire.begun_s or 0.0  # adapters and serial servers hold bytes back, each in its way
        kept.begin_s += (begun_s - kept.begin_s) * (1.0 if begun_s > kept.begin_s else _FORGET)
        return answer

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
            chosen = await self._exchange(
                request.device.id, unit, request.pause_s, request.wire_s, kept.pdu,
                timeout_s=timeout_s, start_s=kept.begin_s,
            )  # fmt: skip
        doubts.taken(request, form, chosen)
        return chosen

    async def _answers_more(self, kept: Kept, characters_s: float, unit: int) -> list[bytes]:
        """What else comes in answer to the same request until the latest that its true answer may."""
        until_s = self._wire.sent_s + kept.begin_s * _LATEST + _LATEST_S
        until_s += characters_s if isinstance(self._settings, RtuSettings) else 0.0
        packet = self._gate.packet(unit, kept.pdu)
        found = []
        with suppress(TimeoutError, BrokenFrame, ConnectionResetError):
            while (left_s := until_s - self._wire.now_s()) > 0:
                found.append(self._gate.pdu(await self._wire.again(packet, left_s)))
        self._gate.end()
        return [each for each in found if not each[0] & 0x80]

    def _keep(self, request: ReadRequest) -> Kept:
        begin_s = request.start_s if isinstance(self._settings, RtuSettings) else request.wire_s
        kept = self._kept[request] = Kept(request, begin_s)
        return kept

    def _batch(self, request: ReadRequest, kept: Kept) -> Batch:
        clock = self._clock
        return Batch(request.block, kept.values, clock.wall_ns(), clock.mono_s(), _GOOD, kept.qualities)

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write by FC05, FC06 or FC16 and return what is then read back.

        Raises `Refused` where the value does not fit or the device answers with an exception.
        """
        async with self._turn:
            return await self._write(device, point, value)

    async def _write(self, device: Device, point: Point, value: Value) -> Value:
        keys, address, _ = place(device, point)
        if keys.register in ("discrete", "input"):
            raise Refused(f"{point.id}: lies in the table {keys.register}, which can only be read")
        over = await self._read_back(device, keys, address) if keys.part is not None else None
        await self._send(device, point, keys, address, value, over)
        raw = await self._read_back(device, keys, address)
        return decode_one(keys, bool(raw[0]) if keys.register == "coil" else raw, point.kind)

    async def _send(
        self, device: Device, point: Point, keys: RegisterKeys, address: int, value: Value, over: list[int] | None
    ) -> None:
        try:
            raw = encode(keys, value, over)
        except ValueError as error:
            raise Refused(f"{point.id}: {error}") from error
        if isinstance(raw, bool):
            pdu = requests.write_coil(address, on=raw)
        else:
            pdu = requests.write_registers(address, raw)
        unit, wire_s = cast(UnitKeys, device.address).unit_id, self._line.exchange(2 * keys.width)
        await self._exchange(point.id, unit, self._pause(device), wire_s, pdu, refusing=True)

    async def _read_back(self, device: Device, keys: RegisterKeys, address: int) -> list[int]:
        """A point's registers, or its coil, as they stand on the device."""
        unit, wire_s = cast(UnitKeys, device.address).unit_id, self._line.exchange(2 * keys.width)
        pdu = requests.read(keys.register, address, keys.width)
        data = (await self._exchange(device.id, unit, self._pause(device), wire_s, pdu))[2:]
        if keys.register == "coil":
            return [data[0] & 1]
        return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]

    def _pause(self, device: Device) -> float:
        return max(self._settings.pause, cast(Limits, device.options).pause)

    async def _exchange(
        self,
        who: str,
        unit: int,
        pause_s: float,
        wire_s: float,
        pdu: bytes,
        *,
        refusing: bool = False,
        timeout_s: float | None = None,
        start_s: float = 0.0,
    ) -> bytes:
        """One request and its answer's PDU; the caller holds the turn. Raises the four errors.

        The device's time to answer does not count what the characters take on a slow line (`wire_s`).
        """
        await self._before(unit, pause_s)
        timeout = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        begin_s = start_s + timeout if self._rtu and timeout_s is not None else None
        try:
            frame = await self._wire.exchange(self._gate.packet(unit, pdu), timeout + wire_s, begin_s)
        except _FAILED as error:
            raise self._failed(error, who, unit, pdu, timeout) from None
        answer = self._said(frame, who, unit, refusing=refusing)
        self.tally.messages += 1
        return answer

    async def _before(self, unit: int, pause_s: float) -> None:
        """What must be before the next request goes out."""
        if self._rests or pause_s or self._owing:
            await self._rest(unit, pause_s)
        if self._unheard >= DEAF and not isinstance(self._settings, RtuSettings):
            await self._renew()

    def _said(self, frame: bytes, who: str, unit: int, *, refusing: bool = False) -> bytes:
        """What a frame says: an answer's PDU. Raises what an exception means."""
        self._unheard = 0
        answer = self._gate.pdu(frame)
        if answer[0] & 0x80:
            raise self._exception(who, unit, answer[1], refusing)
        return answer

    def _failed(self, error: Exception, who: str, unit: int, pdu: bytes, timeout_s: float) -> DriverError:
        """What it means that no answer has come."""
        if isinstance(error, BrokenFrame):
            self._unheard = 0
            return BadAnswer(f"{who}: unit {unit} on {self._name}: {error}; {self._check()}")
        if isinstance(error, TimeoutError):
            return self._unanswered(who, unit, pdu, timeout_s)
        return ConnectionDown(lost(self._name, self._settings))

    async def _renew(self) -> None:
        """Connect anew where nothing has come for long: a peer that has vanished, or hangs, says nothing for ever.

        Raises `ConnectionDown` where that fails, so that devices are only silent while their gateway is there.
        """
        self._unheard = 0
        await self._wire.close()
        self._wire = self._new_wire()
        await self.connect()

    def _new_wire(self) -> Wire:
        return Wire(self._gate) if self._rtu else TcpWire(self._gate)

    async def _rest(self, unit: int, pause_s: float) -> None:
        """Leave the line quiet for as long as frames and devices need, and settle what the unit still owes."""
        quiet_s = max(pause_s, self._line.silence_s)
        if quiet_s > 0:
            until_s = self._wire.quiet_since_s + quiet_s
            while (wait_s := until_s - self._wire.now_s()) > 0:  # noqa: ASYNC110  # a timer may be a bit early
                await asyncio.sleep(wait_s)
        if owing := self._owing.get(unit):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(owing[0]):
                    await owing[1].wait()
            self._owing.pop(unit, None)

    def _unanswered(self, who: str, unit: int, pdu: bytes, timeout_s: float) -> DeviceSilent | BadAnswer:
        """What a time-out means."""
        if self._rtu and not self._gate.begun():
            until_s = asyncio.get_running_loop().time() + self.settle_s
            self._owing[unit] = (until_s, asyncio.Event(), Asked.by(unit, pdu))
            self._doubts.restless(unit, self._wire.now_s(), note=True)
        if self._gate.end():
            return BadAnswer(f"{who}: unit {unit} on {self._name}: the answer is cut short; {self._check()}")
        self.tally.timeouts += 1
        self._unheard += 1
        check = "unit id, baud rate, parity and wiring" if self._rtu else "unit id, and the wiring behind the gateway"
        return DeviceSilent(
            f"{who}: unit {unit} on {self._name} does not answer within {timeout_s:.3g} s; check its power, {check}"
        )

    def _exception(self, who: str, unit: int, code: int, refusing: bool) -> DeviceSilent | BadAnswer | Refused:
        self.tally.exceptions += 1
        meaning = EXCEPTIONS.get(code, "a code of the maker's own; look it up in the maker's sheet")
        message = f"{who}: unit {unit} on {self._name} answers with exception {code:#04x}: {meaning}"
        if code in GATEWAY_SILENT:
            return DeviceSilent(message)
        return Refused(message) if refusing else BadAnswer(message)

    def _check(self) -> str:
        if self._rtu:
            return "check termination, shielding and baud rate, and that no two devices share a unit id"
        return "check that nothing else answers at this address"

    def _bad_frame(self, kind: str) -> None:
        self._unheard = 0
        self.tally.bad_frames += 1
        self.tally.detail[kind] = self.tally.detail.get(kind, 0) + 1

    def _stray(self, unit: int, pdu: bytes) -> None:
        """A frame that nobody waits for; it may be the one that was owed."""
        self._doubts.restless(unit, self._wire.now_s(), note=True)
        owing = self._owing.get(unit)
        if owing and owing[2].mismatch(unit, pdu) is None:
            del self._owing[unit]
            owing[1].set()


@asynccontextmanager
async def open_connection(
    name: str, settings: ModbusSettings, devices: Sequence[Device], clock: Clock
) -> AsyncIterator[ModbusLink]:
    """One open connection. Raises `ConnectionDown` with what to do. The devices need no greeting on Modbus."""
    link = _link(name, settings, clock)
    try:
        await link.connect()
        yield link
    finally:
        await link.close()


def _link(name: str, settings: ModbusSettings, clock: Clock) -> ModbusLink:
    if isinstance(settings, TcpSettings) and settings.at_once > 1:
        from drivers.modbus.several import SeveralLink  # it is a kind of this module's link

        return SeveralLink(name, settings, clock)
    return ModbusLink(name, settings, clock)


def _driver(settings: type[TcpSettings] | type[RtuSettings] | type[RtuTcpSettings], scheme: str) -> Driver:
    return Driver(
        "modbus", settings, UnitKeys, RegisterKeys, Limits, open_connection, plan=plan, check=check, scheme=scheme,
        describe=describe, fingerprint=FingerprintKeys, scan=scan, probe=probe,
    )  # fmt: skip


TCP = _driver(TcpSettings, "modbus-tcp")
RTU = _driver(RtuSettings, "serial")
RTU_TCP = _driver(RtuTcpSettings, "rtu-tcp")
