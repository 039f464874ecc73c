"""What goes when the disk budget is used up, oldest first: what everybody has, then what is least important.

First packed history (its summaries are written before it goes), then 5-minute summaries, then hours. Only then rows
that some uplink still lacks, class by class: lighting first, lifts and fire last. Everything that goes is counted in
the same transaction. Generators of short steps, as in `packer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge.store.database import transaction
from edge.store.packed import PackedHistory
from edge.store.readings_file import ReadingsFile
from edge.store.retention import HOURS, MINUTES, coarsen_day, first_of, forget_hours, oldest_day, retire_day
from edge.store.tail import KEPT_ROWS

RANKS = ("light", "bin", "environment", "meter", "perimeter", "power", "pump", "elevator", "fire")
"""Classes of equipment by what their old readings are worth to whoever waits for them, the least first."""
TOGETHER = 2_000
"""Rows that are looked through in one step."""
NEWEST_ROWS = KEPT_ROWS
"""The newest rows stay in any case: they are in memory too, and an uplink that is back begins there."""


def used_bytes(file: ReadingsFile) -> int:
    """Bytes of the file that hold something; the rest of it is free to be used again."""
    pages, free, size = (
        file.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def shed_history(file: ReadingsFile, newest_day: int) -> Iterator[None] | None:
    """Let the oldest day of history go that nobody waits for; None where there is none left before `newest_day`."""
    packed = PackedHistory(file.db)
    day = oldest_day(packed)
    if day is not None and day < newest_day:
        return _counted_day(file, packed, day)
    day = first_of(packed, MINUTES)
    if day is not None:
        return coarsen_day(file, day)
    day = first_of(packed, HOURS)
    return None if day is None else forget_hours(file, day)


def _counted_day(file: ReadingsFile, packed: PackedHistory, day: int) -> Iterator[None]:
    before = packed.bytes_and_readings()[1]
    yield from retire_day(file, day)
    with transaction(file.db):
        count(packed, "packed", before - packed.bytes_and_readings()[1])


def shed_last(file: ReadingsFile) -> int:
    """Let the oldest packed period go without summaries: a day alone is over the budget. Returns its readings."""
    packed = PackedHistory(file.db)
    periods = packed.periods()
    if not periods:
        return 0
    with transaction(file.db):
        packed.drop([periods[0].number])
        count(packed, "packed", periods[0].readings)
    while packed.sweep():
        pass
    return periods[0].readings


def shed_unsent(file: ReadingsFile, ranks: Mapping[str, int]) -> Iterator[int]:
    """Let unsent rows go, the least important class first, of each the oldest; yields how many readings went.

    `ranks`: equipment -> place in `RANKS`. Rows keep their numbers, so that no uplink's place changes.
    """
    packed = PackedHistory(file.db)
    last = file.db.execute("SELECT max(last_seq) FROM groups").fetchone()[0] or 0
    for rank, name in enumerate(RANKS):
        going = frozenset(equipment for equipment, its in ranks.items() if its == rank)
        while going and (ends := _some(file, packed.mark(f"shed_{name}_upto"), last - NEWEST_ROWS)):

            def note(gone: int, name: str = name, upto: int = ends[-1]) -> None:
                packed.set_mark(f"shed_{name}_upto", upto)
                count(packed, name, gone)

            yield file.shed(ends, going, note)


def _some(file: ReadingsFile, after: int, newest: int) -> list[int]:
    """Ends of the next groups, of about `TOGETHER` rows, all of one span."""
    span = file.db.execute("SELECT min(last_seq) FROM spans WHERE last_seq > ?", (after,)).fetchone()[0] or 0
    query = "SELECT last_seq, first_seq FROM groups WHERE last_seq > ? AND last_seq <= ? ORDER BY last_seq LIMIT 200"
    found: list[int] = []
    rows = 0
    for last, first in file.db.execute(query, (after, min(newest, span))):
        rows += last - first + 1
        if found and rows > TOGETHER:
            break
        found.append(last)
    if not found and span and span <= newest:  # everything in this span has gone already
        return _some(file, span, newest)
    return found


def count(packed: PackedHistory, what: str, readings: int) -> None:
    """Add to the number of readings that went. Within a transaction."""
    if readings:
        packed.set_mark(f"shed_{what}", packed.mark(f"shed_{what}") + readings)


def counts(packed: PackedHistory) -> dict[str, int]:
    """Readings that the budget has cost so far, by class; `packed` are those that everybody had."""
    found = {name: packed.mark(f"shed_{name}") for name in ("packed", *RANKS)}
    return {name: number for name, number in found.items() if number}
