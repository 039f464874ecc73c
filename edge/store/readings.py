"""The log of readings: the buffer between the devices and everything that leaves the box.

What comes in: rows (batches), appended without waiting. What goes out: rows after a cursor, to each uplink, and
readings over time, to the console. Rows are committed in groups; the newest are also kept in memory, so that an
uplink that has caught up never touches the disk, and is woken with the row itself. A cursor is written in the
same transaction as the rows that it has passed. A disk that is full or read-only costs nothing but the past:
rows wait in memory, up to a bound, and writing is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from drivers.driver import Clock
from drivers.point import Value
from edge.clock import SystemClock
from edge.store.cursors import Cursors
from edge.store.database import StoreError, StoreFault, damaged
from edge.store.disk import Disk
from edge.store.gaps import Gap, Gaps
from edge.store.history import History, Sample
from edge.store.mishap import Mishap
from edge.store.packing import clean
from edge.store.readings_file import ReadingsFile, Row, Standing
from edge.store.span import Reading
from edge.store.steps import Aggregate
from edge.store.stretches import LONGEST_HOLD_NS
from edge.store.tail import Tail

__all__ = ["ReadingsStore", "Row", "StoreError", "StoreFault", "open_readings"]

RESERVE = 65_536
"""Numbers promised ahead at a time; costs one full sync for each half of them."""
LAST_NS = 2**62
"""The year 2116, so that a difference of two stamps fits 64 bits too; a device's stamp beyond it is no stamp."""
WAITING_VALUES = 1_000_000
"""Values that wait in memory for a disk that takes none (a row counts 8 more); about 50 MB."""
FULL = 1_000
"""Values (a row counts 8 more) that are worth a commit of their own: some pages of the file. With fewer the pages
that every commit writes anew would cost more than the readings."""

T = TypeVar("T")

_as_row = tuple.__new__
"""A named tuple's own way to make one is a function of Python in between, on the hot way of every batch."""

log = logging.getLogger(__name__)


