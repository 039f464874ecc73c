"""What all uplinks share: what they are given, what they raise, what they tell of themselves.

An uplink is one destination in one file: a `Settings` model, and `open_...`, an async context manager that
yields a `Sender`. Reading the log, pausing and moving the cursor are done by `drain`, once for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, runtime_checkable
from zlib import crc32

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict

GONE = frozenset({"bad/comm", "bad/stale"})
"""Qualities of what cannot be read. An equipment all of whose points have one of them is not there."""

Body = Mapping[str, Any]
"""A row of the desk, or what was done."""
Live = Callable[[str], tuple[Value, str, int]]
"""Value, quality and Unix time in ns (0: never) of the newest reading of a point."""
Write = Callable[[str, Value, str, str, float | None], Awaitable[Body]]
"""(point id, value, who, reason, for so many seconds) -> what was done."""


class UplinkSettings(Strict):
    """Keys of one uplink in the site file. Each destination extends it."""

    type: str
    backlog_rate: Annotated[float, Field(ge=1, le=100_000)] = 2000.0
    """Rows a second of what an outage has left; live rows go before it."""

    def where(self) -> int:
        """A number that is another where the far end is another; never 0."""
        keys = ("type", "url", "host", "port", "org", "bucket", "prefix", "group", "node", "device")
        return 1 + crc32("\n".join(f"{key} {getattr(self, key, None)}" for key in keys).encode())

    def own(self) -> Hashable:
        """What no other uplink may have too, since each would write over what the other says; None: it may."""
        return None

    def placed(self, folder: Path, note: Callable[[tuple[str, ...], str], None]) -> Self:
        """With the names of files followed from `folder`; what is wrong with them goes to `note(keys, message)`."""
        del folder, note
        return self

    def suits(self, equipment: Collection[str], note: Callable[[tuple[str | int, ...], str], None]) -> None:
        """Note what does not fit the equipment (ids) of the site: `note(keys, message)`."""


class UplinkDown(Exception):
    """The far end takes nothing now: nothing is lost, the same rows are sent again later."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """When to try again, where the far end or the protocol knows; None: with growing pauses."""


class Row(Protocol):
    """One batch of the readings log."""

    @property
    def seq(self) -> int:
        """Its place in the log."""
        ...

    @property
    def time_ns(self) -> int:
        """Unix time in ns."""
        ...

    @property
    def equipment(self) -> str:
        """Whose it is."""
        ...

    @property
    def points(self) -> tuple[str, ...]:
        """Names without the equipment."""
        ...

    @property
    def values(self) -> tuple[Value, ...]:
        """One for each point."""
        ...

    @property
    def qualities(self) -> tuple[str, ...] | None:
        """One for each point; None where all are good."""
        ...


@dataclass(frozen=True, slots=True)
class EquipmentView:
    """One equipment, as far as the outside is told."""

    equipment_class: str
    profile: str
    location: str
    name: str


@dataclass(frozen=True, slots=True)
class PointView:
    """One point, as far as the outside is told."""

    unit: str
    title: Mapping[str, str]
    """By language."""
    kind: str = "float"
    """`bool`, `int`, `float` or `text`."""
    writable: bool = False
    counter: bool = False
    low: float | None = None
    high: float | None = None
    labels: Mapping[int, Mapping[str, str]] | None = None
    """Names of the values of an enumeration, by language."""


@dataclass(frozen=True, slots=True)
class SiteView:
    """The community, as far as the outside is told."""

    id: str
    equipment: Mapping[str, EquipmentView]
    points: Mapping[str, PointView] = field(default_factory=dict)
    """By id, those of each equipment in the profile's order."""
    name: str = ""
    language: str = "zh"
    """Of the staff: what a far end that shows one language is told."""

    def points_of(self) -> dict[str, list[str]]:
        """Names of the points of each equipment."""
        found: dict[str, list[str]] = {equipment: [] for equipment in self.equipment}
        for point_id in self.points:
            equipment, _, name = point_id.rpartition(".")
            found.setdefault(equipment, []).append(name)
        return found


