"""How good an alarm system is, in figures, each beside what is recommended (ISA-18.2, IEC 62682, EEMUA 191).

What comes in: the journal's alarm entries of a period, in order, and what stands now. What goes out: figures with
their recommended values, and the alarms that spoil them. Pure. An alarm counts each time that it is shown to people.
"""

from __future__ import annotations

import bisect
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.point import Text
from edge.incidents.dossier import PLAIN, Trait
from edge.incidents.incident import PRIORITIES
from edge.incidents.repeats import CHATTER, CHATTER_S, FLEETING_S, History

TEN_MIN_NS = 600 * 10**9
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
MANY = 10
"""More new alarms than this in 10 minutes are a flood ..."""
FEW = 5
"""... that ends with fewer than this."""
HOUR_MANY = 30
TOP = 10


_UNDER_1 = Text("< 1 %", "< 1 %")
_NONE = Text("", "")
_FIGURES: dict[str, tuple[Text, str, Text, float | None, bool]] = {
    "alarms": (Text("报警次数", "Alarms shown"), "", _NONE, None, True),
    "per_10_min": (Text("平均每 10 分钟", "Average in 10 min"), "", Text("≤ 1，最多 2", "≤ 1, 2 at most"), 1, True),
    "peak_10_min": (Text("最多的 10 分钟", "Peak in 10 min"), "", Text("≤ 10", "≤ 10"), MANY, True),
    "per_hour": (Text("平均每小时", "Average an hour"), "", Text("≤ 6，最多 12", "≤ 6, 12 at most"), 6, True),
    "per_day": (Text("平均每天", "Average a day"), "", Text("≤ 150，最多 300", "≤ 150, 300 at most"), 150, True),
    "urgent_per_day": (
        Text("紧急和重要，每天", "Critical and high, a day"), "",
        Text("社区单人值班 < 10", "< 10 for a desk of one person"), 10, False,
    ),
    "tens_over_10": (Text("超过 10 条的 10 分钟段", "10-min periods with over 10"), "%", _UNDER_1, 1, False),
    "hours_over_30": (Text("超过 30 条的小时", "Hours with over 30"), "%", _UNDER_1, 1, False),
    "in_flood": (Text("处于报警高峰的时间", "Time in flood"), "%", _UNDER_1, 1, False),
    "top_ten": (
        Text("前十位报警占比", "Share of the top ten"), "%",
        Text("1–5 %（报警种类少时自然偏高）", "1–5 % (higher where there are few kinds)"), 5, True,
    ),
    "chattering": (Text("抖动报警", "Chattering alarms"), "", Text("0", "0"), 0, True),
    "fleeting": (Text("10 秒内自行消失的次数", "Fleeting, gone within 10 s"), "", Text("0", "0"), 0, True),
    "stale": (Text("超过 24 小时（最多一天）", "Stale, over 24 h, worst day"), "", Text("< 5", "< 5"), 5, False),
    "standing": (Text("当前存在", "Standing now"), "", _NONE, None, True),
    "to_acknowledge": (
        Text("确认用时中位数", "Time to acknowledge, median"), "s",
        Text("在各报警的响应时间之内", "within each alarm's time to respond"), None, True,
    ),
    "in_time": (Text("按时确认", "Acknowledged in time"), "%", Text("100 %", "100 %"), None, True),
    "share_critical": (Text("紧急占比", "Share of critical"), "%", _UNDER_1, 1, False),
    "share_high": (Text("重要占比", "Share of high"), "%", Text("≈ 5 %", "≈ 5 %"), 7, True),
    "share_medium": (Text("一般占比", "Share of medium"), "%", Text("≈ 15 %", "≈ 15 %"), 20, True),
    "share_low": (Text("提示占比", "Share of low"), "%", Text("≈ 80 %", "≈ 80 %"), None, True),
}  # fmt: skip
"""Key -> name, unit, what is recommended, the limit for `ok`, and whether the limit itself is still well."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside what is recommended."""

    key: str
    name: Text
    value: float | None
    """None: nothing to work it out of."""
    unit: str
    recommended: Text
    ok: bool | None
    """Whether it is within the recommendation; None where that cannot be said."""

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "key": self.key, "name": self.name.to_body(), "value": self.value, "unit": self.unit,
            "recommended": self.recommended.to_body(), "ok": self.ok,
        }  # fmt: skip


@dataclass(slots=True)
class _Alarm:
    """What one alarm did in the period."""

    name: Text
    priority: str
    history: History
    times: list[int] = field(default_factory=list)
    fleeting: int = 0
    raised_ns: int | None = None
    """Since when its condition stands; None: it does not."""


