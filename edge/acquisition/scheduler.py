"""Polls one open connection: whose turn it is, and what a device that does not answer may cost the others.

What comes in: a polled link, the requests planned for its devices, writes from the desk. What goes out: batches,
and figures of how it goes. One request is out at a time; the earliest deadline goes first, writes before reads.

- A request has a turn each period, on a fixed grid. A turn that comes while the one before is late or still
  running is skipped and counted as an overrun.
- After a time-out the device's other requests wait and one alone is tried again; after the second in a row all
  its points go bad/comm, once, with their last values, and it is probed at growing jittered pauses in time that
  is otherwise free. When it answers, all its requests resume at once.
- A single time-out, or an answer that cannot be used, makes that block uncertain/stale, once. A block that stays
  unanswered while its device answers others goes bad/comm and is asked at growing pauses too.

All waiting is done on the given clock.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.driver import BadAnswer, Clock, ConnectionDown, DeviceSilent, DriverError, PolledLink, Refused, Request
from drivers.point import Batch, Block, Device, Point, Quality, Value
from edge.acquisition.figures import ConnectionFigures, DeviceFigures, DeviceState, Window

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
SILENT_AFTER = 2
"""Time-outs in a row that make a device silent."""
_IDLE_S = 3600.0
"""How long to sleep where nothing is ever due; a write wakes it."""
_LOG_AGAIN_S = 3600.0
"""The same trouble is counted each time, and logged once an hour at most."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Turn:
    """The turns of one request."""

    request: Request
    device: _Asked
    release_s: float = 0.0
    """From when on it may be sent."""
    deadline_s: float = 0.0
    """By when it should have been answered: its next turn."""
    ticket: int = -1
    """Which entry in the queues is the true one; -1: none, it waits for its device to answer."""
    values: tuple[Value, ...] | None = None
    """Of the newest good answer; None where there was none."""
    quality: Quality | None = None
    """As last told downstream."""
    misses: int = 0
    """Time-outs of this request in a row."""
    logged_s: float = -_LOG_AGAIN_S
    """When an answer of its that cannot be used was last logged."""


@dataclass(slots=True, eq=False)
class _Asked:
    """One device, and how it answers."""

    device: Device
    turns: list[_Turn]
    figures: DeviceFigures
    misses: int = 0
    """Time-outs of the device in a row, whatever it was asked."""
    logged_s: float = -_LOG_AGAIN_S
    """When its silence was last logged."""


@dataclass(slots=True, eq=False)
class _Write:
    device: Device
    point: Point
    value: Value
    done: asyncio.Future[Value]


