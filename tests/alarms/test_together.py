"""Rules that look at each other: limits in steps, suppression by design, several pieces of equipment, re-alarm."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.document import Document, parse
from drivers.point import Batch, Block, Quality
from edge.alarms.engine import AlarmEngine
from edge.alarms.rule import check_references, compile_rules, compile_site_rules
from tests.alarms.scene import START_NS, START_S, Scene, compiled, point, pump

STEPS = """
bearing:
  {point: temperature, deadband: 2, on_delay: 5s, off_delay: 5s,
   steps: {hot: {above: 80, priority: medium}, very_hot: {above: 90, priority: high}}}
"""


def faults(text: str) -> list[str]:
    known: set[str] = set()
    document = parse(text, Document("pump.yaml"))
    words = {"code": "T-01", "name": {"zh": "某", "en": "Some"}, "advice": {"zh": "看", "en": "Look"}}
    specs = {name: {**words, "priority": "high", **row} for name, row in document.data.items()}
    rules = compile_rules("pump-1", "pump-room", pump(), specs, document, (), known=known)
    check_references(rules, known)
    return [f"{fault.line}:{fault.column} {fault.path}: {fault.message}" for fault in document.faults]


# ---- limits in steps ---------------------------------------------------------------------------------


def test_each_step_is_an_alarm_and_shares_what_stands_beside_the_steps() -> None:
    rules, document = compiled(STEPS)

    assert not document.faults
    assert [(rule.name, rule.priority, rule.on_delay_s) for rule in rules] == [
        ("bearing_very_hot", "high", 5), ("bearing_hot", "medium", 5),
    ]  # fmt: skip


def test_the_worse_step_silences_the_one_before_it_until_it_clears() -> None:
    scene = Scene(STEPS)
    scene.read(0, temperature=85.0)
    scene.run(5)
    assert scene.state("bearing_hot") == "unacknowledged"
    scene.read(10, temperature=95.0)
    scene.run(15)
    assert (scene.state("bearing_hot"), scene.state("bearing_very_hot")) == ("suppressed", "unacknowledged")
    scene.read(20, temperature=85.0)
    scene.run(25)
    assert (scene.state("bearing_hot"), scene.state("bearing_very_hot")) == ("unacknowledged", "returned")
    assert scene.events == ["raised", "raised", "suppressed", "cleared", "unsuppressed", "raised"]


def test_a_value_that_goes_through_both_limits_at_once_raises_only_the_worse_and_comes_back_quietly() -> None:
    scene = Scene(STEPS)
    scene.read(0, temperature=95.0)
    scene.run(5)
    scene.read(10, temperature=40.0)
    scene.run(30)

    assert [(at, event, state) for at, event, state in scene.story] == [
        (5, "raised", "unacknowledged"),
        (5, "suppressed", "suppressed"),
        (15, "cleared", "returned"),
        (15, "unsuppressed", "normal"),
    ]


def test_a_worse_step_that_is_put_aside_silences_nothing() -> None:
    scene = Scene(STEPS)
    scene.read(0, temperature=95.0)
    scene.run(5)
    scene.shelve("bearing_very_hot", 10)
    assert scene.state("bearing_hot") == "unacknowledged"
    scene.run(5 + 600)
    assert (scene.state("bearing_hot"), scene.state("bearing_very_hot")) == ("suppressed", "unacknowledged")


def test_a_silenced_step_goes_on_being_judged_after_a_restart() -> None:
    before = Scene(STEPS)
    before.read(0, temperature=95.0)
    before.run(5)
    bodies = {alarm.id: json.loads(json.dumps(alarm.to_body())) for alarm in before.engine.alarms()}
    after = Scene(STEPS, bodies)
    after.run(20)
    assert after.events == []
    after.read(21, temperature=85.0)
    after.run(26)
    assert (after.state("bearing_hot"), after.state("bearing_very_hot")) == ("unacknowledged", "returned")


def test_an_alarm_that_nothing_suppresses_any_more_returns_after_a_restart() -> None:
    before = Scene(STEPS)
    before.read(0, temperature=95.0)
    before.run(5)
    bodies = {alarm.id: alarm.to_body() for alarm in before.engine.alarms()}
    after = Scene("bearing_hot: {point: temperature, above: 80, deadband: 2}", bodies)
    after.run(1)

    assert after.story == [(1, "unsuppressed", "normal"), (1, "raised", "unacknowledged")]


@given(st.lists(st.tuples(st.floats(60, 100), st.integers(1, 8)), max_size=40))
def test_of_a_family_one_alarm_at_most_asks_for_somebody_by_its_condition(story: list[tuple[float, int]]) -> None:
    scene = Scene(STEPS)
    now = 0
    for value, seconds in story:
        for _ in range(seconds):
            now += 1
            scene.read(now, temperature=value)
            scene.tick(now)
            states = [scene.state("bearing_hot"), scene.state("bearing_very_hot")]
            assert states.count("unacknowledged") <= 1
            if states[0] == "suppressed":
                assert states[1] == "unacknowledged"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: {point: temperature, steps: {high: {above: 90}, high_high: {above: 80}}}",
            "1:33 a.steps.high: high above 90 and high_high above 80: the limits are in the wrong order; swap them",
        ),
        (
            "a: {point: temperature, steps: {hot: {above: 80, priority: high}, hotter: {above: 90, priority: low}}}",
            "1:67 a.steps.hotter: hotter above 90 and hot above 80: the limits are in the wrong order; swap them",
        ),
        (
            "a: {point: temperature, steps: {low: {below: 80}, high: {above: 60}}}",
            "1:25 a.steps: above 60 and below 80: the limits are in the wrong order",
        ),
        (
            "a: {point: temperature, deadband: 9, steps: {low: {below: 52}, high: {above: 60}}}",
            "1:38 a.steps: the deadband 9 is wider than the band 52..60",
        ),
        (
            "a: {point: temperature, deadband: 9, steps: {high: {above: 80}, high_high: {above: 85}}}",
            (
                "1:65 a.steps.high_high: high_high above 85 and high above 80: "
                "the deadband 9 is wider than the band between them"
            ),
        ),
        (
            "a: {point: temperature, steps: {high: {above: 80}, more: {above: 80}}}",
            "1:33 a.steps.high: high above 80 and more above 80 are the same limit; move one",
        ),
        (
            "a: {point: temperature, steps: {high: 80}}",
            "1:25 a.steps: write a mapping of steps, e.g. {high: {above: 80}, high_high: {above: 90}}",
        ),
        ("a: {alarm: b}", "1:1 a: no alarm 'pump-1.b'; did you mean pump-1.a?"),
        ("a: {alarm: a}", "1:1 a: refers to itself: pump-1.a -> pump-1.a; take one of these conditions out"),
        (
            "a: {alarm: b}\nb: {point: pressure, below: 0.2, active_while: {not: {alarm: a}}}",
            "1:1 a: refers to itself: pump-1.a -> pump-1.b -> pump-1.a; take one of these conditions out",
        ),
    ],
)
def test_a_mistake_among_rules_is_shown_where_it_stands(text: str, expected: str) -> None:
    assert faults(text) == [expected]


# ---- suppression by design ---------------------------------------------------------------------------


INSPECTION = "low: {point: pressure, below: 0.2, suppressed_while: {point: mode, is: 2}}"


def test_what_is_suppressed_by_design_is_raised_when_its_reason_ends_and_it_still_stands() -> None:
    scene = Scene(INSPECTION)
    scene.read(0, mode=2)
    scene.read(1, pressure=0.1)
    assert scene.state("low") == "suppressed"
    scene.read(2, pressure=0.5)
    scene.read(3, pressure=0.1)
    scene.read(4, mode=1)

    assert scene.story == [
        (1, "suppressed", "suppressed"), (4, "unsuppressed", "normal"), (4, "raised", "unacknowledged"),
    ]  # fmt: skip


def test_a_reason_that_cannot_be_read_neither_suppresses_nor_ends_it() -> None:
    scene = Scene(INSPECTION)
    scene.read(0, mode=2)
    scene.read_mixed(1, {"mode": Quality.BAD_SENSOR}, pressure=0.1)
    assert scene.state("low") == "suppressed"
    scene = Scene(INSPECTION)
    scene.read_mixed(1, {"mode": Quality.BAD_SENSOR}, pressure=0.1)
    assert scene.state("low") == "unacknowledged"


def test_a_shelf_that_ends_while_it_is_suppressed_leaves_it_suppressed() -> None:
    scene = Scene(INSPECTION)
    scene.read(0, pressure=0.1)
    scene.shelve("low", 1)
    scene.read(1, mode=2)
    scene.run(62)

    assert scene.events == ["raised", "shelved", "unshelved", "suppressed"]


# ---- values that cannot be used ----------------------------------------------------------------------

BROKEN = "broken: {unusable: true, on_delay: 10s}"


def test_values_that_cannot_be_used_have_one_alarm_of_their_own() -> None:
    scene = Scene(BROKEN + "\nlow: {point: pressure, below: 0.2}\nhot: {point: temperature, above: 80}")
    bad = {"pressure": Quality.BAD_SENSOR, "temperature": Quality.BAD_RANGE}
    scene.read_mixed(0, bad, pressure=0.0, temperature=999.0)
    scene.run(10)
    assert [(each.rule, each.point) for each in scene.engine.alarms()] == [("broken", "pump-1.pressure")]
    scene.read_mixed(11, {"temperature": Quality.BAD_RANGE}, pressure=0.5)
    assert scene.events == ["raised"]
    scene.read(12, temperature=40.0)
    assert scene.events == ["raised", "cleared"]


def test_a_device_that_does_not_answer_is_no_broken_sensor_nor_a_mended_one() -> None:
    scene = Scene(BROKEN)
    scene.read(0, Quality.BAD_COMM)
    scene.run(60)
    assert scene.events == []
    scene.read_mixed(61, {"pressure": Quality.BAD_SENSOR})
    scene.run(71)
    scene.read(72, Quality.BAD_COMM)
    scene.run(200)
    assert scene.events == ["raised"]


# ---- re-alarm ----------------------------------------------------------------------------------------


def test_an_acknowledged_alarm_that_still_stands_asks_again_after_its_time() -> None:
    scene = Scene("hot: {point: temperature, above: 80, realarm: 30m}")
    scene.read(0, temperature=90.0)
    scene.run(60)
    scene.ack("hot")
    scene.run(1859)
    assert scene.events == ["raised", "acknowledged"]
    scene.run(1860)
    assert scene.story[-1] == (1860, "reminded", "unacknowledged")
    scene.ack("hot")
    scene.read(1900, temperature=50.0)
    scene.run(9000, 10)
    assert scene.events[-1] == "cleared"


def test_the_time_to_a_re_alarm_goes_on_over_a_restart() -> None:
    rule = "hot: {point: temperature, above: 80, realarm: 30m}"
    before = Scene(rule)
    before.read(0, temperature=90.0)
    before.ack("hot")
    after = Scene(rule, {alarm.id: alarm.to_body() for alarm in before.engine.alarms()})
    after.now_s = 1200
    after.tick(1200)
    after.run(1799)
    assert after.events == []
    after.run(1800)
    assert after.events == ["reminded"]


# ---- several pieces of equipment ---------------------------------------------------------------------

SITE = """
flooding:
  code: S-01
  name: {zh: 两井同时高液位, en: Both pits high}
  advice: {zh: 看, en: Look}
  priority: critical
  class: safety
  equipment: pit-1
  on_delay: 10s
  all: [{point: pit-1.high, is: true}, {point: pit-2.high, is: true}, {not: {alarm: pit-2.test}}]
