"""Which command may go to a device now, and which value returns by itself, when.

What comes in: commands as they are asked for, what the devices read back, the newest readings, the time. What goes
out: the value to write with its point reserved, or `Barred`; and overrides, which are commands for a time, with
what they return to. One command at a time is under way on a point, and its rate counts from the end of the last
one, so that a slow line cannot push two of them together. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from drivers.guard import READ_ONLY
from drivers.point import EquipmentClass, Point, Quality, Value
from edge.acquisition.guards import (
    NO_GUARD,
    TRUSTED,
    Barred,
    Guard,
    Guards,
    alike,
    check_interlocks,
    check_rate,
    check_step,
    fit,
    towards,
)
from edge.acquisition.pipeline import Live

LONGEST_S = 86_400.0
"""A command for longer than a day is no override but a setting."""

Fate = Literal["done", "not taken", "failed", "refused"]
"""Read back as asked; read back otherwise; nobody knows whether the device took it; it never did."""


@dataclass(slots=True, eq=False)
class Override:
    """A command for a time."""

    point: str
    value: Value
    returns_to: Value
    until_ns: int
    """Wall clock, for people and for the next start."""
    for_s: float
    who: str
    reason: str
    due_s: float
    """Monotonic clock, by which it returns; later than `until_ns` where the return has to be tried again."""
    trouble: str = ""
    """What keeps it from returning, once it is due."""
    trouble_kind: str = ""

    def to_body(self) -> dict[str, Any]:
        """As it is kept in the ledger."""
        body = asdict(self)
        del body["due_s"], body["trouble"], body["trouble_kind"]
        return body

    @classmethod
    def from_body(cls, body: Mapping[str, Any], mono_s: float, wall_ns: int) -> Override:
        """As it was kept. A clock that was set meanwhile makes it no longer than it was asked for."""
        left_s = (body["until_ns"] - wall_ns) / 1e9
        return cls(**body, due_s=mono_s + min(max(left_s, 0.0), body["for_s"]))


@dataclass(frozen=True, slots=True)
class _Written:
    """The last command of a point."""

    ended_s: float
    after: Live
    seen_ns: int
    """Time of the newest reading at its end: a reading of another time is newer than the command."""


class Commands:
    """What may be written, what was, and what returns."""

    def __init__(self, guards: Guards, live: Callable[[Point], Live]) -> None:
        self.overrides: dict[str, Override] = {}
        self._guards = guards
        self._live = live
        self._busy: set[str] = set()
        self._written: dict[str, _Written] = {}

    def guard(self, point: Point) -> Guard:
        """How a point may be commanded."""
        return self._guards.get(point.id, NO_GUARD)

    def restore(self, point: Point, written_ns: int, mono_s: float, wall_ns: int) -> None:
        """Take up when a point was last commanded, before the last stop; a time to come counts as now."""
        ago_s = max((wall_ns - written_ns) / 1e9, 0.0)
        self._written[point.id] = _Written(mono_s - ago_s, self._live(point), -1)

    def newest(self, point: Point) -> Live:
        """Where the point stands: its newest reading, or what was read back since."""
        live, written = self._live(point), self._written.get(point.id)
        return written.after if written is not None and written.seen_ns == live.time_ns else live

    def reserve(self, point: Point, equipment_class: EquipmentClass, value: Value, mono_s: float) -> Value:
        """The value to be written, with the point reserved until `settle`. Raises Barred."""
        if equipment_class in READ_ONLY:
            raise Barred("writable", f"{point.id} is read only, as all equipment of class {equipment_class} is")
        if not point.writable:
            raise Barred("writable", f"{point.id} is not writable: its profile does not say so")
        guard = self.guard(point)
        fitting = fit(point, guard, value)
        if point.id in self._busy:
            raise Barred("busy", f"another command to {point.id} is under way; see what comes of it, then ask anew")
        check_interlocks(point, guard, fitting, self._live)
        check_step(point, guard, fitting, self.newest(point))
        written = self._written.get(point.id)
        check_rate(point, guard, None if written is None else mono_s - written.ended_s)
        self._busy.add(point.id)
        return fitting

    def settle(self, point: Point, fate: Fate, after: Value, mono_s: float, wall_ns: int) -> None:
        """The command under way has ended. After `failed` nobody knows where the point stands until it is read."""
        self._busy.discard(point.id)
        if fate == "refused":
            return
        quality = Quality.UNCERTAIN_STALE if fate == "failed" or after is None else Quality.GOOD
        stands = Live(self._live(point).value if fate == "failed" else after, quality, wall_ns)
        self._written[point.id] = _Written(mono_s, stands, self._live(point).time_ns)

    def timed(
        self, point: Point, value: Value, for_s: float, who: str, reason: str, mono_s: float, wall_ns: int
    ) -> Override:
        """A command for a time. Where one is at work already, the new one returns to what that would have.

        Raises Barred where there is nothing known to return to.
        """
        older, now = self.overrides.get(point.id), self.newest(point)
        if older is None and (now.quality not in TRUSTED or now.value is None):
            raise Barred(
                "unknown",
                f"{point.id} cannot be set for a time: it is {now.quality.value}, so that nobody knows what to "
                "return to; wait until it is read, or set it without a time",
            )
        base = now.value if older is None else older.returns_to
        try:
            fit(point, self.guard(point), base)
        except Barred as barred:
            raise Barred(
                barred.guard, f"{point.id} cannot be set for a time, it could not return to where it is: {barred}"
            ) from None
        return Override(point.id, value, base, wall_ns + round(for_s * 1e9), for_s, who, reason, due_s=mono_s + for_s)

    def ended(self, point: Point, fate: Fate, after: Value, new: Override | None) -> Override | None:
        """Which override is at work once a command has ended; None: none.

        A plain command that is done ends an older override. One that may have been taken, or not, leaves it.
        """
        older = self.overrides.pop(point.id, None)
        moved = fate == "not taken" and new is not None and not alike(point, after, new.returns_to)
        if fate == "done" or moved:
            left = new
        elif fate == "failed":
            left = older or new
        else:
            left = older
        if left is not None:
            self.overrides[point.id] = left
        return left

    def due(self, mono_s: float) -> list[Override]:
        """Overrides that should return now."""
        return [each for each in self.overrides.values() if mono_s >= each.due_s]

    def homeward(self, point: Point, override: Override) -> Value:
        """What to write next to return: the value itself, or a step of at most `max_step` towards it."""
        return towards(self.guard(point), self.newest(point).value, override.returns_to)


def fate_of(point: Point, asked: Value, after: Value) -> Fate:
    """Whether a device read back what was asked, as far as the point's deadband tells."""
    return "done" if alike(point, asked, after) else "not taken"
