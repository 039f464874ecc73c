"""A chunk's readings, given to steps: by its summary, and where that is too coarse by the readings themselves. Pure.

What comes in: the summary of a chunk, the chunk itself, and steps. A step takes the stretches that lie in it as one
piece. A stretch in which one step ends and the next begins is cut in two: the shorter side is decoded, and the other
is what it leaves of the stretch, as long as no digits are lost by that. All else is decoded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, NamedTuple

from edge.store.columns import Marks, Values
from edge.store.frames import Frame
from edge.store.packing import GOOD
from edge.store.stamps import Ticks
from edge.store.steps import Piece, Steps, rise
from edge.store.stretches import Stretches, area, climb, is_apart, sum_up

KEPT = 8
"""A difference is taken for a sum where it is no smaller than an eighth of what the whole may have come to."""


class Opened(NamedTuple):
    """A chunk, unpacked, and its frame."""

    number: int
    frame: Frame
    values: Values
    marks: Marks | None
    """None where all are good."""
    readings: int


def fold(known: Stretches, opened: Callable[[], Opened], steps: Steps, span: tuple[int, int], since_ns: int) -> None:
    """Give the readings of a span to steps, and those from `since_ns` on before it, each by itself."""
    every, aggregate = steps.every_ns, steps.aggregate
    number = bisect_left(known.lasts, since_ns)
    while number < len(known) and not steps.full and known.firsts[number] < span[1]:
        first = known.firsts[number]
        end_ns = min(first - first % every + every, span[1])
        behind = bisect_left(known.lasts, end_ns, number)
        piece = None
        if first >= span[0] and behind > number:
            piece = known.piece(number, behind, aggregate)
            if piece is None:
                behind = number + 1
                piece = known.piece(number, behind, aggregate)
        if piece is not None:
            steps.take(piece)
        else:
            behind = number + 1
            _fold_part(_Part(known, number, opened()), steps, span)
        number = behind


class _Part:
    """A stretch that does not go into a step as a whole."""

    def __init__(self, known: Stretches, number: int, opened: Opened) -> None:
        self.known, self.number, self.opened = known, number, opened
        (self.begin, self.end), self.rows = known.places(number)
        self.count = self.end - self.begin
        self.first_ns, self.last_ns = known.firsts[number], known.lasts[number]

    def values(self, begin: int, end: int) -> Sequence[Any]:
        """Values of some readings, counted from the stretch's first."""
        return self.opened.values(self.begin + begin, self.begin + end)

    def times(self) -> Sequence[int]:
        """Times of all readings."""
        return self.opened.frame.times_of(self.opened.number, *self.rows)

    def marks(self) -> Sequence[str] | None:
        """Qualities of all readings; None where all are good."""
        found = self.opened.marks(self.begin, self.end) if self.opened.marks else None
        return None if found is None or all(mark == GOOD for mark in found) else found

    def about(self, time_ns: int, low: tuple[int, int], *, side: bool) -> tuple[int, Ticks]:
        """See `Frame.about`."""
        return self.opened.frame.about(self.opened.number, self.rows, time_ns, low, self.last_ns, side=side)

    def first_from(self, time_ns: int, low: tuple[int, int]) -> tuple[int, int]:
        """See `Frame.first_from`."""
        return self.opened.frame.first_from(self.opened.number, self.rows, time_ns, low, self.last_ns)


def _fold_part(part: _Part, steps: Steps, span: tuple[int, int]) -> None:
    every, aggregate = steps.every_ns, steps.aggregate
    border = part.first_ns - part.first_ns % every + every
    if span[0] <= part.first_ns and border <= part.last_ns < min(border + every, span[1]):
        halves = _halves(part, steps, border)
        if halves is not None:
            steps.take(halves[0])
            steps.take(halves[1])
            return
    marks = part.marks()
    if marks is None and not steps.ordered:
        for begin, end, time_ns in _cuts(part, every, span):
            steps.take(sum_up((time_ns, time_ns), part.values(begin, end), aggregate))
        return
    times, values = part.times(), part.values(0, part.count)
    if marks is not None or not is_apart(times):
        for reading in zip(times, values, marks or (GOOD,) * len(times), strict=True):
            if reading[0] < span[1] and (steps.ordered or reading[0] >= span[0]):
                steps.add(*reading)
        return
    place, end = bisect_left(times, span[0]), bisect_left(times, span[1])
    if place:
        steps.add(times[place - 1], values[place - 1], GOOD)
    while place < end:
        upto = bisect_left(times, times[place] - times[place] % every + every, place, end)
        steps.take(sum_up(times[place:upto], values[place:upto], aggregate))
        place = upto