class Rate:
    """How many a second, over the last minute. Times are monotonic seconds."""

    SPAN_S, PARTS = 60.0, 12

    def __init__(self) -> None:
        self._parts: deque[list[float]] = deque(maxlen=self.PARTS)  # when it began, how many

    def add(self, count: int, now_s: float) -> None:
        """So many more."""
        if not self._parts or now_s - self._parts[-1][0] >= self.SPAN_S / self.PARTS:
            self._parts.append([now_s, 0])
        self._parts[-1][1] += count

    def per_s(self, now_s: float) -> float:
        """Over what of the last minute it has counted."""
        recent = [part for part in self._parts if now_s - part[0] < self.SPAN_S]
        if not recent:
            return 0.0
        return sum(count for _, count in recent) / max(now_s - recent[0][0], 1.0)


@dataclass(slots=True)
class Stats:
    """How an uplink is doing."""

    state: str = "connecting"
    """`connecting`, `up` or `down`."""
    sent: int = 0
    """Rows that the far end has confirmed."""
    passed: int = 0
    """Rows of which the far end is not told: not asked for, too late for it, of equipment that it does not know."""
    rejected: int = 0
    """Rows that the far end will never take; they stay in `readings.db`."""
    last_reject: tuple[str, str] = ("", "")
    """The newest that the far end will never take, and its reason."""
    last_error: str | None = None
    """Why it is down; the last reason why it was, where it is up again."""
    oldest_ns: int | None = None
    """Time of the oldest row that the far end does not have; None where it has all."""
    events: int = 0
    """Entries of the journal that the far end has confirmed."""
    oldest_event_ns: int | None = None
    """Time of the oldest entry of the journal that the far end does not have; None where it has all."""
    events_error: str | None = None
    """Why entries of the journal do not go out now, though rows may; None where they do."""
    behind: Callable[[], int] = lambda: 0
    """Counts the rows that the far end does not have."""

    rate: Rate = field(default_factory=Rate)
    """Rows that the far end confirms."""

    def reject(self, what: str, why: str) -> None:
        """The far end will never take this."""
        self.rejected += 1
        self.last_reject = what, why

    def add(self, rows: int, now_s: float) -> None:
        """The far end has confirmed so many rows more."""
        self.sent += rows
        self.rate.add(rows, now_s)

    def waiting_ns(self) -> int | None:
        """Stamp of the oldest row or entry that the far end does not have; None where it has all."""
        return min((each for each in (self.oldest_ns, self.oldest_event_ns) if each is not None), default=None)

    def lag_s(self, now_ns: int) -> float:
        """How old the oldest row or entry is that the far end does not have; 0 where it has all."""
        waiting_ns = self.waiting_ns()
        return 0.0 if waiting_ns is None else max(0.0, (now_ns - waiting_ns) / 1e9)


class Entry(Protocol):
    """One entry of the ledger's journal."""

    @property
    def kind(self) -> str:
        """`alarm`, `order` ..."""
        ...

    @property
    def subject(self) -> str:
        """Whom it happened to: id of the alarm, order ..."""
        ...

    @property
    def time_ns(self) -> int:
        """Unix time in ns."""
        ...

    @property
    def body(self) -> Mapping[str, Any]:
        """What happened, as plain JSON."""
        ...


class Sender(Protocol):
    """An open uplink."""

    @property
    def stats(self) -> Stats:
        """How it is doing; `rejected` is counted here, the rest by `drain`."""
        ...

    @property
    def batch(self) -> int:
        """How many rows it takes at once."""
        ...

    @property
    def linger_s(self) -> float:
        """How long a row may wait for company before it is sent."""
        ...

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        """Return once the far end has the rows for good. Raises UplinkDown.

        `late`: the rows are older than others that were sent before them (what an outage has left). One call
        at a time.
        """
        ...


@runtime_checkable
class Announcing(Protocol):
    """A sender that shows alarms, orders and incidents as they stand."""

    def announce(self, kind: str, key: str, body: Mapping[str, Any] | None) -> None:
        """Show one as it stands now (None: nothing more to show). Does not wait; `kind` may be any."""
        ...


@runtime_checkable
class Journalling(Protocol):
    """A sender that carries what happened: entries of the ledger's journal, in order, none left out."""

    @property
    def journal_kinds(self) -> Collection[str]:
        """Which kinds of entries it carries: `alarm`, `order` ..."""
        ...

    async def send_journal(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Return once the far end has the entries for good. Raises UplinkDown. One call at a time.

        May run while `send` runs. Entries come with their numbers in the journal, which stay the same when they
        are sent again.
        """
        ...
