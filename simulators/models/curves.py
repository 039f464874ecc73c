"""Curves that several models follow: how the day goes, how the weather goes, and noise with a memory."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

Curve = Sequence[tuple[float, float]]
"""(hour of the day, value) pairs by rising hour."""

PEOPLE: Curve = [(0, 0.15), (5, 0.1), (6.5, 0.6), (7.5, 1.0), (9, 0.6), (11, 0.5), (12, 0.7), (14, 0.45),
                 (17, 0.7), (18.5, 1.0), (20, 0.9), (22, 0.55), (23.5, 0.25)]  # fmt: skip
"""How much people move about, 0..1: two peaks a day."""

WATER: Curve = [(0, 0.14), (4, 0.08), (6, 0.35), (7.3, 0.95), (9, 0.55), (12, 0.6), (14, 0.4), (17, 0.7),
                (18.5, 1.0), (20.5, 0.95), (22, 0.6), (23.3, 0.25)]  # fmt: skip
"""How much water people draw, 0..1."""

WARMTH: Curve = [(0, 0.25), (5, 0.0), (9, 0.45), (14, 1.0), (18, 0.65), (21, 0.4)]
"""How warm it is outside between the night's low (0) and the day's high (1)."""


def along(curve: Curve, hour: float) -> float:
    """The value of a curve at an hour of 0..24, straight between its points and closed over midnight."""
    before = (curve[-1][0] - 24, curve[-1][1])
    for after in (*curve, (curve[0][0] + 24, curve[0][1])):
        if hour <= after[0]:
            width = after[0] - before[0]
            return before[1] + (after[1] - before[1]) * (hour - before[0]) / width if width else after[1]
        before = after
    return before[1]


def mean(curve: Curve) -> float:
    """The mean of a curve over a day."""
    return sum(along(curve, minute / 10) for minute in range(240)) / 240


def towards(now: float, goal: float, dt_s: float, tau_s: float) -> float:
    """`now` after `dt_s` on its exponential way to `goal`; never overshoots."""
    return goal + (now - goal) * math.exp(-dt_s / tau_s)


class Wander:
    """Noise that remembers: an Ornstein-Uhlenbeck process about 0."""

    def __init__(self, rng: random.Random, spread: float, tau_s: float) -> None:
        self._rng = rng
        self._spread = spread
        self._tau_s = tau_s
        self._limit = 3 * spread
        self._dt_s, self._keep, self._push = 0.0, 1.0, 0.0
        self.value = rng.gauss(0, spread)

    def step(self, dt_s: float) -> float:
        """Move on; the value stays within three spreads."""
        if dt_s != self._dt_s:  # steps are nearly always alike
            self._dt_s = dt_s
            self._keep = math.exp(-dt_s / self._tau_s)
            self._push = self._spread * math.sqrt(1 - self._keep * self._keep)
        value = self._keep * self.value + self._rng.gauss(0, self._push)
        self.value = max(-self._limit, min(self._limit, value))
        return self.value
