"""Limits that could never be passed, or never come back from: they would look like protection and be none.

What comes in: what is compared, as name, kind and range, and the limit. What goes out: what is wrong with it, in
words for the person who wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.point import Point, Value
from edge.alarms.measure import Change, Count, Difference, Measure, points_of_measure

_ARTICLE = {"bool": "true or false", "int": "a whole number", "float": "a number", "text": "text"}


@dataclass(frozen=True, slots=True)
class Compared:
    """What a limit is set on."""

    name: str
    kind: str
    low: float | None
    high: float | None
    unit: str


def compared(what: Point | Measure) -> Compared:
    """A point, or what can be said of a number made of points."""
    if isinstance(what, Point):
        return Compared(what.name, what.kind, what.low, what.high, what.unit)
    point = points_of_measure(what)[0]
    if isinstance(what, Count):
        return Compared(f"the count of {point.name}", "float", 0, None, "")
    if isinstance(what, Change):
        reach = None if point.low is None or point.high is None else (point.high - point.low) * what.factor
        low, high = (0.0, reach) if what.rise else (None if reach is None else -reach, 0.0)
        return Compared(f"the {'rise' if what.rise else 'fall'} of {point.name}", "float", low, high, point.unit)
    if isinstance(what, Difference):
        low = 0.0 if what.either_way else None
        return Compared(f"the difference of {point.name}", "float", low, None, "%" if what.percent else point.unit)
    return Compared(f"the unbalance of {point.name}", "float", 0, None, "%")


def bad_limit(it: Compared, key: str, limit: float, deadband: float) -> tuple[str, str] | None:
    """Which key is wrong and why; None where the limit can be passed and come back from."""
    if it.kind not in ("int", "float"):
        return key, f"{key} compares numbers, but {it.name} is of kind {it.kind}; use is, is_not or in"
    unit = f" {it.unit}" if it.unit else ""
    low, high = it.low, it.high
    span = f"its range {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}{unit}"
    if low is not None and high is not None and deadband >= high - low:
        return "deadband", f"is {deadband:g}, as wide as {it.name} in {span}; make it smaller"
    if key == "above":
        never, stuck = high is not None and limit >= high, low is not None and limit - deadband < low
    else:
        never, stuck = low is not None and limit <= low, high is not None and limit + deadband > high
    if never:
        return key, f"is {limit:g}, which {it.name} never passes in {span}; the rule would never be raised"
    if stuck and deadband:
        return "deadband", f"is {deadband:g}: {key} {limit:g} could never clear in {span}; make it smaller"
    if stuck:
        return key, f"is {limit:g}: {it.name} is always {key} that in {span}; the rule could never clear"
    return None


def unfit(point: Point, value: Value) -> str | None:
    """Why a point can never have a value; None where it can."""
    if point.kind == "bool":
        right = isinstance(value, bool)
    elif point.kind == "text":
        right = isinstance(value, str)
    else:
        numbers = int if point.kind == "int" else int | float
        right = isinstance(value, numbers) and not isinstance(value, bool)
    if not right:
        return f"is {value!r}, but {point.name} is of kind {point.kind}; write {_ARTICLE[point.kind]}"
    if isinstance(value, bool | str) or value is None:
        return None
    if (point.low is not None and value < point.low) or (point.high is not None and value > point.high):
        return f"is {value!r}, outside of what {point.name} can be"
    if point.labels is not None and value not in point.labels:
        known = ", ".join(f"{code} {text.en}" for code, text in point.labels.items())
        return f"is {value!r}, which {point.name} does not know; it knows {known}"
    return None
