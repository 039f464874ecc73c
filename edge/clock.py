"""Wall and monotonic time, and the clock that tests own.

Everything in the house that waits or stamps is given a clock. Time-outs on I/O are real time always:
they belong to the wire.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from drivers.driver import Woken
from edge.kerneltime import synchronised

GRIDS_S = (1.0, 0.5, 0.05)
"""What sleeps for long ends at a multiple of the first of these that it is not shorter than: waking a processor costs
more than what is then done."""
_LEAST_S = 0.04
"""Of the first of many sleeps at least so much is left; the next are as long as they were meant to be."""
_COARSE_S = 0.25
_FINE_S = 0.001
_TRUE_S = 0.0001
"""By so much a sum of times may be too late for the moment that it means."""
_EARLY_S = 0.001
"""A timer of the event loop may be so much too early: who wakes then would only sleep again."""


def end_of(now_s: float, seconds: float) -> float:
    """When a long sleep that begins now ends: no later than it was asked for, together with others."""
    latest_s = now_s + seconds
    for grid_s in GRIDS_S:
        if grid_s <= seconds:
            end_s = int((latest_s + _TRUE_S) / grid_s) * grid_s
            if end_s - now_s >= _LEAST_S:
                return end_s
    return latest_s


class SystemClock:
    """The box's own clocks."""

    def wall_ns(self) -> int:
        """Unix time in ns, to the millisecond; may step when the box learns the time.

        A finer stamp would tell how long the answer lay in a queue, and cost two bytes a reading for that.
        """
        return time.time_ns() // 1_000_000 * 1_000_000

    def known(self) -> bool:
        """Whether the kernel's clock is kept from outside."""
        return synchronised()

    mono_s = staticmethod(time.monotonic)
    """Seconds since some start; never steps. Asked several times for each reading: nothing stands between."""

    def __init__(self) -> None:
        self._moments: dict[int, _Moment] = {}
        """By the millisecond."""

    async def sleep(self, seconds: float) -> None:
        """Wait; where that is long, to the last second, half or twentieth of one in it: so sleepers wake together."""
        if seconds < _COARSE_S:
            await asyncio.sleep(seconds)
            return
        now = self.mono_s()
        await self.wait(asyncio.get_running_loop().create_future(), end_of(now, seconds) - now)

    def wake(self, woken: Woken, at_s: float) -> None:
        """Set `woken` done at that time of the monotonic clock, to the next thousandth, if it is not by then.

        Those that are woken at the same moment share a timer, and come before those that `wait` until then: what has
        been sent is answered while the others do their work.
        """
        number = int((at_s - _TRUE_S) / _FINE_S) + 1
        moment = self._moments.get(number) or self._moment(number)
        moment.first.append(woken)

    async def wait(self, woken: asyncio.Future[None], seconds: float) -> None:
        """Wait until `woken` is done, at most so long."""
        number = int((self.mono_s() + seconds - _TRUE_S) / _FINE_S) + 1
        moment = self._moments.get(number) or self._moment(number)
        moment.then.append(woken)
        try:
            await woken
        finally:
            moment.leave(woken)

    def _moment(self, number: int) -> _Moment:
        """One that nobody has waited for yet."""
        made = self._moments[number] = _Moment(self._moments, number, self.mono_s)
        delay_s = max(0.0, number * _FINE_S - self.mono_s() + _EARLY_S)
        made.timer = asyncio.get_running_loop().call_later(delay_s, made.come)
        return made


class _Moment:
    """Who wakes in one thousandth of a second."""

    __slots__ = ("_all", "_mono_s", "_number", "first", "then", "timer")

    def __init__(self, all_: dict[int, _Moment], number: int, mono_s: Callable[[], float]) -> None:
        self.first: list[Woken] = []
        self.then: list[asyncio.Future[None]] = []
        self.timer: asyncio.TimerHandle | None = None
        self._all = all_
        self._mono_s = mono_s
        self._number = number

    def come(self) -> None:
        """It is now, unless the timer was early: some that are woken before their time would never look again."""
        left_s = self._number * _FINE_S - self._mono_s()
        if left_s > 0:
            self.timer = asyncio.get_running_loop().call_later(left_s + _EARLY_S, self.come)
            return
        del self._all[self._number]
        everybody: tuple[Woken, ...] = (*self.first, *self.then)
        for woken in everybody:
            if not woken.done():
                woken.set_result(None)

    def leave(self, woken: asyncio.Future[None]) -> None:
        """One waits no longer; where he was the last, nobody is woken."""
        self.then.remove(woken)
        if not self.first and not self.then and self._all.get(self._number) is self and self.timer is not None:
            self.timer.cancel()
            del self._all[self._number]


class ManualClock:
    """A clock that stands still until `advance` moves it, waking sleepers in order of their time."""

    def __init__(
        self, wall_ns: int = 1_767_225_600_000_000_000, mono_s: float = 1_000.0, *, known: bool = True
    ) -> None:
        self.time_known = known
        self._wall_ns = wall_ns
        self._mono_s = mono_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, Woken, str]] = []

    def wall_ns(self) -> int:
        """Unix time in ns."""
        return self._wall_ns

    def mono_s(self) -> float:
        """Seconds; moves by `advance` only."""
        return self._mono_s

    def known(self) -> bool:
        """As `time_known` says."""
        return self.time_known

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock that far."""
        await self.wait(asyncio.get_running_loop().create_future(), seconds)

    def wake(self, woken: Woken, at_s: float) -> None:
        """Set `woken` done once `advance` has moved the clock that far."""
        if at_s <= self._mono_s:
            asyncio.get_running_loop().call_soon(_wake, woken)
            return
        task = asyncio.current_task()
        name = getattr(woken, "name", None) or (task.get_name() if task else "")  # some sleep without a task
        entry = (at_s, next(self._order), woken, name)
        heapq.heappush(self._sleepers, entry)

    async def wait(self, woken: asyncio.Future[None], seconds: float) -> None:
        """Wait until `woken` is done or `advance` has moved the clock that far."""
        self.wake(woken, self._mono_s + seconds)
        await woken

    def sleeping(self) -> set[str]:
        """Names of the tasks, and of what has a name of its own, that wait on this clock now."""
        return {name for _, _, woken, name in self._sleepers if not woken.done()}

    def next_wake_s(self) -> float | None:
        """Monotonic time at which the next sleeper wakes; None where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and wake all whose time has come."""
        self._wall_ns += round(seconds * 1e9)
        self._mono_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._mono_s:
            _wake(heapq.heappop(self._sleepers)[2])

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock as a time server would: the monotonic clock does not move."""
        self._wall_ns += round(seconds * 1e9)


def _wake(woken: Woken) -> None:
    if not woken.done():
        woken.set_result(None)
