"""How long history is kept: readings, then 5-minute summaries, then hours, each for its time.

Days (of UTC) are taken away as a whole, the oldest first: their summaries are written, and in one transaction a
mark moves behind which queries read the summaries instead. Generators of short steps, as in `packer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from edge.store.database import transaction
from edge.store.digests import DAY_NS, HOURS_NS, MINUTES_NS, Digest, Slot, coarser, slots, write_digest
from edge.store.packed import FRAME_POINT, SERIES_BITS, PackedHistory
from edge.store.readings_file import ReadingsFile
from edge.store.sound import ROTTEN

WRITTEN = 50
"""Digests that are written in one step."""
DELETED = 500
_LATE_PERIOD, _LATE_SERIES = "late_period", "late_series"
"""Marks: which late period is being added to summaries, and up to which point that is done."""
LONGEST_DAYS = 31
"""A period does not reach back so far, unless by rows with a wrong time, which leave no summaries."""


@dataclass(frozen=True, slots=True)
class Level:
    """One kind of summaries."""

    table: str
    length_ns: int
    mark: str
    """Before this time the summaries of this level stand for what is finer."""


MINUTES = Level("minutes", MINUTES_NS, "minutes_until_ns")
HOURS = Level("hours", HOURS_NS, "hours_until_ns")


def digests(packed: PackedHistory, equipment: str, point: str, from_ns: int, to_ns: int) -> list[Digest]:
    """What is kept of a point's older days, hours before minutes; nothing behind the marks."""
    number = packed.series(equipment, point)
    found: list[Digest] = []
    if number is None:
        return found
    until_ns = packed.mark(HOURS.mark)
    for level, low_ns, high_ns in (
        (HOURS, from_ns, until_ns),
        (MINUTES, max(from_ns, until_ns), packed.mark(MINUTES.mark)),
    ):
        for day in _days(packed, level, low_ns, min(high_ns, to_ns)):
            found += _digest(packed, level, day, number)
    return found


