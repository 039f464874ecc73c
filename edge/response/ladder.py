"""Who is called next when nobody acknowledges: a ladder, and how far up a notice has climbed. Pure.

Times are the caller's monotonic seconds. A step is taken once in a round. Where no channel of a step could
deliver, the next step is due at once; where a whole round has reached nobody, the ladder begins again after a pause,
for as long as nobody answers: a box that was cut off calls as soon as it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PAUSE_S = 60.0
"""Between a round that reached nobody and the next; doubles up to PAUSE_MAX_S."""
PAUSE_MAX_S = 900.0
_TICK_S = 1e-6
"""Below what adding times as floating point may miss."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: when it is due after the notice, and who is told."""

    after_s: float
    to: tuple[str, ...]
    """Recipients."""


@dataclass(slots=True)
class Climb:
    """How far one notice has climbed its ladder."""

    steps: Sequence[Step]
    began_s: float
    """When the round began."""
    taken: int = 0
    """Steps taken in this round."""
    round: int = 0
    stopped: bool = False
    """Somebody has answered, or it is over."""
    hurried: bool = False
    """The step before could not be delivered: the next one does not wait."""

    def due(self, now_s: float) -> list[int]:
        """The steps that are due and not yet taken; they count as taken from now on."""
        steps = []
        while (at := self.next_s()) is not None and at <= now_s + _TICK_S:
            steps.append(self.taken)
            self.taken += 1
            self.hurried = False
        return steps

    def next_s(self) -> float | None:
        """When the next step is due; None where there is none to come."""
        if self.stopped or self.taken >= len(self.steps):
            return None
        return self.began_s if self.hurried else self.began_s + self.steps[self.taken].after_s

    def failed(self, step: int) -> None:
        """No channel of `step` could deliver. Only the newest step hurries the next one."""
        if step == self.taken - 1:
            self.hurried = True

    @property
    def exhausted(self) -> bool:
        """All steps are taken."""
        return self.taken >= len(self.steps)

    def again(self, now_s: float) -> None:
        """Begin a new round after a pause."""
        pause_s = min(PAUSE_S * 2.0**self.round, PAUSE_MAX_S)
        self.round += 1
        self.taken = 0
        self.hurried = False
        self.began_s = now_s + pause_s
