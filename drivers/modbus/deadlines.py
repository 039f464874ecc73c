"""Time-outs of many exchanges by one timer.

Nearly every exchange ends long before its time-out, and starting and stopping a timer of the event loop for each
costs more than finding its answer. One timer therefore stands for the first time-out of all that are out; where
nothing is out there is none, and nobody is woken for it. What comes in: who waits, and until when. What goes out:
word to each whose time has passed, at most a millisecond late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Protocol
from weakref import WeakKeyDictionary

_FINE_S = 0.001
"""The event loop's timers know no less."""


def precise(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's clock, to better than a millisecond: uvloop's own stands still for the length of one round."""
    return time.monotonic if type(loop).__module__.startswith("uvloop") else loop.time


class Waiting(Protocol):
    """Somebody who waits for answers."""

    def expire(self, now_s: float) -> float:
        """Give up what should have come by now. Returns by when the next should; infinity where none is out."""
        ...


class Deadlines:
    """Of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: set[Waiting] = set()
        self._loop = loop
        self._out = 0
        """How many exchanges are out, of all together."""
        self._first_s = inf
        """When the timer ends."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, due_s: float, now_s: float) -> None:
        """One of `waiting` waits for one more answer, until `due_s` by the loop's `precise` clock."""
        self._out += 1
        if due_s < self._first_s:
            self._arm(due_s, now_s)

    def end(self) -> None:
        """One answer is no longer waited for."""
        self._out -= 1
        if not self._out and self._timer is not None:
            self._timer.cancel()
            self._timer, self._first_s = None, inf

    def _arm(self, due_s: float, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._first_s = due_s
        self._timer = self._loop.call_later(max(0.0, due_s - now_s) + _FINE_S, self._look, due_s)

    def _look(self, due_s: float) -> None:
        """The timer has ended."""
        self._timer, self._first_s = None, inf
        now_s = max(due_s, precise(self._loop)())
        next_s = min((each.expire(now_s) for each in self.waiting), default=inf)
        if next_s < self._first_s:  # those whose time has passed may have asked anew, for less time
            self._arm(next_s, now_s)


_of: WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines] = WeakKeyDictionary()


def deadlines(loop: asyncio.AbstractEventLoop) -> Deadlines:
    """Those of a loop; the same each time."""
    found = _of.get(loop)
    if found is None:
        found = _of[loop] = Deadlines(loop)
    return found
