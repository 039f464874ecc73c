"""A gateway with a delay: how many reads a second go through it with 1, 2, 4 and 8 requests in flight.

Sixteen units answer independently, each after 20 ms; the limit is what so many requests out at once allow at that
delay. The same with one answer in fifty lost: each loss costs its own request's time-out, and the others go on. Run:
`make bench ARGS=flight`; about half a minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from contextlib import suppress

from drivers.modbus.connection import open_connection
from drivers.modbus.keys import Limits, RegisterKeys, TcpSettings, UnitKeys
from drivers.modbus.planner import plan
from drivers.point import Batch, Device, Point, Quality, Text
from edge.acquisition.scheduler import Poller
from edge.clock import SystemClock

DELAY_S = 0.020
UNITS = 16
REGISTERS = 20
RUN_S = 3.0


class Gateway(asyncio.Protocol):
    """Each request is answered after the delay, whatever else is out; some never."""

    def __init__(self, lost: float) -> None:
        self._lost, self._chance = lost, random.Random(5)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Requests, whole ones."""
        while data:
            transaction, _, length, unit = struct.unpack_from(">HHHB", data)
            _, address, count = struct.unpack_from(">BHH", data, 7)
            data = data[6 + length :]
            if self._chance.random() >= self._lost:
                words = [unit << 8 | address + n for n in range(count)]
                body = struct.pack(f">BBB{count}H", unit, 3, 2 * count, *words)
                answer = struct.pack(">HHH", transaction, 0, len(body)) + body
                asyncio.get_running_loop().call_later(DELAY_S, self._say, answer)

    def _say(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def device(unit: int) -> Device:
    """Twenty registers, read as fast as it goes."""
    points = tuple(
        Point(
            id=f"u{unit}.r{at}", equipment=f"u{unit}", name=f"r{at}", title=Text("", ""), kind="int", unit="",
            period_s=DELAY_S, deadband=0, low=None, high=None, counter=False, writable=False, labels=None,
            address=RegisterKeys.model_validate({"register": "holding", "address": at}),
        )
        for at in range(REGISTERS)
    )  # fmt: skip
    return Device(f"u{unit}", UnitKeys(unit_id=unit), Limits(), points, 0.0)


async def through(at_once: int, lost: float, seconds: float = RUN_S) -> tuple[float, int, int]:
    """Good reads a second; time-outs; reads whose values are another unit's."""
    server = await asyncio.get_running_loop().create_server(lambda: Gateway(lost), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = TcpSettings(type="modbus-tcp", host="127.0.0.1", port=port, timeout=0.5, max_in_flight=at_once)
    devices = [device(unit) for unit in range(1, UNITS + 1)]
    good, wrong = 0, 0

    def take(batch: Batch) -> None:
        nonlocal good, wrong
        if batch.quality is Quality.GOOD:
            good += 1
            unit = int(batch.block.equipment[1:])
            wrong += batch.values != tuple(unit << 8 | at for at in range(REGISTERS))

    async with open_connection("gateway", settings, devices, SystemClock()) as link:
        poller = Poller(link, plan(settings, devices), SystemClock(), take)
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(0.5)
        before, clock = good, SystemClock()
        began_s = clock.mono_s()
        await asyncio.sleep(seconds)
        rate = (good - before) / (clock.mono_s() - began_s)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    server.close()
    return rate, link.tally.timeouts, wrong


def main() -> None:
    """The table."""
    logging.disable()  # that answers are lost is no news here
    print(f"{UNITS} units behind a gateway, each answers after {DELAY_S * 1e3:.0f} ms; {REGISTERS} registers a read")
    print(f"{'in flight':>10} {'reads/s':>9} {'limit':>7} {'part':>6}   with 2 % of answers lost: reads/s, time-outs")
    for at_once in (1, 2, 4, 8):
        rate, _, wrong = asyncio.run(through(at_once, 0.0))
        losing, timeouts, wrong_too = asyncio.run(through(at_once, 0.02))
        limit = at_once / DELAY_S
        print(f"{at_once:>10} {rate:>9.1f} {limit:>7.0f} {rate / limit:>6.1%}   {losing:>9.1f} {timeouts:>6}"
              f"   readings of another unit: {wrong + wrong_too}")  # fmt: skip


if __name__ == "__main__":
    main()
