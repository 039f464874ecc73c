"""Time-outs of many exchanges by few timers.

Nearly every exchange ends long before its time-out, and starting and stopping a timer of the event loop for each
costs more than finding its answer. Those that end in the same stretch of time therefore share one timer, which
finds most of them answered. What comes in: a future and how long it may take. What goes out: TimeoutError, at most
`_COARSE_S` late for long time-outs, 1 ms for short ones.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

_LONG_S = 0.5
"""Time-outs of at least this length end on a coarse grid."""
_COARSE_S = 0.05
_FINE_S = 0.001


class Deadlines:
    """Of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[float, set[asyncio.Future[bytes]]] = {}

    def add(self, answer: asyncio.Future[bytes], now_s: float, timeout_s: float) -> set[asyncio.Future[bytes]]:
        """End `answer` with TimeoutError once `timeout_s` have passed since `now_s` on the loop's clock.

        Returns those that end together: whoever has his answer takes the future out of it.
        """
        grid_s = _COARSE_S if timeout_s >= _LONG_S else _FINE_S
        due_s = ((now_s + timeout_s) // grid_s + 1) * grid_s
        together = self._due.get(due_s)
        if together is None:
            together = self._due[due_s] = set()
            self._loop.call_later(due_s - now_s, self._end, due_s)
        together.add(answer)
        return together

    def _end(self, due_s: float) -> None:
        for answer in self._due.pop(due_s):
            if not answer.done():
                answer.set_exception(TimeoutError())


_of: WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines] = WeakKeyDictionary()


def deadlines(loop: asyncio.AbstractEventLoop) -> Deadlines:
    """Those of a loop; the same each time."""
    found = _of.get(loop)
    if found is None:
        found = _of[loop] = Deadlines(loop)
    return found
