"""Too many alarms for one person: flood mode of one desk (ISA-18.2, EEMUA 191). Pure.

A flood begins with more than 10 new alarms in 10 minutes and ends with fewer than 5. While it lasts what is not
critical is gathered into one digest, and another only where something more urgent has come, or after a while.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edge.response.lane import Push

WINDOW_S = 600.0
MOST = 10
FEW = 5
GATHER_S = 5.0
"""The digest goes out so long after it began, with what has come by then."""
AGAIN_S = 600.0
"""In a flood that does not end, what has come since goes out after so long."""


class Flood:
    """New alarms of one desk within the last ten minutes."""

    def __init__(self) -> None:
        self.on = False
        self._times: deque[float] = deque()

    def count(self, at_s: float) -> None:
        """One more alarm."""
        self._times.append(at_s)
        self.look(at_s)

    def look(self, now_s: float) -> bool:
        """Whether the desk is in a flood now."""
        while self._times and self._times[0] + WINDOW_S <= now_s:
            self._times.popleft()
        self.on = len(self._times) >= FEW if self.on else len(self._times) > MOST
        return self.on

    @property
    def alarms(self) -> int:
        """How many there were in the window, when last looked at."""
        return len(self._times)

    def ends_s(self) -> float | None:
        """When it will be over if nothing more comes; None where there is no flood."""
        return self._times[-FEW] + WINDOW_S if self.on and len(self._times) >= FEW else None


@dataclass(slots=True)
class Digest:
    """What waits to be told to one desk in one message."""

    pushes: dict[str, list[Push]] = field(default_factory=dict)
    """By channel."""
    due_s: float | None = None
    sent_s: float | None = None
    """When the last one of this flood went out."""
    rank: int = 99
    """The most urgent that was in one; less is not worth another."""

    def add(self, channel: str, push: Push, rank: int, now_s: float) -> None:
        """Put a push in, and say when the digest is due."""
        self.pushes.setdefault(channel, []).append(push)
        urgent = self.sent_s is None or rank < self.rank
        due_s = now_s + GATHER_S if urgent else (self.sent_s or 0.0) + AGAIN_S
        self.due_s = due_s if self.due_s is None else min(self.due_s, due_s)
        self.rank = min(self.rank, rank)

    def take(self, now_s: float) -> dict[str, list[Push]]:
        """All that waits, to be sent now."""
        pushes, self.pushes = self.pushes, {}
        self.due_s, self.sent_s = None, now_s
        return pushes
