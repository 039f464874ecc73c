"""Measures at work: rise and fall within a time, counts within a time, differences, unbalance.

What comes in: the newest values of points as they change, and the passing of time. What goes out: a number that
conditions look at like a point's. Memory is bounded: a past is kept in steps of a part of its window.

A time in which the value was not known is a gap. A short one is passed over; after a long one the past is known
from there on only, and the number is `partial`: the truth is this or further on (see `truth`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from drivers.point import Value
from edge.alarms.measure import Change, Count, Difference, Unbalance, key_of, points_of_measure
from edge.alarms.truth import Source, Within

STEPS = 60
"""A window's past is kept in so many steps."""
GAP = 0.1
"""A gap of up to this part of the window is passed over."""
DAY_S = 86_400.0


class Signal(Source, ABC):
    """A number made of other sources."""

    __slots__ = ("queued_s", "sources")

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(sources[0].point)
        self.sources = sources
        self.queued_s: float | None = None
        """When it stands in the engine's queue to be looked at again."""
        for each in sources:
            each.signals.append(self)

    def feed(self, mono_s: float) -> bool:
        """Work the number out anew; whether it is another."""
        before = self.value, self.partial
        self.value, self.partial = self.work_out(mono_s)
        return before != (self.value, self.partial)

    @abstractmethod
    def work_out(self, mono_s: float) -> tuple[Value, int]:
        """Value, and to which side it is partial."""

    def next_s(self, mono_s: float) -> float | None:
        """When time alone may make it another; None: never."""
        return None


class DifferenceSignal(Signal):
    """Two points, or a point and a number, at work."""

    __slots__ = ("measure",)

    def __init__(self, measure: Difference, sources: Sequence[Source]) -> None:
        super().__init__(sources)
        self.measure = measure

    def work_out(self, mono_s: float) -> tuple[Value, int]:
        value = number(self.sources[0].value)
        other = number(self.sources[1].value) if len(self.sources) > 1 else number(self.measure.other)  # type: ignore[arg-type]  # a number where there is no second point
        if value is None or other is None:
            return None, 0
        apart = value - other
        if self.measure.percent:
            if not other:
                return None, 0
            apart = 100 * apart / abs(other)
        return (abs(apart) if self.measure.either_way else apart), 0


class UnbalanceSignal(Signal):
    """Several points and their mean at work."""

    __slots__ = ("floor",)

    def __init__(self, measure: Unbalance, sources: Sequence[Source]) -> None:
        super().__init__(sources)
        self.floor = measure.floor

    def work_out(self, mono_s: float) -> tuple[Value, int]:
        values = [number(each.value) for each in self.sources]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None, 0
        mean = sum(known) / len(known)
        if mean <= self.floor or mean <= 0:
            return 0.0, 0
        return 100 * max(abs(value - mean) for value in known) / mean, 0


class Memory(Signal):
    """A signal with a past, which is stored and taken up again."""

    __slots__ = ("changed", "gap_s", "key", "last", "over_s", "since_s", "stored_s")

    def __init__(self, measure: Change | Count, sources: Sequence[Source]) -> None:
        super().__init__(sources)
        self.key = key_of(measure)
        self.over_s = DAY_S if measure.over_s is None else measure.over_s
        self.last: Value = None
        """What the point was last."""
        self.since_s: float | None = None
        """From when on the past is known."""
        self.gap_s: float | None = None
        """Since when the value is not known."""
        self.changed = False
        """Whether the past is another since it was stored."""
        self.stored_s = float("-inf")

    def bridge(self, mono_s: float) -> bool:
        """Note whether the value is known now; False where it is not."""
        if usable(self.sources[0].value) is None:
            if self.gap_s is None:
                self.gap_s = mono_s
            return False
        if self.since_s is None or (self.gap_s is not None and mono_s - self.gap_s > self.over_s * GAP):
            self.since_s, self.last = mono_s, None
            self.begin()
        self.gap_s = None
        return True

    @abstractmethod
    def begin(self) -> None:
        """The past is not known any more: it begins now."""

    def whole(self, mono_s: float) -> bool:
        """Whether the whole window has been watched."""
        return self.since_s is not None and mono_s - self.since_s >= self.over_s

    def body(self, mono_s: float, wall_ns: int) -> dict[str, Any]:
        """The past as plain data: ages in seconds before `at`."""
        since = None if self.since_s is None else mono_s - self.since_s
        gap = 0.0 if self.gap_s is None else mono_s - self.gap_s
        return {"at": wall_ns, "since": since, "gap": gap, "last": self.last, "past": self.past(mono_s)}

    @abstractmethod
    def past(self, mono_s: float) -> list[list[float]]:
        """The kept steps with their ages first."""

    def take_up(self, body: Mapping[str, Any], mono_s: float, wall_ns: int) -> None:
        """Go on from a stored past; the time since then is a gap."""
        away_s = max(wall_ns - int(body["at"]), 0) / 1e9
        since = body["since"]
        self.since_s = None if since is None else mono_s - away_s - float(since)
        self.gap_s = mono_s - away_s - float(body["gap"])
        last = body["last"]
        self.last = last if isinstance(last, bool | int | float | str) else None
        self.learn([[mono_s - away_s - float(row[0]), *map(float, row[1:])] for row in body["past"]])

    @abstractmethod
    def learn(self, rows: list[list[float]]) -> None:
        """Take kept steps up again, oldest first, their times first."""


