"""What the console shows and what it is asked, as models; and the desk that answers.

The models of answers describe the API to its readers (`/api/docs`). They are not laid over each answer: the
desk's rows go out as they are, so that a list of 12,000 points costs one encoding and nothing else. The models
of requests are: what comes from outside is checked here, and only here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from drivers.point import Language, Value
from edge.events import Hub

AlarmStep = Literal["ack", "shelve", "unshelve", "reset"]
IncidentStep = Literal["ack", "onsite", "released", "note"]
OrderStep = Literal["accept", "start", "done", "verify", "cancel"]
EventKind = Literal["alarm", "incident", "order", "reading", "push", "command", "connection", "clock"]
Row = dict[str, Any]


Aggregate = Literal["mean", "min", "max", "last", "count", "twa", "increase"]
"""What may be told of a step of time."""


class Desk(Protocol):
    """What people may ask and do. The console knows the rest of the daemon by this alone.

    Whatever the desk will not do it says by raising an exception with `kind` (`not_found`, `refused`,
    `conflict` or `unavailable`) and a message for the person who asked.
    """

    @property
    def hub(self) -> Hub:
        """What happens, as it happens."""
        ...

    def site(self) -> Row:
        """Who and where this is: id, name, timezone, language."""
        ...

    def place(self) -> Row:
        """Where on its box the state directory and the site file are."""
        ...

    def equipment(self) -> list[Row]:
        """All equipment, in the order of the site file."""
        ...

    def equipment_one(self, equipment_id: str, /) -> Row | None:
        """One equipment with its points, meters and orders; None where there is none of that id."""
        ...

    def points(self, equipment: str | None = None, /) -> list[Row]:
        """Points with their newest readings."""
        ...

    def point(self, point_id: str, /) -> Row | None:
        """One point, None where there is none of that id."""
        ...

    async def write_point(
        self, point_id: str, value: Value, who: str, reason: str, for_s: float | None = None, /
    ) -> Row:
        """Give a command, for a time where `for_s` says so; returns what the device read before and after."""
        ...

    async def readings(
        self, point_id: str, from_ns: int, to_ns: int, every_ns: int | None, aggregate: Aggregate, /
    ) -> Sequence[Row]:
        """What was recorded from `from_ns` until before `to_ns`, oldest first; one for each step of `every_ns`."""
        ...

    def alarms(self, state: str | None = None, /) -> list[Row]:
        """Alarms that are not normal, or those in one state."""
        ...

    async def alarm_step(self, alarm_id: str, step: str, who: str, reason: str, minutes: float | None, /) -> Row:
        """Acknowledge, shelve, unshelve or reset an alarm; returns it as it then is."""
        ...

    def incidents(self, state: str | None = None, /) -> list[Row]:
        """Incidents that are not closed, or those in one state; `closed`: those closed lately."""
        ...

    async def incident(self, incident_id: str, /) -> Row | None:
        """One incident with its alarms and its timeline; None where there is none of that id."""
        ...

    async def incident_step(self, incident_id: str, step: str, who: str, note: str, /) -> Row:
        """Acknowledge all alarms of an incident, or say that somebody is on site, is released, or a note."""
        ...

    async def alarm_report(self, from_ns: int, to_ns: int, /) -> Row:
        """The figures of the alarms of a span, each beside what is recommended."""
        ...

    async def journal(self, kind: str | None, after: int, limit: int, /) -> list[Row]:
        """What is written in the ledger, by number."""
        ...

    def orders(self, state: str | None = None, /) -> list[Row]:
        """Work orders, or those in one state."""
        ...

    async def order_step(self, order_id: str, step: str, who: str, note: str, /) -> Row:
        """Move a work order one step on; returns it as it then is."""
        ...

    def connections(self) -> list[Row]:
        """Ways to devices and what they carry."""
        ...

    def uplinks(self) -> list[Row]:
        """Ways out and how far behind they are."""
        ...

    def meters(self) -> list[Row]:
        """What upkeep counts by."""
        ...

    def health(self) -> Row:
        """Whether all is well: `ok`, `reasons` where not, and figures of the daemon's own."""
        ...


# --- What is asked -------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """One line without control characters: it goes into journals, terminals and pushes."""
    line = " ".join("".join(" " if unicodedata.category(c).startswith("C") else c for c in text).split())
    if not line:
        raise ValueError("is empty; write some words")
    return line


