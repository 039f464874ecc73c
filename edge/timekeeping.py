"""The time, as long as it is not known, and from when on it is.

A box without a clock chip starts in 1970, or where it was switched off. What comes in: the box's own clock, and the
newest time that the state directory knows. What goes out: a clock whose wall time is provisional at first (the newest
known time, and on with the monotonic clock, so that nothing is laid before what was there) and the box's own once
that can be trusted; and the news that it has become known, or has stepped. Pure: whoever has the log and the ledger
acts on it (see `eras`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from drivers.driver import Clock, Woken

Source = Literal["auto", "kernel", "clock"]
"""What makes the time known. `kernel`: its synchronised flag. `clock`: the box has a clock chip, its time is right as
long as it is not earlier than what the state directory knows. `auto`: `kernel` on a box whose kernel was seen
synchronised once, else `clock`."""
EARLIEST_NS = 1_704_067_200_000_000_000
"""1 January 2024: what a clock says before this is wrong."""
STEP_NS = 2_000_000_000
"""A change against the monotonic clock by so much at once is a step, not a correction."""
_ASK_S = 60.0
"""How often the kernel is asked whether it keeps the time, once that is known otherwise."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the state directory knows of the time."""

    newest_ns: int = 0
    """The newest time that was told; 0 where there is none."""
    synchronised: bool = False
    """The kernel of this box was seen synchronised."""
    known_in: str = ""
    """The boot in which the time was known last."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Something has happened to the time."""

    kind: Literal["known", "stepped"]
    shift_ns: int
    """What the time now is later than it would have been."""


class Timekeeper:
    """The clock of the house."""

    def __init__(self, base: Clock, source: Source, trust_after_s: float, memory: Memory, boot: str) -> None:
        self.wall_ns: Callable[[], int] = self._wall_ns
        """Unix time in ns; once it is known, the box's own, without a detour."""
        self.mono_s: Callable[[], float] = base.mono_s
        """Seconds that only ever go forward; asked several times for each reading."""
        self.sleep: Callable[[float], Coroutine[Any, Any, None]] = base.sleep
        """Wait so many seconds."""
        self.wait: Callable[[asyncio.Future[None], float], Coroutine[Any, Any, None]] = base.wait
        """Wait until the future is done, at most so many seconds."""
        self.wake: Callable[[Woken, float], None] = base.wake
        """Set the future done at that time of `mono_s`, if it is not by then."""
        self.begun_s = base.mono_s()
        self.boot = boot
        self.synchronised = memory.synchronised
        self._base = base
        self._source = source
        self._trust_after_s = trust_after_s
        self._memory = memory
        self._floor_ns = max(memory.newest_ns, base.wall_ns())
        self._offset_ns = self._floor_ns - _ns(self.begun_s)
        self._known = False
        self._ask_s = 0.0
        """When the kernel is asked next, though the time is taken for known."""

    def known(self) -> bool:
        """Whether the wall time is the true one, as far as can be told."""
        return self._known

    @property
    def offset_ns(self) -> int:
        """What the wall time is ahead of the monotonic clock."""
        return self._offset_ns

    def look(self) -> Turn | None:
        """Look whether the time has become known, or has stepped; to be called each second or so."""
        mono_s, wall_ns = self._base.mono_s(), self._base.wall_ns()
        offset_ns = wall_ns - _ns(mono_s)
        if not self.synchronised and (not self._known or mono_s >= self._ask_s):
            self.synchronised, self._ask_s = self._base.known(), mono_s + _ASK_S
        if not self._known:
            if not self._trusted(mono_s, wall_ns):
                return None
            shift_ns, self._offset_ns, self._known = offset_ns - self._offset_ns, offset_ns, True
            self.wall_ns = self._base.wall_ns
            return Turn("known", shift_ns)
        moved_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        return Turn("stepped", moved_ns) if abs(moved_ns) >= STEP_NS else None

    def memory(self) -> Memory:
        """What is to be remembered for the next start."""
        return Memory(self.wall_ns(), self.synchronised, self.boot if self._known else self._memory.known_in)

    def _trusted(self, mono_s: float, wall_ns: int) -> bool:
        if wall_ns < EARLIEST_NS:
            return False
        if self._base.known() or (self.boot and self._memory.known_in == self.boot):
            return True
        if wall_ns < self._memory.newest_ns:
            return False
        waits = self._source == "kernel" or (self._source == "auto" and self._memory.synchronised)
        return not waits or mono_s - self.begun_s >= self._trust_after_s

    def _wall_ns(self) -> int:
        if self._known:
            return self._base.wall_ns()
        return self._offset_ns + _ns(self._base.mono_s())


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
