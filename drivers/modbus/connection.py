"""Modbus over TCP, over serial lines (RTU), and RTU frames over TCP: one open connection, by pymodbus.

A connection is one TCP socket or one serial port; an address is a unit id and a register or coil behind it.
One request is out at a time. What comes in: planned requests and values to write; what goes out: batches and
values read back. pymodbus does the wire (framing, transports); its retries, its reconnecting and its logging are
off, and `frames` decides which bytes answer.

On RTU an answer carries no number. A unit that owes one (it timed out) is therefore not asked again before its
late answer has come or as long again as the time-out has passed; the other units are asked meanwhile. An answer
that comes still later than that, to a request of the same shape, cannot be told apart on this protocol.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import cast

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu import ModbusPDU

from drivers.driver import BadAnswer, Clock, ConnectionDown, DeviceSilent, Driver, Refused
from drivers.modbus.check import check
from drivers.modbus.codec import decode as decode_one
from drivers.modbus.codec import encode, qualities
from drivers.modbus.frames import BrokenFrame, Gate, RtuGate, TcpGate
from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, RtuTcpSettings, Space, TcpSettings, UnitKeys
from drivers.modbus.planner import ModbusSettings, ReadRequest, line_of, place, plan
from drivers.modbus.reasons import EXCEPTIONS, GATEWAY_SILENT, lost, not_open
from drivers.point import Batch, Device, Point, Quality, Tally, Value

logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)  # what it would say is raised here, with the place

_NEVER = 1_000_000_000
"""Unanswered requests after which pymodbus would close the connection to all devices."""
_RECEIVE = 4096
"""Bytes that pymodbus may be handed at once; by default it drops all of a burst above 264."""
_DEAD_S = 20
"""A TCP peer that acknowledges nothing for so long is gone."""

Answer = tuple[bytes, tuple[Value, ...], tuple[Quality, ...] | None]


class _Data(ModbusPDU):
    """A read answer kept as the bytes that it is; decoding them is the request's own step."""

    rtu_byte_count_pos = 2
    data = b""

    def decode(self, data: bytes) -> None:
        self.data = data[1:]


class _Coils(_Data):
    function_code = 1


class _Discretes(_Data):
    function_code = 2


class _Holdings(_Data):
    function_code = 3


class _Inputs(_Data):
    function_code = 4


