"""Values and qualities of one batch, made fit to keep, as bytes, and back. Pure.

A value keeps its type: bool, int, float, text or nothing. What no column and no far end could take is settled
here, once: NaN and infinity become nothing with `bad/sensor`; an integer that does not fit 64 bits becomes the
nearest float (a series stays a series of numbers), and beyond a float's range nothing with `bad/range`; half a
character pair in a text becomes a question mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import orjson

from drivers.point import Quality, Value

GOOD = Quality.GOOD.value
LOWEST, HIGHEST = -(2**63), 2**64 - 1
"""Integers in between are kept exactly."""
_ABSENT: list[Any] = []
"""Stands where the row has no value for a point of its layout; no value is ever a list."""

UNCERTAIN = Quality.UNCERTAIN_CLOCK.value

Qualities = tuple[str, ...] | None


def clean(values: Sequence[Value], qualities: Sequence[str] | None) -> tuple[tuple[Value, ...], Qualities]:
    """Values and qualities as they are kept; None for the qualities where all are good."""
    values = tuple(values)
    if _fits(values):
        kept = values
    else:
        marks = list(qualities or (GOOD,) * len(values))
        pairs = [_clean_one(value, mark) for value, mark in zip(values, marks, strict=True)]
        kept, qualities = tuple(v for v, _ in pairs), tuple(q for _, q in pairs)
    if qualities is None or all(mark == GOOD for mark in qualities):
        return kept, None
    return kept, tuple(qualities)


def _fits(values: tuple[Value, ...]) -> bool:
    """Whether nothing is to be done. Packing is the cheapest way to look at all values, since it is done in C:
    it refuses what does not fit, and nothing, NaN and infinity come out as `null`.
    """
    try:
        return b"null" not in orjson.dumps(values)
    except TypeError:
        return False


def _clean_one(value: Value, quality: str) -> tuple[Value, str]:
    if isinstance(value, float) and not isfinite(value):
        return None, Quality.BAD_SENSOR.value if quality == GOOD else quality
    if isinstance(value, int) and not LOWEST <= value <= HIGHEST:
        try:
            return float(value), quality
        except OverflowError:
            return None, Quality.BAD_RANGE.value if quality == GOOD else quality
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode(), quality
    if value is None or isinstance(value, bool | int | float):
        return value, quality
    raise TypeError(f"{value!r} is no value of a point")


def pack_values(values: Sequence[Value]) -> bytes:
    """Cleaned values as JSON."""
    return orjson.dumps(values)


def unpack_values(body: bytes) -> list[Any]:
    """What `pack_values` or `spread` wrote; `absent` tells a gap from a value."""
    values: list[Any] = orjson.loads(body)
    return values


def spread(points: Sequence[str], values: Sequence[Value], onto: Sequence[str]) -> list[Any]:
    """The values in the order of a wider layout `onto`, with gaps."""
    given = dict(zip(points, values, strict=True))
    return [given.get(point, _ABSENT) for point in onto]


def absent(value: Any) -> bool:
    """Whether an unpacked value is a gap."""
    return isinstance(value, list)


def pack_qualities(qualities: Qualities) -> bytes | None:
    """None: all good. A text: all the same. A mapping: position -> quality of those that are not good."""
    if qualities is None:
        return None
    if len(set(qualities)) == 1:
        return orjson.dumps(qualities[0])
    return orjson.dumps({str(place): mark for place, mark in enumerate(qualities) if mark != GOOD})


def unpack_qualities(packed: bytes | None, count: int) -> Qualities:
    """The qualities of a row of `count` values."""
    if packed is None:
        return None
    marks = orjson.loads(packed)
    if isinstance(marks, str):
        return (marks,) * count
    return tuple(marks.get(str(place), GOOD) for place in range(count))


def settle(qualities: Qualities) -> Qualities:
    """The qualities once the time is known: what was uncertain only for that is good."""
    if qualities is None or UNCERTAIN not in qualities:
        return qualities
    kept = tuple(GOOD if mark == UNCERTAIN else mark for mark in qualities)
    return None if all(mark == GOOD for mark in kept) else kept