class ChangeSignal(Memory):
    """Rise or fall within a time, at work: the lowest and highest of each step of the window."""

    __slots__ = ("factor", "rise", "steps")

    def __init__(self, measure: Change, sources: Sequence[Source]) -> None:
        super().__init__(measure, sources)
        self.rise = measure.rise
        self.factor = measure.factor
        self.steps: deque[list[float]] = deque()
        """[begin, lowest, highest]"""

    def work_out(self, mono_s: float) -> tuple[Value, int]:
        if not self.bridge(mono_s):
            return None, 0
        value = number(self.sources[0].value)
        if value is None:
            return None, 0
        before = number(self.last)
        self._keep(mono_s, value, value if before is None else before)
        self.last = value
        if self.rise:
            apart = value - min(step[1] for step in self.steps)
        else:
            apart = value - max(step[2] for step in self.steps)
        side = 0 if self.whole(mono_s) else 1 if self.rise else -1
        return apart * self.factor, side

    def begin(self) -> None:
        self.steps.clear()

    def _keep(self, mono_s: float, value: float, before: float) -> None:
        """Both what it is and what it has been until now belong to the present step."""
        low, high = min(value, before), max(value, before)
        step_s = self.over_s / STEPS
        if self.steps and mono_s - self.steps[-1][0] < step_s:
            newest = self.steps[-1]
            newest[1], newest[2] = min(newest[1], low), max(newest[2], high)
        else:
            self.steps.append([mono_s, low, high])
            self.changed = True
        while self.steps[0][0] + step_s <= mono_s - self.over_s:
            self.steps.popleft()

    def next_s(self, mono_s: float) -> float | None:
        if self.gap_s is not None or not self.steps:
            return None
        lows, highs = {step[1] for step in self.steps}, {step[2] for step in self.steps}
        ends = [self.steps[0][0] + self.over_s + self.over_s / STEPS] if len(lows | highs) > 1 else []
        if self.since_s is not None and not self.whole(mono_s):
            ends.append(self.since_s + self.over_s)
        return min(ends, default=None)

    def past(self, mono_s: float) -> list[list[float]]:
        return [[mono_s - begin, low, high] for begin, low, high in self.steps]

    def learn(self, rows: list[list[float]]) -> None:
        self.steps = deque([begin, low, high] for begin, low, high in rows)


