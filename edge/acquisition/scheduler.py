"""Polls one open connection: whose turn it is, and what a device that does not answer may cost the others.

What comes in: a polled link, the requests planned for its devices, writes from the desk. What goes out: batches,
and figures of how it goes. Writes first, then the turns as `agenda` orders them. One request is out at a time, or
as many as the link allows: then so many workers do the same beside each other, and still at most one is a probe.

- A request has a turn each period, on a fixed grid. A turn that comes while the one before is late or still
  running is skipped and counted as an overrun.
- Where a device has neighbours, it is waited for no longer than its own answers have taught (`patience`).
- After a time-out the device's other requests wait and one alone is tried again; after the second in a row all
  its points go bad/comm, once, with their last values, and it is probed: at growing jittered pauses of at most
  2.2 s, in time that no reading needs to be in time, within a small share of the wire (`probes`). The share wins
  where many devices are dead: then each is found later. When one answers, all its requests resume at once.
- A single time-out, or an answer that cannot be used, makes that block uncertain/stale, once. A block that stays
  unanswered while its device answers others goes bad/comm and is asked at growing pauses too.

All waiting is done on the given clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivers.driver import (
    BadAnswer,
    BriskLink,
    Clock,
    ConnectionDown,
    DeviceSilent,
    DriverError,
    PolledLink,
    Refused,
    Request,
)
from drivers.point import Batch, Block, Device, Point, Quality, Value
from edge.acquisition.agenda import Agenda, Asked, Turn
from edge.acquisition.brisk import IDLE_S, Brisk
from edge.acquisition.figures import ConnectionFigures, DeviceFigures, DeviceState, Window
from edge.acquisition.patience import Patience
from edge.acquisition.probes import PROBE_SHARE, Probes

FIRST_PAUSE_S = 1.0
_LEAST_PAUSE_S = 0.5
PROBE_PAUSE_S = 2.2
"""The longest pause before a silent device is tried again, so that it is found within 3 s of its return."""
LONGEST_PAUSE_S = 30.0
"""Between attempts at a block that a living device does not answer; and for how long a line that has no time to
spare can put off a probe."""
SILENT_AFTER = 2
"""Time-outs in a row that make a device silent."""
_UNKNOWN_S = 1.0
"""What a probe is expected to cost while no device has taught anything else."""
_BUSY_S = 0.25
"""So long after it is due, a probe no longer waits for a moment without turns, if it makes none of them late."""
_LOOK_AGAIN_S = 0.05
"""Until when a probe that found no time to spare looks again."""
_LOG_AGAIN_S = 3600.0
"""The same trouble is counted each time, and logged once an hour at most."""

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
        "_agenda", "_alone", "_brisk", "_clock", "_common", "_devices", "_emit", "_ended", "_link", "_look_s",
        "_loop", "_mono_s", "_patience", "_phase_s", "_probes", "_probing", "_rng", "_several", "_sleepers",
        "_writes", "figures",
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
        self._phase_s = phase_s
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._mono_s = clock.mono_s
        self._emit = emit
        self._rng = rng or random.Random()
        self._several = link.at_once > 1
        self._agenda = Agenda(link.at_once, self._ready if self._several else None)
        self._probes = Probes(probe_share)
        self._look_s = 0.0
        """Not before this is it worth looking for time to spare again."""
        self._writes: deque[_Write] = deque()
        self._sleepers: list[asyncio.Future[None]] = []
        """One for each worker that sleeps; by this it is woken."""
        self._probing = False
        """A probe is out."""
        self._ended = False
        now = clock.mono_s()
        self.figures: ConnectionFigures = (
            before.figures if before else ConnectionFigures(Window(now, link.at_once), Window(now))
        )
        known = {turn.request.block: turn.values for turn in before._turns()} if before else {}
        self._patience: dict[str, Patience] = before._patience if before else {}
        self._common = Patience()
        """What all devices of the line have taught; for those that have never answered."""
        self._devices = self._by_device(requests, frozenset(urgent), now, known)
        self._alone = len(self._devices) == 1
        """Nobody else waits while the only device of the line is waited for."""
        self._brisk: Brisk | None = None
        if isinstance(link, BriskLink):
            self._brisk = Brisk(
                link, self._agenda, clock,
                writes=self._writes, probes=self._probes, timeout_s=None if self._alone else self._timeout_s,
                answered=self._answered, failed=self._failed,
            )  # fmt: skip

    def _turns(self) -> Iterator[Turn]:
        return (turn for device in self._devices for turn in device.turns)

    def _by_device(
        self, requests: Sequence[Request], urgent: Collection[str], now: float, known: Mapping[Block, Values | None]
    ) -> list[Asked]:
        devices: dict[Device, Asked] = {}
        for request in requests:
            name = request.device.id
            if request.period_s <= 0:
                raise ValueError(f"{name}: a request without a period cannot be polled")
            if request.device not in devices:
                windows = Window(now, self._link.at_once), Window(now, self._link.at_once)
                figures = self.figures.devices.setdefault(name, DeviceFigures(*windows))
                figures.state, figures.since_s = "waiting", now
                patience = self._patience.setdefault(name, Patience())
                devices[request.device] = Asked(request.device, figures, patience)
            device = devices[request.device]
            first = any(point.id in urgent for point in request.block.points)
            device.turns.append(Turn(request, device, first, values=known.get(request.block)))
        return list(devices.values())

    async def run(self) -> None:
        """Poll until the connection is lost: raises `ConnectionDown`, and so do all writes that still wait."""
        now = self._mono_s()
        for each in self._turns():
            self._agenda.schedule(each, now)
        try:
            await self._together(self._link.at_once)
        finally:
            self._ended = True
            while self._writes:
                self._refuse(self._writes.popleft())

    async def _work(self) -> None:
        """One thing after the other, for ever."""
        while True:
            if self._writes:
                if (entry := self._next_write()) is not None:
                    await self._serve(entry)
                else:  # nothing else begins before it
                    await (woken := self._idle())
                    self._awake(woken)
            elif self._probes.queue and self._time_to_probe():
                await self._try(self._probes.take())
            elif (turn := self._agenda.take(self._mono_s())) is not None:
                await self._read(turn, self._timeout_s(turn.device))
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
        return self._link.ready(turn.device.device)

    def _next_write(self) -> _Write | None:
        """The first that may be sent now."""
        for entry in self._writes:
            if not self._several or entry.done.done() or self._link.ready(entry.device, write=True):
                self._writes.remove(entry)
                return entry
        return None

    def _time_to_probe(self) -> bool:
        """Whether a silent device may be tried now: pause and share allow it, and no reading is late by it."""
        now = self._mono_s()
        due_s = self._probes.next_s(limited=self._anybody())
        if due_s is None or now < due_s or now < self._look_s:
            return False
        since_s, device = self._probes.first()
        if self._several and (self._probing or not self._link.ready(device.device)):
            return False
        waits_s = now - since_s
        if waits_s < _BUSY_S and self._agenda.first(now) is not None:
            return False
        if waits_s > LONGEST_PAUSE_S or self._agenda.spare_s(now) >= self._probe(device).request.wire_s + (
            self._probe_s(device) or _UNKNOWN_S
        ):
            return True
        self._look_s = now + _LOOK_AGAIN_S
        return False

    def _anybody(self) -> bool:
        """Whether any device might answer; while none does, the wire's time is nobody's."""
        return any(device.misses < SILENT_AFTER for device in self._devices)

    def _timeout_s(self, device: Asked) -> float | None:
        """How long to wait for a device; None for as long as the connection allows, where nobody else waits.

        One that has never answered is given all the time once, then twice what its neighbours are.
        """
        if self._alone:
            return None
        usual_s = device.patience.usual_s
        if usual_s is not None or not device.misses:
            return usual_s
        common_s = self._common.usual_s
        return None if common_s is None else 2 * common_s

    def _probe_s(self, device: Asked) -> float | None:
        """How long to wait for a silent device: as it has taught us, else as its neighbours have."""
        if self._alone:
            return None
        return device.patience.probe_s or self._common.probe_s

    @staticmethod
    def _probe(device: Asked) -> Turn:
        """What a device is tried with: that which has been missed least, and takes least."""
        return min(
            (each for each in device.turns if not each.out), key=lambda each: (each.misses, each.request.wire_s)
        )

    def _idle(self) -> asyncio.Future[None]:
        """Done when the next turn comes, or a write does."""
        now = self._mono_s()
        wake_s = self._agenda.next_release_s()
        if wake_s is None:
            wake_s = now + IDLE_S
        if self._probes.queue and (probe_s := self._probes.next_s(limited=self._anybody())) is not None:
            wake_s = min(wake_s, max(probe_s, self._look_s))
        woken = self._loop.create_future()
        self._sleepers.append(woken)
        self._clock.wake(woken, max(0.0, wake_s - now))
        return woken

    def _awake(self, woken: asyncio.Future[None]) -> None:
        """One that has slept need not be roused any more."""
        if woken in self._sleepers:
            self._sleepers.remove(woken)

    def _again(self, turn: Turn) -> None:
        """Its next turn on the grid; those that have passed meanwhile are skipped."""
        now, period_s = self._mono_s(), turn.request.period_s
        release_s = turn.release_s + period_s
        if release_s >= now and turn.placed and not turn.misses:
            self._agenda.schedule(turn, release_s)
            return
        late = release_s < now
        if not turn.placed:  # from the first turn, which came when it could, onto the grid
            turn.placed = True
            release_s -= (release_s - self._phase_s) % period_s
        if release_s < now:
            skipped = -int((release_s - now) // period_s)  # rounded up
            if late:
                self._overran(turn.device, skipped)
            release_s += skipped * period_s
        if turn.misses >= SILENT_AFTER:
            release_s = max(release_s, now + self._pause(turn.misses, LONGEST_PAUSE_S))
        self._agenda.schedule(turn, release_s)

    def _overran(self, device: Asked, turns: int) -> None:
        if not device.figures.overruns:
            log.warning("%s: turns are skipped, the line is too slow for the periods", device.device.id)
        device.figures.overruns += turns

    def _pause(self, misses: int, longest_s: float) -> float:
        """How long to leave alone what has missed so many answers: 1 s after two, doubling, with jitter."""
        doubled = FIRST_PAUSE_S * 2.0 ** min(max(misses - SILENT_AFTER, 0), 16)
        return min(doubled, longest_s) * self._rng.uniform(0.75, 1.0)

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
        turn, timeout_s = self._probe(device), self._probe_s(device)
        self._agenda.drop(turn)
        turn.release_s = began_s  # its turns of the meantime were not skipped, they were not wanted
        wide = timeout_s is not None and self._probes.wide(began_s)
        if wide:
            more_s = self._agenda.spare_s(began_s) / 2 - turn.request.wire_s
            wide, timeout_s = more_s > (timeout_s or 0), max(more_s, timeout_s or 0)
        self._probing = True
        try:
            await self._read(turn, timeout_s)
        finally:
            self._probing = False
        if device.misses:  # one that is answered costs nothing: it is a reading
            now = self._mono_s()
            self.figures.probing.add(now, now - began_s)
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
            self._failed(turn, error, began_s)
        else:
            self._answered(turn, batch, batch.mono_s - began_s)

    def _failed(self, turn: Turn, error: DriverError, began_s: float) -> None:
        """No answer, or none that can be used. Raises what is no matter of this turn alone."""
        if isinstance(error, DeviceSilent):
            self._spent(turn.device, began_s)
            self._missed(turn, str(error))
        elif isinstance(error, BadAnswer | Refused):
            self._spent(turn.device, began_s)
            self._unusable(turn, str(error))
        else:
            raise error

    def _spent(self, device: Asked, began_s: float) -> None:
        now = self._mono_s()
        device.figures.unanswered.add(now, now - began_s)

    # What an answer, or none, means.

    def _answered(self, turn: Turn, batch: Batch, took_s: float) -> None:
        device = turn.device
        figures = device.figures
        figures.answered.add(batch.mono_s, took_s)
        figures.answers += 1
        if not self._alone:  # who is alone is waited for as long as the connection allows
            delay_s = took_s - turn.request.wire_s
            device.patience.answered(delay_s)
            self._common.answered(delay_s)
        turn.misses = 0
        turn.values, turn.quality = batch.values, batch.quality
        if figures.reason and all(each.quality in (None, Quality.GOOD) for each in device.turns):
            figures.reason = ""
        if figures.state == "answering":
            device.misses = 0
            self._again(turn)
        else:
            self._alive(turn)
        self._emit(batch)

    def _unusable(self, turn: Turn, reason: str) -> None:
        turn.device.figures.bad_answers += 1
        turn.device.figures.reason = reason
        if self._worth_a_line(turn):
            log.warning("%s", reason)
        turn.misses = 0
        self._alive(turn)
        self._mark(turn, Quality.UNCERTAIN_STALE)

    def _alive(self, turn: Turn) -> None:
        """The device has answered something: its next turns."""
        device, was, since_s = turn.device, turn.device.figures.state, turn.device.figures.since_s
        device.misses = 0
        if was == "answering":
            self._again(turn)
            return
        self._state(device, "answering")
        if was == "waiting":
            self._again(turn)
            return
        now = self._mono_s()
        if was == "doubtful":
            device.patience.hasty()
        if was == "silent":
            log.info("%s answers again after %.0f s", device.device.id, now - since_s)
            self._probes.drop(device)
        for each in device.turns:
            if was == "silent":
                each.misses = 0
            if each is turn:
                self._again(each)
            elif not each.out:
                alone_s = 0.0 if each.misses < SILENT_AFTER else self._pause(each.misses, LONGEST_PAUSE_S)
                self._agenda.schedule(each, now + alone_s)

    def _missed(self, turn: Turn, reason: str) -> None:
        device = turn.device
        turn.misses += 1
        device.figures.timeouts += 1
        device.figures.reason = reason
        if turn.asked_s < device.missed_s:
            self._missed_too(turn)
            return
        device.misses += 1
        device.missed_s = self._mono_s()
        if device.misses < SILENT_AFTER:
            self._mark(turn, Quality.UNCERTAIN_STALE if turn.misses < SILENT_AFTER else Quality.BAD_COMM)
            self._state(device, "doubtful")
        else:
            if device.figures.state != "silent" and self._worth_a_line(device):
                log.warning("%s", reason)
            self._state(device, "silent")
            for each in device.turns:
                self._mark(each, Quality.BAD_COMM)
        self._leave(device)

    def _missed_too(self, turn: Turn) -> None:
        """It was out already when its device was found not to answer: the same silence, noted once."""
        state = turn.device.figures.state
        bad = state == "silent" or turn.misses >= SILENT_AFTER
        self._mark(turn, Quality.BAD_COMM if bad else Quality.UNCERTAIN_STALE)
        if state == "answering":  # it has answered something else meanwhile
            self._again(turn)

    def _leave(self, device: Asked) -> None:
        """All its turns wait but one; that of a silent device is a probe."""
        for each in device.turns:
            self._agenda.drop(each)
        now, pause_s = self._mono_s(), self._pause(device.misses, PROBE_PAUSE_S)
        if device.misses < SILENT_AFTER:
            self._agenda.schedule(self._probe(device), now + max(pause_s, self._link.settle_s))
        else:  # counted from the request, which a device that returns has not heard
            self._probes.add(device, max(device.asked_s + pause_s, now + max(_LEAST_PAUSE_S, self._link.settle_s)))

    def _mark(self, turn: Turn, quality: Quality) -> None:
        """Tell once that a block's last values have another quality now. What was never read is bad/comm."""
        if turn.values is None:
            quality = Quality.BAD_COMM
        if turn.quality is quality:
            return
        turn.quality = quality
        block = turn.request.block
        values = (None,) * len(block.points) if turn.values is None else turn.values
        self._emit(Batch(block, values, self._clock.wall_ns(), self._mono_s(), quality))

    def _worth_a_line(self, trouble: Turn | Asked) -> bool:
        now = self._mono_s()
        if now - trouble.logged_s < _LOG_AGAIN_S:
            return False
        trouble.logged_s = now
        return True

    def _state(self, device: Asked, state: DeviceState) -> None:
        if device.figures.state != state:
            device.figures.state, device.figures.since_s = state, self._mono_s()
