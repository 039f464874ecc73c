"""Turns closed stretches of the log into packed periods, a few milliseconds at a time.

What comes in: the open file, and up to where its rows may be packed. What goes out: a generator, each of whose
steps is short and leaves no transaction open, so that commits come between. A crash at any step costs the work of
one period: either all of it counts, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.store.chunks import FRAME, Packed, PackedRow, pack
from edge.store.database import transaction
from edge.store.groups import Row
from edge.store.packed import FRAME_POINT, PackedHistory, Period
from edge.store.packing import GOOD
from edge.store.readings_file import ReadingsFile
from edge.store.retention import MINUTES

AT_ONCE = 100_000
"""Readings that are unpacked in memory at a time; an equipment with more in one period is taken alone."""
WRITTEN = 500
"""Chunks that are written in one step, at most."""
WRITTEN_BYTES = 65_536
"""And their bytes."""
AHEAD_NS = 600 * 10**9
"""A stamp may be ahead of the clock by so much: clocks are corrected."""
DELETED = 100
"""Groups of the log that are deleted in one step."""


@dataclass(frozen=True, slots=True)
class Closing:
    """When a stretch of the log is packed."""

    after_ns: int
    """Rows older than this may be packed."""
    most_rows: int = 450_000
    """So many rows are packed at once: of a busy site an hour or less."""
    longest_ns: int = 6 * 3600 * 10**9
    """Fewer rows wait for one another so long: a period of few readings takes more room for each."""
    at_once: bool = False
    """They do not wait: room is needed."""


def closed(file: ReadingsFile, closing: Closing, now_ns: int, limit_seq: int) -> int | None:
    """Up to which row the next period may go; None where it is too early. No row above `limit_seq`."""
    mark = PackedHistory(file.db).mark()
    spans = file.db.execute(
        "SELECT first_seq, last_seq, first_ns, last_ns FROM spans WHERE last_ns <= ? AND last_seq > ? "
        "AND last_seq <= ? ORDER BY first_seq",
        (now_ns - closing.after_ns, mark, limit_seq),
    ).fetchall()
    if not spans:
        return None
    first, oldest_ns = spans[0][0], 2**63
    for _, last, first_ns, last_ns in spans:
        oldest_ns = min(oldest_ns, first_ns)
        if last - first >= closing.most_rows or last_ns - oldest_ns >= closing.longest_ns:
            return int(last)
    old = now_ns - oldest_ns >= closing.after_ns + closing.longest_ns
    return int(spans[-1][1]) if old or closing.at_once else None


def pack_upto(file: ReadingsFile, upto: int, now_ns: int = 2**62) -> Iterator[None]:
    """Pack the rows up to a number, with which a group ends, into one period; then delete them.

    What is stamped later than `now_ns` was recorded while the box's clock was ahead. It becomes a period of its own,
    else all that was recorded beside it would be kept, and looked through, until that time. So does what belongs to
    days that are summaries already: see `retention.retire_late`.
    """
    packed = PackedHistory(file.db)
    after = packed.mark()
    ends = file.groups.ends(after, upto)
    weights: dict[str, int] = {}
    for end in ends:
        for equipment, readings in file.groups.weights(end).items():
            weights[equipment] = weights.get(equipment, 0) + readings
        yield
    if not weights:
        return
    made: dict[str, _Period] = {}
    borders = min(packed.mark(MINUTES.mark), now_ns), now_ns + AHEAD_NS
    for group in _groups(_by_number(weights, packed)):
        rows: dict[str, list[PackedRow]] = {equipment: [] for equipment in group}
        numbers: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}
        for end in ends:
            for row in file.groups.rows_of(end, rows.keys()):
                rows[row.equipment].append(_numbered(row, packed, numbers))
            yield
        for equipment in group:
            for kind, found in _apart(rows.pop(equipment), *borders):
                if kind not in made:
                    made[kind] = _Period(packed)
                yield from made[kind].add(equipment, found)
    packed.publish([each.made(after, upto) for each in made.values()])
    yield from delete_packed(file)


def _apart(rows: list[PackedRow], floor_ns: int, latest_ns: int) -> Iterator[tuple[str, list[PackedRow]]]:
    """Rows by the kind of period that they belong into; nearly always all of them into one."""
    times = [row.time_ns for row in rows]
    if not rows or (min(times) >= floor_ns and max(times) <= latest_ns):
        yield "usual", rows
        return
    for kind, low_ns, high_ns in (
        ("usual", floor_ns, latest_ns), ("late", -(2**63), floor_ns - 1), ("ahead", latest_ns + 1, 2**63),
    ):  # fmt: skip
        if found := [row for row in rows if low_ns <= row.time_ns <= high_ns]:
            yield kind, found


class _Period:
    """A period in the making."""

    def __init__(self, packed: PackedHistory) -> None:
        self._packed = packed
        self._number = packed.begin()
        self._readings = self._size = 0
        self._waiting: list[Packed] = []  # of several equipment: each write touches some pages besides its own
        self._waiting_bytes = 0
        self._first_ns, self._last_ns = 2**63 - 1, -(2**63)

    def add(self, equipment: str, rows: list[PackedRow]) -> Iterator[None]:
        """Pack and write all rows of one equipment."""
        if not rows:  # its group could not be unpacked any more
            return
        self._first_ns = min(self._first_ns, *(row.time_ns for row in rows))
        self._last_ns = max(self._last_ns, *(row.time_ns for row in rows))
        self._readings += sum(len(row.values) for row in rows)
        frame = self._packed.series(equipment, FRAME_POINT) or 0
        for each in pack(rows):
            yield
            if each is None:
                continue
            self._waiting.append(each._replace(series=frame) if each.series == FRAME else each)
            self._waiting_bytes += len(each.body)
            if len(self._waiting) >= WRITTEN or self._waiting_bytes >= WRITTEN_BYTES:
                self._put()
                yield

    def _put(self) -> None:
        self._size += self._packed.put(self._number, self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def made(self, after: int, upto: int) -> Period:
        """All of it is written: as it is to be published."""
        self._put()
        return Period(self._number, after + 1, upto, self._first_ns, self._last_ns, self._readings, self._size)


def _numbered(
    row: Row, packed: PackedHistory, numbers: dict[tuple[str, tuple[str, ...]], tuple[int, ...]]
) -> PackedRow:
    """The row with numbers for its points; of a point that stands twice in it the last value counts."""
    points, values, marks = row.points, row.values, row.qualities
    if len(set(points)) < len(points):
        kept = dict(zip(points, zip(values, marks or (GOOD,) * len(values), strict=True), strict=True))
        points, values = tuple(kept), tuple(value for value, _ in kept.values())
        marks = tuple(mark for _, mark in kept.values())
    series = numbers.get((row.equipment, points))
    if series is None:
        with transaction(packed.db):
            packed.number(row.equipment, FRAME_POINT)
            series = tuple(packed.number(row.equipment, point) for point in points)
        numbers[row.equipment, points] = series
    return PackedRow(row.time_ns, series, values, marks, row.source_time_ns)


def delete_packed(file: ReadingsFile) -> Iterator[None]:
    """Delete the rows that are packed, and what a period left that was never finished."""
    packed = PackedHistory(file.db)
    while packed.sweep():
        yield
    ends = file.groups.ends(0, packed.mark())
    for place in range(0, len(ends), DELETED):
        with transaction(file.db):
            file.forget(ends[place : place + DELETED][-1])
        yield


def _by_number(weights: Mapping[str, int], packed: PackedHistory) -> dict[str, int]:
    """In the order of the numbers of their points: what is written at the end of a table is written once."""
    known = [(packed.series(equipment, FRAME_POINT) or 2**62, equipment) for equipment in weights]
    return {equipment: weights[equipment] for _, equipment in sorted(known)}


def _groups(weights: Mapping[str, int]) -> Iterator[list[str]]:
    """Equipment in groups of about `AT_ONCE` readings."""
    group: list[str] = []
    weight = 0
    for equipment, readings in weights.items():
        if group and weight + readings > AT_ONCE:
            yield group
            group, weight = [], 0
        group.append(equipment)
        weight += readings
    if group:
        yield group
