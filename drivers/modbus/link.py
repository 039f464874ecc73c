"""What all open Modbus connections have in common: one request out at a time, and what its answer means.

What comes in: planned requests and values to write; what goes out: batches and values read back. `requests`
(pymodbus) says what is asked, `wire` moves the bytes, `frames` decides which of them answer, `codec` says what they
mean. How a reading is made depends on the medium: `tcp`, `several` and `line`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import cast

from drivers.driver import BadAnswer, Clock, ConnectionDown, DeviceSilent, DriverError, Refused
from drivers.modbus import requests
from drivers.modbus.codec import decode as decode_one
from drivers.modbus.codec import encode, qualities
from drivers.modbus.frames import Asked, BrokenFrame, Gate
from drivers.modbus.keys import Limits, RegisterKeys, UnitKeys
from drivers.modbus.planner import ModbusSettings, ReadRequest, line_of, place
from drivers.modbus.reasons import EXCEPTIONS, GATEWAY_SILENT, asked, lost
from drivers.modbus.turn import Turn
from drivers.modbus.wire import Wire
from drivers.point import Batch, Device, Point, Quality, Tally, Value

DEAF = 4
"""After so many time-outs without a byte from anybody a network connection is made anew."""
FAILED = (BrokenFrame, TimeoutError, ConnectionResetError)
"""How an exchange may end without an answer."""
GOOD = Quality.GOOD
"""Looked up once: a member of an enumeration is slow to find."""


class Kept:
    """What is kept of one planned request: its PDU, and the newest answer."""

    __slots__ = ("_answer", "begin_s", "form", "known", "pdu", "qualities", "request", "values")

    def __init__(self, request: ReadRequest, begin_s: float) -> None:
        self.request = request
        self.begin_s = begin_s
        """How long after the request its answer begins, the device's patience apart; learned."""
        self.pdu = requests.read(request.table, request.address, request.count)
        self.form = request.unit_id, self.pdu[0], Asked.by(request.unit_id, self.pdu).size
        """All that an answer on a serial line shows of what it answers."""
        self.known = b""
        """What answered last on a network, without its transaction id."""
        self.values: tuple[Value, ...] = ()
        self.qualities: tuple[Quality, ...] | None = None
        self._answer: bytes | None = None

    def take(self, answer: bytes) -> None:
        """An answer's PDU: decoded where it differs from the newest."""
        if answer != self._answer:
            self.values = self.request.decode(answer[2:])
            self.qualities = qualities(self.values)
            self._answer = answer


