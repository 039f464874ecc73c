"""Tells everybody of what is written down: people by push, pages by event, operators by MQTT north.

What comes in: happenings, each after its commit. Critical alarms are pushed one by one as they come; of everything
else people are told by incident. Pages and operators are told of an incident once for all that was written together,
so that a storm of five thousand alarms is not five thousand pictures of the same incident.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivers.driver import Clock
from edge.alarms.alarm import Transition
from edge.desk import Desk
from edge.engine import Engine, Happening
from edge.events import Event, Hub, Kind
from edge.incidents.incident import IncidentEvent
from edge.notices import Notices
from edge.response.dispatcher import Dispatcher
from edge.response.notice import Notice
from edge.uplinks import Uplink

QUIETENED = ("acknowledged", "shelved", "suppressed", "removed", "accepted", "started")
"""Events after which nobody else is called."""


class Teller:
    """Who is told what."""

    def __init__(
        self,
        engine: Engine,
        desk: Desk,
        notices: Notices,
        dispatcher: Dispatcher,
        uplinks: Mapping[str, Uplink],
        hub: Hub,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._desk = desk
        self._notices = notices
        self._dispatcher = dispatcher
        self._uplinks = uplinks
        self._hub = hub
        self._clock = clock
        self._changed: dict[str, list[IncidentEvent]] = {}

    def tell(self, happening: Happening) -> None:
        """One thing has happened and is written down."""
        if isinstance(happening, IncidentEvent):
            self._changed.setdefault(happening.incident.id, []).append(happening)
            self._push(happening)
            return
        notice = self._notices.notice(happening)
        if notice is not None:
            (self._dispatcher.resolved if notice.resolved else self._dispatcher.notify)(notice)
        if isinstance(happening, Transition):
            kind: Kind = "alarm"
            row, key = self._desk.alarm_row(happening.alarm), happening.alarm.id
            self._count(happening)
        else:
            kind = "order"
            row, key = self._desk.order_row(happening.order), happening.order.id
        if happening.event in QUIETENED:
            self._dispatcher.acknowledged(key)
        self._hub.publish(Event(kind, {**row, "event": happening.event, "who": happening.who}, happening.time_ns))
        for uplink in self._uplinks.values():
            uplink.announce(kind, key, row)

    def flush(self) -> None:
        """All that was written together has been told: now how the incidents stand."""
        changed, self._changed = self._changed, {}
        for id_, events in changed.items():
            last = events[-1]
            if last.event == "forgotten":
                continue
            if any(each.event in ("joined", "acknowledged") for each in events) and last.incident.called is not None:
                self._dispatcher.update(self.notice(last))
            row = self._desk.incident_desk.row(last.incident)
            told = [each.event for each in events if each.written]
            body = {**row, "event": told[-1] if told else last.event, "events": told, "who": last.who}
            self._hub.publish(Event("incident", body, last.time_ns))
            for uplink in self._uplinks.values():
                uplink.announce("incident", id_, row)

    def notice(self, event: IncidentEvent) -> Notice:
        """An incident as people are told of it."""
        incident = event.incident
        row = self._desk.incident_desk.row(incident)
        lead = self._engine.alarms.alarm(incident.lead)
        over = event.event == "cleared"
        time_ns = event.time_ns if over else incident.called_ns or incident.opened_ns
        return self._notices.of_incident(incident, lead, row["affected"], row["affected_count"], time_ns)

    def _push(self, event: IncidentEvent) -> None:
        id_ = event.incident.id
        if event.event == "called":
            self._dispatcher.notify(self.notice(event))
        elif event.event == "cleared":
            self._dispatcher.resolved(self.notice(event))
        elif event.event in ("acknowledged", "quieted"):
            self._dispatcher.acknowledged(id_)
        elif event.event in ("merged", "closed"):
            self._dispatcher.withdraw(id_)

    def _count(self, transition: Transition) -> None:
        """For the floods of the desks: alarms that a cause explains are not shown one by one."""
        if transition.event not in ("raised", "re-raised"):
            return
        alarm = transition.alarm
        if not self._engine.incidents.explained(alarm.id, alarm.equipment):
            self._dispatcher.annunciated(alarm.priority.value)
