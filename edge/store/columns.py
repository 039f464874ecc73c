"""The values and the qualities of one point over a period as bytes, and back: exactly, type by type. Pure.

What comes in: values as `packing.clean` leaves them, in order. Booleans become bits; integers a sequence; floats
that are decimals of few places (as most devices send them, also through a register of 32 bits) the integers of
their digits, other floats their bit patterns, XORed; texts numbers in a dictionary; values of mixed types JSON.
Nothings are kept by their places beside the rest. Qualities are kept as runs.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain, groupby, repeat
from math import copysign
from typing import Any

import orjson

from drivers.point import Value
from edge.store.packing import GOOD
from edge.store.sequences import Reader, Writer, read, write

EMPTY, BITS, INTEGERS, DECIMALS, DECIMALS32, FLOATS32, FLOATS64, TEXTS, MIXED, SCALED32 = range(10)
"""Kinds of a column. DECIMALS32: decimals that went through a float of 32 bits; SCALED32: floats of 32 bits times a
power of ten, as a register of watts is read in kilowatts."""
NUMERIC = frozenset({INTEGERS, DECIMALS, DECIMALS32, FLOATS32, FLOATS64, SCALED32})
HOLES = 16
"""Added to the kind of a column in which some values are nothing."""
PLACES = 7
"""Decimal places that are tried."""
SCALES = (3, 1, 2)
"""Powers of ten by which floats of 32 bits may have been divided."""
EXACT = 2**53
"""Whole numbers below it are exact as floats."""

Values = Callable[[int, int], Sequence[Any]]
"""The values from one place until before another."""


def write_values(out: Writer, values: Sequence[Value]) -> int:
    """Append a column; returns its kind, with HOLES where it has any."""
    kinds = set(map(type, values))
    holed = type(None) in kinds and len(kinds) > 1
    if holed:
        kinds.discard(type(None))
        dense: Sequence[Any] = [value for value in values if value is not None]
    else:
        dense = values
    kind, write_kind = _kind(kinds, dense)
    out.count(kind + (HOLES if holed else 0))
    if holed:
        _write_bits(out, [value is None for value in values])
        out.count(len(dense))
    write_kind(out, dense)
    return kind + (HOLES if holed else 0)


def _kind(kinds: set[type], dense: Sequence[Any]) -> tuple[int, Callable[[Writer, Sequence[Any]], None]]:
    if kinds <= {type(None)}:
        return EMPTY, lambda out, values: None
    if kinds == {bool}:
        return BITS, _write_bits
    if kinds == {int}:
        return INTEGERS, write
    if kinds == {float}:
        return _float_kind(dense)
    if kinds == {str}:
        return TEXTS, _write_texts
    return MIXED, lambda out, values: out.blob(orjson.dumps(values))


def read_values(data: Reader, count: int) -> tuple[int, Values]:
    """The column of `count` values that stands there: its kind, and its values in part."""
    kind = data.count()
    if not kind & HOLES:
        return kind, _READ[kind](data, count)
    nothing = _read_bits(data, count)(0, count)
    dense = iter(_READ[kind & ~HOLES](data, here := data.count())(0, here))
    values = [None if hole else next(dense) for hole in nothing]
    return kind, lambda begin, end: values[begin:end]


# Bits


def _write_bits(out: Writer, values: Sequence[bool]) -> None:
    text = bytes(values).translate(_DIGITS)
    out.data += int(b"1" + text, 2).to_bytes(len(values) // 8 + 1, "big")


def _read_bits(data: Reader, count: int) -> Values:
    text = bin(int.from_bytes(data.take(count // 8 + 1), "big"))
    values = [digit == "1" for digit in text[3:]]
    return lambda begin, end: values[begin:end]


_DIGITS = b"01" + bytes(254)

# Floats


def _float_kind(values: Sequence[float]) -> tuple[int, Callable[[Writer, Sequence[Any]], None]]:
    """How these floats are kept, checked value by value: what is not exact is kept as its bit pattern."""
    signed = 0.0 in values and any(value == 0 and copysign(1, value) < 0 for value in values)
    places = () if signed else range(PLACES + 1)
    for place in places:
        digits = _digits(values, place, single=False)
        if digits is not None:
            return DECIMALS, _writer_of_decimals(place, digits)
    if not _are_single(values):
        for place in SCALES:
            raw = _unscaled(values, place)
            if raw is not None:
                return SCALED32, _writer_of_scaled(place, raw)
        return FLOATS64, lambda out, given: write(out, array("Q", array("d", given).tobytes()), bits=True)
    for place in places:
        digits = _digits(values, place, single=True)
        if digits is not None:
            return DECIMALS32, _writer_of_decimals(place, digits)
    return FLOATS32, lambda out, given: write(out, array("I", array("f", given).tobytes()), bits=True)


def _unscaled(values: Sequence[float], places: int) -> array[float] | None:
    """The floats of 32 bits that these are, each times a power of ten."""
    scale, back = float(f"1e-{places}"), 10.0**places
    for some in (values[:8], values):
        try:
            raw = array("f", [value * back for value in some])
        except OverflowError:
            return None
        if [value * scale for value in raw] != list(some):
            return None
    return raw


def _writer_of_scaled(places: int, raw: array[float]) -> Callable[[Writer, Sequence[Any]], None]:
    def write_scaled(out: Writer, _: Sequence[Any]) -> None:
        out.count(places)
        write(out, array("I", raw.tobytes()), bits=True)

    return write_scaled


def _read_scaled(data: Reader, count: int) -> Values:
    scale = float(f"1e-{data.count()}")
    part = _read_floats(data, count, "I", "f")
    return lambda begin, end: [value * scale for value in part(begin, end)]


def _are_single(values: Sequence[float]) -> bool:
    """Whether all of them are floats of 32 bits."""
    try:
        return array("f", values).tolist() == list(values)
    except OverflowError:
        return False


def _digits(values: Sequence[float], places: int, *, single: bool) -> list[int] | None:
    scale = 10**places
    for some in (values[:8], values):
        try:
            digits = [round(value * scale) for value in some]
        except (ValueError, OverflowError):  # no number, or infinite
            return None
        if max(map(abs, digits), default=0) >= EXACT:
            return None
        if _undigit(digits, scale, single=single) != list(some):
            return None
    return digits


def _undigit(digits: Sequence[int], scale: int, *, single: bool) -> list[float]:
    found = [digit / scale for digit in digits]
    return array("f", found).tolist() if single else found


def _writer_of_decimals(places: int, digits: Sequence[int]) -> Callable[[Writer, Sequence[Any]], None]:
    def write_decimals(out: Writer, _: Sequence[Any]) -> None:
        out.count(places)
        write(out, digits)

    return write_decimals


def _read_decimals(data: Reader, count: int, *, single: bool = False) -> Values:
    scale = 10 ** data.count()
    part = read(data, count)
    return lambda begin, end: _undigit(part(begin, end), scale, single=single)


def _read_floats(data: Reader, count: int, whole: str, kind: str) -> Values:
    part = read(data, count)
    return lambda begin, end: array(kind, array(whole, part(begin, end)).tobytes()).tolist()


# Texts and the rest


def _write_texts(out: Writer, values: Sequence[str]) -> None:
    places = {text: place for place, text in enumerate(dict.fromkeys(values))}
    out.blob(orjson.dumps(list(places)))
    write(out, [places[value] for value in values])


def _read_texts(data: Reader, count: int) -> Values:
    texts = orjson.loads(data.blob())
    part = read(data, count)
    return lambda begin, end: [texts[place] for place in part(begin, end)]


def _read_mixed(data: Reader, count: int) -> Values:
    values = orjson.loads(data.blob())
    return lambda begin, end: values[begin:end]


_READ: tuple[Callable[[Reader, int], Values], ...] = (
    lambda data, count: lambda begin, end: [None] * (min(end, count) - begin),
    _read_bits,
    read,
    _read_decimals,
    lambda data, count: _read_decimals(data, count, single=True),
    lambda data, count: _read_floats(data, count, "I", "f"),
    lambda data, count: _read_floats(data, count, "Q", "d"),
    _read_texts,
    _read_mixed,
    _read_scaled,
)

# Qualities


def write_marks(out: Writer, marks: Sequence[str] | None) -> bool:
    """Append qualities as runs (None: all good); returns whether all are good."""
    if marks is None or all(mark == GOOD for mark in marks):
        out.count(0)
        return True
    runs = [(mark, sum(1 for _ in same)) for mark, same in groupby(marks)]
    names = list(dict.fromkeys(mark for mark, _ in runs))
    out.count(len(runs))
    out.blob(orjson.dumps(names))
    write(out, [names.index(mark) for mark, _ in runs])
    write(out, [length for _, length in runs])
    return False


Marks = Callable[[int, int], Sequence[str]]


def read_marks(data: Reader) -> Marks | None:
    """The qualities that stand there, in part; None where all are good."""
    runs = data.count()
    if not runs:
        return None
    names = orjson.loads(data.blob())
    places, lengths = read(data, runs)(0, runs), read(data, runs)(0, runs)
    marks = list(
        chain.from_iterable(repeat(names[place], length) for place, length in zip(places, lengths, strict=True))
    )
    return lambda begin, end: marks[begin:end]
