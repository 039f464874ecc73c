"""Devices on real wires that fail as real ones do, and the daemon's own acquisition on them.

What comes in: a driver's settings, and what is wrong with the wire. What goes out: what was taken as good, and an
AssertionError for each value that is not its point's. A register holds `unit * 1000 + address`: a good value is known
by sight as its point's own. Time runs twenty times as fast for periods and pauses; time-outs are real.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from drivers.driver import Settings, Woken, drivers
from drivers.modbus.keys import Limits, RegisterKeys, UnitKeys
from drivers.point import Batch, Device, Point, Quality, Text, Value
from edge.acquire import Acquired
from edge.acquisition.pipeline import Pipeline
from edge.alarms.engine import AlarmEngine
from edge.clock import SystemClock
from edge.engine import Engine
from edge.site import Connection
from edge.supervise import supervise
from edge.upkeep.engine import UpkeepEngine
from tests.fuzz.identity import crc
from tests.support import eventually

SPEED = 20.0
TIMEOUT_S = 0.1
BLOCKS = {"holding": (0, 4), "input": (100, 7)}
"""First address and size of each unit's blocks: two shapes, since RTU tells answers apart by nothing else."""
Answer = Callable[[bytes], Sequence[bytes | None]]
"""A whole request in, what to send for it out; None: hang up."""


class FastClock(SystemClock):
    """The box's clock, running fast."""

    def __init__(self) -> None:
        super().__init__()
        self._speed = SPEED
        self._at_s, self._from_s = super().mono_s() * SPEED, super().mono_s()

    @property
    def speed(self) -> float:
        """Seconds in one of real time; may be changed on the way."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._at_s, self._from_s, self._speed = self.mono_s(), super().mono_s(), speed

    def mono_s(self) -> float:
        """Seconds, twenty a second."""
        return self._at_s + (super().mono_s() - self._from_s) * self._speed

    async def sleep(self, seconds: float) -> None:
        """Wait a twentieth of that."""
        await asyncio.sleep(seconds / self._speed)

    def wake(self, woken: Woken, at_s: float) -> None:
        """Wake after a twentieth of the time until then."""
        now_s = self.mono_s()
        super().wake(woken, now_s + (at_s - now_s) / self._speed)

    async def wait(self, woken: asyncio.Future[None], seconds: float) -> None:
        """Wait at most a twentieth of that."""
        await super().wait(woken, seconds / self._speed)


class _Nowhere:
    """Where rows go that nobody reads."""

    def append(self, *row: Any, **more: Any) -> int:
        """Take one row."""
        return 0


class Watching(Engine):
    """The engine, and a look at each value that passes."""

    def __init__(self, clock: FastClock, truth: Callable[[Point], Value]) -> None:
        upkeep = UpkeepEngine([], [], ZoneInfo("UTC"))
        super().__init__(Pipeline(600.0), _Nowhere(), AlarmEngine([]), upkeep, clock, lambda happened: None)
        self.wrong: list[str] = []
        self.good: dict[str, int] = {}
        self._truth = truth

    def feed(self, batch: Batch) -> None:
        """Take one batch."""
        super().feed(batch)
        for point, value, quality in batch.readings():
            if quality is Quality.GOOD:
                self.good[point.id] = self.good.get(point.id, 0) + 1
                if value != self._truth(point):
                    self.wrong.append(f"{point.id} is {value}, should be {self._truth(point)}")


@dataclass(slots=True)
class Daemon:
    """One connection as the daemon keeps it."""

    way: Acquired
    engine: Watching
    connection: Connection
    clock: FastClock
    reasons: list[str] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """All of its devices."""
        return [point for device in self.connection.devices for point in device.points]

    async def reads(self, times: int = 2, within_s: float = 10.0) -> None:
        """Wait until every point has been read so many times from now on, and is good."""
        before = dict(self.engine.good)
        await eventually(
            lambda: (
                all(self.engine.good.get(p.id, 0) >= before.get(p.id, 0) + times for p in self.points)
                and all(self.quality(p) is Quality.GOOD for p in self.points)
            ),
            within_s,
        )

    async def marks(self, quality: Quality, within_s: float = 10.0) -> None:
        """Wait until every point has this quality."""
        await eventually(lambda: all(self.quality(p) is quality for p in self.points), within_s)

    def quality(self, point: Point) -> Quality:
        """Of the newest reading."""
        return self.engine.live(point).quality


def truth(point: Point) -> Value:
    """What a point's register holds."""
    return int(point.equipment.removeprefix("u")) * 1000 + cast(RegisterKeys, point.address).address


