"""Rules judged on every batch, delays on the monotonic clock, alarms moved by what the machine allows.

What comes in: batches, the tick of the clock, connections going up and down. What goes out: transitions, in the
order in which they happened. No I/O; values and time are arguments.

A value that cannot be trusted decides nothing. Where a condition needs it, the alarm stays as it is: a delay in
progress is kept but cannot end while the condition is unknown, and once it is known again it ends at once if its
time has passed, or is dropped if the condition is back where it was.

An alarm is suppressed by design in two ways. A rule on silence is not judged at all while its connection is down.
One with `suppressed_while` goes on being judged, nobody is told, and it is raised on return where its condition
stands. It is suppressed at once, and returns only when all else that the same moment changes has been judged: a
value that falls through both its limits clears both alarms, and raises neither.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from drivers.point import Batch, Point
from edge.alarms.alarm import Event, Transition
from edge.alarms.machine import SERVING, Action, State, step
from edge.alarms.measure import points_of_measure
from edge.alarms.measured import measured
from edge.alarms.rule import Rule
from edge.alarms.signals import Signal
from edge.alarms.truth import Silent, Unusable, leaves, witness
from edge.alarms.values import Touched, Values
from edge.alarms.watch import Watch, watch

_EVENTS: dict[Action, Event] = {
    Action.CLEAR: "cleared",
    Action.ACKNOWLEDGE: "acknowledged",
    Action.RESET: "reset",
    Action.SHELVE: "shelved",
    Action.UNSHELVE: "unshelved",
    Action.SUPPRESS: "suppressed",
    Action.UNSUPPRESS: "unsuppressed",
    Action.REMOVE: "removed",
    Action.RETURN: "returned",
    Action.REMIND: "reminded",
}
_ASIDE = (State.SHELVED, State.OUT_OF_SERVICE)
"""An alarm put aside is nobody's, so no other hides behind it."""


