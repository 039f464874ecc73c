"""Alarms that repeat themselves: chattering (at least 3 in a minute) and fleeting (gone before anybody can act).

What comes in: when each alarm is raised and cleared, with the value of its point. What goes out: which alarms people
are not told of again until they have calmed down, and the delay or deadband that would have calmed them, worked out
of what was seen. A critical alarm is never held. Pure. Figures: EEMUA 191, ISA-18.2.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from drivers.point import Text, Value
from edge.incidents.dossier import Trait

CHATTER = 3
"""So many raises within CHATTER_S are chattering."""
CHATTER_S = 60.0
FLEETING_S = 10.0
"""An alarm that clears sooner than this is gone before anybody can act."""
FLEETING = 3
"""So many fleeting raises within FLEETING_SPAN_S are a habit."""
FLEETING_SPAN_S = 3600.0
KEPT = 30
"""Raises of one alarm that are remembered."""
_NICE = (1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1200, 1800, 3600)
_LONGEST_S = 3600.0
"""No longer delay is suggested: it would hide the alarm."""

Kind = Literal["chattering", "fleeting"]


@dataclass(slots=True)
class Raise:
    """One raise of an alarm, and its end."""

    at_s: float
    value: float | None
    ended_s: float | None = None
    ended_value: float | None = None

    @property
    def lasted_s(self) -> float | None:
        """None while it stands."""
        return None if self.ended_s is None else self.ended_s - self.at_s


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What would have calmed an alarm."""

    on_delay_s: float | None = None
    off_delay_s: float | None = None
    deadband: float | None = None

    def text(self) -> Text:
        """For whoever looks after the rules."""
        zh, en = [], []
        if self.deadband is not None:
            zh.append(f"回差 deadband: {self.deadband:g}")
            en.append(f"deadband: {self.deadband:g}")
        if self.off_delay_s is not None:
            zh.append(f"恢复延时 off_delay: {_duration(self.off_delay_s)}")
            en.append(f"off_delay: {_duration(self.off_delay_s)}")
        if self.on_delay_s is not None:
            zh.append(f"触发延时 on_delay: {_duration(self.on_delay_s)}")
            en.append(f"on_delay: {_duration(self.on_delay_s)}")
        if not zh:
            return Text("查找接触不良或信号干扰", "Look for a loose contact or a disturbed signal")
        return Text("建议 " + " 或 ".join(zh), "Suggested: " + ", or ".join(en))

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        text = self.text()
        return {
            "on_delay_s": self.on_delay_s, "off_delay_s": self.off_delay_s, "deadband": self.deadband,
            "text": text.to_body(),
        }  # fmt: skip


@dataclass(slots=True)
class History:
    """What one alarm did lately."""

    trait: Trait
    critical: bool = False
    """It is never held, and nothing is suggested that would delay it."""
    raises: deque[Raise] = field(default_factory=lambda: deque(maxlen=KEPT))
    kind: Kind | None = None
    """What it is now; None: it behaves."""
    held_until_s: float = 0.0

    def raised(self, at_s: float, value: Value) -> None:
        """One more raise; says by `kind` whether people are told."""
        self.raises.append(Raise(at_s, _number(value)))
        lately = sum(each.at_s > at_s - CHATTER_S for each in self.raises)
        if lately >= CHATTER:
            self.kind, self.held_until_s = "chattering", at_s + CHATTER_S
        elif self._fleeting(at_s) >= FLEETING:
            self.kind, self.held_until_s = "fleeting", at_s + FLEETING_S
        elif self.kind is not None and at_s >= self.held_until_s:
            self.kind = None

    def cleared(self, at_s: float, value: Value) -> None:
        """Its condition has gone."""
        if self.raises and self.raises[-1].ended_s is None:
            self.raises[-1].ended_s, self.raises[-1].ended_value = at_s, _number(value)

    def _fleeting(self, at_s: float) -> int:
        return sum(
            each.lasted_s is not None and each.lasted_s < FLEETING_S and each.at_s > at_s - FLEETING_SPAN_S
            for each in self.raises
        )

    def suggestion(self) -> Suggestion:
        """What would have calmed it: longer than its longest raise or pause, wider than its widest swing."""
        if self.critical:
            return Suggestion()
        over = [each for each in self.raises if each.ended_s is not None]
        pauses = [
            after.at_s - before.ended_s
            for before, after in zip(self.raises, list(self.raises)[1:], strict=False)
            if before.ended_s is not None
        ]
        if self.kind == "fleeting":
            lasted = [each.lasted_s or 0.0 for each in over]
            return Suggestion(on_delay_s=_nice(self.trait.on_delay_s + max(lasted)) if lasted else None)
        off_s = _nice(self.trait.off_delay_s + max(pauses)) if pauses else None
        return Suggestion(off_delay_s=off_s, deadband=_swing(over))


