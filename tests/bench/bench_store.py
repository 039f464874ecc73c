"""What one batch of 100 values costs the readings log, beside bare SQLite with the same batching.

The log does more than SQLite: it checks the values, keeps the newest rows in memory for the uplinks, compresses
what is committed together, names layouts and notes spans of time. Bare SQLite gets a body of JSON for each batch,
in the same groups: once made on the way, as whoever inserts must, and once made beforehand. The last row is what it
would cost to keep one row a value. The best of several turns, taken in turns, in processor time of all threads:
what else the machine does is not counted. Run: `python -m tests.bench.bench_store`. Figures are of one run on one
machine; only the ratio travels.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
import tempfile
import time
from pathlib import Path

import orjson

from edge.store.readings import open_readings

POINTS = tuple(f"p{n}" for n in range(100))
BATCHES = 20_000
TURNS = 5
GROUP = 500
"""Batches in one commit."""
EQUIPMENT = [f"e{n}" for n in range(60)]
START_NS = 1_772_447_465_000_000_000

Values = tuple[float | int | bool, ...]


def readings() -> list[tuple[str, Values, int]]:
    """What a site of 60 equipment sends: mostly small decimals, some counts, some switches."""
    chance = random.Random(1)
    made = []
    for n in range(BATCHES):
        values = tuple(
            chance.random() < 0.5 if place % 10 == 0 else
            chance.randrange(65_536) if place % 10 == 1 else
            round(chance.uniform(0, 100), 1)
            for place in range(len(POINTS))
        )  # fmt: skip
        made.append((EQUIPMENT[n % len(EQUIPMENT)], values, START_NS + n * 10_000_000))
    return made


async def log(path: Path, batches: list[tuple[str, Values, int]]) -> tuple[float, float]:
    """Seconds for all of it, and of them those in which the event loop was held by `append`."""
    appending = 0.0
    async with open_readings(path, 600) as store:
        began = time.process_time()
        for first in range(0, BATCHES, GROUP):
            start = time.thread_time()
            for equipment, values, time_ns in batches[first : first + GROUP]:
                store.append(equipment, POINTS, values, None, time_ns)
            appending += time.thread_time() - start
            await store.flush()
        return time.process_time() - began, appending


def bare(path: Path, batches: list[tuple[str, Values, int]], *, beforehand: bool) -> float:
    """A row for each batch in a table with a counting key; its body is made beforehand, or on the way."""
    numbers = {equipment: number for number, equipment in enumerate(EQUIPMENT)}
    packed = [(at, numbers[name], orjson.dumps(values)) for name, values, at in batches] if beforehand else []
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("CREATE TABLE batches (seq INTEGER PRIMARY KEY, time_ns INTEGER, layout INTEGER, body BLOB)")
    began = time.process_time()
    for first in range(0, BATCHES, GROUP):
        rows = packed[first : first + GROUP] or [
            (at, numbers[name], orjson.dumps(values)) for name, values, at in batches[first : first + GROUP]
        ]
        db.execute("BEGIN")
        db.executemany("INSERT INTO batches (time_ns, layout, body) VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
    took = time.process_time() - began
    db.close()
    return took


def one_row_a_value(path: Path, batches: list[tuple[str, Values, int]], part: int) -> float:
    """A `part`th of the batches with a row for each value, appended."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("CREATE TABLE readings (time_ns INTEGER, point INTEGER, value)")
    began = time.process_time()
    for first in range(0, BATCHES // part, GROUP):
        rows = [
            (time_ns, place, value)
            for _, values, time_ns in batches[first : first + GROUP]
            for place, value in enumerate(values)
        ]
        db.execute("BEGIN")
        db.executemany("INSERT INTO readings VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
    took = time.process_time() - began
    db.close()
    return took * part


def size(path: Path) -> float:
    """Bytes a value, write-ahead log folded in."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path.stat().st_size / BATCHES / len(POINTS)


def main() -> None:
    """Print the table."""
    batches = readings()
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        limit = prepared = took = appending = float("inf")
        for turn in range(TURNS):
            limit = min(limit, bare(folder / f"bare{turn}.db", batches, beforehand=False))
            prepared = min(prepared, bare(folder / f"prepared{turn}.db", batches, beforehand=True))
            took, appending = min((took, appending), asyncio.run(log(folder / f"readings{turn}.db", batches)))
        single = one_row_a_value(folder / "single.db", batches, part=10)
        sizes = {file: size(folder / f"{file}0.db") for file in ("bare", "readings")}
    gc.unfreeze()
    print(f"store: batches of {len(POINTS)} values, {GROUP} a commit")
    print(f"{'':34}{'µs a batch':>12}{'ratio':>8}{'bytes a value':>16}")
    for what, seconds, each in (
        ("bare SQLite, a row for each batch", limit, sizes["bare"]),
        ("  with bodies made beforehand", prepared, None),
        ("ReadingsStore, append and commit", took, sizes["readings"]),
        ("  of it on the event loop", appending, None),
        ("bare SQLite, one row a value", single, None),
    ):
        shown = f"{each:16.2f}" if each else ""
        print(f"{what:34}{seconds / BATCHES * 1e6:12.1f}{seconds / limit:8.2f}{shown}")


if __name__ == "__main__":
    main()