Words = Annotated[str, Field(max_length=500), AfterValidator(_plain)]
Name = Annotated[str, Field(max_length=80), AfterValidator(_plain)]
Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Real = Annotated[FiniteFloat, Field(ge=-1e18, le=1e18)]


class Asked(BaseModel):
    """Base of all request bodies: unknown keys are mistakes, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True)


class WriteAsked(Asked):
    """A command to a device."""

    value: bool | Whole | Real | Annotated[str, Field(max_length=200)]
    who: Name = Field(description="Who gives the command; journalled.")
    reason: Words = Field(description="Why; journalled.")
    for_s: Annotated[float, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="For so many seconds, 1 to 86400; then it returns by itself to what it was before."
    )


class AlarmAsked(Asked):
    """A step of the alarm desk."""

    who: Name
    reason: Words | None = Field(default=None, description="Needed to shelve.")
    minutes: Annotated[float, Field(gt=0, le=1440)] | None = Field(default=None, description="How long to shelve.")


class IncidentAsked(Asked):
    """A step of an incident."""

    who: Name
    note: Words | None = Field(default=None, description="What was seen or done; needed for a note.")


class OrderAsked(Asked):
    """A step of a work order."""

    who: Name
    note: Words | None = Field(default=None, description="What was found and done; needed to cancel.")


# --- What is answered ----------------------------------------------------------------------------------------


class View(BaseModel):
    """Base of the models of answers. Fields may be added; none is taken away within v1."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class TextView(View):
    """A text in both languages."""

    zh: str
    en: str


class ErrorView(View):
    """Why a request was not done."""

    error: str
    hint: str = Field(description="What to do about it.")


class SiteView(View):
    """The community."""

    id: str
    name: str
    timezone: str
    language: Language


class PlaceView(View):
    """Where on its box the gateway keeps its files."""

    state: str
    config: str | None


class EquipmentView(View):
    """One asset."""

    id: str
    equipment_class: str = Field(alias="class")
    name: str
    location: str
    profile: str
    connection: str
    quality: Literal["good", "uncertain", "bad"] = Field(description="`bad` where no point of it is better.")
    alarm: str | None = Field(default=None, description="Priority of its most urgent alarm.")


class PointView(View):
    """One signal with its newest reading."""

    id: str = Field(description="`<equipment>.<point>`")
    equipment: str
    name: str
    title: TextView
    value: bool | int | float | str | None
    label: TextView | None = Field(default=None, description="The name of the value of an enumeration.")
    unit: str
    quality: Literal["good", "uncertain", "bad"]
    reason: str | None = Field(description="`comm`, `range`, `stale`, `sensor` or `clock`; null where good.")
    time: str | None = Field(description="ISO 8601; null where it was never read.")
    worst_age_s: float | None = Field(
        default=None,
        description="The oldest that it can become while its device answers; null where it reports itself.",
    )
    writable: bool
    override: dict[str, Any] | None = Field(
        default=None, description="A command for a time: `value`, `returns_to`, `until`, `who`, `reason`, `trouble`."
    )


class ReadingView(View):
    """One recorded reading."""

    time: str
    time_ns: int = Field(description="The same to the last digit: Unix time in ns. Ask on from this and one.")
    value: bool | int | float | str | None
    quality: str
    reason: str | None = None


class AlarmView(View):
    """One alarm that is not normal."""

    id: str
    equipment: str
    equipment_name: str
    location: str
    code: str | None = None
    priority: Literal["critical", "high", "medium", "low"]
    state: str
    name: TextView
    advice: TextView | None = None
    seen: TextView | None = Field(default=None, description="What it saw when it was raised, in words.")
    raised: str | None = None
    cleared: str | None = None
    acked_by: str | None = None


class LineView(View):
    """One line of a timeline."""

    time: str
    event: str
    alarm: str
    who: str
    note: str
    text: TextView = Field(description="The line in words.")


