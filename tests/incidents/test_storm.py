"""The power cut of a whole community: 5,000 alarms in ten seconds, in order, in a few incidents, in a few pushes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from edge.clock import ManualClock
from edge.house import House
from tests.bench.storm_site import LIFTS, all_true, blocks, house_of, storm_site
from tests.support import eventually

STEPS = 100
ALARMS = 5_000 + LIFTS


async def cut(house: House, clock: ManualClock, *, supply: bool) -> None:
    """The light goes out, circuit by circuit, within ten seconds."""
    order = list(blocks(house.site))
    if supply:
        order.insert(0, next(each for each in _own(house) if each.equipment == "supply-1"))
    for step in range(STEPS):
        clock.advance(10 / STEPS)
        for block in order[step * len(order) // STEPS : (step + 1) * len(order) // STEPS]:
            house.engine.feed(all_true(block, clock))
        house.engine.tick()
        await asyncio.sleep(0)
    await house.clerk.settled()


def _own(house: House) -> Any:
    from drivers.point import Block

    return [Block(each.id, each.device.points) for each in house.site.equipment.values()]


def pushes(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "pushes.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("supply", [True, False], ids=["with a tree of parents", "without"])
async def test_a_power_cut(tmp_path: Path, supply: bool) -> None:
    clock = ManualClock()
    site = storm_site(tmp_path, parents=supply)
    async with house_of(site, tmp_path, clock) as house:
        await cut(house, clock, supply=supply)
        wanted = ALARMS + supply

        rows = await house.ledger.journal(kind="alarm", limit=100_000)
        assert len(rows) == wanted
        assert [entry.body["alarm"]["seq"] for _, entry in rows] == list(range(1, wanted + 1))
        assert len({entry.subject for _, entry in rows}) == wanted

        found = house.engine.incidents.incidents()
        assert len(found) == 1 + LIFTS <= 10
        assert sum(len(each.alarms) for each in found) == wanted
        lifts = [f"lift-{n}" for n in range(LIFTS)]
        assert [each.root for each in found] == [*lifts, "supply-1" if supply else "site"]
        if supply:
            assert {each.caused_by for each in found[:LIFTS]} == {found[-1].id}

        for _ in range(12):
            clock.advance(1)
            house.engine.tick()
            await house.clerk.settled()
            await eventually(lambda: house.dispatcher.idle)
        told = pushes(tmp_path)
        assert [each["notices"] for each in told if each["priority"] == "critical"] == [
            [f"lift-{n}.trapped"] for n in range(LIFTS)
        ]
        assert len(told) <= 10
        assert any(found[-1].id in each["notices"] for each in told)

        row = await house.desk.incident_step(found[-1].id, "ack", "李")
        assert (row["state"], row["unacknowledged"]) == ("acknowledged", 0)
        acked = await house.ledger.journal(kind="alarm", limit=100_000)
        assert len(acked) == wanted + len(found[-1].alarms)


async def test_after_a_restart_in_the_storm_nobody_is_told_again_and_it_goes_on(tmp_path: Path) -> None:
    clock = ManualClock()
    site = storm_site(tmp_path, parents=True)
    async with house_of(site, tmp_path, clock) as house:
        await cut(house, clock, supply=True)
        clock.advance(10)
        house.engine.tick()
        await house.clerk.settled()
        await eventually(lambda: house.dispatcher.idle)
        before = [(each.id, len(each.alarms), each.state) for each in house.engine.incidents.incidents()]
        told = len(pushes(tmp_path))
        await house.keep_ladders()
    async with house_of(site, tmp_path, clock) as house:
        assert [(each.id, len(each.alarms), each.state) for each in house.engine.incidents.incidents()] == before
        clock.advance(5)
        house.engine.tick()
        await house.clerk.settled()
        await eventually(lambda: house.dispatcher.idle)
        assert len(pushes(tmp_path)) == told
