"""The demo community with its addresses, and the drivers that read it, for the tests of the simulators' wires."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from drivers.document import merge
from drivers.driver import Clock, Link, Settings, drivers
from drivers.point import Device, Value
from edge.clock import ManualClock
from simulators.model import SimConnection, SimEquipment
from simulators.serve import STEP_S
from simulators.stage import Served
from simulators.world import World
from tests.simulators.community import EVENING, SITE, some
from tests.support import eventually

COMMON = {
    "profile",
    "connection",
    "name",
    "location",
    "parent",
    "simulate",
    "meters",
    "upkeep",
    "alarms",
    "interlocks",
}


def connection(name: str, **over: Any) -> SimConnection:
    """A connection of the demo site, with other settings laid over it."""
    row = {**SITE["connections"][name], **over}
    return SimConnection(name, row.pop("type"), row)


def addressed(*names: str) -> list[SimEquipment]:
    """Equipment of the demo site with its addresses."""
    found = []
    for each in some(*names):
        row = SITE["equipment"][each.id]
        keys = drivers()[SITE["connections"][each.connection]["type"]].device
        found.append(replace(each, address=keys.model_validate({k: v for k, v in row.items() if k not in COMMON})))
    return found


def all_of(*connections: str) -> list[SimEquipment]:
    """The equipment of whole connections."""
    return addressed(*(name for name, row in SITE["equipment"].items() if row["connection"] in connections))


def world_of(members: Sequence[SimEquipment]) -> World:
    """A world of these equipment in which nothing goes wrong by itself."""
    return World(members, seed=1, start=EVENING)


def device_of(each: SimEquipment) -> Device:
    """The equipment as a driver sees it."""
    return Device(each.id, each.address, each.profile.options, each.profile.points_of(each.id), 0.0)


def settings_of(wire: SimConnection, served: Served) -> Settings:
    """What a site file with the simulators' places laid over it says of a connection."""
    rows = merge(dict(wire.settings), served.overrides.get(wire.name, {}))
    return drivers()[wire.type].settings.model_validate({"type": wire.type, **rows})


@asynccontextmanager
async def reached(
    wire: SimConnection, served: Served, members: Sequence[SimEquipment], clock: Clock
) -> AsyncIterator[tuple[Link, list[Device]]]:
    """The gateway's own driver, connected to a simulated connection."""
    devices = [device_of(each) for each in members]
    async with drivers()[wire.type].open(wire.name, settings_of(wire, served), devices, clock) as link:
        yield link, devices


def close_to(read: Value, true: Value, scale: float = 0.0) -> bool:
    """Whether a value that went through a register is the model's."""
    if isinstance(true, float) and isinstance(read, int | float):
        return abs(read - true) <= max(scale, 1e-5 * abs(true))
    return read == true


def _later_than(world: World, elapsed_s: float) -> bool:
    return world.elapsed_s > elapsed_s


async def beat(clock: ManualClock, world: World, seconds: float = STEP_S) -> None:
    """Let the world live for a while, and the wires follow it."""
    for _ in range(max(1, round(seconds / STEP_S))):
        await eventually(lambda: "simulated world" in clock.sleeping())
        before = world.elapsed_s
        clock.advance(STEP_S)
        await eventually(partial(_later_than, world, before))
    await eventually(lambda: "simulated world" in clock.sleeping())
