"""Recorded readings through rules: which alarms they would have given, and how two sets of rules differ in that.

What comes in: rules, and recorded readings in order of time. What goes out: stretches for which an alarm asked for
somebody, and a comparison of two lists of them. No I/O. Delays end to the second, between readings too.

What is recorded is less than what the daemon saw: a change within a point's deadband is not in it, nor whether a
connection was up. A point that was not recorded for longer than the heartbeat allows is taken as unknown from then
on, as it was while the daemon stood still: a gap neither raises nor clears. Late and doubled readings are passed
over and counted.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from drivers.point import Batch, Block, Point, Quality, Text, Value
from edge.alarms.alarm import Transition
from edge.alarms.engine import AlarmEngine
from edge.alarms.machine import State
from edge.alarms.rule import Rule
from edge.alarms.signals import DAY_S
from edge.alarms.truth import Above, Below, OneOf, Silent, Unusable, leaves, points_of

Sample = tuple[int, str, Value, str]
"""Time in ns, point, value, quality: a row of the readings' history."""
MINUTE_NS = 60 * 10**9
LEAD_S = 3600.0
"""So long before the span reading begins at least, so that values and delays are known at its beginning."""
SAME_NS = 10**9
"""Alarms that begin and end within this of each other are the same."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One time for which an alarm asked for somebody."""

    alarm: str
    raised_ns: int
    cleared_ns: int | None
    """None: it stood at the end."""
    value: Value = None
    """What its point read when it was raised."""
    measured: Text | None = None
    """What was compared then, where that is not the value itself."""


class Replay:
    """One set of rules and recorded readings. `patience` says how long a point's last reading holds, in s."""

    def __init__(self, rules: Sequence[Rule], points: Iterable[Point], patience: Callable[[Point], float]) -> None:
        self.stretches: list[Stretch] = []
        self.late = 0
        """Readings older than one of the same point before them, and those told twice."""
        self.gaps = 0
        """Times at which a point's last reading was too old to hold."""
        self._engine = AlarmEngine(rules)
        self._blocks = {point.id: Block(point.equipment, (point,)) for point in points}
        self._patience = {point.id: patience(point) for point in points}
        self._last: dict[str, Sample] = {}
        self._ends: list[tuple[int, str]] = []
        """When points become too old, one entry each; they may have been read again meanwhile."""
        self._open: dict[str, Stretch] = {}
        self._begin_ns: int | None = None
        self._minute_ns = 0
        self._now_ns = 0

    def take(self, samples: Iterable[Sample]) -> None:
        """Readings in order of time; those of other points are passed over."""
        for sample in samples:
            if sample[1] in self._blocks:
                self._take(sample)

    def finish(self, end_ns: int) -> list[Stretch]:
        """Let time pass to the end of the span; all stretches, in order of time."""
        if self._begin_ns is not None:
            self._pass_time(end_ns)
        self.stretches += self._open.values()
        self._open.clear()
        return sorted(self.stretches, key=lambda each: (each.raised_ns, each.alarm))

    def _take(self, sample: Sample) -> None:
        time_ns, name, value, quality = sample
        if self._begin_ns is None:
            self._begin_ns = self._now_ns = time_ns
            self._minute_ns = time_ns - time_ns % MINUTE_NS
        last = self._last.get(name)
        if last is not None and time_ns <= last[0]:
            self.late += 1
            return
        self._pass_time(max(time_ns, self._now_ns))
        if last is None or last[0] + self._patience[name] * 1e9 < time_ns:
            heapq.heappush(self._ends, (time_ns + round(self._patience[name] * 1e9), name))
        self._last[name] = sample
        self._feed(name, value, Quality(quality))

    def _feed(self, name: str, value: Value, quality: Quality) -> None:
        batch = Batch(self._blocks[name], (value,), self._now_ns, self._mono_s(self._now_ns), quality)
        self._note(self._engine.evaluate(batch))

    def _mono_s(self, time_ns: int) -> float:
        return (time_ns - (self._begin_ns or 0)) / 1e9

    def _pass_time(self, until_ns: int) -> None:
        """All that happens up to a time without a reading: delays, ends of windows, points that grow old."""
        while True:
            due_s = self._engine.next_due_s()
            nexts = [] if due_s is None else [(self._begin_ns or 0) + round(due_s * 1e9)]
            nexts += [self._ends[0][0]] if self._ends else []
            nexts += [self._minute_ns + MINUTE_NS] if self._engine.by_the_clock else []
            at_ns = max(min(nexts, default=until_ns + 1), self._now_ns)
            if at_ns > until_ns:
                break
            self._now_ns = at_ns
            self._grow_old(at_ns)
            if at_ns >= self._minute_ns + MINUTE_NS:
                self._minute_ns = at_ns - at_ns % MINUTE_NS
            # A hair later: what is due now must not be missed by rounding to ns.
            self._note(self._engine.tick(self._mono_s(at_ns) + 1e-6, at_ns))
        self._now_ns = until_ns

    def _grow_old(self, at_ns: int) -> None:
        while self._ends and self._ends[0][0] <= at_ns:
            _, name = heapq.heappop(self._ends)
            ends_ns = self._last[name][0] + round(self._patience[name] * 1e9)
            if ends_ns > at_ns:
                heapq.heappush(self._ends, (ends_ns, name))
            else:
                self.gaps += 1
                self._feed(name, None, Quality.UNCERTAIN_STALE)

    def _note(self, transitions: Iterable[Transition]) -> None:
        for each in transitions:
            alarm = each.alarm
            standing = alarm.state is State.UNACKNOWLEDGED
            if standing and alarm.id not in self._open:
                self._open[alarm.id] = Stretch(alarm.id, each.time_ns, None, alarm.value, alarm.measured)
            elif not standing and alarm.id in self._open:
                was = self._open.pop(alarm.id)
                self.stretches.append(replace(was, cleared_ns=each.time_ns))


