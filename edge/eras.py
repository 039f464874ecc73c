"""Readings from before the time was known: held back, stamped anew, let go.

An *era* is a stretch of the log that one process wrote without knowing the time. Its rows carry a provisional time
in the order of the monotonic clock and are `uncertain/clock`; uplinks are not given them while there is hope, up to
`time.trust_after`. Once the time is known, all eras of this boot are stamped anew by one difference each: the
monotonic clock goes on through a restart of the daemon. Eras of earlier boots lie, in order, before everything of
this one and stay uncertain; nobody can know when they were. A row that has left the box keeps the stamp that it left
with.

What comes in: the timekeeper, the log, the ledger (kinds `era` and `time`). What goes out: rows with true stamps,
entries of kind `clock` in the journal, and word to whoever listens.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from drivers.driver import Clock
from edge.kerneltime import boot_id
from edge.store.database import open_reading, remedy
from edge.store.ledger import Entry, Ledger, StoreError
from edge.store.readings import ReadingsStore
from edge.timekeeping import Memory, Source, Timekeeper, Turn

ERA, TIME = "era", "time"
CLOCK = ("time", "clock")
"""Where the ledger keeps what is known of the time."""
ENDED = "/era/"
"""Before the first number of an era: the log's cursor at its last row, once it has ended. It is written together with
the first row that has a true stamp, so that a kill right then leaves no doubt which rows are to be stamped anew. No
uplink can have such a name."""

log = logging.getLogger(__name__)

State = dict[tuple[str, str], dict[str, Any] | None]
Told = Callable[[Turn, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Era:
    """Rows from `first_seq` on, up to the next era or the moment when the time became known."""

    first_seq: int
    boot: str
    offset_ns: int
    """What its provisional time was ahead of the monotonic clock."""
    begun_s: float
    """By the monotonic clock of its boot."""
    released: bool = False
    """Uplinks have been given its rows as they are."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Era:
        """As kept in the ledger."""
        return cls(**{key: body[key] for key in cls.__slots__})


