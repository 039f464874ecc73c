"""Numbers of the log that stand for no row, so that it can be said how many rows lie behind a place.

Numbers are promised ahead and jump where a run ended by a kill, or where a backup was put back; and the disk budget
takes rows out of the middle. What comes in: those stretches, as they happen. What goes out: counts. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from edge.store.groups import Group

TABLE = """
CREATE TABLE gaps (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, missing INTEGER NOT NULL);
"""


class Gap(NamedTuple):
    """A stretch of numbers not all of which stand for a row."""

    first_seq: int
    last_seq: int
    missing: int
    """How many of them stand for none."""


class Gaps:
    """All gaps of a log; none overlaps another."""

    def __init__(self, gaps: Iterable[Gap] = ()) -> None:
        self._take(gaps)

    def add(self, gap: Gap) -> None:
        """One more."""
        self._take([*self._gaps, gap])

    def _take(self, gaps: Iterable[Gap]) -> None:
        self._gaps = sorted(gaps)
        self._ends = [gap.last_seq for gap in self._gaps]
        self._sums = list(accumulate((gap.missing for gap in self._gaps), initial=0))

    def missing(self, after_seq: int, upto_seq: int) -> int:
        """How many numbers above the one, up to the other, stand for no row.

        Within a gap that has rows too it is taken that they lie evenly: some 2,000 rows at most (see `budget`).
        """
        return max(0, self._upto(upto_seq) - self._upto(after_seq))

    def _upto(self, seq: int) -> int:
        place = bisect_left(self._ends, seq)
        count = self._sums[place]
        if place < len(self._gaps) and self._gaps[place].first_seq <= seq:
            gap = self._gaps[place]
            count += round(gap.missing * (seq - gap.first_seq + 1) / (gap.last_seq - gap.first_seq + 1))
        return count


def gaps_between(first_seq: int, last_seq: int, groups: Sequence[Group], rows: Sequence[int]) -> Iterator[Gap]:
    """The gaps of a stretch of which only these groups are left, and in them rows with these numbers, in order.

    One for each group, so that whatever is done with whole groups later finds its own gap.
    """
    for group in groups:
        if group.first_seq > first_seq:
            yield Gap(first_seq, group.first_seq - 1, group.first_seq - first_seq)
        held = bisect_right(rows, group.last_seq) - bisect_left(rows, group.first_seq)
        missing = group.last_seq - group.first_seq + 1 - held
        if missing:
            yield Gap(group.first_seq, group.last_seq, missing)
        first_seq = group.last_seq + 1
    if first_seq <= last_seq:
        yield Gap(first_seq, last_seq, last_seq - first_seq + 1)
