"""Meters and plans as people write them: what is taken, and that each mistake is shown where it stands."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from drivers.document import Document, parse
from edge.upkeep.period import Period
from edge.upkeep.plans import Calendar, Metered, OnAlarm, compile_plans
from tests.upkeep.scene import WORDS, meters, plans


def shown(document: Document) -> list[str]:
    return [f"{fault.line}:{fault.column} {fault.path}: {fault.message}" for fault in document.faults]


def test_the_three_ways_to_count() -> None:
    made, document = meters("""
run_hours: {unit: h, hours_while: running}
starts: {unit: "", count: running}
total: {unit: h, counter: hours}
""", {"run_hours": 1999.9})  # fmt: skip

    assert not document.faults
    assert [(m.id, m.way, m.offset) for m in made] == [
        ("pump-1.run_hours", "hours_while", 1999.9),
        ("pump-1.starts", "count", None),
        ("pump-1.total", "counter", None),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m: {count: runing}", "1:5 m.count: no point 'runing' in the profile; did you mean running?"),
        ("m: {count: hours}", "1:5 m.count: hours is of kind float; count wants bool"),
        ("m: {counter: running}", "1:5 m.counter: running is of kind bool; counter wants int or float"),
        ("m: {unit: h}", "1:1 m: a meter has one of hours_while, count, counter; found none"),
        (
            "m: {count: running, counter: hours}",
            "1:1 m: a meter has one of hours_while, count, counter; found count and counter",
        ),
        ("m: {hours_while: running}", "1:1 m: hours_while counts hours, but the unit is ''; write unit: h"),
        ("m: {count: running, rollover: 9}", "1:1 m: rollover belongs to a counter; remove it"),
        ("m: {counter: hours, rollover: 0}", "1:21 m.rollover: is 0; input should be greater than 0"),
        ("m: {conter: hours}", "1:5 m.conter: unknown key; did you mean counter?"),
        ("M: {count: running}", "1:1 M: is no meter name; use a-z, 0-9 and _"),
    ],
)
def test_a_mistake_in_a_meter_is_shown_where_it_stands(text: str, expected: str) -> None:
    made, document = meters(text)

    assert made == []
    assert shown(document) == [expected]


def test_a_meter_does_not_begin_below_nothing() -> None:
    _, document = meters("m: {count: running}", {"m": -3})

    assert shown(document) == ["1:1 m: pump-1 says it read -3 on commissioning; a meter reads 0 or more"]


def test_a_plan_may_be_called_for_by_several_alarms() -> None:
    made, document = plans("bearing: {on_alarm: [bearing_hot, bearing_hott]}")
    assert made == []
    assert "did you mean bearing_hot?" in document.faults[0].message
    made, _ = plans("bearing: {on_alarm: [bearing_hot]}")
    assert [plan.trigger for plan in made] == [OnAlarm("bearing_hot")]


def test_the_three_kinds_of_plan() -> None:
    made, document = plans("""
