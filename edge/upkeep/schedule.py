"""When the next order of a plan is to be opened: by the calendar, by a meter, or when an alarm is raised.

Each schedule is told what was finished and answers what comes next. Being told the same twice changes nothing, so
that after a restart the stored orders themselves bring a schedule up to date: no order is opened a second time
because its plan was written later than it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from drivers.point import Text
from edge.upkeep.meters import MeterSpec
from edge.upkeep.plans import Calendar, Metered

_SECOND = 1_000_000_000


class CalendarSchedule:
    """Days of one calendar plan, in the site's time zone."""

    def __init__(self, trigger: Calendar, zone: ZoneInfo) -> None:
        self.trigger = trigger
        self._zone = zone
        self._anchor = trigger.last
        self._index = 1
        self._set()

    @property
    def begun(self) -> bool:
        """Whether it knows a day to count from."""
        return self._anchor is not None

    def begin(self, wall_ns: int) -> None:
        """Count from today, where nobody says when the task was done last."""
        self._anchor = self.day(wall_ns)
        self._set()

    def _set(self) -> None:
        self.due: dt.date | None = None
        self.opens_ns: int | None = None
        if self._anchor is not None:
            self.due = self.trigger.every.after(self._anchor, self._index)
            lead = self.trigger.lead
            self.opens_ns = self._midnight(lead.after(self.due, -1) if lead else self.due)

    def finished(self, due: dt.date, on: dt.date) -> None:
        """The order due on a day was finished on a day, by being done or dropped."""
        if self._anchor is None:
            return
        if not self.trigger.fixed:
            self._anchor = max(self._anchor, on)
        else:  # what fell due in the meantime is covered by the same work
            while self.trigger.every.after(self._anchor, self._index) <= max(due, on):
                self._index += 1
        self._set()

    def cause(self, wall_ns: int) -> Text:
        """Why an order is opened now."""
        every, due = self.trigger.every.text, self.due
        missed = self._missed(self.day(wall_ns))
        zh, en = f"每{every.zh}一次，应于{due}完成", f"every {every.en}, due {due}"
        if missed:
            zh, en = f"{zh}；此后又错过{missed}次", f"{en}; {missed} more missed since"
        return Text(zh, en)

    def _missed(self, today: dt.date) -> int:
        if not self.trigger.fixed or self._anchor is None:
            return 0
        index = self._index + 1
        while self.trigger.every.after(self._anchor, index) < today:
            index += 1
        return index - self._index - 1

    def due_ns(self) -> int | None:
        """The last second of the day on which it is due."""
        return None if self.due is None else self._midnight(self.due + dt.timedelta(days=1)) - _SECOND

    def day(self, wall_ns: int) -> dt.date:
        """The day of a time, on the site."""
        return dt.datetime.fromtimestamp(wall_ns / 1e9, self._zone).date()

    def _midnight(self, day: dt.date) -> int:
        return int(dt.datetime.combine(day, dt.time(), self._zone).timestamp()) * _SECOND

    def to_body(self) -> dict[str, Any]:
        """What must survive a restart, as plain data for JSON."""
        every = self.trigger.every
        return {
            "given": _iso(self.trigger.last), "anchor": _iso(self._anchor), "index": self._index,
            "every": [every.months, every.days], "fixed": self.trigger.fixed, "due": _iso(self.due),
        }  # fmt: skip

    def restore(self, body: Mapping[str, Any]) -> None:
        """Take up what was stored; what the site file now says differently about the last time goes before it.

        Raises ValueError where it is no such thing.
        """
        if self.trigger.last is not None and _iso(self.trigger.last) != body.get("given"):
            return
        try:
            anchor = dt.date.fromisoformat(str(body["anchor"])) if body["anchor"] is not None else None
            index = int(body["index"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"is no stored calendar: {error!r}") from error
        every = self.trigger.every
        if body.get("every") != [every.months, every.days] or body.get("fixed") != self.trigger.fixed:
            index = 1  # another rhythm: it counts from where the old one began
        self._anchor, self._index = anchor, max(index, 1)
        self._set()


class MeterSchedule:
    """Readings of one plan by meter."""

    def __init__(self, trigger: Metered) -> None:
        self.trigger = trigger
        self._base = trigger.last

    def due(self, value: float) -> float:
        """What the meter reads when the next order is due; `value` is what it reads now.

        Where nobody says when the task was done last, it is taken to have been done at the last multiple.
        """
        every = self.trigger.every
        if self._base is None:
            self._base = math.floor(value / every) * every
        return self._multiple_after(self._base) if self.trigger.fixed else self._base + every

    def _multiple_after(self, value: float) -> float:
        return (math.floor(value / self.trigger.every) + 1) * self.trigger.every

    def finished(self, due: float, reading: float | None) -> None:
        """The order due at a reading was finished at a reading, by being done or dropped."""
        at = due if reading is None else max(due, reading) if self.trigger.fixed else reading
        self._base = at if self._base is None else max(self._base, at)

    def cause(self, meter: MeterSpec, due: float, value: float) -> Text:
        """Why an order is opened now."""
        at, now = f"{number(due)} {meter.unit}".rstrip(), number(value)
        if value < due:
            return Text(f"{meter.title.zh}将到 {at}（现为 {now}）", f"{meter.title.en} {at} near ({now})")
        return Text(f"{meter.title.zh}已达 {at}（{now}）", f"{meter.title.en} {at} reached ({now})")

    def to_body(self) -> dict[str, Any]:
        """What must survive a restart, as plain data for JSON."""
        return {"given": self.trigger.last, "base": self._base}

    def restore(self, body: Mapping[str, Any]) -> None:
        """As the calendar's."""
        if self.trigger.last is not None and self.trigger.last != body.get("given"):
            return
        base = body.get("base")
        if base is not None and (isinstance(base, bool) or not isinstance(base, int | float)):
            raise ValueError(f"base is {base!r}, no number")
        self._base = base


class AlarmSchedule:
    """One order for each time that the alarm comes: armed again once it has cleared."""

    def __init__(self) -> None:
        self.standing = False

    def to_body(self) -> dict[str, Any]:
        """What must survive a restart, as plain data for JSON."""
        return {"standing": self.standing}

    def restore(self, body: Mapping[str, Any]) -> None:
        """Take up what was stored."""
        self.standing = body.get("standing") is True


Schedule = CalendarSchedule | MeterSchedule | AlarmSchedule


def number(value: float) -> str:
    """A reading for people: at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()
