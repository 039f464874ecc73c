"""A pump, its rules as YAML, and an alarm engine whose time the test owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from drivers.document import Document, parse
from drivers.point import Batch, Block, Point, Quality, Text, Value
from edge.alarms.alarm import Transition
from edge.alarms.engine import AlarmEngine
from edge.alarms.rule import Rule, compile_rules
from edge.alarms.terms import UTC

START_NS = 1_770_000_000_000_000_000
START_S = 1_000.0


class NoAddress(BaseModel):
    """These points lie on no device."""


def point(
    name: str,
    kind: Literal["bool", "int", "float", "text"] = "float",
    equipment: str = "pump-1",
    low: float | None = None,
    high: float | None = None,
    labels: dict[int, Text] | None = None,
    period_s: float = 1.0,
    counter: bool = False,
) -> Point:
    """A point of a pump."""
    return Point(
        f"{equipment}.{name}", equipment, name, Text(name, name), kind, "", period_s, 0.0, low, high,
        counter=counter, writable=False, labels=labels, address=NoAddress(),
    )  # fmt: skip


def pump(equipment: str = "pump-1") -> tuple[Point, ...]:
    """Pressure, temperature, running, mode, the text of the drive's fault, set pressure, starts, three currents."""
    modes = {0: Text("停", "off"), 1: Text("自动", "auto"), 2: Text("手动", "manual")}
    return (
        point("pressure", equipment=equipment, low=0, high=1),
        point("temperature", equipment=equipment, low=-40, high=150),
        point("running", "bool", equipment),
        point("mode", "int", equipment, labels=modes),
        point("fault_text", "text", equipment),
        point("set_pressure", equipment=equipment, low=0, high=1),
        point("starts", "int", equipment, counter=True),
        *(point(f"current_{phase}", equipment=equipment, low=0, high=100) for phase in "abc"),
    )


def compiled(
    text: str, points: Sequence[Point] | None = None, equipment: str = "pump-1", zone: ZoneInfo = UTC
) -> tuple[list[Rule], Document]:
    """Rules of a YAML mapping of names to conditions; what they all need is added, priority high unless given."""
    document = parse(text, Document("pump.yaml"))
    specs = {
        name: {
            "code": "T-01",
            "name": {"zh": "某报警", "en": "Some alarm"},
            "advice": {"zh": "去看看", "en": "Go and see"},
            "priority": "high",
            **row,
        }
        for name, row in (document.data or {}).items()
    }
    points = pump(equipment) if points is None else points
    return compile_rules(equipment, "pump-room", points, specs, document, (), zone=zone), document


class Scene:
    """One pump under watch; times are seconds since the start."""

    def __init__(
        self, rules: str, bodies: Mapping[str, dict[str, object]] | None = None, zone: ZoneInfo = UTC
    ) -> None:
        self.points = pump()
        made, document = compiled(rules, self.points, zone=zone)
        assert not document.faults, document.faults
        self.rules = made
        self.engine = AlarmEngine(made)
        self.engine.restore(bodies or {})
        self.known = True
        """Whether the wall clock is right."""
        self.block = Block("pump-1", self.points)
        self.values: dict[str, Value] = {
            "pressure": 0.5, "temperature": 40.0, "running": True, "mode": 1, "fault_text": "",
            "set_pressure": 0.5, "starts": 100, "current_a": 20.0, "current_b": 20.0, "current_c": 20.0,
        }  # fmt: skip
        self.now_s = 0.0
        self.story: list[tuple[float, str, str]] = []
        """(time, event, state afterwards) of all that happened."""

    @property
    def mono_s(self) -> float:
        """The monotonic clock."""
        return START_S + self.now_s

    @property
    def wall_ns(self) -> int:
        """The wall clock."""
        return START_NS + round(self.now_s * 1e9)

    def read(self, at: float, quality: Quality = Quality.GOOD, **values: Value) -> list[Transition]:
        """A poll of all points at a time, some of them new."""
        self.now_s = at
        self.values |= values
        batch = Batch(self.block, tuple(self.values.values()), self.wall_ns, self.mono_s, quality)
        return self.note(self.engine.evaluate(batch))

    def read_mixed(self, at: float, bad: dict[str, Quality], **values: Value) -> list[Transition]:
        """A poll in which some points are not good."""
        self.now_s = at
        self.values |= values
        qualities = tuple(bad.get(name, Quality.GOOD) for name in self.values)
        batch = Batch(self.block, tuple(self.values.values()), self.wall_ns, self.mono_s, qualities=qualities)
        return self.note(self.engine.evaluate(batch))

    def tick(self, at: float) -> list[Transition]:
        """The clock's tick."""
        self.now_s = at
        return self.note(self.engine.tick(self.mono_s, self.wall_ns, known=self.known))

    def run(self, until: float, step: float = 1.0) -> None:
        """Tick every `step` seconds up to and including `until`."""
        while self.now_s + step <= until:
            self.tick(self.now_s + step)

    def link(self, at: float, *, up: bool) -> list[Transition]:
        """The connection goes up or down."""
        self.now_s = at
        return self.note(self.engine.connection("pump-room", up, self.mono_s, self.wall_ns))

    def ack(self, rule: str, who: str = "李工") -> list[Transition]:
        """Somebody acknowledges."""
        return self.note(self.engine.ack(f"pump-1.{rule}", who, self.wall_ns, self.mono_s))

    def shelve(self, rule: str, minutes: float, who: str = "李工", reason: str = "检修") -> list[Transition]:
        """Somebody shelves."""
        return self.note(self.engine.shelve(f"pump-1.{rule}", who, reason, minutes, self.wall_ns, self.mono_s))

    def note(self, transitions: list[Transition]) -> list[Transition]:
        """Write into the story."""
        self.story += [(self.now_s, each.event, each.alarm.state.value) for each in transitions]
        return transitions

    @property
    def events(self) -> list[str]:
        """The events of the story."""
        return [event for _, event, _ in self.story]

    def state(self, rule: str) -> str:
        """Where an alarm stands."""
        alarm = self.engine.alarm(f"pump-1.{rule}")
        assert alarm is not None
        return alarm.state.value
