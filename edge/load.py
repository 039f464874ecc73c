"""Bus calculus: what a configuration costs a wire, who costs it, how old a value can become, and what would help.

What comes in: a checked connection with its planned requests. What goes out: for each request its wire time, its
share, and the worst-case age of its points; for each device its share; and where it does not fit, advice with
numbers. Pure; the same figures are shown before the start (`courtyard check`) and beside the measured ones.

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
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.driver import Driver, Request, Settings
from drivers.point import Device
from edge.alarms.rule import Rule
from edge.alarms.truth import Above, Below, OneOf, leaves

ROOMY = 0.7
"""A line is not planned fuller than this, so that retries and writes have room (domain practice: 60 to 70 %)."""
_ENDLESS_S = 3600.0
_FASTER = (2400, 4800, 9600, 19200, 38400, 57600, 115200)


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

    @property
    def worst_age_s(self) -> float | None:
        """Of the point that can become oldest, measured in seconds; None where nothing is polled."""
        return max((each.worst_age_s for each in self.requests), default=None)

    def exchange_s(self, name: str) -> float:
        """The mean time that an exchange with an equipment is expected to take."""
        own = [each.request for each in self.requests if each.request.device.id == name]
        return sum(each.wire_s / each.period_s for each in own) / sum(1 / each.period_s for each in own)

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


def load_of(driver: Driver, requests: Sequence[Request], urgent: Collection[str] = ()) -> Load:
    """What planned requests cost their connection; `urgent` are ids of the points that alarm rules look at."""
    describe = driver.describe or (lambda request: {})
    ranked = [(each, any(point.id in urgent for point in each.block.points)) for each in requests]
    ranks = {rank: _per_period(each for each, of in ranked if of is rank) for rank in (False, True)}
    longest_s = max((each.wire_s for each, rank in ranked if not rank), default=0.0)
    blocked: dict[tuple[float, float, bool], float] = {}
    rows = []
    for each, rank in ranked:
        kind = (each.period_s, each.wire_s, rank)
        if kind not in blocked:
            blocked[kind] = _blocking_s(each, ranks[rank], {} if rank else ranks[True], longest_s if rank else 0.0)
        rows.append(RequestLoad(each, describe(each), each.wire_s / each.period_s, blocked[kind]))
    return Load(_sum(requests), tuple(rows), shares(requests))


def alarm_points(rules: Iterable[Rule]) -> frozenset[str]:
    """Ids of the points that alarm rules look at: what makes a request urgent."""
    conditions = (leaf for rule in rules for leaf in leaves(rule.condition))
    return frozenset(leaf.point.id for leaf in conditions if isinstance(leaf, Above | Below | OneOf))


def shares(requests: Iterable[Request]) -> dict[str, float]:
    """Each equipment's share of the wire's time, the dearest first."""
    found: dict[str, float] = {}
    for each in requests:
        found[each.device.id] = found.get(each.device.id, 0.0) + each.wire_s / each.period_s
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _sum(requests: Iterable[Request]) -> float:
    return sum(each.wire_s / each.period_s for each in requests)


def _per_period(requests: Iterable[Request]) -> dict[float, float]:
    """Wire time of all requests of each period, once each."""
    found: dict[float, float] = {}
    for each in requests:
        found[each.period_s] = found.get(each.period_s, 0.0) + each.wire_s
    return found


def _blocking_s(
    request: Request, rank: Mapping[float, float], above: Mapping[float, float], under_way_s: float
) -> float:
    """The least w of the definition above, found from below: by period the costs of its own rank and of the one
    above, and what may be under way of the one below. Where nothing is left over for its rank it ends at an hour."""
    period_s = request.period_s
    others = {other: cost - (request.wire_s if other == period_s else 0.0) for other, cost in rank.items()}
    waited, longer = -1.0, under_way_s
    while waited + 1e-9 < longer < _ENDLESS_S:
        waited = longer
        longer = under_way_s
        for other, cost in others.items():
            longer += cost * min(_turns(period_s / other), 1 + _turns(waited / other))
        for other, cost in above.items():
            longer += cost * (1 + _turns(waited / other))
    return longer


def _turns(number: float) -> int:
    """Rounded up, but not for what a float carries beyond a whole number."""
    return math.ceil(number - 1e-9)


def advice(driver: Driver, settings: Settings, devices: Sequence[Device], requests: Sequence[Request]) -> str:
    """What would bring a connection that is too full down to a good load, with numbers."""
    total = _sum(requests)
    ways = [_slower(requests, total), _baudrate(driver, settings, devices), _fewer(requests, total)]
    return "; or ".join(way for way in ways if way)


def _slower(requests: Sequence[Request], total: float) -> str:
    """The one period that helps most, or all of them."""
    period_s, cost_s = max(_per_period(requests).items(), key=lambda item: item[1] / item[0])
    rest = total - cost_s / period_s
    if rest < ROOMY * 0.9:
        needed_s = _upwards(cost_s / (ROOMY - rest))
        return f"read every {needed_s:g} s what is read every {period_s:g} s"
    return f"make all periods {_upwards(total / ROOMY):g} times as long"


def _upwards(number: float) -> float:
    """Rounded up to two digits."""
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return round(math.ceil(number / step - 1e-9) * step, 6)


def _baudrate(driver: Driver, settings: Settings, devices: Sequence[Device]) -> str:
    """The lowest baud rate that would do, where the line has one."""
    now = getattr(settings, "baudrate", None)
    if driver.plan is None or not isinstance(now, int):
        return ""
    for rate in _FASTER:
        if rate > now:
            load = _sum(driver.plan(settings.model_copy(update={"baudrate": rate}), devices))
            if load <= ROOMY:
                return f"set the line and its devices to {rate} baud ({load:.0%})"
    return ""


def _fewer(requests: Sequence[Request], total: float) -> str:
    """Who has to move to another line, the dearest first."""
    moved: list[str] = []
    found = shares(requests)
    for name, share in found.items():
        if total <= ROOMY:
            break
        moved.append(name)
        total -= share
    if not moved or len(moved) == len(found):
        return ""
    names = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
    return f"move {names} to another connection ({len(moved)} of {len(found)} devices, leaving {total:.0%})"
