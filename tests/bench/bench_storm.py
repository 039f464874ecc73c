"""The power cut of a whole community: 5,000 alarms in ten real seconds, and how late the event loop becomes by it.

A poll that is due must not wait for alarms: a task that wants to wake each 10 ms notes how late it is, first with
nothing to do, then in the storm. Both are shown; the ratio travels from machine to machine, milliseconds do not.
Run: `python -m tests.bench.bench_storm`.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path

from edge.clock import SystemClock
from edge.house import House
from tests.bench.storm_site import LIFTS, all_true, block_of, blocks, house_of, storm_site

STORM_S = 10.0
TICK_S = 0.5
WAKE_S = 0.01


async def lateness(seconds: float) -> list[float]:
    """How late each wake-up was, in ms."""
    loop, late = asyncio.get_running_loop(), []
    due = loop.time() + WAKE_S
    end = loop.time() + seconds
    while due < end:
        await asyncio.sleep(max(due - loop.time(), 0))
        late.append(max(loop.time() - due, 0) * 1e3)
        due = max(due + WAKE_S, loop.time())
    return late


def told(name: str, late: list[float]) -> float:
    """Print one row; the 99th percentile."""
    late.sort()
    p50, p99, most = late[len(late) // 2], late[len(late) * 99 // 100], late[-1]
    print(f"  {name:<12} {len(late):6} wake-ups   late by {p50:6.2f} ms median {p99:7.2f} p99 {most:7.2f} most")
    return p99


async def ticks(house: House) -> None:
    """The pulse of the daemon."""
    while True:
        await asyncio.sleep(TICK_S)
        house.engine.tick()


async def storm(house: House, *, supply: bool) -> float:
    """Feed the power cut evenly over ten seconds; the time that feeding itself took."""
    order = list(blocks(house.site))
    if supply:
        order.insert(0, block_of(house.site, "supply-1"))
    loop, began, busy_s = asyncio.get_running_loop(), asyncio.get_running_loop().time(), 0.0
    for number, block in enumerate(order):
        wait_s = began + number * STORM_S / len(order) - loop.time()
        if wait_s > 0.001:
            await asyncio.sleep(wait_s)
        start = time.perf_counter()
        house.engine.feed(all_true(block, house.clock))
        busy_s += time.perf_counter() - start
    return busy_s


async def run(*, parents: bool) -> None:
    """One storm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = storm_site(folder, parents=parents)
        async with house_of(site, folder, SystemClock()) as house:
            print(f"storm: {'with a tree of parents' if parents else 'without'}")
            gc.collect()
            gc.freeze()
            pulse = asyncio.create_task(ticks(house))
            quiet = told("quiet", await lateness(3))
            cpu = time.process_time()
            late = asyncio.create_task(lateness(STORM_S + 1))
            busy_s = await storm(house, supply=parents)
            in_storm = told("in the storm", await late)
            cpu_s = time.process_time() - cpu
            await house.clerk.settled()
            pulse.cancel()
            await show(house, busy_s, cpu_s, in_storm / max(quiet, 0.01))


async def show(house: House, busy_s: float, cpu_s: float, ratio: float) -> None:
    """Figures of one storm."""
    rows = await house.ledger.journal(kind="alarm", limit=100_000)
    order = [entry.body["alarm"]["seq"] for _, entry in rows]
    found = house.engine.incidents.incidents()
    pushes = await house.ledger.journal(kind="push", limit=100_000)
    critical = [
        (push.time_ns - entry.time_ns) / 1e6
        for _, entry in rows
        for _, push in pushes
        if entry.subject == push.subject and entry.body["alarm"]["priority"] == "critical"
    ]
    print(f"  p99 in the storm: {ratio:.1f} times that of quiet; {cpu_s:.2f} s CPU, of which {busy_s:.2f} s feeding")
    print(
        f"  {len(rows)} transitions in the journal, {'in order' if order == sorted(order) else 'OUT OF ORDER'}; "
        f"{len(found)} incidents; {len({push.body['text'] for _, push in pushes})} messages"
    )
    print(f"  {len(critical)} of {LIFTS} entrapments pushed, the slowest {max(critical, default=0):.0f} ms after")


def main() -> None:
    """Both storms."""
    for parents in (True, False):
        asyncio.run(run(parents=parents))


if __name__ == "__main__":
    main()