"""


def site(text: str) -> tuple[AlarmEngine, Document, dict[str, Block]]:
    points = {f"pit-{n}.high": point("high", "bool", f"pit-{n}") for n in (1, 2)}
    points["pit-2.testing"] = point("testing", "bool", "pit-2")
    document = parse(text, Document("site.yaml"))
    known: set[str] = set()
    own = {
        "test": {
            "code": "S-02", "name": {"zh": "试", "en": "Test"}, "advice": {"zh": "看", "en": "Look"},
            "priority": "low", "point": "testing", "is": True,
        }
    }  # fmt: skip
    rules = compile_rules("pit-2", "b", [points["pit-2.testing"]], own, document, (), known=known)
    connections = {"pit-1": "a", "pit-2": "b"}
    rules += compile_site_rules(connections, points, document.data, document, (), known=known)
    check_references(rules, known)
    blocks = {each.id: Block(each.equipment, (each,)) for each in points.values()}
    return AlarmEngine(rules), document, blocks


def test_a_rule_of_the_site_looks_at_points_and_alarms_of_several_pieces_of_equipment() -> None:
    engine, document, blocks = site(SITE)
    assert not document.faults

    def read(at: float, name: str, value: bool) -> list[str]:
        batch = Batch(blocks[name], (value,), START_NS + round(at * 1e9), START_S + at)
        return [f"{t.alarm.id} {t.event}" for t in engine.evaluate(batch)]

    assert read(0, "pit-1.high", True) == []
    assert read(1, "pit-2.high", True) == []
    assert read(12, "pit-2.testing", False) == ["pit-1.flooding raised"]
    assert read(13, "pit-2.testing", True) == ["pit-2.test raised", "pit-1.flooding cleared"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "equipment: pit-1",
            "equipment: pitt-1",
            "8:3 flooding.equipment: no equipment 'pitt-1'; did you mean pit-1?",
        ),
        ("pit-2.high", "pit-3.high", "10:41 flooding.all.1.point: no equipment 'pit-3'; did you mean pit-2?"),
        ("pit-2.high", "pit-2.hihg", "10:41 flooding.all.1.point: no point 'pit-2.hihg'; did you mean pit-2.high?"),
        ("pit-2.high", "high", "10:41 flooding.all.1.point: 'high' names no equipment; write <equipment>.<point>"),
        ("pit-2.test}", "pit-2.tset}", "2:1 flooding: no alarm 'pit-2.tset'; did you mean pit-2.test?"),
    ],
)
def test_a_mistake_in_a_rule_of_the_site_is_shown_where_it_stands(old: str, new: str, expected: str) -> None:
    _, document, _ = site(SITE.replace(old, new))
    assert [f"{f.line}:{f.column} {f.path}: {f.message}" for f in document.faults] == [expected]
