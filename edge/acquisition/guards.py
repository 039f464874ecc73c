"""What a command must meet before it goes to a device: kind, range, interlocks, step, rate.

What comes in: a value that somebody asks for, the newest readings, the monotonic time. What goes out: the value in
the point's own kind, or `Barred` with one sentence for the person who asked. Nothing here does I/O.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from drivers.document import Document, Where, nearest
from drivers.driver import Keys
from drivers.guard import GuardSpec, InterlockSpec
from drivers.point import Point, Quality, Value
from edge.acquisition.pipeline import Live

TRUSTED = frozenset({Quality.GOOD, Quality.UNCERTAIN_CLOCK})
"""Without the time of day a value is as true as with it."""

GuardName = Literal["writable", "value", "range", "interlock", "step", "rate", "unknown", "busy"]
_TAKES = {"bool": "true or false", "int": "a whole number", "float": "a number", "text": "text"}
_TIGHT = 1e-6
"""Of a value: what float32 registers and scales may round."""


class Barred(Exception):
    """A command that is not carried out; the message says what was found and what to do."""

    def __init__(self, guard: GuardName, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.guard: GuardName = guard
        self.facts: dict[str, Any] = {"guard": guard, **facts}
        """For the journal."""

    @property
    def lasting(self) -> bool:
        """Whether the command itself is wrong; else the same one may be carried out later."""
        return self.guard in ("writable", "value", "range", "step")


@dataclass(frozen=True, slots=True)
class Interlock:
    """One thing that must be true of another point, which has been found."""

    point: Point
    spec: InterlockSpec

    def concerns(self, value: Value) -> bool:
        """Whether a command to this value is held back by it."""
        if self.spec.to_above is not None:
            return isinstance(value, int | float) and value > self.spec.to_above
        return self.spec.to is None or value in self.spec.to

    def met(self, found: Value) -> bool:
        """Whether the value of the other point allows it."""
        test, given = self.spec.test, self.spec.given(self.spec.test)
        if test in ("above", "below"):
            number = isinstance(found, int | float) and not isinstance(found, bool)
            return number and (found > given if test == "above" else found < given)
        if test == "in":
            return found in given
        return (found == given) is (test == "is")

    @property
    def words(self) -> str:
        """What it wants, as it is written."""
        test, given = self.spec.test, self.spec.given(self.spec.test)
        shown = ", ".join(map(str, given)) if isinstance(given, list) else quantity(given, self.point)
        return f"{self.point.id} {test.replace('_', ' ')} {shown}"


@dataclass(frozen=True, slots=True)
class Guard:
    """How one point may be commanded."""

    spec: GuardSpec = field(default_factory=GuardSpec)
    interlocks: tuple[Interlock, ...] = ()
    """Of the profile and of the site."""


NO_GUARD = Guard()

Guards = Mapping[str, Guard]
"""By point id; points without a guard are not in it."""


def quantity(value: Value, point: Point) -> str:
    """A value with its unit, for a sentence."""
    if isinstance(value, float):
        value = float(f"{value:.6g}")
        value = int(value) if value.is_integer() else value
    return f"{value} {point.unit}" if point.unit and not isinstance(value, bool | str | None) else f"{value}"


def alike(point: Point, one: Value, other: Value) -> bool:
    """Whether two values of a point are the same as far as its deadband, and what the device can hold, tell."""
    if isinstance(one, bool | str | None) or isinstance(other, bool | str | None):
        return one == other
    rounding = point.address.resolution / 2 if isinstance(point.address, Keys) else 0.0
    return abs(one - other) <= max(point.deadband, rounding * (1 + _TIGHT), _TIGHT * max(abs(one), abs(other)))


def fit(point: Point, guard: Guard, value: Value) -> Value:
    """The asked value in the point's own kind and within its range; `Barred` says what is allowed."""
    if point.kind == "bool" and value in (True, False, 0, 1):
        return bool(value)
    if point.kind == "text" and isinstance(value, str):
        return value
    if point.kind not in ("int", "float") or isinstance(value, bool | str | None) or not math.isfinite(value):
        raise Barred("value", f"{point.id} takes {_TAKES[point.kind]}, {value!r} was asked")
    if point.kind == "int":
        if value != int(value):
            raise Barred("value", f"{point.id} takes whole numbers, {value!r} was asked; ask for {round(value)}")
        value = int(value)
    if point.labels is not None and value not in point.labels:
        known = ", ".join(f"{code} {text.en}" for code, text in point.labels.items())
        raise Barred("value", f"{point.id} takes one of {known}, {value!r} was asked; ask for one of them")
    low = point.low if guard.spec.low is None else guard.spec.low
    high = point.high if guard.spec.high is None else guard.spec.high
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'} {point.unit}"
        raise Barred(
            "range",
            f"{point.id} takes {span.strip()}, {value:g} was asked; ask for a value within",
            low=low,
            high=high,
        )
    return value if point.kind == "int" else float(value)