class Report:
    """The figures of one period."""

    def __init__(self, from_ns: int, to_ns: int, traits: Mapping[str, Trait] | None = None) -> None:
        self.from_ns = from_ns
        self.to_ns = max(to_ns, from_ns + 1)
        self._traits = traits or {}
        self._alarms: dict[str, _Alarm] = {}
        self._times: list[int] = []
        self._answers: dict[str, list[float]] = {priority: [] for priority in PRIORITIES}
        self._in_time = 0
        self._stale: list[tuple[int, int]] = []
        """Spans in which a condition had stood for over a day."""

    def add(self, time_ns: int, body: Mapping[str, Any]) -> None:
        """One entry of the journal, in order of time."""
        event, row = body["event"], body["alarm"]
        alarm = self._alarms.get(row["id"])
        if alarm is None:
            name = Text.from_body(row["name"])
            trait = self._traits.get(row["id"], PLAIN)
            alarm = self._alarms[row["id"]] = _Alarm(
                name, row["priority"], History(trait, row["priority"] == PRIORITIES[0])
            )
        if event in ("raised", "re-raised"):
            alarm.times.append(time_ns)
            bisect.insort(self._times, time_ns)  # the box's clock may have been set back
            alarm.history.raised(time_ns / 1e9, None if row.get("measured") else row.get("value"))
            alarm.raised_ns = time_ns
        elif event == "cleared":
            self._cleared(alarm, time_ns, row)
        elif event == "acknowledged" and row.get("raised_ns"):
            took_s = (time_ns - row["raised_ns"]) / 1e9
            self._answers[row["priority"]].append(took_s)
            self._in_time += took_s <= float(row.get("respond_s") or 0)

    def _cleared(self, alarm: _Alarm, time_ns: int, row: Mapping[str, Any]) -> None:
        began_ns = alarm.raised_ns or row.get("raised_ns") or time_ns
        alarm.raised_ns = None
        alarm.history.cleared(time_ns / 1e9, None)
        if time_ns - began_ns < FLEETING_S * 1e9 and not alarm.history.critical:
            alarm.fleeting += 1
        self._stood(began_ns, time_ns)

    def _stood(self, began_ns: int, ended_ns: int) -> None:
        if ended_ns - began_ns > DAY_NS:
            self._stale.append((began_ns + DAY_NS, ended_ns))

    def figures(self, standing: Sequence[tuple[str, int]] = ()) -> list[Figure]:
        """All figures. `standing`: alarms whose condition stands at the end of the period, and since when."""
        for _, since_ns in standing:
            self._stood(since_ns, self.to_ns)
        values: dict[str, float | None] = {**self._rates(), **self._behaviour(), "standing": len(standing)}
        return [_figure(key, values[key]) for key in _FIGURES]

    def _rates(self) -> dict[str, float | None]:
        """How much comes. Of a period shorter than the unit it is what has come until now."""
        span_ns, count = self.to_ns - self.from_ns, len(self._times)
        urgent = sum(len(each.times) for each in self._alarms.values() if each.priority in PRIORITIES[:2])
        by = Counter(dict.fromkeys(PRIORITIES, 0))
        for each in self._alarms.values():
            by[each.priority] += len(each.times)
        return {
            "alarms": count,
            "per_10_min": count / max(span_ns / TEN_MIN_NS, 1),
            "peak_10_min": self.peak()[0],
            "per_hour": count / max(span_ns / HOUR_NS, 1),
            "per_day": count / max(span_ns / DAY_NS, 1),
            "urgent_per_day": urgent / max(span_ns / DAY_NS, 1),
            "tens_over_10": self._over(MANY, TEN_MIN_NS),
            "hours_over_30": self._over(HOUR_MANY, HOUR_NS),
            "in_flood": 100 * sum(ended - began for began, ended in self.floods()) / span_ns,
            **{f"share_{key}": 100 * by[key] / count if count else None for key in PRIORITIES},
        }

    def _behaviour(self) -> dict[str, float | None]:
        """How the alarms behave, and how they are answered."""
        count = len(self._times)
        every = [took for answers in self._answers.values() for took in answers]
        return {
            "top_ten": 100 * sum(len(each.times) for _, each in self._most()[:TOP]) / count if count else None,
            "chattering": len(self.chattering()),
            "fleeting": sum(each.fleeting for each in self._alarms.values()),
            "stale": self._most_stale(),
            "to_acknowledge": statistics.median(every) if every else None,
            "in_time": 100 * self._in_time / len(every) if every else None,
        }

    def _over(self, limit: int, step_ns: int) -> float:
        """The share of the periods that had more alarms than a limit."""
        filled = Counter((time_ns - self.from_ns) // step_ns for time_ns in self._times)
        periods = -(-(self.to_ns - self.from_ns) // step_ns)
        return 100 * sum(count > limit for count in filled.values()) / periods

    def peak(self) -> tuple[int, int]:
        """The most alarms in any 10 minutes, and when these began."""
        best, at_ns = 0, self.from_ns
        for index, time_ns in enumerate(self._times):
            within = index + 1 - bisect.bisect_right(self._times, time_ns - TEN_MIN_NS)
            if within > best:
                best, at_ns = within, self._times[index + 1 - within]
        return best, at_ns

    def floods(self) -> list[tuple[int, int]]:
        """Spans in which there were over 10 new alarms in 10 minutes, until there were fewer than 5."""
        spans: list[tuple[int, int]] = []
        for index, time_ns in enumerate(self._times):
            first = bisect.bisect_right(self._times, time_ns - TEN_MIN_NS)
            if index + 1 - first > MANY:
                ends_ns = min(self._ends(index), self.to_ns)
                if spans and time_ns <= spans[-1][1]:
                    spans[-1] = spans[-1][0], max(spans[-1][1], ends_ns)
                else:
                    spans.append((time_ns, ends_ns))
        return spans

    def _ends(self, index: int) -> int:
        """When a flood that is on at an alarm ends: fewer than 5 in the 10 minutes before."""
        while index + 1 < len(self._times):
            gone_ns = self._times[index - FEW + 1] + TEN_MIN_NS
            if self._times[index + 1] >= gone_ns:
                return gone_ns
            index += 1
        return self._times[index - FEW + 1] + TEN_MIN_NS

    def _most(self) -> list[tuple[str, _Alarm]]:
        shown = [(name, each) for name, each in self._alarms.items() if each.times]
        return sorted(shown, key=lambda pair: (-len(pair[1].times), pair[0]))

    def top(self) -> list[dict[str, Any]]:
        """The alarms that came oftenest."""
        count = len(self._times)
        return [
            {"id": name, "name": each.name.to_body(), "priority": each.priority, "count": len(each.times),
             "share": 100 * len(each.times) / count}
            for name, each in self._most()[:TOP]
        ]  # fmt: skip

    def chattering(self) -> list[dict[str, Any]]:
        """Alarms that came at least 3 times in a minute, with what would have calmed them."""
        return [
            self._repeats(name, each, "chattering")
            for name, each in self._most()
            if any(
                later - first < CHATTER_S * 1e9
                for first, later in zip(each.times, each.times[CHATTER - 1 :], strict=False)
            )
        ]

    def fleeting(self) -> list[dict[str, Any]]:
        """Alarms that went before anybody could act, with the delay that would have kept them quiet."""
        return [self._repeats(name, each, "fleeting") for name, each in self._most() if each.fleeting]

    @staticmethod
    def _repeats(name: str, alarm: _Alarm, kind: Any) -> dict[str, Any]:
        alarm.history.kind = kind
        return {
            "id": name, "name": alarm.name.to_body(), "count": len(alarm.times), "fleeting": alarm.fleeting,
            "suggestion": alarm.history.suggestion().to_body(),
        }  # fmt: skip

    def _most_stale(self) -> int:
        """The most alarms that had stood for over a day on any one day."""
        days: Counter[int] = Counter()
        for began_ns, ended_ns in self._stale:
            first = max(began_ns, self.from_ns)
            for day in range((first - self.from_ns) // DAY_NS, (max(ended_ns, first) - self.from_ns) // DAY_NS + 1):
                days[day] += 1
        return max(days.values(), default=0)

    def answers(self) -> dict[str, dict[str, float | int | None]]:
        """By priority: how many were acknowledged, the median and the slowest tenth, in seconds."""
        return {
            priority: {
                "count": len(took),
                "median_s": statistics.median(took) if took else None,
                "p90_s": sorted(took)[min(len(took) * 9 // 10, len(took) - 1)] if took else None,
            }
            for priority, took in self._answers.items()
        }


def _figure(key: str, value: float | None) -> Figure:
    name, unit, recommended, limit, inclusive = _FIGURES[key]
    ok = None if limit is None or value is None else value <= limit if inclusive else value < limit
    return Figure(key, name, None if value is None else round(value, 2), unit, recommended, ok)
