"""A whole community on its wires: found by the gateway's own drivers, cut, mended, and cleanly ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from drivers.driver import ConnectionDown, DeviceSilent, Driver, PolledLink, drivers
from drivers.point import Quality
from edge.clock import ManualClock, SystemClock
from simulators.model import SimConnection, SimEquipment
from simulators.serve import Served, serve
from simulators.stage import free_port
from tests.simulators.community import SITE
from tests.simulators.on_wires import (
    addressed,
    all_of,
    beat,
    close_to,
    connection,
    reached,
    settings_of,
    world_of,
)
from tests.support import eventually

POLLED = {"elevators": 0.5, "pump-room": 0.5, "lighting": 0.01}
"""Connections that are polled, and the coarsest scale of a register there."""


def all_connections() -> list[SimConnection]:
    return [connection(name) for name in SITE["connections"]]


def driver(wire: SimConnection) -> Driver:
    return drivers()[wire.type]


@pytest.mark.parametrize("name", POLLED)
async def test_every_point_that_is_polled_reads_as_the_model_has_it(name: str) -> None:
    members, wire, clock = all_of(name), connection(name), ManualClock()
    world = world_of(members)
    async with (
        serve([wire], members, world, clock, prefer_site_address=False, paced=False) as served,
        reached(wire, served, members, clock) as (link, devices),
    ):
        plan = driver(wire).plan
        assert plan is not None
        read: set[str] = set()
        for request in plan(settings_of(wire, served), devices):
            batch = await cast(PolledLink, link).read(request)
            values = world.models[batch.block.equipment].values()
            for point, value, quality in batch.readings():
                assert quality is Quality.GOOD, point.id
                assert close_to(value, values[point.name], POLLED[name]), point.id
                read.add(point.id)
        assert read == {point.id for device in devices for point in device.points}
        assert served.counts[name] == link.tally.messages


async def test_a_light_obeys_and_is_read_back() -> None:
    members, wire, clock = addressed("light-01", "light-02"), connection("lighting"), ManualClock()
    world = world_of(members)
    async with (
        serve([wire], members, world, clock, prefer_site_address=False) as served,
        reached(wire, served, members, clock) as (link, devices),
    ):
        point = next(point for point in devices[1].points if point.name == "on")
        for wanted in (True, False):
            assert await link.write(devices[1], point, wanted) is wanted
            assert world.models["light-02"].values()["on"] is wanted


async def test_one_line_for_each_endpoint_says_where_and_who() -> None:
    members = all_of(*SITE["connections"])
    async with serve(
        all_connections(), members, world_of(members), ManualClock(), prefer_site_address=False
    ) as served:
        said = {each.connection: (each.kind, each.what) for each in served.endpoints}
        assert said["elevators"] == ("modbus-tcp", "elevators: units 1-4 (lift-1, lift-2, lift-3, lift-4)")
        assert said["pump-room"][1].startswith("pump-room: units 1-3, 11-12, 21 (pump-1, ")
        assert said["lighting"][1] == "lighting: unit 1 (light-01 ... light-12)"
        assert said["alarm-host"][1].startswith("alarm-host: prints account 1234 (panel-1, zone-1, ")
        assert said["dc09"][1] == "dc09: account 5678 dials in (panel-2, zone-6, zone-7, zone-8)"
        places = {each.connection: each.address for each in served.endpoints}
        assert places["lora"] == places["zigbee"] == f"127.0.0.1:{served.broker[1] if served.broker else 0}"
        assert Path(places["pump-room"]).is_char_device()
        assert served.overrides["elevators"]["port"] == int(places["elevators"].rpartition(":")[2])


@contextmanager
def taken() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


async def test_the_sites_own_addresses_are_served_where_they_are_free(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "courtyard" / "pump-room"
    wires = [
        connection("elevators", port=port, host="localhost"),
        connection("pump-room", port=str(path)),
        connection("dc09"),
        connection("lora", port=free_port()),
    ]
    members = addressed("lift-1", "pump-1", "panel-2", "bin-01")
    async with serve(wires, members, world_of(members), ManualClock(), prefer_site_address=True) as served:
        assert [each.address for each in served.endpoints] == [
            f"127.0.0.1:{port}",
            str(path),
            SITE["connections"]["dc09"]["listen"],
            f"127.0.0.1:{wires[3].settings['port']}",
        ]
        assert path.is_symlink()
        assert served.overrides == {"elevators": {"host": "127.0.0.1"}}
    assert not path.is_symlink()


async def test_where_they_are_taken_it_serves_elsewhere_and_says_so(tmp_path: Path) -> None:
    device = tmp_path / "ttyUSB0"
    device.write_text("a real one")
    members = addressed("lift-1", "pump-1", "bin-01")
    with taken() as port:
        wires = [
            connection("elevators", port=port),
            connection("pump-room", port=str(device)),
            connection("lora", port=port),
        ]
        async with serve(wires, members, world_of(members), ManualClock(), prefer_site_address=True) as served:
            for each in served.endpoints:
                assert "not at the site's own address" in each.what
                assert each.address not in (f"127.0.0.1:{port}", str(device))
            assert set(served.overrides) == {"elevators", "pump-room", "lora"}


async def test_a_host_elsewhere_is_served_here(caplog: pytest.LogCaptureFixture) -> None:
    wires = [connection("elevators", host="10.0.0.5", port=502), SimConnection("roof", "bacnet", {})]
    members = addressed("lift-1")
    async with serve(wires, members, world_of(members), ManualClock(), prefer_site_address=True) as served:
        assert [each.connection for each in served.endpoints] == ["elevators"]
        assert served.overrides["elevators"]["host"] == "127.0.0.1"
    assert "nothing simulates type bacnet" in caplog.text


# ---- what goes wrong ----


async def read_first(
    wire: SimConnection, served: Served, members: Sequence[SimEquipment], clock: ManualClock
) -> None:
    """One request to the first device, on a new connection."""
    async with reached(wire, served, members, clock) as (link, devices):
        plan = driver(wire).plan
        assert plan is not None
        await cast(PolledLink, link).read(plan(settings_of(wire, served), devices)[0])


@pytest.mark.parametrize(("name", "equipment"), [("elevators", "lift-1"), ("pump-room", "pump-1")])
async def test_silent_equipment_and_cut_connections_do_not_answer_until_they_are_mended(
    name: str, equipment: str
) -> None:
    members, wire, clock = addressed(equipment), connection(name, timeout=0.3), ManualClock()
    world = world_of(members)
    async with serve([wire], members, world, clock, prefer_site_address=False, paced=False) as served:
        await read_first(wire, served, members, clock)
        world.silent.add(equipment)
        with pytest.raises(DeviceSilent):
            await read_first(wire, served, members, clock)
        world.silent.clear()
        world.cut.add(name)
        await beat(clock, world)
        with pytest.raises((DeviceSilent, ConnectionDown)):
            await read_first(wire, served, members, clock)
        world.cut.clear()
        await beat(clock, world)
        await read_first(wire, served, members, clock)


async def test_a_fault_of_the_world_ends_the_block_with_that_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    members, clock = addressed("lift-1"), SystemClock()
    world = world_of(members)

    def broken(seconds: float) -> None:
        raise ZeroDivisionError("physics is off")

    monkeypatch.setattr(world, "advance", broken)
    with pytest.raises(ZeroDivisionError, match="physics is off"):
        async with (
            asyncio.timeout(5),
            serve([connection("elevators")], members, world, clock, prefer_site_address=False),
        ):
            await asyncio.Event().wait()


async def test_an_error_of_whoever_uses_it_comes_out_as_it_is() -> None:
    members = addressed("lift-1")
    with pytest.raises(KeyError, match="mine"):
        async with serve(
            [connection("elevators")], members, world_of(members), ManualClock(), prefer_site_address=False
        ):
            raise KeyError("mine")


async def test_it_leaves_no_task_and_no_port_behind() -> None:
    members = all_of(*SITE["connections"])
    before = asyncio.all_tasks()
    async with serve(
        all_connections(), members, world_of(members), SystemClock(), prefer_site_address=False
    ) as served:
        await eventually(lambda: served.counts["lora"] >= 12 and served.counts["zigbee"] >= 8)
        ports = [
            int(each.address.rpartition(":")[2]) for each in served.endpoints if each.kind in ("modbus-tcp", "mqtt")
        ]
    assert asyncio.all_tasks() == before
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


async def test_same_seed_same_history_whatever_is_asked_meanwhile() -> None:
    histories = []
    for asked in (0, 5):
        members, wire, clock = all_of("elevators"), connection("elevators"), ManualClock()
        world = world_of(members)
        async with serve([wire], members, world, clock, prefer_site_address=False) as served:
            for _ in range(asked):
                await read_first(wire, served, members, clock)
            await beat(clock, world, 2.0)
        histories.append({name: dict(model.values()) for name, model in world.models.items()})
    assert histories[0] == histories[1]
