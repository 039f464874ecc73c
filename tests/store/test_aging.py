"""What is deleted by age is not deleted on the word of a clock that has leaped, until that has proved itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.store.aging import HOLD_S, LEAP_NS, Aging

START = 1_767_225_600_000_000_000
DAY_S = 86_400.0
DAY_NS = 86_400 * 10**9
YEAR_S = 365 * DAY_S


def run(clock: ManualClock, aging: Aging, days: float) -> None:
    """The box runs on; it is looked at as the keeper does, more seldom."""
    for _ in range(round(days * 24)):
        clock.advance(3600)
        aging.now_ns()


def events(aging: Aging) -> list[str]:
    return [each.event for each in aging.news()]


def stopped(aging: Aging) -> dict[str, Any]:
    """What a process leaves behind."""
    kept: dict[str, Any] = json.loads(json.dumps(aging.body()))
    return kept


def test_as_long_as_the_clock_goes_its_way_history_is_aged_by_it() -> None:
    clock = ManualClock(START)
    aging = Aging(clock)
    run(clock, aging, 30)
    assert aging.now_ns() == clock.wall_ns()
    clock.step_wall(-3 * 3600)
    assert aging.now_ns() == clock.wall_ns()
    clock.step_wall(23 * 3600)
    assert aging.now_ns() == clock.wall_ns()
    assert not aging.held
    assert events(aging) == []


@pytest.mark.parametrize(("leap", "hold"), [(2, 2), (6.5, 6.5), (7, 7), (90, 7), (5 * 365, 7), (60 * 365, 7)])
def test_a_leap_counts_once_the_box_has_run_as_long_as_it_was_wide_a_week_at_most(leap: float, hold: float) -> None:
    clock = ManualClock(START)
    aging = Aging(clock)
    clock.step_wall(leap * DAY_S)
    assert aging.now_ns() == START
    (news,) = aging.news()
    assert (news.event, news.leap_ns, news.hold_s) == ("held", round(leap * DAY_NS), hold * DAY_S)
    run(clock, aging, hold - 1 / 24)
    assert aging.held
    assert aging.held_s == pytest.approx(3600)
    assert aging.now_ns() == START + round((hold - 1 / 24) * DAY_NS), "what was known runs on meanwhile"
    assert events(aging) == []
    run(clock, aging, 1 / 24)
    assert aging.now_ns() == clock.wall_ns()
    assert events(aging) == ["believed"]
    assert not aging.held


def test_a_clock_that_is_set_back_in_time_has_cost_nothing() -> None:
    clock = ManualClock(START)
    aging = Aging(clock)
    clock.step_wall(5 * YEAR_S)
    run(clock, aging, 6.9)
    clock.step_wall(-5 * YEAR_S)
    assert aging.now_ns() == clock.wall_ns() == START + round(6.9 * 24) * 3600 * 10**9
    assert events(aging) == ["held", "back"]


def test_a_second_leap_has_to_prove_itself_anew() -> None:
    clock = ManualClock(START)
    aging = Aging(clock)
    clock.step_wall(90 * DAY_S)
    run(clock, aging, 6)
    clock.step_wall(5 * YEAR_S)
    aging.now_ns()
    run(clock, aging, 6)
    assert aging.now_ns() == START + 12 * DAY_NS
    assert events(aging) == ["held", "held"]
    run(clock, aging, 1)
    assert aging.now_ns() == clock.wall_ns()


def test_a_hold_goes_on_through_restarts_of_the_daemon_and_of_the_box() -> None:
    clock = ManualClock(START)
    aging = Aging(clock, boot="one")
    clock.step_wall(90 * DAY_S)
    aging.now_ns()
    run(clock, aging, 2)
    kept = stopped(aging)
    clock.advance(DAY_S)  # the daemon is stopped, the box runs on
    aging = Aging(clock, kept, boot="one")
    assert aging.held_s == 4 * DAY_S
    kept = stopped(aging)
    other = ManualClock(clock.wall_ns() + 3600 * 10**9, mono_s=5)  # the box was off for an hour
    aging = Aging(other, kept, boot="two")
    assert aging.held_s == 4 * DAY_S
    run(other, aging, 3.9)
    assert aging.held
    run(other, aging, 0.2)
    assert aging.now_ns() == other.wall_ns()
    assert events(aging) == ["believed"]


def test_a_leap_while_the_daemon_or_the_box_was_off_is_one_too() -> None:
    clock = ManualClock(START)
    aging = Aging(clock, boot="one")
    kept = stopped(aging)
    clock.advance(5 * DAY_S)
    aging = Aging(clock, kept, boot="one")
    assert aging.now_ns() == clock.wall_ns(), "within one boot the monotonic clock tells how long it was stopped"
    kept = stopped(aging)
    clock.step_wall(YEAR_S)
    assert Aging(clock, kept, boot="one").held
    drawer = ManualClock(START + 95 * DAY_NS, mono_s=3)
    aging = Aging(drawer, kept, boot="two")
    assert aging.held
    run(drawer, aging, 7)
    assert aging.now_ns() == drawer.wall_ns(), "it lay in a drawer for three months"


def test_at_the_first_start_the_newest_stamp_of_what_is_stored_tells() -> None:
    clock = ManualClock(START)
    assert Aging(clock).now_ns() == START
    assert Aging(clock, newest_ns=START - 10 * DAY_NS).now_ns() == START - 10 * DAY_NS
    assert Aging(clock, newest_ns=START - LEAP_NS).now_ns() == START
    assert Aging(clock, newest_ns=START + 10 * DAY_NS).now_ns() == START


@pytest.mark.parametrize("kept", [{}, {"reached_ns": "x"}, {"reached_ns": 1, "seen_ns": 1, "seen_s": 0, "boot": ""}])
def test_what_cannot_be_read_of_the_last_run_is_as_at_the_first_start(kept: dict[str, Any]) -> None:
    clock = ManualClock(START)
    aging = Aging(clock, kept, newest_ns=START - 10 * DAY_NS)
    assert aging.now_ns() == START - 10 * DAY_NS


def test_a_time_that_nobody_vouches_for_never_counts() -> None:
    clock = ManualClock(START)
    aging = Aging(clock)
    clock.step_wall(5 * YEAR_S)
    clock.time_known = False
    run(clock, aging, 30)
    assert aging.now_ns() == START + 30 * DAY_NS
    clock.time_known = True
    run(clock, aging, 7)
    assert aging.now_ns() == clock.wall_ns()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["run", "leap", "stop", "off"]),
        st.timedeltas(timedelta(days=-4000), timedelta(days=4000)).map(lambda each: each.total_seconds()),
    ),
    max_size=30,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_the_clock_does_no_leap_counts_sooner_than_it_may(steps: list[tuple[str, float]]) -> None:
    """The time to age by is never ahead of the clock, and gains on the monotonic clock only by what was proved."""
    clock, boot = ManualClock(START), "0"
    aging = Aging(clock, boot=boot)
    for number, (what, seconds) in enumerate(steps):
        before_ns, before_s, wall_ns, kept = aging.now_ns(), clock.mono_s(), clock.wall_ns(), stopped(aging)
        ran_s = abs(seconds) % (3 * DAY_S)
        if what == "run":
            clock.advance(ran_s)
        elif what == "leap":
            clock.step_wall(seconds)
        elif what == "stop":
            clock.advance(ran_s)
            aging = Aging(clock, kept, boot=boot)
        else:
            boot = str(number + 1)
            clock = ManualClock(wall_ns + round(seconds * 1e9), mono_s=before_s)
            aging = Aging(clock, kept, boot=boot)
        was_held = aging.held
        now_ns = aging.now_ns()
        assert now_ns <= clock.wall_ns()
        gained_ns = now_ns - before_ns - round((clock.mono_s() - before_s) * 1e9)
        assert gained_ns <= LEAP_NS + 10**6 or "believed" in events(aging) or not was_held
        if what in ("leap", "off"):
            assert gained_ns <= LEAP_NS + 10**6, "a leap is never believed at once"
    run(clock, aging, HOLD_S / DAY_S + 0.1)
    assert aging.now_ns() == clock.wall_ns(), "and in the end it goes on by itself"
