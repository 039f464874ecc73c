"""Sparkplug B under brokers that are killed, primary hosts that fall, and random histories of everything at once.

The far end is a host application that knows the specification's rules: whatever breaks one ends the run.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from edge.store.readings import open_readings
from edge.uplinks import session, sparkplug, sparkplug_node
from tests.faults.table import Fault
from tests.support import eventually, free_port, mosquitto_command, running
from tests.uplinks.sparkplug_checker import SparkplugHost
from tests.uplinks.sparkplug_plant import Plant
from tests.uplinks.sparkplug_rig import Gateway, History, missing, plant_on, read, scada

SHARE = 4
"""Each takes about a second: a fourth of the times asked for is done of each kind."""
STEPS = 15
"""Of one random history; about ten of them end a connection, a daemon or a host, or ask for births."""

Heard = tuple[Plant, SparkplugHost]


def run(times: int) -> list[Fault]:
    """Each kind so many times."""
    logging.disable(logging.CRITICAL)  # every outage is told twice
    session.FIRST_PAUSE_S, session.LOOK_AGAIN_S, session.CONFIRM_S = 0.05, 0.1, 1.0
    sparkplug.SETTLE_S, sparkplug.REBIRTH_S, sparkplug_node.REVIVED_S = 0.1, 0.3, 0.5
    count = max(1, times // SHARE)
    kinds: tuple[tuple[str, Callable[[Path, int], Awaitable[list[Heard]]]], ...] = (
        ("Sparkplug B, Mosquitto killed with SIGKILL", brokers_killed),
        ("Sparkplug B, the primary host falls without a word", hosts_fall),
        ("Sparkplug B, random histories judged by the specification's rules", histories),
    )
    return [_fault(name, kind, count) for name, kind in kinds]


def _fault(name: str, kind: Callable[[Path, int], Awaitable[list[Heard]]], times: int) -> Fault:
    with tempfile.TemporaryDirectory() as folder:

        async def counted() -> list[Heard]:
            return await kind(Path(folder), times)

        heard = asyncio.run(counted())
    lost = sum(len(missing(plant, host)) for plant, host in heard)
    rows = (
        ("rows recorded", str(sum(len(plant.log) for plant, _ in heard))),
        ("  that never arrived", str(lost)),
        ("messages judged, no rule broken", str(sum(len(host.kinds) for _, host in heard))),
        ("births of the node", str(sum(host.births for _, host in heard))),
        ("values told as historical", str(sum(host.historical for _, host in heard))),
    )
    return Fault(name, times, rows, not lost)


async def brokers_killed(folder: Path, times: int) -> list[Heard]:
    """One gateway and one host on a broker that is killed under load, again and again."""
    port = free_port()
    command, log = mosquitto_command(port, folder), folder / "mosquitto.log"
    async with open_readings(folder / "readings.db", 0.05) as store, plant_on(port, store) as (gateway, _, others):
        for _ in range(times):
            with running(command, port, log) as broker:
                await _born(others.host, lambda: read(gateway.plant, store, 60))
                broker.kill()
                broker.wait(5)
            read(gateway.plant, store, 30)
        with running(command, port, log):
            await eventually(lambda: not missing(gateway.plant, others.host), 60)
        return [(gateway.plant, others.host)]


async def hosts_fall(folder: Path, times: int) -> list[Heard]:
    """One gateway on one broker, whose primary host goes without a word."""
    port = free_port()
    with running(mosquitto_command(port, folder), port, folder / "mosquitto.log"):
        async with (
            open_readings(folder / "readings.db", 0.05) as store,
            plant_on(port, store) as (gateway, _, others),
        ):
            for _ in range(times):
                await _born(others.host, lambda: read(gateway.plant, store, 60))
                others.fall()
            await eventually(lambda: not missing(gateway.plant, others.host), 60)
            return [(gateway.plant, others.host)]


async def _born(host: SparkplugHost, more: Callable[[], None]) -> None:
    """Wait for the node's next birth with readings before and after it."""
    births = host.births
    more()
    await eventually(lambda: host.births > births, 30)
    more()
    await asyncio.sleep(0.03)


async def histories(folder: Path, times: int) -> list[Heard]:
    """Random histories, each on a broker and a log of its own."""
    return [await _history(folder / str(seed), seed) for seed in range(times)]


async def _history(folder: Path, seed: int) -> Heard:
    folder.mkdir()
    port, restart = free_port(), asyncio.Event()
    gateway = Gateway(("127.0.0.1", port), primary_host="scada")
    with running(mosquitto_command(port, folder), port, folder / "mosquitto.log"):
        async with (
            open_readings(folder / "readings.db", 0.05) as store,
            scada(("127.0.0.1", port), "scada") as others,
        ):
            history = History(gateway, store, others, seed)
            async with history.lived(restart):
                await others.say(online=True)
                for _ in range(STEPS):
                    await history.step(restart)
                await others.until(history.arrived, 30)
                await others.until(history.shown, 30)
            await others.until(lambda: not others.host.online)
            assert others.host.must_die == set()
            return gateway.plant, others.host
