"""What one equipment sent in one period, packed: a frame that its points share, and a chunk for each. Pure.

What comes in: rows in any order of time, late and doubled times included. What goes out: bytes. The frame holds
the time of every row (and the device's own stamp, where it sent one) and which points each row carried, so that
both are paid once a row; a chunk holds one point's values and qualities in the order of time. A chunk with many
numbers also has a summary, stretch by stretch, so that a step of time that covers a stretch needs nothing decoded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from drivers.point import Value
from edge.store.columns import (
    EXACT,
    INTEGERS,
    NUMERIC,
    read_marks,
    read_values,
    write_marks,
    write_values,
)
from edge.store.folding import Opened, fold
from edge.store.frames import Frame
from edge.store.packing import GOOD
from edge.store.sequences import Reader, Writer, write
from edge.store.squeeze import squeeze, unsqueeze
from edge.store.stamps import write_times
from edge.store.steps import Reading, Steps
from edge.store.stretches import Stretches

STRETCHES_NS = tuple(minutes * 60 * 10**9 for minutes in (5, 15, 60, 240, 1440))
"""How long a stretch of a summary may be: the shortest that holds enough readings is taken."""
ENOUGH = 256
"""Readings in a stretch, at least, in the mean: a summary costs about 40 bytes a stretch."""
FEW = 1_000
"""Fewer readings are decoded as fast as a summary is read."""


class PackedRow(NamedTuple):
    """One batch as it is packed: points by number."""

    time_ns: int
    series: tuple[int, ...]
    values: tuple[Value, ...]
    marks: tuple[str, ...] | None
    source_ns: int | None


ROWS = 2_000
"""Rows that are looked through at a time."""
FRAME = 0
"""Stands for the point of a frame."""


class Packed(NamedTuple):
    """One chunk, or frame, as it is kept."""

    series: int
    summary: bytes | None
    body: bytes


def pack(rows: list[PackedRow]) -> Iterator[Packed | None]:
    """The frame of these rows of one equipment, then the chunk of each point; the rows are put in order of time.

    None comes now and then where the work so far has taken some milliseconds.
    """
    rows.sort(key=itemgetter(0))
    layouts = {series: place for place, series in enumerate(dict.fromkeys(row.series for row in rows))}
    columns: dict[int, list[Value]] = {number: [] for series in layouts for number in series}
    marks: dict[int, dict[int, str]] = {}
    for place, row in enumerate(rows):
        if place % ROWS == ROWS - 1:
            yield None
        for number, value in zip(row.series, row.values, strict=True):
            columns[number].append(value)
        if row.marks is not None:
            for number, mark in zip(row.series, row.marks, strict=True):
                if mark != GOOD:
                    marks.setdefault(number, {})[len(columns[number]) - 1] = mark
    yield None
    body = _frame(rows, layouts)
    yield None
    frame = Frame(body)
    rows.clear()
    yield Packed(FRAME, None, squeeze(body))
    for number in sorted(columns):
        yield _chunk(frame, number, columns.pop(number), marks.get(number))


def _frame(rows: Sequence[PackedRow], layouts: dict[tuple[int, ...], int]) -> bytes:
    out = Writer()
    which = [layouts[row.series] for row in rows]
    out.count(len(rows))
    out.blob(orjson.dumps(list(layouts)))
    write(out, which)
    write_times(out, [row.time_ns for row in rows], which)
    stamped = [(row.source_ns - row.time_ns, place) for place, row in enumerate(rows) if row.source_ns is not None]
    out.count(len(stamped))
    if stamped:
        write(out, [place for _, place in stamped])
        write(out, [lag for lag, _ in stamped])
    return bytes(out.data)


def _chunk(frame: Frame, number: int, values: list[Value], marks: dict[int, str] | None) -> Packed:
    out = Writer()
    out.count(len(values))
    kind = write_values(out, values)
    told = None if marks is None else [marks.get(place, GOOD) for place in range(len(values))]
    write_marks(out, told)
    summary = None
    if kind in NUMERIC and len(values) >= FEW and (kind != INTEGERS or max(map(abs, values)) < EXACT):  # type: ignore[arg-type]  # numbers, by their kind
        summary = _summary(frame, number, values, told, whole=kind == INTEGERS)
    return Packed(number, summary, squeeze(bytes(out.data)))


def _summary(
    frame: Frame, number: int, values: Sequence[Any], marks: Sequence[str] | None, *, whole: bool
) -> bytes | None:
    times = frame.times_of(number)
    for length in STRETCHES_NS:
        if len(values) >= ENOUGH * len({time_ns // length for time_ns in times}):
            return Stretches.write(times, frame.places_of(number), values, marks, length, whole=whole)
    return None


class Chunk:
    """One point's readings of one period, unpacked as far as it is asked for."""

    def __init__(
        self,
        number: int,
        frame: Callable[[], Frame],
        summary: bytes | None,
        body: bytes,
        floor_ns: int = -(2**63),
    ) -> None:
        """`floor_ns`: what lies before is told by summaries, and not by this chunk any more."""
        self._number = number
        self._frame, self._body = frame, body
        self._summary = summary
        self._floor_ns = floor_ns
        self._opened: Opened | None = None

    def _open(self) -> Opened:
        if self._opened is None:
            data = Reader(unsqueeze(self._body))
            count = data.count()
            _, values = read_values(data, count)
            self._opened = Opened(self._number, self._frame(), values, read_marks(data), count)
        return self._opened

    def readings(self) -> Iterator[Reading]:
        """All of them, in order of time."""
        _, frame, values, marks, count = self._open()
        told = marks(0, count) if marks else (GOOD,) * count
        return zip(frame.times_of(self._number), values(0, count), told, strict=True)

    def within(self, from_ns: int, to_ns: int) -> Iterator[Reading]:
        """Those of a span, in order of time; only they are decoded."""
        _, frame, values, marks, _ = self._open()
        times = frame.times_of(self._number)
        begin, end = bisect_left(times, max(from_ns, self._floor_ns)), bisect_left(times, to_ns)
        end = max(begin, end)
        told = marks(begin, end) if marks else (GOOD,) * (end - begin)
        return zip(times[begin:end], values(begin, end), told, strict=True)

    def bounds(self) -> tuple[int, int]:
        """Time of the first and of the last reading; nothing before the floor, where summaries end."""
        if self._known is not None:
            first, last = self._known.firsts[0], self._known.lasts[-1]
        else:
            times = self._open().frame.times_of(self._number)
            first, last = times[0], times[-1]
        return max(first, self._floor_ns), max(last, self._floor_ns)

    def fold(self, steps: Steps, from_ns: int, to_ns: int) -> None:
        """Give the readings of a span to steps, summed up where that is as good.

        Where their order counts the readings before the span come too: the last of them may hold into it.
        """
        since_ns = from_ns - steps.hold_ns if steps.ordered else from_ns
        since_ns, from_ns = max(since_ns, self._floor_ns), max(from_ns, self._floor_ns)
        if self._known is None:
            for reading in self.readings():
                if since_ns <= reading[0] < to_ns:
                    steps.add(*reading)
        else:
            fold(self._known, self._open, steps, (from_ns, to_ns), since_ns)

    @cached_property
    def _known(self) -> Stretches | None:
        return None if self._summary is None else Stretches(self._summary)
