"""An uplink that is away for days at 500 readings a second, and what happens when it is back.

The outage is simulated: the clock is the bench's own, and every second of it is a second's rows really written to a
`readings.db`, committed every ten, while the uplink asks the far end again and again. Then the far end is back and
time is real: live rows come at 500 readings a second, each with a value that counts up, and the backlog drains as
fast as it goes (the site file's `backlog_rate` would bound it). The far end takes 20 ms for a batch, as a server not
far away does, and checks that every value has come, in order, in its lane.

The keeper works beside it all as in the daemon: while the far end is away nothing may be packed; as the backlog
drains, what it has passed is, and two days of packed history from before the outage are old enough to go.
The store's tail, the places of both lanes, the slice in hand and the piece that is packed are all that memory should
hold: RSS says so. Days: `make bench ARGS=outage DAYS=7`.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from drivers.driver import Clock
from edge.clock import ManualClock, SystemClock
from edge.store.digests import DAY_NS
from edge.store.keeper import Keeper, Keeping
from edge.store.packed import SERIES_BITS, PackedHistory
from edge.store.packer import Closing, pack_upto
from edge.store.readings import ReadingsStore, open_readings
from edge.store.readings_file import ReadingsFile
from edge.uplinks.drain import drain
from edge.uplinks.shape import Row, UplinkDown

DAYS = float(os.environ.get("DAYS", "0.05"))
A_SECOND = 500
"""Readings."""
VALUES = 100
"""Of one row."""
COMMIT_S = 10
ANSWER_S = 0.02
RATE = 100_000.0
"""Rows a second of the backlog: no bound here, to see what live rows bear."""
OLD_DAYS, OLD_S = 2, 600
"""Before the outage: so many days, of each at most so many seconds."""
HOUR_NS = 3600 * 10**9
FLAT_MB = 40
"""What may be packed at a time is unpacked in memory; more than this beyond the beginning is no longer flat."""
CHANCE = random.Random(1)
SAMPLES = [tuple(round(CHANCE.uniform(0, 100), 1) for _ in range(VALUES - 1)) for _ in range(1009)]
POINTS = tuple(f"p{n}" for n in range(VALUES))
EQUIPMENT = [f"e{n}" for n in range(60)]


class FarEnd:
    """Away at first; then counts what comes and how late it is."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0
        self.next_late = 0
        self.first_live: int | None = None
        self.next_live = 0
        self.fresh = 0  # the first number of those that come in real time
        self.disorder = 0
        self.delays_s: list[float] = []
        self.peak_mb = 0.0

    @property
    def done(self) -> bool:
        """Whether both lanes have met, and live rows of now have come."""
        return self.first_live is not None and self.next_late >= self.first_live and self.next_live > self.fresh

    @property
    def in_order(self) -> bool:
        """Whether every row has come, once, in its lane."""
        return self.next_late == self.first_live and not self.disorder

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        self.asked += 1
        if self.away:
            raise UplinkDown("away")
        await asyncio.sleep(ANSWER_S)
        if not late and self.first_live is None:
            self.first_live = self.next_live = int(rows[0].values[0] or 0)
        due = self.next_late if late else self.next_live
        for row in rows:
            self.disorder += row.values[0] != due
            due = int(row.values[0] or 0) + 1
        if late:
            self.next_late = due
        else:
            self.next_live = due
            now_ns = time.time_ns()
            self.delays_s += [(now_ns - row.time_ns) / 1e9 for row in rows if int(row.values[0] or 0) >= self.fresh]
        if self.asked % 50 == 0:
            self.peak_mb = max(self.peak_mb, rss_mb())


