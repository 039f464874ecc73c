"""One loop for every uplink: rows are sent, confirmed, passed; live rows first, then what an outage has left.

What comes in: the readings log and one uplink's `send`. What goes out: places in the log that move only over what
the far end has confirmed, so that whatever fails, a row is sent again rather than lost. After a start or an
outage that left more than a few batches, live rows go on from the newest, and the rest follows in order at a
bounded rate, in slices so small that no live row waits long for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import NoReturn, Protocol

from drivers.driver import Clock
from edge.uplinks.pauses import Pauses
from edge.uplinks.places import Cursors, Places
from edge.uplinks.shape import Row, Stats, UplinkDown

AT_ONCE = 4
"""Batches: what an outage has left is simply sent in order, up to so many of them or a second's worth."""
SLICE_S = 0.25
"""Of the backlog, so much by its rate goes at once."""
SLOW_S, QUICK_S = 0.5, 0.1
"""A slice that takes longer is halved, one that takes less is doubled: live rows wait for it."""
LOOK_AGAIN_S = 1.0
"""The log says that there is a backlog, but cannot be read."""


class Send(Protocol):
    """`Sender.send`."""

    async def __call__(self, rows: Sequence[Row], /, *, late: bool) -> None:
        """Return once the far end has the rows. Raises UplinkDown."""
        ...


class Log(Cursors, Protocol):
    """The readings log, as far as an uplink uses it."""

    async def read_after(self, seq: int, limit: int) -> Sequence[Row]:
        """Rows with numbers above `seq`."""
        ...

    async def wait_after(self, seq: int) -> None:
        """Return once there is such a row."""
        ...

    def newest(self) -> int:
        """Number of the newest row that may be given out."""
        ...


async def _nothing() -> None:
    """There is nothing to write down."""


async def drain(
    store: Log,
    name: str,
    send: Send,
    clock: Clock,
    stats: Stats | None = None,
    *,
    limit: int = 500,
    linger_s: float = 0.2,
    backlog_rate: float = 2000.0,
    confirmed: Callable[[], Awaitable[None]] = _nothing,
) -> NoReturn:
    """Send what the log has and what comes, for ever; ends by cancellation only.

    `limit` rows at a time; with fewer at hand, `linger_s` on the clock for more to come. While the far end is
    down it is asked again after jittered, doubling pauses, or after what it asks for. `backlog_rate`: rows a
    second of what live rows have overtaken. `confirmed` is waited for after each send, before a place moves.
    """
    stats = stats or Stats()
    drained = _Drained(store, name, send, clock, stats, limit, backlog_rate, confirmed)
    pauses = Pauses(name, clock)
    resumed = True
    while True:
        if resumed:
            await drained.resume()
            resumed = False
        try:
            count = await drained.live()
            # Live rows come first; the backlog has its turn where no more of them wait.
            moved = (count < limit and await drained.late()) or count > 0
        except UplinkDown as error:
            stats.state, stats.last_error = "down", str(error)
            await pauses.after(error, "readings wait in the log")
            resumed = True
            continue
        if moved:
            pauses.over(f"{stats.behind()} rows to send")
            stats.state = "up"
        else:
            await drained.rest(linger_s)


class _Drained:
    """The two lanes of one uplink."""

    def __init__(
        self, store: Log, name: str, send: Send, clock: Clock, stats: Stats, limit: int, backlog_rate: float,
        confirmed: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._store = store
        self._name = name
        self._send = send
        self._clock = clock
        self._stats = stats
        self._limit = limit
        self._rate = backlog_rate
        self._confirmed = confirmed
        self._places = Places(store, name)
        self._slice = self._largest = max(1, min(limit, int(backlog_rate * SLICE_S)))
        self._due_s = 0.0  # when the backlog may go on, on the monotonic clock
        stats.behind = self._places.behind

    async def resume(self) -> None:
        """After a start or a failure: see whether live rows must overtake what waits."""
        places = self._places
        if self._store.behind(places.live) > max(self._limit, min(self._rate, AT_ONCE * self._limit)):
            places.skip(self._store.newest())
        hole = places.hole()
        if hole is not None:
            oldest = await self._store.read_after(hole[0], 1)
            if oldest:
                self._stats.oldest_ns = oldest[0].time_ns

    async def live(self) -> int:
        """Send what is newest; returns how many rows there were."""
        rows = await self._store.read_after(self._places.live, self._limit)
        if rows:
            if self._places.hole() is None:
                self._stats.oldest_ns = rows[0].time_ns
            await self._deliver(rows, late=False)
        return len(rows)

    async def late(self) -> bool:
        """Send a slice of what was overtaken, if it is time. Whether anything was sent."""
        hole = self._places.hole()
        if hole is None or self._clock.mono_s() < self._due_s:
            return False
        place, end = hole
        found = await self._store.read_after(place, self._slice)
        if not found:
            self._due_s = self._clock.mono_s() + LOOK_AGAIN_S
            return False
        rows = [row for row in found if row.seq <= end]
        if rows:
            self._stats.oldest_ns = rows[0].time_ns
            began = perf_counter()
            await self._deliver(rows, late=True)
            self._pace(len(rows), perf_counter() - began)
        if len(rows) < len(found):
            self._places.confirm(end, late=True)  # the log has no more of it
        return True

    async def rest(self, linger_s: float) -> None:
        """Wait for rows, or for the time at which the backlog goes on."""
        position = self._places.live
        if self._places.hole() is None:
            self._stats.oldest_ns = None
            await self._store.wait_after(position)
            if linger_s:
                await self._clock.sleep(linger_s)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(self._store.wait_after(position), name=f"uplink[{self._name}] rows")
        waiting.add_done_callback(partial(_wake, woken))
        try:
            await self._clock.wait(woken, max(0.0, self._due_s - self._clock.mono_s()))
        finally:
            waiting.cancel()

    async def _deliver(self, rows: Sequence[Row], *, late: bool) -> None:
        passed = self._stats.passed
        await self._send(rows, late=late)
        await self._confirmed()
        self._places.confirm(rows[-1].seq, late=late)
        self._stats.add(len(rows) - (self._stats.passed - passed), self._clock.mono_s())

    def _pace(self, rows: int, took_s: float) -> None:
        self._due_s = self._clock.mono_s() + max(0.0, rows / self._rate - took_s)
        if took_s > SLOW_S:
            self._slice = max(1, self._slice // 2)
        elif took_s < QUICK_S:
            self._slice = min(self._largest, self._slice * 2)


def _wake(woken: asyncio.Future[None], _: object) -> None:
    if not woken.done():
        woken.set_result(None)
