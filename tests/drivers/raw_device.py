"""A device that answers Modbus byte for byte and lies as told, and a link to it on each medium."""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from drivers.modbus.connection import RTU, RTU_TCP, TCP
from drivers.modbus.frames import crc16
from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, UnitKeys
from drivers.modbus.link import ModbusLink
from drivers.modbus.planner import ModbusSettings, ReadRequest, plan
from drivers.point import Device, Point, Text
from edge.clock import ManualClock

TIMEOUT_S = 0.2


class RawDevice:
    """Answers Modbus by hand, byte for byte; `mischief` says how the next answers go wrong, one word each."""

    def __init__(self, *, rtu: bool) -> None:
        self.rtu = rtu
        self.registers = dict.fromkeys(range(100), 0)
        self.coils = dict.fromkeys(range(100), False)
        self.mischief: deque[str] = deque()
        self.asked: list[bytes] = []
        """PDUs of all requests, unit id in front."""
        self._owed = b""
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes | None]:
        """What to send for what came, piece by piece; None: hang up."""
        self._buffer += data
        pieces: list[bytes | None] = []
        while request := self._request():
            pieces += self._answers(*request)
        return pieces

    def _request(self) -> tuple[int, int, bytes] | None:
        if self.rtu:
            size = 8
            if len(self._buffer) >= 7 and self._buffer[1] == 16:
                size = 9 + self._buffer[6]
            if len(self._buffer) < size:
                return None
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            assert crc16(frame[:-2]) == frame[-2:]
            return 0, frame[0], frame[1:-2]
        if len(self._buffer) < 8:
            return None
        tid, _, length = struct.unpack_from(">HHH", self._buffer)
        frame, self._buffer = self._buffer[: 6 + length], self._buffer[6 + length :]
        return tid, frame[6], frame[7:]

    def _frame(self, tid: int, unit: int, pdu: bytes) -> bytes:
        if self.rtu:
            body = bytes([unit]) + pdu
            return body + crc16(body)
        return struct.pack(">HHHB", tid, 0, 1 + len(pdu), unit) + pdu

    def _pdu(self, pdu: bytes) -> bytes:
        function, address, count = struct.unpack_from(">BHH", pdu)
        if function in (3, 4):
            words = [self.registers[address + n] for n in range(count)]
            return struct.pack(f">BB{count}H", function, 2 * count, *words)
        if function in (1, 2):
            data = bytearray((count + 7) // 8)
            for n in range(count):
                data[n // 8] |= self.coils[address + n] << n % 8
            return bytes([function, len(data)]) + data
        if function == 5:
            self.coils[address] = count == 0xFF00
        elif function == 6:
            self.registers[address] = count
        else:
            words = list(struct.unpack_from(f">{count}H", pdu, 6))
            self.registers.update(zip(range(address, address + count), words, strict=True))
        return pdu[:5]

    def _answers(self, tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        self.asked.append(bytes([unit]) + pdu)
        word = self.mischief.popleft() if self.mischief else "honest"
        answer = self._frame(tid, unit, self._pdu(pdu))
        owed, self._owed = self._owed, b""
        broken = bytearray(answer)
        if word == "corrupt":
            broken[-3] ^= 0x10
        elif word == "garbage":
            broken = bytearray(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        pieces: dict[str, list[bytes | None]] = {
            "honest": [owed + answer],
            "silent": [],
            "click": [b"\x00"],
            "echo": [self._frame(tid, unit, pdu)],
            "echo first": [self._frame(tid, unit, pdu), answer],
            "late": [],
            "truncated": [answer[:-3]],
            "corrupt": [bytes(broken)],
            "garbage": [bytes(broken)],
            "noise first": [b"\x00\xff" + answer],
            "bytewise": [bytes([byte]) for byte in answer],
            "foreign unit": [self._frame(tid, unit + 1, self._pdu(pdu))],
            "foreign unit first": [self._frame(tid, unit + 1, self._pdu(pdu)), answer],
            "wrong number": [self._frame(tid + 7, unit, self._pdu(pdu))],
            "number 0": [self._frame(0, unit, self._pdu(pdu))],
            "wrong function": [self._frame(tid, unit, b"\x2b\x00\x01")],
            "fewer": [self._frame(tid, unit, bytes([pdu[0], 2, 0, 7]))],
            "hang up": [None],
            "other block": [self._frame(tid, unit, bytes([pdu[0], 2, 0xFF, 0xFF]))],
        }
        if word == "late":
            self._owed = answer
        if word.startswith("exception"):
            return [self._frame(tid, unit, bytes([pdu[0] | 0x80, int(word.split()[1])]))]
        return pieces[word]

    def release(self) -> bytes:
        """The late answer, now."""
        owed, self._owed = self._owed, b""
        return owed


class Stand:
    """A raw device, the link to it, and a clock."""

    def __init__(self, device: RawDevice, link: ModbusLink, clock: ManualClock, settings: ModbusSettings) -> None:
        self.device, self.link, self.clock, self.settings = device, link, clock, settings
        self.send: Callable[[bytes], object] = lambda data: pytest.fail("not connected")
        """Bytes from the device that nobody asked for."""
        self.hang_up: Callable[[], object] = lambda: pytest.fail("not on a network")
        self.server: asyncio.Server = cast(asyncio.Server, None)

    def request(self, *points: Point, unit: int = 1) -> ReadRequest:
        (request,) = plan(self.settings, [equipment(*points, unit=unit)])
        return request


def point(name: str, address: int, *, kind: Any = "int", **keys: Any) -> Point:
    of = RegisterKeys.model_validate({"register": "holding", "address": address, **keys})
    return Point(
        id=f"pump-1.{name}", equipment="pump-1", name=name, title=Text(name, name), kind=kind, unit="", period_s=1.0,
        deadband=0, low=None, high=None, counter=False, writable=True, labels=None, address=of,
    )  # fmt: skip


def equipment(*points: Point, unit: int = 1) -> Device:
    return Device("pump-1", UnitKeys(unit_id=unit), Limits(), points, 0.0)


PRESSURE, SPEED, LIGHT = point("pressure", 10), point("speed", 20), point("light", 3, register="coil", kind="bool")


@asynccontextmanager
async def tcp(*, rtu: bool = False, **more: Any) -> AsyncIterator[Stand]:
    device, clock = RawDevice(rtu=rtu), ManualClock()
    handlers: list[asyncio.Task[None] | None] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        writers.append(writer)
        while data := await reader.read(512):
            for piece in device.feed(data):
                if piece is None:
                    break
                writer.write(piece)
                await asyncio.sleep(0)
            else:
                continue
            break
        writer.close()
        await writer.wait_closed()

    def say(data: bytes) -> None:
        writers[-1].write(data)

    def hang_up() -> None:
        writers[-1].close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    driver = RTU_TCP if rtu else TCP
    settings = driver.settings.model_validate(
        {
            "type": "modbus-rtu-tcp" if rtu else "modbus-tcp",
            "host": "127.0.0.1",
            "port": port,
            "timeout": TIMEOUT_S,
            **more,
        }
    )
    async with server:
        async with driver.open("pump-room", settings, [], clock) as link:
            stand = Stand(device, cast(ModbusLink, link), clock, cast(Any, settings))
            stand.send = say
            stand.hang_up = hang_up
            stand.server = server
            yield stand
        await asyncio.gather(*filter(None, handlers))


@asynccontextmanager
async def pty(**more: Any) -> AsyncIterator[Stand]:
    device, clock = RawDevice(rtu=True), ManualClock()
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()

    def serve() -> None:
        for piece in device.feed(os.read(master, 512)):
            if piece:
                os.write(master, piece)

    loop.add_reader(master, serve)
    settings = RtuSettings(type="modbus-rtu", port=os.ttyname(slave), **{"timeout": TIMEOUT_S, **more})
    try:
        async with RTU.open("pump-room", settings, [], clock) as link:
            stand = Stand(device, cast(ModbusLink, link), clock, settings)
            stand.send = lambda data: os.write(master, data)
            yield stand
    finally:
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


MEDIA = {"tcp": tcp, "rtu over tcp": lambda **more: tcp(rtu=True, **more), "pty": pty}
