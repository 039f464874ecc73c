"""From what happened to what people are told: the text of a push, in both languages."""

from __future__ import annotations

from drivers.point import Language, Point, Text
from edge.alarms.alarm import Transition
from edge.engine import Happening
from edge.response.notice import Notice
from edge.site import Site
from edge.texts import shown
from edge.upkeep.orders import OrderEvent

TOLD = {"raised", "re-raised", "reminded", "cleared"}
"""Transitions that people are pushed; acknowledging and shelving are acts of people themselves."""
ORDER_TOLD = {"opened", "verified", "cancelled"}


class Notices:
    """Writes notices for the equipment of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._points = {point.id: point for point in site.points}

    def notice(self, happening: Happening) -> Notice | None:
        """What to push about it; None where nobody is to be disturbed."""
        if isinstance(happening, Transition):
            return self._of_alarm(happening) if happening.event in TOLD else None
        return self._of_order(happening) if happening.event in ORDER_TOLD else None

    def _of_alarm(self, transition: Transition) -> Notice:
        alarm = transition.alarm
        name, place = self._where(alarm.equipment)
        point = self._points.get(alarm.point or "")
        advice = alarm.advice or Text("", "")
        return Notice(
            id=alarm.id,
            kind="alarm",
            priority=alarm.priority.value,
            title=alarm.name,
            body=Text(*(self._line(advice.get(lang), point, alarm.value, lang) for lang in ("zh", "en"))),
            equipment=name,
            place=place,
            time_ns=transition.time_ns,
            resolved=transition.event == "cleared",
            respond_s=alarm.respond_s,
        )

    def _line(self, advice: str, point: Point | None, value: object, language: Language) -> str:
        if point is None or not isinstance(value, bool | int | float | str):
            return advice
        between = "：" if language == "zh" else ": "
        reading = f"{point.title.get(language)}{between}{shown(point, value, language)}"
        return f"{reading}{'。' if language == 'zh' else '. '}{advice}"

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
        equipment = self._site.equipment.get(equipment_id)
        if equipment is None:
            return equipment_id.removeprefix("connection:"), ""
        return equipment.name, equipment.location
