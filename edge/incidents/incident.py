"""One incident as everybody sees it, and what happened to it.

Both are snapshots that never change. The lists of an incident only ever grow, so a snapshot shares them with the
dossier that it was taken of and knows how far it may look: one more alarm costs the same with five of them and with
five thousand. `to_body` and `from_body` go through JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, overload

from drivers.point import Text, Value

PRIORITIES = ("critical", "high", "medium", "low")
"""Most urgent first."""
SITE = "site"
"""The root of an incident that is about many places at once."""

State = Literal["open", "acknowledged", "closed"]
"""`open`: some alarm of it wants to be acknowledged. `closed`: none of its alarms stands any more."""

Event = Literal[
    "opened",
    "joined",
    "merged",
    "called",
    "updated",
    "acknowledged",
    "cleared",
    "quieted",
    "reopened",
    "onsite",
    "released",
    "note",
    "closed",
    "forgotten",
]
"""`joined`: one more alarm. `merged`: it is part of another incident now. `called`: people are to be told.
`cleared`: no condition stands any more. `quieted`: none is shown any more, by shelf or by design. `updated`: one of
its alarms has changed. `forgotten`: closed long ago, only the journal knows it."""
JOINED = 50
"""Alarms whose joining has an entry of its own; of more the alarms' own entries and the incident's end tell."""
UNWRITTEN: frozenset[Event] = frozenset({"called", "updated", "forgotten"})
"""Events without an entry of their own in the journal: the alarm's or the push's says it."""


class AlarmLike(Protocol):
    """An alarm, as far as incidents look at it."""

    @property
    def id(self) -> str:
        """`<equipment>.<rule>`"""
        ...

    @property
    def equipment(self) -> str:
        """Whose it is: an equipment, `connection:NAME`, `uplink:NAME`."""
        ...

    @property
    def priority(self) -> str:
        """One of `PRIORITIES`."""
        ...

    @property
    def state(self) -> str:
        """As in ISA-18.2."""
        ...

    @property
    def name(self) -> Text:
        """What staff call it."""
        ...

    @property
    def active(self) -> bool:
        """Whether its condition stands."""
        ...

    @property
    def seq(self) -> int:
        """Order of raising over all alarms."""
        ...

    @property
    def point(self) -> str | None:
        """The point that raised it."""
        ...

    @property
    def value(self) -> Value:
        """What that point read then."""
        ...

    @property
    def measured(self) -> Text | None:
        """What was compared then, where that is not the value itself."""
        ...


class TransitionLike(Protocol):
    """One thing that happened to one alarm."""

    @property
    def alarm(self) -> AlarmLike:
        """As it stands afterwards."""
        ...

    @property
    def event(self) -> str:
        """`raised`, `cleared`, `acknowledged` ..."""
        ...

    @property
    def time_ns(self) -> int:
        """Unix time in ns."""
        ...

    @property
    def who(self) -> str:
        """Who did it; empty where nobody did."""
        ...

    @property
    def note(self) -> str:
        """Why."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline."""

    time_ns: int
    event: str
    """An event of the incident or of one of its alarms; `held`; `pushed`, `push failed`, and of the news that it is
    over `pushed over`, `push over failed`."""
    alarm: str = ""
    who: str = ""
    """Who did it; of a push, who was told."""
    note: str = ""

    def to_body(self) -> list[Any]:
        """As JSON keeps it."""
        return [self.time_ns, self.event, self.alarm, self.who, self.note]


class Seen(Sequence[Any]):
    """A growing list as it was when somebody looked: its first so many members."""

    __slots__ = ("_count", "_items")

    def __init__(self, items: Sequence[Any], count: int | None = None) -> None:
        self._items = items
        self._count = len(items) if count is None else count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._items[each] for each in range(*index.indices(self._count))]
        return self._items[range(self._count)[index]]

    def __iter__(self) -> Iterator[Any]:
        return (self._items[each] for each in range(self._count))


@dataclass(frozen=True, slots=True)
class Incident:
    """Several alarms with one cause, and where they stand together."""

    id: str
    title: Text
    """The name of its leading alarm: the cause where it is known, else the most urgent."""
    root: str
    """What it is about: an equipment, `connection:NAME`, or `site` for many places at once."""
    lead: str
    """The alarm that gives it its name."""
    first_out: str
    """The alarm that was raised first."""
    priority: str
    state: State
    opened_ns: int
    changed_ns: int
    active: int
    """How many of its alarms have a condition that stands."""
    unacknowledged: int
    rescue: bool
    """Somebody has to be freed."""
    alarms: Sequence[str]
    """Ids, in the order in which they joined."""
    timeline: Sequence[Line]
    more: int = 0
    """Lines that the timeline had no room for; the journal has them."""
    called_ns: int | None = None
    """When people were told of it last; None: they need not be, or not yet."""
    called: str | None = None
    """The priority with which they were told, while that holds."""
    acked_ns: int | None = None
    acked_by: str | None = None
    onsite_ns: int | None = None
    onsite_by: str | None = None
    released_ns: int | None = None
    released_by: str | None = None
    """Empty: the condition went by itself."""
    closed_ns: int | None = None
    caused_by: str | None = None
    """The incident that explains this one, where it stands by itself all the same."""
    merged_into: str | None = None

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        body = {each.name: getattr(self, each.name) for each in fields(self)}
        body["title"] = self.title.to_body()
        body["alarms"] = list(self.alarms)
        body["timeline"] = [line.to_body() for line in self.timeline]
        return body

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> Incident:
        """The incident that `to_body` was made of. Raises ValueError where the body is none."""
        try:
            given = dict(body)
            given["title"] = Text.from_body(given["title"])
            given["alarms"] = [str(each) for each in given["alarms"]]
            given["timeline"] = [Line(int(at), *map(str, rest)) for at, *rest in given["timeline"]]
            if given["priority"] not in PRIORITIES or given["state"] not in ("open", "acknowledged", "closed"):
                raise ValueError(f"{given['priority']} or {given['state']} is not known")
            return Incident(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"is no stored incident: {error!r}") from error


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One thing that happened to one incident."""

    incident: Incident
    """As it stands afterwards."""
    event: Event
    time_ns: int
    alarm: str = ""
    """The alarm that did it."""
    who: str = ""
    note: str = ""

    @property
    def written(self) -> bool:
        """Whether it has an entry of its own in the journal."""
        many = self.event == "joined" and len(self.incident.alarms) > JOINED
        return self.event not in UNWRITTEN and not many

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON; the whole incident with its end, so that the journal alone is evidence."""
        incident = self.incident
        body: dict[str, Any] = {
            "incident": incident.id,
            "title": incident.title.to_body(),
            "root": incident.root,
            "priority": incident.priority,
            "state": incident.state,
            "event": self.event,
            "time_ns": self.time_ns,
            "alarm": self.alarm,
            "who": self.who,
            "note": self.note,
        }
        if self.event == "closed":
            body["body"] = incident.to_body()
        return body


class IncidentRefused(Exception):
    """What was asked of an incident cannot be done; the message says why and what to do instead."""

    def __init__(self, kind: Literal["not_found", "refused", "conflict"], message: str) -> None:
        super().__init__(message)
        self.kind = kind