class IncidentView(View):
    """Several alarms with one cause."""

    id: str
    title: TextView
    root: str = Field(description="An equipment, `connection:NAME`, or `site` for many places at once.")
    root_name: str
    first_out: str = Field(description="The alarm that was raised first.")
    priority: Literal["critical", "high", "medium", "low"]
    state: Literal["open", "acknowledged", "closed"]
    opened: str
    alarms: list[str] = Field(description="Ids of its alarms, at most 200; `alarm_count` says how many there are.")
    alarm_count: int
    affected: list[str] = Field(description="Names of the equipment that its cause takes with it, at most 200.")
    acked_by: str | None = None
    onsite_by: str | None = None
    released_by: str | None = Field(default=None, description="Empty where the condition went by itself.")
    timeline: list[LineView] | None = Field(default=None, description="Of one incident; not in lists.")


class OrderView(View):
    """One work order."""

    id: str
    state: str
    equipment: str


class DeviceView(View):
    """One device on a polled line: what was planned of it, and how it does over the last minute."""

    equipment: str
    state: Literal["waiting", "answering", "doubtful", "silent"]
    load: float = Field(description="Share of the wire's time that the site file plans for it.")
    planned_s: float = Field(description="Expected mean time of an exchange.")
    utilisation: float | None = Field(default=None, description="Share of the wire's time that it has taken.")
    response_s: float | None = Field(default=None, description="Mean time of an exchange that it answered.")
    reason: str | None = Field(default=None, description="Of the newest time-out or bad answer.")


class ConnectionView(View):
    """One way to devices."""

    name: str
    type: str
    state: Literal["up", "down"]
    reason: str | None = Field(default=None, description="Why it is down.")
    load: float | None = Field(default=None, description="Share of the wire's time that the site file needs.")
    utilisation: float | None = Field(default=None, description="Share of the wire's time in use, 0 to 1.")
    worst_age_s: float | None = Field(default=None, description="How old the oldest value can become, by plan.")
    bad_kinds: dict[str, int] = Field(
        default={}, description="Bad frames by kind: `crc`, `truncated`, `stray`, `late`, `mismatch`, `doubtful` ..."
    )
    devices: list[DeviceView] = Field(default=[], description="Of a polled line, the dearest by plan first.")


class UplinkView(View):
    """One way out."""

    name: str
    type: str
    state: str
    lag_s: float | None = None
    backlog: int | None = Field(default=None, description="Rows not yet acknowledged by the far end.")
    rate: float | None = Field(default=None, description="Rows a second that the far end took over the last minute.")
    sent: int | None = Field(default=None, description="Rows acknowledged since the uplink was opened.")
    events: int | None = Field(default=None, description="Alarms and orders acknowledged since it was opened.")
    rejected: int | None = Field(default=None, description="Rows that the far end will never take, since ever.")
    reject_reason: str | None = Field(default=None, description="Why the last of them was refused.")
    reason: str | None = Field(default=None, description="Why it is down.")


class MeterView(View):
    """One counter that upkeep counts by."""

    equipment: str
    name: str
    unit: str
    value: float


class CommandView(View):
    """A command that was carried out, read back."""

    point: str
    before: bool | int | float | str | None
    after: bool | int | float | str | None
    result: str | None = Field(default=None, description="`done`, or `not taken` where it reads back otherwise.")
    override: dict[str, Any] | None = Field(default=None, description="What it sets, replaces or cancels.")


class HealthView(View):
    """Whether all is well."""

    status: Literal["ok", "degraded"]
    reasons: list[Any]


class StorageView(View):
    """How history is kept, and what the disk budget has cost."""

    bytes: int | None = Field(default=None, description="Of the state directory.")
    budget_bytes: int | None = None
    packed_bytes: int | None = None
    packed_readings: int | None = None
    packed_share: float | None = Field(default=None, description="Of the used part of readings.db, 0 to 1.")
    oldest_age_s: float | None = Field(default=None, description="Age of the oldest reading that is kept as it was.")
    aging_held_s: float | None = Field(
        default=None,
        description="So long, counted while the box runs, nothing is deleted by age on the word of a clock that has "
        "leaped; 0: the clock is believed.",
    )
    shed: dict[str, int] = Field(
        default={}, description="Readings that the budget has cost so far, by class; `packed`: every uplink had them."
    )


def problems(health: Mapping[str, Any]) -> list[Any]:
    """What is wrong by the desk's account of its health; empty where all is well."""
    reasons = list(health.get("reasons") or ())
    if not reasons and health.get("ok") is False:
        reasons.append("the daemon says that it is not well, without a reason")
    return reasons
