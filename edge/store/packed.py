"""Packed history in `readings.db`: its tables, and how they are read. Runs in the thread of its connection.

A period is a stretch of the log that was packed together: consecutive rows, usually of some hours. Its chunks lie
one behind the other, since a table sorted by point would touch a page for each point each hour; the few periods are
a table of their own, and a chunk's key is made from the period's number and the point's. A period counts once it
stands in `periods`, in the same transaction that moves the mark up to which rows are packed: before that its chunks
are nobody's, and a start sweeps them away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from edge.store.chunks import FRAME, Chunk, Packed
from edge.store.database import transaction
from edge.store.frames import Frame
from edge.store.sound import Rot, Sound

TABLES = """
CREATE TABLE series (
  equipment TEXT NOT NULL, point TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (equipment, point)
) WITHOUT ROWID;
CREATE TABLE periods (
  id INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL, readings INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, summary BLOB, body BLOB NOT NULL);
CREATE TABLE sweeps (period INTEGER PRIMARY KEY);
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE minutes (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE hours (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""
SERIES_BITS = 24
"""Of a chunk's key: 16 million series."""
FRAME_POINT = ""
"""The name of no point: stands for the frame of its equipment."""
SWEPT = 500
"""Chunks that are deleted at a time."""


def _unheard(what: str, why: Exception) -> None:
    """Whoever unpacks nothing need not listen."""
    raise why


class Period(NamedTuple):
    """What was packed together."""

    number: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    readings: int
    size: int
    """Bytes of its chunks."""


class PackedHistory:
    """The packed part of the open file."""

    def __init__(self, db: sqlite3.Connection, rot: Rot = _unheard) -> None:
        """`rot` is told what cannot be unpacked any more, and is left out."""
        self.db = db
        self.rot = rot

    # What is told

    def mark(self, name: str = "packed") -> int:
        """A number that is kept; by default that up to which rows are packed: what still lies in `batches` of them is
        only not deleted yet."""
        found = self.db.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return found[0] if found else 0

    def periods(self, from_ns: int = -(2**63), to_ns: int = 2**63 - 1) -> list[Period]:
        """Those that touch a span, by their beginning."""
        found = self.db.execute(
            "SELECT * FROM periods WHERE last_ns >= ? AND first_ns < ? ORDER BY first_ns, id", (from_ns, to_ns)
        ).fetchall()
        return [Period(*row) for row in found]

    def series(self, equipment: str, point: str) -> int | None:
        """The number of a point; None where it was never packed."""
        found = self.db.execute(
            "SELECT id FROM series WHERE equipment = ? AND point = ?", (equipment, point)
        ).fetchone()
        return found[0] if found else None

    def chunks(
        self,
        equipment: str,
        point: str,
        from_ns: int,
        to_ns: int,
        floor_ns: int = -(2**63),
        period: int | None = None,
    ) -> list[Sound]:
        """One point's chunks of the periods that touch a span, by beginning; nothing before `floor_ns`.

        With `period` only those of one.
        """
        from_ns = max(from_ns, floor_ns)
        number, frame = self.series(equipment, point), self.series(equipment, FRAME_POINT)
        if number is None or frame is None:
            return []
        found = self.db.execute(
            "SELECT p.first_ns, p.id, f.body, c.summary, c.body "
            "FROM periods p CROSS JOIN chunks c ON c.id = (p.id << ?1 | ?2) "
            "JOIN chunks f ON f.id = (p.id << ?1 | ?3) WHERE p.last_ns >= ?4 AND p.first_ns < ?5 "
            "AND (?6 IS NULL OR p.id = ?6)",
            (SERIES_BITS, number, frame, from_ns, to_ns, period),
        )
        in_order = sorted(found, key=itemgetter(0, 1))  # SQLite would copy every body to put them in order
        what = f"a chunk of {equipment}.{point}"
        return [
            Sound(Chunk(number, Frame.later(shared), summary, body, floor_ns), what, self.rot)
            for *_, shared, summary, body in in_order
        ]

    def bytes_and_readings(self) -> tuple[int, int]:
        """What all periods together take and hold."""
        found = self.db.execute("SELECT total(bytes), total(readings) FROM periods").fetchone()
        return int(found[0]), int(found[1])

    # What is changed

    def number(self, equipment: str, point: str) -> int:
        """The number of a point, a new one where it has none. Within a transaction."""
        known = self.series(equipment, point)
        if known is not None:
            return known
        given = self.mark("series") + 1
        self.db.execute("INSERT INTO series (equipment, point, id) VALUES (?, ?, ?)", (equipment, point, given))
        self.set_mark("series", given)
        return given

    def set_mark(self, name: str, value: int) -> None:
        """Keep a number. Within a transaction."""
        self.db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    def begin(self) -> int:
        """The number of a new period, which is swept away again unless it is published."""
        with transaction(self.db):
            known = "SELECT id FROM periods UNION SELECT period FROM sweeps"
            newest = self.db.execute(f"SELECT max(id) FROM ({known})").fetchone()[0] or 0  # noqa: S608  # our own words
            self.db.execute("INSERT INTO sweeps VALUES (?)", (newest + 1,))
        return int(newest + 1)

    def put(self, period: int, chunks: Iterable[Packed]) -> int:
        """Write chunks of a period that is not published; returns their bytes."""
        rows = [(period << SERIES_BITS | each.series, each.summary, each.body) for each in chunks]
        with transaction(self.db):
            self.db.executemany("INSERT INTO chunks VALUES (?, ?, ?)", rows)
        return sum(len(body) + len(summary or b"") for _, summary, body in rows)

    def publish(self, periods: Sequence[Period]) -> None:
        """From here on these periods of one stretch count, and the rows that they were made from do not."""
        with transaction(self.db):
            for period in periods:
                if period.readings:
                    self.db.execute("INSERT INTO periods VALUES (?, ?, ?, ?, ?, ?, ?)", period)
                    self.db.execute("DELETE FROM sweeps WHERE period = ?", (period.number,))
                self.set_mark("packed", period.last_seq)

    def drop(self, periods: Sequence[int]) -> None:
        """From here on the periods do not count; `sweep` then frees their room. Within a transaction."""
        rows = [(number,) for number in periods]
        self.db.executemany("DELETE FROM periods WHERE id = ?", rows)
        self.db.executemany("INSERT OR IGNORE INTO sweeps VALUES (?)", rows)

    def sweep(self) -> bool:
        """Delete some of what does not count; returns whether there may be more."""
        found = self.db.execute("SELECT min(period) FROM sweeps").fetchone()[0]
        if found is None:
            return False
        low, high = found << SERIES_BITS, (found + 1) << SERIES_BITS
        with transaction(self.db):
            gone = self.db.execute(
                "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE id >= ? AND id < ? LIMIT ?)",
                (low, high, SWEPT),
            ).rowcount
            if gone < SWEPT:
                self.db.execute("DELETE FROM sweeps WHERE period = ?", (found,))
        return True


__all__ = ["FRAME", "FRAME_POINT", "TABLES", "PackedHistory", "Period"]
