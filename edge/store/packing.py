"""Values and qualities of one batch, made fit to keep. Pure.

A value keeps its type: bool, int, float, text or nothing. What no column and no far end could take is settled
here, once: NaN and infinity become nothing with `bad/sensor`; an integer that does not fit 64 bits becomes the
nearest float (a series stays a series of numbers), and beyond a float's range nothing with `bad/range`; half a
character pair in a text becomes a question mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot, isfinite

import orjson

from drivers.point import Quality, Value

GOOD = Quality.GOOD.value
LOWEST, HIGHEST = -(2**63), 2**64 - 1
"""Integers in between are kept exactly."""
_LONG = 2.0**63
_PLAIN = frozenset({bool, int, float, str})

UNCERTAIN = Quality.UNCERTAIN_CLOCK.value

Qualities = tuple[str, ...] | None


def clean(values: Sequence[Value], qualities: Sequence[str] | None) -> tuple[tuple[Value, ...], Qualities]:
    """Values and qualities as they are kept; None for the qualities where all are good.

    The length of the values as a vector is the cheapest way to look at all of them, since it is done in C: none is
    longer than the vector, and NaN, infinity and texts do not come through.
    """
    values = tuple(values)
    try:
        fits = hypot(*values) < _LONG  # type: ignore[arg-type]  # what is no number is found here
    except (TypeError, OverflowError):
        fits = _are_plain(values)
    if not fits:
        marks = list(qualities or (GOOD,) * len(values))
        pairs = [_clean_one(value, mark) for value, mark in zip(values, marks, strict=True)]
        values, qualities = tuple(v for v, _ in pairs), tuple(q for _, q in pairs)
    if qualities is None:
        return values, None
    qualities = tuple(qualities)
    return values, None if qualities.count(GOOD) == len(qualities) else qualities


def _are_plain(values: tuple[Value, ...]) -> bool:
    """Whether nothing is to be done, with texts among them: what does not fit is refused, or comes out as `null`."""
    try:
        return _PLAIN.issuperset(map(type, values)) and b"null" not in orjson.dumps(values)
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


def fold_qualities(qualities: Qualities) -> str | dict[str, str] | None:
    """None: all good. A text: all the same. A mapping: position -> quality of those that are not good."""
    if qualities is None:
        return None
    if qualities.count(qualities[0]) == len(qualities):
        return qualities[0]
    return {str(place): mark for place, mark in enumerate(qualities) if mark != GOOD}


def unfold_qualities(folded: str | Mapping[str, str] | None, count: int) -> Qualities:
    """The qualities of a row of `count` values."""
    if folded is None:
        return None
    if isinstance(folded, str):
        return (folded,) * count
    return tuple([folded.get(str(place), GOOD) for place in range(count)])


def settle(qualities: Qualities) -> Qualities:
    """The qualities once the time is known: what was uncertain only for that is good."""
    if qualities is None or UNCERTAIN not in qualities:
        return qualities
    kept = tuple(GOOD if mark == UNCERTAIN else mark for mark in qualities)
    return None if all(mark == GOOD for mark in kept) else kept
