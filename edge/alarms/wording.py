"""Conditions as one line of text, for tables that people compare with a maker's sheet."""

from __future__ import annotations

from drivers.point import Point
from edge.alarms.measure import Change, Count, Difference, Measure
from edge.alarms.truth import (
    Above,
    AllOf,
    AnyOf,
    Below,
    Linked,
    Not,
    OneOf,
    Silent,
    Standing,
    Term,
    Unusable,
    Within,
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def worded(term: Term, equipment: str) -> str:
    """A condition; points and alarms of `equipment` by their own names."""
    if isinstance(term, AllOf | AnyOf):
        word = " and " if isinstance(term, AllOf) else " or "
        return word.join(_part(part, equipment) for part in term.parts)
    if isinstance(term, Not):
        return f"not {_part(term.part, equipment)}"
    if isinstance(term, Above | Below):
        sign = ">" if isinstance(term, Above) else "<"
        back = f" (back at {'−' if isinstance(term, Above) else '+'}{term.deadband:g})" if term.deadband else ""
        return f"{_what(term.what, equipment)} {sign} {term.limit:g}{_unit(term.what)}{back}"
    if isinstance(term, OneOf):
        values = " or ".join(_value(term.what, value) for value in term.values)
        return f"{_name(term.what, equipment)} {'is not' if term.inverse else 'is'} {values}"
    return _state(term, equipment)


def _state(term: Silent | Unusable | Linked | Standing | Within, equipment: str) -> str:
    if isinstance(term, Silent):
        return "no point can be read" if term.equipment == equipment else f"{term.equipment} is silent"
    if isinstance(term, Unusable):
        return "a value cannot be used"
    if isinstance(term, Linked):
        return f"connection {'up' if term.up else 'down'}"
    if isinstance(term, Standing):
        return f"alarm {term.alarm.removeprefix(f'{equipment}.')}"
    days = "" if len(term.days) == len(_DAYS) else " " + " ".join(_DAYS[day] for day in sorted(term.days))
    return f"{_clock(term.begin_min)} to {_clock(term.end_min)}{days}"


def _part(term: Term, equipment: str) -> str:
    text = worded(term, equipment)
    return f"({text})" if isinstance(term, AllOf | AnyOf) else text


def _what(what: Point | Measure, equipment: str) -> str:
    if isinstance(what, Point):
        return _name(what, equipment)
    if isinstance(what, Change):
        return f"{'rise' if what.rise else 'fall'} of {_name(what.point, equipment)} in {span(what.over_s)}"
    if isinstance(what, Count):
        over = "since midnight" if what.over_s is None else f"in {span(what.over_s)}"
        if not what.into:
            return f"{_name(what.point, equipment)} {over}"
        changes = " or ".join(_value(what.point, value) for value in what.into)
        before = "" if what.out_of is None else " from " + " or ".join(_value(what.point, v) for v in what.out_of)
        return f"times {_name(what.point, equipment)} became {changes}{before} {over}"
    if isinstance(what, Difference):
        other = _name(what.other, equipment) if isinstance(what.other, Point) else f"{what.other:g}"
        return f"{_name(what.point, equipment)} off {other}" if what.either_way else (
            f"{_name(what.point, equipment)} − {other}"
        )  # fmt: skip
    return "unbalance of " + ", ".join(_name(point, equipment) for point in what.points)


def _unit(what: Point | Measure) -> str:
    if isinstance(what, Point):
        unit = what.unit
    elif isinstance(what, Count):
        unit = ""
    elif isinstance(what, Change | Difference):
        unit = "%" if isinstance(what, Difference) and what.percent else what.point.unit
    else:
        unit = "%"
    return f" {unit}" if unit else ""


def _name(point: Point, equipment: str) -> str:
    return point.name if point.equipment == equipment else point.id


def _value(point: Point, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    label = (point.labels or {}).get(value) if isinstance(value, int) else None
    return label.en if label else str(value)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def span(seconds: float) -> str:
    """A duration as it is written in files."""
    parts: tuple[tuple[str, int], ...] = (("d", 86_400), ("h", 3600), ("m", 60))
    for unit, size in parts:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
