"""What all devices that speak by themselves have in common: last values, silence, and one way out.

What comes in: readings as a protocol has decoded them, and the news that a message could not be used. What goes
out: batches, in one bounded queue, so that a slow consumer holds back the socket; and, for a device that has
been silent for longer than its profile allows, one batch of all its points as `bad/stale`. Time is the clock's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from drivers.driver import Clock
from drivers.point import Batch, Block, Device, Quality, Tally, Value

Reading = tuple[int, Value, Quality]
"""Position among the device's points, value, quality."""

QUEUE = 256
"""Batches that wait for the consumer before the sender is held back."""
MAX_KEPT = 1000
"""Kinds of trouble that are remembered as already said."""
_EARLY_S = 1e-3
"""A deadline this near is reached: sums of floats do not meet exactly."""


class Once:
    """Says each kind of trouble the first time only, and stops when there are too many kinds."""

    def __init__(self, logger: logging.Logger, connection: str) -> None:
        self._logger = logger
        self.connection = connection
        self._said: set[object] = set()

    def warn(self, key: object, message: str) -> None:
        """Log `message`, unless something was already said for `key`."""
        if key in self._said or len(self._said) > MAX_KEPT:
            return
        self._said.add(key)
        if len(self._said) > MAX_KEPT:
            message = "more kinds of trouble than can be told one by one; from here on they are only counted"
        self._logger.warning("connection %s: %s", self.connection, message)


@dataclass(slots=True, eq=False)
class _Shape:
    """A block, and the last values that went out with it: whoever gets the same object again may skip the work."""

    block: Block
    values: tuple[Value, ...] = ()


@dataclass(slots=True, eq=False)
class Speaker:
    """What is known of one device."""

    device: Device
    heard_s: float
    """Monotonic time of the last good message, or of the start."""
    heard: bool = False
    """Whether there was a good message since the connection was opened."""
    stale: bool = False
    doubted: set[int] = field(default_factory=set)
    """Positions that went out as `uncertain/stale` and were not read since."""
    last: list[Value] = field(default_factory=list)
    """Values by position, None: never read, or not known to the device."""
    shapes: dict[tuple[int, ...], _Shape] = field(default_factory=dict)

    def batch(self, readings: Sequence[Reading], time_ns: int, mono_s: float, source_time_ns: int | None) -> Batch:
        """Readings as a batch; equal sets of points share one block."""
        positions = tuple(position for position, _, _ in readings)
        shape = self.shapes.get(positions)
        if shape is None:
            points = tuple(self.device.points[position] for position in positions)
            shape = self.shapes[positions] = _Shape(Block(self.device.id, points))
        values = tuple(value for _, value, _ in readings)
        if values != shape.values:
            shape.values = values
        qualities = tuple(quality for _, _, quality in readings)
        uniform = len(set(qualities)) == 1
        return Batch(
            block=shape.block,
            values=shape.values,
            time_ns=time_ns,
            mono_s=mono_s,
            quality=qualities[0] if uniform else Quality.GOOD,
            qualities=None if uniform else qualities,
            source_time_ns=source_time_ns,
        )


class Intake:
    """All devices of one connection that speak by themselves."""

    def __init__(self, connection: str, devices: Sequence[Device], clock: Clock, logger: logging.Logger) -> None:
        self.tally = Tally()
        self.once = Once(logger, connection)
        self._clock = clock
        self._queue: asyncio.Queue[Batch | Exception] = asyncio.Queue(QUEUE)
        self._turn = asyncio.Lock()  # what is decided first also goes out first
        start = clock.mono_s()
        self.speakers = {d.id: Speaker(d, start, last=[None] * len(d.points)) for d in devices}

    def count(self, what: str) -> None:
        """One more of a finer count."""
        self.tally.detail[what] = self.tally.detail.get(what, 0) + 1

    def unknown(self, key: object, message: str) -> None:
        """A message that the site file does not account for."""
        self.tally.unknown += 1
        self.once.warn(key, message)

    async def take(self, speaker: Speaker, readings: Iterable[Reading], source_time_ns: int | None = None) -> None:
        """A good message: the device is alive, and these are its readings.

        A reading that is `uncertain/stale` without a value stands for the last one, and is left out where there
        is none. Waits while the consumer is behind.
        """
        time_ns, mono_s = self._clock.wall_ns(), self._clock.mono_s()
        async with self._turn:
            speaker.heard_s = max(speaker.heard_s, mono_s)
            speaker.heard, speaker.stale = True, False
            kept = [each for each in (self._keep(speaker, *reading) for reading in readings) if each]
            if kept:
                await self._queue.put(speaker.batch(kept, time_ns, mono_s, source_time_ns))

    def _keep(self, speaker: Speaker, position: int, value: Value, quality: Quality) -> Reading | None:
        if quality is not Quality.UNCERTAIN_STALE:
            speaker.last[position] = value
            speaker.doubted.discard(position)
        elif value is None:
            value = speaker.last[position]
            if value is None:
                return None
            speaker.doubted.add(position)
        return position, value, quality

    async def doubt(self, speaker: Speaker, positions: Iterable[int]) -> None:
        """A message that could not be used: what it may have told is `uncertain/stale`, once until the next."""
        if speaker.stale:
            return
        time_ns, mono_s = self._clock.wall_ns(), self._clock.mono_s()
        async with self._turn:
            fresh = [p for p in positions if p not in speaker.doubted and speaker.last[p] is not None]
            speaker.doubted.update(fresh)
            readings = [(p, speaker.last[p], Quality.UNCERTAIN_STALE) for p in fresh]
            if readings:
                await self._queue.put(speaker.batch(readings, time_ns, mono_s, None))

    async def watch(self) -> None:
        """For ever: tell once of each device that has been silent for too long."""
        watched = [s for s in self.speakers.values() if s.device.stale_after_s > 0 and s.device.points]
        if not watched:
            return
        shortest = min(s.device.stale_after_s for s in watched)  # who is heard while we sleep is not due before
        while True:
            now = self._clock.mono_s()
            left = shortest
            for speaker in watched:
                if speaker.stale:
                    continue
                due_in = speaker.heard_s + speaker.device.stale_after_s - now
                if due_in <= _EARLY_S:
                    await self._tell_stale(speaker)
                else:
                    left = min(left, due_in)
            await self._clock.sleep(left)

    async def _tell_stale(self, speaker: Speaker) -> None:
        async with self._turn:
            now = self._clock.mono_s()
            if now - speaker.heard_s < speaker.device.stale_after_s - _EARLY_S:
                return  # spoke while we waited for our turn
            speaker.stale = True
            speaker.doubted.clear()
            readings = [(p, value, Quality.BAD_STALE) for p, value in enumerate(speaker.last)]
            self.count("stale")
            await self._queue.put(speaker.batch(readings, self._clock.wall_ns(), now, None))

    async def batches(self) -> AsyncIterator[Batch]:
        """Batches in the order of their messages; ends by the error that ended the connection."""
        while True:
            item = await self._queue.get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def _run(self, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except Exception as error:  # not swallowed: raised again by `batches`, in the task of whoever listens
            await self._queue.put(error)

    @asynccontextmanager
    async def working(self, **jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """The jobs of the connection run within the block; what one of them raises ends `batches`."""
        tasks = [asyncio.create_task(self._run(job), name=f"{name}[{self.connection}]") for name, job in jobs.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connection(self) -> str:
        """The connection's name."""
        return self.once.connection
