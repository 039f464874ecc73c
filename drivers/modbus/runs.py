"""Which points one request reads: runs of addresses, cut so that the wire is used least. Pure.

What comes in: spans of addresses with their periods, the largest request, and what a request costs. What goes out:
the runs. A point may be read faster than its own period, never slower, and only where its period is a multiple of
the run's: a slow point beside a fast block then costs its bytes at each turn, instead of a request of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

Span = tuple[int, int, float]
"""First address, address after the last, and the period in s."""
Cut = tuple[tuple[int, ...], ...]
"""Runs, as places in the sequence of spans."""

_MOST_PERIODS = 5
"""Of so many different periods in one place every way to join them is tried (52); slower ones stay apart."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Time on the wire of one request."""

    fixed_s: float
    """What each costs, however little it reads."""
    byte_s: float
    per_byte: float
    """Addresses that one byte holds: 8 of bits, half a register."""

    def of(self, addresses: int) -> float:
        """The time of a request for so many addresses, in s."""
        return self.fixed_s + self.byte_s * -(-addresses // self.per_byte)


@lru_cache(maxsize=256)
def cut(spans: tuple[Span, ...], most: int, cost: Cost) -> Cut:
    """The runs that use the wire least, of spans in order of address between which everything may be read.

    For each way to join the periods, each joined group is cut on its own and optimally; the best way is taken.
    Devices of one profile ask the same, so the answer is kept.
    """
    periods = sorted({period for _, _, period in spans})
    apart = [[period] for period in periods[_MOST_PERIODS:]]
    best: tuple[float, list[tuple[int, ...]]] | None = None
    alone: dict[tuple[float, ...], tuple[float, list[tuple[int, ...]]]] = {}
    for ways in _joined(periods[:_MOST_PERIODS]):
        share, runs = 0.0, []
        for group in [*ways, *apart]:
            key = tuple(group)
            if key not in alone:
                alone[key] = _cut_group([i for i, span in enumerate(spans) if span[2] in group], spans, most, cost)
            share += alone[key][0]
            runs += alone[key][1]
        if best is None or share < best[0] * (1 - 1e-9):
            best = share, runs
    return tuple(best[1]) if best else ()


def _joined(periods: Sequence[float]) -> Iterator[list[list[float]]]:
    """Every way to put periods into groups."""
    if not periods:
        yield []
        return
    *others, last = periods
    for groups in _joined(others):
        yield [*groups, [last]]
        for index, group in enumerate(groups):
            yield [*groups[:index], [*group, last], *groups[index + 1 :]]


def divides(fast_s: float, slow_s: float) -> bool:
    """Whether one period is a whole multiple of the other."""
    times = slow_s / fast_s
    return times >= 1 and abs(times - round(times)) < 1e-6 * times


def _cut_group(
    places: Sequence[int], spans: Sequence[Span], most: int, cost: Cost
) -> tuple[float, list[tuple[int, ...]]]:
    """Share of the wire and runs of one group: for each end, the best beginning of the last run."""
    shares: list[float] = [0.0]
    begins: list[int] = []
    for last in range(len(places)):
        end, best, begin = 0, float("inf"), last
        periods: set[float] = set()
        fastest, fits = 0.0, True
        for first in range(last, -1, -1):
            start, upto, own = spans[places[first]]
            end = max(end, upto)
            if end - start > most:
                break
            if own not in periods:
                periods.add(own)
                fastest = min(periods)
                fits = all(divides(fastest, each) for each in periods)
            if not fits:
                continue
            share = shares[first] + cost.of(end - start) / fastest
            if share <= best * (1 + 1e-9):
                best, begin = share, first
        shares.append(best)
        begins.append(begin)
    runs: list[tuple[int, ...]] = []
    upto = len(places)
    while upto:
        runs.append(tuple(places[begins[upto - 1] : upto]))
        upto = begins[upto - 1]
    return shares[-1], runs[::-1]