def _days(packed: PackedHistory, level: Level, from_ns: int, to_ns: int) -> list[int]:
    """Days of a span that a level has."""
    query = f"SELECT min(id), max(id) FROM {level.table}"  # noqa: S608  # our own words
    low, high = packed.db.execute(query).fetchone()
    if low is None or from_ns >= to_ns:
        return []
    first = max(low >> SERIES_BITS, from_ns // DAY_NS)
    last = min(high >> SERIES_BITS, (to_ns - 1) // DAY_NS)
    return list(range(first, last + 1))


def _digest(packed: PackedHistory, level: Level, day: int, number: int) -> list[Digest]:
    """What a level has of a point's day; none where it has nothing, or nothing that can be read any more."""
    body = _body(packed, level, day, number)
    try:
        return [] if body is None else [Digest(day, body, level.length_ns)]
    except ROTTEN as error:
        packed.rot(f"a day of {level.table}", error)
        return []


def _body(packed: PackedHistory, level: Level, day: int, number: int) -> bytes | None:
    query = f"SELECT body FROM {level.table} WHERE id = ?"  # noqa: S608  # our own words
    row = packed.db.execute(query, (day << SERIES_BITS | number,)).fetchone()
    return row[0] if row else None


def oldest_day(packed: PackedHistory) -> int | None:
    """The oldest day with which a period ends; None where nothing is packed."""
    last = packed.db.execute("SELECT min(last_ns) FROM periods").fetchone()[0]
    return None if last is None else max(int(last) // DAY_NS, packed.mark(MINUTES.mark) // DAY_NS)


def retire_day(file: ReadingsFile, day: int) -> Iterator[None]:
    """Write the 5-minute summaries of a day, and of those before it that have none yet; then drop the readings."""
    packed = PackedHistory(file.db, file.rot)
    end_ns = (day + 1) * DAY_NS
    for each in range(max(packed.mark(MINUTES.mark) // DAY_NS, day - LONGEST_DAYS), day + 1):
        if packed.periods(each * DAY_NS, (each + 1) * DAY_NS):
            yield from _write_days(packed, MINUTES, each, _of_readings(packed, each))
    with transaction(file.db) as db:
        packed.set_mark(MINUTES.mark, max(end_ns, packed.mark(MINUTES.mark)))
        packed.drop([number for (number,) in db.execute("SELECT id FROM periods WHERE last_ns < ?", (end_ns,))])
    while packed.sweep():
        yield


def retire_late(file: ReadingsFile) -> Iterator[None] | None:
    """Add a period that lies wholly in days of summaries to these; None where there is none.

    It was packed after its days had been retired: old history was imported. It is done point by point, and noted how
    far: after a crash nothing is added twice.
    """
    packed = PackedHistory(file.db, file.rot)
    query = "SELECT id, first_ns, last_ns FROM periods WHERE last_ns < ? ORDER BY id LIMIT 1"
    found = file.db.execute(query, (packed.mark(MINUTES.mark),)).fetchone()
    return None if found is None else _retire_late(packed, *found)


def _retire_late(packed: PackedHistory, period: int, first_ns: int, last_ns: int) -> Iterator[None]:
    done = packed.mark(_LATE_SERIES) if packed.mark(_LATE_PERIOD) == period else 0
    known = packed.db.execute(
        "SELECT s.id, s.equipment, s.point FROM chunks c JOIN series s ON s.id = (c.id & ?1) "
        "WHERE c.id > ?2 AND c.id < ?3 AND s.point <> ?4 ORDER BY s.id",
        ((1 << SERIES_BITS) - 1, period << SERIES_BITS | done, (period + 1) << SERIES_BITS, FRAME_POINT),
    ).fetchall()
    for number, equipment, point in known:
        readings = [
            reading
            for run in packed.chunks(equipment, point, first_ns, last_ns + 1, period=period)
            for reading in run.within(first_ns, last_ns + 1)
        ]
        yield
        fine = slots(sorted(readings, key=lambda reading: reading[0]), MINUTES_NS)
        rows: list[tuple[Level, int, bytes]] = []
        for day, some in groupby(fine, lambda slot: slot.start_ns // DAY_NS):
            rows.append(_added(packed, day, number, list(some)))
            yield
        with transaction(packed.db) as db:
            for level, key, body in rows:
                db.execute(f"INSERT OR REPLACE INTO {level.table} VALUES (?, ?)", (key, body))  # noqa: S608  # ours
            packed.set_mark(_LATE_PERIOD, period)
            packed.set_mark(_LATE_SERIES, number)
        yield
    with transaction(packed.db):
        packed.drop([period])
    while packed.sweep():
        yield


def _added(packed: PackedHistory, day: int, number: int, fine: list[Slot]) -> tuple[Level, int, bytes]:
    """A point's day at the level that it has come to, with more slots of 5 minutes in it: how it is to be kept."""
    level = HOURS if day * DAY_NS < packed.mark(HOURS.mark) else MINUTES
    kept = [slot for digest in _digest(packed, level, day, number) for slot in digest.slots]
    both = sorted([*kept, *fine], key=lambda slot: slot.start_ns)
    return level, day << SERIES_BITS | number, write_digest(day, coarser(both, level.length_ns), level.length_ns)


def mend_marks(file: ReadingsFile, now_ns: int) -> None:
    """Marks that a clock has set which was far ahead would hide all that is recorded until then: they go back.

    Behind the newest summaries up to now: those of days that have not come yet are not shown any more.
    """
    packed, today = PackedHistory(file.db), now_ns // DAY_NS
    if packed.mark(MINUTES.mark) <= (today + LONGEST_DAYS) * DAY_NS:
        return
    with transaction(file.db):
        reached_ns = 0
        for level in (HOURS, MINUTES):
            reached_ns = max(reached_ns, _behind(packed, level, today))
            packed.set_mark(level.mark, reached_ns)


def _behind(packed: PackedHistory, level: Level, today: int) -> int:
    """The end of the newest day up to today that has summaries of a level; 0 where there is none."""
    query = f"SELECT max(id) FROM {level.table} WHERE id < ?"  # noqa: S608  # our own words
    newest = packed.db.execute(query, ((today + 1) << SERIES_BITS,)).fetchone()[0]
    return 0 if newest is None else ((newest >> SERIES_BITS) + 1) * DAY_NS


def coarsen_day(file: ReadingsFile, day: int) -> Iterator[None]:
    """Turn the 5-minute summaries of a day into hours, and drop them."""
    packed = PackedHistory(file.db, file.rot)
    yield from _write_days(packed, HOURS, day, _of_minutes(packed, day))
    with transaction(file.db):
        packed.set_mark(HOURS.mark, max((day + 1) * DAY_NS, packed.mark(HOURS.mark)))
    yield from _delete(packed, MINUTES, day)


def forget_hours(file: ReadingsFile, day: int) -> Iterator[None]:
    """Drop the hours of a day and of all before it."""
    yield from _delete(PackedHistory(file.db), HOURS, day)


def first_of(packed: PackedHistory, level: Level) -> int | None:
    """The oldest day of a level."""
    low = packed.db.execute(f"SELECT min(id) FROM {level.table}").fetchone()[0]  # noqa: S608  # our own words
    return None if low is None else int(low >> SERIES_BITS)


def _of_readings(packed: PackedHistory, day: int) -> Callable[[int, str, str], list[Slot]]:
    begin, end = day * DAY_NS, (day + 1) * DAY_NS

    def find(number: int, equipment: str, point: str) -> list[Slot]:
        runs = packed.chunks(equipment, point, begin, end)
        readings = [reading for run in runs for reading in run.within(begin, end)]
        return slots(sorted(readings, key=lambda reading: reading[0]), MINUTES_NS)

    return find


def _of_minutes(packed: PackedHistory, day: int) -> Callable[[int, str, str], list[Slot]]:
    def find(number: int, equipment: str, point: str) -> list[Slot]:
        return [slot for digest in _digest(packed, MINUTES, day, number) for slot in coarser(digest.slots, HOURS_NS)]

    return find


def _write_days(
    packed: PackedHistory, level: Level, day: int, find: Callable[[int, str, str], list[Slot]]
) -> Iterator[None]:
    rows: list[tuple[int, bytes]] = []
    known = packed.db.execute(
        "SELECT id, equipment, point FROM series WHERE point <> ? ORDER BY id", (FRAME_POINT,)
    ).fetchall()
    for number, equipment, point in known:
        found = find(number, equipment, point)
        if found:
            rows.append((day << SERIES_BITS | number, write_digest(day, found, level.length_ns)))
        yield
        if len(rows) >= WRITTEN or (rows and number == known[-1][0]):
            _put(packed, level, rows)
            rows = []
            yield
    _put(packed, level, rows)


def _put(packed: PackedHistory, level: Level, rows: list[tuple[int, bytes]]) -> None:
    with transaction(packed.db) as db:
        db.executemany(f"INSERT OR REPLACE INTO {level.table} VALUES (?, ?)", rows)  # noqa: S608  # our own words


def _delete(packed: PackedHistory, level: Level, day: int) -> Iterator[None]:
    """Summaries of a day and of all before it."""
    end = (day + 1) << SERIES_BITS
    some = f"SELECT id FROM {level.table} WHERE id < ? LIMIT ?"  # noqa: S608  # our own words
    gone = DELETED
    while gone == DELETED:
        with transaction(packed.db) as db:
            gone = db.execute(f"DELETE FROM {level.table} WHERE id IN ({some})", (end, DELETED)).rowcount  # noqa: S608
        yield
