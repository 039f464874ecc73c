"""Counts, for good, what a far end will never take, and says it where staff look later.

What comes in: the count of an open uplink, which begins at 0. What goes out: the count since ever, when the last was
set aside and why, in the ledger before the place in the log moves over the rows, and an entry in the journal for the
first and then at most one an hour, with an example and the reason. The readings themselves stay in the store.
"""

from __future__ import annotations

import logging

from drivers.driver import Clock
from edge.uplinks.journal import Memory
from edge.uplinks.shape import Stats

SAY_AGAIN_S = 3600.0

log = logging.getLogger(__name__)


class Rejects:
    """What one uplink could not deliver."""

    def __init__(self, name: str, memory: Memory, clock: Clock) -> None:
        self._name = name
        self._memory = memory
        self._clock = clock
        self._stats = Stats()
        self._counted = 0
        self._said = 0
        self._say_s = float("-inf")
        self._last_s: float | None = None  # when the last was set aside, by the monotonic clock

    @property
    def total(self) -> int:
        """Since ever."""
        return self._memory.get("rejected") + self._stats.rejected - self._counted

    @property
    def reason(self) -> str | None:
        """Why the last was set aside; None where there was none."""
        return self._memory.text("reject_reason") or None

    def since_s(self) -> float:
        """How long ago the last was set aside, before a restart too; infinite where there was none."""
        if self._last_s is None and self._memory.knows("reject_ns"):
            ago_s = (self._clock.wall_ns() - self._memory.get("reject_ns")) / 1e9
            self._last_s = self._clock.mono_s() - max(0.0, ago_s)
        return float("inf") if self._last_s is None else self._clock.mono_s() - self._last_s

    def of(self, stats: Stats) -> None:
        """Count by these from now on: the uplink was opened anew."""
        self._stats, self._counted = stats, stats.rejected

    async def settle(self) -> None:
        """Write down what has been added since the last call; on the disk when this returns.

        Where the ledger cannot be read, it is counted here until it can.
        """
        if self._stats.rejected == self._counted or not self._memory.opened:
            return
        total = self.total
        self._said += self._stats.rejected - self._counted
        self._counted = self._stats.rejected
        self._last_s = self._clock.mono_s()
        what, why = self._stats.last_reject
        await self._memory.keep(rejected=total, reject_ns=self._clock.wall_ns(), reject_reason=why[:500])
        if self._clock.mono_s() < self._say_s:
            return
        self._say_s = self._clock.mono_s() + SAY_AGAIN_S
        log.warning("uplink %s: %d rows were set aside, e.g. %s: %s", self._name, self._said, what[:200], why)
        body = {"event": "set aside", "rows": self._said, "rows_ever": total, "example": what[:500], "reason": why}
        self._said = 0
        await self._memory.note(body)
