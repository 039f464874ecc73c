"""The life of one alarm as a table: ISA-18.2 / IEC 62682.

What comes in: a state and what happened. What goes out: the next state, or None where the standard knows no
such transition. Pure; delays, texts and who did it are the engine's.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an alarm stands. The letters are those of the standard's diagram."""

    NORMAL = "normal"  # A
    UNACKNOWLEDGED = "unacknowledged"  # B: condition stands, nobody has said that they know
    ACKNOWLEDGED = "acknowledged"  # C: condition stands, somebody knows
    RETURNED = "returned"  # D: condition gone before anybody acknowledged
    LATCHED_UNACKNOWLEDGED = "latched_unacknowledged"  # E: as D, but kept until acknowledged and reset
    LATCHED_ACKNOWLEDGED = "latched_acknowledged"  # F: acknowledged, waits for the reset
    SHELVED = "shelved"  # G: by a person, for a limited time
    SUPPRESSED = "suppressed"  # H: by design, by logic
    OUT_OF_SERVICE = "out_of_service"  # I: by maintenance


class Action(StrEnum):
    """What may happen to an alarm."""

    RAISE = "raise"
    CLEAR = "clear"
    ACKNOWLEDGE = "acknowledge"
    RESET = "reset"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    REMOVE = "remove"
    RETURN = "return"
    REMIND = "remind"


SERVING = (
    State.NORMAL,
    State.UNACKNOWLEDGED,
    State.ACKNOWLEDGED,
    State.RETURNED,
    State.LATCHED_UNACKNOWLEDGED,
    State.LATCHED_ACKNOWLEDGED,
)
"""States A to F, in which the alarm follows its condition."""

ANNUNCIATED = (State.UNACKNOWLEDGED, State.RETURNED, State.LATCHED_UNACKNOWLEDGED)
"""States that ask for somebody."""

TABLE: dict[tuple[State, Action], State] = {
    (State.NORMAL, Action.RAISE): State.UNACKNOWLEDGED,
    (State.UNACKNOWLEDGED, Action.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.UNACKNOWLEDGED, Action.CLEAR): State.RETURNED,
    (State.ACKNOWLEDGED, Action.CLEAR): State.NORMAL,
    # The standard's re-alarm: acknowledged, and still there after the time that its rule allows.
    (State.ACKNOWLEDGED, Action.REMIND): State.UNACKNOWLEDGED,
    (State.RETURNED, Action.ACKNOWLEDGE): State.NORMAL,
    (State.RETURNED, Action.RAISE): State.UNACKNOWLEDGED,
    (State.LATCHED_UNACKNOWLEDGED, Action.ACKNOWLEDGE): State.LATCHED_ACKNOWLEDGED,
    (State.LATCHED_ACKNOWLEDGED, Action.RESET): State.NORMAL,
    # A latch must not hide that the condition is back: a second fire asks for somebody again.
    (State.LATCHED_UNACKNOWLEDGED, Action.RAISE): State.UNACKNOWLEDGED,
    (State.LATCHED_ACKNOWLEDGED, Action.RAISE): State.UNACKNOWLEDGED,
    # Back from G, H and I the condition is judged anew: NORMAL first, and a RAISE follows where it stands.
    (State.SHELVED, Action.UNSHELVE): State.NORMAL,
    (State.SUPPRESSED, Action.UNSUPPRESS): State.NORMAL,
    (State.OUT_OF_SERVICE, Action.RETURN): State.NORMAL,
    **{(state, Action.SHELVE): State.SHELVED for state in SERVING},
    **{(state, Action.SUPPRESS): State.SUPPRESSED for state in SERVING},
    **{(state, Action.REMOVE): State.OUT_OF_SERVICE for state in (*SERVING, State.SHELVED, State.SUPPRESSED)},
}
"""Every transition there is, for alarms that do not latch."""

LATCHING: dict[tuple[State, Action], State] = {
    **TABLE,
    (State.UNACKNOWLEDGED, Action.CLEAR): State.LATCHED_UNACKNOWLEDGED,
    (State.ACKNOWLEDGED, Action.CLEAR): State.LATCHED_ACKNOWLEDGED,
}
"""The same for alarms that latch."""


def step(state: State, action: Action, *, latching: bool = False) -> State | None:
    """The state after `action`; None where it is not allowed or changes nothing."""
    return (LATCHING if latching else TABLE).get((state, action))
