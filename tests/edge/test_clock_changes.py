"""Clocks that step, days of 23 and 25 hours, leap days: delays, shelves, meters and schedules stay right."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from edge.upkeep.engine import UpkeepEngine
from edge.upkeep.period import parse_period
from edge.upkeep.plans import Calendar
from edge.upkeep.schedule import CalendarSchedule
from tests.alarms.scene import Scene
from tests.upkeep.scene import Upkeep, plans

HOUR = 3600 * 10**9
HOT = "hot: {point: temperature, above: 70, on_delay: 60s, off_delay: 60s}"
STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])


@STEPS
def test_an_alarm_waits_its_delay_whatever_the_clock_does_meanwhile(step: int) -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.tick(1)
    assert scene.engine.tick(scene.mono_s + 58, scene.wall_ns + step + 58 * 10**9) == []
    (raised,) = scene.engine.tick(scene.mono_s + 59, scene.wall_ns + step + 59 * 10**9)
    assert (raised.event, raised.time_ns - scene.wall_ns) == ("raised", step + 59 * 10**9)


@STEPS
def test_a_shelf_lasts_as_long_as_was_said(step: int) -> None:
    scene = Scene("hot: {point: temperature, above: 70, shelvable: true}")
    scene.read(0, temperature=90.0)
    scene.shelve("hot", minutes=90)
    assert scene.engine.tick(scene.mono_s + 89 * 60, scene.wall_ns + step + 89 * 60 * 10**9) == []
    events = scene.engine.tick(scene.mono_s + 90 * 60, scene.wall_ns + step + 90 * 60 * 10**9)
    assert [event.event for event in events] == ["unshelved", "raised"]


@STEPS
def test_hours_of_running_are_hours_that_it_ran(step: int) -> None:
    upkeep = Upkeep("")
    for _ in range(60):
        upkeep.read(True)
        upkeep.wait(1)
    upkeep.wall_ns += step
    for _ in range(60):
        upkeep.read(True)
        upkeep.wait(1)
    (hours,) = [meter.value for meter in upkeep.engine.meters()]
    assert hours == pytest.approx(119 / 3600)


def test_a_clock_that_is_set_back_over_midnight_opens_no_order_twice() -> None:
    upkeep = Upkeep("visit: {every: P15D, fixed: true}", last={"visit": "2026-03-01"}, start="2026-03-15T23:30")
    (event,) = upkeep.at("2026-03-16T00:10")
    upkeep.wall_ns -= HOUR
    assert upkeep.tick() == []
    upkeep.step(event.order, "start", "done")
    assert upkeep.tick() == []
    upkeep.wait(3600)
    assert upkeep.tick() == []
    assert len(upkeep.engine.orders()) == 1


@pytest.mark.parametrize(
    ("zone", "last", "opens"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-29T00:00:00+01:00"),  # a day of 23 hours
        ("Europe/Berlin", "2026-03-29", "2026-03-30T00:00:00+02:00"),
        ("Europe/Berlin", "2026-10-24", "2026-10-25T00:00:00+02:00"),  # of 25
        ("Europe/Berlin", "2026-10-25", "2026-10-26T00:00:00+01:00"),
        ("America/New_York", "2026-03-07", "2026-03-08T00:00:00-05:00"),
        ("Africa/Cairo", "2026-04-23", "2026-04-24T01:00:00+03:00"),  # a day without a midnight
        ("Asia/Shanghai", "2028-02-28", "2028-02-29T00:00:00+08:00"),
    ],
)
def test_the_next_day_begins_when_the_community_s_day_does(zone: str, last: str, opens: str) -> None:
    schedule = CalendarSchedule(
        Calendar(parse_period("P1D"), fixed=True, last=dt.date.fromisoformat(last), lead=None), ZoneInfo(zone)
    )
    assert schedule.opens_ns == int(dt.datetime.fromisoformat(opens).timestamp()) * 10**9


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai"])
def test_through_a_year_of_changes_each_day_opens_one_order_on_its_day(zone: str) -> None:
    made, document = plans("daily: {every: P1D, fixed: true}", {"daily": "2027-12-31"})
    assert not document.faults
    engine = UpkeepEngine([], made, ZoneInfo(zone))
    moment = dt.datetime(2027, 12, 31, 12, tzinfo=ZoneInfo(zone)).timestamp()
    days = []
    for _ in range(367 * 48):
        moment += 1800
        for event in engine.tick(moment, round(moment * 1e9)):
            days.append(dt.datetime.fromtimestamp(event.time_ns / 1e9, ZoneInfo(zone)))
            engine.step(event.order.id, "start", "li", "", event.time_ns)
            engine.step(event.order.id, "done", "li", "", event.time_ns)
    assert {(day.hour, day.minute) for day in days} <= {(0, 0), (0, 30)}
    assert [day.date() for day in days] == [dt.date(2028, 1, 1) + dt.timedelta(days=n) for n in range(len(days))]
    assert dt.date(2028, 2, 29) in {day.date() for day in days}
    assert len(days) >= 366


def test_a_year_after_a_leap_day_is_the_last_day_of_february() -> None:
    every = parse_period("P1Y")
    assert [every.after(dt.date(2024, 2, 29), n) for n in (1, 4)] == [dt.date(2025, 2, 28), dt.date(2028, 2, 29)]
