"""mbpoll, a Modbus master that nobody here wrote, reads the simulated devices over TCP and over the RTU pty."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import pytest

from drivers.point import Value
from edge.clock import ManualClock
from simulators.serve import Served, serve
from tests.simulators.on_wires import addressed, all_of, connection, world_of

pytestmark = pytest.mark.service

_LINE = re.compile(r"^\[(\d+)\]:\s+(\S+)", re.MULTILINE)


async def poll(mbpoll: str, *arguments: str) -> dict[int, str]:
    """What one call of mbpoll shows, by address. Addresses are those of the wire (`-0`)."""
    process = await asyncio.create_subprocess_exec(
        mbpoll, "-0", "-1", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return {int(address): text for address, text in _LINE.findall(output)}


def tcp(served: Served, *arguments: str) -> tuple[str, ...]:
    host, _, port = served.endpoints[0].address.rpartition(":")
    return ("-m", "tcp", "-p", port, *arguments, host)


def rtu(served: Served, *arguments: str) -> tuple[str, ...]:
    return ("-m", "rtu", "-b", "9600", "-P", "none", *arguments, served.endpoints[0].address)


def number(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)


async def test_it_reads_a_lift_over_tcp(mbpoll: str) -> None:
    members = all_of("elevators")
    world = world_of(members)
    async with serve([connection("elevators")], members, world, ManualClock(), prefer_site_address=False) as served:
        for unit in (1, 4):
            keys = addressed(f"lift-{unit}")[0].profile.points
            read = await poll(mbpoll, *tcp(served, "-a", str(unit), "-t", "4", "-r", "0", "-c", "3"))
            values = world.models[f"lift-{unit}"].values()
            bits = sum(
                bool(values[name]) << bit
                for name, (_, where) in keys.items()
                if (bit := getattr(where, "bit", None)) is not None and getattr(where, "address", 0) == 0
            )
            assert int(read[0]) == bits
            assert [int(read[1]), int(read[2])] == [values["service_mode"], values["direction"]]


async def test_it_switches_a_light_over_tcp(mbpoll: str) -> None:
    members = all_of("lighting")
    world = world_of(members)
    async with serve([connection("lighting")], members, world, ManualClock(), prefer_site_address=False) as served:
        for wanted in (1, 0):
            await poll(mbpoll, *tcp(served, "-a", "1", "-t", "0", "-r", "4"), str(wanted))
            assert world.models["light-05"].values()["on"] is bool(wanted)
            read = await poll(mbpoll, *tcp(served, "-a", "1", "-t", "0", "-r", "0", "-c", "12"))
            states = [world.models[f"light-{number:02}"].values()["on"] for number in range(1, 13)]
            assert [read[channel] for channel in range(12)] == [str(int(bool(on))) for on in states]


async def test_it_reads_the_meter_and_a_pump_on_the_paced_line(mbpoll: str) -> None:
    members = all_of("pump-room")
    world = world_of(members)
    async with serve([connection("pump-room")], members, world, ManualClock(), prefer_site_address=False) as served:
        meter: Mapping[str, Value] = world.models["meter-1"].values()
        read = await poll(mbpoll, *rtu(served, "-a", "21", "-t", "3:float", "-B", "-r", "0", "-c", "3"))
        for address, name in ((0, "voltage_l1"), (2, "voltage_l2"), (4, "voltage_l3")):
            assert float(read[address]) == pytest.approx(number(meter[name]), rel=1e-5)
        pump: Mapping[str, Value] = world.models["pump-1"].values()
        read = await poll(mbpoll, *rtu(served, "-a", "1", "-t", "3", "-r", "2", "-c", "3"))
        for address, name, scale in (
            (2, "outlet_pressure", 0.001),
            (3, "set_pressure", 0.001),
            (4, "frequency", 0.01),
        ):
            assert int(read[address]) * scale == pytest.approx(number(pump[name]), abs=scale)
        assert served.counts["pump-room"] == 2


async def test_a_silent_unit_times_out_and_its_neighbour_answers(mbpoll: str) -> None:
    members = all_of("pump-room")
    world = world_of(members)
    world.silent.add("sump-1")
    async with serve([connection("pump-room")], members, world, ManualClock(), prefer_site_address=False) as served:
        arguments = ("-t", "3:float", "-B", "-r", "0", "-o", "0.3")
        with pytest.raises(AssertionError, match="timed out"):
            await poll(mbpoll, *rtu(served, "-a", "11", *arguments))
        assert await poll(mbpoll, *rtu(served, "-a", "21", *arguments))