class Poller:
    """Everything that is asked of one open connection goes through here."""

    def __init__(
        self,
        link: PolledLink,
        requests: Sequence[Request],
        clock: Clock,
        emit: Callable[[Batch], None],
        rng: random.Random | None = None,
        before: Poller | None = None,
    ) -> None:
        """`before`: the poller of the same connection until it was lost; its values and figures go on."""
        self._link = link
        self._clock = clock
        self._emit = emit
        self._rng = rng or random.Random()
        self._tickets = itertools.count()
        self._waiting: list[tuple[float, int, _Turn]] = []
        """Turns to come, by release."""
        self._ready: list[tuple[float, int, _Turn]] = []
        """Turns that have come, by deadline."""
        self._writes: deque[_Write] = deque()
        self._sleep: asyncio.Task[None] | None = None
        self._ended = False
        now = clock.mono_s()
        self.figures: ConnectionFigures = before.figures if before else ConnectionFigures(Window(now))
        self._known: dict[Block, tuple[Value, ...] | None] = dict(before._known) if before else {}
        self._devices = self._by_device(requests, now)

    def _by_device(self, requests: Sequence[Request], now: float) -> list[_Asked]:
        devices: dict[Device, _Asked] = {}
        for request in requests:
            if request.period_s <= 0:
                raise ValueError(f"{request.device.id}: a request without a period cannot be polled")
            if request.device not in devices:
                figures = self.figures.devices.setdefault(request.device.id, DeviceFigures(Window(now)))
                figures.state, figures.since_s = "waiting", now
                devices[request.device] = _Asked(request.device, [], figures)
            device = devices[request.device]
            device.turns.append(_Turn(request, device, values=self._known.get(request.block)))
        return list(devices.values())

    async def run(self) -> None:
        """Poll until the connection is lost: raises `ConnectionDown`, and so do all writes that still wait."""
        now = self._clock.mono_s()
        for device in self._devices:
            for each in device.turns:
                self._schedule(each, now)
        try:
            while True:
                if self._writes:
                    await self._serve(self._writes.popleft())
                elif (turn := self._next()) is not None:
                    await self._read(turn)
                else:
                    await self._idle()
        finally:
            self._ended = True
            while self._writes:
                self._refuse(self._writes.popleft())

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write a value ahead of all reads and return what the device reads back. Raises the four errors."""
        entry = _Write(device, point, value, asyncio.get_running_loop().create_future())
        if self._ended:
            self._refuse(entry)
        else:
            self._writes.append(entry)
            if self._sleep is not None:
                self._sleep.cancel()
        return await entry.done

    def _refuse(self, entry: _Write) -> None:
        if not entry.done.done():
            entry.done.set_exception(ConnectionDown(f"{entry.point.id}: not written, the connection is down"))

    # Whose turn it is.

    def _schedule(self, turn: _Turn, release_s: float, deadline_s: float | None = None) -> None:
        """Give a turn its next place; an older one is void."""
        turn.release_s = release_s
        turn.deadline_s = release_s + turn.request.period_s if deadline_s is None else deadline_s
        turn.ticket = next(self._tickets)
        heapq.heappush(self._waiting, (release_s, turn.ticket, turn))

    def _next(self) -> _Turn | None:
        """The turn with the earliest deadline of those that have come."""
        now = self._clock.mono_s()
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, turn = heapq.heappop(self._waiting)
            if ticket == turn.ticket:
                heapq.heappush(self._ready, (turn.deadline_s, ticket, turn))
        while self._ready:
            _, ticket, first = heapq.heappop(self._ready)
            if ticket == first.ticket:
                return first
        return None

    async def _idle(self) -> None:
        """Sleep until the next turn comes or a write does."""
        while self._waiting and self._waiting[0][1] != self._waiting[0][2].ticket:
            heapq.heappop(self._waiting)
        now = self._clock.mono_s()
        wait_s = self._waiting[0][0] - now if self._waiting else _IDLE_S
        task = asyncio.current_task()
        name = task.get_name() if task else None
        sleep = self._sleep = asyncio.create_task(self._clock.sleep(wait_s), name=name)
        try:
            await asyncio.wait([sleep])  # a write cancels it, which is no error here
        finally:
            self._sleep = None
            sleep.cancel()

    def _again(self, turn: _Turn) -> None:
        """Its next turn on the grid; those that have passed meanwhile are skipped."""
        now, period_s = self._clock.mono_s(), turn.request.period_s
        release_s = turn.release_s + period_s
        if release_s < now:
            skipped = -int((release_s - now) // period_s)  # rounded up
            if not turn.device.figures.overruns:
                log.warning("%s: turns are skipped, the line is too slow for the periods", turn.device.device.id)
            turn.device.figures.overruns += skipped
            release_s += skipped * period_s
        if turn.misses >= SILENT_AFTER:
            release_s = max(release_s, now + self._pause(turn.misses))
        self._schedule(turn, release_s)

    def _pause(self, misses: int) -> float:
        """How long to leave alone what has missed so many answers: 1 s after two, doubling, with jitter."""
        doubled = FIRST_PAUSE_S * 2.0 ** min(max(misses - SILENT_AFTER, 0), 16)
        return min(doubled, LONGEST_PAUSE_S) * self._rng.uniform(0.75, 1.0)

    # One exchange.

    async def _serve(self, entry: _Write) -> None:
        if entry.done.done():  # whoever asked has gone
            return
        began_s = self._clock.mono_s()
        try:
            value = await self._link.write(entry.device, entry.point, entry.value)
        except DriverError as error:
            if not entry.done.done():
                entry.done.set_exception(error)
            if isinstance(error, ConnectionDown):
                raise
        else:
            if not entry.done.done():
                entry.done.set_result(value)
        finally:
            self._refuse(entry)  # where it was cut off
        self.figures.writes += 1
        now = self._clock.mono_s()
        self.figures.busy.add(now, now - began_s)

    async def _read(self, turn: _Turn) -> None:
        began_s = self._clock.mono_s()
        turn.ticket = -1
        try:
            batch = await self._link.read(turn.request)
        except DeviceSilent as error:
            self._spent(began_s)
            self._missed(turn, str(error))
        except (BadAnswer, Refused) as error:
            self._spent(began_s)
            self._unusable(turn, str(error))
        else:
            turn.device.figures.answered.add(self._clock.mono_s(), self._spent(began_s))
            self._answered(turn, batch)

    def _spent(self, began_s: float) -> float:
        now = self._clock.mono_s()
        self.figures.busy.add(now, now - began_s)
        return now - began_s

    # What an answer, or none, means.

    def _answered(self, turn: _Turn, batch: Batch) -> None:
        turn.misses = 0
        turn.values, turn.quality = batch.values, batch.quality
        self._known[turn.request.block] = batch.values
        turn.device.figures.answers += 1
        if all(each.quality in (None, Quality.GOOD) for each in turn.device.turns):
            turn.device.figures.reason = ""
        self._alive(turn)
        self._emit(batch)

    def _unusable(self, turn: _Turn, reason: str) -> None:
        turn.device.figures.bad_answers += 1
        turn.device.figures.reason = reason
        if self._worth_a_line(turn):
            log.warning("%s", reason)
        turn.misses = 0
        self._alive(turn)
        self._mark(turn, Quality.UNCERTAIN_STALE)

    def _alive(self, turn: _Turn) -> None:
        """The device has answered something: its next turns."""
        device, was, since_s = turn.device, turn.device.figures.state, turn.device.figures.since_s
        device.misses = 0
        self._state(device, "answering")
        if was in ("waiting", "answering"):
            self._again(turn)
            return
        now = self._clock.mono_s()
        if was == "silent":
            log.info("%s answers again after %.0f s", device.device.id, now - since_s)
        for each in device.turns:
            if was == "silent":
                each.misses = 0
            if each is turn:
                self._again(each)
            else:
                self._schedule(each, now if each.misses < SILENT_AFTER else now + self._pause(each.misses))

    def _missed(self, turn: _Turn, reason: str) -> None:
        device = turn.device
        turn.misses += 1
        device.misses += 1
        device.figures.timeouts += 1
        device.figures.reason = reason
        if device.misses < SILENT_AFTER:
            self._mark(turn, Quality.UNCERTAIN_STALE if turn.misses < SILENT_AFTER else Quality.BAD_COMM)
            self._state(device, "doubtful")
        else:
            if device.figures.state != "silent" and self._worth_a_line(device):
                log.warning("%s", reason)
            self._state(device, "silent")
            for each in device.turns:
                self._mark(each, Quality.BAD_COMM)
        self._probe(device)

    def _probe(self, device: _Asked) -> None:
        """All its turns wait but one: that which has been missed least.

        A silent device's stands behind all that is due, unless it has waited for as long as the longest pause.
        """
        for each in device.turns:
            each.ticket = -1
        probe = min(device.turns, key=lambda each: each.misses)
        release_s = self._clock.mono_s() + self._pause(device.misses)
        self._schedule(probe, release_s, release_s + LONGEST_PAUSE_S if device.misses >= SILENT_AFTER else None)

    def _mark(self, turn: _Turn, quality: Quality) -> None:
        """Tell once that a block's last values have another quality now. What was never read is bad/comm."""
        if turn.values is None:
            quality = Quality.BAD_COMM
        if turn.quality is quality:
            return
        turn.quality = quality
        block = turn.request.block
        values = (None,) * len(block.points) if turn.values is None else turn.values
        self._emit(Batch(block, values, self._clock.wall_ns(), self._clock.mono_s(), quality))

    def _worth_a_line(self, trouble: _Turn | _Asked) -> bool:
        now = self._clock.mono_s()
        if now - trouble.logged_s < _LOG_AGAIN_S:
            return False
        trouble.logged_s = now
        return True

    def _state(self, device: _Asked, state: DeviceState) -> None:
        if device.figures.state != state:
            device.figures.state, device.figures.since_s = state, self._clock.mono_s()
