"""Meters: the counters that upkeep counts by.

What comes in: the `meters` section of a profile, for one equipment. What goes out: meters whose points have been
followed; every mistake is noted in the document where it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from drivers.document import Document, Where, nearest
from drivers.point import Point, Text
from drivers.profile import Strict, TextSpec

_NAME = re.compile(r"[a-z0-9_]{1,64}\Z")
Way = Literal["hours_while", "count", "counter"]
_WAYS: tuple[Way, ...] = ("hours_while", "count", "counter")


class MeterKeys(Strict):
    """The keys of one meter."""

    name: TextSpec
    unit: str = ""
    hours_while: str | None = None
    """A bool point: hours during which it is true."""
    count: str | None = None
    """A bool point: how often it becomes true."""
    counter: str | None = None
    """A counter of the device's own."""
    rollover: Annotated[float, Field(gt=0)] | None = None
    """The value at which the device's counter starts from 0 again, e.g. 65536."""

    @model_validator(mode="after")
    def _one_way(self) -> MeterKeys:
        ways = [way for way in _WAYS if getattr(self, way) is not None]
        if len(ways) != 1:
            raise ValueError(f"a meter has one of {', '.join(_WAYS)}; found {' and '.join(ways) or 'none'}")
        if self.rollover is not None and self.counter is None:
            raise ValueError("rollover belongs to a counter; remove it")
        if self.hours_while is not None and self.unit != "h":
            raise ValueError(f"hours_while counts hours, but the unit is {self.unit!r}; write unit: h")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class MeterSpec:
    """One meter of one equipment, checked."""

    equipment: str
    name: str
    title: Text
    unit: str
    way: Way
    point: Point
    offset: float | None
    """What it read on commissioning; None: hours and counts begin at 0, a device's counter at what it shows."""
    rollover: float | None

    @property
    def id(self) -> str:
        """`<equipment>.<name>`"""
        return f"{self.equipment}.{self.name}"


@dataclass(frozen=True, slots=True)
class MeterView:
    """A meter as people see it."""

    equipment: str
    name: str
    title: Text
    unit: str
    value: float | None
    """None: a device's counter that could not be read yet."""


def compile_meters(
    equipment: str,
    points: Sequence[Point],
    specs: Mapping[str, Any],
    document: Document,
    where: Where,
    offsets: Mapping[str, float] | None = None,
) -> list[MeterSpec]:
    """The meters of one equipment; those with mistakes are left out and noted in `document`.

    `offsets` are what they read on commissioning, by name.
    """
    named = {point.name: point for point in points}
    meters = []
    for name, raw in specs.items():
        here = (*where, name)
        if not _NAME.match(name):
            document.add(here, "is no meter name; use a-z, 0-9 and _")
            continue
        keys = document.validate(MeterKeys, raw, here)
        followed = _follow(keys, named, document, here) if keys else None
        offset = (offsets or {}).get(name)
        if offset is not None and not (math.isfinite(offset) and offset >= 0):
            document.add(here, f"{equipment} says it read {offset:g} on commissioning; a meter reads 0 or more")
        elif keys and followed:
            way, point = followed
            text = keys.name.text()
            meters.append(MeterSpec(equipment, name, text, keys.unit, way, point, offset, keys.rollover))
    return meters


def _follow(
    keys: MeterKeys, points: Mapping[str, Point], document: Document, where: Where
) -> tuple[Way, Point] | None:
    """The way to count, and its point; None where there is a mistake, which is noted."""
    way: Way = next(way for way in _WAYS if getattr(keys, way) is not None)
    name = getattr(keys, way)
    point = points.get(name)
    if point is None:
        document.add((*where, way), f"no point {name!r} in the profile{nearest(name, points)}")
        return None
    right = ("int", "float") if way == "counter" else ("bool",)
    if point.kind not in right:
        document.add((*where, way), f"{name} is of kind {point.kind}; {way} wants {' or '.join(right)}")
        return None
    return way, point
