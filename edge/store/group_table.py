"""The rows of the log as they lie in `readings.db`: groups, mostly one for each commit, and spans of time.

What comes in: groups of rows with numbers one after the other. What goes out: rows by number and by time. Everything
is appended at the end of the table; an index by point or by time would cost more than the rows. Instead every few
groups leave the span of time that they cover, which is what a question over time looks into. Everything here runs in
the file's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import takewhile

from edge.store.database import damage
from edge.store.groups import Columns, Group, Packer, Row, places_of
from edge.store.layouts import LayoutTable
from edge.store.packed import PackedHistory
from edge.store.packing import GOOD, unfold_qualities
from edge.store.span import Reading

SPAN_GROUPS = 16
"""Groups in a span of time. Those after the newest span are looked at one by one."""
_NEWER = "groups WHERE last_seq > (SELECT coalesce((SELECT last_seq FROM spans ORDER BY first_seq DESC LIMIT 1), 0))"
_COLUMNS = "SELECT first_seq, last_seq, first_ns, last_ns FROM"
_STRETCHES = f"({_COLUMNS} spans UNION ALL {_COLUMNS} {_NEWER})"

NOTHING: tuple[int, int, int, list[Row]] = (-1, -1, -1, [])


class GroupTable:
    """The tables `groups` and `spans`, for one connection."""

    def __init__(self, db: sqlite3.Connection, layouts: LayoutTable, rot: Callable[[str, Exception], None]) -> None:
        """`rot` is told what cannot be unpacked any more, and is left out."""
        self._db = db
        self._layouts = layouts
        self._rot = rot
        self._packer = Packer(layouts)
        self._unpacked = NOTHING

    # What is asked, by number

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
            found += [row for row in self.group(*group) if seq < row.seq < end and row.points]
            seq = group[0]
        return found[:limit]

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
            found += self.rows(first_seq, body, equipment)
        return found

    # By time

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

    def rows_between(self, from_ns: int, to_ns: int, until_seq: int) -> Iterator[Row]:
        """Rows with from_ns <= time < to_ns and numbers up to `until_seq`, in order of their numbers."""
        for first_seq, body in self._bodies(from_ns, to_ns, until_seq):
            for row in self.rows(first_seq, body):
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

    def points(self) -> set[str]:
        """Ids of all points that were ever recorded."""
        self._layouts.learn()
        return {f"{equipment}.{name}" for equipment, names in self._layouts.by_number.values() for name in names}

    # What is changed, within a transaction

    def pack(self, rows: Sequence[Row]) -> list[Group]:
        """See `groups.Packer.pack`."""
        return self._packer.pack(rows)

    def insert(self, groups: Sequence[Group]) -> None:
        """Append groups, and note the span of time of those that none covers yet."""
        self.put(groups)
        (count,) = self._db.execute(f"SELECT count(*) FROM {_NEWER}").fetchone()  # noqa: S608  # our own words
        if count >= SPAN_GROUPS:
            self._db.execute(
                "INSERT INTO spans (first_seq, last_seq, first_ns, last_ns) "  # noqa: S608  # our own words
                f"SELECT min(first_seq), max(last_seq), min(first_ns), max(last_ns) FROM {_NEWER}"
            )

    def put(self, groups: Sequence[Group]) -> None:
        """Write groups where there are none with their numbers; they are in a span already."""
        self._db.executemany(
            "INSERT INTO groups (last_seq, first_seq, first_ns, last_ns, body) VALUES (?, ?, ?, ?, ?)", groups
        )

    def replace(self, last_seq: int, rows: Sequence[Row]) -> None:
        """Exchange the rows of a group for others with the same numbers, or for some of them."""
        self._unpacked = NOTHING
        for group in self._packer.pack(rows):
            self._db.execute(
                "UPDATE groups SET first_seq = ?, first_ns = ?, last_ns = ?, body = ? WHERE last_seq = ?",
                (group.first_seq, group.first_ns, group.last_ns, group.body, last_seq),
            )

    def delete(self, first_seq: int, last_seq: int) -> None:
        """Groups whose last number lies in between go."""
        self._unpacked = NOTHING
        self._db.execute("DELETE FROM groups WHERE last_seq BETWEEN ? AND ?", (first_seq, last_seq))

    def forget(self, seq: int) -> None:
        """Rows with numbers up to `seq` are gone: they are kept elsewhere, or nowhere."""
        self._unpacked = NOTHING
        self._db.execute("DELETE FROM groups WHERE last_seq <= ?", (seq,))
        self._db.execute("DELETE FROM spans WHERE last_seq <= ?", (seq,))
        for last_seq, first_seq in self.overlapping(0, seq):
            self.replace(last_seq, [row for row in self.group(last_seq, first_seq) if row.seq > seq])

    def shift(self, first_seq: int, last_seq: int, shift_ns: int, change: Callable[[Row], Row]) -> None:
        """Exchange the rows numbered so for others that `change` makes, `shift_ns` later."""
        for last, first in self.overlapping(first_seq, last_seq):
            self.replace(last, [change(row) for row in self.group(last, first)])
        self._db.execute(
            "UPDATE spans SET first_ns = min(first_ns, first_ns + ?1), last_ns = max(last_ns, last_ns + ?1) "
            "WHERE last_seq >= ?2 AND first_seq <= ?3",
            (shift_ns, first_seq, last_seq),
        )

    # Groups

    def overlapping(self, first_seq: int, last_seq: int) -> list[tuple[int, int]]:
        """(last_seq, first_seq) of the groups with rows in between."""
        query = "SELECT last_seq, first_seq FROM groups WHERE last_seq >= ? ORDER BY last_seq"
        return list(takewhile(lambda group: group[1] <= last_seq, self._db.execute(query, (first_seq,))))

    def group(self, last_seq: int, first_seq: int) -> list[Row]:
        """The rows of one group; those of the last that was asked for are remembered until the file changes."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if self._unpacked[:3] != (version, last_seq, first_seq):
            found = self._db.execute("SELECT body FROM groups WHERE last_seq = ?", (last_seq,)).fetchone()
            self._unpacked = version, last_seq, first_seq, self.rows(first_seq, found[0]) if found else []
        return self._unpacked[3]

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

    def rows(self, first_seq: int, body: bytes, equipment: Collection[str] | None = None) -> list[Row]:
        """The rows of a body (only of some equipment); none where it is damaged."""
        try:
            return self._packer.rows(first_seq, body, equipment)
        except ValueError as error:
            self._rot(f"rows from number {first_seq} on", error)
            return []

    def _columns(self, first_seq: int, body: bytes) -> Columns:
        try:
            return self._packer.columns(body)
        except ValueError as error:
            self._rot(f"rows from number {first_seq} on", error)
            return Columns([], [], [], [], {}, {})
