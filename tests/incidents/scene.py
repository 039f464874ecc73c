"""A site as a tree, its alarms moved by hand, and an incident engine whose time the test owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drivers.point import Text, Value
from edge.alarms.alarm import Alarm, Event, Priority, Transition
from edge.alarms.machine import Action, State, step
from edge.incidents.dossier import Trait
from edge.incidents.engine import IncidentEngine
from edge.incidents.incident import Incident, IncidentEvent

START_NS = 1_770_000_000_000_000_000
START_S = 1_000.0
ABOVE = {
    "connection:bus": ("meter-1",),
    "connection:lan": (),
    "meter-1": ("connection:lan",),
    **{f"pump-{n}": ("connection:bus", "meter-1", "connection:lan") for n in range(60)},
    **{f"light-{n}": ("connection:lan",) for n in range(2000)},
    "lift-1": ("connection:lan",),
}
TRAITS = {
    "connection:bus.line_offline": Trait(root_cause=True, cut_off=True),
    "connection:lan.line_offline": Trait(root_cause=True, cut_off=True),
    "meter-1.mains_lost": Trait(root_cause=True),
    "lift-1.trapped": Trait(rescue=True),
    **{f"pump-{n}.offline": Trait(root_cause=True, cut_off=True) for n in range(60)},
}
_ACTIONS: dict[Event, Action] = {
    "raised": Action.RAISE, "re-raised": Action.RAISE, "cleared": Action.CLEAR, "acknowledged": Action.ACKNOWLEDGE,
    "suppressed": Action.SUPPRESS, "reminded": Action.REMIND, "shelved": Action.SHELVE, "reset": Action.RESET,
}  # fmt: skip


@dataclass
class Scene:
    """One story; times are seconds since the start."""

    above: Mapping[str, Sequence[str]] = field(default_factory=lambda: ABOVE)
    traits: Mapping[str, Trait] = field(default_factory=lambda: TRAITS)

    def __post_init__(self) -> None:
        self.engine = IncidentEngine(self.above, self.traits)
        self.alarms: dict[str, Alarm] = {}
        self.told: list[IncidentEvent] = []
        self.bodies: dict[str, dict[str, Any] | None] = {}
        self.now_s = 0.0
        self._seq = 0

    @property
    def mono_s(self) -> float:
        return START_S + self.now_s

    @property
    def wall_ns(self) -> int:
        return START_NS + round(self.now_s * 1e9)

    def happens(
        self, event: Event, alarm_id: str, at: float, priority: str = "medium", value: Value = None, who: str = ""
    ) -> list[IncidentEvent]:
        """One transition of one alarm."""
        self.now_s = at
        equipment, _, rule = alarm_id.rpartition(".")
        alarm = self.alarms.get(alarm_id) or Alarm(
            id=alarm_id, equipment=equipment, rule=rule, code="X", priority=Priority(priority), state=State.NORMAL,
            name=Text(f"{rule}名", rule), advice=Text("看", "look"), cause=None, consequence=None, respond_s=60,
            shelvable=True, point=f"{equipment}.p",
        )  # fmt: skip
        after = step(alarm.state, _ACTIONS[event])
        assert after is not None, (alarm_id, alarm.state, event)
        if event == "raised":
            self._seq += 1
            alarm = replace(alarm, seq=self._seq, raised_ns=self.wall_ns, value=value)
        active = True if event in ("raised", "re-raised") else False if event == "cleared" else alarm.active
        self.alarms[alarm_id] = alarm = replace(alarm, state=after, active=active)
        return self._keep(self.engine.take(Transition(alarm, event, self.wall_ns, who), self.mono_s, value))

    def raised(self, alarm_id: str, at: float, priority: str = "medium", value: Value = None) -> list[IncidentEvent]:
        """An alarm comes."""
        again = alarm_id in self.alarms and self.alarms[alarm_id].state is not State.NORMAL
        return self.happens("re-raised" if again else "raised", alarm_id, at, priority, value)

    def cleared(self, alarm_id: str, at: float, value: Value = None) -> list[IncidentEvent]:
        """Its condition goes."""
        return self.happens("cleared", alarm_id, at, value=value)

    def acked(self, alarm_id: str, at: float, who: str = "li") -> list[IncidentEvent]:
        """Somebody knows."""
        return self.happens("acknowledged", alarm_id, at, who=who)

    def tick(self, at: float) -> list[IncidentEvent]:
        """The clock."""
        self.now_s = at
        return self._keep(self.engine.tick(self.mono_s, self.wall_ns))

    def step(self, incident: str, step: str, at: float, who: str = "li", note: str = "") -> list[IncidentEvent]:
        """What people do."""
        self.now_s = at
        return self._keep(self.engine.step(incident, step, who, note, self.wall_ns))

    def restarted(self) -> list[IncidentEvent]:
        """The daemon ends and begins anew with what was kept."""
        self.engine = IncidentEngine(self.above, self.traits)
        kept = {name: body for name, body in self.bodies.items() if body is not None}
        standing = [each for each in self.alarms.values() if each.state is not State.NORMAL]
        events, left_out = self.engine.restore(kept, standing, self.mono_s, self.wall_ns)
        assert left_out == []
        return self._keep(events)

    def _keep(self, events: list[IncidentEvent]) -> list[IncidentEvent]:
        self.told += events
        for each in events:
            self.bodies[each.incident.id] = None if each.event == "forgotten" else each.incident.to_body()
        return events

    @property
    def open(self) -> list[Incident]:
        return self.engine.incidents()

    @property
    def calls(self) -> list[tuple[str, str | None]]:
        """Who was called for, in order: incident and priority."""
        return [(each.incident.id, each.incident.called) for each in self.told if each.event == "called"]


def events(found: list[IncidentEvent]) -> list[str]:
    return [each.event for each in found]
