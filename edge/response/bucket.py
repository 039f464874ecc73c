"""How often a robot may speak: so many messages in any minute, with a share kept back for what is critical. Pure.

A token comes back one minute after it was spent, so that no window of a minute ever sees more than the rate; a
bucket that refills steadily would let twice the rate through in its first minute, and DingTalk then mutes the robot
for ten.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
_TICK_S = 1e-6
"""Below what a clock's own rounding may miss."""


class Bucket:
    """Tokens of one robot."""

    def __init__(self, per_minute: int, reserve: int) -> None:
        """`reserve` of the `per_minute` tokens are for critical messages only."""
        self._size = per_minute
        self._open = per_minute - reserve
        self._spent: deque[float] = deque()

    def wait_s(self, now_s: float, urgent: bool) -> float:
        """Seconds until a token may be spent; 0: now."""
        while self._spent and self._spent[0] + WINDOW_S <= now_s + _TICK_S:
            self._spent.popleft()
        allowed = self._size if urgent else self._open
        surplus = len(self._spent) - allowed
        if surplus < 0:
            return 0.0
        return self._spent[surplus] + WINDOW_S - now_s

    def spend(self, now_s: float) -> None:
        """Use one token."""
        self._spent.append(now_s)