@dataclass(slots=True)
class Comparison:
    """How the alarms of a changed rule differ from those of the present one."""

    came: list[Stretch] = field(default_factory=list)
    gone: list[Stretch] = field(default_factory=list)
    moved: list[tuple[Stretch, Stretch]] = field(default_factory=list)
    """Present and changed: the same happening, raised or cleared at another time."""
    same: list[Stretch] = field(default_factory=list)


def compare(present: Sequence[Stretch], changed: Sequence[Stretch]) -> Comparison:
    """Which alarms would have come, gone or moved. Two that overlap are one happening."""
    found = Comparison()
    left = sorted(changed, key=lambda each: each.raised_ns)
    for was in sorted(present, key=lambda each: each.raised_ns):
        now = next((each for each in left if each.alarm == was.alarm and _overlap(was, each)), None)
        if now is None:
            found.gone.append(was)
            continue
        left.remove(now)
        if _close(was.raised_ns, now.raised_ns) and _close(was.cleared_ns, now.cleared_ns):
            found.same.append(now)
        else:
            found.moved.append((was, now))
    found.came = left
    return found


def within(stretches: Iterable[Stretch], from_ns: int) -> list[Stretch]:
    """Those that were raised in the span; what stood before its beginning belongs to what came before it."""
    return [each for each in stretches if each.raised_ns >= from_ns]


def lead_s(rules: Iterable[Rule]) -> float:
    """How long before the span reading must begin, for windows and delays to be as they were at its beginning."""
    longest = LEAD_S
    for rule in rules:
        longest = max(longest, rule.on_delay_s + rule.off_delay_s)
        for term in (rule.condition, rule.gate):
            for leaf in leaves(term) if term is not None else ():
                if isinstance(leaf, Above | Below) and not isinstance(leaf.what, Point):
                    over = getattr(leaf.what, "over_s", 0.0)
                    longest = max(longest, DAY_S if over is None else over)
    return longest + LEAD_S


def needed(rules: Iterable[Rule], points: Mapping[str, Point]) -> list[Point]:
    """The points that rules look at; all of an equipment where they look at whether it can be read."""
    found: dict[Point, None] = {}
    for rule in rules:
        for term in (rule.condition, rule.gate):
            if term is None:
                continue
            found.update(dict.fromkeys(points_of(term)))
            for leaf in leaves(term):
                if isinstance(leaf, Silent):
                    found.update(dict.fromkeys(p for p in points.values() if p.equipment == leaf.equipment))
                elif isinstance(leaf, Unusable):
                    found.update(dict.fromkeys(leaf.points))
    return list(found)


def judged_by_readings(rule: Rule) -> bool:
    """Whether recorded readings alone say something about a rule; one on a connection needs more."""
    return any(isinstance(leaf, Above | Below | OneOf | Silent | Unusable) for leaf in leaves(rule.condition))


def related(chosen: Sequence[Rule], rules: Iterable[Rule]) -> list[Rule]:
    """The chosen rules, those whose alarms they look at, and those that look at theirs."""
    by_id = {rule.id: rule for rule in rules} | {rule.id: rule for rule in chosen}
    found = {rule.id for rule in chosen}
    found |= {rule.id for rule in by_id.values() if found.intersection(rule.alarms)}
    todo = list(found)
    while todo:
        for alarm in by_id[todo.pop()].alarms:
            if alarm in by_id and alarm not in found:
                found.add(alarm)
                todo.append(alarm)
    return [rule for rule in by_id.values() if rule.id in found]


def counts(stretches: Iterable[Stretch]) -> Counter[str]:
    """How often each alarm was raised."""
    return Counter(each.alarm for each in stretches)


def _overlap(one: Stretch, other: Stretch) -> bool:
    return (one.cleared_ns is None or other.raised_ns <= one.cleared_ns) and (
        other.cleared_ns is None or one.raised_ns <= other.cleared_ns
    )


def _close(one: int | None, other: int | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME_NS
