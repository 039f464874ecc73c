"""The summary of a chunk: its good numbers summed up, stretch by stretch of some minutes or hours. Pure.

What comes in: one point's numbers in order of time. What goes out: bytes, and from them for each stretch a `Piece`
and where its readings lie. A stretch in which a reading is not good has no piece: it must be read itself.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import le, mul, sub
from typing import Any, NamedTuple

from edge.store.packing import GOOD
from edge.store.sequences import Reader, Writer
from edge.store.squeeze import squeeze, unsqueeze
from edge.store.steps import Piece, rise

LONGEST_HOLD_NS = 300 * 10**9
"""A value holds at least so long (`steps.HOLD_NS` is never set below): silences up to it are no gaps."""
_WHOLE, _REAL = 5, 7
"""Integers and floats that are kept of a stretch."""


class Stretch(NamedTuple):
    """A run of readings that was summed up together."""

    first_ns: int
    last_ns: int
    readings: tuple[int, int]
    """Place of the first of them in the chunk, and that behind the last."""
    rows: tuple[int, int]
    """The same in the frame."""
    piece: Piece | None
    """None where they must be read themselves; with `known_ns` -1 for what depends on their order only."""


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
    """A summary, read."""

    def __init__(self, packed: bytes) -> None:
        data = Reader(unsqueeze(packed))
        count = data.count()
        self._whole = bool(data.count())
        self._base_ns = data.number()
        words = _unlay(data.take(8 * count * (_WHOLE + _REAL)))
        self._count = count
        self._integers = array("q", words[: 8 * count * _WHOLE])
        self._floats = array("d", words[8 * count * _WHOLE :])

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

    def bounds(self) -> tuple[int, int]:
        """Time of the first and of the last reading."""
        return self._base_ns, self._base_ns + self._integers[3 * self._count - 1]

    def __iter__(self) -> Iterator[Stretch]:
        count, base, place = self._count, self._base_ns, 0
        counts, firsts, lasts, first_rows, last_rows = (
            self._integers[count * n : count * (n + 1)] for n in range(_WHOLE)
        )
        reals = [self._floats[count * n : count * (n + 1)] for n in range(_REAL)]
        for n in range(count):
            number, first_ns, last_ns = counts[n], base + firsts[n], base + lasts[n]
            total, low, high, first, last, climbed, area = (column[n] for column in reals)
            if self._whole:
                low, high, first, last, climbed = int(low), int(high), int(first), int(last), int(climbed)
            piece = None
            if number > 0:
                known = last_ns - first_ns if area == area else -1  # noqa: PLR0124  # NaN: not apart
                piece = Piece(
                    number, number, number, total, low, high, first_ns, last_ns, first, GOOD, last, GOOD, last,
                    first, last, climbed, area, known,
                )  # fmt: skip
            end = place + abs(number)
            yield Stretch(first_ns, last_ns, (place, end), (first_rows[n], last_rows[n]), piece)
            place = end


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
