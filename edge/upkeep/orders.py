"""Work orders: one task for one person, from open to verified.

    open -> accepted -> started -> done -> verified        cancelled, from any but verified

Snapshots that never change; each step makes a new one and adds a line to its history. Starting an open order
accepts it too, and both are written down. `to_body` and `from_body` go through JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from drivers.point import Text


class OrderState(StrEnum):
    """Where an order stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    STARTED = "started"
    DONE = "done"
    VERIFIED = "verified"
    CANCELLED = "cancelled"


PENDING = (OrderState.OPEN, OrderState.ACCEPTED, OrderState.STARTED)
"""The work is still to be done: its plan opens no other order."""
CLOSED = (OrderState.VERIFIED, OrderState.CANCELLED)

Event = Literal["opened", "accepted", "started", "done", "verified", "cancelled"]

_STEPS: dict[tuple[OrderState, str], tuple[Event, ...]] = {
    (OrderState.OPEN, "accept"): ("accepted",),
    (OrderState.OPEN, "start"): ("accepted", "started"),
    (OrderState.ACCEPTED, "start"): ("started",),
    (OrderState.STARTED, "done"): ("done",),
    (OrderState.DONE, "verify"): ("verified",),
    **{(state, "cancel"): ("cancelled",) for state in (*PENDING, OrderState.DONE)},
}
STEPS = ("accept", "start", "done", "verify", "cancel")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order's history."""

    event: str
    time_ns: int
    who: str
    note: str


@dataclass(frozen=True, slots=True)
class Order:
    """One work order and where it stands."""

    id: str
    """`WO-000001` and up."""
    equipment: str
    plan: str
    title: Text
    task: Text
    priority: str
    cause: Text
    """Why it was opened."""
    opened_ns: int
    due_ns: int | None
    """End of the day on which it is due; None where it is due at once."""
    state: OrderState = OrderState.OPEN
    due_value: float | None = None
    """What the meter reads when it is due, for plans by meter."""
    done_value: float | None = None
    """What the meter read when the work was done or dropped."""
    finished_ns: int | None = None
    """When the work was done or dropped: from here the plan counts on."""
    history: tuple[Line, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether the work is still to be done."""
        return self.state in PENDING

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "id": self.id,
            "equipment": self.equipment,
            "plan": self.plan,
            "title": self.title.to_body(),
            "task": self.task.to_body(),
            "priority": self.priority,
            "cause": self.cause.to_body(),
            "opened_ns": self.opened_ns,
            "due_ns": self.due_ns,
            "state": self.state.value,
            "due_value": self.due_value,
            "done_value": self.done_value,
            "finished_ns": self.finished_ns,
            "history": [
                {"event": line.event, "time_ns": line.time_ns, "who": line.who, "note": line.note}
                for line in self.history
            ],
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Order:
        """The order that `to_body` was made of. Raises ValueError where the body is none."""
        try:
            given = dict(body)
            for key in ("title", "task", "cause"):
                given[key] = Text.from_body(given[key])
            given["state"] = OrderState(given["state"])
            given["history"] = tuple(Line(**line) for line in given["history"])
            order_number(str(given["id"]))
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"is no stored order: {error!r}") from error


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One thing that happened to one order."""

    order: Order
    """As it stands afterwards."""
    event: Event
    time_ns: int
    who: str = ""
    """Empty where the plan did it."""
    note: str = ""

    def to_body(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "order": self.order.to_body(),
            "event": self.event,
            "time_ns": self.time_ns,
            "who": self.who,
            "note": self.note,
        }


class OrderRefused(Exception):
    """What was asked of an order cannot be done; the message says why and what to do instead."""

    def __init__(self, kind: Literal["not_found", "refused", "conflict"], message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """`refused`: never so; `conflict`: not as the order stands now."""


def order_id(number: int) -> str:
    """`WO-000001` for 1."""
    return f"WO-{number:06d}"


def order_number(text: str) -> int:
    """1 for `WO-000001`; ValueError for anything else."""
    prefix, _, digits = text.partition("-")
    if prefix != "WO" or not digits.isdecimal():
        raise ValueError(f"{text!r} is no order; it is like WO-000001")
    return int(digits)


def opened(order: Order) -> OrderEvent:
    """A new order as its plan opens it."""
    line = Line("opened", order.opened_ns, "", "")
    return OrderEvent(replace(order, history=(line,)), "opened", order.opened_ns)


def advance(order: Order, step: str, who: str, note: str, wall_ns: int, reading: float | None = None) -> OrderEvent:
    """Take one step. `reading` is what the plan's meter reads now. Raises `OrderRefused`."""
    who, note = who.strip(), note.strip()
    if step not in STEPS:
        raise OrderRefused("refused", f"{step!r} is no step of an order; the steps are {', '.join(STEPS)}")
    if not who:
        raise OrderRefused("refused", "a name is missing; it goes into the order's history")
    if step == "cancel" and not note:
        raise OrderRefused("refused", f"{order.id} is not cancelled without a reason; write it as the note")
    events = _STEPS.get((order.state, step))
    if events is None:
        allowed = [name for name in STEPS if (order.state, name) in _STEPS]
        hint = f"; possible now: {', '.join(allowed)}" if allowed else "; nothing more is possible"
        raise OrderRefused("conflict", f"{order.id} is {order.state.value}{hint}")
    lines = tuple(Line(event, wall_ns, who, note if event == events[-1] else "") for event in events)
    after = replace(order, state=OrderState(events[-1]), history=order.history + lines)
    if order.pending and not after.pending:
        after = replace(after, finished_ns=wall_ns, done_value=reading)
    return OrderEvent(after, events[-1], wall_ns, who, note)
