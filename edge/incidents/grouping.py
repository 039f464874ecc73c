"""Which incident an alarm belongs to: the files of all incidents, and how one is found, joined, opened and merged.

An alarm joins (1) the incident of a cause above it in the tree of parents, where that stands; a cause that comes
after its consequences takes their incidents over; (2) the incident of its equipment, within SAME_S; (3) where more
than BURST incidents were opened within BURST_S, one incident of many places. A critical alarm is never a consequence:
it has an incident of its own or of its equipment, which names the cause. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from drivers.point import Text
from edge.incidents.causes import Causes
from edge.incidents.dossier import Dossier, Trait
from edge.incidents.incident import SITE, AlarmLike, IncidentEvent, Line

SAME_S = 600.0
"""Alarms of one equipment within this time of each other are one incident."""
TAKEN_OVER_S = 300.0
"""A cause takes over what began below it at most this long before."""
REOPEN_S = 60.0
"""A closed incident is opened again by an alarm of its equipment within this time."""
BURST = 8
"""More incidents than this opened within BURST_S are one of many places."""
BURST_S = 30.0
CLOSED = 200
"""Closed incidents that are kept to be looked at; the journal keeps all."""
MANY_PLACES = Text("多处同时报警", "Alarms in many places at once")


class Files:
    """All incidents, by what they are looked up by."""

    def __init__(self, ancestors: Mapping[str, Sequence[str]]) -> None:
        self.causes = Causes(ancestors)
        self.open: dict[str, Dossier] = {}
        self.closed: deque[Dossier] = deque()
        self.of: dict[str, Dossier] = {}
        """By alarm: the incident that it was in last, for as long as that is kept."""
        self.at: dict[str, Dossier] = {}
        """By equipment: the last incident that is about it."""
        self.recent: deque[Dossier] = deque()
        """Opened lately, oldest first."""
        self.mass: Dossier | None = None
        self.number = 0

    def place(self, alarm: AlarmLike, trait: Trait, line: Line, mono_s: float, out: list[IncidentEvent]) -> Dossier:
        """The incident that an alarm belongs to, with the alarm in it."""
        critical = alarm.priority == "critical"
        cause = self._causing(alarm.equipment, mono_s)
        if cause is not None and not critical:
            return self._join(cause, alarm, trait, line, out)
        same = self.at.get(alarm.equipment)
        if same is not None and self._lasts(same, mono_s):
            return self._join(same, alarm, trait, line, out, leads=True)
        mass = self.mass
        if mass is not None and not critical and mass.closed_ns is None and mono_s - mass.last_s <= BURST_S:
            return self._join(mass, alarm, trait, line, out, leads=trait.root_cause)
        return self._begin(alarm, trait, line, mono_s, cause, out)

    def opened_since(self, since_s: float, than: Dossier) -> bool:
        """Whether an incident other than this one was opened since a time."""
        for each in reversed(self.recent):
            if each.opened_s < since_s:
                return False
            if each is not than:
                return True
        return False

    def _causing(self, equipment: str, mono_s: float) -> Dossier | None:
        """The incident of a cause that explains what happens to an equipment now."""
        for alarm_id, cut_off in self.causes.above(equipment, mono_s):
            dossier = self.of.get(alarm_id)
            if dossier is not None and (cut_off or mono_s - dossier.last_s <= TAKEN_OVER_S):
                return dossier
        return None

    @staticmethod
    def _lasts(dossier: Dossier, mono_s: float) -> bool:
        """Whether one more alarm of its equipment belongs to it."""
        if dossier.merged_into is not None:
            return False
        if dossier.closed_ns is not None:
            return mono_s - dossier.closed_s <= REOPEN_S
        return mono_s - dossier.last_s <= SAME_S

    def _join(
        self,
        dossier: Dossier,
        alarm: AlarmLike,
        trait: Trait,
        line: Line,
        out: list[IncidentEvent],
        *,
        leads: bool = False,
    ) -> Dossier:
        if dossier.closed_ns is not None:
            dossier.closed_ns = None
            self.closed.remove(dossier)
            self.open[dossier.id] = dossier
            dossier.write(Line(line.time_ns, "reopened"))
            out.append(dossier.event("reopened", line.time_ns, alarm.id))
        dossier.add(alarm, trait, leads=leads)
        self.of[alarm.id] = dossier
        dossier.write(line)
        out.append(dossier.event("joined", line.time_ns, alarm.id))
        return dossier

    def _begin(
        self,
        alarm: AlarmLike,
        trait: Trait,
        line: Line,
        mono_s: float,
        cause: Dossier | None,
        out: list[IncidentEvent],
    ) -> Dossier:
        dossier = self.new(alarm.equipment, alarm.name, line.time_ns, mono_s)
        dossier.caused_by = cause.id if cause else None
        dossier.write(line)
        dossier.add(alarm, trait, leads=True)
        self.of[alarm.id] = self.at[alarm.equipment] = dossier
        out.append(dossier.event("opened", line.time_ns, alarm.id))
        self.recent.append(dossier)
        while self.recent and mono_s - self.recent[0].opened_s > TAKEN_OVER_S:
            self.recent.popleft()
        return self._burst(dossier, line.time_ns, mono_s, out)

    def _burst(self, dossier: Dossier, time_ns: int, mono_s: float, out: list[IncidentEvent]) -> Dossier:
        """Where too many were opened at once, one incident of all of them."""
        if dossier.has_critical:
            return dossier
        lately = [
            each
            for each in self.recent
            if mono_s - each.opened_s <= BURST_S and each.closed_ns is None and not each.has_critical
        ]
        if len(lately) <= BURST:
            return dossier
        self.mass = mass = self.new(SITE, MANY_PLACES, time_ns, mono_s)
        mass.mass = True
        out.append(mass.event("opened", time_ns))
        for each in lately:
            self._merge(each, mass, time_ns, mono_s, out)
        return mass

    def new(self, root: str, title: Text, time_ns: int, mono_s: float) -> Dossier:
        self.number += 1
        made = Dossier(f"INC-{self.number:06d}", root, title, time_ns, mono_s)
        self.open[made.id] = made
        return made

    def take_over(self, dossier: Dossier, place: str, time_ns: int, mono_s: float, out: list[IncidentEvent]) -> None:
        """A cause has come: what began below it just before belongs to it."""
        mass = self.mass
        recent = [*self.recent] if mass is None or mass.closed_ns is not None else [*self.recent, mass]
        for each in recent:
            late = mono_s - each.opened_s > TAKEN_OVER_S
            done = each.closed_ns is not None and mono_s - each.closed_s > REOPEN_S
            if each is dossier or each.merged_into is not None or late or done:
                continue
            if not (self._mostly_below(each, place) if each.mass else self.causes.is_below(each.root, place)):
                continue
            if each.has_critical:
                each.caused_by = dossier.id
                out.append(each.event("updated", time_ns))
            else:
                self._merge(each, dossier, time_ns, mono_s, out)

    def _mostly_below(self, mass: Dossier, place: str) -> bool:
        below = sum(self.causes.is_below(alarm_id.rpartition(".")[0], place) for alarm_id in mass.order)
        return below * 2 >= len(mass.order)

    def _merge(self, part: Dossier, whole: Dossier, time_ns: int, mono_s: float, out: list[IncidentEvent]) -> None:
        whole.absorb(part)
        for alarm_id in part.order:
            if self.of.get(alarm_id) is part:
                self.of[alarm_id] = whole
        if self.at.get(part.root) is part:
            del self.at[part.root]
        part.merged_into = whole.id
        part.write(Line(time_ns, "merged", note=whole.id))
        part.call_due_s = None
        out.append(whole.event("joined", time_ns, part.first_out, note=part.id))
        if part.closed_ns is None:
            part.closed_ns, part.closed_s = time_ns, mono_s
            part.changed_ns = time_ns
            del self.open[part.id]
            self.keep_closed(part, time_ns, out)
        out.append(part.event("merged", time_ns, note=whole.id))

    def keep_closed(self, dossier: Dossier, time_ns: int, out: list[IncidentEvent]) -> None:
        self.closed.append(dossier)
        if len(self.closed) > CLOSED:
            old = self.closed.popleft()
            for alarm_id in old.order:
                if self.of.get(alarm_id) is old:
                    del self.of[alarm_id]
            if self.at.get(old.root) is old:
                del self.at[old.root]
            out.append(old.event("forgotten", time_ns))
