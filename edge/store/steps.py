"""What is told of each step of time: readings of one point folded into steps by one of seven aggregates. Pure.

What comes in: readings of one point in order of their time, one by one or as `Piece`s, summaries of readings that
lie in one step. What goes out: one reading for each step. Steps begin at multiples of their length since 1970.

Only good values count: a reading that is not good adds to no mean, no least and greatest, no count, no increase.
A step that has readings but none that its aggregate can use (texts and switches have no mean) is told by its last
reading, value and quality; `count` says 0 of it, and `increase` nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from drivers.point import Quality, Value
from edge.store.packing import GOOD

Reading = tuple[int, Value, str]
"""Time in ns, value, quality."""
Aggregate = Literal["mean", "min", "max", "last", "count", "twa", "increase"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
HOLD_NS = 1_200 * 10**9
"""So long a value is taken to hold where nothing newer was recorded: two heartbeats of 10 minutes."""
IN_ORDER: frozenset[Aggregate] = frozenset({"twa", "increase"})
"""Aggregates that must be given readings in order of their time, and the one before the span."""


@dataclass(slots=True)
class Piece:
    """Consecutive readings of one point, summed up as far as the aggregate needs it that they are for."""

    first_ns: int
    last_ns: int
    good: int
    """Good readings."""
    numbers: int
    """Good readings that are numbers; a switch is none."""
    last: Value = None
    last_mark: str = GOOD
    last_good: Value = None
    total: float = 0.0
    low: float | None = None
    """Least of the numbers; None where there is none."""
    high: float | None = None
    first_number: float | None = None
    last_number: float | None = None
    rise: float = 0.0
    """By how much the counter has gone up from the first number to the last, resets taken for zero."""
    area: float = 0.0
    """Sum of value times the ns that it held, from the first reading to the last."""
    known_ns: int = 0
    """The part of the time from the first reading to the last in which a good number held."""
    holds: bool = True
    """Whether its last value holds on after it."""


def is_number(value: Value) -> bool:
    """Whether it can be added up; a switch cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def rise(before: float | None, value: float) -> float:
    """By how much a counter has gone up between two readings; one that fell has begun again at zero."""
    if before is None:
        return 0
    return value - before if value >= before else value


class _Step(ABC):
    """What any step has: its newest reading, told where the aggregate has nothing, and what is added up."""

    __slots__ = ("known", "last", "last_ns", "total")

    def __init__(self) -> None:
        self.last: tuple[Value, str] = (None, GOOD)
        self.last_ns = -(2**63)
        self.total: float = 0.0
        self.known = 0
        """Of how many numbers, or ns, the total is."""

    def add(self, time_ns: int, value: Value, quality: str) -> None:
        if time_ns >= self.last_ns:
            self.last, self.last_ns = (value, quality), time_ns
        if quality == GOOD:
            self.count(time_ns, value)

    def take(self, piece: Piece) -> None:
        if piece.last_ns >= self.last_ns:
            self.last, self.last_ns = (piece.last, piece.last_mark), piece.last_ns
        self.merge(piece)

    @abstractmethod
    def count(self, time_ns: int, value: Value) -> None: ...

    @abstractmethod
    def merge(self, piece: Piece) -> None: ...

    @abstractmethod
    def result(self) -> tuple[Value, str]: ...


class _Mean(_Step):
    __slots__ = ()

    def count(self, time_ns: int, value: Value) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.total += value
            self.known += 1

    def merge(self, piece: Piece) -> None:
        self.total += piece.total
        self.known += piece.numbers

    def result(self) -> tuple[Value, str]:
        return (self.total / self.known, GOOD) if self.known else self.last


class _Extreme(_Step):
    """Least or greatest of the good numbers, in their own type."""

    __slots__ = ("best",)
    FACTOR = 1

    def __init__(self) -> None:
        super().__init__()
        self.best: float | None = None

    def count(self, time_ns: int, value: Value) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.offer(value)

    def offer(self, value: float) -> None:
        if self.best is None or (value - self.best) * self.FACTOR > 0:
            self.best = value

    def merge(self, piece: Piece) -> None:
        best = piece.high if self.FACTOR > 0 else piece.low
        if best is not None:
            self.offer(best)

    def result(self) -> tuple[Value, str]:
        return self.last if self.best is None else (self.best, GOOD)


class _Min(_Extreme):
    __slots__ = ()
    FACTOR = -1


class _Last(_Step):
    __slots__ = ("good", "good_ns")

    def __init__(self) -> None:
        super().__init__()
        self.good: Value = None
        self.good_ns: int | None = None

    def count(self, time_ns: int, value: Value) -> None:
        if self.good_ns is None or time_ns >= self.good_ns:
            self.good, self.good_ns = value, time_ns

    def merge(self, piece: Piece) -> None:
        if piece.good:
            self.count(piece.last_ns, piece.last_good)

    def result(self) -> tuple[Value, str]:
        return self.last if self.good_ns is None else (self.good, GOOD)


class _Count(_Step):
    __slots__ = ("good",)

    def __init__(self) -> None:
        super().__init__()
        self.good = 0

    def count(self, time_ns: int, value: Value) -> None:
        self.good += 1

    def merge(self, piece: Piece) -> None:
        self.good += piece.good

    def result(self) -> tuple[Value, str]:
        return self.good, GOOD


class _Sum(_Step):
    """What `Steps` itself adds up: value times time, or increase."""

    __slots__ = ()

    def count(self, time_ns: int, value: Value) -> None:
        pass  # `Steps` knows the reading before, which a step does not

    def merge(self, piece: Piece) -> None:
        pass


