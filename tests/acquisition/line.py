"""A polled link that obeys, a clock that the test moves, and a poller on both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from drivers.driver import ConnectionDown, DeviceSilent, DriverError, Keys, PolledLink, Request
from drivers.point import Batch, Block, Device, Point, Quality, Tally, Text, Value
from edge.acquisition.scheduler import Poller
from edge.clock import ManualClock

NAME = "connection[pump-room]"
TIMEOUT_S = 1.0


class Line:
    """A polled link: each read takes its request's wire time; devices fail as told."""

    def __init__(self, clock: ManualClock, at_once: int = 1) -> None:
        self.at_once = at_once
        self.asked: list[Device] = []
        """Whose requests are out."""
        self.most_out = 0
        self.per_device = 1
        self.tally = Tally()
        self.clock = clock
        self.fault: Callable[[Request], Exception | None] = lambda request: None
        self.silent: set[str] = set()
        self.reads: list[tuple[float, str]] = []
        """Second since the start, and block."""
        self.writes: list[tuple[float, str, Value]] = []
        self.write_fault: Exception | None = None
        self.now_s = clock.mono_s()
        self.value = 0
        self.settle_s = 0.0
        self.start_s = 0.0
        """How long after a request its answer begins at the earliest."""
        self.late_s: dict[str, float] = {}
        """How much longer than predicted devices take."""
        self.holds_s = 0.0
        """How long a gateway waits by itself for a device that is silent: whoever is asked next waits too."""
        self._held_until_s = self.now_s

    def at(self) -> float:
        return round(self.clock.mono_s() - self.now_s, 3)

    def ready(self, device: Device, *, write: bool = False) -> bool:
        out = self.asked.count(device)
        return len(self.asked) < self.at_once and out < (1 if write else self.per_device)

    async def read(self, request: Any, timeout_s: float | None = None) -> Batch:
        self.reads.append((self.at(), request.block.points[0].name))
        timeout_s = TIMEOUT_S if timeout_s is None else min(timeout_s, TIMEOUT_S)
        late_s = self.late_s.get(request.device.id, 0.0)
        if request.device.id in self.silent or late_s > timeout_s:
            self._held_until_s = self.clock.mono_s() + self.holds_s
            await self._take(request.device, self.start_s + timeout_s)
            raise DeviceSilent(f"{request.device.id}: does not answer")
        held_s = max(0.0, self._held_until_s - self.clock.mono_s())
        await self._take(request.device, held_s + request.wire_s + late_s)
        if error := self.fault(request):
            raise error
        self.value += 1
        return Batch(request.block, (self.value,), self.clock.wall_ns(), self.clock.mono_s())

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        self.writes.append((self.at(), point.name, value))
        assert self.at_once == 1 or device not in self.asked, "a write goes alone"
        await self._take(device, 0.05)
        if self.write_fault:
            raise self.write_fault
        return value

    async def _take(self, device: Device, seconds: float) -> None:
        assert len(self.asked) < self.at_once, "no more requests are out than may be"
        assert self.asked.count(device) < self.per_device
        self.asked.append(device)
        self.most_out = max(self.most_out, len(self.asked))
        try:
            await self.clock.sleep(seconds)
        finally:
            self.asked.remove(device)

    def times(self, name: str) -> list[float]:
        return [at for at, block in self.reads if block == name]


class BriskLine(Line):
    """One on which a request can be sent without waiting."""

    def __init__(self, clock: ManualClock, at_once: int = 1) -> None:
        super().__init__(clock, at_once)
        self.task: asyncio.Task[None] | None = None
        self.pausing: set[str] = set()
        """Devices that have to be waited for first."""

    def ask(self, request: Any, timeout_s: float | None, told: Callable[[Batch | Exception], None]) -> bool:
        """Send it, if nobody else is asked."""
        if self.asked or request.device.id in self.pausing:
            return False

        async def exchange() -> None:
            try:
                batch = await self.read(request, timeout_s)
            except DriverError as error:
                told(error)
            else:
                told(batch)

        self.task = asyncio.create_task(exchange())
        return True


LINES: dict[str, type[Line]] = {"waited for": Line, "brisk": BriskLine}
kind = "waited for"
"""Which of them a stand is given."""


def device(name: str, *blocks: str) -> Device:
    points = tuple(
        Point(
            id=f"{name}.{block}", equipment=name, name=block, title=Text(block, block), kind="int", unit="",
            period_s=1, deadband=0, low=None, high=None, counter=False, writable=True, labels=None, address=Keys(),
        )
        for block in blocks
    )  # fmt: skip
    return Device(name, Keys(), Keys(), points, 0.0)


def requests(of: Device, *, period_s: float = 1.0, wire_s: float = 0.05) -> list[Request]:
    return [Request(of, Block(of.id, (point,)), period_s, wire_s) for point in of.points]


class Stand:
    def __init__(
        self,
        wanted: Sequence[Request],
        before: Poller | None = None,
        clock: ManualClock | None = None,
        urgent: Collection[str] = (),
        probe_share: float = 0.05,
        at_once: int = 1,
    ) -> None:
        self.clock = clock or ManualClock()
        self.line = LINES[kind](self.clock, at_once)
        self.batches: list[Batch] = []
        link: PolledLink = self.line
        emit, rng = self.batches.append, random.Random(7)
        self.poller = Poller(link, wanted, self.clock, emit, rng, before, urgent, probe_share)
        self.task = asyncio.create_task(self.poller.run(), name=NAME)

    async def idle(self) -> None:
        """Let everything run that can run without time passing."""
        if isinstance(self.line, BriskLine):  # no task of its own sleeps while it is brisk
            for _ in range(25):
                await asyncio.sleep(0)
            return
        for _ in range(200):
            await asyncio.sleep(0)
            if self.task.done() or NAME in self.clock.sleeping():
                for _ in range(5):
                    await asyncio.sleep(0)
                if self.task.done() or NAME in self.clock.sleeping():
                    return
        pytest.fail("the poller neither sleeps nor ends")

    async def run(self, seconds: float) -> None:
        """Let time pass, wake by wake."""
        end = self.clock.mono_s() + seconds
        while not self.task.done():
            await self.idle()
            wake = self.clock.next_wake_s()
            if wake is None or wake > end + 1e-9:
                break
            self.clock.advance(max(wake - self.clock.mono_s(), 0))
        self.clock.advance(max(end - self.clock.mono_s(), 0))
        await self.idle()

    def said(self, quality: Quality) -> list[str]:
        return [batch.block.points[0].name for batch in self.batches if batch.quality is quality]


@asynccontextmanager
async def standing(wanted: Sequence[Request], **more: Any) -> AsyncIterator[Stand]:
    stand = Stand(wanted, **more)
    try:
        yield stand
    finally:
        stand.task.cancel()
        with suppress(asyncio.CancelledError, ConnectionDown):
            await stand.task
