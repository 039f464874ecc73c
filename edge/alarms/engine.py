"""The alarm desk: what people do to alarms, and what outlives a restart.

What comes in: what people ask for, and what was stored. What goes out: transitions, and what is to be stored.
The judging is `judge`'s. No I/O; values and time are arguments.

Stored alarms (`Transition.alarm.to_body()`) are kept by their id; those in state normal too, for the count of
their occurrences. Delays in progress and the pasts that counts and rates look back on are stored now and then
(`progress`): what a power cut costs of them is what came after the last time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge.alarms.alarm import Alarm, AlarmRefused, Transition
from edge.alarms.judge import Judge
from edge.alarms.machine import Action, State
from edge.alarms.rule import Rule
from edge.alarms.watch import Watch

SHELF_MINUTES = 1440
"""The longest time for which an alarm may be shelved."""
DELAY, PAST = "alarm_delay", "alarm_past"
"""Kinds under which progress is stored."""
SHORT_S = 5.0
"""Delays up to this are not stored: begun anew they cost less than the restart itself."""
REFRESH_S = 300.0
"""A past in which nothing happens is stored this often: what follows the last time counts as a gap."""


class AlarmEngine(Judge):
    """All alarm rules of a site at work."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__(rules)
        self._shelves: dict[str, float | None] = {}
        """Monotonic end of each shelf; None after a restart, until the first tick says what time it is."""
        self._reminders: dict[str, float | None] = {}
        """When an acknowledged alarm asks again; None as above."""
        self._fresh: list[Watch] = []
        """Suppressed alarms taken up after a restart: the first tick sees whether they still are."""

    def tick(self, mono_s: float, wall_ns: int, *, known: bool = True) -> list[Transition]:
        """End the delays, shelves and suppressions whose time has come. To be called about once a second, or oftener.

        `known` says whether the wall clock is right: windows of the day wait for that.
        """
        out: list[Transition] = []
        self._end_shelves(mono_s, wall_ns, out)
        if self._reminders:
            self._remind(mono_s, wall_ns, out)
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            for each in fresh:
                if each.gate is None and not each.closed and each.state is State.SUPPRESSED:
                    self._opening[each] = None
            self._judge(dict.fromkeys(fresh), mono_s, wall_ns, out)
        return out + super().tick(mono_s, wall_ns, known=known)

    def _end_shelves(self, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        for alarm_id, end_s in list(self._shelves.items()):
            each = self._watches[alarm_id]
            if end_s is None:
                left_s = _left_s(each.snapshot().shelved_until_ns or wall_ns, wall_ns, SHELF_MINUTES * 60.0)
                self._shelves[alarm_id] = mono_s + left_s
            elif mono_s >= end_s:
                self._unshelve(each, wall_ns, out, note="time is over")
                self._settle_all({}, mono_s, wall_ns, out)

    def _remind(self, mono_s: float, wall_ns: int, out: list[Transition]) -> None:
        for alarm_id, at_s in list(self._reminders.items()):
            each = self._watches[alarm_id]
            after_s = each.rule.realarm_s
            if each.state is not State.ACKNOWLEDGED or after_s is None:
                del self._reminders[alarm_id]
            elif at_s is None:
                due_ns = (each.snapshot().acked_ns or wall_ns) + round(after_s * 1e9)
                self._reminders[alarm_id] = mono_s + _left_s(due_ns, wall_ns, after_s)
            elif mono_s >= at_s:
                del self._reminders[alarm_id]
                self._move(each, Action.REMIND, wall_ns, out, note=f"still there {after_s / 60:.0f} min later")

    # ---- what people do ----------------------------------------------------------------------------

    def ack(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Somebody knows. Raises `AlarmRefused`."""
        out = self._ask(alarm_id, Action.ACKNOWLEDGE, who, wall_ns, note, acked_ns=wall_ns, acked_by=who.strip())
        after_s = self._watches[alarm_id].rule.realarm_s
        if after_s is not None:
            self._reminders[alarm_id] = mono_s + after_s
        return out

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
        return out + self._put_aside(alarm_id, mono_s, wall_ns)

    def unshelve(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Take an alarm off the shelf before its time; it is raised where its condition stands."""
        return self._bring_back(alarm_id, State.SHELVED, who, wall_ns, mono_s, note)

    def remove(self, alarm_id: str, who: str, reason: str, wall_ns: int, mono_s: float) -> list[Transition]:
        """Take an alarm out of service for maintenance, until somebody returns it. Raises `AlarmRefused`."""
        _said(reason, "a reason")
        self._find(alarm_id)
        out = self._ask(alarm_id, Action.REMOVE, who, wall_ns, reason, shelved_until_ns=None)
        self._shelves.pop(alarm_id, None)
        return out + self._put_aside(alarm_id, mono_s, wall_ns)

    def put_back(self, alarm_id: str, who: str, wall_ns: int, mono_s: float, note: str = "") -> list[Transition]:
        """Return an alarm to service; it is raised where its condition stands. Raises `AlarmRefused`."""
        return self._bring_back(alarm_id, State.OUT_OF_SERVICE, who, wall_ns, mono_s, note)

    def _put_aside(self, alarm_id: str, mono_s: float, wall_ns: int) -> list[Transition]:
        """Whoever hid behind an alarm that is put aside comes out."""
        out: list[Transition] = []
        self._tell_standing(self._watches[alarm_id])
        self._judge({}, mono_s, wall_ns, out)
        return out

    def _ask(
        self, alarm_id: str, action: Action, who: str, wall_ns: int, note: str, **changes: Any
    ) -> list[Transition]:
        each = self._find(alarm_id)
        _said(who, "a name")
        out: list[Transition] = []
        if not self._move(each, action, wall_ns, out, who.strip(), note.strip(), **changes):
            raise AlarmRefused("conflict", _why_not(each.snapshot(), action))
        return out

    def _bring_back(
        self, alarm_id: str, state: State, who: str, wall_ns: int, mono_s: float, note: str
    ) -> list[Transition]:
        each = self._find(alarm_id)
        _said(who, "a name")
        if each.state is not state:
            raise AlarmRefused("conflict", f"{alarm_id} is {each.state.value}, not {state.value}")
        out: list[Transition] = []
        if state is State.SHELVED:
            self._unshelve(each, wall_ns, out, who=who.strip(), note=note.strip())
        else:
            self._back(each, Action.RETURN, wall_ns, out, who=who.strip(), note=note.strip())
        self._judge({}, mono_s, wall_ns, out)
        return out

    def _unshelve(self, each: Watch, wall_ns: int, out: list[Transition], **said: str) -> None:
        self._shelves.pop(each.rule.id, None)
        self._back(each, Action.UNSHELVE, wall_ns, out, **said)

    def _find(self, alarm_id: str) -> Watch:
        try:
            return self._watches[alarm_id]
        except KeyError:
            raise AlarmRefused("not_found", f"no alarm {alarm_id!r}; it is <equipment>.<rule>") from None

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
        """Take up stored alarms, by id, as they stood, before the first batch.

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
        each.alarm = None
        today = each.snapshot()
        alarm = replace(
            alarm, id=rule.id, equipment=today.equipment, rule=today.rule, code=today.code, priority=today.priority,
            name=today.name, advice=today.advice, cause=today.cause, consequence=today.consequence,
            respond_s=today.respond_s, shelvable=today.shelvable, cls=today.cls,
        )  # fmt: skip
        each.alarm = alarm
        self._seq = max(self._seq, alarm.seq)
        if alarm.state is State.NORMAL:
            return
        each.active = alarm.active
        self._standing[alarm.id] = each
        if alarm.state is State.SHELVED:
            self._shelves[alarm.id] = None
        elif alarm.state is State.ACKNOWLEDGED:
            self._reminders[alarm.id] = None
        elif alarm.state is State.SUPPRESSED:
            self._fresh.append(each)
            each.gated = each.gate is not None
            if rule.silent:
                each.closed, each.active = True, False
        self._tell_standing(each)

    # ---- delays and pasts over a restart -----------------------------------------------------------

    def progress(self, mono_s: float, wall_ns: int, *, pasts: bool) -> dict[tuple[str, str], dict[str, Any] | None]:
        """What has changed since the last call and is to outlive a restart: (kind, key) -> body, None where it ended.

        Delays always, the pasts of counts and rates with `pasts`: they are larger, and lose less by being old.
        """
        out: dict[tuple[str, str], dict[str, Any] | None] = {}
        for id_, each in self._delays.items():
            left_s = None if each.due_s is None else each.due_s - mono_s
            whole_s = each.rule.off_delay_s if each.active else each.rule.on_delay_s
            if left_s is not None and whole_s > SHORT_S:
                due_ns = wall_ns + round(left_s * 1e9)
                out[DELAY, id_] = {"to": not each.active, "due_ns": due_ns}
                each.kept = True
            elif each.kept:
                out[DELAY, id_] = None
                each.kept = False
        self._delays.clear()
        for memory in self._values.memories if pasts else ():
            if memory.changed or mono_s - memory.stored_s >= REFRESH_S:
                out[PAST, memory.key] = memory.body(mono_s, wall_ns)
                memory.changed, memory.stored_s = False, mono_s
        return out

    def resume(
        self,
        delays: Mapping[str, Mapping[str, Any]],
        pasts: Mapping[str, Mapping[str, Any]],
        mono_s: float,
        wall_ns: int,
    ) -> None:
        """Go on with delays and pasts as stored, after `restore` and before the first batch.

        A delay goes on by the wall clock, and no longer than its rule says: while nobody knew whether the condition
        stood it cannot end, and once that is known again it ends at once if its time has passed.
        """
        for id_, body in delays.items():
            each = self._watches.get(id_)
            if each is not None and body.get("to") is not each.active and not each.closed:
                whole_s = each.rule.off_delay_s if each.active else each.rule.on_delay_s
                due_ns = body.get("due_ns")  # what cannot be read any more is due at once
                each.due_s = mono_s + _left_s(due_ns if isinstance(due_ns, int) else wall_ns, wall_ns, whole_s)
            if each is not None:
                each.kept = True
                self._delays[id_] = each
        for memory in self._values.memories:
            stored = pasts.get(memory.key)
            if stored is not None:
                try:
                    memory.take_up(stored, mono_s, wall_ns)
                except (KeyError, TypeError, ValueError, IndexError):
                    memory.learn([])


def _left_s(due_ns: int, wall_ns: int, longest_s: float) -> float:
    """Seconds that a stored time has left. A clock that is wrong cannot make it longer than it may be."""
    return min(max(due_ns - wall_ns, 0) / 1e9, longest_s)


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