class Repeats:
    """All alarms that were raised lately."""

    def __init__(self) -> None:
        self._once: dict[str, Raise] = {}
        """Alarms that came once so far: most never come again, and a history of theirs would be for nothing."""
        self._known: dict[str, History] = {}

    def raised(self, alarm_id: str, trait: Trait, at_s: float, value: Value, *, critical: bool) -> History | None:
        """Note a raise. Its history where people are not to be told of it now, else None."""
        history = self._known.get(alarm_id)
        if history is None:
            first = self._once.pop(alarm_id, None)
            if first is None:
                self._once[alarm_id] = Raise(at_s, _number(value))
                return None
            history = self._known[alarm_id] = History(trait, critical)
            history.raises.append(first)
        history.raised(at_s, value)
        return history if history.kind is not None and not critical else None

    def cleared(self, alarm_id: str, at_s: float, value: Value) -> None:
        """Note that an alarm has cleared."""
        history, first = self._known.get(alarm_id), self._once.get(alarm_id)
        if history is not None:
            history.cleared(at_s, value)
        elif first is not None and first.ended_s is None:
            first.ended_s, first.ended_value = at_s, _number(value)

    def calm(self, alarm_id: str, now_s: float) -> bool:
        """Whether an alarm that was held may be told of again."""
        history = self._known.get(alarm_id)
        if history is None or now_s >= history.held_until_s:
            if history is not None:
                history.kind = None
            return True
        return False

    def forget(self, before_s: float) -> None:
        """Drop what was raised last before a time."""
        for alarm_id in [name for name, each in self._known.items() if each.raises[-1].at_s < before_s]:
            del self._known[alarm_id]
        for alarm_id in [name for name, each in self._once.items() if each.at_s < before_s]:
            del self._once[alarm_id]

    def row(self, alarm_id: str, now_s: float) -> dict[str, Any] | None:
        """What an alarm has been doing and what would calm it, for lists; None where it behaves."""
        history = self._known.get(alarm_id)
        if history is None or history.kind is None or now_s >= history.held_until_s + FLEETING_SPAN_S:
            return None
        lately = [each for each in history.raises if each.at_s > now_s - FLEETING_SPAN_S]
        return {"kind": history.kind, "raises": len(lately), "suggestion": history.suggestion().to_body()}


def _number(value: Value) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _swing(over: list[Raise]) -> float | None:
    """A deadband wider than the widest swing seen between raise and clear; None where there are no numbers.

    Every value at a raise was beyond the limit, so the least of them is: no deadband longer than that is needed.
    """
    pairs = [
        (each.value, each.ended_value) for each in over if each.value is not None and each.ended_value is not None
    ]
    if len(pairs) < 2:
        return None
    raised, cleared = [a for a, _ in pairs], [b for _, b in pairs]
    above = sum(raised) > sum(cleared)
    width = min(raised) - min(cleared) if above else max(cleared) - max(raised)
    if width <= 0:
        return None
    step = 10.0 ** (math.floor(math.log10(width)) - 1)
    return float(f"{(math.floor(width / step) + 1) * step:.6g}")


def _nice(seconds: float) -> float | None:
    """The next round duration above; None where that would hide the alarm."""
    return next((float(each) for each in _NICE if each > seconds), None) if seconds < _LONGEST_S else None


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g}s"