def _cuts(part: _Part, every_ns: int, span: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Readings of a stretch, cut by a span and by steps: from where, to where, the time of the first."""
    place, time_ns = 0, part.first_ns
    if part.last_ns < span[0]:
        return
    if time_ns < span[0]:
        place, time_ns = part.first_from(span[0], (place, time_ns))
    while time_ns < span[1]:
        end_ns = min(time_ns - time_ns % every_ns + every_ns, span[1])
        if part.last_ns < end_ns:
            yield place, part.count, time_ns
            return
        upto, next_ns = part.first_from(end_ns, (place, time_ns))
        yield place, upto, time_ns
        place, time_ns = upto, next_ns


# A stretch that is cut in two


def _halves(part: _Part, steps: Steps, border_ns: int) -> tuple[Piece, Piece] | None:
    """A stretch of good numbers before and behind the end of a step; None where it must be decoded."""
    whole = part.known.piece(part.number, part.number + 1, steps.aggregate)
    if whole is None:
        return None
    begin, times = part.about(border_ns, (0, part.first_ns), side=steps.aggregate == "twa")
    place = times.first_from(border_ns)
    before_ns, behind_ns, cut = times.at(place - 1), times.at(place), begin + place
    left = Piece(part.first_ns, before_ns, cut, cut)
    right = Piece(behind_ns, part.last_ns, part.count - cut, part.count - cut, whole.last, GOOD, whole.last)
    if steps.aggregate == "twa":
        halved = _halve_area(part, whole, left, right, begin, times)
    else:
        halved = _HALVE[steps.aggregate](part, whole, left, right)
    return (left, right) if halved else None


def _halve_count(part: _Part, whole: Piece, left: Piece, right: Piece) -> bool:
    return True


def _halve_last(part: _Part, whole: Piece, left: Piece, right: Piece) -> bool:
    left.last = left.last_good = part.values(left.good - 1, left.good)[0]
    return True


def _halve_mean(part: _Part, whole: Piece, left: Piece, right: Piece) -> bool:
    shorter, longer, values = _shorter(part, left, right)
    shorter.total = sum(values)
    longer.total = whole.total - shorter.total
    return _is_kept(longer.total, part.known.reach(part.number) * part.count)


def _halve_low(part: _Part, whole: Piece, left: Piece, right: Piece) -> bool:
    shorter, longer, values = _shorter(part, left, right)
    shorter.low, longer.low = min(values), whole.low
    if shorter.low == whole.low:
        longer.low = min(_longer(part, left, right))
    return True


def _halve_high(part: _Part, whole: Piece, left: Piece, right: Piece) -> bool:
    shorter, longer, values = _shorter(part, left, right)
    shorter.high, longer.high = max(values), whole.high
    if shorter.high == whole.high:
        longer.high = max(_longer(part, left, right))
    return True


def _halve_rise(part: _Part, whole: Piece, left: Piece, right: Piece) -> bool:
    """The last number before the cut and the first behind it are read too: `Steps` adds what lies between them."""
    cut, is_left = left.good, left.good <= right.good
    values = part.values(0, cut + 1) if is_left else part.values(cut - 1, part.count)
    before, behind = values[-2:] if is_left else values[:2]
    left.first_number, left.last_number, left.last = whole.first_number, before, before
    right.first_number, right.last_number = behind, whole.last_number
    shorter, longer = (left, right) if is_left else (right, left)
    shorter.rise = climb(values[:-1] if is_left else values[1:])
    longer.rise = whole.rise - rise(before, behind) - shorter.rise
    return part.known.lowest(part.number) >= 0 and _is_kept(longer.rise, whole.rise)


def _halve_area(part: _Part, whole: Piece, left: Piece, right: Piece, begin: int, times: Ticks) -> bool:
    """`times` are those of one side, from reading `begin` on, and some of the other."""
    cut = left.good
    is_left = begin == 0
    if is_left:
        values, when = part.values(0, cut), times.numbers[:cut]
        last = values[-1]
    else:
        last, *values = part.values(cut - 1, part.count)
        when = times.numbers[cut - begin :]
    held = last * (right.first_ns - left.last_ns)
    left.last = last
    left.known_ns, right.known_ns = left.last_ns - left.first_ns, right.last_ns - right.first_ns
    shorter, longer = (left, right) if is_left else (right, left)
    shorter.area = area(when, values) * times.unit
    longer.area = whole.area - held - shorter.area
    return _is_kept(longer.area, part.known.reach(part.number) * whole.known_ns)


_HALVE: dict[str, Callable[[_Part, Piece, Piece, Piece], bool]] = {
    "mean": _halve_mean, "min": _halve_low, "max": _halve_high, "last": _halve_last, "count": _halve_count,
    "increase": _halve_rise,
}  # fmt: skip


def _shorter(part: _Part, left: Piece, right: Piece) -> tuple[Piece, Piece, Sequence[Any]]:
    """The side with fewer readings, the other, and the values of the first."""
    if left.good <= right.good:
        return left, right, part.values(0, left.good)
    return right, left, part.values(left.good, part.count)


def _longer(part: _Part, left: Piece, right: Piece) -> Sequence[Any]:
    """The values of the side with more readings."""
    return part.values(left.good, part.count) if left.good <= right.good else part.values(0, left.good)


def _is_kept(rest: float, whole: float) -> bool:
    """Whether a difference has lost no digits that count: of how much it is the difference is `whole` at most."""
    return whole <= abs(rest) * KEPT < inf
