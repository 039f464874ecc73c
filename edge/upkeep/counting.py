"""Meters at work: what each reading adds.

What comes in: one value at a time with its monotonic time, None where it cannot be trusted. What goes out: a
number that never falls. The three ways differ in what they make of a gap: run time is not counted through it, a
start is counted once where the last good reading was off and the next is on, and a device's counter has gone on
counting by itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from drivers.point import Value
from edge.upkeep.meters import MeterSpec, MeterView

GAP_PERIODS = 3.0
GAP_S = 60.0
"""A pause between two readings of a polled point that is longer than both is not run time."""
GLITCH = 0.1
"""A counter that fell and is then at once back where it was, by a rise of more than this share, never fell."""


class Meter(ABC):
    """One meter at work."""

    def __init__(self, spec: MeterSpec) -> None:
        self.spec = spec
        self.counted = 0.0
        """What has been added since commissioning."""

    @property
    def value(self) -> float | None:
        """What it reads, in its unit; None where that is not known yet."""
        return (self.spec.offset or 0.0) + self.counted

    def view(self) -> MeterView:
        """As people see it."""
        spec = self.spec
        return MeterView(spec.equipment, spec.name, spec.title, spec.unit, self.value)

    @abstractmethod
    def take(self, value: Value, mono_s: float) -> None:
        """One reading; None: not to be trusted."""

    def tick(self, mono_s: float) -> None:  # noqa: B027  # most meters count by readings only
        """Time passes without a reading."""

    def to_body(self) -> dict[str, Any]:
        """What must survive a restart, as plain data for JSON."""
        return {"counted": self.counted}

    def restore(self, body: Mapping[str, Any]) -> None:
        """Take up what was stored. Raises ValueError where it is no such thing."""
        self.counted = _number(body, "counted") or 0.0


class Hours(Meter):
    """Hours during which a point is true.

    A polled point must be read again within a minute (or three periods) for the time between to count. A point
    that is reported only when it changes stays what it was until the driver says that the device is silent.
    """

    def __init__(self, spec: MeterSpec) -> None:
        super().__init__(spec)
        period_s = spec.point.period_s
        self._reports = period_s == 0
        self._gap_s = math.inf if self._reports else max(GAP_PERIODS * period_s, GAP_S)
        self._since_s: float | None = None
        """The last time at which it was known to be true."""

    def take(self, value: Value, mono_s: float) -> None:
        if value is not None:
            self._add(mono_s)
        self._since_s = mono_s if value is True else None

    def tick(self, mono_s: float) -> None:
        if self._reports and self._since_s is not None:
            self._add(mono_s)
            self._since_s = max(mono_s, self._since_s)

    def _add(self, mono_s: float) -> None:
        if self._since_s is not None and 0 < mono_s - self._since_s <= self._gap_s:
            self.counted += (mono_s - self._since_s) / 3600


class Count(Meter):
    """How often a point becomes true."""

    def __init__(self, spec: MeterSpec) -> None:
        super().__init__(spec)
        self._last: bool | None = None

    def take(self, value: Value, mono_s: float) -> None:
        if isinstance(value, bool):
            if value and self._last is False:
                self.counted += 1
            self._last = value


class Counter(Meter):
    """Increases of a counter of the device's own, through its resets and roll-overs."""

    def __init__(self, spec: MeterSpec) -> None:
        super().__init__(spec)
        self._start: float | None = spec.offset
        self._last: float | None = None
        self._fell_from: float | None = None

    @property
    def value(self) -> float | None:
        return None if self._start is None else self._start + self.counted

    def take(self, value: Value, mono_s: float) -> None:
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            return
        now = float(value)
        if self._start is None:
            self._start = now
        elif self._last is not None:
            self.counted += self._increase(self._last, now)
        self._last = now

    def _increase(self, last: float, now: float) -> float:
        if now >= last:
            return self._rise(last, now)
        rollover = self.spec.rollover
        if rollover is not None and last < rollover and (rollover - last) + now < rollover / 2:
            return (rollover - last) + now
        self._fell_from = last  # a reset: the device counts from 0 again
        return now if now <= last * GLITCH else 0.0

    def _rise(self, last: float, now: float) -> float:
        fell_from = self._fell_from
        if fell_from is None or now < fell_from:
            return now - last
        self._fell_from = None
        if now - last > fell_from * GLITCH:  # it shows what it showed before the fall, in one leap
            return max(now - fell_from - last, 0.0)
        return now - last

    def to_body(self) -> dict[str, Any]:
        return {"counted": self.counted, "start": self._start, "last": self._last, "fell_from": self._fell_from}

    def restore(self, body: Mapping[str, Any]) -> None:
        super().restore(body)
        if self.spec.offset is None:
            self._start = _number(body, "start")
        self._last = _number(body, "last")
        self._fell_from = _number(body, "fell_from")


def build(spec: MeterSpec) -> Meter:
    """The meter at work that a spec asks for."""
    kinds: dict[str, type[Meter]] = {"hours_while": Hours, "count": Count, "counter": Counter}
    return kinds[spec.way](spec)


def _number(body: Mapping[str, Any], key: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r}, no number")
    return float(value)
