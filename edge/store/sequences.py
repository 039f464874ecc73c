"""Sequences of whole numbers as few bytes, and back, whole or in part. Pure.

What comes in: integers in any order. What goes out: bytes that a general compressor then shortens further. A
sequence is kept as its numbers above the least (order 0), as differences (order 1), as differences of differences
(order 2), or each XORed with the one before it (bit patterns of floats), whichever compresses best. The numbers
are laid out byte by byte, all lowest bytes first, since in a series the high bytes hardly change. Every `RUN`
numbers one is kept in full, so that a part is read without what lies before it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate
from operator import sub, xor

from edge.store.squeeze import cost

RUN = 256
"""Numbers from one that is kept in full to the next."""
PLAIN, DELTA, XOR, SINGLY, SIGNED = range(5)
"""Kinds of a sequence. PLAIN of no bytes is a constant; SINGLY: too far apart for 64 bits; SIGNED: small
ones of both signs, a byte each, which are read without adding anything."""
SHORT = 12
"""So few numbers are not tried as differences of differences."""

_TYPES = {1: "B", 2: "H", 3: "I", 4: "I", 5: "Q", 6: "Q", 7: "Q", 8: "Q"}


class Writer:
    """Bytes that grow."""

    def __init__(self) -> None:
        self.data = bytearray()

    def count(self, number: int) -> None:
        """A number from 0, seven bits a byte."""
        while number > 127:
            self.data.append(number & 127 | 128)
            number >>= 7
        self.data.append(number)

    def number(self, number: int) -> None:
        """Any integer."""
        self.count(number << 1 if number >= 0 else (-number << 1) - 1)

    def blob(self, data: bytes) -> None:
        """Bytes, with their length."""
        self.count(len(data))
        self.data += data


class Reader:
    """Bytes that are read from the front. Raises IndexError or ValueError where they end too soon."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def count(self) -> int:
        """See `Writer.count`."""
        number, shift = 0, 0
        while True:
            byte = self.data[self.place]
            self.place += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7

    def number(self) -> int:
        """See `Writer.number`."""
        raw = self.count()
        return -((raw + 1) >> 1) if raw & 1 else raw >> 1

    def take(self, length: int) -> bytes:
        """The next bytes."""
        begin = self.place
        self.place += length
        if self.place > len(self.data):
            raise ValueError(f"ends {self.place - len(self.data)} bytes too soon")
        return self.data[begin : self.place]

    def blob(self) -> bytes:
        """See `Writer.blob`."""
        return self.take(self.count())


Part = Callable[[int, int], Sequence[int]]
"""The numbers from one place until before another."""


def write(out: Writer, numbers: Sequence[int], *, bits: bool = False) -> None:
    """Append a sequence. `bits`: bit patterns of floats, which are XORed rather than subtracted."""
    if bits:
        candidates = [_plain(numbers), _xored(numbers)]
    else:
        candidates = [_plain(numbers), _delta(numbers, 1)]
        if len(numbers) > SHORT:
            candidates.append(_delta(numbers, 2))
    known = [each for each in candidates if each is not None]
    if not known:
        out.count(SINGLY)
        for number in numbers:
            out.number(number)
        return
    out.data += known[0] if len(known[0]) < 8 else min(known, key=cost)


def read(data: Reader, count: int) -> Part:
    """The sequence of `count` numbers that stands there, to be asked for in part."""
    kind = data.count()
    if kind == PLAIN:
        return _read_plain(data, count)
    if kind == SIGNED:
        small = array("b", data.take(count))
        return lambda begin, end: small[begin:end]
    if kind == SINGLY:
        numbers = [data.number() for _ in range(count)]
        return lambda begin, end: numbers[begin:end]
    heads = read(data, (count + RUN - 1) // RUN)
    steps = read(data, count)
    together = xor if kind == XOR else None

    def part(begin: int, end: int) -> Sequence[int]:
        if begin >= end:
            return ()
        found: list[int] = []
        first, last = begin // RUN, (end - 1) // RUN
        skipped = begin - first * RUN
        for run, head in enumerate(heads(first, last + 1), first):
            inside = steps(run * RUN + 1, min((run + 1) * RUN, end))
            if skipped:  # what nobody asks for is not made one by one
                passed, inside = inside[:skipped], inside[skipped:]
                head = reduce(together, passed, head) if together else sum(passed, head)  # noqa: PLW2901  # goes on
                skipped = 0
            found += accumulate(inside, together, initial=head)
        return found

    return part


def _plain(numbers: Sequence[int]) -> bytes | None:
    least, most = (min(numbers), max(numbers)) if numbers else (0, 0)
    width = ((most - least).bit_length() + 7) // 8
    if width > 8:
        return None
    out = Writer()
    if width == 1 and -128 <= least < 0 and most < 128:
        out.count(SIGNED)
        out.data += array("b", numbers).tobytes()
        return bytes(out.data)
    if least > 0 and most.bit_length() <= 8 * width:
        least = 0
    out.count(PLAIN)
    out.count(width)
    out.number(least)
    if width:
        raw = array(_TYPES[width], [number - least for number in numbers] if least else numbers)
        if sys.byteorder == "big":
            raw.byteswap()
        laid, size = raw.tobytes(), raw.itemsize
        for plane in range(width):
            out.data += laid[plane::size]
    return bytes(out.data)


def _read_plain(data: Reader, count: int) -> Part:
    width, least = data.count(), data.number()
    if width > 8:
        raise ValueError(f"a number of {width} bytes")
    if not width:
        return lambda begin, end: (least,) * (min(end, count) - begin)
    planes = data.take(width * count)
    kind = _TYPES[width]

    def part(begin: int, end: int) -> Sequence[int]:
        end = min(end, count)
        raw = array(kind)
        if width == 1:
            raw.frombytes(planes[begin:end])
        else:
            size = raw.itemsize
            laid = bytearray((end - begin) * size)
            for plane in range(width):
                laid[plane::size] = planes[plane * count + begin : plane * count + end]
            raw.frombytes(laid)
            if sys.byteorder == "big":
                raw.byteswap()
        return [number + least for number in raw] if least else raw

    return part


def _delta(numbers: Sequence[int], order: int) -> bytes | None:
    if not numbers:
        return None
    steps = [0, *map(sub, numbers[1:], numbers)]
    steps[0] = steps[min(1, len(steps) - 1)]
    for place in range(RUN, len(steps), RUN):  # nobody reads the steps to numbers that are kept in full
        steps[place] = steps[place - 1]
    return _with_heads(DELTA, numbers, _plain(steps) if order == 1 else _delta(steps, 1))


def _xored(numbers: Sequence[int]) -> bytes | None:
    if not numbers:
        return None
    steps = [0, *map(xor, numbers[1:], numbers)]
    steps[::RUN] = [0] * len(steps[::RUN])
    return _with_heads(XOR, numbers, _plain(steps))


def _with_heads(kind: int, numbers: Sequence[int], steps: bytes | None) -> bytes | None:
    heads = numbers[::RUN]
    firsts = (_delta(heads, 1) if len(heads) > RUN else None) or _plain(heads)
    if steps is None or firsts is None:
        return None
    out = Writer()
    out.count(kind)
    out.data += firsts
    out.data += steps
    return bytes(out.data)
