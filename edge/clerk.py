"""Writes down first, tells afterwards.

What comes in: happenings in the order in which the engine found them. Each is committed to the ledger with
full sync before anyone is told of it. Where the disk will not take it (full, read-only, broken), people are
told all the same and the entries wait in memory for the disk: a silent alarm is worse than an unwritten one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers.driver import Clock
from edge.alarms.alarm import Transition
from edge.engine import Happening
from edge.incidents.incident import IncidentEvent
from edge.store.ledger import Entry, Ledger, StoreError
from edge.upkeep.orders import OrderEvent

TOGETHER = 100
"""Happenings that are written in one commit at most: in a storm the loop is free again after each."""
TOLD = 20
"""Happenings that are told without letting others work in between."""
WAITING = 10_000
"""Entries kept for a disk that does not take them; the oldest go first, counted."""

log = logging.getLogger(__name__)

Changes = Mapping[tuple[str, str], dict[str, Any] | None]
"""(kind, key) -> what is to be kept of it now; None: nothing."""


class Clerk:
    """One task between what happened and who is told."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.listeners: list[Callable[[Happening], None]] = []
        self.after: list[Callable[[], None]] = []
        """Called once all that was written together has been told."""
        self.unwritten = 0
        """Entries that wait for the disk now."""
        self.lost = 0
        self._ledger = ledger
        self._clock = clock
        self._queue: deque[tuple[Sequence[Happening], asyncio.Future[None] | None]] = deque()
        self._wake = asyncio.Event()
        self._entries: deque[Entry] = deque()
        self._state: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._incidents: dict[str, IncidentEvent] = {}
        """The newest of each incident: its body is made once for a commit, however often it has changed."""
        self._committing = asyncio.Lock()  # else what could not be written would come after what is newer and was
        self._busy = False
        self._troubled = False

    @property
    def idle(self) -> bool:
        """Whether all that happened has been written and told."""
        return not self._queue and not self._busy

    def take(self, happenings: Sequence[Happening]) -> None:
        """Note happenings; never waits."""
        self._queue.append((happenings, None))
        self._wake.set()

    async def settled(self) -> None:
        """Wait until all that has been noted is written and told: whoever asked for it gets the answer only then."""
        written = asyncio.get_running_loop().create_future()
        self._queue.append(((), written))
        self._wake.set()
        await written

    async def note(self, kind: str, subject: str, body: dict[str, Any], state: Changes | None = None) -> None:
        """Write an entry of another kind (a command, a push), and the state that it left."""
        self._state.update(state or {})
        self._wait((Entry(kind, subject, self._clock.wall_ns(), body),))
        await self._commit()

    async def keep(self, state: Changes) -> None:
        """Write present states that nobody is told of (meters)."""
        self._state.update(state)
        await self._commit()

    async def run(self) -> None:
        """Write and tell, for ever."""
        while True:
            await self._wake.wait()
            await self.drain()

    async def drain(self) -> None:
        """Write and tell all that has been noted until now."""
        self._wake.clear()
        while self._queue:
            self._busy = True
            try:
                await self._write(self._some())
            finally:
                self._busy = False

    def _some(self) -> list[tuple[Sequence[Happening], asyncio.Future[None] | None]]:
        """What is written next: all that waits, in a storm only the first of it."""
        batch = [self._queue.popleft()]
        count = len(batch[0][0])
        while self._queue and count + len(self._queue[0][0]) <= TOGETHER:
            batch.append(self._queue.popleft())
            count += len(batch[-1][0])
        return batch

    async def _write(self, batch: Sequence[tuple[Sequence[Happening], asyncio.Future[None] | None]]) -> None:
        happenings = [each for group, _ in batch for each in group]
        for each in happenings:
            self._book(each)
        await self._commit()
        for number, each in enumerate(happenings, 1):
            for listener in self.listeners:
                listener(each)
            if number % TOLD == 0:
                await asyncio.sleep(0)
        for after in self.after:
            after()
        for _, written in batch:
            if written is not None and not written.done():
                written.set_result(None)

    def _book(self, happening: Happening) -> None:
        if isinstance(happening, IncidentEvent):
            self._incidents[happening.incident.id] = happening
            if not happening.written:
                return
        body = happening.to_body()
        if isinstance(happening, IncidentEvent):
            self._wait((Entry("incident", happening.incident.id, happening.time_ns, body),))
        elif isinstance(happening, Transition):
            self._wait((Entry("alarm", happening.alarm.id, happening.time_ns, body),))
            self._state["alarm", happening.alarm.id] = happening.alarm.to_body()
        elif isinstance(happening, OrderEvent):
            self._wait((Entry("order", happening.order.id, happening.time_ns, body),))
            self._state["order", happening.order.id] = happening.order.to_body()

    async def _commit(self) -> None:
        async with self._committing:
            self._snap()
            entries, state = list(self._entries), dict(self._state)
            if not entries and not state:
                return
            self._entries.clear()
            self._state.clear()
            try:
                await self._ledger.commit(entries, state)
            except StoreError as error:
                self._put_back(entries, state)
                if not self._troubled:
                    log.error("the ledger cannot be written, people are told all the same: %s", error)
                self._troubled = True
            else:
                if self._troubled:
                    log.warning("the ledger can be written again")
                self._troubled = False
            # What has come meanwhile is not waiting for the disk but for its turn.
            self.unwritten = len(self._entries) if self._troubled else 0

    def _snap(self) -> None:
        """The newest of each incident as it is kept."""
        for name, newest in self._incidents.items():
            gone = newest.event == "forgotten"
            self._state["incident", name] = None if gone else newest.incident.to_body()
        self._incidents.clear()

    def _put_back(self, entries: Sequence[Entry], state: Changes) -> None:
        """What could not be written waits, before what has come meanwhile."""
        self._wait(entries, before=True)
        self._state = {**state, **self._state}

    def _wait(self, entries: Sequence[Entry], *, before: bool = False) -> None:
        """Entries wait for the disk; of too many the oldest go, counted."""
        if before:
            self._entries.extendleft(reversed(entries))
        else:
            self._entries.extend(entries)
        while len(self._entries) > WAITING:
            self._entries.popleft()
            self.lost += 1
