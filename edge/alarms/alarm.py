"""One alarm as everybody sees it, and what happened to it.

Both are snapshots that never change: the engine makes a new one for each transition, so what the journal,
the pushes and the pages are given stays what it was. `to_body` and `from_body` go through JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from drivers.point import Text, Value
from edge.alarms.machine import State

Event = Literal[
    "raised",
    "re-raised",
    "cleared",
    "acknowledged",
    "reset",
    "shelved",
    "unshelved",
    "suppressed",
    "unsuppressed",
    "removed",
    "returned",
    "reminded",
]
"""`removed` and `returned`: out of service and back; `reminded`: still there, long after it was acknowledged."""


AlarmClass = Literal["safety", "security", "service", "asset", "system"]
"""What is at stake: people, the perimeter, a supply, the equipment itself, the gateway's own sight."""


class Priority(StrEnum):
    """By consequence and time to respond."""

    CRITICAL = "critical"  # life safety
    HIGH = "high"  # loss of a service
    MEDIUM = "medium"  # degraded, same shift
    LOW = "low"  # maintenance, next day


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm rule of one equipment and where it stands."""

    id: str
    """`<equipment>.<rule>`"""
    equipment: str
    rule: str
    code: str
    priority: Priority
    state: State
    name: Text
    advice: Text
    cause: Text | None
    consequence: Text | None
    respond_s: float
    """Somebody should be at it within this time."""
    shelvable: bool
    active: bool = False
    """Whether the condition stands, delays included; it goes on being judged while shelved."""
    occurrence: int = 0
    """Counts up with each raise that follows an acknowledgement; 0: never raised."""
    seq: int = 0
    """Order of raising over all alarms: the first out of several in one moment has the smallest."""
    raised_ns: int | None = None
    cleared_ns: int | None = None
    acked_ns: int | None = None
    acked_by: str | None = None
    point: str | None = None
    """Id of the point that raised it; None where there is none (a silent device, a connection)."""
    value: Value = None
    """What that point read when the alarm was raised."""
    measured: Text | None = None
    """What was compared then, where that is a number made of points: a rise, a count, a difference, an unbalance."""
    shelved_until_ns: int | None = None
    cls: AlarmClass = "asset"
    """What is at stake."""

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "id": self.id,
            "equipment": self.equipment,
            "rule": self.rule,
            "code": self.code,
            "priority": self.priority.value,
            "state": self.state.value,
            "name": _text(self.name),
            "advice": _text(self.advice),
            "cause": _text(self.cause),
            "consequence": _text(self.consequence),
            "respond_s": self.respond_s,
            "shelvable": self.shelvable,
            "active": self.active,
            "occurrence": self.occurrence,
            "seq": self.seq,
            "raised_ns": self.raised_ns,
            "cleared_ns": self.cleared_ns,
            "acked_ns": self.acked_ns,
            "acked_by": self.acked_by,
            "point": self.point,
            "value": self.value,
            "measured": _text(self.measured),
            "shelved_until_ns": self.shelved_until_ns,
            "cls": self.cls,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Alarm:
        """The alarm that `to_body` was made of. Raises ValueError where the body is none."""
        try:
            given = dict(body)
            for key in ("name", "advice", "cause", "consequence", "measured"):
                text = given.get(key)  # older ones have nothing measured
                given[key] = None if text is None else Text.from_body(text)
            given["priority"] = Priority(given["priority"])
            given["state"] = State(given["state"])
            given["seq"], given["occurrence"] = int(given["seq"]), int(given["occurrence"])
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"is no stored alarm: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Transition:
    """One thing that happened to one alarm."""

    alarm: Alarm
    """As it stands afterwards."""
    event: Event
    time_ns: int
    """Our wall clock, Unix time in ns."""
    who: str = ""
    """Empty where nobody did it: the condition, the clock, the logic."""
    note: str = ""

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "alarm": self.alarm.to_body(),
            "event": self.event,
            "time_ns": self.time_ns,
            "who": self.who,
            "note": self.note,
        }


class AlarmRefused(Exception):
    """What was asked of an alarm cannot be done; the message says why and what to do instead."""

    def __init__(self, kind: Literal["not_found", "refused", "conflict"], message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """`refused`: never so; `conflict`: not as the alarm stands now."""


def _text(text: Text | None) -> dict[str, str] | None:
    return None if text is None else text.to_body()
