"""The rows of one commit as one body of bytes, compressed, and back. Pure.

Rows that are committed together share a body: columns of times, of layouts, of values, and what few rows have
besides. So a row costs a few bytes where a row of its own in a table would cost twenty, and the compression
(Zstandard, with a check sum) finds what the rows of one commit have in common.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, chain, pairwise
from operator import sub
from typing import Any, NamedTuple, Protocol

import orjson
import zstandard

from drivers.point import Value
from edge.store.packing import fold_qualities, unfold_qualities

ROWS = 2_000
"""Rows of one body at most: who wants one of them unpacks them all."""
_BITS = 50
_MILLISECOND = 1_000_000


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


Chosen = int | list[int]
"""Points of a layout: 0 for all of them; bits, where they are in the layout's order; or place by place."""


class Layouts(Protocol):
    """Names of points by number, so that a row need not carry them."""

    def number(self, equipment: str, points: tuple[str, ...]) -> tuple[int, Chosen]:
        """The layout of a row, and which of the layout's points the row has."""
        ...

    def named(self, number: int) -> tuple[str, tuple[str, ...]]:
        """Equipment and points of a layout."""
        ...


class Group(NamedTuple):
    """Rows with numbers one after the other, packed."""

    last_seq: int
    first_seq: int
    first_ns: int
    """The earliest stamp, which need not be the first row's: clocks step."""
    last_ns: int
    body: bytes


class Columns(NamedTuple):
    """A body, unpacked; what not every row has stands under the row's place."""

    times: list[int]
    layouts: list[int]
    values: list[list[Any]]
    chosen: list[Chosen]
    qualities: dict[str, Any]
    """Of rows in which not all is good: see `packing.fold_qualities`."""
    sources: dict[str, int]


class Packer:
    """Packs and unpacks, for one thread."""

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self._press = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self._unpress = zstandard.ZstdDecompressor()

    def pack(self, rows: Sequence[Row]) -> list[Group]:
        """Groups of at most `ROWS` rows; a gap in the numbers begins another. Changes no row."""
        groups, start = [], 0
        while start < len(rows):
            end = min(start + ROWS, len(rows))
            while rows[end - 1].seq - rows[start].seq != end - 1 - start:
                end = (start + end) // 2
            groups.append(self._group(rows[start:end]))
            start = end
        return groups

    def _group(self, rows: Sequence[Row]) -> Group:
        times = [row.time_ns for row in rows]
        steps = [times[0], *map(sub, times[1:], times)]
        placed = [self._layouts.number(row.equipment, row.points) for row in rows]
        unit = 1 if any(step % _MILLISECOND for step in steps) else _MILLISECOND
        columns = (
            unit,
            [step // unit for step in steps],
            [number for number, _ in placed],
            list(chain.from_iterable([row.values for row in rows])),
            [chosen for _, chosen in placed],
            {str(n): fold_qualities(row.qualities) for n, row in enumerate(rows) if row.qualities is not None},
            {str(n): row.source_time_ns for n, row in enumerate(rows) if row.source_time_ns is not None},
        )
        body = self._press.compress(orjson.dumps(columns))
        return Group(rows[-1].seq, rows[0].seq, min(times), max(times), body)

    def columns(self, body: bytes) -> Columns:
        """A body's columns, without making rows of them. Raises ValueError where it is damaged."""
        try:
            unit, steps, layouts, values, chosen, *others = orjson.loads(self._unpress.decompress(body))
            times = list(accumulate([step * unit for step in steps]))
            ends = list(accumulate(self._counts(layouts, chosen), initial=0))
            parts = [values[start:end] for start, end in pairwise(ends)]
            return Columns(times, layouts, parts, chosen, *others)
        except (zstandard.ZstdError, ValueError, TypeError, LookupError) as error:
            raise ValueError(f"a group of rows cannot be unpacked ({error})") from error

    def _counts(self, layouts: Sequence[int], chosen: Sequence[Chosen]) -> list[int]:
        """How many values each row has."""
        whole = {number: len(self._layouts.named(number)[1]) for number in set(layouts)}
        return [
            whole[number] if not some else some.bit_count() if isinstance(some, int) else len(some)
            for number, some in zip(layouts, chosen, strict=True)
        ]

    def rows(self, first_seq: int, body: bytes, only: Collection[str] | None = None) -> list[Row]:
        """The rows as they were packed; only those of some equipment where it is given.

        Raises ValueError where the body is damaged.
        """
        columns = self.columns(body)
        named = {number: self._layouts.named(number) for number in set(columns.layouts)}
        found = []
        for place, (time_ns, number, values, chosen) in enumerate(zip(*columns[:4], strict=True)):
            equipment, points = named[number]
            if only is not None and equipment not in only:
                continue
            if chosen:
                points = tuple([points[index] for index in places_of(chosen)])
            key = str(place)
            marks = unfold_qualities(columns.qualities.get(key), len(values))
            source = columns.sources.get(key)
            found.append(Row(first_seq + place, time_ns, equipment, points, tuple(values), marks, source))
        return found


def chosen_of(places: list[int]) -> Chosen:
    """The shorter way to write which points of a layout a row has."""
    in_order = places == sorted(places) and places[-1] < _BITS
    return sum(1 << place for place in places) if in_order else places


def places_of(chosen: Chosen) -> list[int]:
    """Where the points of a row stand in its layout; of rows that do not have all of them."""
    if isinstance(chosen, list):
        return chosen
    return [place for place in range(chosen.bit_length()) if chosen >> place & 1]