class ReadingsStore:
    """The open log."""

    def __init__(self, path: Path, commit_s: float, longest_s: float, clock: Clock) -> None:
        self.path = path
        self._disk = Disk(path)
        self._tail = Tail(WAITING_VALUES)
        self._history = History(self._tail, self._read)
        self._turn = asyncio.Lock()
        self._before: Standing | None = None  # where the file stood at the start; None until it was opened
        self._first = 1  # number of this run's first row
        self._last = 0
        self._reserved = 0
        self._held: int | None = None
        self._given = 0
        self._gaps = Gaps()
        self._cursors = Cursors()
        self._waiters: list[asyncio.Future[None]] = []
        self._mishap = Mishap(path, commit_s)
        self._fault: BaseException | None = None
        self._commit_s = commit_s
        self._longest_s = max(longest_s, commit_s)
        self._clock = clock
        self._full: asyncio.Future[None] | None = None  # waited for by whoever commits
        self._committed_s = clock.mono_s()
        self._interval_s = commit_s
        self._commit_took_s = 0.0
        self._counts = dict.fromkeys(("rows", "values", "commits", "failed_commits"), 0)

    # What goes in

    def append(
        self,
        equipment: str,
        points: Sequence[str],
        values: Sequence[Value],
        qualities: Sequence[str] | None,
        time_ns: int,
        source_time_ns: int | None = None,
    ) -> int:
        """Take one batch, at once; returns its number. See `packing.clean` for what becomes of odd values.

        Numbers given before the file could be opened for the first time are provisional. Raises StoreFault
        where the store itself has failed.
        """
        if self._fault is not None:
            raise StoreFault(f"{self.path} is no longer written: {self._fault}") from self._fault
        if len(points) != len(values) or len(values) != len(qualities or values):
            raise ValueError(
                f"{equipment}: {len(points)} points, {len(values)} values, {len(qualities or ())} qualities"
            )
        if not values:
            return self._last
        kept, marks = clean(values, qualities)
        if source_time_ns is not None and abs(source_time_ns) > LAST_NS:
            source_time_ns = None
        if not -LAST_NS <= time_ns <= LAST_NS:
            time_ns = max(-LAST_NS, min(time_ns, LAST_NS))
        self._last = max(self._first, self._last + 1)
        columns = self._last, time_ns, equipment, tuple(points), kept, marks, source_time_ns
        self._tail.append(_as_row(Row, columns))
        self._counts["rows"] += 1
        self._counts["values"] += len(kept)
        if self._full is not None and self._tail.weight >= FULL and not self._full.done():
            self._full.set_result(None)
        if self._waiters:
            self._wake()
        return self._last

    @property
    def opened(self) -> bool:
        """Whether the file has been open: before that all numbers are provisional."""
        return self._before is not None

    @property
    def first_seq(self) -> int:
        """Number of the first row that this process has appended, or will."""
        return self._first

    @property
    def last_seq(self) -> int:
        """Number of the newest row."""
        return self._last

    @property
    def given_seq(self) -> int:
        """The highest number that this process has given to an uplink."""
        return self._given

    @property
    def newest_ns(self) -> int:
        """The newest stamp among the rows that were written last before this process; 0 where there is none."""
        return self._before.newest_ns if self._before else 0

    def hold(self, seq: int | None) -> None:
        """Give rows with numbers from `seq` on to no uplink until None releases them: their stamps may change."""
        if seq != self._held:
            self._held = seq
            self._wake()

    @property
    def held(self) -> int | None:
        """The number from which rows are held; None where none are. Held rows are not to be packed either."""
        return self._held

    async def restamp(self, first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> None:
        """Add `shift_ns` to the stamps of the rows numbered so, on the disk and in memory; none changes its place.

        With `known`, what was `uncertain/clock` is good. Done once for each `first_seq`, however often it is asked.
        Raises StoreError where the disk does not take it: nothing is changed then.
        """
        async with self._turn:
            if await self._work(lambda file: file.restamp(first_seq, last_seq, shift_ns, known=known)):
                self._tail.restamp(first_seq, last_seq, shift_ns, known=known)

    async def work(self, work: Callable[[ReadingsFile], T]) -> T:
        """Do `work` with the file, between two commits, in the thread that writes: in slices under 50 ms, please.

        Raises StoreError where the file is not open or does not take it.
        """
        async with self._turn:
            return await self._work(work)

    async def flush(self) -> None:
        """Commit everything now. Where the disk takes nothing it returns all the same: see `trouble`."""
        await asyncio.shield(asyncio.ensure_future(self._commit()))

    # What goes out

    async def read_after(self, seq: int, limit: int) -> list[Row]:
        """Up to `limit` rows with numbers above `seq`, in order, those not yet committed included.

        Empty where there is none, or where the file could not yet be opened. Raises StoreError where the
        file cannot be read.
        """
        oldest = self._tail.oldest
        newer = self._tail.after(seq, self._readable(), limit)
        if oldest is None or seq < oldest - 1:
            nothing: list[Row] = []
            before = min(bound for bound in (oldest, self._held, LAST_NS) if bound is not None)
            older = await self._read(lambda file: file.groups.read_after(seq, before, limit), nothing)
            newer = (older + newer)[:limit]
        if newer:
            self._given = max(self._given, newer[-1].seq)
        return newer

    def newest(self) -> int:
        """Number of the newest row that `read_after` gives."""
        return self._readable()

    async def wait_after(self, seq: int) -> None:
        """Return as soon as `read_after(seq)` has something to give."""
        while self._readable() <= seq:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(woken)
            await woken

    def cursor(self, name: str) -> int:
        """The number up to which `name` has everything; 0 for a new one: from the start. Ask each time."""
        return self._cursors.of(name)

    def advance(self, name: str, seq: int) -> None:
        """Note that `name` has everything up to `seq`; durable with the commit that holds row `seq`."""
        self._cursors.advance(name, min(seq, self._last))

    def drop_cursor(self, name: str) -> None:
        """Forget an uplink that is no longer in the site file."""
        self._cursors.drop(name)

    def cursors(self) -> dict[str, int]:
        """All cursors that there are, by name."""
        return self._cursors.all()

    def behind(self, seq: int) -> int:
        """How many rows lie after `seq`."""
        first = self._first if self._before is None else self._before.first_seq
        low = max(seq, first - 1, self._cursors.floor)
        return max(0, self._last - low - self._gaps.missing(low, self._last)) if low < self._last else 0

    async def count_anew(self) -> None:
        """Rows were taken out of the middle: see which numbers stand for none now. Raises StoreError."""
        self._gaps = Gaps(await self.work(lambda file: file.gaps()))

    async def query(
        self,
        point_id: str,
        from_ns: int,
        to_ns: int,
        every_ns: int | None = None,
        limit: int = 10_000,
        aggregate: Aggregate = "mean",
    ) -> list[Reading]:
        """(time, value, quality) of one point with from_ns <= time < to_ns, oldest first, at most `limit`.

        With `every_ns` one for each step by `aggregate`: see `steps.Steps`. Raises StoreError.
        """
        return await self._history.query(point_id, from_ns, to_ns, every_ns, limit, aggregate)

    def history(
        self, points: Sequence[str] | None, from_ns: int, to_ns: int, page: int = 10_000
    ) -> AsyncIterator[list[Sample]]:
        """Pages of (time, point, value, quality) of these points (None: all) with from_ns <= time < to_ns.

        In order of time, readings of the same time in order of their arrival; the memory that it takes does not
        grow with the span. What is recorded meanwhile comes where its time has not been passed. Raises StoreError.
        """
        return self._history.samples(points, from_ns, to_ns, page)

    def values_hold(self, hold_ns: int) -> None:
        """So long, at least 5 minutes, a value is taken to hold where nothing newer came: see `steps.Steps`."""
        self._history.hold_ns = max(hold_ns, LONGEST_HOLD_NS)

    @property
    def trouble(self) -> str | None:
        """What staff should know about the log; None where all is well."""
        return self._mishap.text(self._disk.rotten)

    def stats(self) -> dict[str, float]:
        """Counts since the start, and where the log stands."""
        return {
            **self._counts,
            "lost_rows": self._tail.lost,
            "waiting_rows": self._tail.waiting(),
            "last_seq": self._last,
            "committed_seq": self._tail.committed,
            "commit_interval_s": self._interval_s,
            "commit_took_s": self._commit_took_s,
        }

    def _readable(self) -> int:
        """The newest row that may be given to an uplink: its number will never be given out again."""
        newest = min(self._last, self._reserved)
        return newest if self._held is None else min(newest, self._held - 1)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for woken in waiters:
            if not woken.done():
                woken.set_result(None)

    # Committing

    async def _commit(self) -> None:
        async with self._turn:
            try:
                if not self._disk.open:
                    await self._begin()
                await self._write()
            except OSError as error:
                self._failed(f"cannot be opened ({error.strerror})")
            except sqlite3.DatabaseError as error:
                if damaged(error):
                    await self._replace(error)
                elif isinstance(error, sqlite3.OperationalError):
                    self._failed(f"cannot be {'written' if self._disk.open else 'opened'} ({error})")
                else:
                    raise
            else:
                self._mishap.over(self._tail.lost)

    async def _begin(self) -> None:
        """Open the file and take up where it stands."""
        first = self._before is None
        standing, reserved, self._gaps = await self._disk.begin(self._last + RESERVE, first=first)
        self._cursors.opened(standing.cursors, first=first)
        if first:  # rows that came before this had provisional numbers, from 1
            self._before = standing
            self._first = standing.reserved + 1
            self._last = self._tail.shift(standing.reserved) or standing.last_seq
            self._tail.committed = standing.last_seq
        self._reserved = reserved
        self._wake()

    async def _write(self) -> None:
        if self._reserved - self._last < RESERVE // 2:
            ahead = self._last + RESERVE
            await self._disk.reserve(ahead)
            self._reserved = ahead
            self._wake()
        rows = self._tail.uncommitted()
        upto = rows[-1].seq if rows else self._tail.committed
        cursors = self._cursors.moved(upto)
        if not rows and not cursors:
            return
        gap = self._lost_before(rows)
        began = perf_counter()
        await self._disk.commit(rows, cursors, gap)
        if gap is not None:
            self._gaps.add(gap)
        self._commit_took_s = perf_counter() - began
        now_s = self._clock.mono_s()
        self._interval_s, self._committed_s = now_s - self._committed_s, now_s
        self._counts["commits"] += 1
        self._tail.commit(upto)
        self._cursors.written(cursors)

    def _lost_before(self, rows: Sequence[Row]) -> Gap | None:
        """Numbers of the rows that had to go before these could be written."""
        first = max(self._tail.committed, self._first - 1) + 1
        return Gap(first, rows[0].seq - 1, rows[0].seq - first) if rows and rows[0].seq > first else None

    async def _work(self, work: Callable[[ReadingsFile], T]) -> T:
        """Called under the lock."""
        if not self._disk.open:
            raise StoreError(f"{self.path} is not open; check the disk under {self.path.parent}")
        try:
            return await self._disk.write(work)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # which a wrong question is too
                if not damaged(error):
                    raise
                await self._replace(error)  # it may be met here only: nobody else reads what is packed for months
            raise StoreError(f"{self.path} cannot be written ({error})") from error

    # When the disk does not do as it should

    def _failed(self, what: str) -> None:
        self._counts["failed_commits"] += 1
        self._mishap.failed(what, self._tail.waiting(), self._tail.lost)

    async def _replace(self, error: sqlite3.Error) -> None:
        """Set a damaged file aside and begin a new one with the rows that are in memory. Called under the lock."""
        try:
            aside = await self._disk.set_aside()
            self._mishap.replaced(error, aside)
            floor = self._last if self._tail.oldest is None else self._tail.oldest - 1
            self._cursors.floor = floor
            self._tail.committed = min(self._tail.committed, floor)
            await self._begin()
            await self._write()
        except (OSError, sqlite3.DatabaseError) as second:
            self._failed(f"was damaged and cannot be begun anew ({second})")
        else:
            self._mishap.over(self._tail.lost)

    async def _read(self, work: Callable[[ReadingsFile], T], nothing: T) -> T:
        number = self._disk.opened
        try:
            return await self._disk.read(work, nothing)
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                if not isinstance(error, sqlite3.OperationalError):
                    raise
                raise StoreError(
                    f"{self.path} cannot be read ({error}); check the disk under {self.path.parent}"
                ) from error
            async with self._turn:
                if self._disk.opened == number:  # nobody else has met the damage first
                    await self._replace(error)
            return nothing

    # Life

    async def _keep_committing(self) -> None:
        """Commit as soon as it is worth it, but not sooner than `commit_s` after the last time, nor later than
        `longest_s`.
        """
        while True:
            await self._clock.sleep(self._mishap.pause_s)
            spare_s = self._longest_s - self._commit_s
            if not self._mishap.failing and spare_s > 0 and self._tail.weight < FULL:
                self._full = asyncio.get_running_loop().create_future()
                await self._clock.wait(self._full, spare_s)
                self._full = None
            await self.flush()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fault = task.exception()
            log.critical("%s is no longer written", self.path, exc_info=self._fault)

    async def _close(self) -> None:
        await self._commit()
        left = self._tail.waiting()
        if left:
            log.error("%s: %d batches could not be written before the end and are lost", self.path, left)
        elif self._disk.open:
            with suppress(sqlite3.Error):  # then the next start merely leaves a gap in the numbers
                await self._disk.reserve(max(self._last, self._first - 1))


@asynccontextmanager
async def open_readings(
    path: Path, commit_s: float = 1.0, longest_s: float | None = None, clock: Clock | None = None
) -> AsyncIterator[ReadingsStore]:
    """The log for as long as the block lasts; at its end everything is committed.

    Under load it is committed each `commit_s`, when little comes at longer intervals up to `longest_s` (None: the
    same): what a `kill -9` may cost. `clock` is the box's own unless a test has another: they belong to the disk.

    A file that the disk does not let us open is tried again for as long as it takes, a damaged one is set
    aside: `trouble` tells. Raises StoreError for a file of a newer program.
    """
    store = ReadingsStore(path, commit_s, commit_s if longest_s is None else longest_s, clock or SystemClock())
    try:
        await store._commit()
        ticker = asyncio.create_task(store._keep_committing(), name=f"store[{path.name}]")
        ticker.add_done_callback(store._ended)
        try:
            yield store
        finally:
            ticker.cancel()
            await asyncio.wait([ticker])
            await store._close()
    finally:
        await store._disk.end()
