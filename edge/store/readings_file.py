"""`readings.db`: the file under the log of readings. Everything here runs in one thread and blocks.

What comes in: rows and places of the uplinks, which are committed together; numbers that are promised ahead. What
goes out: where the log stands, and its rows (`group_table`). What is committed together is one row of `groups` (or
several, where it is much). Pages are small, since each commit writes the last page anew, and the write-ahead log is
folded in rarely, since a page that is written ten times before is then written once.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.store.database import connect, connect_reading, damage, transaction
from edge.store.first_version import oldest_batches
from edge.store.gaps import TABLE as GAPS
from edge.store.gaps import Gap, gaps_between
from edge.store.group_table import GroupTable
from edge.store.groups import Row
from edge.store.layouts import LayoutTable
from edge.store.packed import TABLES as PACKED
from edge.store.packed import PackedHistory
from edge.store.packing import settle

__all__ = ["MIGRATIONS", "ReadingsFile", "Row", "Standing"]

PAGE_BYTES = 1024
WAL_PAGES = 16_384
"""The write-ahead log is folded into the file when it has so many pages: 16 MB. Room that packing has freed is then
written to again before that, and folded in once."""
CHECKED_BYTES = 2**25
"""A file up to this size is checked whole after a stop that was not orderly: a second or so on a card."""
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
        self.path = path
        self._db = connect_reading(path, MIGRATIONS) if read_only else _connect(path)
        try:
            self._layouts = LayoutTable(self._db)
            self.groups = GroupTable(self._db, self._layouts, self.rot)
            """Its rows."""
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
                self.groups.insert(self.groups.pack(rows))
                self._layouts.write_fresh()
                db.execute("DELETE FROM batches WHERE seq <= ?", (rows[-1].seq,))
            self._layouts.settle(written=True)
            count += len(rows)
        return count

    def to_take_over(self) -> bool:
        """Whether rows that an older Courtyard wrote are not in groups yet."""
        return self._db.execute("SELECT 1 FROM batches LIMIT 1").fetchone() is not None

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

    def commit(self, rows: Sequence[Row], cursors: Mapping[str, int | None], gap: Gap | None = None) -> None:
        """Append rows and move cursors (None: forget) in one transaction: all of it or nothing.

        `gap`: the numbers right before the rows, where they stand for none.
        """
        written = False
        try:
            groups = self.groups.pack(rows)
            with transaction(self._db) as db:
                self.groups.insert(groups)
                self._layouts.write_fresh()
                if gap is not None:
                    self._note_gaps(gap.first_seq, gap.last_seq, [gap])
                for name, seq in cursors.items():
                    if seq is None:
                        db.execute("DELETE FROM cursors WHERE name = ?", (name,))
                    else:
                        db.execute("INSERT OR REPLACE INTO cursors (name, seq) VALUES (?, ?)", (name, seq))
            written = True
        finally:
            self._layouts.settle(written=written)

    def forget(self, seq: int) -> None:
        """Rows with numbers up to `seq` are gone: they are kept elsewhere, or nowhere. Within a transaction."""
        self.groups.forget(seq)
        self._db.execute("DELETE FROM gaps WHERE last_seq <= ?", (seq,))

    def restamp(self, first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> bool:
        """Add `shift_ns` to the stamps of the rows numbered so; with `known` they are no longer uncertain.

        Done once for each `first_seq`: asked for again, after a crash, it does nothing and says so.
        """
        with transaction(self._db) as db:
            if db.execute("SELECT 1 FROM restamps WHERE first_seq = ?", (first_seq,)).fetchone():
                return False
            db.execute("INSERT INTO restamps VALUES (?, ?, ?)", (first_seq, last_seq, shift_ns))
            self.groups.shift(
                first_seq, last_seq, shift_ns, lambda row: restamped(row, first_seq, last_seq, shift_ns, known=known)
            )
        return True

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
                for row in self.groups.rows(first_seq, body):
                    if row.equipment in equipment:
                        gone += len(row.values)
                        rows.append(Row(row.seq, rows[-1].time_ns if rows else row.time_ns, "", (), (), None, None))
                    else:
                        rows.append(row)
        kept = [place for place, row in enumerate(rows) if row.points]
        groups = self.groups.pack(rows[kept[0] : kept[-1] + 1]) if kept else []
        written = False
        try:
            with transaction(self._db):
                if gone:
                    self.groups.delete(ends[0], ends[-1])
                    found = gaps_between(first, ends[-1], groups, [rows[place].seq for place in kept])
                    self._note_gaps(first, ends[-1], found)
                    self.groups.put(groups)
                    self._layouts.write_fresh()
                note(gone)
            written = True
        finally:
            self._layouts.settle(written=written)
        return gone

    def rot(self, what: str, error: Exception) -> None:
        """Some bytes have gone bad where SQLite has not noticed: the rest of the file is as good as ever."""
        if not self.rotten:
            log.error("%s: %s cannot be read any more, and is left out: %s", self.path, what, error)
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
