"""One incident while it lasts: which alarms it has, how they stand, and whether people have to be told.

Everything is counted as alarms change, so that one change costs the same in an incident of any size. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drivers.point import Text
from edge.incidents.incident import PRIORITIES, AlarmLike, Event, Incident, IncidentEvent, Line, Seen

WANTING = frozenset({"unacknowledged", "returned", "latched_unacknowledged"})
"""States of an alarm that ask for somebody."""
OVER = frozenset({"normal", "shelved", "suppressed", "out_of_service"})
"""States of an alarm that nobody has to look at."""
LINES = 400
"""Lines of one timeline; what people do always has room for as many again."""
_BY_PEOPLE = frozenset(
    {"opened", "acknowledged", "onsite", "released", "note", "merged", "closed", "reopened"}
    | {"pushed", "push failed", "pushed over", "push over failed"}
)


@dataclass(frozen=True, slots=True)
class Trait:
    """What the rule of an alarm says about incidents."""

    root_cause: bool = False
    """It explains alarms of what hangs on its equipment."""
    cut_off: bool = False
    """Nothing below can be read while it stands: a silent equipment, a connection that is down."""
    rescue: bool = False
    """Somebody has to be freed."""
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0


PLAIN = Trait()


@dataclass(slots=True)
class Member:
    """One alarm of an incident."""

    rank: int
    """Of its priority; 0: critical."""
    active: bool = False
    wanting: bool = False
    standing: bool = False
    held: bool = False
    """It repeats itself, and people are not told again."""
    rescue: bool = False

    @property
    def calls(self) -> bool:
        """Whether somebody should be told of it, apart from a critical one, which calls for itself."""
        return self.active and self.wanting and not self.held and self.rank > 0


class Dossier:
    """One incident."""

    def __init__(self, id_: str, root: str, title: Text, opened_ns: int, opened_s: float) -> None:
        self.id = id_
        self.root = root
        self.title = title
        self.opened_ns = self.changed_ns = opened_ns
        self.opened_s = self.last_s = opened_s
        """Monotonic: when it was opened, and when an alarm of it was raised last."""
        self.members: dict[str, Member] = {}
        self.order: list[str] = []
        self.lines: list[Line] = []
        self.more = 0
        self.lead = self.first_out = ""
        self._lead_key: tuple[Any, ...] = ()
        self._first_seq = 0
        self.active = self.wanting = self.critical = self.rescued = 0
        """Alarms whose condition stands; that want somebody; critical ones and ones to be freed that stand."""
        self._standing = [0] * len(PRIORITIES)
        self._calling = [0] * len(PRIORITIES)
        self._last_rank = len(PRIORITIES) - 1
        self.rescue = self.has_critical = False
        self._was_active = self._was_rescued = False
        self.closed_s = opened_s
        self.mass = False
        """It is about many places at once; its name does not come from an alarm."""
        self.closed_ns: int | None = None
        self.called_ns: int | None = None
        self.called: int | None = None
        """The rank with which people were told, while that holds."""
        self.call_due_s: float | None = None
        self.acked_ns: int | None = None
        self.acked_by: str | None = None
        self.onsite_ns: int | None = None
        self.onsite_by: str | None = None
        self.released_ns: int | None = None
        self.released_by: str | None = None
        self.caused_by: str | None = None
        self.merged_into: str | None = None

    # ---- members -----------------------------------------------------------------------------------

    def add(self, alarm: AlarmLike, trait: Trait, *, leads: bool) -> None:
        """Take an alarm in. One that `leads` gives the incident its name where it tells more than the present one."""
        if alarm.id not in self.members:
            self.order.append(alarm.id)
        self.put(alarm, trait)
        key = (not trait.root_cause, not trait.rescue, self.members[alarm.id].rank, alarm.seq)
        if not self.lead or (leads and key < self._lead_key):
            self.lead, self._lead_key = alarm.id, key
            if not self.mass:
                self.title = alarm.name
        if not self.first_out or alarm.seq < self._first_seq:
            self.first_out, self._first_seq = alarm.id, alarm.seq

    def put(self, alarm: AlarmLike, trait: Trait) -> None:
        """One of its alarms, as its rule and its state are now."""
        known = self.members.get(alarm.id)
        if known is not None:
            self._count(known, -1)
        self.members[alarm.id] = member = Member(PRIORITIES.index(alarm.priority), rescue=trait.rescue)
        self._count(member, 1)
        self.has_critical = self.has_critical or member.rank == 0
        self.rescue = self.rescue or member.rescue
        self.update(alarm)

    def update(self, alarm: AlarmLike) -> None:
        """An alarm of this incident stands otherwise now."""
        member = self.members[alarm.id]
        self._count(member, -1)
        over = alarm.state in OVER
        member.active = alarm.active and not over
        member.wanting = alarm.state in WANTING
        member.standing = not over
        self._count(member, 1)

    def hold(self, alarm_id: str, held: bool) -> None:
        """Whether people are told again of an alarm that repeats itself."""
        member = self.members[alarm_id]
        self._count(member, -1)
        member.held = held
        self._count(member, 1)

    def absorb(self, other: Dossier) -> None:
        """Take over all alarms and lines of another incident."""
        for alarm_id, member in other.members.items():
            self.members[alarm_id] = member
            self.order.append(alarm_id)
            self._count(member, 1)
        if other.first_out and (not self.first_out or other._first_seq < self._first_seq):
            self.first_out, self._first_seq = other.first_out, other._first_seq
        if not self.lead:
            self.lead, self._lead_key = other.lead, other._lead_key
        for line in other.lines:
            self.write(line)
        self.rescue = self.rescue or other.rescue
        self.last_s = max(self.last_s, other.last_s)
        self._was_active = self._was_active or other._was_active

    def _count(self, member: Member, by: int) -> None:
        self.active += by * member.active
        self.wanting += by * member.wanting
        self.critical += by * (member.active and member.rank == 0)
        self.rescued += by * (member.active and member.rescue)
        self._standing[member.rank] += by * member.standing
        self._calling[member.rank] += by * member.calls

    @property
    def standing(self) -> int:
        """Alarms that somebody has to look at."""
        return sum(self._standing)

    @property
    def rank(self) -> int:
        """Of the most urgent alarm that stands; where none does, of the last that did."""
        found = next((rank for rank, count in enumerate(self._standing) if count), None)
        if found is not None:
            self._last_rank = found
        return self._last_rank

    def wants_call(self) -> int | None:
        """The rank with which people are to be told now; None where they need not be.

        A critical alarm calls for itself, at once and always; while it stands, whatever is less adds nothing.
        """
        if self.critical:
            return None
        rank = next((rank for rank, count in enumerate(self._calling) if count), None)
        return None if rank is None or (self.called is not None and self.called <= rank) else rank

    def freed(self) -> bool:
        """Whether, since last asked, somebody to be freed is so by the condition, and nobody has said it before."""
        was, self._was_rescued = self._was_rescued, self.rescued > 0
        return was and not self.rescued and self.released_ns is None

    def went_quiet(self) -> bool:
        """Whether, since last asked, the last condition has gone."""
        was, self._was_active = self._was_active, self.active > 0
        return was and not self.active

    # ---- what is kept ------------------------------------------------------------------------------

    def write(self, line: Line) -> None:
        """Add a line to the timeline."""
        if len(self.lines) < (2 * LINES if line.event in _BY_PEOPLE else LINES):
            self.lines.append(line)
        else:
            self.more += 1

    def event(self, event: Event, time_ns: int, alarm: str = "", who: str = "", note: str = "") -> IncidentEvent:
        """What happened, with the incident as it stands now."""
        self.changed_ns = max(self.changed_ns, time_ns)
        return IncidentEvent(self.snapshot(), event, time_ns, alarm, who, note)

    def snapshot(self) -> Incident:
        """As it stands now."""
        return Incident(
            id=self.id,
            title=self.title,
            root=self.root,
            lead=self.lead,
            first_out=self.first_out,
            priority=PRIORITIES[self.rank],
            state="closed" if self.closed_ns is not None else "open" if self.wanting else "acknowledged",
            opened_ns=self.opened_ns,
            changed_ns=self.changed_ns,
            active=self.active,
            unacknowledged=self.wanting,
            rescue=self.rescue,
            alarms=Seen(self.order, len(self.order)),
            timeline=Seen(self.lines, len(self.lines)),
            more=self.more,
            called_ns=self.called_ns,
            called=None if self.called is None else PRIORITIES[self.called],
            acked_ns=self.acked_ns,
            acked_by=self.acked_by,
            onsite_ns=self.onsite_ns,
            onsite_by=self.onsite_by,
            released_ns=self.released_ns,
            released_by=self.released_by,
            closed_ns=self.closed_ns,
            caused_by=self.caused_by,
            merged_into=self.merged_into,
        )

    @staticmethod
    def of(kept: Incident, mono_s: float, wall_ns: int) -> Dossier:
        """A dossier of what was kept over a restart; its alarms are put in as they stand now."""
        ago_s = max(wall_ns - kept.changed_ns, 0) / 1e9
        made = Dossier(
            kept.id, kept.root, kept.title, kept.opened_ns, mono_s - max(wall_ns - kept.opened_ns, 0) / 1e9
        )
        made.changed_ns, made.last_s = kept.changed_ns, mono_s - ago_s
        made.lines, made.more = list(kept.timeline), kept.more
        made.rescue = kept.rescue
        made.closed_s = mono_s - max(wall_ns - (kept.closed_ns or wall_ns), 0) / 1e9
        made._last_rank = PRIORITIES.index(kept.priority)
        made.called_ns = kept.called_ns
        made.called = None if kept.called is None else PRIORITIES.index(kept.called)
        made.acked_ns, made.acked_by = kept.acked_ns, kept.acked_by
        made.onsite_ns, made.onsite_by = kept.onsite_ns, kept.onsite_by
        made.released_ns, made.released_by = kept.released_ns, kept.released_by
        made.closed_ns, made.caused_by, made.merged_into = kept.closed_ns, kept.caused_by, kept.merged_into
        made.lead, made.first_out = kept.lead, kept.first_out
        for alarm_id in kept.alarms:
            made.members[alarm_id] = Member(len(PRIORITIES) - 1)
            made.order.append(alarm_id)
        return made