class Judge:
    """All alarm rules of a site on the newest values."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """`rules` have no circle among them (`rule.check_references`)."""
        self._values = Values()
        self._watches = {rule.id: watch(rule, self._values) for rule in rules}
        self._silent: dict[str, list[Watch]] = {}
        for each in self._watches.values():
            found = (leaf for leaf in leaves(each.rule.condition) if isinstance(leaf, Silent))
            for connection in dict.fromkeys(leaf.connection for leaf in found):
                self._silent.setdefault(connection, []).append(each)
        self._standing: dict[str, Watch] = {}
        self._due: list[tuple[float, int, Watch | Signal]] = []
        """Ends of delays, and times at which a number changes by itself."""
        self._queued = itertools.count()
        self._seq = 0
        self._moved: dict[Signal, None] = {}
        self._affected: Touched = {}
        """Whoever looks at an alarm that has just come or gone."""
        self._opening: dict[Watch, None] = {}
        """Suppressed alarms that return once the present moment has been judged."""
        self._delays: dict[str, Watch] = {}
        """Whose delay began, ended or was dropped since `progress` was asked last."""

    # ---- what the equipment does -------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> list[Transition]:
        """Judge the rules that a batch touches."""
        out: list[Transition] = []
        if self._due and self._due[0][0] < batch.mono_s:  # what was due before this was read
            self._pass_time(batch.mono_s, batch.time_ns, out, before=True)
        touched = self._values.take(batch, self._moved)
        if self._moved:
            self._work_out(touched, batch.mono_s)
        if touched:
            self._judge(touched, batch.mono_s, batch.time_ns, out)
        return out

    def tick(self, mono_s: float, wall_ns: int, *, known: bool = True) -> list[Transition]:
        """End the delays whose time has come. To be called about once a second, or oftener.

        `known` says whether the wall clock is right: windows of the day wait for that.
        """
        out: list[Transition] = []
        self._pass_time(mono_s, wall_ns, out)
        if known:
            touched: Touched = {}
            for each in self._values.calendar:
                if each.roll(wall_ns):
                    touched.update(dict.fromkeys(each.watches))
            self._judge(touched, mono_s, wall_ns, out)
        return out

    def next_due_s(self) -> float | None:
        """When `tick` has something to do next; None where only a new value can bring that about."""
        return self._due[0][0] if self._due else None

    @property
    def by_the_clock(self) -> bool:
        """Whether any rule looks at the time of day, so that `tick` matters when nothing is due."""
        return bool(self._values.calendar)

    def connection(self, name: str, up: bool, mono_s: float, wall_ns: int) -> list[Transition]:
        """A connection has gone up or down.

        While it is down, rules on the silence of its equipment are suppressed by design: one alarm says that the
        line is gone, not sixty. When it is back they wait their delay anew. To be called before the batches that
        mark the connection's points as bad.
        """
        out: list[Transition] = []
        for each in self._silent.get(name, ()):
            if up:
                self._open(each, name, mono_s, wall_ns, out)
            else:
                self._close(each, name, wall_ns, out)
        self._judge(self._values.line(name, up=up), mono_s, wall_ns, out)
        return out

    # ---- judging -----------------------------------------------------------------------------------

    def _work_out(self, touched: Touched, mono_s: float) -> None:
        """Numbers whose points have changed."""
        for each in self._moved:
            if each.feed(mono_s):
                touched.update(dict.fromkeys(each.watches))
            self._look_again(each, mono_s)
        self._moved.clear()

    def _look_again(self, each: Signal, mono_s: float) -> None:
        due_s = each.next_s(mono_s)
        if due_s is not None and (each.queued_s is None or each.queued_s > due_s):
            each.queued_s = due_s
            heapq.heappush(self._due, (due_s, next(self._queued), each))

    def _judge(self, touched: Touched, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        self._settle_all(touched, mono_s, wall_ns, out)
        if self._opening:
            self._end_suppressions(mono_s, wall_ns, out)

    def _settle_all(self, touched: Touched, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        """Judge these, and whoever looks at an alarm that has come or gone thereby."""
        while touched or self._affected:
            for each in touched:
                if not each.closed:
                    self._settle(each, mono_s, wall_ns, out)
            touched, self._affected = self._affected, {}

    def _settle(self, each: Watch, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        """Judge one rule and start, keep, end or drop its delay."""
        if each.gate is not None:
            self._check_gate(each, wall_ns, out)
        each.known = known = each.truth(each.active)
        if known is None:
            return
        if known is each.active:
            if each.due_s is not None:
                each.due_s = None
                self._delays[each.rule.id] = each
            return
        if each.due_s is None:
            delay_s = each.rule.on_delay_s if known else each.rule.off_delay_s
            each.due_s = mono_s + delay_s
            if delay_s:
                self._delays[each.rule.id] = each
        if mono_s >= each.due_s:
            self._flip(each, wall_ns, out)
        elif each.queued_s is None or each.queued_s > each.due_s:
            self._enqueue(each, each.due_s)

    def _enqueue(self, each: Watch, due_s: float) -> None:
        each.queued_s = due_s
        heapq.heappush(self._due, (due_s, next(self._queued), each))

    def _pass_time(self, mono_s: float, wall_ns: int, out: list[Transition], *, before: bool = False) -> None:
        """What time alone brings about up to `mono_s`; with `before`, only what is due earlier than that."""
        while self._due and (self._due[0][0] < mono_s or (not before and self._due[0][0] == mono_s)):
            queued_s, _, each = heapq.heappop(self._due)
            if each.queued_s == queued_s:
                each.queued_s = None
            if isinstance(each, Signal):
                if each.queued_s is None:
                    self._number_due(each, queued_s, wall_ns, out)
            else:
                self._delay_due(each, queued_s, wall_ns, out)
        if self._opening:
            self._end_suppressions(mono_s, wall_ns, out)

    def _number_due(self, each: Signal, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        touched = dict.fromkeys(each.watches) if each.feed(mono_s) else {}
        self._look_again(each, mono_s)
        self._settle_all(touched, mono_s, wall_ns, out)

    def _delay_due(self, each: Watch, queued_s: float, wall_ns: int, out: list[Transition]) -> None:
        if each.due_s is None:
            return
        if each.due_s > queued_s:  # dropped and begun anew in the meantime
            if each.queued_s is None:
                self._enqueue(each, each.due_s)
        elif each.known is not None and not each.closed:
            self._flip(each, wall_ns, out)
            self._settle_all({}, queued_s, wall_ns, out)

    def _flip(self, each: Watch, wall_ns: int, out: list[Transition]) -> None:
        """The condition has come or gone, delays included."""
        each.active = not each.active
        if each.due_s is not None:
            each.due_s = None
            self._delays[each.rule.id] = each
        if each.gated and each.state in SERVING and each.active:
            self._move(each, Action.SUPPRESS, wall_ns, out, note=_why_gated(each))
        elif each.state in SERVING:
            self._move(each, Action.RAISE if each.active else Action.CLEAR, wall_ns, out)
        else:  # nobody is told, but whoever looks at the shelf sees whether the condition stands
            each.alarm = replace(each.snapshot(), active=each.active)
        self._tell_standing(each)

    def _tell_standing(self, each: Watch) -> None:
        """Other rules may look at this alarm."""
        standing = each.active and each.state not in _ASIDE
        self._affected.update(self._values.stands(each.rule.id, standing=standing))

    # ---- suppression by design ---------------------------------------------------------------------

    def _check_gate(self, each: Watch, wall_ns: int, out: list[Transition]) -> None:
        assert each.gate is not None  # noqa: S101  # asked by the caller
        shut = each.gate(each.gated)
        if shut is None or (shut is each.gated and each not in self._opening):
            return
        if not shut:
            self._opening[each] = None
            return
        self._opening.pop(each, None)
        each.gated = True
        if each.state in SERVING and each.state is not State.NORMAL:
            self._move(each, Action.SUPPRESS, wall_ns, out, note=_why_gated(each))

    def _end_suppressions(self, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        while self._opening:
            each = next(iter(self._opening))
            del self._opening[each]
            each.gated = False
            if each.state is State.SUPPRESSED and not each.closed:
                self._back(each, Action.UNSUPPRESS, wall_ns, out)
            self._settle_all({}, mono_s, wall_ns, out)

    def _close(self, each: Watch, connection: str, wall_ns: int, out: list[Transition]) -> None:
        each.down.add(connection)
        each.closed, each.known, each.due_s, each.active = True, None, None, False
        self._delays[each.rule.id] = each
        if each.state in SERVING and each.state is not State.NORMAL:
            self._move(each, Action.SUPPRESS, wall_ns, out, note=f"connection {connection} is down")
        self._tell_standing(each)

    def _open(self, each: Watch, connection: str, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        each.down.discard(connection)
        if not each.closed or each.down:
            return
        each.closed = False
        if each.state is State.SUPPRESSED and not each.gated:
            self._back(each, Action.UNSUPPRESS, wall_ns, out, note=f"connection {connection} is back")
        self._settle(each, mono_s, wall_ns, out)

    # ---- moves -------------------------------------------------------------------------------------

    def _move(
        self,
        each: Watch,
        action: Action,
        wall_ns: int,
        out: list[Transition],
        who: str = "",
        note: str = "",
        **changes: Any,
    ) -> bool:
        """Take one step of the machine; False where it knows none."""
        state = step(each.state, action, latching=each.rule.latching)
        if state is None:
            return False
        event: Event
        if action is Action.RAISE:
            event = "raised" if each.state is State.NORMAL else "re-raised"
            changes |= self._raised(each, wall_ns)
        else:
            event = _EVENTS[action]
            if action is Action.CLEAR:
                changes["cleared_ns"] = wall_ns
        alarm = replace(each.snapshot(), state=state, active=each.active, **changes)
        each.alarm = alarm
        if state is State.NORMAL:
            self._standing.pop(alarm.id, None)
        else:
            self._standing[alarm.id] = each
        out.append(Transition(alarm, event, wall_ns, who, note))
        return True

    def _raised(self, each: Watch, wall_ns: int) -> dict[str, Any]:
        """What a raise writes down. One that nobody has acknowledged yet goes on being the same occurrence."""
        seen = {"cleared_ns": None, **self._seen(each)}
        if each.state in (State.RETURNED, State.LATCHED_UNACKNOWLEDGED):
            return seen
        self._seq += 1
        occurrence = each.snapshot().occurrence + 1
        return seen | {
            "raised_ns": wall_ns, "acked_ns": None, "acked_by": None, "seq": self._seq, "occurrence": occurrence,
        }  # fmt: skip

    def _seen(self, each: Watch) -> dict[str, Any]:
        """The point that shows why, what it reads, and the number that was made of it."""
        found = witness(each.rule.condition, self._values.source)
        if found is None:
            return {"point": None, "value": None, "measured": None}
        what, source = found
        name = source.point.id if source.point else None
        if isinstance(what, Unusable):
            return {"point": name, "value": None, "measured": None}
        if isinstance(what, Point):
            return {"point": name, "value": source.value, "measured": None}
        own, number = self._values.source(points_of_measure(what)[0]).value, source.value
        line = (
            None if not isinstance(number, int | float) else measured(what, number, own, at_least=source.partial > 0)
        )
        return {"point": name, "value": own, "measured": line}

    def _back(self, each: Watch, action: Action, wall_ns: int, out: list[Transition], **said: str) -> None:
        """Back into service: normal, and raised anew where the condition stands, or suppressed again by design."""
        self._move(each, action, wall_ns, out, shelved_until_ns=None, **said)
        if each.active and each.gated:
            self._move(each, Action.SUPPRESS, wall_ns, out, note=_why_gated(each))
        elif each.active:
            self._move(each, Action.RAISE, wall_ns, out)
        self._tell_standing(each)


def _why_gated(each: Watch) -> str:
    return "suppressed by design: " + each.rule.gate_text
