"""How much a card is written to for each recorded reading, at several rates: commits, cursors, packing, checkpoints.

Measured as what the kernel counts for this process as submitted to the block layer, `write_bytes` in
`/proc/self/io`, in whole pages of 4096 bytes. Time is simulated, so that hours take a minute; lest the kernel gather
in its cache what real hours would have made it write bit by bit, both files are synced every 5 simulated seconds:
that is how often its flusher wakes, and it then writes only what has waited for 30. So a page that is touched again
counts again. What the file system writes for its own journal is not the process's and is not counted. The month of a
quiet site is its hours, multiplied. Sites are synthetic: rows of one to ten points of an equipment, 3.2 in the mean,
as report by exception leaves them (the demo's community: 1.9), values that wander at random, one uplink that has all
but the newest second. Rows are packed each time that there are enough for a period, and at the end all that are left:
every reading is packed once. `at rest` is the whole file at the end, with the room that packing has freed.

Run: `make bench ARGS=card`; with `TIMES=3` in the environment, three times the simulated time below.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge.clock import ManualClock
from edge.store.group_table import SPAN_GROUPS
from edge.store.packer import Closing, closed, pack_upto
from edge.store.readings import ReadingsStore, open_readings

COMMIT_S, LONGEST_S = 1.0, 30.0
MONTH_S = 30 * 86_400
POINTS = tuple(f"point_{n}" for n in range(10))
RATES = ((20, 60, 7200), (500, 600, 1200), (3000, 1200, 470))
"""(readings recorded a second, equipment, simulated seconds)"""
PACKED_EACH_S = 60
FLUSHER_S = 5
LIMITS = {20: "15 GB a month", 500: "40 bytes", 3000: "15 bytes"}


class Site:
    """Equipment of ten points each: slow decimals, counts, switches."""

    def __init__(self, equipment: int) -> None:
        self._chance = random.Random(7)
        self._names = [f"equipment-{n}" for n in range(equipment)]
        self._values: dict[str, list[float | int | bool]] = {
            name: [20.0 + n, 4.0, 0.31, 230.1, 50.0, 1000 + n, 7, n % 2 == 0, False, True]
            for n, name in enumerate(self._names)
        }

    def begin(self, store: ReadingsStore, time_ns: int) -> None:
        """Record every point once."""
        for name in self._names:
            store.append(name, POINTS, self._values[name], None, time_ns)

    def second(self, store: ReadingsStore, readings: int, time_ns: int) -> None:
        """Record about so many readings, spread over the second."""
        chance, left = self._chance, readings
        while left > 0:
            name = chance.choice(self._names)
            values = self._values[name]
            count = chance.choices((1, 2, 3, 10), (50, 20, 10, 20))[0]
            places = range(10) if count == 10 else sorted(chance.sample(range(10), count))
            for place in places:
                self._move(values, place)
            names = POINTS if count == 10 else tuple([POINTS[place] for place in places])
            at = time_ns + round((1 - left / readings) * 1e3) * 1_000_000  # stamps are told to the millisecond
            store.append(name, names, [values[place] for place in places], None, at)
            left -= count

    def _move(self, values: list[float | int | bool], place: int) -> None:
        if place < 5:
            values[place] = round(values[place] + self._chance.gauss(0, 0.5), 1 if place != 2 else 2)
        elif place < 7:
            values[place] += self._chance.randrange(3)
        else:
            values[place] = not values[place]


@dataclass(frozen=True)
class Written:
    """What one run has cost."""

    readings: float
    rows: float
    commits: float
    bytes: int
    seconds: float
    file_bytes: int


async def run(folder: Path, rate: int, equipment: int, seconds: int) -> Written:
    """Record at one rate for so long a simulated time."""
    site, clock, path = Site(equipment), ManualClock(), folder / f"{rate}.db"
    async with open_readings(path, COMMIT_S, LONGEST_S, clock) as store:
        for turn in range(SPAN_GROUPS):  # points are named once in the life of a file
            site.begin(store, clock.wall_ns() - (60 - turn) * 10**9)
            await store.flush()
        await packed(store, Closing(after_ns=0, at_once=True), clock.wall_ns())
        before, stats = written(), store.stats()
        for second in range(seconds):
            site.second(store, rate, clock.wall_ns())
            store.advance("cloud", int(store.stats()["last_seq"]) - 1)
            clock.advance(1.0)
            await settled(clock, path)
            if second % FLUSHER_S == 0:
                sync(path)
            if second % PACKED_EACH_S == 0:
                await packed(store, Closing(after_ns=60 * 10**9), clock.wall_ns())
        after = store.stats()
        await store.flush()
        await packed(store, Closing(after_ns=0, at_once=True), clock.wall_ns())
    sync(path)  # the last checkpoint
    gained = {key: after[key] - stats[key] for key in ("values", "rows", "commits")}
    return Written(
        gained["values"], gained["rows"], gained["commits"], written() - before, seconds, path.stat().st_size
    )


async def packed(store: ReadingsStore, closing: Closing, now_ns: int) -> None:
    """Pack what there is enough of, in short steps as the daemon does."""
    last = int(store.stats()["committed_seq"])
    while (upto := await store.work(lambda file: closed(file, closing, now_ns, last))) is not None:
        steps = await store.work(lambda file, upto=upto: pack_upto(file, upto))  # type: ignore[misc]  # one after the other
        while await store.work(lambda _, steps=steps: next(steps, True)) is None:  # type: ignore[misc]
            pass
    sync(store.path)


async def settled(clock: ManualClock, path: Path) -> None:
    """Until whoever commits sleeps again."""
    await asyncio.sleep(0)
    while f"store[{path.name}]" not in clock.sleeping():  # noqa: ASYNC110  # a thread of the store's is busy, and tells nobody
        await asyncio.sleep(0.0002)


def written() -> int:
    """Bytes that the kernel has counted as written by this process."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, count = line.partition(": ")
        if name == "write_bytes":
            return int(count)
    raise SystemExit("this kernel does not count what a process writes (/proc/self/io)")


def sync(path: Path) -> None:
    """Have everything written now, so that what is touched again counts again."""
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            handle = os.open(file, os.O_RDWR)
            os.fdatasync(handle)
            os.close(handle)


def check_that_it_counts(folder: Path) -> None:
    """A file system in memory counts nothing: then all figures would be good, and none true."""
    before, file = written(), folder / "probe"
    file.write_bytes(b"x" * 1_048_576)
    sync(file)
    if written() - before < 1_048_576:
        raise SystemExit(f"{folder} lies on a file system whose writes are not counted; set TMPDIR to a disk")


def main(times: float) -> None:
    """Print the table."""
    print(f"card: commits each {COMMIT_S:g} to {LONGEST_S:g} s, everything packed once")
    heads = ("recorded/s", "minutes", "a row", "interval s", "bytes each", "at rest", "GB a month")
    print("".join(f"{head:>12}" for head in heads))
    with tempfile.TemporaryDirectory() as name:
        check_that_it_counts(Path(name))
        for rate, equipment, seconds in RATES:
            done = asyncio.run(run(Path(name), rate, equipment, round(seconds * times)))
            print(
                f"{done.readings / done.seconds:12.0f}{done.seconds / 60:12.0f}{done.readings / done.rows:12.1f}"
                f"{done.seconds / done.commits:12.1f}{done.bytes / done.readings:12.1f}"
                f"{done.file_bytes / done.readings:12.1f}{done.bytes / done.seconds * MONTH_S / 1e9:12.1f}"
                f"   at most {LIMITS[rate]}"
            )


if __name__ == "__main__":
    main(float(os.environ.get("TIMES", "1")))
