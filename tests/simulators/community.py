"""The demo community for the tests of the simulators: its equipment, worlds of it, what its profiles call wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, load, merge
from drivers.driver import Keys
from drivers.point import Batch, Block
from drivers.profile import Library
from edge.alarms.engine import AlarmEngine
from edge.alarms.rule import compile_rules
from edge.data import CONFIG, PROFILES
from simulators.model import SimEquipment
from simulators.scenario import Scenario
from simulators.world import World

ZONE = ZoneInfo("Asia/Shanghai")
EVENING = datetime(2026, 3, 2, 18, 30, tzinfo=ZONE)
SITE: dict[str, Any] = load(CONFIG / "site.yaml").data
CONNECTIONS = list(SITE["connections"])


@cache
def equipment() -> tuple[SimEquipment, ...]:
    """Everything in config/site.yaml, without addresses: models know none."""
    library = Library([PROFILES])
    found = []
    for name, row in SITE["equipment"].items():
        profile, document = library.get(row["profile"])
        assert profile is not None, document and document.faults
        params = merge(profile.simulate, row.get("simulate", {}))
        found.append(SimEquipment(name, profile, row["connection"], Keys(), params))
    return tuple(found)


def some(*names: str) -> list[SimEquipment]:
    """Of the community, only these."""
    return [each for each in equipment() if each.id in names]


def world(
    *names: str, seed: int = 1, start: datetime = EVENING, speed: float = 1.0, scenario: Scenario | None = None
) -> World:
    """A world of these equipment, of all where none is named."""
    return World(some(*names) if names else equipment(), seed, start, speed, scenario=scenario)


def wait_until(here: World, true: Callable[[], bool], within_s: float, step_s: float = 0.1) -> float:
    """Behaviour seconds until something is true; fails where that takes longer."""
    began = here.elapsed_s
    while not true():
        assert here.elapsed_s - began <= within_s, f"still not true after {within_s:g} s of behaviour"
        here.advance(step_s / here.speed)
    return here.elapsed_s - began


class Watch:
    """The alarms that the profiles' rules raise on what is simulated, by the time of the world."""

    def __init__(self, here: World) -> None:
        self._world = here
        self.raised: dict[str, float] = {}
        """Alarm and the behaviour second of its first raising."""
        rules, self._blocks = [], dict[str, Block]()
        for each in (found for found in equipment() if found.id in here.models):
            points = each.profile.points_of(each.id)
            self._blocks[each.id] = Block(each.id, points)
            document = Document(each.profile.document.file)
            rules += compile_rules(
                each.id, each.connection, points, each.profile.alarms, document, ("alarms",), zone=ZONE
            )
            assert not document.faults
        self._alarms = AlarmEngine(rules)

    def look(self) -> None:
        """See all values once."""
        now_s, wall_ns = self._world.elapsed_s, round(self._world.now.timestamp() * 1e9)
        told = []
        for name, block in self._blocks.items():
            values = self._world.models[name].values()
            batch = Batch(block, tuple(values[point.name] for point in block.points), wall_ns, now_s)
            told += self._alarms.evaluate(batch)
        for each in told + self._alarms.tick(now_s, wall_ns):
            if each.event == "raised":
                self.raised.setdefault(each.alarm.id, now_s)
