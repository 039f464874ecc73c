"""Which silent device is tried when, and what share of the wire that may take. Pure.

What comes in: devices that have fallen silent, with the time of their next probe, and what each probe has cost.
What goes out: the device whose turn it is, as soon as no reading is late by it. After a probe the next one of the
connection waits until all of them together have taken no more than their share of the time; where a gateway goes on
waiting for a device that was given up, what it then keeps others waiting counts too. Now and then one is given
longer than the device has been known to need, in time that is to spare, so that a slower device in its place is found
too; these have a share of their own, a tenth.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection

from edge.acquisition.agenda import Agenda, Asked, Turn
from edge.acquisition.figures import Window
from edge.acquisition.waits import Waits

PROBE_SHARE = 0.05
"""Of the wire's time, for all probes of a connection together."""
LONGEST_PAUSE_S = 30.0
"""Between attempts at a block that a living device does not answer; and for how long a line that has no time to
spare can put off a probe."""
SILENT_AFTER = 2
"""Time-outs in a row that make a device silent."""
_WIDE_PART = 0.1
_CREDIT_S = 2.0
"""Of so much time the share may be saved up, so that two devices whose probes fall together need not wait."""
_UNKNOWN_S = 1.0
"""What a probe is expected to cost while no device has taught anything else."""
_BUSY_S = 0.25
"""So long after it is due, a probe no longer waits for a moment without turns, if it makes none of them late."""
_LOOK_AGAIN_S = 0.05
"""Until when a probe that found no time to spare looks again."""


class Probes:
    """The silent devices of one connection."""

    __slots__ = (
        "_agenda", "_devices", "_free_s", "_held_s", "_look_s", "_order", "_probing", "_ready", "_tight", "_waits",
        "_wide", "_wide_free_s", "out", "queue",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        waits: Waits,
        devices: Collection[Asked],
        probing: Window,
        share: float = PROBE_SHARE,
        ready: Callable[[Turn], bool] | None = None,
    ) -> None:
        """`probing`: counts what probes cost. `ready`: whether a request may go beside those that are out, where
        there may be several."""
        self._agenda = agenda
        self._waits = waits
        self._devices = devices
        self._probing = probing
        self._tight, self._wide = share * (1 - _WIDE_PART), share * _WIDE_PART
        self._ready = ready
        self._order = itertools.count()
        self.queue: list[tuple[float, int, Asked]] = []
        """Who is to be tried, and from when on."""
        self.out = False
        """One is being tried."""
        self._free_s = self._wide_free_s = float("-inf")
        self._held_s = 0.0
        """How long the others have lately been kept waiting after a probe."""
        self._look_s = 0.0
        """Not before this is it worth looking for time to spare again."""

    def add(self, device: Asked, due_s: float) -> None:
        """Try it from then on."""
        heapq.heappush(self.queue, (due_s, next(self._order), device))

    def drop(self, device: Asked) -> None:
        """It has answered before it was tried."""
        self.queue = [entry for entry in self.queue if entry[2] is not device]
        heapq.heapify(self.queue)

    def time_to(self, now: float) -> bool:
        """Whether the next may be tried now: pause and share allow it, and no reading is late by it."""
        due_s = self._due_s()
        if due_s is None or now < due_s or now < self._look_s:
            return False
        if self._held_up():
            return False
        since_s, _, device = self.queue[0]
        turn = probe(device)
        waits_s = now - since_s
        if waits_s < _BUSY_S and self._agenda.first(now) is not None:
            return False
        needed_s = turn.request.wire_s + (self._waits.probe_s(device) or _UNKNOWN_S) + self._held_s
        if waits_s > LONGEST_PAUSE_S or self._agenda.spare_s(now) >= needed_s:
            return True
        self._look_s = now + _LOOK_AGAIN_S
        return False

    def wake_s(self) -> float | None:
        """When it is worth looking again; None where nobody can be tried before something that is out has ended."""
        due_s = self._due_s()
        if due_s is None or self._held_up():
            return None
        return max(due_s, self._look_s)

    def take(self) -> Asked:
        """The next, which is tried now."""
        return heapq.heappop(self.queue)[2]

    def patience(self, turn: Turn, now: float) -> tuple[float | None, bool]:
        """How long the one that is tried may take, and whether that is more than is known of it."""
        tight_s = self._waits.probe_s(turn.device)
        if tight_s is None or now < self._wide_free_s:
            return tight_s, False
        more_s = self._agenda.spare_s(now) / 2 - turn.request.wire_s
        return max(more_s, tight_s), more_s > tight_s

    def spent(self, now: float, cost_s: float, *, wide: bool) -> None:
        """A probe has ended. While no device might answer, its time was nobody's."""
        self._probing.add(now, cost_s)
        self._held_s /= 2  # told anew where it is so again
        if wide:
            self._wide_free_s = now - cost_s + cost_s / self._wide
        elif self._anybody():
            self._charge(now, cost_s)

    def held_up(self, now: float, cost_s: float) -> None:
        """An answer has come so much too late: its gateway was still waiting for a device that is silent."""
        self._probing.add(now, cost_s)
        self._held_s = cost_s
        self._charge(now, cost_s)

    def _charge(self, now: float, cost_s: float) -> None:
        self._free_s = max(self._free_s, now - cost_s - _CREDIT_S) + cost_s / self._tight

    def _due_s(self) -> float | None:
        """When the next may be tried; the share is no limit where the wire has nothing else to do."""
        if not self.queue:
            return None
        due_s = self.queue[0][0]
        return max(due_s, self._free_s) if self._anybody() else due_s

    def _held_up(self) -> bool:
        """Whether the next must wait for something that is out."""
        return self._ready is not None and (self.out or not self._ready(probe(self.queue[0][2])))

    def _anybody(self) -> bool:
        """Whether any device might answer; while none does, the wire's time is nobody's."""
        return any(device.misses < SILENT_AFTER for device in self._devices)


def probe(device: Asked) -> Turn:
    """What a device is tried with: that which has been missed least, and takes least."""
    return min((each for each in device.turns if not each.out), key=lambda each: (each.misses, each.request.wire_s))
