"""A pump, its meters and plans as YAML, and an upkeep engine whose time the test owns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, parse
from drivers.point import Batch, Block, Point, Quality, Text, Value
from edge.upkeep.engine import UpkeepEngine
from edge.upkeep.meters import MeterSpec, compile_meters
from edge.upkeep.orders import Order, OrderEvent
from edge.upkeep.plans import Plan, compile_plans
from tests.alarms.scene import point

SHANGHAI = ZoneInfo("Asia/Shanghai")
WORDS = {"zh": "某事", "en": "Something"}


def ns(text: str) -> int:
    """A local time on the site as Unix ns, e.g. 2026-03-02T08:00."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp()) * 10**9


def local(time_ns: int | None) -> str:
    """A Unix time as the site's local time."""
    assert time_ns is not None
    return dt.datetime.fromtimestamp(time_ns / 1e9, SHANGHAI).strftime("%Y-%m-%dT%H:%M:%S")


def pump() -> tuple[Point, ...]:
    """Running (polled each second), a device's counter, and a lamp that reports by itself."""
    return (
        point("running", "bool"),
        point("hours", "float"),
        point("lamp", "bool", period_s=0.0),
        point("name", "text"),
    )


def meters(text: str, offsets: Mapping[str, float] | None = None) -> tuple[list[MeterSpec], Document]:
    """Meters of a YAML mapping; the names that all need are added."""
    document = parse(text, Document("pump.yaml"))
    specs = {name: {"name": WORDS, **row} for name, row in (document.data or {}).items()}
    return compile_meters("pump-1", pump(), specs, document, (), offsets), document


def plans(text: str, last: Mapping[str, Any] | None = None) -> tuple[list[Plan], Document]:
    """Plans of a YAML mapping; the names that all need are added."""
    document = parse(text, Document("pump.yaml"))
    specs = {name: {"name": WORDS, "task": WORDS, **row} for name, row in (document.data or {}).items()}
    made = compile_plans("pump-1", specs, document, (), ["run_hours", "starts"], ["bearing_hot"], last)
    return made, document


@dataclass(frozen=True)
class FakeAlarm:
    """As much of an alarm as upkeep looks at."""

    equipment: str
    rule: str
    name: Text


@dataclass(frozen=True)
class FakeTransition:
    """As much of a transition as upkeep looks at."""

    alarm: FakeAlarm
    event: str
    time_ns: int


class Upkeep:
    """One pump under upkeep."""

    def __init__(
        self,
        plans_text: str,
        meters_text: str = "run_hours: {unit: h, hours_while: running, name: {zh: 运行时间, en: Run hours}}",
        offsets: Mapping[str, float] | None = None,
        last: Mapping[str, Any] | None = None,
        start: str = "2026-03-02T08:00",
    ) -> None:
        made_meters, document = meters(meters_text, offsets)
        made_plans, second = plans(plans_text, last)
        assert not document.faults + second.faults, document.faults + second.faults
        self.engine = UpkeepEngine(made_meters, made_plans, SHANGHAI)
        self.wall_ns = ns(start)
        self.mono_s = 0.0
        self.block = Block("pump-1", tuple(meter.point for meter in made_meters))

    def read(self, *values: Value, quality: Quality = Quality.GOOD) -> None:
        """A reading of the points that the meters look at, in their order."""
        self.engine.feed(Batch(self.block, values, self.wall_ns, self.mono_s, quality))

    def wait(self, seconds: float) -> None:
        """Time passes; nobody ticks."""
        self.wall_ns += round(seconds * 1e9)
        self.mono_s += seconds

    def at(self, text: str) -> list[OrderEvent]:
        """The tick at a local time."""
        self.wait((ns(text) - self.wall_ns) / 1e9)
        return self.tick()

    def tick(self) -> list[OrderEvent]:
        """The clock's tick."""
        return self.engine.tick(self.mono_s, self.wall_ns)

    def alarm(self, event: str, rule: str = "bearing_hot") -> list[OrderEvent]:
        """Something happens to an alarm."""
        alarm = FakeAlarm("pump-1", rule, Text("轴承温度高", "Bearing hot"))
        return self.engine.on_alarm(FakeTransition(alarm, event, self.wall_ns))

    def step(self, order: Order, *steps: str) -> Order:
        """Somebody takes the order on."""
        for step in steps:
            order = self.engine.step(order.id, step, "王师傅", "原因", self.wall_ns).order
        return order

    def restarted(self, other: Upkeep) -> Upkeep:
        """`other` with what this one stored, as after a restart at the same time."""
        bodies = self.engine.bodies()
        left_out = other.engine.restore(
            {order.id: order.to_body() for order in self.engine.orders()},
            {key: body for (kind, key), body in bodies.items() if kind == "meter" and body},
            {key: body for (kind, key), body in bodies.items() if kind == "plan" and body},
        )
        assert left_out == []
        other.wall_ns, other.mono_s = self.wall_ns, 0.0
        return other
