"""The frame of one equipment's rows of one period: the time of each, and which points it carried. Pure.

What comes in: the bytes that `chunks.pack` made. What goes out: times of one point's readings, whole or in part, and
where among them a time lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import compress

import orjson

from edge.store.sequences import Part, Reader, read
from edge.store.squeeze import unsqueeze
from edge.store.stamps import Ticks, at, read_times

NEAR = 8
"""How far from its expected place a time is looked for before all are."""


class Frame:
    """A frame, unpacked as far as it is asked for."""

    def __init__(self, body: bytes) -> None:
        """Raises ValueError or IndexError where the body is damaged."""
        data = Reader(body)
        self.rows = data.count()
        self._all: Sequence[int] | None = None
        self._layouts: list[list[int]] = orjson.loads(data.blob())
        self._carriers: dict[int, list[bool] | None] = {}
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
        return self._carried(number) is None

    def about(
        self, number: int, rows: tuple[int, int], time_ns: int, low: tuple[int, int], last_ns: int, *, side: bool
    ) -> tuple[int, Ticks]:
        """Times of one point's readings among some rows, some before a time and some not; and the place of the first.

        `low` is a place before the time, with its own time, and `last_ns` the time of the last row, not before that
        time. Where every row carries the point, few are decoded: those about the place where even intervals would
        put the time, or, with `side`, from there to the nearer end.
        """
        if self.carries(number):
            count = rows[1] - rows[0]
            guess = low[0] + (time_ns - low[1]) * (count - 1 - low[0]) // max(last_ns - low[1], 1)
            begin, end = max(guess - NEAR, low[0]), min(guess + NEAR, count)
            if side:
                begin, end = (low[0], end) if guess * 2 <= count else (begin, count)
            near = self._ticks(number, rows[0] + begin, rows[0] + end)
            if near.at(0) < time_ns <= near.at(-1):
                return begin, near
        return 0, Ticks(self.times_of(number, *rows))

    def _ticks(self, number: int, begin: int, end: int) -> Ticks:
        """Times of a point that every row carries."""
        ticks = self._stamps.ticks
        return Ticks(self.times_of(number, begin, end)) if ticks is None else ticks(begin, end)

    def first_from(
        self, number: int, rows: tuple[int, int], time_ns: int, low: tuple[int, int], last_ns: int
    ) -> tuple[int, int]:
        """The place of one point's first reading at a time or later, and its own time: see `about`."""
        begin, times = self.about(number, rows, time_ns, low, last_ns, side=False)
        place = times.first_from(time_ns)
        return begin + place, times.at(place)

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
        carried = self._carried(number)
        if carried is None:
            return None
        which = self._which(begin, end)
        if len(carried) <= 256:
            return bytes(which).translate(bytes(carried).ljust(256, b"\0"))
        return [carried[place] for place in which]

    def _carried(self, number: int) -> list[bool] | None:
        """Layout by layout, whether it has the point; None where all have."""
        if number not in self._carriers:
            carried = [number in layout for layout in self._layouts]
            self._carriers[number] = None if all(carried) else carried
        return self._carriers[number]
