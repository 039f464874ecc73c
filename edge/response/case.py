"""One notice on its way to people: how far it has climbed, who was reached, which pushes are still under way.

Its body goes through JSON, so that an escalation in progress continues after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.driver import Clock
from edge.response.ladder import Climb, Step
from edge.response.notice import Notice

RESOLVED = -1
"""Stands for the step in which those who were told learn that it is over."""

Way = tuple[int, str, str]
"""One push: step, recipient, channel."""


@dataclass(slots=True, eq=False)
class Case:
    """One notice under way."""

    notice: Notice
    began_s: float
    """When it was noticed, on the monotonic clock."""
    climb: Climb
    open: set[Way] = field(default_factory=set)
    """Queued or being sent."""
    reached: dict[str, None] = field(default_factory=dict)
    """Recipients who were told, in order."""
    delivered: set[int] = field(default_factory=set)
    """Steps of this round of which at least one push arrived."""
    resolved: Notice | None = None

    def settled(self, way: Way, delivered: bool) -> None:
        """A push has come to its end."""
        self.open.discard(way)
        step, recipient, _ = way
        if delivered and step != RESOLVED:
            self.reached[recipient] = None
            self.delivered.add(step)

    def hurry(self, now_s: float) -> None:
        """Let the ladder go on at once where a step, or all of it, has reached nobody."""
        if self.climb.stopped:
            return
        under_way = {step for step, _, _ in self.open}
        newest = self.climb.taken - 1
        if newest >= 0 and newest not in under_way and newest not in self.delivered:
            self.climb.failed(newest)
        if self.climb.exhausted and not under_way and not self.reached:
            self.climb.again(now_s)

    @property
    def over(self) -> bool:
        """Nothing is left to do."""
        return self.resolved is not None and not self.open

    def to_body(self, clock: Clock) -> dict[str, Any]:
        """As JSON keeps it; times as wall time, since the monotonic clock does not survive a restart."""
        return {
            "notice": self.notice.to_body(),
            "began_ns": _wall_ns(self.began_s, clock),
            "round_began_ns": _wall_ns(self.climb.began_s, clock),
            "round": self.climb.round,
            "taken": self.climb.taken,
            "stopped": self.climb.stopped,
            "open": sorted(self.open),
            "reached": list(self.reached),
            "delivered": sorted(self.delivered),
            "resolved": self.resolved.to_body() if self.resolved else None,
        }

    @staticmethod
    def from_body(body: Mapping[str, Any], steps: Sequence[Step], clock: Clock) -> Case:
        """Back from JSON, on the ladder as the site file has it now. KeyError, TypeError or ValueError: no body."""
        climb = Climb(
            steps,
            _mono_s(body["round_began_ns"], clock),
            taken=min(int(body["taken"]), len(steps)),
            round=int(body["round"]),
            stopped=bool(body["stopped"]),
        )
        return Case(
            Notice.from_body(body["notice"]),
            _mono_s(body["began_ns"], clock),
            climb,
            open={(int(step), str(recipient), str(channel)) for step, recipient, channel in body["open"]},
            reached=dict.fromkeys(body["reached"]),
            delivered=set(body["delivered"]),
            resolved=Notice.from_body(body["resolved"]) if body["resolved"] else None,
        )


def _wall_ns(mono_s: float, clock: Clock) -> int:
    return clock.wall_ns() - round((clock.mono_s() - mono_s) * 1e9)


def _mono_s(wall_ns: int, clock: Clock) -> float:
    """A time before a restart. Where the box does not know the time yet, it is taken as now, not as long to come."""
    ago_s = (clock.wall_ns() - int(wall_ns)) / 1e9
    return clock.mono_s() - max(ago_s, 0.0)