class Eras:
    """The eras of one log, for as long as the daemon runs."""

    def __init__(self, clock: Timekeeper, store: ReadingsStore, ledger: Ledger, trust_after_s: float) -> None:
        self.listeners: list[Told] = []
        """Told at once what the time has done, with the body of the journal's entry about it."""
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._trust_after_s = trust_after_s
        self._earlier: list[Era] = []
        self._present: Era | None = None
        self._rows: int | None = None  # of the present era, once it has ended; its numbers may be provisional
        self._troubled = False
        self._unwritten: list[Entry] = []
        """What has happened to the time, to be written down."""
        self._due = asyncio.Event()
        """`look` has found something to do."""

    async def begin(self) -> None:
        """Take up the eras that the last processes left; begin one if the time is not known."""
        kept = await self._ledger.load(ERA)
        self._earlier = sorted((Era.of(body) for body in kept.values()), key=lambda era: era.first_seq)
        self._clock.look()
        if not self._clock.known():
            log.warning("the time is not known yet: readings are uncertain/clock and held for at most %.0f s",
                        self._trust_after_s)  # fmt: skip
            released = any(era.released and era.boot == self._clock.boot for era in self._earlier)
            self._present = Era(
                self._store.first_seq, self._clock.boot, self._clock.offset_ns, self._clock.begun_s, released
            )
        if self._earlier or self._present:
            self._hold()
        try:
            await self._ledger.commit([], self.bodies())
        except StoreError as error:  # a full disk keeps no daemon from polling: it is written with the next minute's
            log.error("what is known of the time cannot be written down yet: %s", error)

    def bodies(self) -> State:
        """What the ledger should know, to be written now and then."""
        state: State = {CLOCK: asdict(self._clock.memory())}
        if self._store.opened:
            state |= {(ERA, str(era.first_seq)): asdict(era) for era in self._eras()}
        return state

    def look(self) -> None:
        """See what the time does, and tell of it at once; to be called each second or so. Waits for nothing."""
        turn = self._clock.look()
        if turn is not None:
            if turn.kind == "known" and self._present is not None:
                self._rows = max(0, self._store.last_seq + 1 - self._store.first_seq)
                if self._store.opened:
                    self._store.advance(f"{ENDED}{self._store.first_seq}", self._store.last_seq)
            self._tell(turn)
        if self._unwritten or self._earlier or self._present is not None:
            self._due.set()

    async def run(self) -> None:
        """Write down what `look` has found, and set right what came before, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.follow()

    async def follow(self) -> None:
        """What `run` does, once."""
        if self._unwritten:
            entries, self._unwritten = self._unwritten, []
            try:
                await self._ledger.commit(entries, {CLOCK: asdict(self._clock.memory())})
            except StoreError as error:
                log.error("what happened to the clock could not be written down: %s", error)
        if not self._earlier and self._present is None:
            return
        if self._clock.known():
            await self._settle()
        else:
            self._hold()

    def _hold(self) -> None:
        """Hold rows from the first era on that has not waited long enough."""
        if not self._store.opened:
            self._store.hold(0)
            return
        waiting = [era for era in self._eras() if not era.released]
        since_s = min((era.begun_s for era in waiting if era.boot == self._clock.boot), default=self._clock.begun_s)
        if waiting and self._clock.mono_s() - since_s >= self._trust_after_s:
            log.warning("the time is still not known after %.0f s: uplinks are given uncertain/clock readings",
                        self._trust_after_s)  # fmt: skip
            self._earlier = [replace(era, released=True) for era in self._earlier]
            self._present = self._present and replace(self._present, released=True)
            waiting = []
        self._store.hold(min(era.first_seq for era in waiting) if waiting else None)

    def _eras(self) -> list[Era]:
        present = [replace(self._present, first_seq=self._store.first_seq)] if self._present else []
        return [*self._earlier, *present]

    async def _settle(self) -> None:
        """Stamp anew what can be, forget the eras, let the rows go. Done again where it was cut short."""
        if not self._store.opened:
            return
        self._store.hold(self._store.given_seq + 1)  # nothing more leaves with a stamp that is about to change
        eras = self._eras()
        ends = [era.first_seq - 1 for era in eras[1:]]
        ends.append(self._store.first_seq - 1 + (self._rows or 0))
        ended = self._store.cursors()
        try:
            for era, last_seq in zip(eras, ends, strict=True):
                await self._restamp(era, ended.get(f"{ENDED}{era.first_seq}", last_seq))
            gone: State = {(ERA, str(era.first_seq)): None for era in eras}
            await self._ledger.commit([], {**gone, CLOCK: asdict(self._clock.memory())})
        except StoreError as error:
            if not self._troubled:
                log.error("readings from before the time was known cannot be stamped anew yet: %s", error)
            self._troubled = True
            if any(self._clock.mono_s() - era.begun_s < self._trust_after_s for era in eras):
                return  # tried again with the next tick
        self._earlier, self._present, self._rows = [], None, None
        for cursor in ended:
            if cursor.startswith(ENDED):
                self._store.drop_cursor(cursor)
        self._store.hold(None)

    async def _restamp(self, era: Era, last_seq: int) -> None:
        mine = bool(era.boot) and era.boot == self._clock.boot
        first_seq = era.first_seq
        if era.released:
            present = self._present is not None and era.first_seq == self._store.first_seq
            first_seq = max(first_seq, self._store.given_seq + 1) if present else last_seq + 1
        if mine and first_seq <= last_seq:
            shift_ns = self._clock.offset_ns - era.offset_ns
            await self._store.restamp(first_seq, last_seq, shift_ns, known=True)
            log.warning("rows %d to %d were stamped anew, %+.3f s", first_seq, last_seq, shift_ns / 1e9)

    def _tell(self, turn: Turn) -> None:
        now_ns = self._clock.wall_ns()
        body = {"event": turn.kind, "shift_s": turn.shift_ns / 1e9, "before_ns": now_ns - turn.shift_ns}
        for listener in self.listeners:  # before anything else can be recorded
            listener(turn, body)
        if turn.kind == "stepped":
            log.warning("the box's clock was set by %+.1f s", turn.shift_ns / 1e9)
        else:
            log.warning("the time is known now: %+.1f s from what it was taken for", turn.shift_ns / 1e9)
        self._unwritten.append(Entry("clock", "gateway", now_ns, body))


def end_eras(ledger: Path, store: ReadingsStore) -> None:
    """What is appended from here on, while no daemon runs, has true stamps: the last era ends before it.

    Raises StoreError where the ledger cannot be read.
    """
    if not ledger.is_file():
        return
    try:
        with closing(open_reading(ledger)) as book:
            known = book.execute("SELECT key FROM state WHERE kind = ?", (ERA,)).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{ledger} cannot be read: {error}; {remedy(error, ledger)}") from error
    newest = max((int(key) for (key,) in known if key.isdigit()), default=None)
    if newest is not None and f"{ENDED}{newest}" not in store.cursors():
        store.advance(f"{ENDED}{newest}", store.last_seq)


async def keep_time(
    base: Clock, source: Source, trust_after_s: float, store: ReadingsStore, ledger: Ledger, boot: str | None = None
) -> tuple[Timekeeper, Eras]:
    """The clock of the house, and the eras of its log. Raises StoreError where the ledger cannot be read."""
    kept = (await ledger.load(TIME)).get(CLOCK[1], {})
    newest = await ledger.journal(newest_first=True, limit=1)
    newest_ns = max([kept.get("newest_ns", 0), store.newest_ns, *(entry.time_ns for _, entry in newest)])
    memory = Memory(newest_ns, kept.get("synchronised", False), kept.get("known_in", ""))
    clock = Timekeeper(base, source, trust_after_s, memory, boot_id() if boot is None else boot)
    eras = Eras(clock, store, ledger, trust_after_s)
    await eras.begin()
    return clock, eras
