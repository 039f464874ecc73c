"""Which alarms belong together, and of what people are told."""

from __future__ import annotations

import pytest

from edge.incidents.incident import PRIORITIES, Incident
from tests.incidents.scene import Scene, events

BUS = "connection:bus.line_offline"


def test_a_dead_bus_is_one_incident_with_its_children_in_it() -> None:
    scene = Scene()
    scene.raised(BUS, 0, "high")
    for n in range(40):
        scene.raised(f"pump-{n}.offline", 5 + n / 10)
    scene.tick(20)
    (only,) = scene.open
    assert (only.root, only.title.en, len(only.alarms)) == ("connection:bus", "line_offline", 41)
    assert scene.calls == [("INC-000001", "high")]


def test_children_that_came_before_their_cause_join_it_and_are_told_of_once() -> None:
    scene = Scene()
    for n in range(4):
        scene.raised(f"pump-{n}.offline", n / 10)
    scene.raised(BUS, 2, "high")
    scene.tick(6)
    (only,) = scene.open
    assert only.root == "connection:bus"
    assert only.first_out == "pump-0.offline"
    assert next(iter(only.alarms)) == BUS
    assert scene.calls == [(only.id, "high")]
    merged = [each.incident.id for each in scene.told if each.event == "merged"]
    assert len(merged) == 4
    assert scene.engine.incident(merged[0]).merged_into == only.id  # type: ignore[union-attr]


def test_what_happened_long_before_a_cause_is_not_its_doing() -> None:
    scene = Scene()
    scene.raised("pump-1.leak", 0)
    scene.raised(BUS, 400, "high")
    assert [each.root for each in scene.open] == ["connection:bus", "pump-1"]


def test_an_ordinary_alarm_above_explains_nothing() -> None:
    scene = Scene()
    scene.raised("connection:bus.worn", 0)
    scene.raised("pump-1.leak", 1)
    assert len(scene.open) == 2


def test_a_cause_that_cuts_nothing_off_explains_only_what_comes_soon() -> None:
    scene = Scene()
    scene.raised("meter-1.mains_lost", 0, "high")
    scene.raised("pump-1.no_current", 20)
    scene.raised("pump-2.no_current", 300)
    scene.raised("pump-3.leak", 4000)
    assert [(each.root, len(each.alarms)) for each in scene.open] == [("meter-1", 3), ("pump-3", 1)]


def test_a_cause_explains_for_a_moment_after_it_has_gone() -> None:
    scene = Scene()
    scene.raised(BUS, 0, "high")
    scene.cleared(BUS, 60)
    scene.raised("pump-1.offline", 90)
    assert len(scene.open) == 1
    scene.raised("pump-2.leak", 200)
    assert len(scene.open) == 2


def test_the_cause_of_a_cause_takes_all_over() -> None:
    scene = Scene()
    scene.raised("pump-1.offline", 0)
    scene.raised(BUS, 2, "high")
    scene.raised("meter-1.mains_lost", 4, "high")
    (only,) = scene.open
    assert (only.root, only.title.en) == ("meter-1", "mains_lost")
    scene.raised("pump-2.offline", 10)
    assert len(scene.open) == 1


def test_a_critical_alarm_is_never_a_consequence_but_names_the_cause() -> None:
    scene = Scene()
    scene.raised("connection:lan.line_offline", 0, "high")
    scene.raised("lift-1.trapped", 5, "critical")
    lift, lan = scene.open
    assert (lift.root, lift.caused_by) == ("lift-1", lan.id)
    first = Scene()
    first.raised("lift-1.trapped", 0, "critical")
    first.raised("connection:lan.line_offline", 5, "high")
    lift, lan = first.open
    assert (lift.root, lift.caused_by, len(lan.alarms)) == ("lift-1", lan.id, 1)


def test_alarms_of_one_equipment_within_ten_minutes_are_one_incident() -> None:
    scene = Scene()
    scene.raised("pump-1.vibration", 0)
    scene.raised("pump-1.hot", 500, "high")
    scene.raised("pump-1.very_hot", 1000, "high")
    scene.raised("pump-1.worn", 1700)
    first, second = scene.open
    assert list(first.alarms) == ["pump-1.vibration", "pump-1.hot", "pump-1.very_hot"]
    assert first.title.en == "hot"
    assert list(second.alarms) == ["pump-1.worn"]


def test_people_are_told_again_only_where_something_more_urgent_joins() -> None:
    scene = Scene()
    scene.raised("pump-1.vibration", 0, "low")
    scene.raised("pump-1.noise", 10, "low")
    scene.raised("pump-1.hot", 20, "high")
    scene.raised("pump-1.dry", 30, "medium")
    assert scene.calls == [("INC-000001", "low"), ("INC-000001", "high")]


