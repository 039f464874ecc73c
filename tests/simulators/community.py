"""The demo community for the tests of the simulators: its equipment, worlds of it, what its profiles call wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import load, merge
from drivers.driver import Keys
from drivers.point import Value
from drivers.profile import Library
from drivers.units import parse_seconds
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


def holds(condition: Mapping[str, Any], values: Mapping[str, Value]) -> bool:
    """Whether a rule's condition is true of these values, its dead band and delays apart."""
    if "all" in condition:
        return all(holds(part, values) for part in condition["all"])
    if "any" in condition:
        return any(holds(part, values) for part in condition["any"])
    if "point" not in condition:
        return False
    value = values[condition["point"]]
    if "is" in condition:
        return bool(value == condition["is"])
    assert isinstance(value, int | float)
    return bool(value > condition["above"] if "above" in condition else value < condition["below"])


class Watch:
    """The alarms that the profiles' rules would raise, with their delays, by the time of the world."""

    def __init__(self, here: World) -> None:
        self._world = here
        self._since: dict[str, float] = {}
        self.raised: dict[str, float] = {}
        """Alarm and the behaviour second of its first raising."""

    def look(self) -> None:
        """See all values once."""
        now = self._world.elapsed_s
        for name, rule, values in self._rules():
            gate = rule.get("active_while")
            if holds(rule, values) and (gate is None or holds(gate, values)):
                since = self._since.setdefault(name, now)
                if now - since >= parse_seconds(rule.get("on_delay", 0)):
                    self.raised.setdefault(name, now)
            else:
                self._since.pop(name, None)

    def _rules(self) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Value]]]:
        for each in equipment():
            if each.id in self._world.models:
                values = self._world.models[each.id].values()
                for rule, body in each.profile.alarms.items():
                    yield f"{each.id}.{rule}", body, values
