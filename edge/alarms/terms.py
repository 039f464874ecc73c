"""From a condition as it is written to a term: points, equipment and alarms followed, limits judged.

What comes in: a `Condition` and what its names may mean. What goes out: a term, or None with every mistake noted
in the document where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, Where, nearest
from drivers.point import Point, Value
from edge.alarms.limits import bad_limit, compared, unfit
from edge.alarms.measure import Change, Count, Difference, Measure, Unbalance
from edge.alarms.spec import DAYS, FORMS, Condition, CountSpec
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

UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the names in a rule may mean."""

    equipment: str
    """Whose alarm it is."""
    connections: Mapping[str, str]
    """Equipment -> connection, of all equipment that the rule may name."""
    points: Mapping[str, Point]
    """By the name under which the rule knows them."""
    zone: ZoneInfo
    whole_site: bool = False
    """Points and alarms are written with their equipment."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Makes terms of conditions."""

    scope: Scope
    document: Document

    def term(self, spec: Condition, where: Where) -> Term | None:
        """The condition with its names followed; None where there is a mistake, which is noted."""
        ways: Mapping[str, Callable[[Condition, Where], Term | None]] = {
            "point": self._compare,
            "not": self._not,
            "silent": self._silent,
            "unusable": self._unusable,
            "connection": self._linked,
            "alarm": self._standing,
            "time": self._within,
            "all": self._combination,
            "any": self._combination,
        }
        return next(ways[form] for form in FORMS if spec.given(form) is not None)(spec, where)

    def _combination(self, spec: Condition, where: Where) -> Term | None:
        key = "all" if spec.all_ is not None else "any"
        terms = [self.term(each, (*where, key, index)) for index, each in enumerate(spec.given(key))]
        parts = tuple(term for term in terms if term is not None)
        if len(parts) < len(terms):
            return None
        self._check_order(key, parts, (*where, key))
        return AllOf(parts) if key == "all" else AnyOf(parts)

    def _not(self, spec: Condition, where: Where) -> Term | None:
        part = self.term(spec.given("not"), (*where, "not"))
        return Not(part) if part else None

    def _linked(self, spec: Condition, where: Where) -> Term | None:
        return Linked(self.scope.connections[self.scope.equipment], up=spec.connection == "up")

    def _standing(self, spec: Condition, where: Where) -> Term | None:
        alarm = str(spec.alarm)
        return Standing(alarm if "." in alarm else f"{self.scope.equipment}.{alarm}")

    def _point(self, name: str, where: Where) -> Point | None:
        """The point of that name, or None and a mistake noted."""
        point = self.scope.points.get(name)
        if point is not None:
            return point
        equipment = name.rpartition(".")[0]
        if not self.scope.whole_site:
            self.document.add(where, f"no point {name!r} in the profile{nearest(name, self.scope.points)}")
        elif equipment in self.scope.connections:
            self.document.add(where, f"no point {name!r}{nearest(name, self.scope.points)}")
        elif equipment:
            near = nearest(equipment, self.scope.connections)
            self.document.add(where, f"no equipment {equipment!r}{near}")
        else:
            self.document.add(where, f"{name!r} names no equipment; write <equipment>.<point>")
        return None

    def _silent(self, spec: Condition, where: Where) -> Term | None:
        equipment = self.scope.equipment if spec.silent is True else str(spec.silent)
        if equipment not in self.scope.connections:
            known = [each for each in self.scope.connections if self.scope.whole_site]
            more = nearest(equipment, known) or "; other equipment belongs into rules of the site file"
            self.document.add((*where, "silent"), f"no equipment {equipment!r} here{more}")
            return None
        if not any(point.equipment == equipment for point in self.scope.points.values()):
            self.document.add((*where, "silent"), "this equipment has no points that could fall silent")
            return None
        return Silent(equipment, self.scope.connections[equipment])

    def _unusable(self, spec: Condition, where: Where) -> Term | None:
        if isinstance(spec.unusable, list):
            found = [self._point(name, (*where, "unusable", index)) for index, name in enumerate(spec.unusable)]
            points = tuple(point for point in found if point is not None)
            return Unusable(points) if len(points) == len(found) else None
        own = tuple(each for each in self.scope.points.values() if each.equipment == self.scope.equipment)
        return Unusable(own)

    def _within(self, spec: Condition, where: Where) -> Term | None:
        time = spec.time
        assert time is not None  # noqa: S101  # asked by the caller
        if time.from_ == time.to and len(set(time.days)) == len(DAYS):
            self.document.add((*where, "time"), "is always; give from and to, or days")
            return None
        days = frozenset(DAYS.index(day) for day in time.days)
        return Within(_minutes(time.from_), _minutes(time.to), days, self.scope.zone)

    def _compare(self, spec: Condition, where: Where) -> Term | None:
        point = self._point(str(spec.point), (*where, "point"))
        if point is None:
            return None
        key = next(key for key in ("above", "below", "is", "is_not", "in") if spec.given(key) is not None)
        given = spec.given(key)
        if key in ("above", "below"):
            what = self._measure(spec, point, where)
            wrong = bad_limit(compared(what), key, given, spec.deadband) if what else None
            if wrong:
                self.document.add((*where, wrong[0]), wrong[1])
            if what is None or wrong:
                return None
            return (Above if key == "above" else Below)(what, given, spec.deadband)
        values = tuple(given) if key == "in" else (given,)
        fit = self._fit(point, values, (*where, key))
        return OneOf(point, values, inverse=key == "is_not") if fit else None

    def _fit(self, point: Point, values: Iterable[Value], where: Where) -> bool:
        wrong = [message for message in (unfit(point, value) for value in values) if message]
        for message in wrong:
            self.document.add(where, message)
        return not wrong

    def _measure(self, spec: Condition, point: Point, where: Where) -> Point | Measure | None:
        """What is compared with the limit: the point itself, or a number made of it."""
        if spec.count is not None:
            return self._count(spec.count, point, (*where, "count"))
        if spec.change is None and spec.difference is None and spec.unbalance is None:
            return point
        if point.kind not in ("int", "float"):
            self.document.add((*where, "point"), f"{point.name} is of kind {point.kind}, and this wants numbers")
            return None
        if spec.change is not None:
            over, per = spec.change.over, spec.change.per
            return Change(point, over, spec.above is not None, per / over if per else 1.0)
        if spec.difference is not None:
            to = spec.difference.to
            other = self._number(to, (*where, "difference", "to")) if isinstance(to, str) else float(to)
            difference = spec.difference
            return None if other is None else Difference(point, other, difference.percent, difference.either_way)
        return self._unbalance(spec, point, where)

    def _unbalance(self, spec: Condition, point: Point, where: Where) -> Measure | None:
        assert spec.unbalance is not None  # noqa: S101  # asked by the caller
        names = enumerate(spec.unbalance.with_)
        others = [self._number(each, (*where, "unbalance", "with", index)) for index, each in names]
        found = tuple(each for each in others if each is not None)
        return Unbalance((point, *found), spec.unbalance.floor) if len(found) == len(others) else None

    def _number(self, name: str, where: Where) -> Point | None:
        other = self._point(name, where)
        if other is not None and other.kind not in ("int", "float"):
            self.document.add(where, f"{name} is of kind {other.kind}, and this wants numbers")
            return None
        return other

    def _count(self, spec: CountSpec, point: Point, where: Where) -> Measure | None:
        over = None if spec.over == "day" else spec.over
        counter = point.counter and not spec.to and not spec.from_
        into, out_of = tuple(spec.to or ()), tuple(spec.from_) if spec.from_ else None
        if point.kind == "bool" and not into:
            into = (not out_of[0],) if out_of else (True,)
        if not counter and not into:
            self.document.add(where, f"{point.name} is no counter; say what is counted: to: [values that it becomes]")
            return None
        if not self._fit(point, (*into, *(out_of or ())), where):
            return None
        return Count(point, over, self.scope.zone, into, out_of)

    def _check_order(self, key: str, parts: Iterable[Term], where: Where) -> None:
        """Two limits of one point that leave nothing between them, or everything."""
        above: dict[Any, float] = {part.what: part.limit for part in parts if isinstance(part, Above)}
        below: dict[Any, float] = {part.what: part.limit for part in parts if isinstance(part, Below)}
        for what in above.keys() & below.keys():
            over, under = above[what], below[what]
            both = f"{compared(what).name} above {over:g} and below {under:g}"
            if key == "all" and over >= under:
                self.document.add(where, f"{both} can never both be true; the limits are in the wrong order")
            elif key == "any" and over < under:
                self.document.add(where, f"{both}: one of them is always true; the limits are in the wrong order")


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])
