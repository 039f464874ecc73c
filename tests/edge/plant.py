"""As much of a daemon as commands need: two small pumps on a bus that obeys until it is told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.driver import DriverError
from drivers.point import Batch, Block, Point, Quality, Value
from edge.acquisition.pipeline import Pipeline
from edge.alarms.engine import AlarmEngine
from edge.clerk import Clerk
from edge.clock import ManualClock
from edge.commands import DeskRefused, PointCommands
from edge.engine import Engine
from edge.events import Hub
from edge.site import Equipment, Site
from edge.site_file import load_site
from edge.store.ledger import Ledger, open_ledger
from edge.upkeep.engine import UpkeepEngine
from tests.support import eventually

PROFILE = """\
profile: pump/small
name: {zh: 小泵, en: Small pump}
protocol: modbus
source: "synthetic profile: of this test"
points:
  start:
    {name: {zh: 启动, en: Start}, kind: bool, register: coil, address: 0, writable: true, guard: {min_interval: 2s}}
  speed:
    name: {zh: 转速, en: Speed}
    unit: Hz
    register: holding
    address: 1
    low: 0
    high: 50
    deadband: 0.5
    writable: true
    guard: {max_step: 10, interlocks: [{to_above: 0, point: ready, is: true}]}
  ready: {name: {zh: 就绪, en: Ready}, kind: bool, register: discrete, address: 0}
  level: {name: {zh: 液位, en: Level}, unit: "%", register: input, address: 0, low: 0, high: 100}
"""
SITE = """\
site: {id: s, name: S, timezone: Asia/Shanghai}
profiles: profiles
connections: {bus: {type: modbus-tcp, host: 127.0.0.1}}
equipment:
  tank-1: {profile: pump/small, connection: bus, unit_id: 1}
  pump-2:
    profile: pump/small
    connection: bus
    unit_id: 2
    interlocks: {start: [{to: true, point: tank-1.level, above: 20}]}
"""
HALF_AN_HOUR = 1800.0


class Nowhere:
    """A readings log that keeps nothing."""

    def append(self, *_: Any, **__: Any) -> int:
        return 0


class Bus:
    """A connection to devices that take what they are told, until they are told to fail."""

    def __init__(self) -> None:
        self.up = True
        self.asked = 0
        self.error: DriverError | None = None
        self.reads_back: Value = None
        self.dead: str | None = None
        """Why nobody answers."""
        self.line = asyncio.Event()
        self.line.set()
        self.stands: dict[str, Value] = {}
        self.written: list[tuple[str, Value]] = []

    def status(self) -> dict[str, Any]:
        return {}

    def silent(self, equipment: str) -> str | None:
        return self.dead

    def worst_age_s(self, point: Point) -> float | None:
        return None

    async def write(self, equipment: Equipment, point: Point, value: Value) -> Value:
        assert equipment.id == point.equipment
        self.asked += 1
        await self.line.wait()
        if self.error:
            raise self.error
        self.written.append((point.id, value))
        self.stands[point.id] = value
        return value if self.reads_back is None else self.reads_back


class Daemon:
    """As much of the daemon as commands need."""

    def __init__(self, site: Site, ledger: Ledger, clock: ManualClock, bus: Bus) -> None:
        self.clock, self.ledger, self.bus = clock, ledger, bus
        self.clerk = Clerk(ledger, clock)
        self.engine = Engine(
            Pipeline(600), Nowhere(), AlarmEngine(site.rules), UpkeepEngine((), (), site.zone), clock, self.clerk.take
        )
        self.commands = PointCommands(site, self.engine, self.clerk, {"bus": bus}, clock, Hub())
        self.points = {point.id: point for point in site.points}
        self.blocks = {point: Block(point.equipment, (point,)) for point in site.points}

    def reads(self, quality: Quality = Quality.GOOD, **values: Value) -> None:
        """The newest readings; `pump_2__start` is pump-2.start."""
        self.clock.advance(0.001)
        for name, value in values.items():
            point = self.points[name.replace("__", ".").replace("_", "-")]
            self.bus.stands[point.id] = value
            batch = Batch(self.blocks[point], (value,), self.clock.wall_ns(), self.clock.mono_s(), quality)
            self.engine.feed(batch)

    async def set(self, point: str, value: Value, for_s: float | None = None, who: str = "li") -> dict[str, Any]:
        return await self.commands.write(point, value, who, "test", for_s)

    async def refused(self, point: str, value: Value, for_s: float | None = None) -> DeskRefused:
        with pytest.raises(DeskRefused) as caught:
            await self.set(point, value, for_s)
        return caught.value

    async def passes(self, seconds: float) -> None:
        """Time passes in steps of half a second; what returns by itself is given its turn in each."""
        for _ in range(round(seconds / 0.5)):
            await asyncio.sleep(0)  # an override just set is seen
            self.clock.advance(0.5)
            async with asyncio.timeout(5):
                while not self.rests:  # noqa: ASYNC110  # a clock has no event
                    await asyncio.sleep(0)

    @property
    def rests(self) -> bool:
        """Whether nothing will happen before time passes."""
        return self.commands.resting or "overrides" in self.clock.sleeping()

    async def journal(self) -> list[dict[str, Any]]:
        return [entry.body for _, entry in await self.ledger.journal(kind="command")]

    async def events(self) -> list[tuple[str, Value, str]]:
        """What became of overrides: (event, asked, who)."""
        bodies = await self.journal()
        return [(body["override"]["event"], body["asked"], body["who"]) for body in bodies if "override" in body]


def site_of(folder: Path, site: str = SITE, profile: str = PROFILE) -> Site:
    (folder / "profiles" / "pump").mkdir(parents=True, exist_ok=True)
    (folder / "profiles" / "pump" / "small.yaml").write_text(profile)
    (folder / "site.yaml").write_text(site)
    return load_site(folder / "site.yaml")


@asynccontextmanager
async def daemon(
    folder: Path, clock: ManualClock | None = None, bus: Bus | None = None, **texts: str
) -> AsyncIterator[Daemon]:
    """A daemon on the state of a folder, with its returning task at work."""
    clock = clock or ManualClock()
    async with open_ledger(folder / "ledger.db") as ledger:
        made = Daemon(site_of(folder, **texts), ledger, clock, bus or Bus())
        await made.commands.restore(ledger)
        task = asyncio.create_task(made.commands.run(), name="overrides")
        await eventually(lambda: made.rests)
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
