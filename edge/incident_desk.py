"""What people may ask of incidents and do to them; the part of the desk that is about incidents.

What comes in: names and steps from console, command line and MQTT. What goes out: plain mappings with the names of
the HTTP interface. What is open or was closed lately is in the engine; whatever is older the journal tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from drivers.driver import Clock
from drivers.point import Text
from edge.alarm_report import alarm_report
from edge.alarms.alarm import Alarm, AlarmRefused, Transition
from edge.alarms.machine import ANNUNCIATED
from edge.alarms.rule import Rule, cuts_off
from edge.clerk import Clerk
from edge.commands import DeskRefused
from edge.engine import Engine
from edge.incidents.dossier import Trait
from edge.incidents.incident import SITE, Incident, IncidentRefused
from edge.incidents.words import line_text
from edge.parents import CONNECTION, ancestors
from edge.response.channels import CHANNELS
from edge.site import Site
from edge.store.ledger import Ledger, StoreError
from edge.texts import iso

LISTED = 200
"""Alarms and equipment that a row names; their number is said beside."""
AT_ONCE = 200
"""Alarms that are acknowledged without letting others work in between."""


def trait_of(rule: Rule) -> Trait:
    """What a rule says about incidents."""
    return Trait(rule.root_cause, cuts_off(rule.condition), rule.rescue, rule.on_delay_s, rule.off_delay_s)


class IncidentDesk:
    """Questions and acts about incidents."""

    def __init__(
        self,
        site: Site,
        engine: Engine,
        clerk: Clerk,
        ledger: Ledger,
        clock: Clock,
        alarm_row: Callable[[Alarm], dict[str, Any]],
    ) -> None:
        self._site = site
        self._engine = engine
        self._clerk = clerk
        self._ledger = ledger
        self._clock = clock
        self._alarm_row = alarm_row
        self._below: dict[str, list[str]] = {}
        for node, above in ancestors(site.above).items():
            for each in above:
                if node in site.equipment:
                    self._below.setdefault(each, []).append(node)
        self._causes = {rule.id for rule in site.rules if rule.root_cause}
        self._traits = {rule.id: trait_of(rule) for rule in site.rules}

    # --- questions ---------------------------------------------------------------------------------------

    def incidents(self, state: str | None = None) -> list[dict[str, Any]]:
        """Incidents that are not closed, the most urgent first; with `closed`, those closed lately."""
        found = self._engine.incidents.closed() if state == "closed" else self._engine.incidents.incidents()
        return [self.row(each) for each in found if state in (None, each.state)]

    def row(self, incident: Incident) -> dict[str, Any]:
        """One incident as everybody outside reads it, without its timeline."""
        name, location = self._where(incident.root)
        affected = self._below.get(incident.root, []) if incident.lead in self._causes else []
        alarms = list(incident.alarms[:LISTED])
        return {
            "id": incident.id,
            "title": incident.title.to_body(),
            "root": incident.root,
            "root_name": name,
            "location": location,
            "lead": incident.lead,
            "first_out": incident.first_out,
            "priority": incident.priority,
            "state": incident.state,
            "opened": iso(incident.opened_ns),
            "changed": iso(incident.changed_ns),
            "closed": iso(incident.closed_ns or 0),
            "active": incident.active,
            "unacknowledged": incident.unacknowledged,
            "alarms": alarms,
            "alarm_count": len(incident.alarms),
            "affected": [self._where(each)[0] for each in affected[:LISTED]],
            "affected_count": len(affected),
            "rescue": incident.rescue,
            "acknowledged": iso(incident.acked_ns or 0),
            "acked_by": incident.acked_by,
            "onsite": iso(incident.onsite_ns or 0),
            "onsite_by": incident.onsite_by,
            "released": iso(incident.released_ns or 0),
            "released_by": incident.released_by,
            "caused_by": incident.caused_by,
            "merged_into": incident.merged_into,
        }

    async def one(self, incident_id: str) -> dict[str, Any] | None:
        """One incident with its alarms, first out first, and its timeline; None where there is none of that id."""
        incident = self._engine.incidents.incident(incident_id) or await self._from_journal(incident_id)
        if incident is None:
            return None
        found = [self._engine.alarms.alarm(each) for each in incident.alarms[: 5 * LISTED]]
        standing = sorted((each for each in found if each is not None), key=lambda each: each.seq or 1 << 62)
        lines = sorted(incident.timeline, key=lambda line: line.time_ns)
        names = {each.id: each.name for each in standing}
        return {
            **self.row(incident),
            "alarm_rows": [self._alarm_row(each) for each in standing],
            "timeline": [
                {
                    "time": iso(line.time_ns), "event": line.event, "alarm": line.alarm, "who": line.who,
                    "note": line.note,
                    "text": line_text(line, names.get(line.alarm), self._people, self._channel).to_body(),
                }
                for line in lines
            ],
            "more": incident.more,
        }  # fmt: skip

    async def report(self, from_ns: int, to_ns: int) -> dict[str, Any]:
        """The figures of the alarms of a span, each beside what is recommended."""
        now_ns = self._clock.wall_ns()
        try:
            return await alarm_report(self._ledger, self._engine.alarms, self._traits, from_ns, to_ns, now_ns)
        except StoreError as error:
            raise DeskRefused("unavailable", str(error)) from error

    async def _from_journal(self, incident_id: str) -> Incident | None:
        """An incident that was closed long ago."""
        try:
            rows = await self._ledger.journal(kind="incident", subject=incident_id, limit=50, newest_first=True)
        except StoreError as error:
            raise DeskRefused("unavailable", str(error)) from error
        body = next((entry.body["body"] for _, entry in rows if "body" in entry.body), None)
        return None if body is None else Incident.from_body(body)

    def _people(self, recipient: str) -> str:
        known = self._site.duty.recipients.get(recipient)
        return known.name if known else recipient

    def _channel(self, name: str) -> Text:
        """A channel by its kind; of several of a kind by its name too."""
        channels = self._site.duty.channels
        if name not in channels:
            return Text(name, name)
        title = CHANNELS[channels[name].type].title
        alone = sum(each.type == channels[name].type for each in channels.values()) == 1
        return title if alone else Text(f"{title.zh} {name}", f"{title.en} {name}")

    def _where(self, root: str) -> tuple[str, str]:
        """Name and place of what an incident is about."""
        if root == SITE:
            return self._site.info.name, ""
        equipment = self._site.equipment.get(root)
        return (equipment.name, equipment.location) if equipment else (root.removeprefix(CONNECTION), "")

    # --- acts --------------------------------------------------------------------------------------------

    async def step(self, incident_id: str, step: str, who: str, note: str) -> dict[str, Any]:
        """Acknowledge all alarms of an incident, or say that somebody is on site, is released, or anything else."""
        if step == "ack":
            await self._acknowledge(incident_id, who, note)
        else:
            try:
                self._clerk.take(self._engine.incidents.step(incident_id, step, who, note, self._clock.wall_ns()))
            except IncidentRefused as refused:
                raise DeskRefused(refused.kind, str(refused)) from refused
        await self._clerk.settled()
        row = await self.one(incident_id)
        assert row is not None  # noqa: S101  # it was there a moment ago, and closed ones are kept
        return row

    async def _acknowledge(self, incident_id: str, who: str, note: str) -> None:
        incident = self._engine.incidents.incident(incident_id)
        if incident is None:
            raise DeskRefused("not_found", f"no incident {incident_id!r}")
        wanting = [each for each in incident.alarms if self._wants(each)]
        if not wanting:
            by = f", acknowledged by {incident.acked_by}" if incident.acked_by else ""
            raise DeskRefused("conflict", f"{incident_id} is {incident.state}{by}; there is nothing to acknowledge")
        for at in range(0, len(wanting), AT_ONCE):
            self._engine.acted([each for alarm in wanting[at : at + AT_ONCE] for each in self._ack(alarm, who, note)])
            await asyncio.sleep(0)

    def _wants(self, alarm_id: str) -> bool:
        alarm = self._engine.alarms.alarm(alarm_id)
        return alarm is not None and alarm.state in ANNUNCIATED

    def _ack(self, alarm_id: str, who: str, note: str) -> list[Transition]:
        try:
            return self._engine.alarms.ack(alarm_id, who, self._clock.wall_ns(), self._clock.mono_s(), note)
        except AlarmRefused as refused:
            if refused.kind == "conflict":  # somebody was quicker
                return []
            raise DeskRefused(refused.kind, str(refused)) from refused
