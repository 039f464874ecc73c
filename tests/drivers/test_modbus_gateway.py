"""A TCP gateway that asks its own line one thing after the other: a dead unit keeps it busy, the next one waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from drivers.driver import DeviceSilent
from drivers.modbus.connection import open_connection
from drivers.modbus.keys import TcpSettings
from drivers.modbus.raw import range_request
from edge.clock import SystemClock

LINE_S = 0.6
"""How long the gateway waits for a unit that is dead."""
SHORT_S = 0.2
"""How long units are waited for that have always answered sooner."""


class Gateway:
    """Units answer at once, or keep the line busy."""

    def __init__(self) -> None:
        self.dead: set[int] = set()
        self.says = True
        """Whether it answers for a unit that is dead."""
        self.link: Any = None
        self.settings: Any = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                dead = request[6] in self.dead
                await asyncio.sleep(LINE_S if dead else 0)
                if dead and not self.says:
                    continue
                answer = bytes((0x83, 0x0B)) if dead else bytes((3, 2, 0, request[6]))
                writer.write(request[:4] + (1 + len(answer)).to_bytes(2, "big") + request[6:7] + answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def read(self, unit: int) -> tuple[Any, float]:
        """The value of a unit, None where it is given up; and how long that took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            value = (await self.link.read(range_request(self.settings, unit, "holding", 0, 1), SHORT_S)).values[0]
        except DeviceSilent:
            value = None
        return value, loop.time() - began_s


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """One with an open connection whose own time-out is longer than the gateway's."""
    made = Gateway()
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(made.serve(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        made.settings = TcpSettings(type="modbus-tcp", host="127.0.0.1", port=port, timeout=1.0)
        async with open_connection("lifts", made.settings, (), SystemClock()) as link:
            made.link = link
            for unit in (1, 2, 3):
                assert (await made.read(unit))[0] == unit
            yield made
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("says", [True, False])
async def test_a_unit_is_not_taken_for_dead_because_its_gateway_waits_for_another(says: bool) -> None:
    async with gateway() as here:
        here.dead, here.says = {1}, says
        for _ in range(3):
            value, took_s = await here.read(1)
            assert (value, took_s < LINE_S) == (None, True)
            assert (await here.read(2))[0] == 2
        assert (await here.read(3))[1] < SHORT_S


async def test_units_that_die_together_are_waited_for_once() -> None:
    async with gateway() as here:
        here.dead, here.says = {1, 2, 3, 4}, False
        began_s = asyncio.get_running_loop().time()
        assert [(await here.read(unit))[0] for unit in (1, 2, 3)] == [None] * 3
        assert asyncio.get_running_loop().time() - began_s < 1.0 + 4 * SHORT_S
        for unit in (1, 2, 3):  # they are given up: nobody waits for them any longer than for a probe
            assert (await here.read(unit))[1] < 3 * SHORT_S
