"""Which alarms belong together: the cause first, then the equipment, then the moment.

What comes in: transitions of alarms, the tick of the clock, what people do to incidents. What goes out: incident
events, in the order in which they happened. No I/O; values and time are arguments.

What belongs together is found in `grouping`. A critical alarm calls people by itself and at once; of all else they
are told by incident.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from drivers.point import Value
from edge.incidents.dossier import OVER, PLAIN, Dossier, Trait
from edge.incidents.grouping import TAKEN_OVER_S, Files
from edge.incidents.incident import SITE, AlarmLike, Event, Incident, IncidentEvent, IncidentRefused, Line
from edge.incidents.incident import TransitionLike as Transition
from edge.incidents.repeats import FLEETING_SPAN_S, Repeats

GATHER_S = 3.0
"""In a burst people are told of an incident so much later, with what has joined it by then."""


class IncidentEngine:
    """All incidents of a site."""

    def __init__(
        self, ancestors: Mapping[str, Sequence[str]] | None = None, traits: Mapping[str, Trait] | None = None
    ) -> None:
        """`ancestors`: of each equipment and `connection:NAME` all above it, nearest first. `traits`: by alarm."""
        self.repeats = Repeats()
        self._traits = traits or {}
        self._files = Files(ancestors or {})
        self._pending: dict[str, Dossier] = {}
        """Incidents of which people are to be told in a moment."""
        self._held: list[tuple[float, str]] = []
        self._swept_s = float("-inf")

    # ---- what happens to alarms --------------------------------------------------------------------

    def take(self, transition: Transition, mono_s: float, value: Value = None) -> list[IncidentEvent]:
        """One alarm has changed. `value`: what its point reads now."""
        alarm, out = transition.alarm, list[IncidentEvent]()
        line = Line(transition.time_ns, transition.event, alarm.id, transition.who, transition.note)
        if transition.event in ("raised", "re-raised"):
            dossier = self._raise(alarm, line, mono_s, out)
        else:
            found = self._files.of.get(alarm.id)
            if found is None or found.closed_ns is not None:
                return out
            dossier = found
            self._change(dossier, alarm, line, mono_s, value, out)
        self._settle(dossier, line, mono_s, out)
        return out

    def _raise(self, alarm: AlarmLike, line: Line, mono_s: float, out: list[IncidentEvent]) -> Dossier:
        trait = self._traits.get(alarm.id, PLAIN)
        value = None if alarm.measured else alarm.value  # no deadband of the point's own would calm what is measured
        history = self.repeats.raised(alarm.id, trait, mono_s, value, critical=alarm.priority == "critical")
        dossier = self._files.of.get(alarm.id)
        if dossier is not None and dossier.closed_ns is None:
            dossier.update(alarm)
            dossier.write(line)
            out.append(dossier.event("updated", line.time_ns, alarm.id))
        else:
            dossier = self._files.place(alarm, trait, line, mono_s, out)
        dossier.last_s = mono_s
        if trait.rescue:
            dossier.released_ns = dossier.released_by = None
        dossier.hold(alarm.id, history is not None)
        if history is not None:
            heapq.heappush(self._held, (history.held_until_s, alarm.id))
            dossier.write(Line(line.time_ns, "held", alarm.id, note=history.kind or ""))
        if trait.root_cause:
            self._files.causes.stands(alarm.equipment, alarm.id, cut_off=trait.cut_off)
            self._files.take_over(dossier, alarm.equipment, line.time_ns, mono_s, out)
        self._gather(dossier, alarm, trait, mono_s)
        return dossier

    def _change(
        self, dossier: Dossier, alarm: AlarmLike, line: Line, mono_s: float, value: Value, out: list[IncidentEvent]
    ) -> None:
        """Cleared, acknowledged, shelved ..."""
        wanting = dossier.wanting
        dossier.update(alarm)
        dossier.write(line)
        if line.event == "reminded":
            dossier.called = None  # it is still there long after somebody knew: people are told again
        if line.event == "cleared":
            self.repeats.cleared(alarm.id, mono_s, value)
        if not alarm.active or alarm.state in OVER:
            self._files.causes.gone(alarm.equipment, alarm.id, mono_s)
        event: Event = "updated"
        if line.event == "acknowledged":
            first = dossier.acked_ns is None or dossier.acked_ns < (dossier.called_ns or dossier.opened_ns)
            if first or (wanting and not dossier.wanting):
                dossier.acked_ns, dossier.acked_by = line.time_ns, line.who
                event = "acknowledged"
        out.append(dossier.event(event, line.time_ns, alarm.id, line.who, line.note))

    def _settle(self, dossier: Dossier, line: Line, mono_s: float, out: list[IncidentEvent]) -> None:
        """Whatever follows for the incident as a whole."""
        dossier.changed_ns = time_ns = line.time_ns
        if dossier.freed():
            dossier.released_ns, dossier.released_by = time_ns, ""
            dossier.write(Line(time_ns, "released", line.alarm, note="condition gone"))
            out.append(dossier.event("released", time_ns, line.alarm, note="condition gone"))
        if dossier.went_quiet():
            dossier.called = None
            event: Event = "cleared" if line.event == "cleared" else "quieted"
            out.append(dossier.event(event, time_ns, line.alarm))
        if dossier.wants_call() is None:
            dossier.call_due_s = None
            self._pending.pop(dossier.id, None)
        elif dossier.call_due_s is None:
            self._call_at(dossier, mono_s)
        self._call(dossier, time_ns, mono_s, out)
        if not dossier.standing and dossier.closed_ns is None:
            self._close(dossier, time_ns, mono_s, out)

    # ---- telling, closing --------------------------------------------------------------------------

    def _gather(self, dossier: Dossier, alarm: AlarmLike, trait: Trait, mono_s: float) -> None:
        """When people are to be told: at once, in a burst a moment later."""
        if dossier.wants_call() is None or dossier.call_due_s is not None:
            return
        burst = dossier.called is None and self._files.opened_since(mono_s - GATHER_S, dossier)
        # What is cut off may be so because of something above, which is then seen a moment later.
        below = trait.cut_off and self._files.causes.hangs(alarm.equipment)
        self._call_at(dossier, mono_s + GATHER_S if burst or below else mono_s)

    def _call_at(self, dossier: Dossier, due_s: float) -> None:
        dossier.call_due_s = due_s
        self._pending[dossier.id] = dossier

    def _call(self, dossier: Dossier, time_ns: int, mono_s: float, out: list[IncidentEvent]) -> None:
        """Tell people, where that is due."""
        if dossier.call_due_s is None or dossier.call_due_s > mono_s or dossier.closed_ns is not None:
            return
        dossier.call_due_s = None
        self._pending.pop(dossier.id, None)
        dossier.called = dossier.wants_call()
        dossier.called_ns = time_ns
        out.append(dossier.event("called", time_ns))

    def _close(self, dossier: Dossier, time_ns: int, mono_s: float, out: list[IncidentEvent]) -> None:
        dossier.closed_ns, dossier.closed_s = time_ns, mono_s
        dossier.changed_ns = time_ns
        dossier.write(Line(time_ns, "closed"))
        del self._files.open[dossier.id]
        self._pending.pop(dossier.id, None)
        out.append(dossier.event("closed", time_ns))
        self._files.keep_closed(dossier, time_ns, out)

    @property
    def gathers(self) -> bool:
        """Whether people are to be told of one in a moment."""
        return bool(self._pending)

    def tick(self, mono_s: float, wall_ns: int) -> list[IncidentEvent]:
        """Tell of what was gathered, let go of what has calmed down. To be called about once a second."""
        out: list[IncidentEvent] = []
        while self._held and self._held[0][0] <= mono_s:
            _, alarm_id = heapq.heappop(self._held)
            dossier = self._files.of.get(alarm_id)
            if self.repeats.calm(alarm_id, mono_s) and dossier is not None:
                dossier.hold(alarm_id, held=False)
                if dossier.wants_call() is not None and dossier.call_due_s is None and dossier.closed_ns is None:
                    self._call_at(dossier, mono_s)
        for name, dossier in list(self._pending.items()):
            if dossier.call_due_s is None:  # it is part of another incident by now
                del self._pending[name]
            else:
                self._call(dossier, wall_ns, mono_s, out)
        if mono_s - self._swept_s > FLEETING_SPAN_S / 4:
            self._swept_s = mono_s
            self.repeats.forget(mono_s - 2 * FLEETING_SPAN_S)
        return out

    # ---- what people do ----------------------------------------------------------------------------

    def step(self, incident_id: str, step: str, who: str, note: str, wall_ns: int) -> list[IncidentEvent]:
        """Somebody is on site, has freed whoever was in there, or notes something. Raises `IncidentRefused`.

        Acknowledging is done to the alarms of an incident.
        """
        dossier, who, note = self._find(incident_id), who.strip(), note.strip()
        if not who:
            raise IncidentRefused("refused", "a name is missing; it goes into the journal")
        if step not in ("onsite", "released", "note"):
            raise IncidentRefused("not_found", f"no step {step}; there are ack, onsite, released, note")
        if step == "note" and not note:
            raise IncidentRefused("refused", "a note has words; write what was seen or done")
        event: Event = "onsite" if step == "onsite" else "released" if step == "released" else "note"
        if event != "note":
            self._mark(dossier, event, who, wall_ns)
        dossier.changed_ns = wall_ns
        dossier.write(Line(wall_ns, event, who=who, note=note))
        return [dossier.event(event, wall_ns, who=who, note=note)]

    @staticmethod
    def _mark(dossier: Dossier, event: Event, who: str, wall_ns: int) -> None:
        if dossier.merged_into is not None:
            raise IncidentRefused("conflict", f"{dossier.id} is part of {dossier.merged_into}; say it there")
        if event == "onsite":
            if dossier.closed_ns is not None:
                raise IncidentRefused("conflict", f"{dossier.id} is closed; write a note instead")
            if dossier.onsite_ns is not None:
                raise IncidentRefused("conflict", f"{dossier.onsite_by} is on site already; write a note instead")
            dossier.onsite_ns, dossier.onsite_by = wall_ns, who
        else:
            if dossier.released_ns is not None and dossier.released_by:
                raise IncidentRefused("conflict", f"{dossier.released_by} has said so already; write a note instead")
            dossier.released_ns, dossier.released_by = wall_ns, who

    def pushed(
        self, notice_id: str, recipient: str, channel: str, error: str | None, wall_ns: int, *, over: bool = False
    ) -> list[IncidentEvent]:
        """Somebody was told, or could not be: `notice_id` is an incident's or one of its alarms'. `over`: told that
        it is over."""
        dossier = self._look_up(notice_id) or self._files.of.get(notice_id)
        if dossier is None:
            return []
        alarm = "" if notice_id == dossier.id else notice_id
        if error is None:
            event, note = "pushed over" if over else "pushed", channel
        else:
            event, note = "push over failed" if over else "push failed", f"{channel}: {error}"
        dossier.write(Line(wall_ns, event, alarm, recipient, note))
        return [dossier.event("updated", wall_ns, alarm)]

    def _look_up(self, incident_id: str) -> Dossier | None:
        """One that is open or was closed lately."""
        closed = (each for each in self._files.closed if each.id == incident_id)
        return self._files.open.get(incident_id) or next(closed, None)

    def _find(self, incident_id: str) -> Dossier:
        found = self._look_up(incident_id)
        if found is None:
            raise IncidentRefused("not_found", f"no incident {incident_id!r}; GET /api/v1/incidents lists them")
        return found

    # ---- looking, and surviving a restart ----------------------------------------------------------

    def incidents(self) -> list[Incident]:
        """All that are not closed, the most urgent first, then the oldest."""
        found = sorted(self._files.open.values(), key=lambda each: (each.rank, each.opened_ns, each.id))
        return [each.snapshot() for each in found]

    def closed(self) -> list[Incident]:
        """Those closed lately, the newest first."""
        return [each.snapshot() for each in reversed(self._files.closed)]

    def incident(self, incident_id: str) -> Incident | None:
        """One that is open or was closed lately."""
        dossier = self._look_up(incident_id)
        return dossier.snapshot() if dossier else None

    def of(self, alarm_id: str) -> Incident | None:
        """The incident that an alarm is in, or was in last."""
        dossier = self._files.of.get(alarm_id)
        return dossier.snapshot() if dossier else None

    def explained(self, alarm_id: str, equipment: str) -> bool:
        """Whether an alarm of an equipment is part of an incident about something else."""
        dossier = self._files.of.get(alarm_id)
        return dossier is not None and dossier.root != equipment

    def incident_id(self, alarm_id: str) -> str | None:
        """Its id only."""
        dossier = self._files.of.get(alarm_id)
        return dossier.id if dossier else None

    def restore(
        self, bodies: Mapping[str, Mapping[str, Any]], standing: Iterable[AlarmLike], mono_s: float, wall_ns: int
    ) -> tuple[list[IncidentEvent], list[str]]:
        """Take up stored incidents with the alarms as they stand. Nobody is told a second time.

        Returns what follows (alarms without an incident get one, incidents without an alarm are closed), and the
        ids of what cannot be read.
        """
        out: list[IncidentEvent] = []
        left_out: list[str] = []
        for id_, body in bodies.items():
            try:
                self._take_up(Dossier.of(Incident.from_body(body), mono_s, wall_ns))
            except (ValueError, TypeError):
                left_out.append(id_)
        self._files.closed = deque(sorted(self._files.closed, key=lambda each: (each.closed_ns or 0, each.id)))
        lately = [each for each in self._files.open.values() if mono_s - each.opened_s <= TAKEN_OVER_S]
        self._files.recent.extend(sorted(lately, key=lambda each: each.opened_s))
        for alarm in standing:
            self._put_in(alarm, mono_s, wall_ns, out)
        for dossier in list(self._files.open.values()):
            dossier.freed()  # what stands now is where it goes on from
            dossier.went_quiet()
            if not dossier.standing:
                self._close(dossier, wall_ns, mono_s, out)
            elif dossier.wants_call() is not None:
                self._call_at(dossier, mono_s)
        return out, left_out

    def _take_up(self, dossier: Dossier) -> None:
        number = dossier.id.removeprefix("INC-")
        self._files.number = max(self._files.number, int(number) if number.isdecimal() else 0)
        if dossier.closed_ns is not None:
            self._files.closed.append(dossier)
            return
        self._files.open[dossier.id] = dossier
        for alarm_id in dossier.order:
            self._files.of[alarm_id] = dossier
        if dossier.root == SITE:
            self._files.mass, dossier.mass = dossier, True
        else:
            self._files.at[dossier.root] = dossier

    def _put_in(self, alarm: AlarmLike, mono_s: float, wall_ns: int, out: list[IncidentEvent]) -> None:
        trait = self._traits.get(alarm.id, PLAIN)
        dossier = self._files.of.get(alarm.id)
        if dossier is not None:
            dossier.put(alarm, trait)
        elif alarm.state not in OVER:
            dossier = self._files.new(alarm.equipment, alarm.name, wall_ns, mono_s)
            dossier.add(alarm, trait, leads=True)
            self._files.of[alarm.id] = self._files.at[alarm.equipment] = dossier
            dossier.called, dossier.called_ns = dossier.wants_call(), wall_ns  # of old they were told by alarm
            out.append(dossier.event("opened", wall_ns, alarm.id))
        if trait.root_cause and alarm.active and alarm.state not in OVER:
            self._files.causes.stands(alarm.equipment, alarm.id, cut_off=trait.cut_off)
