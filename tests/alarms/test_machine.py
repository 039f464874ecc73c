"""The ISA-18.2 table: what it has, and that nothing else ever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alarms.machine import ANNUNCIATED, SERVING, Action, State, step

STANDARD = {  # letters of the standard's diagram, latching or not; CB is its re-alarm
    False: "AB BC BD CA CB DA DB EF EB FA FB",
    True: "AB BC BE CF CB DA DB EF EB FA FB",
}
LETTERS = dict(zip("ABCDEFGHI", State, strict=True))


def allowed(latching: bool) -> set[tuple[State, State]]:
    pairs = {(LETTERS[pair[0]], LETTERS[pair[1]]) for pair in STANDARD[latching].split()}
    aside = [State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE]
    pairs |= {(state, out) for state in SERVING for out in aside}
    pairs |= {(state, State.OUT_OF_SERVICE) for state in aside[:2]}
    return pairs | {(state, State.NORMAL) for state in aside}


@pytest.mark.parametrize("latching", [False, True])
def test_the_table_holds_the_transitions_of_the_standard_and_no_others(latching: bool) -> None:
    found = {
        (state, after)
        for state in State
        for action in Action
        if (after := step(state, action, latching=latching)) is not None
    }

    assert found == allowed(latching)


@given(st.booleans(), st.lists(st.sampled_from(Action), max_size=60))
def test_a_random_history_takes_only_steps_of_the_standard(latching: bool, actions: list[Action]) -> None:
    state, standing = State.NORMAL, False
    for action in actions:
        after = step(state, action, latching=latching)
        if after is None:
            continue
        assert (state, after) in allowed(latching)
        if action in (Action.RAISE, Action.CLEAR):
            standing = action is Action.RAISE
        if after in (State.UNACKNOWLEDGED, State.ACKNOWLEDGED):
            assert standing
        if after in (State.LATCHED_UNACKNOWLEDGED, State.LATCHED_ACKNOWLEDGED):
            assert latching
        if latching:
            assert after is not State.RETURNED
        state = after


@given(st.booleans(), st.sampled_from(SERVING))
def test_a_raise_always_ends_in_asking_for_somebody_unless_that_is_known(latching: bool, state: State) -> None:
    after = step(state, Action.RAISE, latching=latching) or state

    assert after in ANNUNCIATED or state is State.ACKNOWLEDGED


def test_acknowledging_never_hides_a_condition_that_stands() -> None:
    assert step(State.UNACKNOWLEDGED, Action.ACKNOWLEDGE) is State.ACKNOWLEDGED
    assert step(State.ACKNOWLEDGED, Action.RESET) is None
    assert step(State.LATCHED_UNACKNOWLEDGED, Action.RESET, latching=True) is None