def test_a_critical_alarm_calls_by_itself_and_what_it_covered_is_told_when_it_goes() -> None:
    scene = Scene()
    scene.raised("lift-1.button", 0, "critical")
    scene.raised("lift-1.stopped", 5, "high")
    assert scene.calls == []
    scene.cleared("lift-1.button", 10)
    assert scene.calls == [("INC-000001", "high")]


def test_people_are_told_again_of_what_is_still_there_long_after_it_was_acknowledged() -> None:
    scene = Scene()
    scene.raised("pump-1.leak", 0)
    scene.acked("pump-1.leak", 5)
    assert events(scene.happens("reminded", "pump-1.leak", 3600)) == ["updated", "called"]
    assert scene.open[0].state == "open"


def test_a_lonely_alarm_is_told_at_once_and_a_burst_a_moment_later() -> None:
    scene = Scene()
    assert events(scene.raised("pump-1.leak", 0)) == ["opened", "called"]
    assert events(scene.raised("light-1.out", 1)) == ["opened"]
    assert events(scene.tick(2)) == []
    assert events(scene.tick(4.1)) == ["called"]


def test_it_is_over_when_no_condition_stands_and_closed_when_nothing_is_left_to_do() -> None:
    scene = Scene()
    scene.raised("pump-1.leak", 0)
    scene.raised("pump-1.dry", 5)
    scene.cleared("pump-1.leak", 10)
    assert events(scene.cleared("pump-1.dry", 20)) == ["updated", "cleared"]
    assert scene.open[0].state == "open"
    assert events(scene.acked("pump-1.leak", 30)) == ["acknowledged"]
    assert events(scene.acked("pump-1.dry", 31)) == ["acknowledged", "closed"]
    assert scene.open == []
    closed = scene.engine.closed()[0]
    assert (closed.state, closed.acked_by) == ("closed", "li")


def test_a_closed_incident_is_opened_again_within_a_minute_and_told_of_again() -> None:
    scene = Scene()
    scene.raised("pump-1.leak", 0)
    scene.acked("pump-1.leak", 5)
    scene.cleared("pump-1.leak", 10)
    assert events(scene.raised("pump-1.leak", 40)) == ["reopened", "joined", "called"]
    assert [each.id for each in scene.open] == ["INC-000001"]
    scene.acked("pump-1.leak", 45)
    scene.cleared("pump-1.leak", 50)
    scene.raised("pump-1.leak", 200)
    assert [each.id for each in scene.open] == ["INC-000002"]


def test_what_is_suppressed_is_not_told_as_mended_and_joins_the_line_that_is_gone() -> None:
    scene = Scene()
    scene.raised("pump-1.offline", 0)
    scene.tick(4)
    assert events(scene.happens("suppressed", "pump-1.offline", 30)) == ["updated", "quieted", "closed"]
    scene.raised(BUS, 40, "high")
    (only,) = scene.open
    assert set(only.alarms) == {BUS, "pump-1.offline"}


def test_many_places_at_once_are_one_incident() -> None:
    scene = Scene()
    for n in range(300):
        scene.raised(f"light-{n}.out", n / 50)
    scene.tick(12)
    (only,) = scene.open
    assert (only.root, len(only.alarms), only.first_out) == ("site", 300, "light-0.out")
    assert scene.calls == [("INC-000001", "medium"), (only.id, "medium")]


def test_a_cause_that_comes_last_takes_over_what_hangs_on_it() -> None:
    scene = Scene()
    for n in range(30):
        scene.raised(f"pump-{n}.no_current", n / 10)
    assert scene.open[0].root == "site"
    scene.raised("meter-1.mains_lost", 4, "high")
    (only,) = scene.open
    assert only.root == "site"  # it joins the burst under way ...
    assert only.lead == "meter-1.mains_lost"  # ... and is named as what leads it
    critical = Scene()
    for n in range(30):
        critical.raised(f"pump-{n}.no_current", n / 10)
    critical.raised("meter-1.mains_lost", 4, "critical")
    (only,) = critical.open
    assert (only.root, len(only.alarms)) == ("meter-1", 31)


def test_a_body_survives_json_and_garbage_is_refused() -> None:
    scene = Scene()
    scene.raised("lift-1.trapped", 0, "critical")
    incident = scene.open[0]
    again = Incident.from_body(incident.to_body())
    assert again.to_body() == incident.to_body()
    for wrong in ({}, {**incident.to_body(), "priority": "urgent"}, {**incident.to_body(), "more_keys": 1}):
        with pytest.raises(ValueError, match="is no stored incident"):
            Incident.from_body(wrong)
    assert incident.priority in PRIORITIES
