"""The times of a frame's rows as few bytes, and back, whole or in part. Pure.

What comes in: times in order, and which set of points each row carried. What goes out: bytes. Our own stamps are
whole microseconds, so that is the unit where all are. Polled rows come on a grid, a little late each time: a row is
then kept as the second in which its set of points is due and how late it is, where that is shorter than the
differences from row to row.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

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


def read_times(data: Reader, count: int) -> tuple[Part, list[int] | None, int]:
    """What `at` needs to know the times that stand there."""
    unit = data.count()
    if data.count() == PLAIN:
        ticks = read(data, count)
        return (ticks if unit == 1 else _scaled(ticks, unit)), None, unit
    number = data.count()
    bases = [base * unit for base in read(data, number)(0, number)]
    turns, late = read(data, count), read(data, count)
    if number == 1:
        return _scaled_sum(turns, late, unit, bases[0]), None, unit
    return _scaled_sum(turns, late, unit, 0), bases, unit


def at(times: tuple[Part, list[int] | None, int], which: Part, begin: int, end: int) -> Sequence[int]:
    """The times of some rows in ns."""
    part, bases, _ = times
    found = part(begin, end)
    if bases is None:
        return found
    return [tick + bases[number] for tick, number in zip(found, which(begin, end), strict=True)]


def _scaled(ticks: Part, unit: int) -> Part:
    return lambda begin, end: [tick * unit for tick in ticks(begin, end)]


def _scaled_sum(turns: Part, late: Part, unit: int, base: int) -> Part:
    return lambda begin, end: [
        turn * GRID_NS + tick * unit + base for turn, tick in zip(turns(begin, end), late(begin, end), strict=True)
    ]
