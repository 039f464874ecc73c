"""Bus calculus: what a configuration costs a wire, who costs it, and how old a value can become.

What comes in: a checked connection with its planned requests. What goes out: for each request its wire time, its
share, and the worst-case age of its points; for each device its share. Pure; the same figures are shown before the
start (`courtyard check`) and beside the measured ones. What would help where it does not fit is in `relief`.

Definitions. A request occupies the wire for C: its own characters, the answer's, the silences that end frames, the
device's delay and the pause before it. Its share is C / T, T its period; the load of a connection is the sum.

A turn waits while others are served. One request is out at a time and is never cut off. Of those that wait, the
requests whose points alarm rules look at (urgent) go first, then that with the earliest deadline, which is its next
turn. As long as every request is answered within its period, a turn with period T that has waited for w has seen of
each other request with period P at most

- of its own rank: min(ceil(T / P), 1 + ceil(w / P)) exchanges, those due before it, and those released until it goes;
- urgent ones, where it is ordinary: 1 + ceil(w / P);
- ordinary ones, where it is urgent: the longest of all, once, as it may just be under way.

The blocking B is the least w that equals the sum of these. It holds while all devices answer, without writes.

The worst-case age of a point is T + B + C: a value was read at the very start of one turn's exchange, and the next
one comes in a period later, after the longest wait. Where B + C is above T, a turn may come late or be skipped.
A point that several requests read is as old as the best of them makes it.

Where a connection lets n requests be out at once, its load is the larger of sum / n and of the fullest lane (the
requests of one unit, of which one is out at a time, or as many as the unit takes). A turn waits only while its own
lane is full or all n places are: B is then what those of its lane take, divided by the lane's width, plus what all
others take, divided by n, and what may be under way of a lower rank counts once in each of the two.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.driver import Driver, Request
from edge.alarms.rule import Rule
from edge.alarms.truth import points_of

_ENDLESS_S = 3600.0


_Work = dict[float, float]
"""Wire time of all requests of each period, once each."""


@dataclass(frozen=True, slots=True)
class RequestLoad:
    """One planned request, and what it costs."""

    request: Request
    what: Mapping[str, str | int]
    """In the protocol's words: unit, table, address, count."""
    share: float
    """Of the wire's time."""
    blocking_s: float
    """The longest that its turn waits for others."""

    @property
    def worst_age_s(self) -> float:
        """The oldest that its points can become while all devices answer."""
        return self.request.period_s + self.blocking_s + self.request.wire_s

    @property
    def tight(self) -> bool:
        """Whether a turn may come too late and be skipped."""
        return self.blocking_s + self.request.wire_s > self.request.period_s

    def row(self) -> dict[str, Any]:
        """For tables and JSON."""
        request = self.request
        return {
            "equipment": request.device.id, **self.what, "points": len(request.block.points),
            "period_s": request.period_s, "wire_ms": round(request.wire_s * 1000, 2), "share": round(self.share, 5),
            "blocking_ms": round(self.blocking_s * 1000, 2), "worst_age_s": round(self.worst_age_s, 3),
            "tight": self.tight,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """One connection's load."""

    total: float
    """Share of the wire's time that the configuration needs; above 1 it cannot fit."""
    requests: tuple[RequestLoad, ...]
    devices: Mapping[str, float]
    """Share of the wire's time of each equipment, the dearest first."""
    points: Mapping[str, RequestLoad]
    """By point id: the request that keeps it youngest."""

    @property
    def worst_age_s(self) -> float | None:
        """Of the point that can become oldest, measured in seconds; None where nothing is polled."""
        return max((each.worst_age_s for each in self.requests), default=None)

    def exchange_s(self, name: str) -> float:
        """The mean time that an exchange with an equipment is expected to take."""
        own = [each.request for each in self.requests if each.request.device.id == name]
        return sum(each.wire_s / each.period_s for each in own) / sum(1 / each.period_s for each in own)

    def ages(self) -> list[dict[str, Any]]:
        """Each point's period, how often it is read, and the oldest that it can become; for tables and JSON."""
        return [
            {
                "point": point.id, "period_s": point.period_s, "read_every_s": best.request.period_s,
                "worst_age_s": round(best.worst_age_s, 3),
            }
            for row in self.requests for point in row.request.block.points
            if (best := self.points[point.id]) is row
        ]  # fmt: skip

    def dearest(self, most: int = 3) -> str:
        """Who costs how much, in words."""
        first = [f"{name} takes {share:.1%}" for name, share in list(self.devices.items())[:most]]
        return f"{', '.join(first)} of this bus" if first else ""

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "load": round(self.total, 4),
            "worst_age_s": None if self.worst_age_s is None else round(self.worst_age_s, 3),
            "devices": [{"equipment": name, "share": round(share, 5)} for name, share in self.devices.items()],
            "loads": [each.row() for each in self.requests],
        }