def rss_mb() -> float:
    """What the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def put(store: ReadingsStore, number: int, time_ns: int) -> None:
    """One row; its first value is its number."""
    values = (number, *SAMPLES[number % len(SAMPLES)])
    store.append(EQUIPMENT[number % len(EQUIPMENT)], POINTS, values, None, time_ns)


async def old_days(store: ReadingsStore, before_ns: int, seconds: int) -> None:
    """Packed history of the days before, which the far end has."""
    for day in range(OLD_DAYS, 0, -1):
        begin_ns = (before_ns // DAY_NS - day) * DAY_NS
        for second in range(seconds):
            for _ in range(A_SECOND // VALUES):
                put(store, -1, begin_ns + second * 10**9)
            if second % COMMIT_S == 0:
                await store.flush()
        await store.flush()
        upto = store.last_seq
        store.advance("cloud", upto)
        await store.flush()
        await store.work(partial(pack_all, upto))


def pack_all(upto: int, file: ReadingsFile) -> None:
    """At once."""
    for _ in pack_upto(file, upto):
        pass


def history(file: ReadingsFile) -> tuple[int, int]:
    """Packed readings, and days of which only summaries are left."""
    summarised = file.db.execute("SELECT count(DISTINCT id >> ?) FROM minutes", (SERIES_BITS,)).fetchone()[0]
    return PackedHistory(file.db).bytes_and_readings()[1], summarised


def keeper(store: ReadingsStore, clock: Clock, keep_ns: int) -> Keeper:
    """As the daemon has it, but with periods of an hour, so that several come and go while the backlog drains."""
    keeping = Keeping(Closing(HOUR_NS, longest_ns=HOUR_NS), keep_ns, 365 * DAY_NS, 1826 * DAY_NS, 100 * 10**9, {})

    async def told(shed: object, used: int) -> None:
        raise AssertionError(f"the budget cost {shed}")

    return Keeper(store, keeping, clock, ["cloud"], told)


async def outage(store: ReadingsStore, far: FarEnd, clock: ManualClock, seconds: int) -> tuple[int, float]:
    """Rows written, and the RSS after the first hundredth of it."""
    tasks = [
        asyncio.create_task(drain(store, "cloud", far.send, clock, backlog_rate=RATE)),
        asyncio.create_task(keeper(store, clock, 90 * DAY_NS).run()),
    ]
    rows, early_mb = 0, 0.0
    for second in range(seconds):
        for _ in range(A_SECOND // VALUES):
            put(store, rows, clock.wall_ns())
            rows += 1
        clock.advance(1)
        if second % COMMIT_S == 0:
            await store.flush()
        if second == seconds // 100:
            early_mb = rss_mb()
    await store.flush()
    await _end(*tasks)
    return rows, early_mb


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel; what has failed before says so."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def live(store: ReadingsStore, number: int) -> None:
    """A second's rows each second, in real time, evenly."""
    pause, due = VALUES / A_SECOND, time.monotonic()
    while True:
        put(store, number, time.time_ns())
        number += 1
        due += pause
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def measure(folder: Path, days: float) -> tuple[FarEnd, str]:
    """The far end as it is afterwards, and what is to be said."""
    seconds, far = round(days * 86_400), FarEnd()
    clock = ManualClock(wall_ns=time.time_ns() - seconds * 10**9)
    async with open_readings(folder / "readings.db", 1.0) as store:
        await old_days(store, clock.wall_ns(), min(OLD_S, seconds // 20))
        began = time.perf_counter()
        rows, early_mb = await outage(store, far, clock, seconds)
        wrote_s, away_mb = time.perf_counter() - began, rss_mb()
        before, _ = await store.work(history)
        size = sum(path.stat().st_size for path in folder.iterdir())
        asked, far.away, far.fresh = far.asked, False, rows
        task = asyncio.create_task(drain(store, "cloud", far.send, SystemClock(), backlog_rate=RATE))
        coming = asyncio.create_task(live(store, rows))
        keeping = asyncio.create_task(keeper(store, SystemClock(), seconds * 10**9).run())
        began = time.perf_counter()
        while not far.done and not task.done():
            far.peak_mb = max(far.peak_mb, rss_mb())
            await asyncio.sleep(0.2)
        drained_s = time.perf_counter() - began
        await _end(coming)
        while store.cursor("cloud") < store.newest() and not task.done():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
        await _end(task, keeping)
        packed, summarised = await store.work(history)
    delays = sorted(far.delays_s)
    meanwhile = far.next_live - far.next_late
    say = f"""away for {seconds / 86_400:g} days at {A_SECOND} readings/s: {rows:,} rows, {rows * VALUES:,} readings
  written in         {wrote_s:,.0f} s, {size / 1e6:,.0f} MB; the far end was asked {asked:,} times
  drained in         {drained_s:,.0f} s: {rows / drained_s:,.0f} rows/s, {rows * VALUES / drained_s:,.0f} readings/s
  packed meanwhile   {packed:,} readings of the outage; {summarised} old days went ({before:,} readings), as summaries
  delivered          {far.next_late:,} rows late, {meanwhile:,} live; out of order or missing: {far.disorder}
  live meanwhile     {len(delays):,} rows, late by median {delays[len(delays) // 2]:.3f} s, most {delays[-1]:.3f} s
  RSS                {early_mb:.0f} MB early on, {away_mb:.0f} at its end, {far.peak_mb:.0f} while draining"""
    kept = far.in_order and delays[-1] < 2 and max(away_mb, far.peak_mb) < early_mb + FLAT_MB
    return far, say + (
        "\n  everything in order, live rows less than 2 s late, memory flat" if kept else "\n  NOT KEPT"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        print(asyncio.run(measure(Path(name), DAYS))[1], flush=True)
