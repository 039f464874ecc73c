"""One connection as the daemon has it: planned figures beside the measured ones."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from drivers.driver import drivers
from drivers.point import Batch
from edge.acquire import Acquired
from edge.clock import SystemClock
from edge.engine import Engine
from edge.site import Connection
from simulators.serve import serve
from tests.simulators.on_wires import all_of, connection, device_of, settings_of, world_of
from tests.support import eventually


class Deaf:
    """An engine that lets everything pass."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def connection(self, name: str, *, up: bool) -> None:
        """A connection has gone up or down."""

    def feed(self, batch: Batch) -> None:
        """A batch has come."""
        self.batches.append(batch)

    def lost(self, devices: Any, quality: Any) -> None:
        """A connection is gone."""


async def test_planned_and_measured_figures_stand_side_by_side() -> None:
    wire, members = connection("pump-room"), all_of("pump-room")
    world, clock, engine = world_of(members), SystemClock(), Deaf()
    world.silent.add("sump-2")
    async with serve([wire], members, world, clock, prefer_site_address=False, paced=False) as served:
        settings = settings_of(wire, served).model_copy(update={"timeout": 0.05})
        driver, devices = drivers()[wire.type], tuple(device_of(each) for each in members)
        assert driver.plan is not None
        requests = tuple(driver.plan(settings, devices))
        way = Acquired(Connection("pump-room", driver, settings, devices, requests), cast(Engine, engine), clock)
        assert way.status()["utilisation"] is None
        assert {row["state"] for row in way.status()["devices"]} == {"waiting"}
        running = asyncio.create_task(way.run())
        try:
            row = await eventually(lambda: settled(way.status()))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    found = {each["equipment"]: each for each in row["devices"]}
    assert set(found) == {each.id for each in members}
    assert sum(each["load"] for each in found.values()) == pytest.approx(row["load"])
    assert sum(each["utilisation"] for each in found.values()) == pytest.approx(row["utilisation"], rel=0.2, abs=0.02)
    assert 0 < found["pump-1"]["response_s"] < 0.5
    assert 0.01 < found["pump-1"]["planned_s"] < 0.2
    assert found["sump-2"]["timeouts"] >= 2
    assert "does not answer" in found["sump-2"]["reason"]
    assert found["sump-2"]["response_s"] is None
    assert row["silent"] == ["sump-2"]
    assert way.silent("sump-2") == found["sump-2"]["reason"]
    assert way.silent("pump-1") is None
    assert way._poller is not None
    way._poller.figures.devices["pump-1"].state = "waiting"
    assert way.silent("pump-1") is None, "it has not been asked yet"
    way._poller.figures.devices["pump-1"].reason = "pump-1: left alone"
    assert way.silent("pump-1") == "pump-1: left alone"
    assert row["worst_age_s"] > 15
    assert row["bad_answers"] == row["writes"] == 0
    way.tally.detail["crc"] = 3
    assert way.status()["bad_kinds"] == {"crc": 3}
    ages = [way.worst_age_s(point) for device in devices for point in device.points]
    assert max(age for age in ages if age is not None) == pytest.approx(row["worst_age_s"], abs=1e-3)


def settled(row: dict[str, Any]) -> dict[str, Any]:
    """The row, as soon as all devices are either silent or answering; empty until then."""
    states = [each["state"] for each in row["devices"]]
    return row if states.count("answering") == 5 and states.count("silent") == 1 else {}
