"""The summary of a chunk: its good numbers summed up, stretch by stretch of some minutes or hours. Pure.

What comes in: one point's numbers in order of time. What goes out: bytes, and from them for each stretch a `Piece`
and where its readings lie. A stretch in which a reading is not good has no piece: it must be read itself.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, compress, groupby
from math import nan
from operator import gt, mul, sub
from typing import Any

from edge.store.packing import GOOD
from edge.store.sequences import Reader, Writer
from edge.store.squeeze import squeeze, unsqueeze
from edge.store.steps import Aggregate, Piece, rise

LONGEST_HOLD_NS = 300 * 10**9
"""A value holds at least so long (`steps.HOLD_NS` is never set below): silences up to it are no gaps."""
_WHOLE, _REAL = 5, 7
"""Integers and floats that are kept of a stretch."""


def is_apart(times: Sequence[int]) -> bool:
    """Whether no silence between readings is longer than a value is sure to hold."""
    return max(map(sub, times[1:], times), default=0) <= LONGEST_HOLD_NS


def area(times: Sequence[int], values: Sequence[Any]) -> float:
    """Sum of value times the ns until the next."""
    found: float = sum(map(mul, values, map(sub, times[1:], times)))
    return found


def climb(values: Sequence[Any]) -> float:
    """By how much a counter has gone up over some numbers: see `steps.rise`.

    Since it begins again at zero where it falls, what counts is how far it has come each time before it fell.
    """
    tops = [*compress(values, map(gt, values, values[1:])), values[-1]]
    risen: float = tops[0] - values[0] + sum(tops[1:])
    return risen


def sum_up(times: Sequence[int], values: Sequence[Any], aggregate: Aggregate) -> Piece:
    """One or more good numbers in order of time as a piece. The first time and the last will do, but for `twa`."""
    count, last = len(values), values[-1]
    piece = Piece(times[0], times[-1], count, count, last, GOOD, last)
    if aggregate == "mean":
        piece.total = sum(values)
    elif aggregate == "min":
        piece.low = min(values)
    elif aggregate == "max":
        piece.high = max(values)
    elif aggregate == "twa":
        piece.area, piece.known_ns = area(times, values), times[-1] - times[0]
    elif aggregate == "increase":
        piece.first_number, piece.last_number, piece.rise = values[0], last, climb(values)
    return piece


class Stretches:
    """A summary, read. A stretch is asked for by its number."""

    def __init__(self, packed: bytes) -> None:
        data = Reader(unsqueeze(packed))
        count = data.count()
        self._whole = bool(data.count())
        base = data.number()
        words = _unlay(data.take(8 * count * (_WHOLE + _REAL)))
        integers, reals = array("q", words[: 8 * count * _WHOLE]), array("d", words[8 * count * _WHOLE :])
        counts, firsts, lasts, first_rows, last_rows = (integers[count * n : count * (n + 1)] for n in range(_WHOLE))
        self._counts = counts
        """Negative where a reading is not good: such a stretch must be read itself."""
        self.firsts = [base + time_ns for time_ns in firsts]
        """Time of the first reading of each."""
        self.lasts = [base + time_ns for time_ns in lasts]
        self._rows = first_rows, last_rows
        self._totals, self._lows, self._highs, self._first, self._last, self._climbed, self._areas = (
            reals[count * n : count * (n + 1)] for n in range(_REAL)
        )

    def __len__(self) -> int:
        return len(self.firsts)

    def places(self, number: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the readings of a stretch begin and end, in the chunk and in the frame."""
        first, last = self._rows
        return (self._ends[number], self._ends[number + 1]), (first[number], last[number])

    def reach(self, number: int) -> float:
        """None of a stretch's numbers is further from zero."""
        return max(abs(self._lows[number]), abs(self._highs[number]))

    def lowest(self, number: int) -> float:
        """The least of a stretch's numbers."""
        return self._lows[number]

    def piece(self, begin: int, end: int, aggregate: Aggregate) -> Piece | None:
        """Stretches one after the other as one piece; None where they must be read themselves.

        So it is where a reading is not good, and for `twa` where there is a silence.
        """
        if min(self._counts[begin:end]) <= 0:
            return None
        count, last = sum(self._counts[begin:end]), self._number(self._last[end - 1])
        piece = Piece(self.firsts[begin], self.lasts[end - 1], count, count, last, GOOD, last)
        if aggregate == "mean":
            piece.total = sum(self._totals[begin:end])
        elif aggregate == "min":
            piece.low = self._number(min(self._lows[begin:end]))
        elif aggregate == "max":
            piece.high = self._number(max(self._highs[begin:end]))
        elif aggregate == "twa":
            piece.area = sum(self._areas[begin:end]) + sum(self._held[begin : end - 1])
            piece.known_ns = piece.last_ns - piece.first_ns
            return piece if piece.area == piece.area else None  # NaN: a silence
        elif aggregate == "increase":
            piece.first_number, piece.last_number = self._number(self._first[begin]), last
            piece.rise = sum(self._climbed[begin:end]) + sum(self._risen[begin : end - 1])
        return piece

    def _number(self, value: float) -> float:
        return int(value) if self._whole else value

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(abs, self._counts), initial=0))

    @cached_property
    def _held(self) -> list[float]:
        """What the last value of each stretch comes to until the next one begins; NaN over a silence."""
        gaps = map(sub, self.firsts[1:], self.lasts)
        return [value * gap if gap <= LONGEST_HOLD_NS else nan for value, gap in zip(self._last, gaps, strict=False)]

    @cached_property
    def _risen(self) -> list[float]:
        """By how much the first of each stretch but the first is above the last of the one before."""
        return list(map(rise, self._last, self._first[1:]))

    @staticmethod
    def write(
        times: Sequence[int],
        places: Sequence[int],
        values: Sequence[Any],
        marks: Sequence[str] | None,
        length_ns: int,
        *,
        whole: bool,
    ) -> bytes:
        """The summary of a chunk's numbers, in stretches of one length. `places`: their rows in the frame."""
        integers: list[list[int]] = [[] for _ in range(_WHOLE)]
        floats: list[list[float]] = [[] for _ in range(_REAL)]
        begin, base_ns = 0, times[0]
        for _, same in groupby(times, lambda time_ns: time_ns // length_ns):
            end = begin + sum(1 for _ in same)
            good = marks is None or all(mark == GOOD for mark in marks[begin:end])
            some = values[begin:end]
            when = times[begin:end]
            count = end - begin if good else begin - end
            known = area(when, some) if is_apart(when) else nan
            for column, number in zip(
                integers,
                (count, when[0] - base_ns, when[-1] - base_ns, places[begin], places[end - 1] + 1),
                strict=True,
            ):
                column.append(number)
            for real, value in zip(
                floats, (sum(some), min(some), max(some), some[0], some[-1], climb(some), known), strict=True
            ):
                real.append(value or 0.0)
            begin = end
        out = Writer()
        out.count(len(integers[0]))
        out.count(whole)
        out.number(base_ns)
        out.data += _lay(
            array("q", [number for column in integers for number in column]).tobytes()
            + array("d", [value for real in floats for value in real]).tobytes()
        )
        return squeeze(bytes(out.data))


def _lay(words: bytes) -> bytes:
    """Words of 8 bytes, all first bytes first; of a big-endian box turned round."""
    words = _turned(words)
    return b"".join(words[plane::8] for plane in range(8))


def _unlay(laid: bytes) -> bytes:
    count = len(laid) // 8
    words = bytearray(len(laid))
    for plane in range(8):
        words[plane::8] = laid[plane * count : (plane + 1) * count]
    return _turned(bytes(words))


def _turned(words: bytes) -> bytes:
    if sys.byteorder == "little":
        return words
    raw = array("q", words)
    raw.byteswap()
    return raw.tobytes()
