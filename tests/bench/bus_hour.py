"""An hour of bus time in which devices die and return at random, on a clock that jumps to whatever comes next.

The line is RTU frames over TCP, as a serial server hands them on: answers come late (up to 3 s, in the middle of
another device's exchange), twice, cut short and damaged. What is counted is whose each good reading is, device and
block. Each device has two blocks of one size, which lie too far apart to be given different ones, and values that
move; once on their own, once those of both blocks about the same, where an answer's values do not tell its block.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from drivers.modbus.connection import open_connection
from drivers.modbus.frames import crc16
from drivers.modbus.keys import RtuTcpSettings
from drivers.point import Batch, Quality
from edge.acquisition.scheduler import Poller
from simulators.modbus_server import Frames
from simulators.paced_pty import char_seconds, gap_seconds
from tests.bench.bus_devices import BAUDRATE, UNITS, Fleet, Living, LoopClock, device, requests

HOUR_S = 3600.0
BLOCKS = (0, 100)
"""Two blocks of the same size on each device, so that an answer to the other one fits too."""
TURNAROUND_S = 0.016
_GRACE_S = 20e-6
"""Real time that the kernel gets to carry bytes from one socket to the other before the clock jumps."""


class _Jumping(selectors.DefaultSelector):
    """Where nothing is to be read, time goes on at once to the next timer."""

    now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        time.sleep(_GRACE_S)
        ready = super().select(0)
        if not ready and timeout is not None:
            self.now_s += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on such a clock."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The clock that jumps."""
        return self._jumping.now_s


class Line(asyncio.Protocol):
    """The serial server: what is sent goes onto the line behind it, and answers come back as the devices please."""

    def __init__(self, fleet: Fleet, chance: random.Random, counts: Counter[str]) -> None:
        self._fleet, self._chance, self._counts = fleet, chance, counts
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self._char_s, self._gap_s = char_seconds(BAUDRATE), gap_seconds(BAUDRATE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The daemon has connected."""
        assert isinstance(transport, asyncio.Transport)  # it is TCP
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """One request."""
        frame = self._frames.feed(data, self._loop.time())
        if frame is None:
            self._counts["requests that were none"] += 1
            return
        self._counts["requests"] += 1
        reply = self._fleet.answer(frame[0], frame[1:])
        if reply is None:
            self._counts["unanswered"] += 1
            return
        answer = frame[:1] + reply
        answer += crc16(answer)
        heard_s = (len(data) * self._char_s) + self._gap_s
        for kind, delay_s, sent in self._as_it_pleases(answer):
            self._counts[kind] += 1
            self._loop.call_later(heard_s + delay_s + len(sent) * self._char_s, self._send, sent)

    def _as_it_pleases(self, answer: bytes) -> list[tuple[str, float, bytes]]:
        """(kind, delay, bytes) of what comes back."""
        chance, own_s = self._chance, TURNAROUND_S * self._chance.uniform(0.8, 1.3)
        dice = chance.random()
        if dice < 0.02:
            return [("late", chance.uniform(0.05, 3.0), answer)]
        if dice < 0.03:
            return [("twice", own_s, answer), ("twice", own_s + chance.uniform(0.05, 0.5), answer)]
        if dice < 0.04:
            return [("cut short", own_s, answer[: chance.randrange(1, len(answer))])]
        if dice < 0.05:
            at = chance.randrange(len(answer))
            damaged = answer[:at] + bytes([answer[at] ^ 1 << chance.randrange(8)]) + answer[at + 1 :]
            return [("damaged", own_s, damaged)]
        return [("answered", own_s, answer)]

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def _fate(unit: int, fleet: Fleet, chance: random.Random, counts: Counter[str]) -> None:
    """One device's life: alive for a minute on average, dead for half of one."""
    while True:
        await asyncio.sleep(chance.expovariate(1 / 60))
        fleet.silent.add(unit)
        counts["deaths"] += 1
        await asyncio.sleep(chance.expovariate(1 / 30))
        fleet.silent.discard(unit)


def _judge(counts: Counter[str], fleet: Living) -> Callable[[Batch], None]:
    def take(batch: Batch) -> None:
        if batch.quality is not Quality.GOOD:
            return
        counts["good"] += 1
        unit, first = fleet.whose(batch)
        if unit != int(batch.block.equipment[1:]):
            counts["of another device"] += 1
        elif batch.block.points[0].name != f"r{first}":
            counts["of another block"] += 1

    return take


async def _run(seconds: float, seed: int, *, alike: bool) -> Counter[str]:
    chance, counts, clock = random.Random(seed), Counter[str](), LoopClock()
    fleet = Living(TURNAROUND_S, BLOCKS, alike=alike)
    server = await asyncio.get_running_loop().create_server(lambda: Line(fleet, chance, counts), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = RtuTcpSettings(type="modbus-rtu-tcp", host="127.0.0.1", port=port, baudrate=BAUDRATE)
    devices = [device(unit, period_s=2.0, blocks=BLOCKS) for unit in UNITS]
    fates = [asyncio.create_task(_fate(unit, fleet, chance, counts)) for unit in UNITS]
    async with open_connection("bus", settings, devices, clock) as link:
        poller = Poller(link, requests(settings, devices), clock, _judge(counts, fleet), random.Random(seed))
        tasks = [asyncio.create_task(poller.run()), *fates]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
    counts["time-outs"] = link.tally.timeouts
    counts["bad frames"] = link.tally.bad_frames
    counts["doubtful"] = link.tally.detail.get("doubtful", 0)
    counts["overruns"] = poller.figures.overruns
    server.close()
    return counts


def run(seconds: float = HOUR_S, seed: int = 11, *, alike: bool = False) -> Counter[str]:
    """So much bus time; what happened, counted. `alike`: the two blocks of a device hold about the same."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(_run(seconds, seed, alike=alike))


def hour() -> None:
    """(c) Print the counts of an hour, for each kind of values."""
    for alike in (False, True):
        began_s = time.monotonic()
        counts = run(alike=alike)
        kind = "about the same in both blocks of a device" if alike else "each block's own"
        print(f"c  an hour of bus time in {time.monotonic() - began_s:.0f} s: devices die and return at random, "
              f"answers come late, twice, cut short\n   and damaged; values {kind}")  # fmt: skip
        kinds = ("deaths", "requests", "unanswered", "late", "twice", "cut short", "damaged", "time-outs",
                 "bad frames", "doubtful")  # fmt: skip
        print("   " + ", ".join(f"{kind} {counts[kind]}" for kind in kinds))
        print(f"   good readings: {counts['good']}; of another device: {counts['of another device']}  (must be 0); "
              f"of another block of the same device: {counts['of another block']}")  # fmt: skip
