"""What people may ask of the daemon and do with it; console, command line and MQTT commands use only this.

Answers are plain mappings with the names of the HTTP interface. Every act (acknowledge, write, order step)
says who did it and is in the ledger before the asker has the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from drivers.driver import Clock
from drivers.point import Point, Quality, Text, Value
from edge.alarms.alarm import Alarm, AlarmRefused, Transition
from edge.alarms.machine import ANNUNCIATED
from edge.clerk import Clerk
from edge.commands import DeskRefused, PointCommands, Way
from edge.engine import Engine
from edge.events import Hub
from edge.incident_desk import IncidentDesk
from edge.site import Equipment, Site
from edge.store.ledger import Ledger, StoreError
from edge.store.readings import ReadingsStore
from edge.store.steps import Aggregate
from edge.texts import iso, label, seen
from edge.upkeep.orders import Order, OrderRefused

__all__ = ["Desk", "DeskRefused", "Uplink"]

SHELF_MINUTES = 60.0
"""How long an alarm is shelved where nobody says."""


class Uplink(Protocol):
    """A way out, as the desk sees it."""

    def status(self) -> dict[str, Any]:
        """Its row in `uplinks`."""
        ...


class Desk:
    """Questions and acts of people, checked, done, written down."""

    def __init__(
        self,
        site: Site,
        engine: Engine,
        clerk: Clerk,
        ledger: Ledger,
        store: ReadingsStore,
        commands: PointCommands,
        ways: Mapping[str, Way],
        uplinks: Mapping[str, Uplink],
        clock: Clock,
        hub: Hub,
    ) -> None:
        self.hub = hub
        self.storage: Callable[[], dict[str, Any]] = dict
        """Figures of how history is kept."""
        self.watched: list[Callable[[], str | None]] = []
        """Further things that may be wrong with the box: what each says stands in `health`."""
        self._site = site
        self._engine = engine
        self._clerk = clerk
        self._ledger = ledger
        self._store = store
        self._commands = commands
        self._ways = ways
        self._uplinks = uplinks
        self._clock = clock
        self.incident_desk = IncidentDesk(site, engine, clerk, ledger, clock, self.alarm_row)
        self._points = {point.id: point for point in site.points}
        self._began_s = clock.mono_s()

    # --- questions ---------------------------------------------------------------------------------------

    def site(self) -> dict[str, Any]:
        """Who and where the community is."""
        info = self._site.info
        return {"id": info.id, "name": info.name, "timezone": info.timezone, "language": info.language}

    def place(self) -> dict[str, Any]:
        """Where on this box the state directory and the site file are."""
        files = [str(path.absolute()) for _, path in self._site.files]
        return {"state": str(self._ledger.path.parent.absolute()), "config": files[0] if files else None}

    def equipment(self) -> list[dict[str, Any]]:
        """Every equipment with the worst quality of its points and its most urgent alarm."""
        worst: dict[str, str] = {}
        for alarm in self._engine.alarms.alarms():
            if alarm.active or alarm.state in ANNUNCIATED:
                known = worst.get(alarm.equipment, alarm.priority.value)
                worst[alarm.equipment] = min(known, alarm.priority.value, key=_rank)
        return [self._equipment_row(each, worst.get(each.id)) for each in self._site.equipment.values()]

    def equipment_one(self, equipment_id: str) -> dict[str, Any] | None:
        """One equipment with its points, meters and orders; None where there is none of that id."""
        row = next((row for row in self.equipment() if row["id"] == equipment_id), None)
        if row is not None:
            row["points"] = self.points(equipment_id)
            row["meters"] = [meter for meter in self.meters() if meter["equipment"] == equipment_id]
            row["orders"] = [order for order in self.orders() if order["equipment"] == equipment_id]
        return row

    def _equipment_row(self, each: Equipment, worst: str | None) -> dict[str, Any]:
        levels = {self._engine.live(point).quality.level for point in each.device.points}
        return {
            "id": each.id,
            "class": each.equipment_class,
            "name": each.name,
            "location": each.location,
            "profile": each.profile.id,
            "profile_name": each.profile.name.to_body(),
            "synthetic": each.profile.synthetic,
            "connection": each.connection,
            "shown": list(each.profile.shown),
            "quality": "bad" if levels == {"bad"} else "good" if levels == {"good"} else "uncertain",
            "alarm": worst,
        }

    def points(self, equipment: str | None = None) -> list[dict[str, Any]]:
        """The newest reading of every point, or of those of one equipment."""
        return [self._point_row(each) for each in self._points.values() if equipment in (None, each.equipment)]

    def point(self, point_id: str) -> dict[str, Any] | None:
        """The newest reading of one point; None where there is none of that id."""
        point = self._points.get(point_id)
        return self._point_row(point) if point else None

    def live(self, point_id: str) -> tuple[Value, str, int]:
        """Value, quality and Unix time in ns of the newest reading of a point; raises KeyError."""
        live = self._engine.live(self._points[point_id])
        return live.value, live.quality.value, live.time_ns

    def _point_row(self, point: Point) -> dict[str, Any]:
        live = self._engine.live(point)
        name = label(point, live.value)
        return {
            "id": point.id,
            "equipment": point.equipment,
            "name": point.name,
            "title": point.title.to_body(),
            "value": live.value,
            "label": name.to_body() if name else None,
            "unit": point.unit,
            "quality": live.quality.level,
            "reason": live.quality.reason,
            "time": iso(live.time_ns),
            "worst_age_s": self._ways[self._site.equipment[point.equipment].connection].worst_age_s(point),
            "writable": point.writable,
            "override": self._commands.override(point),
        }

    async def readings(
        self,
        point_id: str,
        from_ns: int,
        to_ns: int,
        every_ns: int | None = None,
        aggregate: Aggregate = "mean",
    ) -> list[dict[str, Any]]:
        """Recorded readings of one point in a span, all of them or one for each step of `every_ns`."""
        if point_id not in self._points:
            raise DeskRefused("not_found", f"no point {point_id}")
        if from_ns >= to_ns:
            raise DeskRefused("refused", "from is not before to; swap them")
        try:
            rows = await self._store.query(point_id, from_ns, to_ns, every_ns, aggregate=aggregate)
        except StoreError as error:
            raise DeskRefused("unavailable", str(error)) from error
        return [_reading(time_ns, value, Quality(quality)) for time_ns, value, quality in rows]

    def alarms(self, state: str | None = None) -> list[dict[str, Any]]:
        """Alarms that are not normal, the most urgent first, then the oldest."""
        rows = [self.alarm_row(alarm) for alarm in self._engine.alarms.alarms()]
        rows = [row for row in rows if state in (None, row["state"])]
        return sorted(rows, key=lambda row: (_rank(row["priority"]), row["raised"] or "", row["id"]))

    def alarm_row(self, alarm: Alarm) -> dict[str, Any]:
        """One alarm as everybody outside reads it."""
        equipment = self._site.equipment.get(alarm.equipment)
        return {
            "id": alarm.id,
            "equipment": alarm.equipment,
            "equipment_name": equipment.name if equipment else alarm.equipment,
            "location": equipment.location if equipment else "",
            "rule": alarm.rule,
            "code": alarm.code,
            "priority": alarm.priority.value,
            "state": alarm.state.value,
            "active": alarm.active,
            "name": alarm.name.to_body(),
            "advice": _text(alarm.advice),
            "cause": _text(alarm.cause),
            "consequence": _text(alarm.consequence),
            "raised": iso(alarm.raised_ns or 0),
            "cleared": iso(alarm.cleared_ns or 0),
            "acknowledged": iso(alarm.acked_ns or 0),
            "acked_by": alarm.acked_by,
            "shelved_until": iso(alarm.shelved_until_ns or 0),
            "occurrence": alarm.occurrence,
            "point": alarm.point,
            "value": alarm.value,
            "seen": _text(seen(self._points.get(alarm.point or ""), alarm.value, alarm.measured)),
            "incident": self._engine.incidents.incident_id(alarm.id),
            "repeats": self._engine.incidents.repeats.row(alarm.id, self._clock.mono_s()),
        }

    def incidents(self, state: str | None = None) -> list[dict[str, Any]]:
        """Incidents that are not closed, the most urgent first; with `closed`, those closed lately."""
        return self.incident_desk.incidents(state)

    async def alarm_report(self, from_ns: int, to_ns: int) -> dict[str, Any]:
        """The figures of the alarms of a span, each beside what is recommended."""
        return await self.incident_desk.report(from_ns, to_ns)

    async def incident(self, incident_id: str) -> dict[str, Any] | None:
        """One incident with its alarms and its timeline; None where there is none of that id."""
        return await self.incident_desk.one(incident_id)

    async def journal(self, kind: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """What the ledger holds, oldest first, from after a sequence number."""
        try:
            rows = await self._ledger.journal(kind=kind, after=after, limit=limit)
        except StoreError as error:
            raise DeskRefused("unavailable", str(error)) from error
        return [
            {"seq": seq, "kind": each.kind, "subject": each.subject, "time": iso(each.time_ns), "body": each.body}
            for seq, each in rows
        ]

    def orders(self, state: str | None = None) -> list[dict[str, Any]]:
        """Work orders, the newest first."""
        rows = [self.order_row(order) for order in self._engine.upkeep.orders()]
        return sorted((row for row in rows if state in (None, row["state"])), key=lambda row: row["id"], reverse=True)

    def order_row(self, order: Order) -> dict[str, Any]:
        """One work order as everybody outside reads it."""
        equipment = self._site.equipment.get(order.equipment)
        return {
            **order.to_body(),
            "equipment_name": equipment.name if equipment else order.equipment,
            "location": equipment.location if equipment else "",
            "opened": iso(order.opened_ns),
            "due": iso(order.due_ns or 0),
        }

    def connections(self) -> list[dict[str, Any]]:
        """Every connection with what it carries and what goes wrong on it."""
        return [way.status() for way in self._ways.values()]

    def uplinks(self) -> list[dict[str, Any]]:
        """Every uplink with its lag and what it could not send."""
        return [uplink.status() for uplink in self._uplinks.values()]

    def meters(self) -> list[dict[str, Any]]:
        """What upkeep counts by."""
        return [
            {"equipment": m.equipment, "name": m.name, "title": m.title.to_body(), "unit": m.unit, "value": m.value}
            for m in self._engine.upkeep.meters()
        ]

    def health(self) -> dict[str, Any]:
        """Whether the daemon does its work, and its figures. `reasons` is empty where all is well."""
        store = self._store.stats()
        faults = [f"readings store: {self._store.trouble}"] if self._store.trouble else []
        if self._clerk.unwritten:
            faults.append(f"ledger: {self._clerk.unwritten} entries wait for the disk")
        faults += [fault for watched in self.watched if (fault := watched())]
        live = [self._engine.live(point).quality.level for point in self._points.values()]
        return {
            "ok": not faults,
            "reasons": faults,
            "uptime_s": self._clock.mono_s() - self._began_s,
            "batches": self._engine.batches,
            "readings": self._engine.readings,
            "recorded": self._engine.recorded,
            "points": len(live),
            "points_good": live.count("good"),
            "alarms": len(self._engine.alarms.alarms()),
            "orders_open": sum(order.pending for order in self._engine.upkeep.orders()),
            "store": store,
            "storage": self.storage(),
        }

    # --- acts --------------------------------------------------------------------------------------------

    async def write_point(
        self, point_id: str, value: Value, who: str, reason: str, for_s: float | None = None
    ) -> dict[str, Any]:
        """Give a command to a point, for a time where `for_s` says so; every attempt is journalled."""
        return await self._commands.write(point_id, value, who, reason, for_s)

    async def alarm_step(
        self, alarm_id: str, step: str, who: str, reason: str | None = None, minutes: float | None = None
    ) -> dict[str, Any]:
        """Acknowledge, shelve, unshelve or reset one alarm."""
        try:
            transitions = self._step(alarm_id, step, who, reason or "", minutes or SHELF_MINUTES)
        except AlarmRefused as refused:
            raise DeskRefused(refused.kind, str(refused)) from refused
        self._engine.acted(transitions)
        await self._clerk.settled()
        return self.alarm_row(transitions[-1].alarm)

    def _step(self, alarm_id: str, step: str, who: str, reason: str, minutes: float) -> list[Transition]:
        alarms, wall_ns, mono_s = self._engine.alarms, self._clock.wall_ns(), self._clock.mono_s()
        if step == "ack":
            return alarms.ack(alarm_id, who, wall_ns, mono_s, reason)
        if step == "shelve":
            return alarms.shelve(alarm_id, who, reason, minutes, wall_ns, mono_s)
        if step == "unshelve":
            return alarms.unshelve(alarm_id, who, wall_ns, mono_s, reason)
        if step == "reset":
            return alarms.reset(alarm_id, who, wall_ns, mono_s, reason)
        raise DeskRefused("not_found", f"no step {step}; there are ack, shelve, unshelve, reset")

    async def incident_step(self, incident_id: str, step: str, who: str, note: str | None = None) -> dict[str, Any]:
        """Acknowledge all alarms of an incident, or say `onsite`, `released` or a `note` of it."""
        return await self.incident_desk.step(incident_id, step, who, note or "")

    async def order_step(self, order_id: str, step: str, who: str, note: str | None = None) -> dict[str, Any]:
        """Accept, start, finish, verify or cancel one work order."""
        try:
            event = self._engine.upkeep.step(order_id, step, who, note or "", self._clock.wall_ns())
        except OrderRefused as refused:
            raise DeskRefused(refused.kind, str(refused)) from refused
        self._clerk.take([event])
        await self._clerk.settled()
        return self.order_row(event.order)


def _reading(time_ns: int, value: Value, quality: Quality) -> dict[str, Any]:
    return {
        "time": iso(time_ns), "time_ns": time_ns, "value": value, "quality": quality.level, "reason": quality.reason,
    }  # fmt: skip


_URGENCY: Sequence[str] = ("critical", "high", "medium", "low")


def _rank(priority: str) -> int:
    return _URGENCY.index(priority)


def _text(text: Text | None) -> dict[str, str] | None:
    return text.to_body() if text else None
