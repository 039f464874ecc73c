"""An uplink to a real server that goes away and comes back while rows flow: what was recorded, and what arrived."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from edge.store.readings import ReadingsStore, open_readings
from edge.uplinks import influxdb, mqtt
from edge.uplinks.drain import drain
from edge.uplinks.shape import Sender, SiteView
from tests.faults.far_ends import START_NS, STEP_NS, FarEnd
from tests.faults.rig import FastClock
from tests.support import eventually

SITE = SiteView("maple", {})
A_SECOND = 400
"""Rows."""


@dataclass(frozen=True)
class Counts:
    """Both ends after the last outage."""

    outages: int
    recorded: int
    missing: int
    strange: int
    """Numbers that came and were never recorded."""
    repeated: int
    """Rows that the far end was given more than once, where it can tell."""
    refused: int
    """Rows that the far end will never take."""
    aside: int
    """Rows that the uplink says the far end will never take."""
    late_s: float
    """How long after the last return everything was there."""

    @property
    def well(self) -> bool:
        """Whether nothing was lost or made up, and what was refused counted once."""
        return self.recorded > 0 and not self.missing and not self.strange and self.aside == self.refused


async def outages(far: FarEnd, way: str, times: int, folder: Path, seed: int = 1) -> Counts:
    """The far end goes away `times` by one of the ways that it has; `folder` takes the readings log."""
    chance = random.Random(seed)
    async with open_readings(folder / "readings.db", 0.1) as store:
        try:
            await far.start()
            async with _opened(far) as sender:
                clock = FastClock()
                sending = drain(store, "far", sender.send, clock, sender.stats, limit=100, linger_s=sender.linger_s)
                task = asyncio.create_task(sending)
                flow = asyncio.create_task(_flow(store))
                for _ in range(times):
                    await asyncio.sleep(chance.uniform(0.1, 0.4))
                    await far.away(way, chance.uniform(0.05, 0.4))
                    await eventually(lambda: sender.stats.state == "up" or task.done(), 60)
                flow.cancel()
                began = time.monotonic()
                await eventually(lambda: store.cursor("far") == store.newest() or task.done(), 120)
                late_s = time.monotonic() - began
                task.cancel()
                await asyncio.wait([task, flow])
                if not task.cancelled():
                    task.result()
            recorded = store.newest()
            arrived = await far.arrived()
        finally:
            await far.close()
    refused = {number for number in range(recorded) if far.refuses(number)}
    wanted = set(range(recorded)) - refused
    return Counts(
        outages=times,
        recorded=recorded,
        missing=len(wanted - arrived.keys()),
        strange=len(arrived.keys() - wanted),
        repeated=sum(count - 1 for count in arrived.values()),
        refused=len(refused),
        aside=sender.stats.rejected,
        late_s=late_s,
    )


def _opened(far: FarEnd) -> AbstractAsyncContextManager[Sender]:
    keys = far.settings
    if keys["type"] == "mqtt":
        return mqtt.open_mqtt("far", mqtt.Settings.model_validate(keys), SITE, FastClock())
    return influxdb.open_influxdb("far", influxdb.Settings.model_validate(keys), SITE)


async def _flow(store: ReadingsStore) -> None:
    """Rows that count up."""
    number = 0
    while True:
        for _ in range(A_SECOND // 50):
            store.append("pump-1", ("n",), (number,), None, START_NS + number * STEP_NS)
            number += 1
        await asyncio.sleep(1 / 50)
