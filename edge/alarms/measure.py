"""Numbers that rules compare with a limit, and that are made of a point's past or of several points.

Only what they are; `signals` works them out. Each is one key: two rules with the same measure share one signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from drivers.point import Point, Value


@dataclass(frozen=True, slots=True)
class Change:
    """How far a point has risen from its lowest within a time, or fallen from its highest: a negative number."""

    point: Point
    over_s: float
    rise: bool
    factor: float = 1.0
    """Turns the whole change into a rate."""


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's increase, or how often a value became one of `into` from one of `out_of`, within a time."""

    point: Point
    over_s: float | None
    """None: since midnight."""
    zone: ZoneInfo
    into: tuple[Value, ...] = ()
    """Empty: the point is a counter."""
    out_of: tuple[Value, ...] | None = None
    """None: whatever is not in `into`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A point less another, or less a fixed number."""

    point: Point
    other: Point | float
    percent: bool = False
    either_way: bool = False


@dataclass(frozen=True, slots=True)
class Unbalance:
    """The largest distance of points from their mean, in percent of it; 0 while the mean is under `floor`."""

    points: tuple[Point, ...]
    floor: float


Measure = Change | Count | Difference | Unbalance


def points_of_measure(measure: Measure) -> tuple[Point, ...]:
    """The points that a measure is made of, the one that it is named by first."""
    if isinstance(measure, Unbalance):
        return measure.points
    if isinstance(measure, Difference) and isinstance(measure.other, Point):
        return measure.point, measure.other
    return (measure.point,)


def key_of(measure: Change | Count) -> str:
    """What a measure's past is stored under."""
    if isinstance(measure, Change):
        return f"change {measure.point.id} {measure.over_s:g} {'rise' if measure.rise else 'fall'} {measure.factor:g}"
    over = "day" if measure.over_s is None else f"{measure.over_s:g}"
    return f"count {measure.point.id} {over} {measure.out_of} {measure.into}"
