"""Conditions as terms, and how they are judged on the newest values: true, false or unknown.

Unknown is what a value that cannot be trusted leads to, and it is carried as Kleene's logic does: `all` is false
as soon as one part is known to be false, `any` is true as soon as one part is known to be true. A heat detector
that fails does not blind the smoke detector beside it.

A number made of the past may be known only to one side: six starts seen in the half hour since the box has been
watching are at least six an hour. Then a limit is decided where that side decides it, and is unknown otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from drivers.point import Point, Value
from edge.alarms.measure import Measure, points_of_measure

if TYPE_CHECKING:
    from edge.alarms.signals import Signal
    from edge.alarms.watch import Watch

Truth = Callable[[bool], bool | None]
"""Judges a term now. The argument says whether the alarm already stands, where the deadband counts."""


@dataclass(frozen=True, slots=True)
class Above:
    """True over the limit; once the alarm stands, until the value is `deadband` below it."""

    what: Point | Measure
    limit: float
    deadband: float


@dataclass(frozen=True, slots=True)
class Below:
    """True under the limit; once the alarm stands, until the value is `deadband` above it."""

    what: Point | Measure
    limit: float
    deadband: float


@dataclass(frozen=True, slots=True)
class OneOf:
    """True while the value is one of these; with `inverse`, while it is none of them."""

    what: Point
    values: tuple[Value, ...]
    inverse: bool = False


@dataclass(frozen=True, slots=True)
class AllOf:
    """True while every part is."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True while some part is."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True while the part is false."""

    part: Term


@dataclass(frozen=True, slots=True)
class Silent:
    """True while no point of the equipment can be read."""

    equipment: str
    connection: str = field(default="", compare=False)
    """The equipment's: while that is down, its silence says nothing."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """True while one of these points answers with what cannot be used: impossible, or its sensor has failed."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """True while the connection is up; with `up` false, while it is down."""

    connection: str
    up: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """True while another alarm's condition stands, delays included, and it is in service."""

    alarm: str
    """`<equipment>.<rule>`"""


@dataclass(frozen=True, slots=True)
class Within:
    """True within a window of local time on some days; over midnight where it ends before it begins."""

    begin_min: int
    """Minutes after midnight."""
    end_min: int
    days: frozenset[int]
    """Days on which it begins; Monday is 0."""
    zone: ZoneInfo


Limited = Above | Below
Leaf = Above | Below | OneOf | Silent | Unusable | Linked | Standing | Within
Term = Leaf | AllOf | AnyOf | Not
Key = Point | Measure | Silent | Unusable | Linked | Standing | Within
"""What one source stands for."""


class Source:
    """Something that conditions look at: a point, a number made of points, a presence, an alarm, a time of day."""

    __slots__ = ("partial", "point", "signals", "value", "watches")

    def __init__(self, point: Point | None = None) -> None:
        self.point = point
        self.value: Value = None
        """None: unknown."""
        self.partial = 0
        """1: the true value is this or more; -1: this or less; 0: it is this."""
        self.watches: list[Watch] = []
        """Who judges anew when the value changes."""
        self.signals: list[Signal] = []
        """Numbers that are made of this one."""


Find = Callable[[Key], Source]
"""Where a term's leaf finds what it looks at."""


def leaves(term: Term) -> Iterator[Leaf]:
    """The leaves of a condition, in the order in which they are written."""
    if isinstance(term, AllOf | AnyOf):
        for part in term.parts:
            yield from leaves(part)
    elif isinstance(term, Not):
        yield from leaves(term.part)
    else:
        yield term


def points_of(term: Term) -> Iterator[Point]:
    """Every point whose value a condition looks at, those of measures too."""
    for leaf in leaves(term):
        if isinstance(leaf, Above | Below | OneOf):
            yield from (leaf.what,) if isinstance(leaf.what, Point) else points_of_measure(leaf.what)


def look(leaf: Leaf) -> Key:
    """What a leaf looks at: one key for one source."""
    if isinstance(leaf, Above | Below | OneOf):
        return leaf.what
    return Linked(leaf.connection, up=True) if isinstance(leaf, Linked) else leaf


def bind(term: Term, find: Find) -> Truth:
    """The term as a function of the sources that it looks at."""
    if isinstance(term, AllOf | AnyOf):
        return _decided_by(isinstance(term, AnyOf), [bind(part, find) for part in term.parts])
    if isinstance(term, Not):
        return _not(bind(term.part, find))
    source = find(look(term))
    if isinstance(term, Above | Below):
        over = isinstance(term, Above)
        if isinstance(term.what, Point):
            return (_above if over else _below)(source, term.limit, term.deadband)
        return _decided_from_one_side(source, term.limit, term.deadband, over=over)
    if isinstance(term, OneOf):
        return _one_of(source, term.values, term.inverse)
    return _one_of(source, (term.up if isinstance(term, Linked) else True,), inverse=False)


def _above(source: Source, limit: float, deadband: float) -> Truth:
    clear = limit - deadband

    def truth(stands: bool) -> bool | None:
        value = source.value
        if not isinstance(value, int | float):
            return None
        return value > (clear if stands else limit)

    return truth


def _below(source: Source, limit: float, deadband: float) -> Truth:
    clear = limit + deadband

    def truth(stands: bool) -> bool | None:
        value = source.value
        if not isinstance(value, int | float):
            return None
        return value < (clear if stands else limit)

    return truth


def _decided_from_one_side(source: Source, limit: float, deadband: float, *, over: bool) -> Truth:
    judge = (_above if over else _below)(source, limit, deadband)
    deciding = 1 if over else -1
    """The side of the true value from which `true` is sure; from the other, `false` is."""

    def truth(stands: bool) -> bool | None:
        known = judge(stands)
        if known is None or not source.partial:
            return known
        return known if known is (source.partial == deciding) else None

    return truth


def _one_of(source: Source, values: tuple[Value, ...], inverse: bool) -> Truth:
    def truth(_stands: bool) -> bool | None:
        value = source.value
        return None if value is None else (value in values) is not inverse

    return truth


def _decided_by(decisive: bool, parts: list[Truth]) -> Truth:
    """`any` is decided by a part that is true, `all` by one that is false."""

    def truth(stands: bool) -> bool | None:
        unknown = False
        for part in parts:
            known = part(stands)
            if known is decisive:
                return decisive
            unknown = unknown or known is None
        return None if unknown else not decisive

    return truth


def _not(part: Truth) -> Truth:
    def truth(stands: bool) -> bool | None:
        known = part(not stands)
        return None if known is None else not known

    return truth


def witness(term: Term, find: Find) -> tuple[Point | Measure | Unusable, Source] | None:
    """What best shows why a condition is true: the first leaf that is; None where there is no point."""
    first: tuple[Point | Measure | Unusable, Source] | None = None
    for leaf in leaves(term):
        if isinstance(leaf, Above | Below | OneOf):
            source = find(leaf.what)
            first = first or (leaf.what, source)
            if bind(leaf, find)(False):
                return leaf.what, source
        elif isinstance(leaf, Unusable) and find(leaf).value is True:
            return leaf, find(leaf)
    return first
