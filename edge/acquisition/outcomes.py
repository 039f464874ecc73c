"""What an answer, or none, means: for the device, for its next turns, and for what is known of its points.

What comes in: what each request has brought, and how long that took. What goes out: batches, the next turns on the
agenda, silent devices to be probed, and figures.

- A request has a turn each period, on a fixed grid. A turn that comes while the one before is late or still
  running is skipped and counted as an overrun.
- After a time-out the device's other requests wait and one alone is tried again; after the second in a row all
  its points go bad/comm, once, with their last values, and it is probed: at growing jittered pauses of at most
  2.2 s, as `probes` allows. When one answers, all its requests resume at once. Equipments that are parts of one
  device (the circuits of a relay module) are so together.
- A single time-out, or an answer that cannot be used, makes that block uncertain/stale, once. A block that stays
  unanswered while its device answers others goes bad/comm and is asked at growing pauses.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from drivers.driver import BadAnswer, Clock, DeviceSilent, DriverError, PolledLink, Refused
from drivers.point import Batch, Quality
from edge.acquisition.agenda import Agenda, Asked, Turn
from edge.acquisition.figures import DeviceState
from edge.acquisition.hangups import Hangups
from edge.acquisition.probes import LONGEST_PAUSE_S, SILENT_AFTER, Probes, probe
from edge.acquisition.waits import Waits

FIRST_PAUSE_S = 1.0
_LEAST_PAUSE_S = 0.5
PROBE_PAUSE_S = 2.2
"""The longest pause before a silent device is tried again, so that it is found within 3 s of its return."""
_LOG_AGAIN_S = 3600.0
"""The same trouble is counted each time, and logged once an hour at most."""

log = logging.getLogger(__name__)


class Outcomes:
    """Of all that is asked of one open connection."""

    __slots__ = (
        "_agenda", "_alone", "_clock", "_common", "_emit", "_hangups", "_link", "_mono_s", "_phase_s", "_probes",
        "_rng",
    )  # fmt: skip

    def __init__(
        self,
        link: PolledLink,
        agenda: Agenda,
        probes: Probes,
        waits: Waits,
        hangups: Hangups,
        clock: Clock,
        emit: Callable[[Batch], None],
        rng: random.Random,
        phase_s: float,
    ) -> None:
        """`phase_s`: turns come at multiples of their period after this time."""
        self._link = link
        self._agenda = agenda
        self._probes = probes
        self._hangups = hangups
        self._alone = waits.alone
        self._common = waits.common
        self._clock = clock
        self._mono_s = clock.mono_s
        self._emit = emit
        self._rng = rng
        self._phase_s = phase_s

    # What came, or did not.

    def answered(self, turn: Turn, batch: Batch, took_s: float) -> None:
        """An answer that can be used, so long after it was asked for."""
        device, figures = turn.device, turn.figures
        figures.answers += 1
        if self._alone:  # who is alone is waited for as long as the connection allows
            figures.answered.add(batch.mono_s, took_s)
        else:
            figures.answered.add(batch.mono_s, self._learn(turn, took_s, batch.mono_s))
        turn.misses = 0
        turn.values, turn.quality = batch.values, batch.quality
        if figures.reason and all(each.quality in (None, Quality.GOOD) for each in device.turns):
            figures.reason = ""
        if figures.state == "answering":
            device.misses = 0
            release_s = turn.release_s + turn.request.period_s
            if turn.placed and release_s >= batch.mono_s:  # as nearly always
                self._agenda.schedule(turn, release_s)
            else:
                self._again(turn)
        else:
            self._alive(turn)
        self._emit(batch)

    def _learn(self, turn: Turn, took_s: float, now: float) -> float:
        """What its delay teaches; how much of the time was its own."""
        delay_s, usual_s = took_s - turn.request.wire_s, turn.device.patience.usual_s
        if usual_s is not None and delay_s > usual_s and turn.figures.state == "answering":
            # Later than it would have been waited for: its link knew that a gateway still waited for another one.
            self._probes.held_up(now, delay_s)
            return turn.request.wire_s
        turn.device.patience.answered(delay_s)
        self._common.answered(delay_s)
        return took_s

    def failed(self, turn: Turn, error: DriverError, began_s: float) -> None:
        """No answer, or none that can be used. Raises what is no matter of this turn alone."""
        if isinstance(error, DeviceSilent):
            self._spent(turn, began_s)
            self._missed(turn, str(error))
        elif isinstance(error, BadAnswer | Refused):
            self._spent(turn, began_s)
            self._unusable(turn, str(error))
        else:
            raise error

    def _spent(self, turn: Turn, began_s: float) -> None:
        now = self._mono_s()
        turn.figures.unanswered.add(now, now - began_s)

    def _unusable(self, turn: Turn, reason: str) -> None:
        turn.figures.bad_answers += 1
        turn.figures.reason = reason
        if self._worth_a_line(turn):
            log.warning("%s", reason)
        turn.misses = 0
        self._alive(turn)
        self._mark(turn, Quality.UNCERTAIN_STALE)

    def _alive(self, turn: Turn) -> None:
        """The device has answered something: its next turns."""
        device, was, since_s = turn.device, turn.figures.state, turn.figures.since_s
        device.misses = 0
        if was == "answering":
            self._again(turn)
            return
        self._hangups.answered(device)
        self._state(device, "answering")
        if was == "waiting":
            self._again(turn)
            return
        now = self._mono_s()
        if was == "doubtful":
            device.patience.hasty()
        if was == "silent":
            log.info("%s answers again after %.0f s", ", ".join(device.names), now - since_s)
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
        turn.figures.timeouts += 1
        turn.figures.reason = reason
        if turn.asked_s < device.missed_s:
            self._missed_too(turn)
            return
        device.misses += 1
        device.missed_s = self._mono_s()
        self._hangups.missed(device)
        if device.misses < SILENT_AFTER:
            self._mark(turn, _after(turn, bad=turn.misses >= SILENT_AFTER))
            self._state(device, "doubtful")
        else:
            if turn.figures.state != "silent" and self._worth_a_line(device):
                log.warning("%s", reason)
            self._state(device, "silent")
            for figures in device.figures:
                figures.reason = reason
            for each in device.turns:
                self._mark(each, Quality.BAD_COMM)
        self._leave(device)

    def _missed_too(self, turn: Turn) -> None:
        """It was out already when its device was found not to answer: the same silence, noted once."""
        state = turn.figures.state
        self._mark(turn, _after(turn, bad=state == "silent" or turn.misses >= SILENT_AFTER))
        if state == "answering":  # it has answered something else meanwhile
            self._again(turn)

    def _leave(self, device: Asked) -> None:
        """All its turns wait but one; that of a silent device is a probe."""
        for each in device.turns:
            self._agenda.drop(each)
        now, pause_s = self._mono_s(), self._pause(device.misses, PROBE_PAUSE_S)
        if device.misses < SILENT_AFTER:
            self._agenda.schedule(probe(device), now + max(pause_s, self._link.settle_s))
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
        now = self._mono_s()
        for figures in device.figures:
            if figures.state != state:
                figures.state, figures.since_s = state, now

    # Its next turn.

    def _again(self, turn: Turn) -> None:
        """Its next turn on the grid; those that have passed meanwhile are skipped."""
        now, period_s = self._mono_s(), turn.request.period_s
        release_s = turn.release_s + period_s
        late = release_s < now
        if not turn.placed:  # from the first turn, which came when it could, onto the grid
            turn.placed = True
            release_s -= (release_s - self._phase_s) % period_s
        if release_s < now:
            skipped = -int((release_s - now) // period_s)  # rounded up
            if late:
                self._overran(turn, skipped)
            release_s += skipped * period_s
        if turn.misses >= SILENT_AFTER:
            release_s = max(release_s, now + self._pause(turn.misses, LONGEST_PAUSE_S))
        self._agenda.schedule(turn, release_s)

    def _overran(self, turn: Turn, turns: int) -> None:
        if not turn.figures.overruns:
            log.warning("%s: turns are skipped, the line is too slow for the periods", turn.request.device.id)
        turn.figures.overruns += turns

    def _pause(self, misses: int, longest_s: float) -> float:
        """How long to leave alone what has missed so many answers: 1 s after two, doubling, with jitter."""
        doubled = FIRST_PAUSE_S * 2.0 ** min(max(misses - SILENT_AFTER, 0), 16)
        return min(doubled, longest_s) * self._rng.uniform(0.75, 1.0)


def _after(turn: Turn, *, bad: bool) -> Quality:
    """What a time-out makes of a block. Bad ones, and those not read since the connection opened, stay bad."""
    return Quality.BAD_COMM if bad or turn.quality in (None, Quality.BAD_COMM) else Quality.UNCERTAIN_STALE
