"""What happened is told in order, confirmed before it is passed, and nothing is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.clerk import Clerk
from edge.clock import ManualClock
from edge.store.ledger import Entry as Written
from edge.store.ledger import StoreError, open_ledger
from edge.uplinks.journal import Bell, Memory, drain_journal
from edge.uplinks.shape import Entry, Stats, UplinkDown
from tests.support import eventually
from tests.uplinks.books import Books


class FarEnd:
    """Takes entries, unless told to fail."""

    journal_kinds: Collection[str] = ("alarm", "order")

    def __init__(self) -> None:
        self.got: list[tuple[int, str]] = []
        self.error: UplinkDown | None = None
        self.asked = 0

    async def send_journal(self, entries: Sequence[tuple[int, Entry]]) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.got += [(number, entry.subject) for number, entry in entries]


class Told:
    """One far end that is told from some books."""

    def __init__(self, books: Books) -> None:
        self.books, self.far, self.clock, self.bell, self.stats = books, FarEnd(), ManualClock(), Bell(), Stats()
        self.memory = Memory("hook", books, books)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.memory.open()
        told = drain_journal("hook", self.far, self.memory, self.clock, self.stats, self.bell)
        task = asyncio.create_task(told, name="told")
        try:
            await self.asleep()
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def asleep(self) -> None:
        await eventually(lambda: "told" in self.clock.sleeping())


async def test_a_new_uplink_is_told_what_happens_from_then_on_and_only_of_its_kinds() -> None:
    books = Books()
    books.add("alarm", "last-year")
    told = Told(books)
    async with told.running():
        books.add("alarm", "pump-1.dry")
        books.add("push", "someone")
        books.add("order", "WO-1")
        told.bell.ring()
        await eventually(lambda: told.far.got == [(2, "pump-1.dry"), (4, "WO-1")])
        await eventually(lambda: books.state["uplink", "hook"] == {"journal": 4})
        assert told.stats.events == 2


async def test_without_a_bell_the_journal_is_looked_into_now_and_then() -> None:
    told = Told(Books())
    async with told.running():
        told.books.add("alarm", "pump-1.dry")
        told.clock.advance(30)
        await eventually(lambda: told.far.got == [(1, "pump-1.dry")])


async def test_while_the_far_end_is_down_what_happened_waits_and_is_told_in_order() -> None:
    told = Told(Books())
    async with told.running():
        told.far.error = UplinkDown("nobody there")
        told.books.add("alarm", "first", told.clock.wall_ns())
        told.bell.ring()
        await eventually(lambda: told.far.asked == 1)
        await told.asleep()
        told.books.add("alarm", "second", told.clock.wall_ns())
        assert told.stats.lag_s(told.clock.wall_ns() + 10**9) == 1
        assert told.stats.events_error == "nobody there"
        told.clock.advance(2)
        await eventually(lambda: told.far.asked == 2)
        await told.asleep()
        told.far.error = None
        told.clock.advance(4)
        await eventually(lambda: told.far.got == [(1, "first"), (2, "second")])
        await eventually(lambda: told.stats.lag_s(told.clock.wall_ns()) == 0)
        assert told.stats.events_error is None


async def test_a_journal_that_cannot_be_read_is_looked_into_again_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(Books())
    async with told.running():
        with monkeypatch.context() as patch:

            async def unreadable(**_: object) -> list[tuple[int, Entry]]:
                raise StoreError("ledger.db cannot be read: disk I/O error")

            patch.setattr(told.books, "journal", unreadable)
            told.books.add("alarm", "pump-1.dry")
            told.bell.ring()
            await eventually(lambda: "cannot be read: disk I/O error" in caplog.text)
            await told.asleep()
        told.clock.advance(2)
        await eventually(lambda: told.far.got == [(1, "pump-1.dry")])
    assert "uplink hook, journal: the journal cannot be read" in caplog.text


async def test_entries_of_other_kinds_do_not_hold_the_position_for_ever() -> None:
    books = Books()
    told = Told(books)
    async with told.running():
        for n in range(1500):
            books.add("push", str(n))
        told.bell.ring()
        await eventually(lambda: (books.state["uplink", "hook"] or {})["journal"] >= 1000)
        assert told.far.asked == 0


async def test_after_a_restart_it_goes_on_behind_what_was_confirmed(tmp_path: Path) -> None:
    async def life(said: list[str], far: FarEnd) -> None:
        clock = ManualClock()
        async with open_ledger(tmp_path / "ledger.db") as ledger:
            await ledger.commit([Written("alarm", subject, 1, {}) for subject in said])
            memory = Memory("hook", ledger, Clerk(ledger, clock))
            await memory.open()
            task = asyncio.create_task(drain_journal("hook", far, memory, clock, Stats(), Bell()), name="told")
            await eventually(lambda: "told" in clock.sleeping())
            task.cancel()
            await asyncio.wait([task])

    first, away, second = FarEnd(), FarEnd(), FarEnd()
    await life(["before"], first)
    away.error = UplinkDown("nobody there")
    await life(["while it was away"], away)
    await life(["after"], second)
    assert (first.got, away.asked) == ([], 1)
    assert [subject for _, subject in second.got] == ["while it was away", "after"]
