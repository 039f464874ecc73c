"""Rules at work as timelines: when alarms come and go, and what a value that cannot be trusted does."""

from __future__ import annotations

import pytest

from drivers.point import Batch, Block, Quality
from edge.alarms.engine import AlarmEngine
from tests.alarms.scene import START_NS, START_S, Scene, compiled, point, pump

HOT = "hot: {point: temperature, above: 80, deadband: 5}"
SLOW = "low: {point: pressure, below: 0.2, deadband: 0.05, on_delay: 10s, off_delay: 30s}"


# ---- raising and clearing ----------------------------------------------------------------------------


def test_an_alarm_is_raised_acknowledged_and_gone() -> None:
    scene = Scene(HOT)
    scene.read(0)
    (raised,) = scene.read(1, temperature=81.5)
    scene.ack("hot")
    scene.read(60, temperature=60.0)

    assert scene.story == [
        (1, "raised", "unacknowledged"), (1, "acknowledged", "acknowledged"), (60, "cleared", "normal"),
    ]  # fmt: skip
    assert (raised.alarm.value, raised.alarm.point) == (81.5, "pump-1.temperature")
    assert (raised.alarm.raised_ns, raised.time_ns) == (START_NS + 1_000_000_000,) * 2
    assert scene.engine.alarms() == []


def test_an_alarm_that_goes_by_itself_still_asks_for_somebody() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.read(1, temperature=60.0)

    assert scene.state("hot") == "returned"
    scene.ack("hot")
    assert scene.state("hot") == "normal"


def test_the_deadband_counts_on_clearing_only() -> None:
    scene = Scene(HOT)
    for at, temperature in enumerate([80.0, 80.1, 76.0, 75.1, 75.0, 78.0, 80.0, 80.5]):
        scene.read(at, temperature=temperature)

    assert [(at, event) for at, event, _ in scene.story] == [(1, "raised"), (4, "cleared"), (7, "re-raised")]


def test_a_dip_inside_the_deadband_drops_the_delay_of_an_alarm_not_yet_raised() -> None:
    scene = Scene(SLOW)
    scene.read(0, pressure=0.1)
    scene.read(5, pressure=0.22)
    scene.read(6, pressure=0.1)
    scene.run(15)
    assert scene.events == []
    scene.tick(16)
    assert scene.events == ["raised"]


def test_delays_end_by_the_clock_without_a_new_value() -> None:
    scene = Scene(SLOW)
    scene.read(0, pressure=0.1)
    scene.run(60)
    scene.read(100, pressure=0.3)
    scene.run(160)

    assert scene.story == [(10, "raised", "unacknowledged"), (130, "cleared", "returned")]


def test_a_delay_that_ended_before_a_batch_counts_before_it() -> None:
    """However late the tick is, the alarm stood from its tenth second on."""
    scene = Scene(SLOW + "\n" + HOT)
    scene.read(0, pressure=0.1)
    scene.read(11, pressure=0.5, temperature=90.0)

    assert [event for _, event, _ in scene.story] == ["raised", "raised"]
    assert scene.engine.alarms()[0].rule == "low"


def test_a_value_that_is_right_again_at_the_end_of_the_delay_raises_nothing() -> None:
    scene = Scene(SLOW)
    scene.read(0, pressure=0.1)
    scene.read(10, pressure=0.5)
    scene.run(30)

    assert scene.events == []


def test_a_chattering_value_keeps_one_entry_in_the_queue() -> None:
    scene = Scene("low: {point: pressure, below: 0.2, on_delay: 1h}")
    for second in range(1000):
        scene.read(second, pressure=0.1 if second % 2 else 0.5)

    assert len(scene.engine._delays) == 1
    assert scene.events == []


