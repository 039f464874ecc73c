"""`readings.db`: the file under the log of readings. Everything here runs in one thread and blocks.

A row is a batch: its points are named once, in a layout; the values are packed. Rows are only ever appended, so
that SQLite writes at the end of the file: an index by point or by time would cost more than the rows. Instead
each thousand rows leave the span of time that they cover, which is what a query over time looks into.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from drivers.point import Value
from edge.store.database import connect, transaction
from edge.store.packing import (
    GOOD,
    absent,
    pack_qualities,
    pack_values,
    settle,
    spread,
    unpack_qualities,
    unpack_values,
)
from edge.store.span import Reading

LAYOUTS = 64
"""Sets of points named for one equipment; rarer sets are written into the widest of them, with gaps."""
SPAN_ROWS = 1000
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
CREATE TABLE restamps (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, shift_ns INTEGER NOT NULL);
""",
]
"""SQL from each schema to the next; a released one is never changed."""


class Row(NamedTuple):
    """One batch as it is kept and sent."""

    seq: int
    """Its place in the log; grows, with gaps."""
    time_ns: int
    """Our wall clock at receipt, Unix time in ns."""
    equipment: str
    points: tuple[str, ...]
    """Names of the points, without the equipment."""
    values: tuple[Value, ...]
    qualities: tuple[str, ...] | None
    """Value by value; None where all are good."""
    source_time_ns: int | None
    """The device's own stamp, where it sent one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a file says when it is opened."""

    first_seq: int
    """Of the oldest row; `last_seq + 1` where there is none."""
    last_seq: int
    reserved: int
    """Numbers up to this may have been given away."""
    cursors: dict[str, int]


