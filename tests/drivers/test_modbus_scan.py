"""Scanning a line of which nothing is known: simulated devices on TCP and on a serial line that is not paced."""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from drivers.driver import ConnectionDown, Found, ScanWish
from drivers.modbus.connection import TCP
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.frames import crc16
from drivers.modbus.keys import Limits, RtuSettings, TcpSettings
from drivers.modbus.scan import scan
from edge.clock import SystemClock
from simulators.serve import serve
from tests.simulators.on_wires import all_of, connection, settings_of, world_of

METER = (
    FingerprintKeys.model_validate({"register": "input", "address": 70, "type": "float32", "between": [45, 65]}),
    FingerprintKeys.model_validate({"register": "input", "address": 0, "type": "float32", "between": [80, 500]}),
)
KNOWN = {"meter/three-phase": (Limits(), METER)}


@asynccontextmanager
async def served(name: str) -> AsyncIterator[Any]:
    """One connection of the demo site, simulated; gives its settings."""
    wire, members = connection(name), all_of(name)
    clock = SystemClock()
    async with serve([wire], members, world_of(members), clock, prefer_site_address=False, paced=False) as there:
        yield settings_of(wire, there)


async def run(settings: Any, wish: ScanWish, known: Any = KNOWN) -> tuple[dict[int, Found], list[str]]:
    """The units found, and what was told meanwhile."""
    told: list[str] = []
    found = await scan(settings, wish, known).run(SystemClock(), told.append)
    return {int(each.keys["unit_id"]): each for each in found}, told


async def test_the_units_of_a_serial_line_are_found_and_the_meter_is_recognised() -> None:
    async with served("pump-room") as settings:
        found, told = await run(settings, ScanWish(units=(1, 2, 5, 11, 21), timeout_s=0.3))
    assert list(found) == [1, 2, 11, 21]
    assert {unit: each.profiles for unit, each in found.items() if each.profiles} == {21: ("meter/three-phase",)}
    assert found[21].line == {"baudrate": 9600, "parity": "N"}
    assert "unit 21 answers with exception 0x02: meter/three-phase" in told


async def test_units_behind_a_tcp_gateway_are_found() -> None:
    async with served("elevators") as settings:
        found, _ = await run(settings, ScanWish(units=(3, 4, 5), timeout_s=0.3))
    assert list(found) == [3, 4]
    assert found[3].how == "answers"
    assert found[3].line == {}


