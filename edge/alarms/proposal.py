"""Limits proposed from a point's history: how its values lay, and what a limit there would have meant.

What comes in: recorded readings of one point. What goes out: quantiles by time, a limit on each side with deadband
and delay, and by a replay how many alarms it would have given. It is a beginning for the engineer, who knows the
equipment: what was normal in the span is taken as normal, and faults in it are taken for normal too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from drivers.point import Point, Value

SHARES = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
"""Quantiles that are shown."""
MARGIN = 0.1
"""A limit lies outside what was normal by this part of the distance from the median to there."""
NOISE = 3.0
"""A deadband is at least this many times the usual change from one reading to the next."""
NARROW = 0.02
"""And at least this part of the range in which the point usually is."""
_NICE_S = (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_USUAL_S = {"MPa": 15.0, "m³/h": 15.0, "%": 60.0, "m": 60.0, "°C": 60.0, "A": 10.0, "mm/s": 60.0, "V": 10.0}
"""Delays usual for a unit (EEMUA 191), where the history says nothing."""


@dataclass(slots=True)
class History:
    """How long a point stood at each of its values. Quantised by the device, they are few."""

    patience_s: float
    """A reading holds no longer than this."""
    held: dict[float, float] = field(default_factory=dict)
    """Value -> seconds."""
    changes: dict[float, int] = field(default_factory=dict)
    """Size of the change from one reading to the next -> how often."""
    readings: int = 0
    unusable: int = 0
    last: tuple[int, float | None] | None = None

    def take(self, samples: Iterable[tuple[int, Value, str]]) -> None:
        """Readings in order of time, as (time in ns, value, quality)."""
        for time_ns, value, quality in samples:
            self.readings += 1
            good = quality in ("good", "uncertain/clock") and isinstance(value, int | float)
            self.until(time_ns)
            number = float(value) if good and isinstance(value, int | float) else None
            if number is None:
                self.unusable += 1
            elif self.last is not None and self.last[1] is not None and self.last[1] != number:
                size = float(f"{abs(number - self.last[1]):.3g}")
                self.changes[size] = self.changes.get(size, 0) + 1
            self.last = time_ns, number

    def until(self, time_ns: int) -> None:
        """The last value held until this time, or as long as a reading holds."""
        if self.last is not None and self.last[1] is not None:
            held_s = min((time_ns - self.last[0]) / 1e9, self.patience_s)
            self.held[self.last[1]] = self.held.get(self.last[1], 0.0) + max(held_s, 0.0)

    @property
    def known_s(self) -> float:
        """How long the value was known."""
        return sum(self.held.values())

    def quantiles(self) -> dict[float, float]:
        """Share of time -> the value that it was not above for so long."""
        ordered = sorted(self.held.items())
        whole, reached, found = self.known_s, 0.0, dict[float, float]()
        shares = list(SHARES)
        for value, held_s in ordered:
            reached += held_s
            while shares and reached >= shares[0] * whole * (1 - 1e-9):
                found[shares.pop(0)] = value
        found |= dict.fromkeys(shares, ordered[-1][0])
        return found

    def noise(self) -> float:
        """The usual change from one reading to the next."""
        whole, reached = sum(self.changes.values()), 0
        for size, count in sorted(self.changes.items()):
            reached += count
            if reached * 2 >= whole:
                return size
        return 0.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """One limit."""

    side: str
    """`above` or `below`."""
    limit: float
    deadband: float
    on_delay_s: float
    off_delay_s: float

    def keys(self) -> dict[str, object]:
        """As they are written in a rule."""
        return {
            self.side: self.limit,
            "deadband": self.deadband,
            "on_delay": self.on_delay_s,
            "off_delay": self.off_delay_s,
        }


def propose(point: Point, history: History, side: str) -> Proposal | None:
    """A limit on one side; None where the history has nothing to say, or the range leaves no room for one."""
    if not history.held:
        return None
    found = history.quantiles()
    middle, outer = found[0.5], found[0.999 if side == "above" else 0.001]
    usual = found[0.99] - found[0.01]
    step = _step(max(usual, abs(outer - middle), history.noise(), abs(outer) * 0.01, 1e-6))
    sign = 1 if side == "above" else -1
    limit = outer + sign * max(MARGIN * abs(outer - middle), history.noise(), step)
    limit = (math.ceil if side == "above" else math.floor)(limit / step - sign * 1e-9) * step
    deadband = max(NOISE * history.noise(), NARROW * usual)
    deadband = min(max(math.ceil(deadband / step - 1e-9), 1) * step, abs(limit - middle) or step)
    edge = point.high if side == "above" else point.low
    if edge is not None and (limit >= edge if side == "above" else limit <= edge):
        return None
    delay_s = _nice(max(_USUAL_S.get(point.unit, 10.0), 3 * point.period_s))
    return Proposal(side, _round(limit, step), _round(deadband, step), delay_s, 2 * delay_s)


def calmed(proposal: Proposal, excursions_s: Iterable[float]) -> Proposal:
    """The proposal with a delay that nine in ten of the short excursions over its limit do not outlast."""
    short = sorted(each for each in excursions_s if each <= 600)
    if len(short) < 3:
        return proposal
    delay_s = _nice(max(short[int(len(short) * 0.9)] * 1.1, proposal.on_delay_s))
    return Proposal(proposal.side, proposal.limit, proposal.deadband, delay_s, max(proposal.off_delay_s, delay_s))


def _step(span: float) -> float:
    """What a limit is rounded to: 1, 2 or 5 times a power of ten, about a fiftieth of the span."""
    rough = span / 50
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next((nice for nice in (1, 2, 5) if nice * power >= rough), 10)


def _round(value: float, step: float) -> float:
    return round(value, max(0, 1 - math.floor(math.log10(step))))


def _nice(seconds: float) -> float:
    return float(next((nice for nice in _NICE_S if nice >= seconds), 3600))
