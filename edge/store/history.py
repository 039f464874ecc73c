"""What was recorded, by time: of one point over a span, or of many points merged.

What comes in: points and a span. What goes out: readings in order of their time, rows that are not yet on the
disk included. The file is read in the readers' thread, a bounded part at a time, so that a year takes as much
memory as an hour.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Protocol, TypeVar

from edge.store.database import snapshot
from edge.store.digests import DAY_NS
from edge.store.packed import PackedHistory
from edge.store.packing import GOOD
from edge.store.readings_file import ReadingsFile, Row
from edge.store.retention import MINUTES, digests
from edge.store.span import Asked, Reading, Run, answer
from edge.store.steps import HOLD_NS, Aggregate
from edge.store.stretch import PackedStretch, Sample, Wanted
from edge.store.tail import Tail

LAST_NS = 2**63 - 1
FIRST_WIDTH_NS = 10 * 10**9
WINDOW = 50_000
"""Readings that are merged at a time, about: what a stretch takes of memory, some 20 MB."""

__all__ = ["History", "Sample"]

T = TypeVar("T")


class Read(Protocol):
    """Runs work in the readers' thread; `nothing` where there is no file."""

    def __call__(self, work: Callable[[ReadingsFile], T], nothing: T, /) -> Awaitable[T]:
        """What the work has found."""
        ...


class History:
    """Readings by time."""

    def __init__(self, tail: Tail, read: Read) -> None:
        self.hold_ns = HOLD_NS
        """See `steps.HOLD_NS`; two heartbeats of the site."""
        self._tail = tail
        self._read = read

    async def query(
        self, point_id: str, from_ns: int, to_ns: int, every_ns: int | None, limit: int, aggregate: Aggregate
    ) -> list[Reading]:
        """See `ReadingsStore.query`."""
        equipment, _, point = point_id.rpartition(".")
        step = None if every_ns is None else max(every_ns, 1)
        bounds = max(from_ns, -LAST_NS), min(to_ns, LAST_NS)
        asked = Asked(*bounds, step, max(limit, 1), aggregate, self.hold_ns)
        until, since_ns = self._tail.committed, max(asked.since_ns, -LAST_NS)
        fresh = [
            _reading(row, point)
            for row in self._tail.uncommitted()
            if row.equipment == equipment and since_ns <= row.time_ns < asked.to_ns and point in row.points
        ]

        def search(file: ReadingsFile) -> list[Reading]:
            with snapshot(file.db):
                packed = PackedHistory(file.db, file.rot)
                thinned = digests(packed, equipment, point, since_ns, asked.to_ns)
                old: list[Run] = [*thinned]
                old += packed.chunks(equipment, point, since_ns, asked.to_ns, packed.mark(MINUTES.mark))
                waiting = file.groups.readings(equipment, point, since_ns, asked.to_ns, until)
                newest: Iterable[Reading] = chain(waiting, fresh)
                if asked.ordered and thinned:  # what was imported counts there once the summaries have it
                    days = {digest.bounds()[0] // DAY_NS for digest in thinned}
                    newest = (reading for reading in newest if reading[0] // DAY_NS not in days)
                return answer(asked, old, newest)

        return await self._read(search, answer(asked, (), fresh))

    async def samples(
        self, points: Sequence[str] | None, from_ns: int, to_ns: int, page: int
    ) -> AsyncIterator[list[Sample]]:
        """See `ReadingsStore.history`."""
        wanted = None if points is None else _by_equipment(points)
        begin, end = max(from_ns, -LAST_NS), min(to_ns, LAST_NS)
        waiting: list[Sample] = []
        width = FIRST_WIDTH_NS
        while begin < end:
            begin, found = await self._window(wanted, begin, end, width)
            waiting += found
            width = _wider(width, len(found))
            while len(waiting) >= page:
                yield waiting[:page]
                del waiting[:page]
        if waiting:
            yield waiting

    async def _window(self, wanted: Wanted, begin: int, end: int, width: int) -> tuple[int, list[Sample]]:
        """What lies in the next stretch of the span, no wider than that, merged, and where the stretch ends."""
        until, newest = self._tail.committed, self._tail.uncommitted()
        times = [row.time_ns for row in newest if begin <= row.time_ns < end]

        def search(file: ReadingsFile) -> tuple[int, list[Sample]]:
            with snapshot(file.db):
                packed = PackedStretch(PackedHistory(file.db, file.rot), wanted)
                first, upto = _stretch(file, packed, begin, end)
                if times and min(times) < first:
                    first, upto = min(times), max(first, min(times) + 1)
                upto = min(upto, first + width)
                found = packed.samples(first, upto) if first < upto else []
                rows = chain(file.groups.rows_between(first, upto, until), newest) if first < upto else ()
                return upto, _merged(found, rows, wanted, first, upto)

        return await self._read(search, (end, _merged([], newest, wanted, begin, end)))


def _wider(width: int, found: int) -> int:
    """How wide the next stretch may be, after one of this width in which so many readings were found."""
    if found > WINDOW:
        return max(1, width * WINDOW // found)
    return min(width * 4, LAST_NS) if found < WINDOW // 8 else width


def _stretch(file: ReadingsFile, packed: PackedStretch, begin: int, end: int) -> tuple[int, int]:
    """The next stretch of time with committed rows, in which few of them lie; (end, end) if there is none."""
    low, high = file.groups.next_span(begin)
    fresh = (end, end) if low is None or high is None or low >= end else (max(low, begin), min(high + 1, end))
    old = packed.next(begin, end)
    if fresh[0] > old[0]:
        return old[0], min(old[1], fresh[0])
    return fresh[0], min(fresh[1], old[0] if old[0] > fresh[0] else old[1])


def _merged(packed: list[Sample], rows: Iterable[Row], wanted: Wanted, from_ns: int, to_ns: int) -> list[Sample]:
    """The wanted readings, in order of time; of the same time in order of arrival."""
    chosen = (row for row in rows if from_ns <= row.time_ns < to_ns and (wanted is None or row.equipment in wanted))
    found = chain(packed, chain.from_iterable(_samples(row, wanted) for row in chosen))
    return sorted(found, key=itemgetter(0))


def _samples(row: Row, wanted: Wanted) -> Iterator[Sample]:
    names = None if wanted is None else wanted[row.equipment]
    qualities = row.qualities or (GOOD,) * len(row.values)
    for name, value, quality in zip(row.points, row.values, qualities, strict=True):
        if names is None or name in names:
            yield row.time_ns, f"{row.equipment}.{name}", value, quality


def _by_equipment(points: Sequence[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for point in points:
        equipment, _, name = point.rpartition(".")
        found.setdefault(equipment, set()).add(name)
    return {equipment: frozenset(names) for equipment, names in found.items()}


def _reading(row: Row, point: str) -> Reading:
    place = row.points.index(point)
    return row.time_ns, row.values[place], row.qualities[place] if row.qualities else GOOD
