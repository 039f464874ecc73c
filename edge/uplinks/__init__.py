"""Ways out of the box: each reads the readings log at its own pace, and none can hold another up.

What comes in: the site file's `uplinks`, the log, the desk. What goes out: one task for each uplink, that lives
as long as the daemon. A new destination is one file with its settings and `open_...`, and its lines in `kinds`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Protocol

from drivers.point import Point
from edge.supervise import supervise
from edge.uplinks import mqtt
from edge.uplinks.drain import drain
from edge.uplinks.journal import KIND, Bell, Memory, State, drain_journal
from edge.uplinks.kinds import OPEN, UPLINKS, Around
from edge.uplinks.pauses import Pauses
from edge.uplinks.places import Places, owner
from edge.uplinks.rejects import Rejects
from edge.uplinks.shape import (
    Announcing,
    EquipmentView,
    Journalling,
    PointView,
    Sender,
    SiteView,
    Stats,
    UplinkDown,
    UplinkSettings,
)

__all__ = ["UPLINKS", "SiteView", "Uplink", "UplinkDown", "UplinkSettings", "open_uplinks", "view_of"]

RECALL_S = 2.0
"""A ledger that says nothing in so long keeps no readings from going out."""

log = logging.getLogger(__name__)


class House(Around, Protocol):
    """The daemon, as far as the uplinks use it."""

    @property
    def uplinks(self) -> MutableMapping[str, Uplink]:
        """Where the uplinks are put, for all who tell of them."""
        ...


class Uplink:
    """One way out: opened, drained, opened again where it fails."""

    def __init__(self, name: str, settings: UplinkSettings, house: House, refusal: type[Exception]) -> None:
        self.name = name
        self.settings = settings
        self._clock = house.clock
        self._store = house.store
        self._memory = Memory(name, house.ledger, house.clerk)
        self._rejects = Rejects(name, self._memory, house.clock)
        self._open = partial(OPEN[settings.type], name, settings, view_of(house.site), house, refusal, self._memory)
        self._bell = Bell()
        self._sender: Sender | None = None
        self._waiting: tuple[int | None, float] = None, 0.0  # stamp of the oldest, and since when it has been that
        self._stats = Stats(behind=lambda: self._store.behind(self._store.cursor(name)))

    async def run(self) -> None:
        """Live for ever."""
        await supervise(f"uplink[{self.name}]", self._once, self._clock, self._failed)

    def announce(self, kind: str, key: str, body: Mapping[str, Any] | None) -> None:
        """Tell of an alarm, order or incident, where this uplink carries them."""
        if isinstance(self._sender, Announcing):
            self._sender.announce(kind, key, body)
        self._bell.ring()  # whatever is announced was written into the journal before

    def lag_s(self) -> float | None:
        """How old the oldest is that the far end does not have; None until that is known."""
        stats = self._sender.stats if self._sender else self._stats
        return None if stats.state == "connecting" else self._lag_s(stats)

    def _lag_s(self, stats: Stats) -> float:
        """By its stamp, or by how long it has been seen waiting: a clock that was ahead hides nothing."""
        oldest_ns, now_s = stats.waiting_ns(), self._clock.mono_s()
        if oldest_ns != self._waiting[0]:
            self._waiting = oldest_ns, now_s
        return 0.0 if oldest_ns is None else max(stats.lag_s(self._clock.wall_ns()), now_s - self._waiting[1])

    def since_reject_s(self) -> float | None:
        """How long ago something was last refused for good; infinite where never, None until that is known."""
        return self._rejects.since_s() if self._memory.opened else None

    def status(self) -> dict[str, Any]:
        """Its row in the list of uplinks."""
        stats = self._sender.stats if self._sender else self._stats
        state, reason = stats.state, stats.last_error
        if state == "up" and stats.events_error is not None:  # of a webhook that is told no readings
            state, reason = "down", stats.events_error
        return {
            "name": self.name,
            "type": self.settings.type,
            "state": state,
            "lag_s": round(self._lag_s(stats), 3),
            "backlog": stats.behind(),
            "rate": round(stats.rate.per_s(self._clock.mono_s()), 1),
            "sent": stats.sent,
            "events": stats.events,
            "rejected": self._rejects.total,
            "reject_reason": self._rejects.reason,
            "reason": None if state == "up" else reason,
        }

    async def _once(self) -> None:
        recalled = asyncio.create_task(self._recall(), name=f"uplink[{self.name}] ledger")
        try:
            await asyncio.wait({recalled}, timeout=RECALL_S)
            await self._opened(recalled)
        finally:
            recalled.cancel()

    async def _recall(self) -> None:
        """Return once it is known what was kept of this uplink in the ledger, however often that must be tried."""
        pauses = Pauses(f"{self.name}, ledger", self._clock)
        while not self._memory.opened:
            try:
                await self._memory.open()
            except Exception as error:  # of a disk in trouble
                down = UplinkDown(f"what is kept of it cannot be read: {error}")
                await pauses.after(down, "readings go out, what happened waits")
        pauses.over()
        await self._note_move()

    async def _opened(self, recalled: asyncio.Task[None]) -> None:
        oldest = await self._store.read_after(self._store.cursor(self.name), 1)  # known though it cannot be opened
        self._stats.oldest_ns = oldest[0].time_ns if oldest else None
        async with self._open() as sender:
            self._sender = sender
            self._rejects.of(sender.stats)
            try:
                await self._lanes(sender, recalled)
            except ExceptionGroup as group:
                raise group.exceptions[0] from None  # whoever supervises tells staff of one reason
            finally:
                self._sender, self._stats = None, sender.stats

    async def _note_move(self) -> None:
        """Say so where the same name leads to another far end than before: it has nothing of what that one has."""
        known, now = self._memory.get("where"), self.settings.where()
        if known == now:
            return
        await self._memory.keep(where=now)
        if known:
            rows = self._store.cursor(self.name)
            log.warning("uplink %s leads to another far end now; what was sent until now is only there", self.name)
            await self._memory.note({"event": "moved", "last_row_there": rows})

    async def _lanes(self, sender: Sender, recalled: asyncio.Task[None]) -> None:
        """Readings, and beside them what happened, until one of them fails."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._journal(sender, recalled), name=f"uplink[{self.name}] journal")
            await drain(
                self._store, self.name, sender.send, self._clock, sender.stats,
                limit=sender.batch, linger_s=sender.linger_s, backlog_rate=self.settings.backlog_rate,
                confirmed=self._rejects.settle,
            )  # fmt: skip

    async def _journal(self, sender: Sender, recalled: asyncio.Task[None]) -> None:
        """What happened, where this uplink carries it; not before it is known how much of it is told."""
        await recalled
        if isinstance(sender, Journalling):
            await drain_journal(self.name, sender, self._memory, self._clock, sender.stats, self._bell)

    def _failed(self, reason: str) -> None:
        self._stats.state, self._stats.last_error = "down", reason