def load_of(driver: Driver, requests: Sequence[Request], urgent: Collection[str] = (), at_once: int = 1) -> Load:
    """What planned requests cost their connection, of which `at_once` may be out.

    `urgent` are ids of the points that alarm rules look at.
    """
    describe = driver.describe or (lambda request: {})
    waits = _Waits(requests, urgent, at_once)
    rows = tuple(
        RequestLoad(each, describe(each), each.wire_s / each.period_s / at_once, waits.longest_s(each))
        for each in requests
    )
    points: dict[str, RequestLoad] = {}
    for row in rows:
        for point in row.request.block.points:
            known = points.get(point.id)
            if known is None or row.worst_age_s < known.worst_age_s:
                points[point.id] = row
    return Load(total_of(requests, at_once), rows, shares(requests, at_once), points)


def total_of(requests: Iterable[Request], at_once: int = 1) -> float:
    """The share of a connection's time that requests need; above 1 they cannot fit."""
    total, lanes = 0.0, dict[object, float]()
    for each in requests:
        share = each.wire_s / each.period_s
        total += share
        lane = _lane(each)
        lanes[lane] = lanes.get(lane, 0.0) + share / each.lane_width
    return max(total / at_once, *lanes.values()) if at_once > 1 and lanes else total


def _lane(request: Request) -> object:
    return request.device if request.lane is None else request.lane


def alarm_points(rules: Iterable[Rule]) -> frozenset[str]:
    """Ids of the points that alarm rules look at: what makes a request urgent."""
    terms = (term for rule in rules for term in (rule.condition, rule.gate) if term is not None)
    return frozenset(point.id for term in terms for point in points_of(term))


def shares(requests: Iterable[Request], at_once: int = 1) -> dict[str, float]:
    """Each equipment's share of the wire's time, the dearest first."""
    found: dict[str, float] = {}
    for each in requests:
        found[each.device.id] = found.get(each.device.id, 0.0) + each.wire_s / each.period_s / at_once
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def per_period(requests: Iterable[Request]) -> _Work:
    """Wire time of all requests of each period, once each."""
    found: _Work = {}
    for each in requests:
        found[each.period_s] = found.get(each.period_s, 0.0) + each.wire_s
    return found


class _Rivals:
    """What a turn may wait for: the requests of a lane, or all."""

    def __init__(self, requests: Sequence[tuple[Request, bool]]) -> None:
        ordinary = [each for each, urgent in requests if not urgent]
        self.longest_s = max((each.wire_s for each in ordinary), default=0.0)
        """Of the ordinary ones."""
        self._ordinary = per_period(ordinary)
        self._urgent = per_period(each for each, urgent in requests if urgent)

    def work_s(self, turn: Request, waited_s: float, *, urgent: bool) -> float:
        """What they do before a turn that has waited so long, its own exchange apart."""
        total = 0.0
        for other, cost in (self._urgent if urgent else self._ordinary).items():
            rest = cost - (turn.wire_s if other == turn.period_s else 0.0)
            total += rest * min(_turns(turn.period_s / other), 1 + _turns(waited_s / other))
        if not urgent:
            for other, cost in self._urgent.items():
                total += cost * (1 + _turns(waited_s / other))
        return total


class _Waits:
    """The longest wait of each request, by the definition above."""

    def __init__(self, requests: Sequence[Request], urgent: Collection[str], at_once: int) -> None:
        ranked = [(each, any(point.id in urgent for point in each.block.points)) for each in requests]
        self._at_once = at_once
        self._urgent = {each for each, rank in ranked if rank}
        self._all = _Rivals(ranked)
        self._known: dict[tuple[float, float, bool, object], float] = {}
        lanes: dict[object, list[tuple[Request, bool]]] = {}
        for each, rank in ranked if at_once > 1 else ():
            lanes.setdefault(_lane(each), []).append((each, rank))
        self._lanes = {lane: _Rivals(rivals) for lane, rivals in lanes.items()}

    def longest_s(self, request: Request) -> float:
        """Found from below. Where nothing is left over for its rank it ends at an hour."""
        lane = _lane(request) if self._lanes else None
        kind = request.period_s, request.wire_s, request in self._urgent, lane
        if kind not in self._known:
            waited, longer = -1.0, self._after(request, 0.0)
            while waited + 1e-9 < longer < _ENDLESS_S:
                waited, longer = longer, self._after(request, longer)
            self._known[kind] = longer
        return self._known[kind]

    def _after(self, request: Request, waited_s: float) -> float:
        """How long it waits at most, where it waits at least so long."""
        urgent = request in self._urgent
        every = self._all.work_s(request, waited_s, urgent=urgent)
        under_way_s = self._all.longest_s if urgent else 0.0
        if not self._lanes:
            return every + under_way_s
        lane = self._lanes[_lane(request)]
        own = lane.work_s(request, waited_s, urgent=urgent)
        under_way_s += lane.longest_s if urgent else 0.0
        return own / request.lane_width + (every - own) / self._at_once + under_way_s


def _turns(number: float) -> int:
    """Rounded up, but not for what a float carries beyond a whole number."""
    return math.ceil(number - 1e-9)