def check_interlocks(point: Point, guard: Guard, value: Value, live: Callable[[Point], Live]) -> None:
    """Raise `Barred` where another point forbids the command, or where nobody knows whether it does."""
    for lock in guard.interlocks:
        if not lock.concerns(value):
            continue
        found = live(lock.point)
        facts = {"needs": lock.words, "found": found.value, "quality": found.quality.value}
        held = f"{point.id} is not set to {quantity(value, point)}: it may only be while {lock.words}"
        if found.quality not in TRUSTED or found.value is None:
            why = f"but {lock.point.id} is {found.quality.value}; see that it is read again, then ask anew"
            raise Barred("interlock", f"{held}, {why}", **facts)
        if not lock.met(found.value):
            why = f"and it is {quantity(found.value, lock.point)}; wait until it is so, then ask anew"
            raise Barred("interlock", f"{held}, {why}", **facts)


def check_step(point: Point, guard: Guard, value: Value, now: Live) -> None:
    """Raise `Barred` where the change is larger than `max_step`, or where nobody knows how large it is."""
    step = guard.spec.max_step
    if step is None or isinstance(value, bool | str | None):
        return
    if now.quality not in TRUSTED or isinstance(now.value, bool | str | None):
        raise Barred(
            "unknown",
            f"{point.id} may change by {step:g} {point.unit} at most, and where it stands is not known "
            f"({now.quality.value}); wait until it is read again",
        )
    if abs(value - now.value) > step * (1 + _TIGHT):
        raise Barred(
            "step",
            f"{point.id} may change by {quantity(step, point)} at most in one command; it is "
            f"{quantity(now.value, point)} and {quantity(value, point)} was asked: ask for "
            f"{quantity(towards(guard, now.value, value), point)} first",
            max_step=step,
            found=now.value,
        )


def towards(guard: Guard, now: Value, aim: Value) -> Value:
    """The next value on the way from one to the other that `max_step` allows."""
    step = guard.spec.max_step
    if step is None or isinstance(now, bool | str | None) or isinstance(aim, bool | str | None):
        return aim
    if abs(aim - now) <= step * (1 + _TIGHT):
        return aim
    if isinstance(aim, int):
        return int(now + math.copysign(math.floor(step), aim - now))
    return now + math.copysign(step, aim - now)


def check_rate(point: Point, guard: Guard, since_s: float | None) -> None:
    """Raise `Barred` where the last command was carried out less than `min_interval` ago; None: never."""
    interval = guard.spec.min_interval
    if since_s is not None and since_s < interval:
        raise Barred(
            "rate",
            f"{point.id} is set once in {interval:g} s at most, and was {since_s:.1f} s ago; "
            f"ask again in {interval - since_s:.1f} s",
            min_interval=interval,
        )


def compile_guards(
    own: Sequence[Point],
    specs: Mapping[str, GuardSpec | None],
    added: Mapping[str, Sequence[InterlockSpec]],
    points: Mapping[str, Point],
    document: Document,
    where: Where,
) -> dict[str, Guard]:
    """The guards of one equipment, by point id: those of its profile with the interlocks that its site adds.

    `points` are all of the site by id. Mistakes of the site's interlocks are noted at their place in its file.
    """
    names = {point.name: point for point in own}
    for name in added:
        if name not in names:
            document.unknown_key((*where, name), names)
        elif not names[name].writable:
            document.add((*where, name), "is not writable by its profile; an interlock holds back commands only")
    guards = {}
    for point in own:
        spec = specs.get(point.name)
        site = [_site_lock(point, lock, points, document, (*where, point.name, at))
                for at, lock in enumerate(added.get(point.name, ()))]  # fmt: skip
        mine = [Interlock(names[lock.point], lock) for lock in (spec.interlocks if spec else ())]
        locks = (*mine, *(lock for lock in site if lock is not None))
        if spec is not None or locks:
            guards[point.id] = Guard(spec or GuardSpec(), locks)
    return guards


def _site_lock(
    own: Point, lock: InterlockSpec, points: Mapping[str, Point], document: Document, where: Where
) -> Interlock | None:
    wanted = lock.point if "." in lock.point else f"{own.equipment}.{lock.point}"
    other = points.get(wanted)
    equipment = wanted.partition(".")[0]
    if other is None:
        there = equipment in document.mapping("equipment")
        known = [each for each in points if each.startswith(f"{equipment}.")] if there else list(points)
        if known or not there:  # else the equipment's own mistakes are shown already
            document.add((*where, "point"), f"no point {wanted!r}{nearest(wanted, known)}")
        return None
    for key, why in lock.mistakes(own, other):
        document.add((*where, key), why)
    return Interlock(other, lock)
