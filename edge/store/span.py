"""Readings of one point over a span of time, native or folded into steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from operator import itemgetter
from typing import Protocol

from edge.store.steps import HOLD_NS, IN_ORDER, Aggregate, Reading, Steps

__all__ = ["Asked", "Reading", "Run", "thin"]

ALWAYS = 2**63


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to know of one point."""

    from_ns: int
    to_ns: int
    every_ns: int | None = None
    """None: every reading."""
    limit: int = 10_000
    aggregate: Aggregate = "mean"
    hold_ns: int = HOLD_NS

    @property
    def ordered(self) -> bool:
        """Whether the answer depends on the order of the readings, and on the one before the span."""
        return self.every_ns is not None and self.aggregate in IN_ORDER

    @property
    def since_ns(self) -> int:
        """From where on readings are looked at."""
        return self.from_ns - self.hold_ns if self.ordered else self.from_ns


class Run(Protocol):
    """Packed readings of one point, in order of time."""

    def bounds(self) -> tuple[int, int]:
        """Time of the first and of the last."""
        ...

    def within(self, from_ns: int, to_ns: int, /) -> Iterator[Reading]:
        """Those of a span."""
        ...

    def fold(self, steps: Steps, from_ns: int, to_ns: int) -> None:
        """Give those of a span to steps; where their order counts also the one that may hold into it."""
        ...


def answer(asked: Asked, packed: Sequence[Run], fresh: Iterable[Reading]) -> list[Reading]:
    """At most `limit` readings or steps, oldest first, of packed runs (by their beginning) and of single readings."""
    if asked.every_ns is None:
        return _native(asked, packed, fresh)
    steps = Steps(asked.every_ns, asked.limit, asked.aggregate, asked.from_ns, asked.to_ns, asked.hold_ns)
    if not asked.ordered:
        for run in packed:
            run.fold(steps, asked.from_ns, asked.to_ns)
        _add(steps, fresh)
        return steps.results()
    newest = sorted(fresh, key=itemgetter(0))
    clusters = _clusters(packed)
    while clusters and not (newest and newest[0][0] < clusters[0].end_ns):
        cluster = clusters.pop(0)
        if len(cluster.runs) == 1:
            cluster.runs[0].fold(steps, asked.from_ns, asked.to_ns)
        else:
            _add(steps, _woven(asked, cluster.runs))
    _add(steps, _woven(asked, [run for cluster in clusters for run in cluster.runs], newest))
    return steps.results()


def _add(steps: Steps, readings: Iterable[Reading]) -> None:
    for reading in readings:
        if steps.full:
            break
        steps.add(*reading)


def _woven(asked: Asked, runs: Iterable[Run], readings: Iterable[Reading] = ()) -> Iterator[Reading]:
    """All of them in order of time."""
    return merge(*(run.within(asked.since_ns, asked.to_ns) for run in runs), readings, key=itemgetter(0))


@dataclass(slots=True)
class _Cluster:
    """Runs that overlap one another in time."""

    runs: list[Run]
    end_ns: int


def _clusters(packed: Sequence[Run]) -> list[_Cluster]:
    found: list[_Cluster] = []
    for run in sorted(packed, key=lambda run: run.bounds()[0]):
        first, last = run.bounds()
        if found and first < found[-1].end_ns:
            found[-1].runs.append(run)
            found[-1].end_ns = max(found[-1].end_ns, last)
        else:
            found.append(_Cluster([run], last))
    return found


def thin(
    readings: Iterable[Reading],
    every_ns: int | None,
    limit: int,
    aggregate: Aggregate = "mean",
    from_ns: int = -ALWAYS,
    to_ns: int = ALWAYS,
    hold_ns: int = HOLD_NS,
) -> list[Reading]:
    """The same of single readings alone: see `Steps` for what a step is."""
    return answer(Asked(from_ns, to_ns, every_ns, limit, aggregate, hold_ns), (), readings)


def _native(asked: Asked, packed: Sequence[Run], fresh: Iterable[Reading]) -> list[Reading]:
    """The first readings of all; what begins behind the last that is wanted is not decoded."""
    if not packed:
        return sorted((reading for _, reading in zip(range(asked.limit), fresh, strict=False)), key=itemgetter(0))
    found: list[Reading] = []
    for run in packed:
        if len(found) >= asked.limit:
            found.sort(key=itemgetter(0))
            del found[asked.limit :]
            if run.bounds()[0] >= found[-1][0]:
                continue
        found += run.within(asked.from_ns, asked.to_ns)
    return sorted(chain(found, fresh), key=itemgetter(0))[: asked.limit]