def open_uplinks(
    house: House, refusal: type[Exception] = mqtt.Refusal
) -> Iterator[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
    """(name of the task, what it runs) for each uplink of the site file; puts the uplinks into the house.

    `refusal` is what the desk raises for a command that it will not carry out.
    """
    changes = list(_changes(house))
    if changes:
        yield "uplinks changed", partial(_note, house, changes)
    for name, settings in house.site.uplinks.items():
        house.uplinks[name] = uplink = Uplink(name, settings, house, refusal)
        yield f"uplink[{name}]", uplink.run


def _changes(house: House) -> Iterator[tuple[str, dict[str, Any]]]:
    """Uplinks that have left the site file, with what is given up with them, and those that are new. Told once."""
    store, named = house.store, house.site.uplinks.keys()
    known = {owner(cursor) for cursor in store.cursors()} - {""}
    for name in sorted(known - named):
        rows = Places(store, name).behind()
        for cursor in [each for each in store.cursors() if owner(each) == name]:
            store.drop_cursor(cursor)
        log.warning("uplink %s is no longer in the site file; %d rows that it did not have are given up", name, rows)
        yield name, {"event": "removed", "rows_given_up": rows}
    for name in sorted(named - known):
        rows = store.behind(0)
        store.advance(name, 0)  # from now on it counts as one that has not got them
        log.info("uplink %s is new; it begins with the oldest of %d rows in the log", name, rows)
        yield name, {"event": "added", "rows": rows}


async def _note(house: House, changes: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for name, body in changes:
        gone: State = {(KIND, name): None} if body["event"] == "removed" else {}
        await house.clerk.note(KIND, name, body, gone)


def view_of(site: Any) -> SiteView:
    """A checked site as the outside is told of it."""
    equipment: Iterable[Any] = site.equipment.values()
    return SiteView(
        site.info.id,
        {
            each.id: EquipmentView(each.equipment_class, each.profile.id, each.location, each.name)
            for each in equipment
        },
        {point.id: _point_view(point) for each in equipment for point in each.device.points},
        site.info.name,
        site.info.language,
    )


def _point_view(point: Point) -> PointView:
    labels = {code: text.to_body() for code, text in point.labels.items()} if point.labels else None
    title = point.title.to_body()
    return PointView(point.unit, title, point.kind, point.writable, point.counter, point.low, point.high, labels)
