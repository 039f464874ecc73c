"""What a value costs with 1,000 and with 100,000 points, and how long a site takes to start.

First the daemon as it runs: every point read once a second and new, through to the broker. What it does each second
whoever is polled weighs most where there is little to poll. Then the way of a reading alone: bytes of an answer
through decode, deadband, alarms, meters and the log, again and again without a pause. That work is the same for each
value, so what is above 1 is the processor's cache: all that is known of 1,000 points fits into the nearest one, which
is only so where nothing else is done in between. Run: `python -m tests.bench.bench_growth`. Only the ratio travels.
"""

from __future__ import annotations

import asyncio
import gc
import json
import struct
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

from drivers.modbus.planner import ReadRequest
from drivers.point import Batch
from edge.clock import SystemClock
from edge.house import build
from edge.site_file import load_site
from edge.store.ledger import open_ledger
from edge.store.readings import open_readings
from tests.bench.bench_tcp import on_time, per_million
from tests.bench.tcp_site import REGISTERS, Load, daemon, helper, line_of, write_site

SIZES = (1_000, 10_000, 100_000)
BATCHES = 10_000
WINDOW_S = 8.0
START = 12_000


def as_it_runs(folder: Path) -> None:
    """The daemon in a process of its own."""
    print("growth: the daemon, every point read once a second and new, through to the broker")
    print(f"{'points':>10}{'µs a value':>13}{'ratio':>8}{'on time':>9}")
    first = 0.0
    for points in SIZES:
        found = daemon(folder / f"runs{points}", Load(points // REGISTERS), window_s=WINDOW_S)
        cost = per_million(found)
        first = first or cost
        print(f"{points:10,}{cost:13.3f}{cost / first:8.2f}{on_time(found):9.1%}")


async def microseconds_a_value(folder: Path, points: int) -> float:
    """Every value of every batch is new."""
    folder.mkdir()
    site = load_site(write_site(folder, Load(points // REGISTERS), 502, None))
    requests = [cast(ReadRequest, each) for way in site.connections.values() for each in way.requests]
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(open_ledger(folder / "ledger.db"))
        store = await stack.enter_async_context(open_readings(folder / "readings.db", 600))
        house = await build(site, folder, ledger, store, SystemClock())
        answers = [struct.pack(f">{REGISTERS}H", *range(n, n + REGISTERS)) for n in range(500)]
        for request in requests:  # what each block means is worked out once
            house.engine.feed(Batch(request.block, request.decode(bytes(2 * REGISTERS)), time.time_ns(), 0.0))
        await store.flush()
        gc.collect()
        gc.freeze()
        spent = 0.0
        for first in range(0, BATCHES, 500):
            began = time.process_time()
            for turn in range(first, first + 500):
                request = requests[turn * 7919 % len(requests)]  # not in order of memory
                values = request.decode(answers[(turn // len(requests) + turn) % 500])
                house.engine.feed(Batch(request.block, values, time.time_ns(), 1 + turn * 0.001))
            await store.flush()
            spent += time.process_time() - began
        gc.unfreeze()
    return spent / BATCHES / REGISTERS * 1e6


def start_s(folder: Path, points: int) -> tuple[float, float]:
    """Seconds to load a site file, and until the daemon runs, in a process of its own."""
    folder.mkdir()
    site = write_site(folder, Load(points // REGISTERS), 9, None)
    with helper("tcp_daemon", site, folder / "state", 0, 0) as process:
        found = json.loads(line_of(process))
    return found["load_s"], found["start_s"]


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        as_it_runs(folder)
        costs = {points: asyncio.run(microseconds_a_value(folder / f"grow{points}", points)) for points in SIZES}
        print("its way alone, without a pause: from the bytes of an answer to the log, one alarm rule on every tenth")
        print(f"{'points':>10}{'µs a value':>13}{'ratio':>8}")
        for points, cost in costs.items():
            print(f"{points:10,}{cost:13.3f}{cost / costs[SIZES[0]]:8.2f}")
        print(f"{'points':>10}{'load s':>13}{'ready s':>8}")
        for points in (START, SIZES[-1]):
            loaded, ready = start_s(folder / f"start{points}", points)
            print(f"{points:10,}{loaded:13.2f}{ready:8.2f}")


if __name__ == "__main__":
    main()
