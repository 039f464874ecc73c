"""One timer stands for the time-outs of all that are out."""

from __future__ import annotations

import asyncio
from math import inf

from drivers.modbus.deadlines import Deadlines


class Waiter:
    """Waits for one thing after the other, each for so long."""

    def __init__(self, deadlines: Deadlines, *times_s: float) -> None:
        self.given_up: list[float] = []
        self.over = asyncio.Event()
        self._deadlines = deadlines
        self._times_s = list(times_s)
        self._due_s = inf
        deadlines.waiting.add(self)
        self._ask()

    def _ask(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self._due_s = now_s + self._times_s.pop(0)
        self._deadlines.begin(self._due_s, now_s)

    def answered(self) -> None:
        self._due_s = inf
        self._deadlines.end()

    def expire(self, now_s: float) -> float:
        if self._due_s > now_s:
            return self._due_s
        self.given_up.append(now_s - self._due_s)
        self.answered()
        if self._times_s:
            self._ask()
        else:
            self.over.set()
        return inf


async def test_each_is_given_up_in_its_time_and_who_asks_anew_at_that_moment_too() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    patient, hasty = Waiter(deadlines, 3600.0), Waiter(deadlines, 0.03, 0.02, 0.01)
    await asyncio.wait_for(hasty.over.wait(), 5)
    assert len(hasty.given_up) == 3
    assert not patient.given_up

    patient.answered()
    assert deadlines._timer is None, "nobody is woken for what nobody waits for"


async def test_a_shorter_time_that_begins_later_ends_first() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    patient = Waiter(deadlines, 3600.0)
    hasty = Waiter(deadlines, 0.02)
    await asyncio.wait_for(hasty.over.wait(), 5)
    assert not patient.given_up
    patient.answered()
