"""The alarm desk: rules judged on every batch, delays on the monotonic clock, and what people do to alarms.

What comes in: batches, the tick of the clock, connections going up and down, and what people ask for. What goes
out: transitions, in the order in which they happened. No I/O; values and time are arguments.

A value that cannot be trusted decides nothing. Where a condition needs it, the alarm stays as it is: a delay in
progress is kept but cannot end while the condition is unknown, and once it is known again it ends at once if its
time has passed, or is dropped if the condition is back where it was.

Stored alarms (`Transition.alarm.to_body()`) are kept by their id; those in state normal too, for the count of
their occurrences.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from drivers.point import Batch
from edge.alarms.alarm import Alarm, AlarmRefused, Event, Transition
from edge.alarms.machine import SERVING, Action, State, step
from edge.alarms.rule import Rule
from edge.alarms.truth import witness
from edge.alarms.values import Touched, Values
from edge.alarms.watch import Watch, watch

SHELF_MINUTES = 1440
"""The longest time for which an alarm may be shelved."""

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
}


class AlarmEngine:
    """All alarm rules of a site at work."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._values = Values()
        self._watches = {rule.id: watch(rule, self._values) for rule in rules}
        self._silent: dict[str, list[Watch]] = {}
        for each in self._watches.values():
            if each.silent:
                self._silent.setdefault(each.rule.connection, []).append(each)
        self._standing: dict[str, Watch] = {}
        self._delays: list[tuple[float, int, Watch]] = []
        self._queued = itertools.count()
        self._seq = 0
        self._shelves: dict[str, float | None] = {}
        """Monotonic end of each shelf; None after a restart, until the first tick says what time it is."""

    # ---- what the equipment does -------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> list[Transition]:
        """Judge the rules that a batch touches."""
        out: list[Transition] = []
        if self._delays and self._delays[0][0] < batch.mono_s:  # what was due before this was read
            self._end_delays(batch.mono_s, batch.time_ns, out, before=True)
        touched = self._values.take(batch)
        if touched:
            self._judge(touched, batch.mono_s, batch.time_ns, out)
        return out

    def tick(self, mono_s: float, wall_ns: int) -> list[Transition]:
        """End the delays and shelves whose time has come. To be called about once a second, or oftener."""
        out: list[Transition] = []
        for alarm_id, end_s in list(self._shelves.items()):
            if end_s is None:
                self._shelves[alarm_id] = mono_s + self._shelf_left(self._watches[alarm_id], wall_ns)
            elif mono_s >= end_s:
                self._unshelve(self._watches[alarm_id], wall_ns, out, note="time is over")
        self._end_delays(mono_s, wall_ns, out)
        return out

    def connection(self, name: str, up: bool, mono_s: float, wall_ns: int) -> list[Transition]:
        """A connection has gone up or down.

        While it is down, rules on the silence of its equipment are suppressed by design: one alarm says that the
        line is gone, not sixty. When it is back they wait their delay anew. To be called before the batches that
        mark the connection's points as bad.
        """
        out: list[Transition] = []
        for each in self._silent.get(name, ()):
            if up:
                self._open(each, mono_s, wall_ns, out)
            else:
                self._close(each, wall_ns, out)
        self._judge(self._values.line(name, up=up), mono_s, wall_ns, out)
        return out

    def _judge(self, touched: Touched, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        for each in touched:
            if not each.closed:
                self._settle(each, mono_s, wall_ns, out)

    def _settle(self, each: Watch, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        """Judge one rule and start, keep, end or drop its delay."""
        each.known = known = each.truth(each.active)
        if known is None:
            return
        if known is each.active:
            each.due_s = None
            return
        if each.due_s is None:
            delay_s = each.rule.on_delay_s if known else each.rule.off_delay_s
            each.due_s = mono_s + delay_s
        if mono_s >= each.due_s:
            self._flip(each, wall_ns, out)
        elif each.queued_s is None or each.queued_s > each.due_s:
            self._enqueue(each, each.due_s)

    def _enqueue(self, each: Watch, due_s: float) -> None:
        each.queued_s = due_s
        heapq.heappush(self._delays, (due_s, next(self._queued), each))

    def _end_delays(self, mono_s: float, wall_ns: int, out: list[Transition], *, before: bool = False) -> None:
        """End delays due up to `mono_s`; with `before`, only those due earlier than that."""
        while self._delays and (self._delays[0][0] < mono_s or (not before and self._delays[0][0] == mono_s)):
            queued_s, _, each = heapq.heappop(self._delays)
            if each.queued_s == queued_s:
                each.queued_s = None
            if each.due_s is None:
                continue
            if each.due_s > queued_s:  # dropped and begun anew in the meantime
                if each.queued_s is None:
                    self._enqueue(each, each.due_s)
            elif each.known is not None:
                self._flip(each, wall_ns, out)

    def _flip(self, each: Watch, wall_ns: int, out: list[Transition]) -> None:
        """The condition has come or gone, delays included."""
        each.active = not each.active
        each.due_s = None
        if each.state in SERVING:
            self._move(each, Action.RAISE if each.active else Action.CLEAR, wall_ns, out)
        else:  # nobody is told, but whoever looks at the shelf sees whether the condition stands
            each.alarm = replace(each.snapshot(), active=each.active)

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
        shown = witness(each.rule.condition, self._values.source)
        point = shown.point if shown else None
        seen = {"cleared_ns": None, "point": point.id if point else None, "value": shown.value if shown else None}
        if each.state in (State.RETURNED, State.LATCHED_UNACKNOWLEDGED):
            return seen
        self._seq += 1
        occurrence = each.snapshot().occurrence + 1
        return seen | {
            "raised_ns": wall_ns, "acked_ns": None, "acked_by": None, "seq": self._seq, "occurrence": occurrence,
        }  # fmt: skip

    def _back(self, each: Watch, action: Action, wall_ns: int, out: list[Transition], **said: str) -> None:
        """Back into service: normal, and raised anew where the condition stands."""
        self._move(each, action, wall_ns, out, shelved_until_ns=None, **said)
        if each.active:
            self._move(each, Action.RAISE, wall_ns, out)

    def _close(self, each: Watch, wall_ns: int, out: list[Transition]) -> None:
        each.closed, each.known, each.due_s, each.active = True, None, None, False
        if each.state in SERVING and each.state is not State.NORMAL:
            note = f"connection {each.rule.connection} is down"
            self._move(each, Action.SUPPRESS, wall_ns, out, note=note)

    def _open(self, each: Watch, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        if not each.closed:
            return
        each.closed = False
        if each.state is State.SUPPRESSED:
            self._back(each, Action.UNSUPPRESS, wall_ns, out, note=f"connection {each.rule.connection} is back")
        self._settle(each, mono_s, wall_ns, out)

    # ---- what people do ----------------------------------------------------------------------------

    def ack(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Somebody knows. Raises `AlarmRefused`."""
        return self._ask(alarm_id, Action.ACKNOWLEDGE, who, wall_ns, note, acked_ns=wall_ns, acked_by=who.strip())

    def reset(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Let go of a latched alarm whose condition has gone and that is acknowledged. Raises `AlarmRefused`."""
        return self._ask(alarm_id, Action.RESET, who, wall_ns, note)

    def shelve(
        self, alarm_id: str, who: str, reason: str, minutes: float, wall_ns: int, mono_s: float
    ) -> list[Transition]:
        """Put an alarm aside for 1 to 1440 minutes; it comes back by itself. Raises `AlarmRefused`."""
        each = self._find(alarm_id)
        if not each.rule.shelvable:
            raise AlarmRefused("refused", f"{alarm_id} may not be shelved; acknowledge it and see to its cause")
        if not 1 <= minutes <= SHELF_MINUTES:
            raise AlarmRefused(
                "refused", f"{minutes:g} minutes; an alarm is shelved for 1 to {SHELF_MINUTES} minutes"
            )
        _said(reason, "a reason")
        until = wall_ns + round(minutes * 60e9)
        out = self._ask(alarm_id, Action.SHELVE, who, wall_ns, reason, shelved_until_ns=until)
        self._shelves[alarm_id] = mono_s + minutes * 60
        return out

    def unshelve(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Take an alarm off the shelf before its time; it is raised where its condition stands."""
        return self._bring_back(alarm_id, State.SHELVED, who, wall_ns, note)

    def remove(self, alarm_id: str, who: str, reason: str, wall_ns: int, mono_s: float) -> list[Transition]:
        """Take an alarm out of service for maintenance, until somebody returns it. Raises `AlarmRefused`."""
        _said(reason, "a reason")
        self._find(alarm_id)
        out = self._ask(alarm_id, Action.REMOVE, who, wall_ns, reason, shelved_until_ns=None)
        self._shelves.pop(alarm_id, None)
        return out

    def put_back(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Return an alarm to service; it is raised where its condition stands. Raises `AlarmRefused`."""
        return self._bring_back(alarm_id, State.OUT_OF_SERVICE, who, wall_ns, note)

    def _ask(
        self, alarm_id: str, action: Action, who: str, wall_ns: int, note: str, **changes: Any
    ) -> list[Transition]:
        each = self._find(alarm_id)
        _said(who, "a name")
        out: list[Transition] = []
        if not self._move(each, action, wall_ns, out, who.strip(), note.strip(), **changes):
            raise AlarmRefused("conflict", _why_not(each.snapshot(), action))
        return out

    def _bring_back(self, alarm_id: str, state: State, who: str, wall_ns: int, note: str) -> list[Transition]:
        each = self._find(alarm_id)
        _said(who, "a name")
        if each.state is not state:
            raise AlarmRefused("conflict", f"{alarm_id} is {each.state.value}, not {state.value}")
        out: list[Transition] = []
        if state is State.SHELVED:
            self._unshelve(each, wall_ns, out, who=who.strip(), note=note.strip())
        else:
            self._back(each, Action.RETURN, wall_ns, out, who=who.strip(), note=note.strip())
        return out

    def _unshelve(self, each: Watch, wall_ns: int, out: list[Transition], **said: str) -> None:
        self._shelves.pop(each.rule.id, None)
        self._back(each, Action.UNSHELVE, wall_ns, out, **said)

    def _find(self, alarm_id: str) -> Watch:
        try:
            return self._watches[alarm_id]
        except KeyError:
            raise AlarmRefused("not_found", f"no alarm {alarm_id!r}; it is <equipment>.<rule>") from None

    @staticmethod
    def _shelf_left(each: Watch, wall_ns: int) -> float:
        """Seconds that a shelf has left after a restart. A clock that is wrong cannot make it longer than allowed."""
        until = each.snapshot().shelved_until_ns or wall_ns
        return min(max(until - wall_ns, 0) / 1e9, SHELF_MINUTES * 60.0)

    # ---- looking, and surviving a restart ----------------------------------------------------------

    def alarms(self) -> list[Alarm]:
        """All alarms that are not normal, first out first."""
        found = [each.snapshot() for each in self._standing.values()]
        return sorted(found, key=lambda alarm: (alarm.raised_ns or 0, alarm.seq))

    def alarm(self, alarm_id: str) -> Alarm | None:
        """One alarm, normal or not; None where there is no such rule."""
        each = self._watches.get(alarm_id)
        return each.snapshot() if each else None

    def restore(self, bodies: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Take up stored alarms, by id, as they stood, before the first batch. Delays in progress begin anew.

        Returns what was left out: ids that no rule has any more, and bodies that cannot be read.
        """
        left_out = []
        for id_, body in bodies.items():
            each = self._watches.get(id_)
            try:
                alarm = Alarm.from_body(body)
            except ValueError:
                each = None
            if each is None:
                left_out.append(id_)
            else:
                self._take_up(each, alarm)
        return left_out

    def _take_up(self, each: Watch, alarm: Alarm) -> None:
        rule = each.rule  # the words and the priority are the rule's of today
        alarm = replace(
            alarm, id=rule.id, equipment=rule.equipment, rule=rule.name, code=rule.code, priority=rule.priority,
            name=rule.title, advice=rule.advice, cause=rule.cause, consequence=rule.consequence,
            respond_s=rule.respond_s, shelvable=rule.shelvable,
        )  # fmt: skip
        each.alarm = alarm
        each.active = alarm.active
        self._seq = max(self._seq, alarm.seq)
        if alarm.state is State.NORMAL:
            each.active = False
            return
        self._standing[alarm.id] = each
        if alarm.state is State.SHELVED:
            self._shelves[alarm.id] = None
        elif alarm.state is State.SUPPRESSED:
            each.closed, each.active = True, False


def _said(text: str, what: str) -> None:
    if not text.strip():
        raise AlarmRefused("refused", f"{what} is missing; it goes into the journal")


def _why_not(alarm: Alarm, action: Action) -> str:
    if action is Action.ACKNOWLEDGE and alarm.acked_by:
        return f"{alarm.id} is {alarm.state.value}, acknowledged by {alarm.acked_by}"
    if action is Action.ACKNOWLEDGE:
        return f"{alarm.id} is {alarm.state.value}; there is nothing to acknowledge"
    if action is Action.RESET and alarm.state is State.LATCHED_UNACKNOWLEDGED:
        return f"{alarm.id} is not acknowledged yet; acknowledge it, then reset it"
    if action is Action.RESET and alarm.active:
        return f"{alarm.id}: its condition still stands; it can be reset once that has gone"
    return f"{alarm.id} is {alarm.state.value}; {action.value} is not possible now"
