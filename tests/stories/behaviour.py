"""A scenario without wires: the simulated community's behaviour straight into the alarm rules, in seconds.

What a wire would add is played here: a silent device is bad after a few missed polls, a cut connection is down after
as long. Everything between the decoded batch and the alarm's transitions is the daemon's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from drivers.point import Batch, Block, Point, Quality, Value
from edge.acquisition.pipeline import Pipeline
from edge.alarms.alarm import Transition
from edge.alarms.engine import AlarmEngine
from edge.data import CONFIG, SCENARIOS
from edge.demo import build_world, sim_equipment
from edge.site import Site
from edge.site_file import load_site
from simulators.scenario import Scenario, load_scenario

STEP_S = 0.5
MISSED_S = 3.0
"""So long a device may be silent, or a line cut, before it is said."""


def scenario_of(site: Site, name: str) -> Scenario:
    """A scenario of the demo's."""
    return load_scenario(SCENARIOS / f"{name}.yaml", sim_equipment(site), site.connections, site.zone)


class Behaviour:
    """One scenario on the demo's site, with one seed."""

    def __init__(self, site: Site, name: str, seed: int) -> None:
        self.site = site
        self.world = build_world(site, SCENARIOS / f"{name}.yaml", seed, 1.0)
        self.story: list[tuple[float, str, str]] = []
        """(seconds from the start, alarm, event)"""
        self._pipeline = Pipeline(600.0)
        self._alarms = AlarmEngine(site.rules)
        self._blocks = {each.id: list(_blocks(each.device.points)) for each in site.equipment.values()}
        self._singles: dict[Point, Block] = {}
        self._missing: dict[str, float] = {}
        """Since when an equipment is silent, or a connection cut."""
        self._began_ns = round(self.world.start.timestamp() * 1e9)
        self._polled = {each.id for each in site.equipment.values() if site.connections[each.connection].requests}

    @property
    def now_s(self) -> float:
        """Seconds from the start."""
        return self.world.elapsed_s

    @property
    def wall_ns(self) -> int:
        """The wall clock."""
        return self._began_ns + round(self.now_s * 1e9)

    def live(self, until_s: float) -> None:
        """Let time pass, up to this second of the story."""
        if not self.story and self.now_s == 0:
            for name, blocks in self._blocks.items():
                for block in blocks:
                    self._take(name, block)
        while self.now_s < until_s:
            self.world.advance(STEP_S)
            for connection in self.site.connections:
                self._wire(connection)
            for name in self._blocks:
                self._device(name)
            self._note(self._alarms.tick(self.now_s, self.wall_ns))

    def raised(self) -> list[str]:
        """Every alarm that was raised, each once, in order."""
        return list(dict.fromkeys(alarm for _, alarm, event in self.story if event == "raised"))

    def _wire(self, connection: str) -> None:
        if connection in self.world.cut:
            since = self._missing.setdefault(f"connection:{connection}", self.now_s)
            if since <= self.now_s - MISSED_S < since + STEP_S:
                self._note(self._alarms.connection(connection, False, self.now_s, self.wall_ns))
                for each in self.site.equipment.values():
                    if each.connection == connection:
                        self._lost(each.id)
        elif self._missing.pop(f"connection:{connection}", None) is not None:
            self._note(self._alarms.connection(connection, True, self.now_s, self.wall_ns))
            for each in self.site.equipment.values():
                if each.connection == connection and each.id not in self._polled:
                    for block in self._blocks[each.id]:  # retained messages, and the panels' states told anew
                        self._take(each.id, block)

    def _device(self, name: str) -> None:
        model = self.world.models[name]
        reports, events = model.reports(), model.events()
        if self.site.equipment[name].connection in self.world.cut:
            return
        if name in self.world.silent:
            since = self._missing.setdefault(name, self.now_s)
            if since <= self.now_s - MISSED_S < since + STEP_S:
                self._lost(name)
            return
        self._missing.pop(name, None)
        for block in self._blocks[name]:
            if name in self._polled:
                if self.now_s % block.points[0].period_s < STEP_S:
                    self._take(name, block)
            elif reports:
                self._take(name, block)
        points = {point.name: point for point in self.site.equipment[name].device.points}
        for point, value in events:
            self._feed(self._single(points[point]), (value,))

    def _single(self, point: Point) -> Block:
        return self._singles.setdefault(point, Block(point.equipment, (point,)))

    def _take(self, name: str, block: Block) -> None:
        values = self.world.models[name].values()
        self._feed(block, tuple(_whole(point, values[point.name]) for point in block.points))

    def _lost(self, name: str) -> None:
        for block in self._blocks[name]:
            self._feed(block, (None,) * len(block.points), Quality.BAD_COMM)

    def _feed(self, block: Block, values: tuple[Value, ...], quality: Quality = Quality.GOOD) -> None:
        judged, _ = self._pipeline.take(Batch(block, values, self.wall_ns, self.now_s, quality))
        self._note(self._alarms.evaluate(judged))

    def _note(self, transitions: list[Transition]) -> None:
        self.story += [(self.now_s, each.alarm.id, each.event) for each in transitions]


def _blocks(points: tuple[Point, ...]) -> Iterator[Block]:
    for period in sorted({point.period_s for point in points}):
        group = tuple(point for point in points if point.period_s == period)
        yield Block(group[0].equipment, group)


def _whole(point: Point, value: Value) -> Value:
    return int(value) if point.kind == "int" and isinstance(value, float) else value


def demo_site() -> Site:
    """The demo's site as it stands in its file."""
    return load_site(CONFIG / "site.yaml")


def names() -> list[str]:
    """All scenarios."""
    return sorted(Path(each).stem for each in SCENARIOS.glob("*.yaml"))
