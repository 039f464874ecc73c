"""What one equipment sent in one period, packed: a frame that its points share, and a chunk for each. Pure.

What comes in: rows in any order of time, late and doubled times included. What goes out: bytes. The frame holds
the time of every row (and the device's own stamp, where it sent one) and which points each row carried, so that
both are paid once a row; a chunk holds one point's values and qualities in the order of time. A chunk with many
numbers also has a summary, stretch by stretch, so that a step of time that covers a stretch needs nothing decoded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from drivers.point import Value
from edge.store.columns import (
    EXACT,
    INTEGERS,
    NUMERIC,
    Marks,
    Values,
    read_marks,
    read_values,
    write_marks,
    write_values,
)
from edge.store.packing import GOOD
from edge.store.sequences import Part, Reader, Writer, read, write
from edge.store.squeeze import squeeze, unsqueeze
from edge.store.stamps import at, read_times, write_times
from edge.store.steps import Piece, Reading, Steps
from edge.store.stretches import Stretches, is_apart, sum_up

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


NEAR = 8
"""How far from its expected place a time is looked for before all are."""
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


class Frame:
    """A frame, unpacked as far as it is asked for."""

    def __init__(self, body: bytes) -> None:
        """Raises ValueError or IndexError where the body is damaged."""
        data = Reader(body)
        self.rows = data.count()
        self._all: Sequence[int] | None = None
        self._layouts: list[list[int]] = orjson.loads(data.blob())
        self._which: Part = read(data, self.rows)
        self._stamps = read_times(data, self.rows)
        self._stamped = data.count()
        self._sources = (read(data, self._stamped), read(data, self._stamped)) if self._stamped else None

    @classmethod
    def unpack(cls, packed: bytes) -> Frame:
        """From the bytes that `pack` returned."""
        return cls(unsqueeze(packed))

    @staticmethod
    def later(packed: bytes) -> Callable[[], Frame]:
        """The frame, unpacked when it is first asked for, and once for all chunks that share it."""
        return cache(lambda: Frame.unpack(packed))

    def times(self) -> Sequence[int]:
        """Of all rows."""
        if self._all is None:
            self._all = at(self._stamps, self._which, 0, self.rows)
        return self._all

    def times_of(self, number: int, begin: int = 0, end: int | None = None) -> Sequence[int]:
        """Times of one point's readings among the rows from one place until before another."""
        end = self.rows if end is None else end
        whole = begin == 0 and end == self.rows
        times = self.times() if whole else at(self._stamps, self._which, begin, end)
        mask = self._mask(number, begin, end)
        return times if mask is None else list(compress(times, mask))

    def carries(self, number: int) -> bool:
        """Whether every row carries the point."""
        return all(number in layout for layout in self._layouts)

    def first_from(
        self, number: int, rows: tuple[int, int], time_ns: int, low: tuple[int, int], last_ns: int
    ) -> tuple[int, int]:
        """The place among some rows of one point's first reading at a time or later, and its own time.

        `low` is a place before it, with its time, and `last_ns` the time of the last row, not before that time. Where
        every row carries the point, few rows are decoded: those about the place where even intervals would put it.
        """
        if self.carries(number):
            count = rows[1] - rows[0] - 1
            guess = low[0] + (time_ns - low[1]) * (count - low[0]) // max(last_ns - low[1], 1)
            begin, end = max(guess - NEAR, low[0]), min(guess + NEAR, count + 1)
            near = self.times_of(number, rows[0] + begin, rows[0] + end)
            if near[0] < time_ns <= near[-1]:
                place = bisect_left(near, time_ns)
                return begin + place, near[place]
        times = self.times_of(number, *rows)
        place = bisect_left(times, time_ns)
        return place, times[place]

    def places_of(self, number: int) -> Sequence[int]:
        """In which rows the point's readings are."""
        mask = self._mask(number, 0, self.rows)
        return range(self.rows) if mask is None else list(compress(range(self.rows), mask))

    def sources(self) -> list[int | None]:
        """The devices' own stamps, row by row."""
        found: list[int | None] = [None] * self.rows
        if self._sources is not None:
            places, lags = (part(0, self._stamped) for part in self._sources)
            times = self.times()
            for place, lag in zip(places, lags, strict=True):
                found[place] = times[place] + lag
        return found

    def _mask(self, number: int, begin: int, end: int) -> Sequence[int] | None:
        """Row by row, whether it carries the point; None where all do."""
        carried = [number in layout for layout in self._layouts]
        if all(carried):
            return None
        which = self._which(begin, end)
        if len(carried) <= 256:
            return bytes(which).translate(bytes(carried).ljust(256, b"\0"))
        return [carried[place] for place in which]


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
        self._opened: tuple[Frame, Values, Marks | None, int] | None = None

    def _open(self) -> tuple[Frame, Values, Marks | None, int]:
        if self._opened is None:
            data = Reader(unsqueeze(self._body))
            count = data.count()
            _, values = read_values(data, count)
            self._opened = self._frame(), values, read_marks(data), count
        return self._opened

    def readings(self) -> Iterator[Reading]:
        """All of them, in order of time."""
        frame, values, marks, count = self._open()
        told = marks(0, count) if marks else (GOOD,) * count
        return zip(frame.times_of(self._number), values(0, count), told, strict=True)

    def within(self, from_ns: int, to_ns: int) -> Iterator[Reading]:
        """Those of a span, in order of time; only they are decoded."""
        frame, values, marks, _ = self._open()
        times = frame.times_of(self._number)
        begin, end = bisect_left(times, max(from_ns, self._floor_ns)), bisect_left(times, to_ns)
        end = max(begin, end)
        told = marks(begin, end) if marks else (GOOD,) * (end - begin)
        return zip(times[begin:end], values(begin, end), told, strict=True)

    def bounds(self) -> tuple[int, int]:
        """Time of the first and of the last reading."""
        if self._summary is not None:
            found = Stretches(self._summary)
            return found.firsts[0], found.lasts[-1]
        times = self._open()[0].times_of(self._number)
        return times[0], times[-1]

    def fold(self, steps: Steps, from_ns: int, to_ns: int, *, ordered: bool) -> None:
        """Give the readings of a span to steps, summed up where that is as good.

        With `ordered` the readings before the span come too, each by itself: the last of them may hold into it.
        """
        every, since_ns = steps.every_ns, from_ns - steps.hold_ns if ordered else from_ns
        since_ns, from_ns = max(since_ns, self._floor_ns), max(from_ns, self._floor_ns)
        if self._summary is None:
            for reading in self.readings():
                if since_ns <= reading[0] < to_ns:
                    steps.add(*reading)
            return
        known = Stretches(self._summary)
        number = bisect_left(known.lasts, since_ns)
        while number < len(known) and not steps.full and known.firsts[number] < to_ns:
            first = known.firsts[number]
            end_ns = min(first - first % every + every, to_ns)
            behind = number + 1 if ordered else max(bisect_left(known.lasts, end_ns, number), number + 1)
            if not known.good(number, behind):
                behind = number + 1
            whole = first >= from_ns and known.lasts[number] < end_ns and known.good(number, behind)
            if whole and (not ordered or known.apart(number)):
                steps.take(known.piece(number, behind, ordered=ordered))
            else:
                behind = number + 1
                bounds = known.firsts[number], known.lasts[number]
                self._fold_part(steps, known.places(number), bounds, (from_ns, to_ns), ordered=ordered)
            number = behind

    def _fold_part(
        self,
        steps: Steps,
        places: tuple[tuple[int, int], tuple[int, int]],
        bounds: tuple[int, int],
        span: tuple[int, int],
        *,
        ordered: bool,
    ) -> None:
        """A stretch that does not go into a step as a whole. `bounds`: times of its first and last readings."""
        readings, rows = places
        frame, values, marks, _ = self._open()
        found, told = values(*readings), marks(*readings) if marks else None
        if told is not None and any(mark != GOOD for mark in told):
            times = frame.times_of(self._number, *rows)
        elif ordered:
            times, told = frame.times_of(self._number, *rows), None
        else:
            for begin, end, time_ns in self._cuts(rows, len(found), steps.every_ns, span, bounds):
                steps.take(sum_up((time_ns, time_ns), found[begin:end], ordered=False))
            return
        if told is not None or not is_apart(times):
            for reading in zip(times, found, told or (GOOD,) * len(times), strict=True):
                if reading[0] < span[1] and (ordered or reading[0] >= span[0]):
                    steps.add(*reading)
            return
        before = bisect_left(times, span[0])
        if before:
            steps.add(times[before - 1], found[before - 1], GOOD)
        for piece in _pieces(times, found, steps.every_ns, span, ordered=True):
            steps.take(piece)

    def _cuts(
        self, rows: tuple[int, int], count: int, every_ns: int, span: tuple[int, int], bounds: tuple[int, int]
    ) -> Iterator[tuple[int, int, int]]:
        """Readings of a stretch, cut by a span and by steps: from where, to where, the time of the first."""
        frame = self._open()[0]
        place, time_ns = 0, bounds[0]
        if bounds[1] < span[0]:
            return
        if time_ns < span[0]:
            place, time_ns = frame.first_from(self._number, rows, span[0], (place, time_ns), bounds[1])
        while time_ns < span[1]:
            end_ns = min(time_ns - time_ns % every_ns + every_ns, span[1])
            if bounds[1] < end_ns:
                yield place, count, time_ns
                return
            upto, next_ns = frame.first_from(self._number, rows, end_ns, (place, time_ns), bounds[1])
            yield place, upto, time_ns
            place, time_ns = upto, next_ns


def _pieces(
    times: Sequence[int], values: Sequence[Any], every: int, span: tuple[int, int], *, ordered: bool
) -> Iterator[Piece]:
    """Good numbers in order of time, cut at the ends of steps and summed up."""
    place, end = bisect_left(times, span[0]), bisect_left(times, span[1])
    while place < end:
        step_end = times[place] - times[place] % every + every
        upto = bisect_left(times, step_end, place, end)
        yield sum_up(times[place:upto], values[place:upto], ordered=ordered)
        place = upto