class ModbusLink:
    """One open connection."""

    def __init__(self, name: str, settings: ModbusSettings, clock: Clock) -> None:
        self.tally = Tally()
        self._name = name
        self._settings = settings
        self._clock = clock
        self._turn = asyncio.Lock()
        self._rtu = not isinstance(settings, TcpSettings)
        self._gate: Gate = RtuGate(self._bad_frame, self._stray) if self._rtu else TcpGate(self._bad_frame)
        self._line = line_of(settings)
        self._quiet_since_s = 0.0
        self._asking = False
        self._owing: dict[int, tuple[float, asyncio.Event]] = {}
        """Units whose answer may still come: until when, and what tells that it came."""
        self._last: dict[ReadRequest, Answer] = {}
        self._client = self._make_client()
        self._reads: dict[Space, Callable[..., Awaitable[ModbusPDU]]] = {
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
        }

    def _make_client(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        settings = self._settings
        client: AsyncModbusTcpClient | AsyncModbusSerialClient
        if isinstance(settings, RtuSettings):
            client = AsyncModbusSerialClient(
                settings.port,
                baudrate=settings.baudrate,
                parity=settings.parity,
                stopbits=settings.stopbits,
                timeout=settings.timeout,
                retries=0,
                reconnect_delay=0,  # 0: it does not reconnect by itself
                trace_packet=self._packet,
                trace_connect=self._connected,
            )
        else:
            client = AsyncModbusTcpClient(
                settings.host,
                port=settings.port,
                framer=FramerType.RTU if self._rtu else FramerType.SOCKET,
                timeout=settings.timeout,
                retries=0,
                reconnect_delay=0,
                trace_packet=self._packet,
                trace_connect=self._connected,
            )
        client.set_max_no_responses(_NEVER)
        client.ctx.max_buffer_size = _RECEIVE
        for answer in (_Coils, _Discretes, _Holdings, _Inputs):
            client.register(answer)
        return client

    async def connect(self) -> None:
        """Open. Raises `ConnectionDown` with what to do."""
        create = self._client.ctx.call_create
        reason: Exception | None = None

        async def noting() -> object:
            nonlocal reason
            try:
                return await create()
            except (OSError, ValueError) as error:  # pymodbus would only log it
                reason = error
                raise

        self._client.ctx.call_create = noting
        with suppress(ValueError):  # a baud rate that the port does not know
            if await self._client.connect():
                await asyncio.sleep(0)  # a serial transport sets itself up in the next round of the loop
                self._watch_peer()
                return
        raise ConnectionDown(not_open(self._name, self._settings, reason)) from reason

    async def close(self) -> None:
        """Give the port or socket back."""
        self._client.close()
        await asyncio.sleep(0)  # the transport closes in the next round of the loop

    def _watch_peer(self) -> None:
        """Let the kernel find out that a TCP peer is gone without a word, so that silence means the device."""
        peer = self._client.ctx.transport.get_extra_info("socket")
        if peer is None:
            return
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _DEAD_S // 2)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _DEAD_S // 4)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_S * 1000)

    async def read(self, request: ReadRequest) -> Batch:
        """One planned request. Where the device sent the same bytes as last time, `values` is the same object."""
        ask = partial(self._reads[request.table], request.address, count=request.count, device_id=request.unit_id)
        async with self._turn:
            answer = await self._exchange(request.device.id, request.unit_id, request.pause_s, request.wire_s, ask)
        time_ns, mono_s = self._clock.wall_ns(), self._clock.mono_s()
        data = cast(_Data, answer).data
        last = self._last.get(request)
        if last is None or last[0] != data:
            values = request.decode(data)
            last = self._last[request] = (data, values, qualities(values))
        return Batch(request.block, last[1], time_ns, mono_s, Quality.GOOD, last[2])

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write by FC05, FC06 or FC16 and return what is then read back.

        Raises `Refused` where the value does not fit or the device answers with an exception.
        """
        keys, address, _ = place(device, point)
        if keys.register in ("discrete", "input"):
            raise Refused(f"{point.id}: lies in the table {keys.register}, which can only be read")
        async with self._turn:
            if keys.register == "coil":
                await self._send(device, point, keys, address, value, None)
            else:
                over = await self._read_back(device, keys, address) if keys.bit is not None else None
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
        unit, client = cast(UnitKeys, device.address).unit_id, self._client
        ask: Callable[[], Awaitable[ModbusPDU]]
        if isinstance(raw, bool):
            ask = partial(client.write_coil, address, raw, device_id=unit)
        elif len(raw) == 1:
            ask = partial(client.write_register, address, raw[0], device_id=unit)
        else:
            ask = partial(client.write_registers, address, raw, device_id=unit)
        wire_s = self._line.exchange(2 * keys.width)
        await self._exchange(point.id, unit, self._pause(device), wire_s, ask, refusing=True)

    async def _read_back(self, device: Device, keys: RegisterKeys, address: int) -> list[int]:
        """A point's registers, or its coil, as they stand on the device."""
        unit = cast(UnitKeys, device.address).unit_id
        ask = partial(self._reads[keys.register], address, count=keys.width, device_id=unit)
        wire_s = self._line.exchange(2 * keys.width)
        data = cast(_Data, await self._exchange(device.id, unit, self._pause(device), wire_s, ask)).data
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
        ask: Callable[[], Awaitable[ModbusPDU]],
        *,
        refusing: bool = False,
    ) -> ModbusPDU:
        """One request and its answer; the caller holds the turn. Raises the four errors.

        The device's time to answer does not count what the characters take on a slow line (`wire_s`).
        """
        self._client.ctx.comm_params.timeout_connect = self._settings.timeout + wire_s
        await self._rest(unit, pause_s)
        if not self._client.connected:
            raise ConnectionDown(lost(self._name, self._settings))
        self._asking = True
        try:
            answer = await ask()
        except BrokenFrame as error:
            raise BadAnswer(f"{who}: unit {unit} on {self._name}: {error}; {self._check()}") from None
        except ModbusIOException:
            raise self._unanswered(who, unit) from None
        except ConnectionException:
            raise ConnectionDown(lost(self._name, self._settings)) from None
        finally:
            self._asking = False
            self._quiet_since_s = asyncio.get_running_loop().time()
        if answer.isError():
            raise self._exception(who, unit, answer.exception_code, refusing)
        self.tally.messages += 1
        return answer

    async def _rest(self, unit: int, pause_s: float) -> None:
        """Leave the line quiet for as long as frames and devices need, and settle what the unit still owes."""
        wait_s = self._quiet_since_s + max(pause_s, self._line.silence_s) - asyncio.get_running_loop().time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if owing := self._owing.get(unit):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(owing[0]):
                    await owing[1].wait()
            self._owing.pop(unit, None)

    def _unanswered(self, who: str, unit: int) -> DeviceSilent | BadAnswer | ConnectionDown:
        """What a time-out means."""
        timeout = self._settings.timeout
        if self._rtu:
            self._owing[unit] = (asyncio.get_running_loop().time() + timeout, asyncio.Event())
        if self._gate.end():
            return BadAnswer(f"{who}: unit {unit} on {self._name}: the answer is cut short; {self._check()}")
        self.tally.timeouts += 1
        check = "unit id, baud rate, parity and wiring" if self._rtu else "unit id, and the wiring behind the gateway"
        return DeviceSilent(
            f"{who}: unit {unit} on {self._name} does not answer within {timeout:g} s; check its power, {check}"
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

    # pymodbus calls these; nothing may be raised out of them, it would end the connection.

    def _packet(self, sending: bool, data: bytes) -> bytes:
        """Each packet on its way out, and all bytes received so far, of which pymodbus is given the answer only."""
        if sending:
            self._gate.ask(data)
            return data
        self._client.ctx.recv_buffer = b""  # the gate keeps them
        self._quiet_since_s = asyncio.get_running_loop().time()
        try:
            return self._gate.take(data)
        except BrokenFrame as error:
            self._fail(error)
            return b""

    def _connected(self, up: bool) -> None:
        if not up:
            self._fail(ConnectionDown(lost(self._name, self._settings)))

    def _fail(self, error: Exception) -> None:
        """End the exchange that is out, at once and not by its time-out."""
        future = self._client.ctx.response_future
        if self._asking and not future.done():
            future.set_exception(error)

    def _bad_frame(self, kind: str) -> None:
        self.tally.bad_frames += 1
        self.tally.detail[kind] = self.tally.detail.get(kind, 0) + 1

    def _stray(self, unit: int) -> None:
        if owing := self._owing.pop(unit, None):
            owing[1].set()


@asynccontextmanager
async def open_connection(
    name: str, settings: ModbusSettings, devices: Sequence[Device], clock: Clock
) -> AsyncIterator[ModbusLink]:
    """One open connection. Raises `ConnectionDown` with what to do. The devices need no greeting on Modbus."""
    link = ModbusLink(name, settings, clock)
    try:
        await link.connect()
        yield link
    finally:
        await link.close()


def _driver(settings: type[TcpSettings] | type[RtuSettings] | type[RtuTcpSettings]) -> Driver:
    return Driver("modbus", settings, UnitKeys, RegisterKeys, Limits, open_connection, plan=plan, check=check)


TCP = _driver(TcpSettings)
RTU = _driver(RtuSettings)
RTU_TCP = _driver(RtuTcpSettings)
