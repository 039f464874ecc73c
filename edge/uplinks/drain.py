"""One loop for every uplink: rows after the cursor are sent, confirmed, passed.

What comes in: the readings log and one uplink's `send`. What goes out: a cursor that moves only over what the
far end has confirmed, so that whatever fails, a row is sent again rather than lost.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import NoReturn, Protocol

from drivers.driver import Clock
from edge.uplinks.shape import Row, Stats, UplinkDown

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_WAIT_S = 3600.0
"""A far end that asks for a longer pause than this is asked again all the same."""

log = logging.getLogger(__name__)


class Send(Protocol):
    """`Sender.send`."""

    async def __call__(self, rows: Sequence[Row], /, *, late: bool) -> None:
        """Return once the far end has the rows. Raises UplinkDown."""
        ...


class Log(Protocol):
    """The readings log, as far as an uplink uses it."""

    async def read_after(self, seq: int, limit: int) -> Sequence[Row]:
        """Rows with numbers above `seq`."""
        ...

    async def wait_after(self, seq: int) -> None:
        """Return once there is such a row."""
        ...

    def cursor(self, name: str) -> int:
        """What `name` has."""
        ...

    def advance(self, name: str, seq: int) -> None:
        """Note that `name` has all up to `seq`."""
        ...

    def behind(self, seq: int) -> int:
        """How many rows lie after `seq`."""
        ...


async def drain(
    store: Log,
    name: str,
    send: Send,
    clock: Clock,
    stats: Stats | None = None,
    *,
    limit: int = 500,
    linger_s: float = 0.2,
) -> NoReturn:
    """Send what the log has and what comes, for ever; ends by cancellation only.

    `limit` rows at a time; with fewer at hand, `linger_s` on the clock for more to come. While the far end is
    down it is asked again after jittered, doubling pauses, or after what it asks for.
    """
    stats = stats or Stats()
    stats.behind = lambda: store.behind(store.cursor(name))
    down = _Down(name, clock, stats)
    while True:
        position = store.cursor(name)  # asked each time: the log may have taken it forward
        rows = await store.read_after(position, limit)
        if not rows:
            stats.oldest_ns = None
            await store.wait_after(position)
            if linger_s:
                await clock.sleep(linger_s)
            continue
        stats.oldest_ns = rows[0].time_ns
        try:
            await send(rows, late=False)
        except UplinkDown as error:
            await down.pause(error)
            continue
        down.over()
        store.advance(name, rows[-1].seq)
        stats.sent += len(rows)


class _Down:
    """The pauses of one uplink: the first failure is logged, and the recovery."""

    def __init__(self, name: str, clock: Clock, stats: Stats) -> None:
        self._name = name
        self._clock = clock
        self._stats = stats
        self._failures = 0
        self._since_s = 0.0
        self._jitter = random.Random(name)

    async def pause(self, error: UplinkDown) -> None:
        self._stats.state, self._stats.last_error = "down", str(error)
        if self._failures == 0:
            self._since_s = self._clock.mono_s()
            log.warning("uplink %s: %s; readings wait in the log, trying again", self._name, error)
        if error.retry_after_s is None:
            wait = min(FIRST_PAUSE_S * 2 ** min(self._failures, 16), LONGEST_PAUSE_S)
        else:
            wait = min(max(error.retry_after_s, 0.0), LONGEST_WAIT_S)
        self._failures += 1
        # Never earlier than asked for, and not all gateways of a town at the same moment.
        await self._clock.sleep(wait * self._jitter.uniform(1.0, 1.25))

    def over(self) -> None:
        if self._failures:
            away_s = self._clock.mono_s() - self._since_s
            log.warning("uplink %s is back after %.0f s; %d rows to send", self._name, away_s, self._stats.behind())
        self._failures = 0
        self._stats.state = "up"
