"""First out first, and what stands after a restart."""

from __future__ import annotations

import json

from drivers.point import Quality
from edge.alarms.alarm import Alarm, Transition
from edge.alarms.machine import State
from tests.alarms.scene import START_S, Scene

HOT = "hot: {point: temperature, above: 80, deadband: 5}"
SLOW = "low: {point: pressure, below: 0.2, deadband: 0.05, on_delay: 10s, off_delay: 30s}"
GONE = "gone: {silent: true, on_delay: 30s}"


def test_the_first_out_stands_first_even_within_one_moment() -> None:
    scene = Scene("""
third: {point: temperature, above: 80, on_delay: 1s}
first: {point: pressure, below: 0.1}
second: {point: running, is: false}
""")
    scene.read(0, pressure=0.0, running=False, temperature=90.0)
    scene.tick(1)

    assert [(a.rule, a.seq) for a in scene.engine.alarms()] == [("first", 1), ("second", 2), ("third", 3)]


def stored(scene: Scene) -> dict[str, dict[str, object]]:
    return {alarm.id: json.loads(json.dumps(alarm.to_body())) for alarm in scene.engine.alarms()}


def test_alarms_survive_a_restart_without_being_raised_again() -> None:
    rules = HOT + "\nlow: {point: pressure, below: 0.2, deadband: 0.05}"
    before = Scene(rules)
    before.read(0, temperature=90.0, pressure=0.1)
    before.ack("hot")
    after = Scene(rules, stored(before))
    after.read(10, temperature=78.0, pressure=0.22)  # inside both deadbands: they stand
    assert after.story == []
    after.read(20, temperature=60.0, pressure=0.5)

    assert after.story == [(20, "cleared", "returned"), (20, "cleared", "normal")]


def test_a_shelf_goes_on_after_a_restart() -> None:
    before = Scene(HOT)
    before.read(0, temperature=90.0)
    before.shelve("hot", 10)
    after = Scene(HOT, stored(before))
    after.tick(400)
    after.read(401, temperature=90.0)
    after.run(599)
    assert after.story == []
    after.run(600)

    assert after.events == ["unshelved", "raised"]


def test_a_shelf_is_no_longer_than_allowed_even_where_the_clock_is_wrong_after_a_restart() -> None:
    before = Scene(HOT)
    before.read(0, temperature=90.0)
    before.shelve("hot", 10)
    after = Scene(HOT, stored(before))
    after.engine.tick(START_S, 0)

    assert [t.event for t in after.engine.tick(START_S + 86_400, 0)] == ["unshelved", "raised"]


def test_a_suppressed_alarm_waits_for_its_line_after_a_restart() -> None:
    before = Scene(GONE)
    before.read(0, Quality.BAD_COMM)
    before.run(30)
    before.link(31, up=False)
    after = Scene(GONE, stored(before))
    after.read(40, Quality.BAD_COMM)
    after.run(100)
    assert after.state("gone") == "suppressed"
    after.link(100, up=True)

    assert after.events == ["unsuppressed"]


def test_a_restart_keeps_the_count_of_occurrences_and_the_order() -> None:
    before = Scene(HOT)
    before.read(0, temperature=90.0)
    before.ack("hot")
    before.read(1, temperature=60.0)
    alarm = before.engine.alarm("pump-1.hot")
    assert alarm is not None
    assert alarm.state is State.NORMAL
    after = Scene(HOT, {alarm.id: alarm.to_body()})
    (raised,) = after.read(2, temperature=90.0)

    assert (raised.alarm.occurrence, raised.alarm.seq) == (2, 2)


def test_what_no_rule_has_any_more_is_left_out_and_named() -> None:
    before = Scene(HOT)
    before.read(0, temperature=90.0)
    after = Scene(SLOW)

    assert after.engine.restore({**stored(before), "pump-1.low": {}}) == ["pump-1.hot", "pump-1.low"]
    assert after.engine.alarms() == []


def test_the_words_of_a_restored_alarm_are_those_of_the_rule_of_today() -> None:
    before = Scene("hot: {point: temperature, above: 80, priority: low}")
    before.read(0, temperature=90.0)
    after = Scene("hot: {point: temperature, above: 80, priority: critical}", stored(before))

    assert after.engine.alarms()[0].priority == "critical"


def test_an_alarm_goes_through_json_and_back() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    (alarm,) = scene.engine.alarms()

    assert Alarm.from_body(json.loads(json.dumps(alarm.to_body()))) == alarm
    json.dumps(Transition(alarm, "raised", 1).to_body())
