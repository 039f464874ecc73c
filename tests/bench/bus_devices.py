"""Eight simulated devices for the benchmarks of a bus, and the requests that read them.

Every register holds whose it is and where it lies, so that a reading which came from anywhere else is seen.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections.abc import Sequence
from datetime import UTC, datetime

from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, RtuTcpSettings, UnitKeys
from drivers.modbus.planner import ReadRequest, plan
from drivers.point import Batch, Device, Point, Text
from edge.clock import SystemClock
from simulators.modbus_units import Units
from simulators.paced_pty import PacedPty
from simulators.world import World

UNITS = range(1, 9)
REGISTERS = 20
BAUDRATE = 9600


def register(unit: int, address: int) -> int:
    """What a register holds."""
    return unit << 8 | address & 0xFF


def device(unit: int, *, period_s: float, blocks: Sequence[int] = (0,)) -> Device:
    """A device of 20 registers from each of these addresses, `limits` as they are without any."""
    points = tuple(
        Point(
            id=f"d{unit}.r{address}", equipment=f"d{unit}", name=f"r{address}", title=Text("", ""), kind="int",
            unit="", period_s=period_s, deadband=0, low=None, high=None, counter=False, writable=False, labels=None,
            address=RegisterKeys.model_validate({"register": "holding", "address": address}),
        )
        for first in blocks
        for address in range(first, first + REGISTERS)
    )  # fmt: skip
    return Device(f"d{unit}", UnitKeys(unit_id=unit), Limits(), points, 0.0)


def requests(settings: RtuSettings | RtuTcpSettings, devices: Sequence[Device]) -> list[ReadRequest]:
    """As the daemon plans them."""
    return plan(settings, devices)


def whose(batch: Batch) -> tuple[int, int]:
    """Unit and first address that a batch's values say they are of; -1 where they do not agree."""
    values = [value for value in batch.values if isinstance(value, int)]
    unit, first = values[0] >> 8, values[0] & 0xFF
    right = values == [register(unit, first + offset) for offset in range(len(batch.values))]
    return (unit, first) if right else (-1, -1)


class Fleet(Units):
    """The devices of a line; those in `silent` do not answer."""

    def __init__(self, turnaround_s: float) -> None:
        super().__init__((), World((), 1, datetime(2026, 1, 1, tzinfo=UTC), 1.0))
        self.silent: set[int] = set()
        self._turnaround_s = turnaround_s

    def turnaround_s(self, unit_id: int) -> float:
        """The devices' own delay."""
        return self._turnaround_s

    def answer(self, unit_id: int, pdu: bytes) -> bytes | None:
        """Reads of holding registers only."""
        if unit_id not in UNITS or unit_id in self.silent:
            return None
        _, address, count = struct.unpack(">BHH", pdu)
        words = [self.register(unit_id, address + n) for n in range(count)]
        return struct.pack(f">BB{count}H", 3, 2 * count, *words)

    def register(self, unit: int, address: int) -> int:
        """What a register holds."""
        return register(unit, address)


class Living(Fleet):
    """Devices whose values move, and still say in their lowest bits whose they are: unit and block.

    `alike`: both blocks of a unit stand where the other does, as those of two equal channels may.
    """

    def __init__(self, turnaround_s: float, blocks: Sequence[int], *, alike: bool) -> None:
        super().__init__(turnaround_s)
        self._blocks = blocks
        self._alike = alike

    def register(self, unit: int, address: int) -> int:
        """What a register holds now."""
        block = max(each for each in self._blocks if each <= address)
        place = address - block if self._alike else address
        chance = random.Random(unit * 1000 + place)
        middle, swing, seconds = chance.randrange(40, 900), chance.randrange(30), chance.uniform(5, 60)
        now = middle + round(swing * math.sin(asyncio.get_running_loop().time() / seconds + address))
        return now << 6 | (unit - 1) << 3 | self._blocks.index(block) << 2 | address & 3

    def whose(self, batch: Batch) -> tuple[int, int]:
        """Unit and first address that a batch's values say they are of."""
        values = [value for value in batch.values if isinstance(value, int)]
        unit, block = (values[0] >> 3 & 7) + 1, values[0] >> 2 & 1
        return unit, self._blocks[block]


class WatchedPty(PacedPty):
    """A paced line that notes when each request began to come in and when the last byte of its answer was out."""

    asked_s = 0.0
    answered_s = 0.0
    taken_s = 0.0
    """Time between the two, of all exchanges."""
    exchanges = 0

    def _collect(self, data: bytes) -> None:
        if self.answered_s >= self.asked_s:
            self.taken_s += max(0.0, self.answered_s - self.asked_s)
            self.exchanges += 1
            self.asked_s = self._loop.time()
        super()._collect(data)

    def _write(self, data: bytes) -> None:
        super()._write(data)
        self.answered_s = self._loop.time()


class LoopClock(SystemClock):
    """Time as the event loop has it."""

    def mono_s(self) -> float:
        """The loop's own time."""
        return asyncio.get_running_loop().time()


def rtu(path: str) -> RtuSettings:
    """The settings of the line."""
    return RtuSettings(type="modbus-rtu", port=path, baudrate=BAUDRATE)
