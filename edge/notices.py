"""From what happened to what people are told: the text of a push, in both languages."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.point import Language, Text
from edge.alarms.alarm import Alarm, Priority, Transition
from edge.engine import Happening
from edge.gateway import BOX, UPLINK
from edge.incidents.incident import SITE, Incident, IncidentEvent
from edge.response.notice import Notice
from edge.site import Site
from edge.texts import seen
from edge.upkeep.orders import OrderEvent

TOLD = {"raised", "re-raised", "reminded", "cleared"}
"""Transitions that people are pushed; acknowledging and shelving are acts of people themselves."""
NAMED = 6
"""Equipment that a push names; how many there are it says."""
ORDER_TOLD = {"opened", "verified", "cancelled"}


class Notices:
    """Writes notices for the equipment of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._points = {point.id: point for point in site.points}

    def notice(self, happening: Happening) -> Notice | None:
        """What to push about it; None where nobody is to be disturbed.

        Of alarms only critical ones are pushed, each by itself and at once; all others are told of by incident.
        """
        if isinstance(happening, Transition):
            told = happening.event in TOLD and happening.alarm.priority is Priority.CRITICAL
            return self._of_alarm(happening) if told else None
        if isinstance(happening, IncidentEvent):
            return None
        return self._of_order(happening) if happening.event in ORDER_TOLD else None

    def _of_alarm(self, transition: Transition) -> Notice:
        alarm = transition.alarm
        name, place = self._where(alarm.equipment)
        return Notice(
            id=alarm.id,
            kind="alarm",
            priority=alarm.priority.value,
            title=alarm.name,
            body=Text(self._line(alarm, "zh"), self._line(alarm, "en")),
            equipment=name,
            place=place,
            time_ns=transition.time_ns,
            resolved=transition.event == "cleared",
            respond_s=alarm.respond_s,
        )

    def of_incident(
        self, incident: Incident, lead: Alarm | None, affected: Sequence[str], count: int, time_ns: int
    ) -> Notice:
        """An incident as people are told of it. `lead`: the alarm that gives it its name; `affected`: what it takes
        with it, by name, at least the first of `count`. It is over where none of its conditions stands."""
        place = incident.root if incident.root == SITE or lead is None else lead.equipment
        name, location = self._where(place)
        lines = [self._told_of(incident, lead, affected, count, language) for language in ("zh", "en")]
        return Notice(
            id=incident.id,
            kind="alarm",
            priority=incident.called or incident.priority,
            title=incident.title,
            body=Text(*lines),
            equipment=name,
            place=location,
            time_ns=time_ns,
            resolved=incident.active == 0,
            respond_s=lead.respond_s if lead else 0.0,
        )

    def _told_of(
        self, incident: Incident, lead: Alarm | None, affected: Sequence[str], count: int, language: Language
    ) -> str:
        zh, parts = language == "zh", []
        if incident.root == SITE and lead is not None:
            first = f"{lead.name.get(language)} · {self._where(lead.equipment)[0]}"
            parts.append(f"首发报警：{first}" if zh else f"First out: {first}")
        elif lead is not None:
            parts.append(self._line(lead, language))
        more = len(incident.alarms) - 1
        if more > 0:
            parts.append(f"另有 {more} 条相关报警" if zh else f"{more} more alarms belong to it")
        if affected:
            names = ("、" if zh else ", ").join(affected[:NAMED])
            rest = ("等" if zh else " and others") if count > NAMED else ""
            parts.append(f"影响 {count} 台设备：{names}{rest}" if zh else f"Affects {count}: {names}{rest}")
        return ("。" if zh else ". ").join(part.rstrip("。.") for part in parts if part)

    def _line(self, alarm: Alarm, language: Language) -> str:
        """What it saw, and what to do."""
        what = seen(self._points.get(alarm.point or ""), alarm.value, alarm.measured)
        parts = (what.get(language) if what else "", alarm.advice.get(language))
        return ("。" if language == "zh" else ". ").join(part for part in parts if part)

    def _of_order(self, event: OrderEvent) -> Notice:
        order = event.order
        name, place = self._where(order.equipment)
        return Notice(
            id=order.id,
            kind="order",
            priority=order.priority,
            title=order.title,
            body=Text(f"{order.cause.zh}。{order.task.zh}", f"{order.cause.en}. {order.task.en}"),
            equipment=name,
            place=place,
            time_ns=event.time_ns,
            resolved=event.event != "opened",
        )

    def _where(self, equipment_id: str) -> tuple[str, str]:
        if equipment_id in (SITE, BOX):
            return self._site.info.name, ""
        equipment = self._site.equipment.get(equipment_id)
        if equipment is None:
            return equipment_id.removeprefix("connection:").removeprefix(UPLINK), ""
        return equipment.name, equipment.location
