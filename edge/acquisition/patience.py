"""How long a device is waited for: learned from how it has answered. Pure.

What comes in: each answer's delay, beyond what the wire was predicted to take, and each time-out that turned out to
be none. What goes out: two time-outs. The usual one is generous, since it is only met when something is wrong. That
of a probe is tight: it is met again and again while a device is dead, and each costs wire time.
"""

from __future__ import annotations

LEAST_S = 0.1
"""The usual time-out is never shorter: a device, or this box, may be busy for a moment."""
LEAST_PROBE_S = 0.015
_TIMES = 4.0
"""The usual time-out, in times of the slowest of the last answers (their 99th percentile, about)."""
_TIMES_PROBE = 1.25
_NEEDED = 5
"""Answers before anything is known."""
_SPAN = 64
"""The slowest of the last 64 to 128 answers counts."""
_MOST_DOUBT = 16.0


class Patience:
    """What is known of one device's answers."""

    __slots__ = ("_count", "_doubt", "_slowest", "_slowest_before", "probe_s", "usual_s")

    def __init__(self) -> None:
        self.usual_s: float | None = None
        """The time-out of a reading; None where too little is known."""
        self.probe_s: float | None = None
        """The time-out of a probe; None where too little is known."""
        self._slowest = 0.0
        self._slowest_before = 0.0
        self._count = 0
        self._doubt = 1.0

    def answered(self, delay_s: float) -> None:
        """It took so long; less than predicted counts as nothing."""
        self._count = count = self._count + 1
        if not count % _SPAN:
            self._slowest_before, self._slowest = max(self._slowest, delay_s), 0.0
            self._doubt = max(1.0, self._doubt / 2)
        elif delay_s > self._slowest:
            self._slowest = delay_s
        elif count != _NEEDED:
            return
        self._learn()

    def hasty(self) -> None:
        """It was given up, and answered the very next time: be more patient for a while."""
        self._doubt = min(2 * self._doubt, _MOST_DOUBT)
        self._learn()

    def _learn(self) -> None:
        if self._count >= _NEEDED:
            worst_s = max(self._slowest, self._slowest_before)
            self.usual_s = self._doubt * max(_TIMES * worst_s, LEAST_S)
            self.probe_s = max(_TIMES_PROBE * worst_s, LEAST_PROBE_S)