visit: {every: P15D, fixed: true, lead: P3D, priority: high}
grease: {meter: run_hours, every: 2000, lead: 50}
bearing: {on_alarm: bearing_hot}
""", {"visit": "2026-11-10", "grease": 1800})  # fmt: skip

    assert not document.faults
    assert [plan.trigger for plan in made] == [
        Calendar(Period(0, 15), True, Period(0, 3), dt.date(2026, 11, 10)),
        Metered("run_hours", 2000, False, 50, 1800),
        OnAlarm("bearing_hot"),
    ]
    assert [plan.priority for plan in made] == ["high", "medium", "medium"]


@pytest.mark.parametrize(
    ("text", "period", "zh", "en"),
    [
        ("P15D", Period(0, 15), "15天", "15 days"),
        ("P2W", Period(0, 14), "14天", "14 days"),
        ("P1M", Period(1, 0), "1个月", "1 month"),
        ("P1Y6M", Period(18, 0), "1年6个月", "1 year 6 months"),
        ("P8Y", Period(96, 0), "8年", "8 years"),
    ],
)
def test_periods_are_those_of_iso_8601(text: str, period: Period, zh: str, en: str) -> None:
    (plan,), document = plans(f"p: {{every: {text}}}")

    assert not document.faults
    assert isinstance(plan.trigger, Calendar)
    assert plan.trigger.every == period
    assert (period.text.zh, period.text.en) == (zh, en)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p: {every: 15D}", "1:5 p.every: '15D' is no period; write it like P15D, P2W, P1M, P1Y"),
        ("p: {every: P0D}", "1:5 p.every: 'P0D' is no period; write it like P15D, P2W, P1M, P1Y"),
        ("p: {every: P}", "1:5 p.every: 'P' is no period; write it like P15D, P2W, P1M, P1Y"),
        ("p: {every: P900Y}", "1:5 p.every: 'P900Y' is longer than 100 years"),
        ("p: {every: PT12H}", "1:5 p.every: 'PT12H' is no period; write it like P15D, P2W, P1M, P1Y"),
        (
            "p: {every: 2000}",
            "1:5 p.every: 2000.0 is no period; write it like P15D, P2W, P1M, P1Y (a plan by meter names its meter)",
        ),
        ("p: {every: P3D, lead: P1M}", "1:17 p.lead: P1M is no shorter than every P3D; shorten it"),
        ("p: {every: P1M, lead: soon}", "1:17 p.lead: 'soon' is no period; write it like P15D, P2W, P1M, P1Y"),
        ("p: {meter: run_hour, every: 5}", "1:5 p.meter: no meter 'run_hour'; did you mean run_hours?"),
        (
            "p: {meter: run_hours, every: P1M}",
            "1:23 p.every: is 'P1M'; write a number above 0 in the meter's unit",
        ),
        (
            "p: {meter: run_hours, every: 0}",
            "1:23 p.every: is 0.0; write a number above 0 in the meter's unit",
        ),
        (
            "p: {meter: run_hours, every: 5, lead: 5}",
            "1:33 p.lead: is 5.0; write a number from 0 to less than 5",
        ),
        ("p: {on_alarm: bearing_hott}", "1:5 p.on_alarm: no alarm rule 'bearing_hott'; did you mean bearing_hot?"),
        (
            "p: {on_alarm: bearing_hot, every: P1M}",
            "1:1 p: every does not belong to a plan on an alarm; remove it",
        ),
        (
            "p: {fixed: true}",
            "1:1 p: a plan has every (a period), meter with every (a number), or on_alarm; found none",
        ),
        ("p: {evry: P1M}", "1:5 p.evry: unknown key; did you mean every?"),
    ],
)
def test_a_mistake_in_a_plan_is_shown_where_it_stands(text: str, expected: str) -> None:
    made, document = plans(text)

    assert made == []
    assert expected in shown(document)


@pytest.mark.parametrize(
    ("plan", "last", "message"),
    [
        ("{every: P1M}", "10.11.2026", "'10.11.2026' is no date; write it like 2026-11-10"),
        ("{every: P1M}", "0026-11-10", "'0026-11-10' is no date; write it like 2026-11-10"),
        ("{every: P1M}", 1800, "1800 is no date; write it like 2026-11-10"),
        ("{meter: run_hours, every: 5}", "2026-11-10", "'2026-11-10' is no meter reading; write a number"),
        ("{on_alarm: bearing_hot}", "2026-11-10", "a plan on an alarm has no last date; remove it"),
    ],
)
def test_a_wrong_last_date_is_shown_in_the_site_file(plan: str, last: Any, message: str) -> None:
    site = parse("equipment: {pump-1: {upkeep: {last: {p: x}}}}", Document("site.yaml"))
    where = ("equipment", "pump-1", "upkeep", "last")
    specs = {"p": {"name": WORDS, "task": WORDS, **parse(plan, Document("x")).data}}
    profile = Document("pump.yaml")

    made = compile_plans(
        "pump-1", specs, profile, (), ["run_hours"], ["bearing_hot"], {"p": last}, site=(site, where)
    )
    assert made == []
    assert not profile.faults
    assert [(fault.column, fault.message) for fault in site.faults] == [(38, message)]
    assert compile_plans("pump-1", specs, profile, (), ["run_hours"], ["bearing_hot"], {"p": last}) == []
    assert [fault.message for fault in profile.faults] == [f"pump-1: {message}"]