def unit(number: int) -> Device:
    """A unit with two blocks."""
    points = tuple(
        Point(
            id=f"u{number}.{table}_{address}", equipment=f"u{number}", name=f"{table}_{address}",
            title=Text(table, table), kind="int", unit="", period_s=1.0, deadband=0, low=None, high=None,
            counter=False, writable=table == "holding", labels=None,
            address=RegisterKeys.model_validate({"register": table, "address": address}),
        )
        for table, (first, count) in BLOCKS.items() for address in range(first, first + count)
    )  # fmt: skip
    return Device(f"u{number}", UnitKeys(unit_id=number), Limits(turnaround=0.0), points, 0.0)


@asynccontextmanager
async def acquired(
    settings: dict[str, Any], devices: Sequence[Device], of: Callable[[Point], Value] = truth
) -> AsyncIterator[Daemon]:
    """A connection under supervision, as the daemon runs it. Ends with a look at what was taken for good."""
    driver = drivers()[str(settings["type"])]
    checked: Settings = driver.settings.model_validate(settings)
    requests = tuple(driver.plan(checked, devices)) if driver.plan else ()
    connection = Connection("line", driver, checked, tuple(devices), requests)
    clock = FastClock()
    engine = Watching(clock, of)
    daemon = Daemon(Acquired(connection, engine, clock), engine, connection, clock)

    def lost(reason: str) -> None:
        daemon.way.lost(reason)
        daemon.reasons.append(reason)

    task = asyncio.create_task(supervise("connection[line]", daemon.way.run, clock, lost))
    try:
        yield daemon
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert engine.wrong == []


# --- devices ---


def rtu_answer(packet: bytes, registers: dict[tuple[int, int], int] | None = None) -> bytes:
    """The right answer of any unit to an RTU request."""
    assert crc(packet[:-2]) == packet[-2:]
    body = packet[:1] + _pdu(packet[0], packet[1:-2], {} if registers is None else registers)
    return body + crc(body)


def tcp_answer(packet: bytes) -> bytes:
    """The right answer of any unit to a TCP request."""
    pdu = _pdu(packet[6], packet[7:], {})
    return packet[:4] + struct.pack(">HB", 1 + len(pdu), packet[6]) + pdu


def _pdu(unit_id: int, pdu: bytes, registers: dict[tuple[int, int], int]) -> bytes:
    function, address, count = struct.unpack_from(">BHH", pdu)
    if function == 6:
        registers[unit_id, address] = count
        return pdu
    words = [registers.get((unit_id, address + n), unit_id * 1000 + address + n) for n in range(count)]
    return struct.pack(f">BB{count}H", function, 2 * count, *words)


class Gateway:
    """A TCP server of Modbus, TCP or RTU, that answers as it is told."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.connections = 0
        """Accepted so far."""
        self.single = False
        """A new client ends the older one's connection."""
        self.hangs: set[int] = set()
        """Numbers of connections that are open and dead: nothing is read, nothing said, nothing closed."""
        self._server: asyncio.Server | None = None
        self._open: dict[int, asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open.values()):
            writer.transport.abort()
        self._open.clear()
        await asyncio.sleep(0.01)

    def hang(self) -> None:
        """All connections that are open now are dead from here on."""
        self.hangs |= set(self._open)
        for writer in self._open.values():
            cast(asyncio.ReadTransport, writer.transport).pause_reading()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        if self.single:
            for older in list(self._open.values()):
                older.close()
        self._open[number] = writer
        with suppress(ConnectionError):
            while (packet := await reader.read(512)) and number not in self.hangs:
                if not self._say(packet, writer):
                    break
        if number not in self.hangs:
            writer.close()
            self._open.pop(number, None)

    def _say(self, packet: bytes, writer: asyncio.StreamWriter) -> bool:
        for piece in self.answer(packet):
            if piece is None:
                return False
            writer.write(piece)
        return True


@asynccontextmanager
async def gateway(answer: Answer) -> AsyncIterator[Gateway]:
    """A gateway that listens."""
    made = Gateway(answer)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Adapter:
    """A serial adapter behind a by-id link: a pty that can be unplugged and come back under another name."""

    def __init__(self, link: Path, answer: Answer) -> None:
        self.link, self.answer = link, answer
        self.names: list[str] = []
        self._master, self._slave = -1, -1

    def plug(self) -> None:
        """Appear under the next free name; the link points to it."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.names.append(os.ttyname(self._slave))
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.names[-1])
        asyncio.get_running_loop().add_reader(self._master, self._serve)

    def unplug(self) -> None:
        """Be gone, and the link too."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = -1
        self.link.unlink()

    def _serve(self) -> None:
        for piece in self.answer(os.read(self._master, 512)):
            if piece:
                os.write(self._master, piece)


@asynccontextmanager
async def adapter(folder: Path, answer: Answer) -> AsyncIterator[Adapter]:
    """An adapter that is plugged in."""
    made = Adapter(folder / "usb-FTDI_FT232R_A10XYZ-if00-port0", answer)
    made.plug()
    try:
        yield made
    finally:
        made.unplug()
