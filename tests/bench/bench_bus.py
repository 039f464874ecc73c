"""One RS-485 bus of 9600 baud with eight devices: saturated, with dead devices on it, and an hour of dying.

The first two run on a paced pseudo terminal in real time, through the daemon's own driver, planner and scheduler.
The limit is what the wire's characters and silent intervals take plus the devices' own delay, measured in the same
run from the first byte of each request to the last byte of its answer. Run: `make bench ARGS=bus`; about two minutes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from drivers.modbus.connection import open_connection
from drivers.modbus.planner import line_of
from drivers.point import Batch, Quality
from edge.acquisition.scheduler import Poller
from edge.clock import SystemClock
from simulators.modbus_server import ModbusLine
from tests.bench.bus_devices import BAUDRATE, REGISTERS, UNITS, Fleet, WatchedPty, device, requests, rtu, whose
from tests.bench.bus_hour import hour

TURNAROUND_S = 0.016
"""With it, 20 registers of 8 devices each second take 63 % of the line."""
SATURATED_S = 20.0
DYING_S = 60.0


@dataclass
class Bus:
    """A line with its devices, polled."""

    line: WatchedPty
    fleet: Fleet
    poller: Poller
    began_s: float
    batches: list[tuple[float, Batch]]
    news: asyncio.Event
    """Set with each batch."""

    def good(self, unit: int) -> list[float]:
        """When this device was read, in s since the start."""
        return [
            at - self.began_s
            for at, batch in self.batches
            if batch.block.equipment == f"d{unit}" and batch.quality is Quality.GOOD
        ]

    def strangers(self) -> int:
        """Good batches whose values are another device's."""
        good = (batch for _, batch in self.batches if batch.quality is Quality.GOOD)
        return sum(whose(batch) != (int(batch.block.equipment[1:]), 0) for batch in good)


@asynccontextmanager
async def bus(period_s: float) -> AsyncIterator[Bus]:
    """All eight devices read at this period, from now on."""
    clock, fleet = SystemClock(), Fleet(TURNAROUND_S)
    served = ModbusLine(fleet, lambda: None, lambda: False)
    opened, news = asyncio.Event(), asyncio.Event()
    line = served.line = WatchedPty(BAUDRATE, received=served.received, opened=opened.set)
    settings = rtu(line.path)
    devices = [device(unit, period_s=period_s) for unit in UNITS]
    try:
        async with open_connection("bus", settings, devices, clock) as link:
            await opened.wait()
            batches: list[tuple[float, Batch]] = []

            def take(batch: Batch) -> None:
                batches.append((clock.mono_s(), batch))
                news.set()

            began_s = clock.mono_s()  # turns come at whole seconds after it; a reading has until the next
            poller = Poller(link, requests(settings, devices), clock, take, phase_s=began_s)
            task = asyncio.create_task(poller.run())
            try:
                yield Bus(line, fleet, poller, began_s, batches, news)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    finally:
        line.close()


async def saturated() -> None:
    """(a) As fast as it goes."""
    async with bus(0.01) as running:
        await asyncio.sleep(1.0)
        line, clock = running.line, SystemClock()
        began_s, before, taken_s, exchanges = clock.mono_s(), len(running.batches), line.taken_s, line.exchanges
        await asyncio.sleep(SATURATED_S)
        rate = (len(running.batches) - before) / (clock.mono_s() - began_s)
        exchange_s = (line.taken_s - taken_s) / (line.exchanges - exchanges)
        wire = line_of(rtu(line.path))
        wire_s = wire.exchange(2 * REGISTERS)
        limit = 1 / (exchange_s + wire.silence_s)
        print(f"a  saturated, 8 devices of {REGISTERS} registers at {BAUDRATE} baud, {SATURATED_S:.0f} s")
        print(f"   wire time {wire_s * 1e3:.1f} ms an exchange; the devices' own delay, measured, "
              f"{(exchange_s + wire.silence_s - wire_s) * 1e3:.1f} ms")  # fmt: skip
        print(f"   {rate:.2f} transactions/s, the limit is {limit:.2f}: {rate / limit:.1%}  (must reach 95 %)")
        print(f"   readings of another device: {running.strangers()}")


async def dying() -> None:
    """(b) Each second, two of eight dead, one of which returns now and then."""
    async with bus(1.0) as running:
        chance, dead = random.Random(3), [3, 6]
        returns: list[float] = []
        await asyncio.sleep(5.2)
        running.fleet.silent |= set(dead)
        from_s = 5
        while (now := SystemClock().mono_s() - running.began_s) < DYING_S:
            await asyncio.sleep(chance.uniform(4, 9))
            unit = dead[len(returns) % 2]
            running.fleet.silent.discard(unit)
            at = SystemClock().mono_s() - running.began_s
            while not any(when > at for when in running.good(unit)):
                running.news.clear()
                await running.news.wait()
            returns.append(running.good(unit)[-1] - at)
            running.fleet.silent.add(unit)
        now = int(now)
        healthy = [unit for unit in UNITS if unit not in dead]
        slots = sum(len({int(at) for at in running.good(unit) if from_s <= at < now}) for unit in healthy)
        figures, clock = running.poller.figures, SystemClock()
        load = len(UNITS) * (TURNAROUND_S + line_of(rtu(running.line.path)).exchange(2 * REGISTERS))
        print(f"b  each second ({load:.0%} of the line's time), 2 of 8 dead, {now - from_s} s")
        print(f"   readings of the healthy 6 on time: {slots} of {6 * (now - from_s)}: "
              f"{slots / 6 / (now - from_s):.2%}  (must reach 99 %)")  # fmt: skip
        print(f"   a device that returns is read again after {', '.join(f'{s:.1f}' for s in returns)} s: "
              f"at most {max(returns):.2f} s  (must be below 3 s)")  # fmt: skip
        print(f"   probes took {figures.probing.share(clock.mono_s()):.1%} of the last minute  (the share is 5 %); "
              f"the line was in use {figures.utilisation(clock.mono_s()):.0%}")  # fmt: skip
        print(f"   readings of another device: {running.strangers()}")


def main() -> None:
    """All three."""
    logging.disable()  # that devices die is no news here
    asyncio.run(saturated())
    asyncio.run(dying())
    hour()


if __name__ == "__main__":
    main()
