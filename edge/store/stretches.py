"""The summary of a chunk: its good numbers summed up, stretch by stretch of some minutes or hours. Pure.

What comes in: one point's numbers in order of time. What goes out: bytes, and from them for each stretch a `Piece`
and where its readings lie. A stretch in which a reading is not good has no piece: it must be read itself.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, groupby
from operator import le, mul, sub
from typing import Any

from edge.store.packing import GOOD
from edge.store.sequences import Reader, Writer
from edge.store.squeeze import squeeze, unsqueeze
from edge.store.steps import Piece, rise

LONGEST_HOLD_NS = 300 * 10**9
"""A value holds at least so long (`steps.HOLD_NS` is never set below): silences up to it are no gaps."""
_WHOLE, _REAL = 5, 7
"""Integers and floats that are kept of a stretch."""


def is_apart(times: Sequence[int]) -> bool:
    """Whether no silence between readings is longer than a value is sure to hold."""
    return max(map(sub, times[1:], times), default=0) <= LONGEST_HOLD_NS


def sum_up(times: Sequence[int], values: Sequence[Any], *, ordered: bool) -> Piece:
    """One or more good numbers in order of time as a piece; with `ordered` also what depends on their order."""
    count, first, last = len(values), values[0], values[-1]
    climbed, area = 0.0, 0.0
    if ordered:
        rising = all(map(le, values, values[1:]))
        climbed = last - first if rising else sum(map(rise, values, values[1:]))
        area = sum(map(mul, values, map(sub, times[1:], times)))
    return Piece(
        count, count, count, sum(values), min(values), max(values), times[0], times[-1], first, GOOD, last, GOOD,
        last, first, last, climbed, area, times[-1] - times[0],
    )  # fmt: skip


class Stretches:
    """A summary, read. A stretch is asked for by its number."""

    def __init__(self, packed: bytes) -> None:
        data = Reader(unsqueeze(packed))
        count = data.count()
        self._whole = bool(data.count())
        base = data.number()
        words = _unlay(data.take(8 * count * (_WHOLE + _REAL)))
        integers = array("q", words[: 8 * count * _WHOLE]).tolist()
        reals = array("d", words[8 * count * _WHOLE :]).tolist()
        counts, firsts, lasts, first_rows, last_rows = (integers[count * n : count * (n + 1)] for n in range(_WHOLE))
        self._counts: list[int] = counts
        """Negative where a reading is not good: such a stretch must be read itself."""
        self.firsts = [base + time_ns for time_ns in firsts]
        """Time of the first reading of each."""
        self.lasts = [base + time_ns for time_ns in lasts]
        self._rows = list(zip(first_rows, last_rows, strict=True))
        self._ends = list(accumulate(map(abs, counts), initial=0))
        self._reals: list[list[float]] = [reals[count * n : count * (n + 1)] for n in range(_REAL)]

    def __len__(self) -> int:
        return len(self.firsts)

    def places(self, number: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the readings of a stretch begin and end, in the chunk and in the frame."""
        return (self._ends[number], self._ends[number + 1]), self._rows[number]

    def good(self, begin: int, end: int) -> bool:
        """Whether all readings of some stretches are good numbers."""
        return min(self._counts[begin:end]) > 0

    def apart(self, number: int) -> bool:
        """Whether what depends on the order of a stretch's readings is known."""
        area = self._reals[-1][number]
        return area == area  # noqa: PLR0124  # NaN: a silence

    def piece(self, begin: int, end: int, *, ordered: bool) -> Piece:
        """Stretches one after the other, all good, as one piece; with `ordered` one stretch only."""
        totals, lows, highs, firsts, lasts, climbed, areas = self._reals
        count = sum(self._counts[begin:end])
        low, high, first, last, rise_ = (
            min(lows[begin:end]),
            max(highs[begin:end]),
            firsts[begin],
            lasts[end - 1],
            0.0,
        )
        area, known = 0.0, 0
        if ordered:
            rise_, area = climbed[begin], areas[begin]
            known = self.lasts[begin] - self.firsts[begin]
        if self._whole:
            low, high, first, last, rise_ = int(low), int(high), int(first), int(last), int(rise_)
        return Piece(
            count, count, count, sum(totals[begin:end]), low, high, self.firsts[begin], self.lasts[end - 1], first,
            GOOD, last, GOOD, last, first, last, rise_, area, known,
        )  # fmt: skip

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
            piece = sum_up(times[begin:end], some, ordered=True)
            count = end - begin if good else begin - end
            apart = piece.area if is_apart(times[begin:end]) else float("nan")
            for column, number in zip(
                integers,
                (count, piece.first_ns - base_ns, piece.last_ns - base_ns, places[begin], places[end - 1] + 1),
                strict=True,
            ):
                column.append(number)
            for real, value in zip(
                floats, (piece.total, piece.low, piece.high, some[0], some[-1], piece.rise, apart), strict=True
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
