"""How much a card is written to for each recorded reading, at several rates: commits, cursors, packing, checkpoints.

Measured as what the kernel counts for this process as submitted to the block layer, `write_bytes` in
`/proc/self/io`, in whole pages of 4096 bytes. Time is simulated, so that hours take seconds; lest the kernel gather
in its cache what a real hour would have made it write one by one, both files are synced after every commit, which
counts each page that a commit has touched, every time: on a real box, where the kernel waits 5 to 30 s, it is less.
What the file system writes for its own journal is not the process's and is not counted. The month of a quiet site
is its hours, multiplied. Sites are synthetic: rows of one to ten points of an equipment, as report by exception
leaves them, one uplink that has all but the newest second.

Run: `python -m tests.bench.bench_card [HOURS]` (of simulated time at each rate; 0.3 without).
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge.clock import ManualClock
from edge.store.readings import ReadingsStore, open_readings

COMMIT_S, LONGEST_S = 1.0, 30.0
MONTH_S = 30 * 86_400
POINTS = tuple(f"point_{n}" for n in range(10))
RATES = ((20, 60), (500, 600), (3000, 2000))
"""(readings recorded a second, equipment)"""
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
        site.second(store, rate, clock.wall_ns())  # names all layouts, opens all pages
        await store.flush()
        sync(path)
        before, stats, commits = written(), store.stats(), store.stats()["commits"]
        for _ in range(seconds):
            site.second(store, rate, clock.wall_ns())
            store.advance("cloud", int(store.stats()["last_seq"]) - 1)
            clock.advance(1.0)
            await settled(clock, path)
            if store.stats()["commits"] > commits:
                commits = store.stats()["commits"]
                sync(path)
        await store.flush()
        after = store.stats()
    sync(path)  # the last checkpoint
    gained = {key: after[key] - stats[key] for key in ("values", "rows", "commits")}
    return Written(
        gained["values"], gained["rows"], gained["commits"], written() - before, seconds, path.stat().st_size
    )


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


def main(hours: float) -> None:
    """Print the table."""
    print(f"card: {hours:g} simulated hours at each rate, commits each {COMMIT_S:g} to {LONGEST_S:g} s")
    print(
        f"{'recorded/s':>11}{'a row':>8}{'interval s':>12}{'written each':>14}{'in the file':>13}{'GB a month':>12}"
    )
    with tempfile.TemporaryDirectory() as name:
        check_that_it_counts(Path(name))
        for rate, equipment in RATES:
            done = asyncio.run(run(Path(name), rate, equipment, round(hours * 3600)))
            print(
                f"{done.readings / done.seconds:11.0f}{done.readings / done.rows:8.1f}"
                f"{done.seconds / done.commits:12.1f}{done.bytes / done.readings:14.1f}"
                f"{done.file_bytes / done.readings:13.1f}{done.bytes / done.seconds * MONTH_S / 1e9:12.1f}"
                f"   at most {LIMITS[rate]}"
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.3)