@asynccontextmanager
async def one_by_one(delay_s: float) -> AsyncIterator[TcpSettings]:
    """A gateway that asks its line one thing after the other: units 1 and 4 are there, any other takes it so long."""

    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                there = request[6] in (1, 4)
                await asyncio.sleep(0 if there else delay_s)
                answer = bytes((3, 2, 0, 9)) if there else bytes((0x83, 0x0B))
                writer.write(request[:4] + (1 + len(answer)).to_bytes(2, "big") + request[6:7] + answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield TcpSettings.model_validate({"type": "modbus-tcp", "host": "127.0.0.1", "port": port})
        await asyncio.gather(*(task for task in served if task))


async def test_a_gateway_that_waits_a_second_for_its_own_line_hides_nobody() -> None:
    async with one_by_one(1.1) as settings:
        found, told = await run(settings, ScanWish(units=(1, 2, 3, 4)))
    assert list(found) == [1, 4]
    assert not any("longer --timeout" in text for text in told)


async def test_a_short_time_out_of_a_scan_is_for_units_not_for_their_gateway() -> None:
    async with one_by_one(0.5) as settings:
        plan = scan(settings, ScanWish(units=(1, 2, 3, 4), timeout_s=0.2), {})
        clock = SystemClock()
        began_s = clock.mono_s()
        found = await plan.run(clock, lambda _: None)
        assert clock.mono_s() - began_s <= plan.worst_s
    assert [each.keys["unit_id"] for each in found] == [1, 4]


async def test_a_gateway_slower_than_the_scan_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.modbus.scan._PATIENT_S", 0.2)
    async with one_by_one(0.5) as settings:
        found, told = await run(settings, ScanWish(units=(1, 2, 3, 4), timeout_s=0.2))
    assert list(found) == [1]
    assert any(
        "more than 0.2 s, and devices may be missed; scan anew with a longer --timeout" in text for text in told
    )


class Line:
    """A serial line with one device at unit 7 that hears one baud rate only."""

    def __init__(self, speed: int) -> None:
        self._speed = speed
        self._fd, other = os.openpty()
        tty.setraw(other)
        self.path = os.ttyname(other)
        self.heard = 0
        self.noise = b""
        self._other = other
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        with suppress(OSError):
            requests = os.read(self._fd, 4096)
            self.heard += len(requests) // 8  # of a machine that is busy, several at once
            if termios.tcgetattr(self._fd)[5] != self._speed:
                os.write(self._fd, self.noise)
            elif requests[-8] == 7:
                answer = bytes((7, 0x83, 1))
                os.write(self._fd, answer + crc16(answer))

    def close(self) -> None:
        """Gone."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        os.close(self._other)


@contextmanager
def line(speed: int) -> Iterator[Line]:
    """Such a line, closed again."""
    here = Line(speed)
    try:
        yield here
    finally:
        here.close()


def rtu(path: str, **more: Any) -> RtuSettings:
    """Settings of a serial connection."""
    return RtuSettings.model_validate({"type": "modbus-rtu", "port": path, **more})


async def test_the_baud_rate_of_a_line_is_found() -> None:
    with line(termios.B2400) as here:
        found, told = await run(rtu(here.path), ScanWish(units=(7, 8), timeout_s=0.1))
    assert list(found) == [7]
    assert found[7].line == {"baudrate": 2400, "parity": "N"}
    assert found[7].how == "answers with exception 0x01"
    tried = [text for text in told if "/18: " in text]
    assert tried[:3] == ["1/18: 9600 baud 8N1", "2/18: 9600 baud 8E1", "3/18: 9600 baud 8O1"]
    assert tried[-1] == "10/18: 2400 baud 8N1"
    assert "9600 baud 8E1: this port cannot be set so; left out" in told  # a pty has no parity


class Port(asyncio.Transport):
    """A serial port with a device at unit 7 that understands one setting only; at others of its baud rate it hears
    broken characters and the line brings some back."""

    def __init__(self, protocol: asyncio.Protocol, set_to: tuple[int, str, int], right: tuple[int, str, int]) -> None:
        super().__init__()
        self._protocol, self._set_to, self._right = protocol, set_to, right
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._set_to == self._right and bytes(data)[:1] == b"\x07":
            answer = bytes((7, 3, 2, 0, 9))
            self._loop.call_soon(self._protocol.data_received, answer + crc16(answer))
        elif self._set_to[0] == self._right[0]:
            self._loop.call_soon(self._protocol.data_received, b"\x83\x00\xff")

    def close(self) -> None:
        self._loop.call_soon(self._protocol.connection_lost, None)


@pytest.mark.parametrize("parity", ["E", "O"])
@pytest.mark.parametrize("baudrate", [9600, 2400])
async def test_the_parity_of_a_line_is_found(monkeypatch: pytest.MonkeyPatch, parity: str, baudrate: int) -> None:
    """A pty has no parity: what is looked at here is how the serial port is set."""
    opened: list[tuple[int, str, int]] = []

    async def port(_loop: Any, protocol: Any, _path: str, **how: Any) -> tuple[Any, Any]:
        opened.append((how["baudrate"], how["parity"], how["stopbits"]))
        made = protocol()
        transport = Port(made, opened[-1], (baudrate, parity, 1))
        made.connection_made(transport)
        return transport, made

    monkeypatch.setattr("drivers.modbus.wire.create_serial_connection", port)
    found, told = await run(rtu("/dev/ttyUSB0"), ScanWish(units=(6, 7), timeout_s=0.02), {})
    assert {unit: each.line for unit, each in found.items()} == {7: {"baudrate": baudrate, "parity": parity}}
    order = [(rate, each, 1) for rate in (9600, 19200, 4800, 2400, 38400, 115200) for each in "NEO"]
    assert opened == order[: order.index((baudrate, parity, 1)) + 1], "the usual settings first, none after the right"
    assert any(f"{baudrate} baud 8N1" in text for text in told)


async def test_noise_at_a_wrong_baud_rate_is_no_answer() -> None:
    with line(termios.B4800) as here:
        here.noise = b"\x07\x80\xfe\x00"
        wish = ScanWish(units=(7,), baudrates=(9600, 4800), parities=("N",), timeout_s=0.1)
        found, told = await run(rtu(here.path), wish)
    assert found[7].line["baudrate"] == 4800
    assert any("no answer" in text for text in told)


async def test_a_scan_of_nobody_takes_no_longer_than_it_said() -> None:
    with line(termios.B50) as here:
        plan = scan(rtu(here.path), ScanWish(units=tuple(range(1, 11)), timeout_s=0.01), KNOWN)
        clock = SystemClock()
        began = clock.mono_s()
        assert await plan.run(clock, lambda _: None) == ()
        assert clock.mono_s() - began <= plan.worst_s
        assert here.heard == 60  # ten units at six baud rates; a pty has no parity
    assert (
        plan.what == "units 1-10 at 9600/19200/4800/2400/38400/115200 baud, parity N/E/O (18 settings), 0.01 s each"
    )


async def test_what_was_found_before_the_line_was_lost_is_kept() -> None:
    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while (request := await reader.readexactly(12))[6] < 3:
                writer.write(request[:4] + bytes((0, 3, request[6], 0x83, 2)))
        writer.close()

    server = await asyncio.start_server(gateway, "127.0.0.1", 0)
    settings = TcpSettings(type="modbus-tcp", host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    try:
        found, told = await run(settings, ScanWish(units=(1, 2, 3, 4), timeout_s=0.3), {})
        assert list(found) == [1, 2]
        assert told[-1].startswith("unit 3 and those after it were not asked: connection scan: 127.0.0.1:")
        with pytest.raises(ConnectionDown):
            await run(settings, ScanWish(units=(3, 4), timeout_s=0.3), {})
    finally:
        server.close()


def test_a_line_whose_settings_are_known_is_scanned_at_these_only() -> None:
    plan = scan(rtu("/dev/none", baudrate=19200, parity="E", timeout="200ms"), ScanWish(fixed=True), {})
    assert plan.what == "units 1-32 at 19200 baud, parity E, 0.2 s each"


async def test_a_port_that_another_program_holds_is_not_scanned() -> None:
    async with served("pump-room") as settings, _held(settings):
        with pytest.raises(ConnectionDown, match="in use by another program"):
            await run(settings, ScanWish(units=(1,), timeout_s=0.05))


def _held(settings: Any) -> Any:
    from drivers.modbus.connection import open_connection

    return open_connection("the daemon's", settings, (), SystemClock())


@pytest.mark.parametrize(
    ("settings", "wish", "why"),
    [
        (TcpSettings(type="modbus-tcp", host="h"), ScanWish(baudrates=(9600,)), "serial server"),
        (TcpSettings(type="modbus-tcp", host="h"), ScanWish(units=(256,)), "no unit id 256"),
        (rtu("/dev/none"), ScanWish(units=(0, 1)), "scan from 1"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(settings: Any, wish: ScanWish, why: str) -> None:
    assert TCP.scan is not None
    with pytest.raises(ValueError, match=why):
        TCP.scan(settings, wish, {})
