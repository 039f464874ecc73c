"""Readings of one point over a span of time, thinned to steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from drivers.point import Value
from edge.store.packing import GOOD

Reading = tuple[int, Value, str]
"""Time in ns, value, quality."""


def thin(readings: Iterable[Reading], every_ns: int | None, limit: int) -> list[Reading]:
    """At most `limit` readings, oldest first; with `every_ns`, one for each step that has any.

    A step carries its start as its time and the mean of its good numbers, or where it has no good number (texts,
    switches, only bad ones) its last value and quality. Steps begin at multiples of `every_ns` since 1970.
    """
    if every_ns is None:
        return sorted(_first(readings, limit), key=lambda reading: reading[0])
    steps: dict[int, _Step] = {}
    for time_ns, value, quality in readings:
        start = time_ns - time_ns % every_ns
        step = steps.get(start)
        if step is None:
            if len(steps) == limit:
                break
            step = steps[start] = _Step()
        step.add(time_ns, value, quality)
    return [(start, *steps[start].result()) for start in sorted(steps)]


def _first(readings: Iterable[Reading], limit: int) -> list[Reading]:
    return [reading for _, reading in zip(range(limit), readings, strict=False)]


class _Step:
    __slots__ = ("count", "last", "last_ns", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0
        self.last: tuple[Value, str] = (None, GOOD)
        self.last_ns = -1

    def add(self, time_ns: int, value: Value, quality: str) -> None:
        if time_ns >= self.last_ns:
            self.last, self.last_ns = (value, quality), time_ns
        if quality == GOOD and isinstance(value, int | float) and not isinstance(value, bool):
            self.total += value
            self.count += 1

    def result(self) -> tuple[Value, str]:
        return (self.total / self.count, GOOD) if self.count else self.last