class _Held(_Sum):
    __slots__ = ()

    def result(self) -> tuple[Value, str]:
        return (self.total / self.known, GOOD) if self.known else self.last


class _Rise(_Sum):
    __slots__ = ()

    def result(self) -> tuple[Value, str]:
        return (self.total, GOOD) if self.known else (None, self.last[1])


_KINDS: dict[Aggregate, type[_Step]] = {
    "mean": _Mean, "min": _Min, "max": _Extreme, "last": _Last, "count": _Count, "twa": _Held, "increase": _Rise,
}  # fmt: skip


def _finite(value: Value, quality: str) -> tuple[Value, str]:
    """A sum of numbers near the greatest that there are is none that can be told."""
    fits = not isinstance(value, float) or isfinite(value)
    return (value, quality) if fits else (None, Quality.BAD_RANGE.value)


class Steps:
    """Folds the readings of one span into at most `limit` steps.

    `mean`, `min`, `max`: of the good numbers recorded in the step. `last`: the newest good value. `count`: how
    many good values.

    `twa`, the time-weighted mean: each good number (a switch counts as 0 or 1, so that its mean is the share of the
    time for which it was on) holds from its own time until the point's next reading, good or not, at most
    `hold_ns`; the sum of value times time is divided by the time for which any held. What follows a reading that is
    not good, or a silence longer than `hold_ns`, has no weight until the next good number: a gap is left out, not
    filled. The value that holds when the step begins counts from the step's beginning, so a step may be told
    without a reading of its own.

    `increase` of a counter: the sum, over all good numbers in the step, of what each is above the good number
    before it, which may lie in an earlier step; one that is below has begun again at zero (reset, replacement,
    roll-over) and counts in full. Over a gap the increase counts in the step where the next good number lies. The
    first number of all counts nothing.
    """

    def __init__(
        self, every_ns: int, limit: int, aggregate: Aggregate, from_ns: int, to_ns: int, hold_ns: int = HOLD_NS
    ) -> None:
        self.every_ns = every_ns
        self.aggregate: Aggregate = aggregate
        self.full = False
        """Whether a reading has come that found no room: later ones will not either."""
        self._limit = limit
        self._kind = _KINDS[aggregate]
        self._from, self._to = from_ns, to_ns
        self.hold_ns = hold_ns
        self._steps: dict[int, _Step] = {}
        self._newest: _Step | None = None  # the step that was asked for last, and from when to when it is
        self._start = self._end = 0
        self.ordered = aggregate in IN_ORDER
        """Whether readings must come in order of their time, those shortly before the span too."""
        self._weigh, self._climb = aggregate == "twa", aggregate == "increase"
        self._held: float | None = None  # the good number that holds, and since when
        self._held_ns = 0
        self._number: float | None = None  # the last good number

    def add(self, time_ns: int, value: Value, quality: str) -> None:
        """Take one reading. One before the span is only remembered: it may hold into it."""
        number = value if quality == GOOD and isinstance(value, int | float) else None
        if self._weigh:
            self._pass(time_ns)
            self._held, self._held_ns = number, time_ns
        if not self._from <= time_ns < self._to:
            if number is not None and time_ns < self._from:
                self._number = number
            return
        step = self._step(time_ns)
        if step is None:
            return
        step.add(time_ns, value, quality)
        if self._climb and number is not None and not isinstance(value, bool):
            self._rise(step, rise(self._number, number), number)

    def take(self, piece: Piece) -> None:
        """Take readings of the span that lie in one step, and after all that were taken before."""
        if self._weigh:
            self._pass(piece.first_ns)
        step = self._step(piece.first_ns)
        if step is not None:
            step.take(piece)
            if self._weigh:
                step.total += piece.area
                step.known += piece.known_ns
            if self._climb and piece.first_number is not None and piece.last_number is not None:
                self._rise(step, rise(self._number, piece.first_number) + piece.rise, piece.last_number)
        last = piece.last if piece.last_mark == GOOD and piece.holds else None
        self._held, self._held_ns = (last if isinstance(last, int | float) else None), piece.last_ns

    def results(self) -> list[Reading]:
        """One reading for each step that has anything to tell, oldest first; its time is the step's beginning."""
        if self._weigh:
            self._pass(self._to)
        return [(start, *_finite(*self._steps[start].result())) for start in sorted(self._steps)]

    def _step(self, time_ns: int) -> _Step | None:
        """The step in which a time lies, mostly that of the time before; None where there is no room for it."""
        if not self._start <= time_ns < self._end:
            start = time_ns - time_ns % self.every_ns
            if start not in self._steps:
                if len(self._steps) >= self._limit:
                    self.full = True
                    return None
                self._steps[start] = self._kind()
            self._start, self._end, self._newest = start, start + self.every_ns, self._steps[start]
        return self._newest

    def _rise(self, step: _Step, by: float, number: float) -> None:
        step.total += by
        step.known += 1
        self._number = number

    def _pass(self, until_ns: int) -> None:
        """Let the value that holds count for the time until then, step by step."""
        if self._held is None:
            return
        begin = max(self._held_ns, self._from)
        end = min(until_ns, self._held_ns + self.hold_ns, self._to)
        while begin < end:
            step = self._step(begin)
            if step is None:
                return
            upto = min(end, self._end)
            step.total += self._held * (upto - begin)
            step.known += upto - begin
            step.last, step.last_ns = (self._held, GOOD), max(step.last_ns, self._held_ns)
            begin = upto
