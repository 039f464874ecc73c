"""Up to which time history is aged: the clock's, unless it has leaped and has not proved itself yet.

What is deleted by age (readings, summaries, entries of the journal) never comes back, and a clock can be years ahead:
a wrong clock chip, a bad answer of a time server, a slip of the hand. So the time by which things are old is kept
apart and runs with the monotonic clock. Where the box's clock is more than a day ahead of it, the box must first have
run on the new time for as long as the leap was wide, but no longer than a week: then it is taken for true (the box
lay in a drawer). A clock that is set back is followed at once. What comes in: the clock, and what was known at the
last stop. What goes out: the time to age by, what is to be kept of it, and news. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from drivers.driver import Clock
from edge.store.digests import DAY_NS

LEAP_NS = DAY_NS
"""A leap up to this is believed at once: nothing is kept for less than a day."""
HOLD_S = 7 * 86_400.0
"""No leap has to prove itself for longer."""


@dataclass(slots=True)
class _Held:
    """A leap that has not proved itself."""

    leap_ns: int
    ran_s: float = 0.0
    """How long the box has run on the new time."""

    @property
    def left_s(self) -> float:
        return max(0.0, min(HOLD_S, self.leap_ns / 1e9) - self.ran_s)


@dataclass(frozen=True, slots=True)
class AgingNews:
    """What has become of a leap."""

    event: Literal["held", "believed", "back"]
    """Nothing is aged by the new time for now; the new time counts from now on; the clock was set back."""
    leap_ns: int
    hold_s: float
    """How long it is held yet, counted while the box runs."""


class Aging:
    """The time by which history is old."""

    def __init__(
        self, clock: Clock, kept: Mapping[str, Any] | None = None, newest_ns: int = 0, boot: str = ""
    ) -> None:
        """`kept`: `body()` of the last run; where there is none, `newest_ns` is the newest stamp of what was stored.

        `boot` tells the runs apart between which the monotonic clock has begun anew; empty: all of them.
        """
        now_s, now_ns = clock.mono_s(), clock.wall_ns()
        self._clock = clock
        self._boot = boot
        self._seen_s = now_s
        self._reached_ns = self._seen_ns = min(now_ns, newest_ns) if newest_ns > 0 else now_ns
        self._held: _Held | None = None
        self._news: list[AgingNews] = []
        if kept is not None:
            self._take_up(kept)
        self._look()

    def now_ns(self) -> int:
        """Unix time in ns: what is older than its time by this may go."""
        self._look()
        return self._reached_ns

    def news(self) -> list[AgingNews]:
        """What has happened since this was asked last."""
        self._look()
        found, self._news = self._news, []
        return found

    @property
    def held_s(self) -> float:
        """How long a leap is held yet; 0 where there is none."""
        return self._held.left_s if self._held else 0.0

    @property
    def held(self) -> bool:
        """Whether the clock has leaped and is not believed yet."""
        return self._held is not None

    def body(self) -> dict[str, Any]:
        """What must survive a restart. Plain JSON."""
        self._look()
        return {
            "reached_ns": self._reached_ns,
            "seen_ns": self._seen_ns,
            "seen_s": self._seen_s,
            "boot": self._boot,
            "held": asdict(self._held) if self._held else None,
        }

    def _take_up(self, kept: Mapping[str, Any]) -> None:
        """Go on where the last run was; within one boot the monotonic clock has gone on meanwhile."""
        try:
            reached_ns, seen_ns, held = int(kept["reached_ns"]), int(kept["seen_ns"]), kept["held"]
            seen_s = float(kept["seen_s"]) if self._boot and kept["boot"] == self._boot else self._seen_s
            leap = None if held is None else _Held(int(held["leap_ns"]), float(held["ran_s"]))
        except (LookupError, TypeError, ValueError):
            return  # written by hand: as at the first start
        self._reached_ns, self._seen_ns, self._held = reached_ns, seen_ns, leap
        self._seen_s = min(seen_s, self._seen_s)

    def _look(self) -> None:
        now_s, now_ns = self._clock.mono_s(), self._clock.wall_ns()
        ran_s = now_s - self._seen_s
        step_ns = now_ns - self._seen_ns - round(ran_s * 1e9)
        self._seen_s, self._seen_ns = now_s, now_ns
        self._reached_ns += round(ran_s * 1e9)
        leap_ns = now_ns - self._reached_ns
        if leap_ns <= LEAP_NS:
            self._follow("back", now_ns)
        elif self._held is None or step_ns > LEAP_NS:
            self._held = _Held(leap_ns)
            self._news.append(AgingNews("held", leap_ns, self._held.left_s))
        elif self._clock.known():
            self._held.ran_s += ran_s
            if not self._held.left_s:
                self._follow("believed", now_ns)

    def _follow(self, event: Literal["believed", "back"], now_ns: int) -> None:
        self._reached_ns = now_ns
        if self._held is not None:
            self._news.append(AgingNews(event, self._held.leap_ns, 0.0))
        self._held = None
