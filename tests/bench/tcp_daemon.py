"""The daemon alone in a process, on the site file it is given: what it costs while it runs.

Arguments: site file, state directory, seconds to settle, seconds to measure, and `profile` to see where the time
goes. Prints `begin`, `end` and one line of JSON: CPU seconds of this process (all threads), values read, readings
that were asked for and that came on time, CPU seconds by step.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import logging
import pstats
import resource
import sys
import time
from pathlib import Path
from typing import Any

from edge import loop
from edge.app import run
from edge.console.server import Console
from edge.house import House
from edge.site_file import load_site

STEPS = (
    ("wait for work", ("epoll",)),
    ("MQTT out", ("uplinks", "aiomqtt", "paho")),
    ("record", ("/store/",)),
    ("alarms and upkeep", ("/alarms/", "/upkeep/")),
    ("deadband and way through the house", ("/acquisition/pipeline", "edge/engine", "edge/acquire")),
    ("whose turn it is", ("/acquisition/", "edge/clock")),
    ("Modbus request, answer, decode", ("/modbus/", "pymodbus")),
    ("event loop and sockets", ("",)),
)


def cpu_s() -> float:
    """Of this process so far, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def step_of(name: tuple[str, int, str]) -> str:
    """The step that a function belongs to."""
    text = "epoll" if "select.epoll" in name[2] and "poll" in name[2] else name[0].replace("\\", "/")
    return next(step for step, parts in STEPS if any(part in text for part in parts))


def by_step(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds of each step; what is written in C counts for whoever called it."""
    sums = dict.fromkeys((step for step, _ in STEPS), 0.0)
    for function, (_, _, own_s, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]  # untyped
        if function[0] != "~" or "epoll" in function[2]:
            sums[step_of(function)] += own_s
            continue
        for caller, (_, _, share_s, _) in callers.items():
            sums[step_of(caller)] += share_s
    return sums


def asked(house: House) -> dict[str, int]:
    """Readings that came, and turns that did not bring one."""
    figures = [way._poller.figures for way in house.ways.values() if way._poller]
    return {
        "answers": sum(each.answers for each in figures),
        "late": sum(each.overruns + each.timeouts + each.bad_answers for each in figures),
    }


async def measure(house: House, settle_s: float, window_s: float, *, profiled: bool) -> dict[str, Any]:
    """Count for a while."""
    await asyncio.sleep(settle_s)
    print("begin", flush=True)
    profile = cProfile.Profile()
    before, began, cpu, main = asked(house), time.monotonic(), cpu_s(), time.thread_time()
    values, recorded, sent = (
        house.engine.readings,
        house.engine.recorded,
        sum(u.status()["sent"] for u in house.uplinks.values()),
    )
    if profiled:
        profile.enable()
    await asyncio.sleep(window_s)
    profile.disable()
    took, used, thread = time.monotonic() - began, cpu_s() - cpu, time.thread_time() - main
    after = asked(house)
    found = {
        "wall_s": took,
        "cpu_s": used,
        "threads_s": used - thread,
        "values": house.engine.readings - values,
        "recorded": house.engine.recorded - recorded,
        "sent": sum(u.status()["sent"] for u in house.uplinks.values()) - sent,
        "behind": sum(u.status()["backlog"] for u in house.uplinks.values()),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **{key: after[key] - before[key] for key in after},
    }
    print("end", flush=True)
    if profiled:
        found["steps"] = by_step(profile)
    return found


async def main(config: Path, state: Path, settle_s: float, window_s: float, *, profiled: bool) -> None:
    """Start, measure, stop."""
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    began = time.perf_counter()
    site = load_site(config)
    loaded = time.perf_counter() - began

    def ready(house: House, console: Console) -> None:
        started = time.perf_counter() - began
        loop.settled()

        async def once() -> None:
            found = await measure(house, settle_s, window_s, profiled=profiled) if window_s else {}
            print(json.dumps({"load_s": loaded, "start_s": started, **found}), flush=True)
            stop.set()

        tasks.append(asyncio.create_task(once()))

    await run(site, state, stop, ready=ready)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    _, file, folder, settle, window, *flags = sys.argv
    loop.run(main(Path(file), Path(folder), float(settle), float(window), profiled="profile" in flags))
