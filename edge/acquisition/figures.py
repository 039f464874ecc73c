"""What polling costs and how devices answer: figures of one connection and of each device on it.

What comes in: how long each request took and how it ended. What goes out: numbers for the API, the metrics and
the health page. The wire's use is measured over a sliding minute, the rest is counted since the daemon's start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

DeviceState = Literal["waiting", "answering", "doubtful", "silent"]
"""Not asked yet; answering; has missed one answer; has missed two or more and is only probed."""

WINDOW_S = 60
_SLOT_S = 5
"""In pieces of so many seconds."""
_SLOTS = WINDOW_S // _SLOT_S


class Window:
    """Sums over the last minute: eleven whole slots and the one that runs."""

    __slots__ = ("_at_once", "_began_s", "_count", "_spent_s", "_sums", "_until_s")

    def __init__(self, now_s: float, at_once: int = 1) -> None:
        """`at_once`: how many pieces of work may go on at the same time."""
        self._began_s = now_s
        self._at_once = at_once
        self._sums: list[tuple[int, float, int]] = [(-1, 0.0, 0)] * _SLOTS
        """Of each slot: which it is, time spent in it, pieces of work that ended in it."""
        self._until_s = 0.0
        """When the slot ends in which work has been counted last."""
        self._spent_s = 0.0
        self._count = 0

    def add(self, now_s: float, spent_s: float) -> None:
        """One more piece of work, which has ended now."""
        if now_s < self._until_s:
            self._spent_s += spent_s
            self._count += 1
            return
        slot = int(self._until_s) // _SLOT_S - 1
        self._sums[slot % _SLOTS] = slot, self._spent_s, self._count
        self._until_s, self._spent_s, self._count = (int(now_s) // _SLOT_S + 1.0) * _SLOT_S, spent_s, 1

    def share(self, now_s: float) -> float:
        """Part of the last minute, or of the time since the start, that was spent: 0 to 1."""
        oldest_s = (int(now_s) // _SLOT_S - _SLOTS + 1.0) * _SLOT_S
        length = now_s - max(oldest_s, self._began_s)
        spent_s = sum(spent for spent, _ in self._within(now_s)) / self._at_once
        return min(1.0, spent_s / length) if length > 0 else 0.0

    def mean_s(self, now_s: float) -> float | None:
        """Mean length of the pieces of the last minute; None where there were none."""
        pieces = self._within(now_s)
        count = sum(count for _, count in pieces)
        return sum(spent for spent, _ in pieces) / count if count else None

    def _within(self, now_s: float) -> list[tuple[float, int]]:
        current, oldest = int(self._until_s) // _SLOT_S - 1, int(now_s) // _SLOT_S - _SLOTS
        found = [(spent, count) for slot, spent, count in self._sums if slot > oldest and slot != current]
        return [*found, (self._spent_s, self._count)] if current > oldest else found


@dataclass(slots=True)
class DeviceFigures:
    """How one device answers."""

    answered: Window
    unanswered: Window
    """Wire time of requests that it did not answer, or not usably."""
    state: DeviceState = "waiting"
    since_s: float = 0.0
    """Monotonic time at which it came into this state."""
    reason: str = ""
    """Of the newest time-out or bad answer; empty while all is well."""
    answers: int = 0
    timeouts: int = 0
    bad_answers: int = 0
    overruns: int = 0
    """Turns skipped because the one before was late or still running."""

    def response_s(self, now_s: float) -> float | None:
        """Mean response time of the last minute."""
        return self.answered.mean_s(now_s)

    def share(self, now_s: float) -> float:
        """Share of the last minute that the connection has spent on it: 0 to 1."""
        return min(1.0, self.answered.share(now_s) + self.unanswered.share(now_s))


@dataclass(slots=True)
class ConnectionFigures:
    """How one connection is used."""

    writing: Window
    probing: Window
    """Of what was spent on the devices, what was spent while they were silent."""
    writes: int = 0
    devices: dict[str, DeviceFigures] = field(default_factory=dict)

    def utilisation(self, now_s: float) -> float:
        """Share of the last minute in which as many requests were out as may be: 0 to 1."""
        return min(1.0, self.writing.share(now_s) + sum(each.share(now_s) for each in self.devices.values()))

    @property
    def answers(self) -> int:
        """Reads answered."""
        return sum(each.answers for each in self.devices.values())

    @property
    def timeouts(self) -> int:
        """Reads that a device did not answer."""
        return sum(each.timeouts for each in self.devices.values())

    @property
    def bad_answers(self) -> int:
        """Reads whose answer could not be used."""
        return sum(each.bad_answers for each in self.devices.values())

    @property
    def overruns(self) -> int:
        """Turns skipped because the one before was late or still running."""
        return sum(each.overruns for each in self.devices.values())

    @property
    def silent(self) -> list[str]:
        """Devices that do not answer now."""
        return [name for name, each in self.devices.items() if each.state == "silent"]
