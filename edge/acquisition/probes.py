"""Which silent device is tried when, and what share of the wire that may take. Pure.

What comes in: devices that have fallen silent, with the time of their next probe, and what each probe has cost.
What goes out: the device whose turn it is. After a probe the next one of the connection waits until all of them
together have taken no more than their share of the time. Now and then one is given longer than the device has been
known to need, in time that is to spare, so that a slower device in its place is found too; these have a share of
their own, a tenth.
"""

from __future__ import annotations

import heapq
import itertools

from edge.acquisition.agenda import Asked

PROBE_SHARE = 0.05
"""Of the wire's time, for all probes of a connection together."""
_WIDE_PART = 0.1
_CREDIT_S = 2.0
"""Of so much time the share may be saved up, so that two devices whose probes fall together need not wait."""


class Probes:
    """The silent devices of one connection."""

    def __init__(self, share: float = PROBE_SHARE) -> None:
        self._tight, self._wide = share * (1 - _WIDE_PART), share * _WIDE_PART
        self._order = itertools.count()
        self.queue: list[tuple[float, int, Asked]] = []
        """Who is to be tried, and from when on."""
        self._free_s = self._wide_free_s = float("-inf")

    def add(self, device: Asked, due_s: float) -> None:
        """Try it from then on."""
        heapq.heappush(self.queue, (due_s, next(self._order), device))

    def next_s(self, *, limited: bool) -> float | None:
        """When the next may be tried; without a limit where the wire has nothing else to do."""
        if not self.queue:
            return None
        return max(self.queue[0][0], self._free_s) if limited else self.queue[0][0]

    def first(self) -> tuple[float, Asked]:
        """The next, and since when it is due."""
        return self.queue[0][0], self.queue[0][2]

    def take(self) -> Asked:
        """The next, which is tried now."""
        return heapq.heappop(self.queue)[2]

    def drop(self, device: Asked) -> None:
        """It has answered before it was tried."""
        self.queue = [entry for entry in self.queue if entry[2] is not device]
        heapq.heapify(self.queue)

    def wide(self, now: float) -> bool:
        """Whether the share allows one longer than usual."""
        return now >= self._wide_free_s

    def spent(self, now: float, cost_s: float, *, wide: bool) -> None:
        """A probe has ended."""
        if wide:
            self._wide_free_s = now - cost_s + cost_s / self._wide
        else:
            after_s = cost_s / self._tight
            self._free_s = min(max(self._free_s, now - cost_s - _CREDIT_S), now) + after_s
