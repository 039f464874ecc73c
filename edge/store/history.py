"""What was recorded, by time: of one point over a span, or of many points merged.

What comes in: points and a span. What goes out: readings in order of their time, rows that are not yet on the
disk included. The file is read in the readers' thread, a bounded part at a time, so that a year takes as much
memory as an hour.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Protocol, TypeVar

from drivers.point import Value
from edge.store.packing import GOOD
from edge.store.readings_file import ReadingsFile, Row
from edge.store.span import Reading, thin
from edge.store.steps import HOLD_NS, IN_ORDER, Aggregate
from edge.store.tail import Tail

Sample = tuple[int, str, Value, str]
"""Time in ns, id of the point, value, quality."""
Wanted = Mapping[str, frozenset[str]] | None
"""Names of points by equipment; None: all."""
LAST_NS = 2**63 - 1

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
        from_ns, to_ns = max(from_ns, -LAST_NS), min(to_ns, LAST_NS)
        step, most, until = (None if every_ns is None else max(every_ns, 1)), max(limit, 1), self._tail.committed
        ahead = self.hold_ns if step is not None and aggregate in IN_ORDER else 0
        since_ns = max(from_ns - ahead, -LAST_NS)
        fresh = [
            _reading(row, point)
            for row in self._tail.uncommitted()
            if row.equipment == equipment and since_ns <= row.time_ns < to_ns and point in row.points
        ]

        def told(readings: Iterable[Reading]) -> list[Reading]:
            return thin(readings, step, most, aggregate, from_ns, to_ns, self.hold_ns)

        def search(file: ReadingsFile) -> list[Reading]:
            return told(chain(file.readings(equipment, point, since_ns, to_ns, until), fresh))

        return await self._read(search, told(fresh))

    async def samples(
        self, points: Sequence[str] | None, from_ns: int, to_ns: int, page: int
    ) -> AsyncIterator[list[Sample]]:
        """See `ReadingsStore.history`."""
        wanted = None if points is None else _by_equipment(points)
        begin, end = max(from_ns, -LAST_NS), min(to_ns, LAST_NS)
        waiting: list[Sample] = []
        while begin < end:
            begin, found = await self._window(wanted, begin, end)
            waiting += found
            while len(waiting) >= page:
                yield waiting[:page]
                del waiting[:page]
        if waiting:
            yield waiting

    async def _window(self, wanted: Wanted, begin: int, end: int) -> tuple[int, list[Sample]]:
        """What lies in the next stretch of the span, merged, and where the stretch ends."""
        until, newest = self._tail.committed, self._tail.uncommitted()
        times = [row.time_ns for row in newest if begin <= row.time_ns < end]

        def search(file: ReadingsFile) -> tuple[int, list[Sample]]:
            first, upto = _stretch(file, begin, end)
            if times and min(times) < first:
                upto = first
                first = min(times)
            rows = chain(file.rows_between(first, upto, until), newest) if first < upto else iter(())
            return upto, _merged(rows, wanted, first, upto)

        return await self._read(search, (end, _merged(newest, wanted, begin, end)))


def _stretch(file: ReadingsFile, begin: int, end: int) -> tuple[int, int]:
    """The next stretch of time with committed rows, in which few spans lie; (end, end) if there is none."""
    low, high = file.next_span(begin)
    if low is None or high is None or low >= end:
        return end, end
    return max(low, begin), min(high + 1, end)


def _merged(rows: Iterable[Row], wanted: Wanted, from_ns: int, to_ns: int) -> list[Sample]:
    """The wanted readings of rows, in order of time; of the same time in order of arrival."""
    chosen = (row for row in rows if from_ns <= row.time_ns < to_ns and (wanted is None or row.equipment in wanted))
    return sorted(chain.from_iterable(_samples(row, wanted) for row in chosen), key=itemgetter(0))


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