class CountSignal(Memory):
    """How often within a time, at work."""

    __slots__ = ("day", "day_began", "fallen_from", "measure", "steps", "total")

    def __init__(self, measure: Count, sources: Sequence[Source]) -> None:
        super().__init__(measure, sources)
        self.measure = measure
        self.steps: deque[list[float]] = deque()
        """[time of the first, how many]"""
        self.total = 0.0
        self.fallen_from: float | None = None
        """What a counter showed before it fell back; a single bad reading must not count all of it again."""
        self.day: str | None = None
        self.day_began = False
        """Whether the day has been watched from its midnight on."""

    def work_out(self, mono_s: float) -> tuple[Value, int]:
        known = self.bridge(mono_s)
        step_s = self.over_s / STEPS
        if known:
            self._add(self._news(self.sources[0].value), mono_s, step_s)
            self.last = self.sources[0].value
        while self.measure.over_s is not None and self.steps and self.steps[0][0] + self.over_s <= mono_s:
            self.total -= self.steps.popleft()[1]
        if not known:
            return None, 0
        whole = self.day_began if self.measure.over_s is None else self.whole(mono_s)
        return self.total, 0 if whole else 1

    def begin(self) -> None:
        """What was counted before a gap was so all the same; that it was all is not known."""
        self.day_began = False

    def _add(self, news: float, mono_s: float, step_s: float) -> None:
        if not news:
            return
        self.total += news
        self.changed = True
        if self.steps and mono_s - self.steps[-1][0] < step_s:
            self.steps[-1][1] += news
        else:
            self.steps.append([mono_s, news])

    def _news(self, value: Value) -> float:
        last, into = self.last, self.measure.into
        if last is None:
            return 0
        if into:
            began = value in into and last not in into
            return float(began and (self.measure.out_of is None or last in self.measure.out_of))
        now, before = number(value) or 0.0, number(last) or 0.0
        fallen, self.fallen_from = self.fallen_from, None
        if now < before:
            self.fallen_from = before
            return 0
        return now - fallen if fallen is not None and now >= fallen else now - before

    def next_s(self, mono_s: float) -> float | None:
        if self.measure.over_s is None or self.gap_s is not None:
            return None
        ends = [self.steps[0][0] + self.over_s] if self.steps else []
        if self.since_s is not None and not self.whole(mono_s):
            ends.append(self.since_s + self.over_s)
        return min(ends, default=None)

    def roll(self, wall_ns: int) -> bool:
        """A day count begins anew where it is another day; whether the number is another."""
        day = datetime.fromtimestamp(wall_ns / 1e9, self.measure.zone).date().isoformat()
        if day == self.day:
            return False
        self.day_began = self.day is not None and self.gap_s is None
        self.day, self.total = day, 0.0
        self.steps.clear()
        self.changed = True
        if self.value is None:
            return False
        self.value, self.partial = 0.0, 0 if self.day_began else 1
        return True

    def body(self, mono_s: float, wall_ns: int) -> dict[str, Any]:
        return {**super().body(mono_s, wall_ns), "day": self.day, "began": self.day_began}

    def take_up(self, body: Mapping[str, Any], mono_s: float, wall_ns: int) -> None:
        super().take_up(body, mono_s, wall_ns)
        self.day, self.day_began = body.get("day"), bool(body.get("began"))

    def past(self, mono_s: float) -> list[list[float]]:
        return [[mono_s - at, news] for at, news in self.steps]

    def learn(self, rows: list[list[float]]) -> None:
        self.steps = deque([at, news] for at, news in rows)
        self.total = sum(news for _, news in self.steps)


class Window(Source):
    """A window of local time at work."""

    __slots__ = ("within",)

    def __init__(self, within: Within) -> None:
        super().__init__()
        self.within = within

    def roll(self, wall_ns: int) -> bool:
        """Whether it has begun or ended."""
        within = self.within
        now = datetime.fromtimestamp(wall_ns / 1e9, within.zone)
        minute = now.hour * 60 + now.minute
        today, yesterday = now.weekday(), (now - timedelta(days=1)).weekday()
        if within.begin_min < within.end_min:
            inside = today in within.days and within.begin_min <= minute < within.end_min
        else:
            inside = (today in within.days and minute >= within.begin_min) or (
                yesterday in within.days and minute < within.end_min
            )
        if inside is self.value:
            return False
        self.value = inside
        return True


def signal(measure: Change | Count | Difference | Unbalance, sources: Sequence[Source]) -> Signal:
    """A measure at work on its sources, which stand in the order of `points_of_measure`."""
    assert len(sources) == len(points_of_measure(measure))  # noqa: S101  # the caller's own list
    if isinstance(measure, Change):
        return ChangeSignal(measure, sources)
    if isinstance(measure, Count):
        return CountSignal(measure, sources)
    return (
        DifferenceSignal(measure, sources) if isinstance(measure, Difference) else UnbalanceSignal(measure, sources)
    )


def usable(value: Value) -> Value:
    """The value; None where there is none, or no number (NaN)."""
    return None if value != value else value  # noqa: PLR0124  # NaN is the one value that is not itself


def number(value: Value) -> float | None:
    """The value as a number; None where it is none."""
    return float(value) if isinstance(value, int | float) else None
