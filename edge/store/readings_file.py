"""`readings.db`: the file under the log of readings. Everything here runs in one thread and blocks.

What is committed together is one row of `groups` (or several, where it is much), so that SQLite writes few bytes
and only at the end of the table: an index by point or by time would cost more than the rows. Instead every few
groups leave the span of time that they cover, which is what a query over time looks into. Pages are small, since
each commit writes the last page anew, and the write-ahead log is folded in rarely, since a page that is written
ten times before is then written once.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from edge.store.database import connect, connect_reading, damage, transaction
from edge.store.first_version import oldest_batches
from edge.store.gaps import TABLE as GAPS
from edge.store.gaps import Gap, gaps_between
from edge.store.groups import Columns, Group, Packer, Row, places_of
from edge.store.layouts import LayoutTable
from edge.store.packed import TABLES as PACKED
from edge.store.packed import PackedHistory
from edge.store.packing import GOOD, settle, unfold_qualities
from edge.store.span import Reading

__all__ = ["MIGRATIONS", "ReadingsFile", "Row", "Standing"]

PAGE_BYTES = 1024
WAL_PAGES = 16_384
"""The write-ahead log is folded into the file when it has so many pages: 16 MB. Room that packing has freed is then
written to again before that, and folded in once."""
CHECKED_BYTES = 2**25
"""A file up to this size is checked whole after a stop that was not orderly: a second or so on a card."""
SPAN_GROUPS = 16
"""Groups in a span of time. Those after the newest span are looked at one by one."""
ROTTEN = 1_000
"""Parts that cannot be read any more are counted up to this."""
TAKEN_OVER = 5_000
"""Rows of an older file that one transaction brings into groups."""
MIGRATIONS = [
    """
