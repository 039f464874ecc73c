"""Readings of one point over a span of time, native or folded into steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from edge.store.steps import HOLD_NS, IN_ORDER, Aggregate, Reading, Steps

__all__ = ["Reading", "thin"]

ALWAYS = 2**63


def thin(
    readings: Iterable[Reading],
    every_ns: int | None,
    limit: int,
    aggregate: Aggregate = "mean",
    from_ns: int = -ALWAYS,
    to_ns: int = ALWAYS,
    hold_ns: int = HOLD_NS,
) -> list[Reading]:
    """At most `limit` readings, oldest first; with `every_ns`, one for each step that has any: see `Steps`."""
    if every_ns is None:
        return sorted(_first(readings, limit), key=itemgetter(0))
    steps = Steps(every_ns, limit, aggregate, from_ns, to_ns, hold_ns)
    for reading in sorted(readings, key=itemgetter(0)) if aggregate in IN_ORDER else readings:
        steps.add(*reading)
        if steps.full:
            break
    return steps.results()


def _first(readings: Iterable[Reading], limit: int) -> list[Reading]:
    return [reading for _, reading in zip(range(limit), readings, strict=False)]
