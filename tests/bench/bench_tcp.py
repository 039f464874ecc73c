"""What a value costs from a Modbus TCP device to an MQTT subscriber, beside what bare loops cost for reading alone.

The daemon runs by `edge.app.run` in its own process, and only its processor time is counted; devices, Mosquitto and
the subscriber have theirs. A device that is read once a second finds the processor's cache cold and the machine
asleep: the bare loops are therefore measured at the same pace too. So short a piece of work costs now more and now
less, by a fifth: what is compared is measured in turns, and the median of three counts. Run:
`python -m tests.bench.bench_tcp`. Figures are of one run on one machine; only the ratio travels.
"""

from __future__ import annotations

import tempfile
from operator import itemgetter
from pathlib import Path
from typing import Any

from tests.bench.tcp_site import REGISTERS, Load, daemon, helper, line_of

WINDOW_S = 10.0
ROUNDS = 3
LOADS = (Load(400, 5), Load(500, 6), Load(500, 8), Load(500, 10))
"""Tried one after the other until one is not on time: 200,000 values a second and more."""
PROFILED = Load(200, 5)
ON_TIME = 0.999


def bare(kind: str, load: Load) -> tuple[float, float]:
    """CPU seconds a million values: at the load's pace, and without a pause."""
    with helper("tcp_devices", "changing") as devices:
        port, found = line_of(devices), []
        for period_ms in (load.period_ms, 0):
            with helper("tcp_bare", kind, port, load.connections, period_ms, 4) as loop:
                found.append(float(line_of(loop)) / REGISTERS * 1e6)
    return found[0], found[1]


def per_million(found: dict[str, Any]) -> float:
    """CPU seconds a million values."""
    return float(found["cpu_s"] / found["values"] * 1e6)


def on_time(found: dict[str, Any]) -> float:
    """Part of the turns that brought an answer before the next was due."""
    return float(found["answers"] / max(1, found["answers"] + found["late"]))


def show(what: str, found: dict[str, Any], limit: float) -> None:
    """One row of the table."""
    heard = found["heard"]
    ages = f"{heard['p50']:9.1f}{heard['p99']:9.1f}" if heard["messages"] else f"{'-':>9}{'-':>9}"
    rate, share = found["values"] / found["wall_s"], found["cpu_s"] / found["wall_s"]
    print(
        f"{what:42}{rate:10,.0f}{per_million(found):9.2f}{per_million(found) / limit:8.1f}"
        f"{on_time(found):9.1%}{share:8.0%}{ages}"
    )


def largest(folder: Path, limit: float) -> None:
    """Larger and larger loads, until one is not on time."""
    for number, load in enumerate(LOADS):
        found = daemon(folder / f"large{number}", load, settle_s=4.0, window_s=WINDOW_S / 2)
        show(f"{load.connections} connections of {load.units} devices", found, limit)
        if on_time(found) < ON_TIME:
            return


def steps(folder: Path) -> None:
    """Where the time goes, by cProfile, which itself costs about as much again: only the shares tell."""
    found = daemon(folder / "steps", PROFILED, window_s=WINDOW_S / 2, profile=True)
    spent = {step: seconds for step, seconds in found["steps"].items() if step != "wait for work"}
    spent["threads of the log (SQLite)"] = found["threads_s"]
    whole = sum(spent.values())
    print(f"where the time goes at {PROFILED.per_s:,.0f} values a second")
    for step, seconds in sorted(spent.items(), key=lambda each: -each[1]):
        print(f"  {step:40}{seconds / whole:7.1%}")


def compared(folder: Path, load: Load) -> float:
    """The daemon beside the bare loops, in turns; of each the median round. Returns what the bare loop costs."""
    bares: dict[str, list[tuple[float, float]]] = {"raw": [], "pymodbus": []}
    daemons: dict[bool, list[tuple[float, dict[str, Any]]]] = {True: [], False: []}
    for number in range(ROUNDS):
        for kind, rounds in bares.items():
            rounds.append(bare(kind, load))
        for changing, runs in daemons.items():
            found = daemon(folder / f"{number}{changing}", load, changing=changing, window_s=WINDOW_S)
            runs.append((per_million(found), found))
    raw = middle(bares["raw"])[0]
    names = {"raw": "reading alone, bare asyncio streams", "pymodbus": "reading alone, bare pymodbus"}
    for kind, rounds in bares.items():
        paced, saturated = middle(rounds)
        print(f"{names[kind]:42}{load.per_s:10,.0f}{paced:9.2f}{paced / raw:8.1f}   {spread(rounds)}")
        print(f"{'  without a pause':42}{'':10}{saturated:9.2f}{saturated / raw:8.1f}")
    for changing, runs in daemons.items():
        show("daemon, all values change" if changing else "daemon, no value changes", middle(runs)[1], raw)
        print(f"{'  its rounds':42}{'':10}   {spread(runs)}")
    return float(raw)


def middle(rounds: list[Any]) -> Any:
    """The median round, by its first figure."""
    return sorted(rounds, key=itemgetter(0))[len(rounds) // 2]


def spread(rounds: list[Any]) -> str:
    """The rounds' figures, lowest first."""
    return " / ".join(f"{each[0]:.2f}" for each in sorted(rounds, key=itemgetter(0)))


def main() -> None:
    """Print the tables."""
    load = Load()
    print(f"tcp: {REGISTERS} registers a request, once a second; CPU s a million values, age at the subscriber in ms")
    print(f"{'':42}{'values/s':>10}{'CPU s/M':>9}{'ratio':>8}{'on time':>9}{'core':>8}{'p50':>9}{'p99':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = compared(folder, load)
        largest(folder, raw)
        steps(folder)


if __name__ == "__main__":
    main()
