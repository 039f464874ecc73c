"""The newest rows of the log, in memory: what is not committed yet, and some of what is. Pure.

Rows lie in order and without gaps in their numbers, so that a row's place follows from its number. What is not
committed counts against a bound; where it is reached the oldest rows go.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from edge.store.readings_file import Row, restamped

KEPT_ROWS = 2_000
"""Committed rows that stay, for uplinks that have nearly caught up."""
ROW_COST = 8
"""What a row costs besides its values, in values."""


class Tail:
    """The rows, and which of them are committed."""

    def __init__(self, waiting_values: int) -> None:
        self.committed = 0
        """Number of the newest row that is on the disk."""
        self.lost = 0
        """Rows that had to go before they were committed."""
        self._rows: deque[Row] = deque()
        self._bound = waiting_values
        self._waiting = 0

    @property
    def weight(self) -> int:
        """What is not committed yet, in values; a row counts `ROW_COST` more."""
        return self._waiting

    @property
    def oldest(self) -> int | None:
        """Number of the oldest row; None where there is no row."""
        return self._rows[0].seq if self._rows else None

    def append(self, row: Row) -> None:
        """Take the next row; makes room where too much waits."""
        self._rows.append(row)
        self._waiting += len(row.values) + ROW_COST
        while self._waiting > self._bound and len(self._rows) > 1:
            gone = self._rows.popleft()
            if gone.seq > self.committed:
                self._waiting -= len(gone.values) + ROW_COST
                self.lost += 1

    def after(self, seq: int, upto: int, limit: int) -> list[Row]:
        """At most `limit` rows with numbers above `seq` and up to `upto`."""
        if not self._rows:
            return []
        first, count = self._rows[0].seq, len(self._rows)
        start = max(0, seq + 1 - first)
        end = min(start + limit, upto + 1 - first, count)
        if start >= end:
            return []
        if start < count // 2:
            return list(islice(self._rows, start, end))
        return self._from_newest(count - end, count - start)

    def uncommitted(self) -> list[Row]:
        """The rows that are not on the disk."""
        return self._from_newest(0, self.waiting())

    def waiting(self) -> int:
        """How many rows are not on the disk."""
        return len(self._rows) - self._done()

    def commit(self, seq: int) -> None:
        """Rows up to `seq` are on the disk now; those that no uplink is likely to ask for go."""
        self.committed = seq
        self._waiting = sum(len(row.values) + ROW_COST for row in self.uncommitted())
        for _ in range(min(len(self._rows) - KEPT_ROWS, self._done())):
            self._rows.popleft()

    def shift(self, by: int) -> int | None:
        """Add `by` to every number; returns the newest."""
        self._rows = deque(row._replace(seq=row.seq + by) for row in self._rows)
        return self._rows[-1].seq if self._rows else None

    def restamp(self, first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> None:
        """Add `shift_ns` to the stamps of the rows numbered so; with `known` they are no longer uncertain."""
        self._rows = deque(restamped(row, first_seq, last_seq, shift_ns, known=known) for row in self._rows)

    def _done(self) -> int:
        return min(max(0, self.committed - self._rows[0].seq + 1), len(self._rows)) if self._rows else 0

    def _from_newest(self, begin: int, end: int) -> list[Row]:
        """Rows counted from the newest, which lie at the near end of a long queue, in order of their numbers."""
        found = list(islice(reversed(self._rows), begin, end))
        found.reverse()
        return found
