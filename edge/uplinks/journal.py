"""What happened (alarms, orders), told to a far end in order and with nothing left out.

What comes in: the ledger's journal and one uplink's `send_journal`. What goes out: a position in the journal that
moves only over what the far end has confirmed, and is kept in the ledger. An uplink that is new begins with what
happens from then on: nobody wants the alarms of last year.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from drivers.driver import Clock
from edge.uplinks.pauses import Pauses
from edge.uplinks.shape import Entry, Journalling, Stats, UplinkDown

BATCH = 100
"""Entries that are sent at once."""
LOOK_S = 30.0
"""How often the journal is looked into where nobody has said that there is something new."""
SKIPPED = 1000
"""Entries of other kinds after which the position is written all the same."""
KIND = "uplink"
"""Kind of state in the ledger under which uplinks keep what they must not forget."""

State = Mapping[tuple[str, str], dict[str, Any] | None]


class Ledger(Protocol):
    """The ledger, as far as uplinks read it."""

    async def load(self, kind: str, /) -> Mapping[str, Mapping[str, Any]]:
        """The state of all of a kind."""
        ...

    async def journal(
        self, kind: str | None = None, subject: str | None = None, after: int = 0, limit: int = 1000,
        newest_first: bool = False,
    ) -> Sequence[tuple[int, Entry]]:  # fmt: skip
        """Entries with their numbers."""
        ...


class Clerk(Protocol):
    """Who writes into the ledger."""

    async def note(self, kind: str, subject: str, body: dict[str, Any], state: State | None = None) -> None:
        """Write an entry, and the state that it left."""
        ...

    async def keep(self, state: State) -> None:
        """Write state only."""
        ...


class Memory:
    """What one uplink must not forget besides its place in the log of readings."""

    def __init__(self, name: str, ledger: Ledger, clerk: Clerk) -> None:
        self.ledger = ledger
        self._name = name
        self._clerk = clerk
        self._body: dict[str, Any] | None = None
        self._said: dict[str, Any] = {}  # before it was known what there is: that is not written over

    @property
    def opened(self) -> bool:
        """Whether it remembers what there is."""
        return self._body is not None

    async def open(self) -> None:
        """Remember; the first time only. Raises whatever the ledger raises that cannot be read."""
        if self._body is None:
            self._body = {**(await self.ledger.load(KIND)).get(self._name, {}), **self._said}
            if self._said:
                await self.keep()

    def get(self, key: str) -> int:
        """A number; 0 where none was kept."""
        return int(self._known.get(key, 0))

    def text(self, key: str) -> str:
        """Words; empty where none were kept."""
        return str(self._known.get(key, ""))

    def knows(self, key: str) -> bool:
        """Whether it was kept."""
        return key in self._known

    @property
    def _known(self) -> dict[str, Any]:
        return self._said if self._body is None else self._body

    async def keep(self, **facts: int | str) -> None:
        """Write numbers or words down; on the disk when this returns, or as soon as it is known what there is."""
        self._known.update(facts)
        if self._body is not None:
            await self._clerk.keep({(KIND, self._name): dict(self._body)})

    async def note(self, body: dict[str, Any]) -> None:
        """Write into the journal what staff may ask for later."""
        await self._clerk.note(KIND, self._name, body)


class Bell:
    """Rung when something has happened."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def armed(self) -> asyncio.Future[None]:
        """Done when it rings next."""
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting


async def drain_journal(
    name: str, sender: Journalling, memory: Memory, clock: Clock, stats: Stats, bell: Bell
) -> NoReturn:
    """Send what the journal has of the sender's kinds and what comes, for ever; ends by cancellation only."""
    ledger = memory.ledger
    pauses, unread = Pauses(f"{name}, journal", clock), Pauses(f"{name}, journal", clock)
    position = memory.get("journal")
    while True:
        rung = bell.armed()  # before the look, so that nothing falls between
        try:
            if not memory.knows("journal"):
                newest = await ledger.journal(limit=1, newest_first=True)
                position = newest[0][0] if newest else 0
                await memory.keep(journal=position)
            found = await ledger.journal(after=position, limit=BATCH)
        except Exception as error:  # of a disk in trouble; readings go on meanwhile
            await unread.after(UplinkDown(f"the journal cannot be read: {error}"), "what happened waits in it")
            continue
        unread.over()
        if not found:
            await clock.wait(rung, LOOK_S)
            continue
        entries = [(number, entry) for number, entry in found if entry.kind in sender.journal_kinds]
        if entries:
            stats.oldest_event_ns = entries[0][1].time_ns
            try:
                await sender.send_journal(entries)
            except UplinkDown as error:
                stats.events_error = str(error)
                await pauses.after(error, "what happened waits in the journal")
                continue
            pauses.over()
            stats.events_error = None
            stats.oldest_event_ns = None
            stats.events += len(entries)
        position = found[-1][0]
        if entries or position - memory.get("journal") >= SKIPPED:
            await memory.keep(journal=position)