def test_a_long_delay_begun_anew_does_not_end_when_the_first_would_have() -> None:
    scene = Scene("low: {point: pressure, below: 0.2, on_delay: 10s}")
    scene.read(0, pressure=0.1)
    scene.read(3, pressure=0.5)
    scene.read(4, pressure=0.1)
    scene.run(13.9, 0.5)
    assert scene.events == []
    scene.tick(14)
    assert scene.events == ["raised"]


def test_the_wall_clock_stepping_moves_no_delay() -> None:
    scene = Scene(SLOW)
    scene.read(0, pressure=0.1)
    assert scene.engine.tick(START_S + 5, START_NS + 10**18) == []
    assert len(scene.engine.tick(START_S + 10, START_NS + 10**18)) == 1


# ---- values that cannot be trusted -------------------------------------------------------------------


@pytest.mark.parametrize(
    "quality", [Quality.BAD_COMM, Quality.BAD_RANGE, Quality.BAD_STALE, Quality.BAD_SENSOR, Quality.UNCERTAIN_STALE]
)
def test_a_value_that_is_not_good_neither_raises_nor_clears(quality: Quality) -> None:
    scene = Scene(HOT)
    scene.read(0, quality, temperature=200.0)
    assert scene.events == []
    scene.read(1, temperature=90.0)
    scene.read(2, quality, temperature=20.0)
    scene.run(100)

    assert scene.state("hot") == "unacknowledged"


def test_a_box_that_does_not_know_the_time_still_raises_alarms() -> None:
    scene = Scene(HOT)
    scene.read(0, Quality.UNCERTAIN_CLOCK, temperature=90.0)

    assert scene.events == ["raised"]


def test_no_number_at_all_is_unknown() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.read(1, temperature=None)
    scene.read(2, temperature=float("nan"))
    scene.read(3, temperature=float("nan"))

    assert scene.events == ["raised"]


def test_a_delay_in_progress_is_kept_but_cannot_end_while_the_value_is_unknown() -> None:
    scene = Scene(SLOW)
    scene.read(0, pressure=0.1)
    scene.read(5, Quality.BAD_COMM)
    scene.run(59)
    assert scene.events == []
    scene.read(60, pressure=0.1)

    assert scene.story == [(60, "raised", "unacknowledged")]


def test_a_delay_in_progress_is_dropped_where_the_value_comes_back_right() -> None:
    scene = Scene(SLOW)
    scene.read(0, pressure=0.1)
    scene.read(5, Quality.BAD_COMM)
    scene.read(60, pressure=0.5)
    scene.run(120)

    assert scene.events == []


def test_one_bad_detector_does_not_blind_the_other() -> None:
    scene = Scene("fire: {any: [{point: temperature, above: 80}, {point: fault_text, is: SMOKE}]}")
    scene.read_mixed(0, {"temperature": Quality.BAD_SENSOR}, fault_text="SMOKE")

    assert scene.events == ["raised"]
    assert scene.engine.alarms()[0].value == "SMOKE"


def test_all_of_a_known_false_and_an_unknown_is_false() -> None:
    scene = Scene("dry: {all: [{point: running, is: true}, {point: pressure, below: 0.1}]}")
    scene.read(0, pressure=0.05)
    scene.read_mixed(1, {"pressure": Quality.BAD_COMM})
    assert scene.state("dry") == "unacknowledged"
    scene.read_mixed(2, {"pressure": Quality.BAD_COMM}, running=False)

    assert scene.events == ["raised", "cleared"]


def test_one_quality_among_many_concerns_its_point_only() -> None:
    scene = Scene(HOT + "\nlow: {point: pressure, below: 0.2}")
    scene.read_mixed(0, {"pressure": Quality.BAD_RANGE}, pressure=0.0, temperature=90.0)

    assert [alarm.rule for alarm in scene.engine.alarms()] == ["hot"]


# ---- conditions --------------------------------------------------------------------------------------


