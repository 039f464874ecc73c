"""The times of a frame's rows as few bytes, and back, whole or in part. Pure.

What comes in: times in order, and which set of points each row carried. What goes out: bytes. Our own stamps are
whole microseconds, so that is the unit where all are. Polled rows come on a grid, a little late each time: a row is
then kept as the second in which its set of points is due and how late it is, where that is shorter than the
differences from row to row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import median_low
from typing import NamedTuple

from edge.store.sequences import Part, Reader, Writer, read, write
from edge.store.squeeze import cost

PLAIN, GRID = 0, 1
UNITS = (10**6, 10**3, 1)
"""ns: milliseconds, microseconds; the coarsest in which all times are whole is taken."""
GRID_NS = 10**9
WORTH = 0.95
"""A grid takes longer to read: it must be shorter by so much."""


def write_times(out: Writer, times: Sequence[int], which: Sequence[int]) -> None:
    """Append the times of rows; `which`: the set of points of each, from 0."""
    unit = next(unit for unit in UNITS if not any(time_ns % unit for time_ns in times))
    out.count(unit)
    ticks = [time_ns // unit for time_ns in times] if unit > 1 else times
    plain, grid = Writer(), Writer()
    plain.count(PLAIN)
    write(plain, ticks)
    _write_grid(grid, ticks, which, GRID_NS // unit)
    shorter = cost(bytes(grid.data)) < cost(bytes(plain.data)) * WORTH
    out.data += grid.data if shorter else plain.data


def _write_grid(out: Writer, ticks: Sequence[int], which: Sequence[int], grid: int) -> None:
    phases: dict[int, list[int]] = {}
    for tick, number in zip(ticks, which, strict=True):
        phases.setdefault(number, []).append(tick % grid)
    bases = [median_low(phases[number]) - grid // 2 for number in range(len(phases))]
    out.count(GRID)
    out.count(len(bases))
    write(out, bases)
    own = [tick - bases[number] for tick, number in zip(ticks, which, strict=True)]
    write(out, [tick // grid for tick in own])
    write(out, [tick % grid for tick in own])


class Ticks(NamedTuple):
    """Times in order: `zero` and so many times `unit`, in ns. Small numbers are faster to reckon with."""

    numbers: Sequence[int]
    unit: int = 1
    zero: int = 0

    def at(self, place: int) -> int:
        """A time in ns."""
        return self.zero + self.numbers[place] * self.unit

    def first_from(self, time_ns: int) -> int:
        """The place of the first that is not before a time."""
        return bisect_left(self.numbers, -((self.zero - time_ns) // self.unit))


class Stamps(NamedTuple):
    """The times of a frame's rows, unpacked as far as they are asked for."""

    part: Part
    """In ns; what each set of points has of its own left out."""
    bases: list[int] | None
    """That, for each set of points; None where it is in `part`."""
    ticks: Callable[[int, int], Ticks] | None
    """The same, where it is in `part`."""


def read_times(data: Reader, count: int) -> Stamps:
    """The times that stand there."""
    unit = data.count()
    if data.count() == PLAIN:
        ticks = read(data, count)
        return Stamps(
            ticks if unit == 1 else _scaled(ticks, unit), None, lambda begin, end: Ticks(ticks(begin, end), unit)
        )
    number = data.count()
    bases = [base * unit for base in read(data, number)(0, number)]
    turns, late = read(data, count), read(data, count)
    if number == 1:
        return Stamps(_on_grid(turns, late, unit, bases[0]), None, _ticks_on_grid(turns, late, unit, bases[0]))
    return Stamps(_on_grid(turns, late, unit, 0), bases, None)


def at(times: Stamps, which: Part, begin: int, end: int) -> Sequence[int]:
    """The times of some rows in ns."""
    found = times.part(begin, end)
    if times.bases is None:
        return found
    return [tick + times.bases[number] for tick, number in zip(found, which(begin, end), strict=True)]


def _scaled(ticks: Part, unit: int) -> Part:
    return lambda begin, end: [tick * unit for tick in ticks(begin, end)]


def _on_grid(turns: Part, late: Part, unit: int, base: int) -> Part:
    return lambda begin, end: [
        turn * GRID_NS + tick * unit + base for turn, tick in zip(turns(begin, end), late(begin, end), strict=True)
    ]


def _ticks_on_grid(turns: Part, late: Part, unit: int, base: int) -> Callable[[int, int], Ticks]:
    each = GRID_NS // unit

    def ticks(begin: int, end: int) -> Ticks:
        found = turns(begin, end)
        first = found[0]
        numbers = [(turn - first) * each + tick for turn, tick in zip(found, late(begin, end), strict=True)]
        return Ticks(numbers, unit, first * GRID_NS + base)

    return ticks
