"""What history costs at rest, and how fast a month of it is drawn.

First the demo community: its models live for some hours (6, or the number after the module's name), what the daemon
would record is packed, and the file is measured, pages and tables included. Then one point each second for 30 days,
drawn to 1,000 steps: eight questions each, through the store as the console asks it; how long it took, and how much
processor time, which what else the machine does lengthens less.
Run: `python -m tests.bench.bench_packed [HOURS]`.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge.store.packed import PackedHistory
from edge.store.packer import pack_upto
from edge.store.readings import ReadingsStore, open_readings
from edge.store.readings_file import ReadingsFile
from edge.store.steps import AGGREGATES
from tests.bench.community import Community

S = 10**9
PERIOD_NS = 6 * 3600 * S
DAYS = 30
STEPS = 1_000
START = datetime(2026, 3, 2, tzinfo=UTC)


async def pack(store: ReadingsStore) -> tuple[float, list[float]]:
    """Pack everything; seconds in all, and of each step."""
    steps: list[float] = []

    def work(file: ReadingsFile) -> None:
        began = time.perf_counter()
        for _ in pack_upto(file, file.groups.ends(0, 2**62)[-1]):
            now = time.perf_counter()
            steps.append(now - began)
            began = now

    await store.flush()
    began = time.perf_counter()
    await store.work(work)
    return time.perf_counter() - began, steps


def pages(file: ReadingsFile) -> tuple[int, int]:
    """Bytes of the file's pages, and those of them that are in use."""
    count, free, size = (
        file.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return count * size, (count - free) * size


async def at_rest(path: Path, hours: float) -> None:
    """The demo community, packed each 6 hours."""
    community = Community(START)
    readings, took, steps = 0, 0.0, [0.0]
    async with open_readings(path, 600) as store:
        packed_ns = flushed_ns = 0
        for equipment, points, values, time_ns in community.hours(hours):
            if time_ns - flushed_ns > 20 * S:
                flushed_ns = time_ns
                await store.flush()
            if packed_ns and time_ns - packed_ns > PERIOD_NS:
                seconds, found = await pack(store)
                took, steps, packed_ns = took + seconds, steps + found, time_ns
            packed_ns = packed_ns or time_ns
            readings += len(values)
            store.append(equipment, points, values, None, time_ns)
        await store.flush()
        _, fresh = await store.work(pages)
        seconds, found = await pack(store)
        took, steps = took + seconds, steps + found
        whole, used = await store.work(pages)
        chunks, held = await store.work(lambda file: PackedHistory(file.db).bytes_and_readings())
    if held != readings:
        raise AssertionError(f"{readings} readings were recorded, {held} are packed")
    print(f"packed: the demo community, {hours:g} h of it, {readings:,} readings recorded")
    print(f"{'':42}{'bytes':>12}{'a reading':>12}")
    for what, size in (
        ("used before the last packing", fresh),
        ("chunks", chunks),
        ("pages in use at rest", used),
        ("file, with pages free for what comes", whole),
    ):
        print(f"{what:42}{size:12,}{size / readings:12.2f}")
    most = sorted(steps)[len(steps) * 99 // 100]
    print(f"packing: {took / readings * 1e6:.1f} µs a reading; {len(steps)} steps, 99 % within {most * 1e3:.0f} ms, "
          f"the longest {max(steps) * 1e3:.0f} ms\n")  # fmt: skip


def seconds_of(days: int) -> Iterator[tuple[int, float]]:
    """A pressure each second, a little late by chance: a slow course, noise, one decimal."""
    chance = random.Random(4)
    level = 50.0
    begin = int(START.timestamp()) * 1000
    for second in range(days * 86_400):
        level += chance.uniform(-0.2, 0.2) + (50 - level) * 0.001
        yield (begin + second * 1000 + chance.randrange(4)) * 10**6, round(level, 1)


async def month(path: Path) -> None:
    """One point each second."""
    async with open_readings(path, 600) as store:
        for number, (time_ns, value) in enumerate(seconds_of(DAYS)):
            store.append("pump-1", ("outlet_pressure",), (value,), None, time_ns)
            if number % 1800 == 1799:
                await store.flush()
            if number % 21_600 == 21_599:
                await pack(store)
        _, used = await store.work(pages)
        count = DAYS * 86_400
        print(f"one point each second for {DAYS} days: {used / count:.2f} bytes a reading in use")
        begin = int(START.timestamp()) * S
        end = begin + DAYS * 86_400 * S
        every = (end - begin) // STEPS
        gc.collect()
        gc.freeze()
        print(f"{'drawn to 1,000 steps':24}{'ms, best':>12}{'ms, mean':>12}{'of processor, best':>20}")
        for aggregate in AGGREGATES:
            times, busy = [], []
            for _ in range(8):
                began, worked = time.perf_counter(), time.process_time()
                found = await store.query("pump-1.outlet_pressure", begin, end, every, aggregate=aggregate)
                times.append((time.perf_counter() - began) * 1e3)
                busy.append((time.process_time() - worked) * 1e3)
            if not STEPS <= len(found) <= STEPS + 1:
                raise AssertionError(f"{len(found)} steps")
            print(f"{aggregate:24}{min(times):12.0f}{sum(times) / len(times):12.0f}{min(busy):20.0f}")
        gc.unfreeze()


def main(hours: float = 24.0) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(at_rest(Path(name) / "community.db", hours))
        asyncio.run(month(Path(name) / "month.db"))


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument.replace(".", "").isdigit()]
    main(*map(float, given))
