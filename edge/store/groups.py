"""The rows of one commit as one body of bytes, compressed, and back. Pure.

Rows that are committed together share a body: columns of times, of layouts, of values, and what few rows have
besides. So a row costs a few bytes where a row of its own in a table would cost twenty, and the compression
(Zstandard, with a check sum) finds what the rows of one commit have in common.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from operator import sub
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson
import zstandard

from drivers.point import Value
from edge.store.packing import fold_qualities, unfold_qualities

ROWS = 2_000
"""Rows of one body at most: who wants one of them unpacks them all."""
_BITS = 50
_MILLISECOND = 1_000_000
_MUCH = 2**17
"""A body above this, of some 25,000 values, is compressed with a table of 32 KB, which the nearest cache of a core
holds: 3 % longer, in three quarters of the time."""

T = TypeVar("T")


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
        much = zstandard.ZstdCompressionParameters.from_level(1, hash_log=13, write_checksum=True)
        self._press_much = zstandard.ZstdCompressor(compression_params=much)
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
        numbers, times, equipment, points, values, qualities, sources = zip(*rows, strict=True)
        layouts, chosen = zip(*map(self._layouts.number, equipment, points), strict=True)
        steps = [times[0], *map(sub, times[1:], times)]
        unit = 1 if any(step % _MILLISECOND for step in steps) else _MILLISECOND
        before = unit, [step // unit for step in steps], layouts
        behind = chosen, {n: fold_qualities(marks) for n, marks in _told(qualities)}, dict(_told(sources))
        body = _laid(before, values, behind)
        press = self._press_much if len(body) > _MUCH else self._press
        return Group(numbers[-1], numbers[0], min(times), max(times), press.compress(body))

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


def _told(column: Sequence[T | None]) -> list[tuple[str, T]]:
    """What only some rows have, and in which places they stand."""
    if column.count(None) == len(column):
        return []
    return [(str(place), told) for place, told in enumerate(column) if told is not None]


def _laid(before: tuple[Any, ...], values: Sequence[tuple[Value, ...]], behind: tuple[Any, ...]) -> bytes:
    """One JSON list of the columns before the values, the values of all rows one after the other, and those behind.

    The values are by far the most of it: each row's are written while they lie together in memory, and copied once.
    A list of all of them, made first, would be a second way through all that they are.
    """
    rows = [orjson.dumps(each)[1:-1] for each in values if each] or [b""]
    rows[0] = b"[" + rows[0]
    rows[-1] += b"]"
    return b",".join((orjson.dumps(before)[:-1], *rows, orjson.dumps(behind)[1:]))


def chosen_of(places: list[int]) -> Chosen:
    """The shorter way to write which points of a layout a row has."""
    in_order = places == sorted(places) and places[-1] < _BITS
    return sum(1 << place for place in places) if in_order else places


def places_of(chosen: Chosen) -> list[int]:
    """Where the points of a row stand in its layout; of rows that do not have all of them."""
    if isinstance(chosen, list):
        return chosen
    return [place for place in range(chosen.bit_length()) if chosen >> place & 1]
