"""One loop for every uplink: rows after the cursor are sent, confirmed, passed.

What comes in: the readings log and one uplink's `send`. What goes out: a cursor that moves only over what the
far end has confirmed, so that whatever fails, a row is sent again rather than lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Protocol

from drivers.driver import Clock
from edge.uplinks.pauses import Pauses
from edge.uplinks.shape import Row, Stats, UplinkDown


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
    pauses = Pauses(name, clock)
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
            stats.state, stats.last_error = "down", str(error)
            await pauses.after(error, "readings wait in the log")
            continue
        pauses.over(f"{stats.behind()} rows to send")
        stats.state = "up"
        store.advance(name, rows[-1].seq)
        stats.sent += len(rows)
