"""Polls one open connection: whose turn it is, and who asks.

What comes in: a polled link, the requests planned for its devices, writes from the desk. What goes out: requests and
writes, one after the other; what comes of them is told to `outcomes`, which hands the batches on. Writes first, then
probes of silent devices in time that no reading needs (`probes`), then the turns as `agenda` orders them. One request
is out at a time, or as many as the link allows: then so many workers do the same beside each other, and still at most
one is a probe. Where a device has neighbours, it is waited for no longer than its own answers have taught (`waits`).

All waiting is done on the given clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivers.driver import BriskLink, Clock, ConnectionDown, DriverError, PolledLink, Request
from drivers.point import Batch, Block, Device, Point, Value
from edge.acquisition.agenda import Agenda, Asked, Turn
from edge.acquisition.brisk import IDLE_S, Brisk
from edge.acquisition.figures import ConnectionFigures, DeviceFigures, Window
from edge.acquisition.hangups import LAST_S, Hangups
from edge.acquisition.outcomes import Outcomes
from edge.acquisition.patience import Patience
from edge.acquisition.probes import PROBE_SHARE, Probes, probe
from edge.acquisition.waits import Waits

Values = tuple[Value, ...]

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Write:
    device: Device
    point: Point
    value: Value
    done: asyncio.Future[Value]


class Poller:
    """Everything that is asked of one open connection goes through here."""

    __slots__ = (
        "_agenda", "_brisk", "_clock", "_devices", "_ended", "_hangups", "_link", "_loop", "_mono_s", "_outcomes",
        "_patience", "_probes", "_rng", "_several", "_sleepers", "_waits", "_writes", "figures",
    )  # fmt: skip

    def __init__(
        self,
        link: PolledLink,
        requests: Sequence[Request],
        clock: Clock,
        emit: Callable[[Batch], None],
        rng: random.Random | None = None,
        before: Poller | None = None,
        urgent: Collection[str] = (),
        probe_share: float = PROBE_SHARE,
        phase_s: float = 0.0,
    ) -> None:
        """`before`: the poller of the same connection until it was lost; its values and figures go on.
        `urgent`: ids of the points that alarm rules look at; their blocks go first.
        `phase_s`: turns come at multiples of their period after this time, on all connections alike.
        """
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._mono_s = clock.mono_s
        self._several = link.at_once > 1
        self._writes: deque[_Write] = deque()
        self._sleepers: list[asyncio.Future[None]] = []
        """One for each worker that sleeps; by this it is woken."""
        self._ended = False
        now = clock.mono_s()
        self.figures: ConnectionFigures = (
            before.figures if before else ConnectionFigures(Window(now, link.at_once), Window(now))
        )
        known = {turn.request.block: turn.values for turn in before._turns()} if before else {}
        self._patience: dict[str, Patience] = before._patience if before else {}
        self._hangups: Hangups = before._hangups if before else Hangups()
        self._rng = rng = rng or random.Random()
        self._devices = self._by_device(requests, frozenset(urgent), now, known)
        ready = self._ready if self._several else None
        self._agenda = Agenda(link.at_once, ready)
        self._waits = Waits(alone=len(self._devices) == 1)
        self._probes = Probes(
            self._agenda, self._waits, self._devices, self.figures.probing, probe_share, ready
        )  # fmt: skip
        self._outcomes = Outcomes(
            link, self._agenda, self._probes, self._waits, self._hangups, clock, emit, rng, phase_s
        )
        self._brisk: Brisk | None = None
        if isinstance(link, BriskLink):
            self._brisk = Brisk(
                link, self._agenda, clock,
                probes=self._probes,
                timeout_s=None if self._waits.alone else self._waits.timeout_s,
                answered=self._outcomes.answered, failed=self._outcomes.failed,
            )  # fmt: skip

    def _turns(self) -> Iterator[Turn]:
        return (turn for device in self._devices for turn in device.turns)

    def _by_device(
        self, requests: Sequence[Request], urgent: Collection[str], now: float, known: Mapping[Block, Values | None]
    ) -> list[Asked]:
        devices: dict[object, Asked] = {}
        for request in requests:
            name = request.device.id
            if request.period_s <= 0:
                raise ValueError(f"{name}: a request without a period cannot be polled")
            lane = request.device if request.lane is None else request.lane
            if lane not in devices:
                devices[lane] = Asked([], [], self._patience.setdefault(name, Patience()))
            device = devices[lane]
            windows = Window(now, self._link.at_once), Window(now, self._link.at_once)
            figures = self.figures.devices.setdefault(name, DeviceFigures(*windows))
            if name not in device.names:
                figures.state, figures.since_s = "waiting", now
                device.names.append(name)
                device.figures.append(figures)
            first = any(point.id in urgent for point in request.block.points)
            device.turns.append(Turn(request, device, figures, first, values=known.get(request.block)))
        return list(devices.values())

    async def run(self) -> None:
        """Poll until the connection is lost: raises `ConnectionDown`, and so do all writes that still wait."""
        now = self._mono_s()
        for device in self._devices:
            pause_s = self._hangups.pause_s(device, self._rng)
            if pause_s > LAST_S:
                self._leave_alone(device, pause_s)
            for each in device.turns:
                self._agenda.schedule(each, now + pause_s)
        try:
            await self._together(self._link.at_once)
        except ConnectionDown:
            if not self._several and not self._waits.alone:
                self._hangups.ended(self._devices, self._mono_s())
            raise
        finally:
            self._ended = True
            while self._writes:
                self._refuse(self._writes.popleft())

    def _leave_alone(self, device: Asked, pause_s: float) -> None:
        """Tell of a device that its connection does not survive."""
        names = ", ".join(device.names)
        reason = (
            f"{names}: the connection ended each time that it was asked; it is left alone for {pause_s:.0f} s, so "
            "that the others are read; check its power and wiring, and how the gateway treats devices that are silent"
        )
        log.warning("%s", reason)
        for figures in device.figures:
            figures.reason = reason

    async def _work(self) -> None:
        """One thing after the other, for ever."""
        while True:
            if self._writes:
                if (entry := self._next_write()) is not None:
                    await self._serve(entry)
                else:  # nothing else begins before it, and whoever ends what is out looks
                    await (woken := self._asleep())
                    self._awake(woken)
            elif self._probes.queue and self._probes.time_to(self._mono_s()):
                await self._try(self._probes.take())
            elif (turn := self._agenda.take(self._mono_s())) is not None:
                await self._read(turn, self._waits.timeout_s(turn.device))
            elif self._brisk is not None and not self._probes.queue:
                await self._brisk.run()
            else:
                await (woken := self._idle())
                self._awake(woken)

    async def _together(self, workers: int) -> None:
        """As many things at once, each by a task of its own; ends with the first that fails."""
        task = asyncio.current_task()
        name = task.get_name() if task else None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(), name=name)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write a value ahead of all reads and return what the device reads back. Raises the four errors."""
        entry = _Write(device, point, value, asyncio.get_running_loop().create_future())
        if self._ended:
            self._refuse(entry)
        else:
            self._writes.append(entry)
            self._rouse()
        return await entry.done

    def _refuse(self, entry: _Write) -> None:
        if not entry.done.done():
            entry.done.set_exception(ConnectionDown(f"{entry.point.id}: not written, the connection is down"))

    def _rouse(self) -> None:
        """Let one worker that sleeps look again."""
        if self._brisk is not None:
            self._brisk.stop()
        while self._sleepers:
            woken = self._sleepers.pop()
            if not woken.done():
                woken.set_result(None)
                return

    def _rouse_next(self) -> None:
        """One begins something: another one looks what is next."""
        if self._several:
            self._rouse()

    # Whose turn it is.

    def _ready(self, turn: Turn) -> bool:
        """Whether it may be sent beside those that are out."""
        return self._link.ready(turn.request.device)

    def _next_write(self) -> _Write | None:
        """The first that may be sent now."""
        for entry in self._writes:
            if not self._several or entry.done.done() or self._link.ready(entry.device, write=True):
                self._writes.remove(entry)
                return entry
        return None

    def _idle(self) -> asyncio.Future[None]:
        """Done when the next turn comes, or a write does."""
        wake_s = min(self._agenda.next_release_s(), self._mono_s() + IDLE_S)
        if (probe_s := self._probes.wake_s()) is not None:
            wake_s = min(wake_s, probe_s)
        woken = self._asleep()
        self._clock.wake(woken, wake_s)
        return woken

    def _asleep(self) -> asyncio.Future[None]:
        """Done when one is roused."""
        woken = self._loop.create_future()
        self._sleepers.append(woken)
        return woken

    def _awake(self, woken: asyncio.Future[None]) -> None:
        """One that has slept need not be roused any more."""
        if woken in self._sleepers:
            self._sleepers.remove(woken)

    # One exchange.

    async def _serve(self, entry: _Write) -> None:
        if entry.done.done():  # whoever asked has gone
            return
        self._rouse_next()
        began_s = self._mono_s()
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
        now = self._mono_s()
        self.figures.writing.add(now, now - began_s)

    async def _try(self, device: Asked) -> None:
        """Probe a silent device; with more patience than usual where there is time for that."""
        began_s = self._mono_s()
        turn = probe(device)
        self._agenda.drop(turn)
        turn.release_s = began_s  # its turns of the meantime were not skipped, they were not wanted
        timeout_s, wide = self._probes.patience(turn, began_s)
        self._probes.out = True
        try:
            await self._read(turn, timeout_s)
        finally:
            self._probes.out = False
        if device.misses:  # one that is answered costs nothing: it is a reading
            now = self._mono_s()
            self._probes.spent(now, now - began_s, wide=wide)

    async def _read(self, turn: Turn, timeout_s: float | None) -> None:
        began_s = turn.asked_s = turn.device.asked_s = self._mono_s()
        if self._several:
            self._rouse_next()
        turn.out = True
        try:
            try:
                batch = await self._link.read(turn.request, timeout_s)
            finally:
                turn.out = False
        except DriverError as error:
            self._outcomes.failed(turn, error, began_s)
        else:
            self._outcomes.answered(turn, batch, batch.mono_s - began_s)
