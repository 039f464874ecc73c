"""Minutes of bus time on a clock that jumps: devices that die, answer late, twice, cut short and damaged."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from drivers.driver import BadAnswer, DeviceSilent
from drivers.modbus.connection import open_connection
from drivers.modbus.keys import RtuTcpSettings
from drivers.modbus.link import ModbusLink
from drivers.modbus.planner import ReadRequest
from tests.bench.bus_devices import Fleet, LoopClock, device, requests, whose
from tests.bench.bus_hour import TURNAROUND_S, JumpingLoop, Line, run


def test_no_reading_is_taken_for_another_device_s_while_devices_die_and_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    for seed in (1, 2, 3):
        counts = run(300, seed)
        assert counts["of another device"] == 0
        assert counts["of another block"] == 0, "though all blocks have the same form"
        assert counts["good"] > 800
        assert min(counts[kind] for kind in ("deaths", "late", "twice", "cut short", "damaged")) > 0


class Obedient(Line):
    """A line that does what it is told, and nothing else."""

    answer: Callable[[bytes], list[tuple[str, float, bytes]]]

    def _as_it_pleases(self, answer: bytes) -> list[tuple[str, float, bytes]]:
        return self.answer(answer)


@asynccontextmanager
async def one_device(fleet: Fleet, line: type[Obedient]) -> AsyncIterator[tuple[ModbusLink, ReadRequest]]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: line(fleet, random.Random(1), Counter()), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = RtuTcpSettings(type="modbus-rtu-tcp", host="127.0.0.1", port=port)
    devices = [device(1, period_s=1.0)]
    async with open_connection("bus", settings, devices, LoopClock()) as link:
        (request,) = requests(settings, devices)
        yield link, request
    server.close()


def test_a_device_that_is_given_less_time_costs_no_more_of_the_line() -> None:
    class Prompt(Obedient):
        def answer(self, answer: bytes) -> list[tuple[str, float, bytes]]:
            return [("first byte", TURNAROUND_S, answer[:1]), ("rest", TURNAROUND_S, answer[1:])]

    async def story() -> None:
        fleet, loop = Fleet(TURNAROUND_S), asyncio.get_running_loop()
        async with one_device(fleet, Prompt) as (link, request):
            for _ in range(64):
                assert whose(await link.read(request, 0.05)) == (1, 0)
            fleet.silent.add(1)
            for timeout_s in (0.05, 0.2):
                await asyncio.sleep(link.settle_s)
                began_s = loop.time()
                with pytest.raises(DeviceSilent, match=r"unit 1 on bus does not answer;"):
                    await link.read(request, timeout_s)
                took_s = loop.time() - began_s
                assert timeout_s < took_s < timeout_s + request.wire_s - 0.02, "its characters are not waited for"

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(story())


def test_an_answer_cut_short_leaves_nothing_owed() -> None:
    class Cut(Obedient):
        def answer(self, answer: bytes) -> list[tuple[str, float, bytes]]:
            return [("cut", TURNAROUND_S, answer[:10])]

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with one_device(Fleet(TURNAROUND_S), Cut) as (link, request):
            for _ in range(3):
                began_s = loop.time()
                with pytest.raises(BadAnswer, match="cut short"):
                    await link.read(request, 0.05)
                assert loop.time() - began_s < 0.2

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(story())