class ModbusLink(ABC):
    """One open connection."""

    __slots__ = (
        "_clock", "_gate", "_kept", "_line", "_name", "_settings", "_timeout_s", "_turn", "_unheard", "_wire",
        "tally",
    )  # fmt: skip

    silent_check = ""
    """What to look at where a device is silent, besides its power."""
    broken_check = ""
    """What to look at where an answer is broken."""
    settle_s = 0.0
    """How long a device that has timed out is left alone."""

    def __init__(self, name: str, settings: ModbusSettings, clock: Clock, gate: Gate) -> None:
        self.tally = Tally()
        self._name = name
        self._settings = settings
        self._timeout_s = settings.timeout
        self._clock = clock
        self._turn = Turn()
        self._gate = gate
        self._line = line_of(settings)
        self._kept: dict[ReadRequest, Kept] = {}
        self._wire = self._new_wire()
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
    def at_once(self) -> int:
        """How many requests may be out."""
        return self._settings.at_once

    def ready(self, device: Device, *, write: bool = False) -> bool:
        """Whether one more request may go to a device: those that come together wait for each other."""
        return not self._turn.taken

    @abstractmethod
    async def read(self, request: ReadRequest, timeout_s: float | None = None) -> Batch:
        """One planned request. Where the device sent the same bytes as last time, `values` is the same object.

        `timeout_s`: how long this device may take, where that is less than the connection's time-out; on a line
        its answer must begin by then.
        """

    def _keep(self, request: ReadRequest) -> Kept:
        kept = self._kept[request] = Kept(request, request.wire_s)
        return kept

    def _batch(self, request: ReadRequest, kept: Kept) -> Batch:
        clock = self._clock
        return Batch(request.block, kept.values, clock.wall_ns(), clock.mono_s(), GOOD, kept.qualities)

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write by FC05, FC06 or FC16 and return what is then read back.

        Raises `Refused` where the value does not fit or the device answers with an exception.
        """
        if self._turn.taken:
            await self._turn.free()
        self._turn.taken = True
        try:
            return await self._write(device, point, value)
        finally:
            self._turn.leave()

    async def _write(self, device: Device, point: Point, value: Value) -> Value:
        keys, address, _ = place(device, point)
        if keys.register in ("discrete", "input"):
            raise Refused(f"{point.id}: lies in the table {keys.register}, which can only be read")
        over = await self._neighbours(device, keys, address) if keys.part is not None else None
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

    async def _neighbours(self, device: Device, keys: RegisterKeys, address: int) -> list[int]:
        """What stands in the register of which only some bits are to be written."""
        return await self._read_back(device, keys, address)

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
        begin_s: float | None = None,
    ) -> bytes:
        """One request and its answer's PDU; the caller holds the turn. Raises the four errors.

        The device's time to answer does not count what the characters take on a slow line (`wire_s`). With `begin_s`
        a first byte must have come by then.
        """
        await self._before(unit, pause_s)
        timeout = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            frame = await self._wire.exchange(self._gate.packet(unit, pdu), timeout + wire_s, begin_s)
        except FAILED as error:
            raise self._failed(error, who, unit, pdu, timeout) from None
        answer = self._said(frame, who, unit, pdu, refusing=refusing)
        self.tally.messages += 1
        return answer

    async def _before(self, unit: int, pause_s: float) -> None:
        """What must be before the next request goes out."""
        await self._quiet(pause_s)
        if self._gone():
            await self._renew()

    async def _quiet(self, pause_s: float) -> None:
        """Leave the wire quiet for as long as that."""
        if pause_s > 0:
            until_s = self._wire.quiet_since_s + pause_s
            while (wait_s := until_s - self._wire.now_s()) > 0:  # noqa: ASYNC110  # a timer may be a bit early
                await asyncio.sleep(wait_s)

    def _gone(self) -> bool:
        """Whether a network peer has hung up because nothing was asked, or says nothing at all any more."""
        return self._wire.dropped or self._unheard >= DEAF

    async def _renew(self) -> None:
        """Connect anew where nothing has come for long: a peer that has vanished, or hangs, says nothing for ever.

        Likewise where it has hung up because nothing was asked for long: that is no fault.

        Raises `ConnectionDown` where that fails, so that devices are only silent while their gateway is there.
        """
        self._unheard = 0
        await self._wire.close()
        self._wire = self._new_wire()
        await self.connect()

    def _new_wire(self) -> Wire:
        return Wire(self._gate)

    # What came, or did not.

    def _said(self, frame: bytes, who: str, unit: int, pdu: bytes, *, refusing: bool = False) -> bytes:
        """What a frame says that answers `pdu`: its own PDU. Raises what an exception means."""
        self._unheard = 0
        answer = self._gate.pdu(frame)
        if answer[0] & 0x80:
            raise self._exception(who, unit, pdu, answer[1], refusing)
        return answer

    def _failed(self, error: Exception, who: str, unit: int, pdu: bytes, timeout_s: float) -> DriverError:
        """What it means that no answer has come."""
        if isinstance(error, BrokenFrame):
            self._unheard = 0
            return BadAnswer(f"{who}: unit {unit} on {self._name}, {asked(pdu)}: {error}; {self.broken_check}")
        if isinstance(error, TimeoutError):
            return self._unanswered(who, unit, pdu, timeout_s)
        return ConnectionDown(lost(self._name, self._settings))

    def _unanswered(self, who: str, unit: int, pdu: bytes, timeout_s: float) -> DeviceSilent | BadAnswer:
        """What a time-out means."""
        if self._gate.end():
            return BadAnswer(
                f"{who}: unit {unit} on {self._name}, {asked(pdu)}: the answer is cut short; {self.broken_check}"
            )
        self.tally.timeouts += 1
        self._unheard += 1
        # What has been learned of the device's answers, or a probe's time, is nothing that anybody has set.
        within = f" within {timeout_s:.3g} s" if timeout_s >= self._timeout_s else ""
        return DeviceSilent(
            f"{who}: unit {unit} on {self._name} does not answer{within}; check its power, {self.silent_check}"
        )

    def _exception(
        self, who: str, unit: int, pdu: bytes, code: int, refusing: bool
    ) -> DeviceSilent | BadAnswer | Refused:
        self.tally.exceptions += 1
        meaning = EXCEPTIONS.get(code, "a code of the maker's own; look it up in the maker's sheet")
        said = f"{who}: unit {unit} on {self._name} answers with exception {code:#04x}"
        if code in GATEWAY_SILENT:
            return DeviceSilent(f"{said}: {meaning}")
        message = f"{said} to the {asked(pdu)}: {meaning}"
        return Refused(message) if refusing else BadAnswer(message)

    def _bad_frame(self, kind: str) -> None:
        self._unheard = 0
        self.tally.bad_frames += 1
        self.tally.detail[kind] = self.tally.detail.get(kind, 0) + 1
