"""Conditions as terms, and how they are judged on the newest values: true, false or unknown.

Unknown is what a value that cannot be trusted leads to, and it is carried as Kleene's logic does: `all` is false
as soon as one part is known to be false, `any` is true as soon as one part is known to be true. A heat detector
that fails does not blind the smoke detector beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.point import Point, Value

if TYPE_CHECKING:
    from edge.alarms.watch import Watch

Truth = Callable[[bool], bool | None]
"""Judges a term now. The argument says whether the alarm already stands, where the deadband counts."""


@dataclass(frozen=True, slots=True)
class Above:
    """True over the limit; once the alarm stands, until the value is `deadband` below it."""

    point: Point
    limit: float
    deadband: float


@dataclass(frozen=True, slots=True)
class Below:
    """True under the limit; once the alarm stands, until the value is `deadband` above it."""

    point: Point
    limit: float
    deadband: float


@dataclass(frozen=True, slots=True)
class OneOf:
    """True while the value is one of these; with `inverse`, while it is none of them."""

    point: Point
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


@dataclass(frozen=True, slots=True)
class Linked:
    """True while the connection is up; with `up` false, while it is down."""

    connection: str
    up: bool


Term = Above | Below | OneOf | AllOf | AnyOf | Not | Silent | Linked


class Source:
    """Something that conditions look at: a point, the presence of an equipment, a connection."""

    __slots__ = ("point", "value", "watches")

    def __init__(self, point: Point | None = None) -> None:
        self.point = point
        self.value: Value = None
        """None: unknown."""
        self.watches: list[Watch] = []
        """Who judges anew when the value changes."""


Find = Callable[[Point | Silent | Linked], Source]
"""Where a term's leaf finds what it looks at."""


def leaves(term: Term) -> Iterator[Above | Below | OneOf | Silent | Linked]:
    """The leaves of a condition, in the order in which they are written."""
    if isinstance(term, AllOf | AnyOf):
        for part in term.parts:
            yield from leaves(part)
    elif isinstance(term, Not):
        yield from leaves(term.part)
    else:
        yield term


def look(leaf: Above | Below | OneOf | Silent | Linked) -> Point | Silent | Linked:
    """What a leaf looks at: one key for one source."""
    if isinstance(leaf, Silent):
        return leaf
    return Linked(leaf.connection, up=True) if isinstance(leaf, Linked) else leaf.point


def bind(term: Term, find: Find) -> Truth:
    """The term as a function of the sources that it looks at."""
    if isinstance(term, AllOf | AnyOf):
        return _decided_by(isinstance(term, AnyOf), [bind(part, find) for part in term.parts])
    if isinstance(term, Not):
        return _not(bind(term.part, find))
    source = find(look(term))
    if isinstance(term, Above | Below):
        return (_above if isinstance(term, Above) else _below)(source, term.limit, term.deadband)
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


def witness(term: Term, find: Find) -> Source | None:
    """The point that best shows why a condition is true: the first leaf that is; None where there is no point."""
    first: Source | None = None
    for leaf in leaves(term):
        if isinstance(leaf, Above | Below | OneOf):
            source = find(leaf.point)
            first = first or source
            if bind(leaf, find)(False):
                return source
    return first