CREATE TABLE layouts (id INTEGER PRIMARY KEY, equipment TEXT NOT NULL, points TEXT NOT NULL);
CREATE TABLE batches (
  seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, layout INTEGER NOT NULL,
  body BLOB NOT NULL, qualities BLOB, source_ns INTEGER
);
CREATE TABLE spans (
  first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL
);
CREATE TABLE cursors (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE reserve (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL);
""",
    """
CREATE TABLE groups (
  last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,
  body BLOB NOT NULL
);
DELETE FROM spans;
CREATE TABLE restamps (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, shift_ns INTEGER NOT NULL);
""",
    PACKED,
    GAPS,
]
"""SQL from each schema to the next; a released one is never changed."""
_NEWER = "groups WHERE last_seq > (SELECT coalesce((SELECT last_seq FROM spans ORDER BY first_seq DESC LIMIT 1), 0))"
_COLUMNS = "SELECT first_seq, last_seq, first_ns, last_ns FROM"
_STRETCHES = f"({_COLUMNS} spans UNION ALL {_COLUMNS} {_NEWER})"

NOTHING: tuple[int, int, int, list[Row]] = (-1, -1, -1, [])

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a file says when it is opened."""

    first_seq: int
    """Of the oldest row; `last_seq + 1` where there is none."""
    last_seq: int
    reserved: int
    """Numbers up to this may have been given away."""
    cursors: dict[str, int]
    newest_ns: int
    """The newest stamp among the rows that were committed last; 0 where there is none."""


class ReadingsFile:
    """The open file, for one thread."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises StoreError (newer schema) or sqlite3.DatabaseError."""
        self.rotten: set[str] = set()
        """What could not be unpacked, and was left out; no more than `ROTTEN` of it."""
        self._path = path
        self._db = connect_reading(path, MIGRATIONS) if read_only else _connect(path)
        try:
            self._layouts = LayoutTable(self._db)
            self._packer = Packer(self._layouts)
            self._unpacked = NOTHING
        except (ValueError, TypeError) as error:
            self._db.close()
            raise damage(f"its names cannot be read: {error}") from error
        except BaseException:
            self._db.close()
            raise

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for whoever keeps tables of its own in this file. How rows lie in it is known here only."""
        return self._db

    def close(self) -> None:
        """Close; SQLite folds its write-ahead log into the file with the last connection."""
        self._db.close()

    def check(self) -> None:
        """Look for damage, as far as that is quick. Raises sqlite3.DatabaseError.

        SQLite's own check reads the whole file: it is asked only for a small one, after a kill or a power cut. What
        is not found here is found when it is read.
        """
        standing = self.standing()
        if standing.reserved == standing.last_seq or self.file_bytes() > CHECKED_BYTES:
            return
        (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damage(str(found))

    def file_bytes(self) -> int:
        """What the file holds, free pages included."""
        pages, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def take_over(self) -> int:
        """Bring the rows that an older Courtyard wrote into groups; returns how many there were. Safe to kill."""
        count = 0
        while rows := self._oldest_batches():
            with transaction(self._db) as db:
                self._insert(self._packer.pack(rows))
                self._layouts.write_fresh()
                db.execute("DELETE FROM batches WHERE seq <= ?", (rows[-1].seq,))
            self._layouts.settle(written=True)
            count += len(rows)
        return count

    def _oldest_batches(self) -> list[Row]:
        try:
            return oldest_batches(self._db, self._layouts.by_number, TAKEN_OVER)
        except (LookupError, ValueError, TypeError) as error:
            raise damage(f"its rows cannot be read: {error!r}") from error

    def standing(self) -> Standing:
        """Where the log stands."""
        first = self._db.execute("SELECT first_seq FROM groups ORDER BY last_seq LIMIT 1").fetchone()
        last, newest_ns = self._db.execute(
            "SELECT last_seq, last_ns FROM groups ORDER BY last_seq DESC LIMIT 1"
        ).fetchone() or (0, 0)
        reserved = self._db.execute("SELECT max(seq) FROM reserve").fetchone()[0] or 0
        cursors = dict(self._db.execute("SELECT name, seq FROM cursors").fetchall())
        newest = max(last, *cursors.values(), PackedHistory(self._db).mark())
        return Standing(first[0] if first else newest + 1, newest, max(reserved, newest), cursors, newest_ns)

    def reserve(self, seq: int, skipped: tuple[int, int] | None = None) -> None:
        """Promise, through a power cut, that numbers up to `seq` are not given out again after a restart.

        `skipped`: first and last of those that were promised before and stand for nothing.
        """
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            with transaction(self._db) as db:
                db.execute("INSERT OR REPLACE INTO reserve (id, seq) VALUES (1, ?)", (seq,))
                if skipped:
                    self._note_gaps(*skipped, gaps_between(*skipped, (), ()))
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")

    def gaps(self) -> list[Gap]:
        """Numbers that stand for no row."""
        return [Gap(*row) for row in self._db.execute("SELECT first_seq, last_seq, missing FROM gaps")]

    def _note_gaps(self, first_seq: int, last_seq: int, gaps: Iterable[Gap]) -> None:
        """Within a transaction; in the place of what was known of this stretch."""
        self._db.execute("DELETE FROM gaps WHERE first_seq >= ? AND last_seq <= ?", (first_seq, last_seq))
        self._db.executemany("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?)", gaps)

    def commit(self, rows: Sequence[Row], cursors: Mapping[str, int | None]) -> None:
        """Append rows and move cursors (None: forget) in one transaction: all of it or nothing."""
        written = False
        try:
            groups = self._packer.pack(rows)
            with transaction(self._db) as db:
                self._insert(groups)
                self._layouts.write_fresh()
                for name, seq in cursors.items():
                    if seq is None:
                        db.execute("DELETE FROM cursors WHERE name = ?", (name,))
                    else:
                        db.execute("INSERT OR REPLACE INTO cursors (name, seq) VALUES (?, ?)", (name, seq))
            written = True
        finally:
            self._layouts.settle(written=written)

    def read_after(self, seq: int, before: int | None, limit: int) -> list[Row]:
        """Rows with numbers above `seq` (and below `before`), in order."""
        end = 2**63 - 1 if before is None else before
        found: list[Row] = []
        while len(found) < limit:
            group = self._db.execute(
                "SELECT last_seq, first_seq FROM groups WHERE last_seq > ? ORDER BY last_seq LIMIT 1", (seq,)
            ).fetchone()
            if group is None:
                break
            if not isinstance(group[1], int):
                raise damage(f"the group that ends with number {group[0]} has lost its beginning")
            if group[1] >= end:
                break
            found += [row for row in self._group(*group) if seq < row.seq < end and row.points]
            seq = group[0]
        return found[:limit]

    def forget(self, seq: int) -> None:
        """Rows with numbers up to `seq` are gone: they are kept elsewhere, or nowhere. Within a transaction."""
        self._unpacked = NOTHING
        self._db.execute("DELETE FROM groups WHERE last_seq <= ?", (seq,))
        self._db.execute("DELETE FROM spans WHERE last_seq <= ?", (seq,))
        self._db.execute("DELETE FROM gaps WHERE last_seq <= ?", (seq,))
        for last_seq, first_seq in self._overlapping(0, seq):
            self._replace(last_seq, [row for row in self._group(last_seq, first_seq) if row.seq > seq])

    def restamp(self, first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> bool:
        """Add `shift_ns` to the stamps of the rows numbered so; with `known` they are no longer uncertain.

        Done once for each `first_seq`: asked for again, after a crash, it does nothing and says so.
        """
        with transaction(self._db) as db:
            if db.execute("SELECT 1 FROM restamps WHERE first_seq = ?", (first_seq,)).fetchone():
                return False
            db.execute("INSERT INTO restamps VALUES (?, ?, ?)", (first_seq, last_seq, shift_ns))
            self._unpacked = NOTHING
            for last, first in self._overlapping(first_seq, last_seq):
                rows = self._group(last, first)
                self._replace(last, [restamped(row, first_seq, last_seq, shift_ns, known=known) for row in rows])
            db.execute(
                "UPDATE spans SET first_ns = min(first_ns, first_ns + ?1), last_ns = max(last_ns, last_ns + ?1) "
                "WHERE last_seq >= ?2 AND first_seq <= ?3",
                (shift_ns, first_seq, last_seq),
            )
        return True

    def readings(self, equipment: str, point: str, from_ns: int, to_ns: int, until_seq: int) -> Iterator[Reading]:
        """One point's readings with from_ns <= time < to_ns and numbers up to `until_seq`, as they were written.

        What is packed is left out here and in `rows_between`, though its rows may not be deleted yet.
        """
        places = self._layouts.with_point(equipment, point)
        for first_seq, body in self._bodies(from_ns, to_ns, until_seq) if places else ():
            times, layouts, values, chosen, qualities, _ = self._columns(first_seq, body)
            for row, number in enumerate(layouts[: until_seq - first_seq + 1]):
                place = places.get(number)
                if place is None or not from_ns <= times[row] < to_ns:
                    continue
                if chosen[row]:
                    places_here = places_of(chosen[row])
                    if place not in places_here:
                        continue
                    place = places_here.index(place)
                marks = unfold_qualities(qualities.get(str(row)), len(values[row]))
                yield times[row], values[row][place], marks[place] if marks else GOOD

    def points(self) -> set[str]:
        """Ids of all points that were ever recorded."""
        self._layouts.learn()
        return {f"{equipment}.{name}" for equipment, names in self._layouts.by_number.values() for name in names}

    def rows_between(self, from_ns: int, to_ns: int, until_seq: int) -> Iterator[Row]:
        """Rows with from_ns <= time < to_ns and numbers up to `until_seq`, in order of their numbers."""
        for first_seq, body in self._bodies(from_ns, to_ns, until_seq):
            for row in self._rows(first_seq, body):
                if row.seq <= until_seq and from_ns <= row.time_ns < to_ns:
                    yield row

    def next_span(self, from_ns: int) -> tuple[int | None, int | None]:
        """Where the next span with rows at `from_ns` or later begins, and the nearest end of those there."""
        first = f"SELECT min(first_ns) FROM {_STRETCHES} WHERE last_ns >= ?"  # noqa: S608  # our own words
        span = self._db.execute(first, (from_ns,)).fetchone()
        if span[0] is None:
            return None, None
        begin = max(span[0], from_ns)
        last = f"SELECT min(last_ns) FROM {_STRETCHES} WHERE last_ns >= ? AND first_ns <= ?"  # noqa: S608  # ours
        end = self._db.execute(last, (begin, begin)).fetchone()
        return begin, end[0]

    # Packing

    def ends(self, after_seq: int, upto_seq: int) -> list[int]:
        """The newest number of each group in between."""
        query = "SELECT last_seq FROM groups WHERE last_seq > ? AND last_seq <= ? ORDER BY last_seq"
        return [seq for (seq,) in self._db.execute(query, (after_seq, upto_seq))]

    def weights(self, last_seq: int) -> dict[str, int]:
        """How many readings of each equipment the group that ends so has."""
        found: dict[str, int] = {}
        for first_seq, body in self._db.execute("SELECT first_seq, body FROM groups WHERE last_seq = ?", (last_seq,)):
            columns = self._columns(first_seq, body)
            for number, values in zip(columns.layouts, columns.values, strict=True):
                if not values:  # shed
                    continue
                equipment = self._layouts.named(number)[0]
                found[equipment] = found.get(equipment, 0) + len(values)
        return found

    def rows_of(self, last_seq: int, equipment: Collection[str]) -> list[Row]:
        """Rows of some equipment in the group that ends so."""
        found: list[Row] = []
        for first_seq, body in self._db.execute("SELECT first_seq, body FROM groups WHERE last_seq = ?", (last_seq,)):
            found += self._rows(first_seq, body, equipment)
        return found

    def shed(self, ends: Sequence[int], equipment: Collection[str], note: Callable[[int], None]) -> int:
        """Take the readings of some equipment out of the groups that end so; returns how many there were.

        The groups must lie one after the other in one span; they become one. What else is kept keeps its number: an
        empty row stands where one was taken. `note` is called with the count, within the transaction.
        """
        rows: list[Row] = []
        gone, first = 0, ends[0]
        for end in ends:
            for first_seq, body in self._db.execute("SELECT first_seq, body FROM groups WHERE last_seq = ?", (end,)):
                first = min(first, first_seq)
                for row in self._rows(first_seq, body):
                    if row.equipment in equipment:
                        gone += len(row.values)
                        rows.append(Row(row.seq, rows[-1].time_ns if rows else row.time_ns, "", (), (), None, None))
                    else:
                        rows.append(row)
        kept = [place for place, row in enumerate(rows) if row.points]
        groups = self._packer.pack(rows[kept[0] : kept[-1] + 1]) if kept else []
        written = False
        try:
            with transaction(self._db) as db:
                if gone:
                    db.execute("DELETE FROM groups WHERE last_seq BETWEEN ? AND ?", (ends[0], ends[-1]))
                    found = gaps_between(first, ends[-1], groups, [rows[place].seq for place in kept])
                    self._note_gaps(first, ends[-1], found)
                    self._put(groups)
                    self._layouts.write_fresh()
                note(gone)
            written = True
        finally:
            self._unpacked = NOTHING
            self._layouts.settle(written=written)
        return gone

    # Groups

    def _put(self, groups: Sequence[Group]) -> None:
        self._db.executemany(
            "INSERT INTO groups (last_seq, first_seq, first_ns, last_ns, body) VALUES (?, ?, ?, ?, ?)", groups
        )

    def _insert(self, groups: Sequence[Group]) -> None:
        """Within a transaction: append groups, and note the span of time of those that none covers yet."""
        self._put(groups)
        (count,) = self._db.execute(f"SELECT count(*) FROM {_NEWER}").fetchone()  # noqa: S608  # our own words
        if count >= SPAN_GROUPS:
            self._db.execute(
                "INSERT INTO spans (first_seq, last_seq, first_ns, last_ns) "  # noqa: S608  # our own words
                f"SELECT min(first_seq), max(last_seq), min(first_ns), max(last_ns) FROM {_NEWER}"
            )

    def _replace(self, last_seq: int, rows: Sequence[Row]) -> None:
        for group in self._packer.pack(rows):
            self._db.execute(
                "UPDATE groups SET first_seq = ?, first_ns = ?, last_ns = ?, body = ? WHERE last_seq = ?",
                (group.first_seq, group.first_ns, group.last_ns, group.body, last_seq),
            )

    def _overlapping(self, first_seq: int, last_seq: int) -> list[tuple[int, int]]:
        """(last_seq, first_seq) of the groups with rows in between."""
        query = "SELECT last_seq, first_seq FROM groups WHERE last_seq >= ? ORDER BY last_seq"
        return list(takewhile(lambda group: group[1] <= last_seq, self._db.execute(query, (first_seq,))))

    def _bodies(self, from_ns: int, to_ns: int, until_seq: int) -> Iterator[tuple[int, bytes]]:
        """(first_seq, body) of the groups with rows in a span of time, in order of their numbers."""
        spans = self._db.execute(
            f"SELECT first_seq, last_seq FROM {_STRETCHES} "  # noqa: S608  # our own words
            "WHERE last_ns >= ? AND first_ns < ? AND first_seq <= ? ORDER BY first_seq",
            (from_ns, to_ns, until_seq),
        ).fetchall()
        packed = PackedHistory(self._db).mark()
        for first, last in spans:
            yield from self._db.execute(
                "SELECT first_seq, body FROM groups WHERE last_seq BETWEEN ? AND ? "
                "AND last_ns >= ? AND first_ns < ? AND first_seq <= ? ORDER BY last_seq",
                (max(first, packed + 1), last, from_ns, to_ns, until_seq),
            )

    def _group(self, last_seq: int, first_seq: int) -> list[Row]:
        """The rows of one group; those of the last that was asked for are remembered until the file changes."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if self._unpacked[:3] != (version, last_seq, first_seq):
            found = self._db.execute("SELECT body FROM groups WHERE last_seq = ?", (last_seq,)).fetchone()
            self._unpacked = version, last_seq, first_seq, self._rows(first_seq, found[0]) if found else []
        return self._unpacked[3]

    def _rows(self, first_seq: int, body: bytes, equipment: Collection[str] | None = None) -> list[Row]:
        try:
            return self._packer.rows(first_seq, body, equipment)
        except ValueError as error:
            self.rot(f"rows from number {first_seq} on", error)
            return []

    def _columns(self, first_seq: int, body: bytes) -> Columns:
        try:
            return self._packer.columns(body)
        except ValueError as error:
            self.rot(f"rows from number {first_seq} on", error)
            return Columns([], [], [], [], {}, {})

    def rot(self, what: str, error: Exception) -> None:
        """Some bytes have gone bad where SQLite has not noticed: the rest of the file is as good as ever."""
        if not self.rotten:
            log.error("%s: %s cannot be read any more, and is left out: %s", self._path, what, error)
        if len(self.rotten) < ROTTEN:
            self.rotten.add(what)


def _connect(path: Path) -> sqlite3.Connection:
    db = connect(path, MIGRATIONS, full_sync=False, page_bytes=PAGE_BYTES)
    db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES:d}")
    return db


def restamped(row: Row, first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> Row:
    """The row with another stamp, if it is one of those numbered so."""
    if not first_seq <= row.seq <= last_seq:
        return row
    return row._replace(time_ns=row.time_ns + shift_ns, qualities=settle(row.qualities) if known else row.qualities)