class ReadingsFile:
    """The open file, for one thread."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError (newer schema) or sqlite3.DatabaseError."""
        self._db = connect(path, MIGRATIONS, full_sync=False)
        self._layouts: dict[int, tuple[str, tuple[str, ...]]] = {}
        self._ids: dict[str, dict[tuple[str, ...], int]] = {}
        try:
            self._learn_layouts()
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

    def standing(self) -> Standing:
        """Where the log stands."""
        first, last = self._db.execute("SELECT min(seq), max(seq) FROM batches").fetchone()
        reserved = self._db.execute("SELECT max(seq) FROM reserve").fetchone()[0] or 0
        cursors = dict(self._db.execute("SELECT name, seq FROM cursors").fetchall())
        newest = max(last or 0, *cursors.values(), 0)
        return Standing(first or newest + 1, newest, max(reserved, newest), cursors)

    def reserve(self, seq: int) -> None:
        """Promise, through a power cut, that numbers up to `seq` are not given out again after a restart."""
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            with transaction(self._db) as db:
                db.execute("INSERT OR REPLACE INTO reserve (id, seq) VALUES (1, ?)", (seq,))
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")

    def commit(self, rows: Sequence[Row], cursors: Mapping[str, int | None]) -> None:
        """Append rows and move cursors (None: forget) in one transaction: all of it or nothing."""
        fresh: list[int] = []
        try:
            with transaction(self._db) as db:
                db.executemany(
                    "INSERT INTO batches (seq, time_ns, layout, body, qualities, source_ns) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    map(partial(self._packed, fresh), rows),
                )
                db.executemany(
                    "INSERT INTO layouts (id, equipment, points) VALUES (?, ?, ?)", map(self._named, fresh)
                )
                if rows:
                    self._note_span(rows)
                for name, seq in cursors.items():
                    if seq is None:
                        db.execute("DELETE FROM cursors WHERE name = ?", (name,))
                    else:
                        db.execute("INSERT OR REPLACE INTO cursors (name, seq) VALUES (?, ?)", (name, seq))
        except BaseException:
            for number in fresh:
                equipment, points = self._layouts.pop(number)
                del self._ids[equipment][points]
            raise

    def read_after(self, seq: int, before: int | None, limit: int) -> list[Row]:
        """Rows with numbers above `seq` (and below `before`), in order."""
        found = self._db.execute(
            "SELECT seq, time_ns, layout, body, qualities, source_ns FROM batches "
            "WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?",
            (seq, 2**63 - 1 if before is None else before, limit),
        ).fetchall()
        return [self._unpacked(*row) for row in found]

    def forget(self, seq: int) -> None:
        """Rows with numbers up to `seq` are gone: they are kept elsewhere, or nowhere."""
        self._db.execute("DELETE FROM batches WHERE seq <= ?", (seq,))
        self._db.execute("DELETE FROM spans WHERE last_seq <= ?", (seq,))

    def restamp(self, first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> bool:
        """Add `shift_ns` to the stamps of the rows numbered so; with `known` they are no longer uncertain.

        Done once for each `first_seq`: asked for again, after a crash, it does nothing and says so.
        """
        with transaction(self._db) as db:
            if db.execute("SELECT 1 FROM restamps WHERE first_seq = ?", (first_seq,)).fetchone():
                return False
            db.execute("INSERT INTO restamps VALUES (?, ?, ?)", (first_seq, last_seq, shift_ns))
            between = (first_seq, last_seq)
            db.execute("UPDATE batches SET time_ns = time_ns + ? WHERE seq BETWEEN ? AND ?", (shift_ns, *between))
            db.execute(
                "UPDATE spans SET first_ns = min(first_ns, first_ns + ?1), last_ns = max(last_ns, last_ns + ?1) "
                "WHERE last_seq >= ?2 AND first_seq <= ?3",
                (shift_ns, *between),
            )
            if known:
                marked = db.execute(
                    "SELECT seq, body, qualities FROM batches WHERE seq BETWEEN ? AND ? AND qualities NOT NULL",
                    between,
                ).fetchall()
                settled = [
                    (pack_qualities(settle(unpack_qualities(packed, len(unpack_values(body))))), seq)
                    for seq, body, packed in marked
                ]
                db.executemany("UPDATE batches SET qualities = ? WHERE seq = ?", settled)
        return True

    def readings(self, equipment: str, point: str, from_ns: int, to_ns: int, until_seq: int) -> Iterator[Reading]:
        """One point's readings with from_ns <= time < to_ns and numbers up to `until_seq`, as they were written."""
        self._learn_layouts()
        places = {
            number: points.index(point) for points, number in self._ids.get(equipment, {}).items() if point in points
        }
        marks = ",".join("?" * len(places))
        found = self._db.execute(
            "SELECT b.time_ns, b.layout, b.body, b.qualities FROM spans s CROSS JOIN batches b "  # noqa: S608  # only marks
            "ON b.seq BETWEEN s.first_seq AND s.last_seq WHERE s.last_ns >= ? AND s.first_ns < ? "
            f"AND b.time_ns >= ? AND b.time_ns < ? AND b.seq <= ? AND b.layout IN ({marks}) "
            "ORDER BY s.first_seq, b.seq",
            (from_ns, to_ns, from_ns, to_ns, until_seq, *places),
        )
        for time_ns, layout, body, packed in found:
            values, place = unpack_values(body), places[layout]
            if not absent(values[place]):
                qualities = unpack_qualities(packed, len(values))
                yield time_ns, values[place], qualities[place] if qualities else GOOD

    def rows_between(self, from_ns: int, to_ns: int, until_seq: int) -> Iterator[Row]:
        """Rows with from_ns <= time < to_ns and numbers up to `until_seq`, in order of their numbers."""
        found = self._db.execute(
            "SELECT b.seq, b.time_ns, b.layout, b.body, b.qualities, b.source_ns FROM spans s CROSS JOIN batches b "
            "ON b.seq BETWEEN s.first_seq AND s.last_seq WHERE s.last_ns >= ? AND s.first_ns < ? "
            "AND b.time_ns >= ? AND b.time_ns < ? AND b.seq <= ? ORDER BY s.first_seq, b.seq",
            (from_ns, to_ns, from_ns, to_ns, until_seq),
        )
        return (self._unpacked(*row) for row in found)

    def next_span(self, from_ns: int) -> tuple[int | None, int | None]:
        """Where the next span with rows at `from_ns` or later begins, and the nearest end of those there."""
        span = self._db.execute("SELECT min(first_ns) FROM spans WHERE last_ns >= ?", (from_ns,)).fetchone()
        if span[0] is None:
            return None, None
        begin = max(span[0], from_ns)
        end = self._db.execute(
            "SELECT min(last_ns) FROM spans WHERE last_ns >= ? AND first_ns <= ?", (begin, begin)
        ).fetchone()
        return begin, end[0]

    def _learn_layouts(self) -> None:
        """Read the layouts that another connection has added."""
        query = "SELECT id, equipment, points FROM layouts WHERE id > ?"
        for number, equipment, points in self._db.execute(query, (max(self._layouts, default=0),)).fetchall():
            self._keep_layout(number, equipment, tuple(orjson.loads(points)))

    def _keep_layout(self, number: int, equipment: str, points: tuple[str, ...]) -> None:
        self._layouts[number] = (equipment, points)
        self._ids.setdefault(equipment, {})[points] = number

    def _named(self, number: int) -> tuple[int, str, bytes]:
        equipment, points = self._layouts[number]
        return number, equipment, orjson.dumps(points)

    def _packed(self, fresh: list[int], row: Row) -> tuple[Any, ...]:
        known = self._ids.get(row.equipment, {})
        points, values, qualities = row.points, row.values, row.qualities
        if points not in known and len(known) >= LAYOUTS:
            points = tuple(sorted(set(points).union(*known)))
            values = tuple(spread(row.points, row.values, points))
            if qualities is not None:
                marks = dict(zip(row.points, qualities, strict=True))
                qualities = tuple(marks.get(point, GOOD) for point in points)
        number = known.get(points)
        if number is None:
            number = max(self._layouts, default=0) + 1
            self._keep_layout(number, row.equipment, points)
            fresh.append(number)
        return row.seq, row.time_ns, number, pack_values(values), pack_qualities(qualities), row.source_time_ns

    def _unpacked(
        self, seq: int, time_ns: int, layout: int, body: bytes, packed: bytes | None, source_ns: int | None
    ) -> Row:
        if layout not in self._layouts:
            self._learn_layouts()
        equipment, points = self._layouts[layout]
        values = tuple(unpack_values(body))
        qualities = unpack_qualities(packed, len(values))
        if any(map(absent, values)):
            kept = [place for place, value in enumerate(values) if not absent(value)]
            points, values = tuple(points[place] for place in kept), tuple(values[place] for place in kept)
            qualities = qualities and tuple(qualities[place] for place in kept)
        return Row(seq, time_ns, equipment, points, values, qualities, source_ns)

    def _note_span(self, rows: Sequence[Row]) -> None:
        """Widen the newest span by the rows, or begin the next one where it is full."""
        times = [row.time_ns for row in rows]
        first, last, low, high = rows[0].seq, rows[-1].seq, min(times), max(times)
        newest = self._db.execute("SELECT * FROM spans ORDER BY first_seq DESC LIMIT 1").fetchone()
        if newest and last - newest[0] < SPAN_ROWS:
            first, low, high = newest[0], min(low, newest[2]), max(high, newest[3])
        self._db.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?)", (first, last, low, high))
