"""Plans by the calendar, told as days."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.upkeep.period import Period, parse_period
from edge.upkeep.plans import Calendar
from edge.upkeep.schedule import CalendarSchedule
from tests.upkeep.scene import SHANGHAI, Upkeep, local, ns

FIXED = "visit: {every: P15D, fixed: true}"
FLOATING = "clean: {every: P1M}"


def test_a_visit_falls_due_at_midnight_of_its_day() -> None:
    upkeep = Upkeep(FIXED, last={"visit": "2026-03-01"}, start="2026-03-02T08:00")
    assert upkeep.tick() == []
    assert upkeep.at("2026-03-15T23:59:59") == []
    (event,) = upkeep.at("2026-03-16T00:00")

    order = event.order
    assert (event.event, order.id, order.equipment, order.plan) == ("opened", "WO-000001", "pump-1", "visit")
    assert local(order.due_ns) == "2026-03-16T23:59:59"
    assert (order.cause.zh, order.cause.en) == ("每15天一次，应于2026-03-16完成", "every 15 days, due 2026-03-16")
    assert upkeep.at("2026-03-20T00:00") == []


def test_an_order_is_opened_its_lead_before_it_is_due() -> None:
    upkeep = Upkeep("visit: {every: P15D, lead: P3D, fixed: true}", last={"visit": "2026-03-01"})
    assert upkeep.at("2026-03-12T23:59") == []
    (event,) = upkeep.at("2026-03-13T00:00")

    assert local(event.order.due_ns) == "2026-03-16T23:59:59"


def test_a_fixed_plan_keeps_its_days_whenever_the_work_is_done() -> None:
    upkeep = Upkeep("visit: {every: P15D, lead: P3D, fixed: true}", last={"visit": "2026-03-01"})
    for opens, done, due in [
        ("2026-03-13", "2026-03-14", "2026-03-16"),  # early
        ("2026-03-28", "2026-04-05", "2026-03-31"),  # late
        ("2026-04-12", "2026-04-15", "2026-04-15"),  # on the day
        ("2026-04-27", "2026-04-28", "2026-04-30"),
    ]:
        assert upkeep.at(f"{opens}T00:00:00")[0].order.due_ns == ns(f"{due}T23:59:59")
        upkeep.at(f"{done}T15:00")
        upkeep.step(upkeep.engine.orders()[-1], "start", "done")


def test_a_floating_plan_counts_from_the_day_on_which_the_work_was_done() -> None:
    upkeep = Upkeep(FLOATING, last={"clean": "2026-01-31"})
    (event,) = upkeep.at("2026-03-05T09:00")
    assert local(event.order.due_ns) == "2026-02-28T23:59:59"
    upkeep.at("2026-03-10T15:00")
    upkeep.step(event.order, "start", "done")
    assert upkeep.at("2026-04-09T23:59") == []

    assert upkeep.at("2026-04-10T00:00")[0].order.due_ns == ns("2026-04-10T23:59:59")


def test_missed_visits_are_one_order_that_says_so() -> None:
    upkeep = Upkeep(FIXED, last={"visit": "2026-01-01"}, start="2026-03-02T08:00")
    (event,) = upkeep.tick()
    assert local(event.order.due_ns) == "2026-01-16T23:59:59"
    assert event.order.cause.en == "every 15 days, due 2026-01-16; 2 more missed since"
    assert event.order.cause.zh.endswith("；此后又错过2次")
    upkeep.step(event.order, "start", "done")
    assert upkeep.tick() == []

    assert upkeep.at("2026-03-17T00:00")[0].order.due_ns == ns("2026-03-17T23:59:59")


def test_a_plan_that_was_never_done_counts_from_the_first_start() -> None:
    upkeep = Upkeep("year: {every: P1Y}", start="2026-03-02T08:00")
    assert upkeep.tick() == []
    again = upkeep.restarted(Upkeep("year: {every: P1Y}"))
    assert again.at("2027-03-01T23:59") == []

    assert len(again.at("2027-03-02T00:00")) == 1


def test_the_calendar_waits_until_the_clock_is_set() -> None:
    upkeep = Upkeep(FIXED, start="1970-01-05T08:00")
    assert upkeep.tick() == []
    upkeep.wall_ns = ns("2026-03-02T08:00")
    assert upkeep.tick() == []

    assert upkeep.at("2026-03-17T00:00")[0].order.due_ns == ns("2026-03-17T23:59:59")


def test_work_done_while_the_clock_was_not_set_does_not_open_the_order_again() -> None:
    upkeep = Upkeep(FLOATING, last={"clean": "2026-01-31"}, start="2026-03-05T09:00")
    (event,) = upkeep.tick()
    upkeep.wall_ns = ns("1970-01-05T08:00")
    upkeep.step(event.order, "start", "done")
    upkeep.wall_ns = ns("2026-03-05T10:00")

    assert upkeep.tick() == []


def test_a_cancelled_visit_does_not_come_back_before_the_next() -> None:
    upkeep = Upkeep(FIXED, last={"visit": "2026-03-01"})
    (event,) = upkeep.at("2026-03-16T08:00")
    upkeep.step(event.order, "cancel")
    assert upkeep.tick() == []

    assert len(upkeep.at("2026-03-31T00:00")) == 1


@pytest.mark.parametrize("stored", [True, False])
def test_a_finished_order_is_not_opened_again_after_a_restart(stored: bool) -> None:
    """Even where the plan itself was not stored since: the order says what was finished."""
    upkeep = Upkeep(FIXED, last={"visit": "2026-03-01"})
    early = upkeep.engine.bodies()
    (event,) = upkeep.at("2026-03-16T08:00")
    upkeep.step(event.order, "start", "done")
    again = Upkeep(FIXED, last={"visit": "2026-03-01"})
    if stored:
        upkeep.restarted(again)
    else:
        plans = {key: body for (kind, key), body in early.items() if kind == "plan" and body}
        again.engine.restore({order.id: order.to_body() for order in upkeep.engine.orders()}, {}, plans)
        again.wall_ns = upkeep.wall_ns
    assert again.tick() == []
    (following,) = again.at("2026-03-31T00:00")

    assert following.order.id == "WO-000002"


def test_what_the_site_file_newly_says_about_the_last_time_goes_before_what_is_stored() -> None:
    upkeep = Upkeep(FLOATING, start="2026-03-02T08:00")
    upkeep.tick()
    again = upkeep.restarted(Upkeep(FLOATING, last={"clean": "2026-02-10"}))

    assert again.at("2026-03-09T12:00") == []
    assert len(again.at("2026-03-10T00:00")) == 1


def test_a_plan_with_a_new_rhythm_counts_from_where_the_old_one_began() -> None:
    upkeep = Upkeep(FIXED, last={"visit": "2026-03-01"})
    again = upkeep.restarted(Upkeep("visit: {every: P1M, fixed: true}", last={"visit": "2026-03-01"}))

    assert again.at("2026-04-01T00:00")[0].order.due_ns == ns("2026-04-01T23:59:59")


# ---- any calendar --------------------------------------------------------------------------------------

PERIODS = st.builds(Period, st.integers(0, 30), st.integers(0, 60)).filter(lambda p: p.about_days > 0)
DAYS = st.dates(dt.date(2000, 1, 1), dt.date(2060, 12, 31))


@given(PERIODS, DAYS, st.integers(1, 60))
def test_due_days_only_go_forward(period: Period, start: dt.date, times: int) -> None:
    assert start < period.after(start, times) < period.after(start, times + 1)


@given(st.integers(1, 24), DAYS, st.integers(1, 40))
def test_months_never_drift(months: int, start: dt.date, times: int) -> None:
    """The day of the month is that of the start, or the month's last where the month is shorter."""
    due = Period(months, 0).after(start, times)
    first = due.replace(day=28) + dt.timedelta(days=4)
    last_of_month = (first - dt.timedelta(days=first.day)).day

    assert due.day == min(start.day, last_of_month)
    assert (due.year - start.year) * 12 + due.month - start.month == months * times


@settings(max_examples=60)
@given(PERIODS, DAYS, st.lists(st.integers(-20, 90), max_size=15))
def test_a_fixed_plan_stays_on_its_own_days_however_early_or_late_the_work_is(
    period: Period, start: dt.date, delays: list[int]
) -> None:
    schedule = CalendarSchedule(Calendar(period, True, None, start), SHANGHAI)
    own = {period.after(start, times) for times in range(1, 1500 // max(1, int(period.about_days)) + 20)}
    for delay in delays:
        due = schedule.due
        assert due in own or due is None or due > max(own)
        assert due is not None
        schedule.finished(due, due + dt.timedelta(days=delay))
        assert schedule.due is not None
        assert schedule.due > due
        after = schedule.due
        schedule.finished(due, due + dt.timedelta(days=delay))  # the same, told again
        assert schedule.due == after


@given(st.text(max_size=12))
def test_no_text_breaks_the_reading_of_periods(text: str) -> None:
    try:
        period = parse_period(text)
    except ValueError:
        return
    assert period.about_days > 0