def test_a_rule_counts_only_while_its_equipment_is_in_use() -> None:
    scene = Scene("low: {point: pressure, below: 0.2, on_delay: 5s, active_while: {point: running, is: true}}")
    scene.read(0, running=False, pressure=0.0)
    scene.run(30)
    assert scene.events == []
    scene.read(31, running=True)
    scene.run(36)
    assert scene.story == [(36, "raised", "unacknowledged")]
    scene.read(37, running=False)

    assert scene.state("low") == "returned"  # what tripped the pump is still asked about


def test_text_and_enumerations_are_compared_as_they_are() -> None:
    scene = Scene("""
manual: {point: mode, is: 2}
not_auto: {point: mode, is_not: 1}
fault: {point: fault_text, in: [E01, E02]}
""")
    scene.read(0)
    scene.read(1, mode=2, fault_text="E02")
    scene.read(2, mode=0, fault_text="")

    assert [(alarm.rule, alarm.state.value) for alarm in scene.engine.alarms()] == [
        ("manual", "returned"), ("not_auto", "unacknowledged"), ("fault", "returned"),
    ]  # fmt: skip


def test_the_value_shown_is_that_of_the_part_that_is_true() -> None:
    scene = Scene("bad: {any: [{point: pressure, below: 0.1}, {point: temperature, above: 80}]}")
    scene.read(0, temperature=95.0)

    (alarm,) = scene.engine.alarms()
    assert (alarm.point, alarm.value) == ("pump-1.temperature", 95.0)


def test_a_condition_over_two_blocks_uses_the_newest_of_each() -> None:
    rules, _ = compiled("dry: {all: [{point: running, is: true}, {point: pressure, below: 0.1}]}", points := pump())
    engine = AlarmEngine(rules)
    pressure, _, running, *_ = points
    assert engine.evaluate(Batch(Block("pump-1", (running,)), (True,), START_NS, START_S)) == []
    assert len(engine.evaluate(Batch(Block("pump-1", (pressure,)), (0.0,), START_NS, START_S))) == 1


# ---- the same object again ---------------------------------------------------------------------------


def test_a_block_that_did_not_change_is_not_looked_at_again() -> None:
    scene = Scene(HOT)
    scene.read(0)
    same = Batch(scene.block, tuple(scene.values.values()), scene.wall_ns, scene.mono_s)
    scene.engine.evaluate(same)
    watch = scene.engine._watches["pump-1.hot"]
    watch.truth = lambda _stands: pytest.fail("looked at again")

    assert scene.engine.evaluate(same) == []


def test_the_same_values_are_news_after_another_message_with_the_same_points() -> None:
    rules, _ = compiled(HOT, points := pump())
    engine = AlarmEngine(rules)
    whole, part = Block("pump-1", points), Block("pump-1", (points[1],))
    values = (0.5, 40.0, True, 1, "")
    engine.evaluate(Batch(whole, values, START_NS, START_S))
    assert [t.event for t in engine.evaluate(Batch(part, (90.0,), START_NS, START_S))] == ["raised"]
    assert [t.event for t in engine.evaluate(Batch(whole, values, START_NS, START_S))] == ["cleared"]


def test_a_reading_costs_the_same_whatever_rules_look_at_other_points() -> None:
    """Only the rules of the point are touched; `make bench` has the figures."""
    points = tuple(point(f"p{i}", low=0, high=100) for i in range(100))
    rules, _ = compiled("\n".join(f"r{i}: {{point: p{i}, above: 50}}" for i in range(100)), points)
    engine = AlarmEngine(rules)
    block = Block("pump-1", points)
    engine.evaluate(Batch(block, (0.0,) * 100, START_NS, START_S))
    looked: list[str] = []
    for watch in engine._watches.values():
        watch.truth = lambda _stands, name=watch.rule.name: looked.append(name)  # type: ignore[misc]  # spies
    engine.evaluate(Batch(block, (*(0.0,) * 42, 7.0, *(0.0,) * 57), START_NS, START_S))

    assert looked == ["r42"]
