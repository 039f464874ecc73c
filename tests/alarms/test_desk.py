"""What people, latches and lost connections do to alarms, as timelines."""

from __future__ import annotations

import pytest

from drivers.point import Batch, Block, Quality
from edge.alarms.alarm import AlarmRefused
from edge.alarms.engine import AlarmEngine
from tests.alarms.scene import START_NS, START_S, Scene, compiled, pump

HOT = "hot: {point: temperature, above: 80, deadband: 5}"
GONE = "gone: {silent: true, on_delay: 30s}"


# ---- latching ----------------------------------------------------------------------------------------


def test_a_latched_alarm_stays_until_it_is_acknowledged_and_reset() -> None:
    scene = Scene("fire: {point: temperature, above: 80, latching: true}")
    scene.read(0, temperature=90.0)
    scene.read(1, temperature=20.0)
    assert scene.state("fire") == "latched_unacknowledged"
    with pytest.raises(AlarmRefused, match="acknowledge it, then reset it"):
        scene.engine.reset("pump-1.fire", "李工", START_NS, START_S)
    scene.ack("fire")
    assert scene.state("fire") == "latched_acknowledged"
    scene.engine.reset("pump-1.fire", "李工", START_NS, START_S)

    assert scene.engine.alarms() == []


def test_a_second_fire_behind_the_latch_asks_for_somebody_again() -> None:
    scene = Scene("fire: {point: temperature, above: 80, latching: true}")
    scene.read(0, temperature=90.0)
    scene.ack("fire")
    scene.read(1, temperature=20.0)
    scene.read(2, temperature=90.0)

    (alarm,) = scene.engine.alarms()
    assert scene.story[-1] == (2, "re-raised", "unacknowledged")
    assert (alarm.occurrence, alarm.acked_by) == (2, None)


def test_a_latched_alarm_whose_condition_stands_cannot_be_reset() -> None:
    scene = Scene("fire: {point: temperature, above: 80, latching: true}")
    scene.read(0, temperature=90.0)
    scene.ack("fire")

    with pytest.raises(AlarmRefused, match="condition still stands") as refused:
        scene.engine.reset("pump-1.fire", "李工", START_NS, START_S)
    assert refused.value.kind == "conflict"


# ---- what people do ----------------------------------------------------------------------------------


def test_an_acknowledgement_needs_a_name_and_something_to_acknowledge() -> None:
    scene = Scene(HOT)
    with pytest.raises(AlarmRefused, match="nothing to acknowledge"):
        scene.ack("hot")
    scene.read(0, temperature=90.0)
    with pytest.raises(AlarmRefused, match="a name is missing"):
        scene.ack("hot", "  ")
    scene.ack("hot")
    with pytest.raises(AlarmRefused, match="acknowledged by 李工"):
        scene.ack("hot", "王工")
    with pytest.raises(AlarmRefused) as refused:
        scene.engine.ack("pump-9.hot", "李工", 0, 0)

    assert refused.value.kind == "not_found"
    assert scene.engine.alarms()[0].acked_by == "李工"


def test_a_shelf_ends_by_itself_and_the_alarm_is_raised_where_its_condition_stands() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.shelve("hot", 30)
    assert scene.engine.alarms()[0].shelved_until_ns == START_NS + 1800 * 10**9
    scene.read(60, temperature=60.0)
    scene.read(120, temperature=90.0)
    scene.run(1799, 100)
    assert scene.events == ["raised", "shelved"]
    scene.tick(1800)

    assert scene.story[2:] == [(1800, "unshelved", "normal"), (1800, "raised", "unacknowledged")]
    assert scene.engine.alarms()[0].shelved_until_ns is None


def test_a_shelf_ends_quietly_where_the_condition_has_gone() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.shelve("hot", 1)
    scene.read(30, temperature=60.0)
    assert scene.engine.alarms()[0].active is False
    scene.tick(60)

    assert scene.engine.alarms() == []


def test_an_alarm_is_taken_off_the_shelf_by_hand() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.shelve("hot", 60)
    transitions = scene.engine.unshelve("pump-1.hot", "李工", scene.wall_ns, scene.mono_s)
    assert [(t.event, t.who) for t in transitions] == [("unshelved", "李工"), ("raised", "")]
    with pytest.raises(AlarmRefused, match="is unacknowledged, not shelved"):
        scene.engine.unshelve("pump-1.hot", "李工", scene.wall_ns, scene.mono_s)
    assert scene.tick(4000) == []


@pytest.mark.parametrize(
    ("minutes", "who", "reason", "message"),
    [
        (0.5, "李工", "检修", "for 1 to 1440 minutes"),
        (1441, "李工", "检修", "for 1 to 1440 minutes"),
        (float("nan"), "李工", "检修", "for 1 to 1440 minutes"),
        (float("inf"), "李工", "检修", "for 1 to 1440 minutes"),
        (30, "", "检修", "a name is missing"),
        (30, "李工", " ", "a reason is missing"),
    ],
)
def test_a_shelf_needs_a_time_a_name_and_a_reason(minutes: float, who: str, reason: str, message: str) -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)

    with pytest.raises(AlarmRefused, match=message):
        scene.shelve("hot", minutes, who, reason)
    assert scene.state("hot") == "unacknowledged"


def test_life_safety_is_not_shelved() -> None:
    scene = Scene("fire: {point: temperature, above: 80, shelvable: false}")
    scene.read(0, temperature=90.0)

    with pytest.raises(AlarmRefused, match="may not be shelved"):
        scene.shelve("fire", 5)


def test_an_alarm_is_taken_out_of_service_and_put_back() -> None:
    scene = Scene(HOT)
    scene.read(0, temperature=90.0)
    scene.shelve("hot", 5)
    scene.note(scene.engine.remove("pump-1.hot", "李工", "更换探头", scene.wall_ns, scene.mono_s))
    scene.run(600)
    assert scene.state("hot") == "out_of_service"
    scene.note(scene.engine.put_back("pump-1.hot", "李工", scene.wall_ns, scene.mono_s))

    assert scene.events == ["raised", "shelved", "removed", "returned", "raised"]


# ---- silence and connections -------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [Quality.BAD_COMM, Quality.BAD_STALE])
def test_equipment_is_silent_when_none_of_its_points_can_be_read(quality: Quality) -> None:
    scene = Scene(GONE)
    scene.read(0)
    scene.read(10, quality)
    scene.run(50)
    assert scene.story == [(40, "raised", "unacknowledged")]
    assert scene.engine.alarms()[0].point is None
    scene.read(60)

    assert scene.state("gone") == "returned"


def test_one_point_that_answers_is_not_silence() -> None:
    scene = Scene(GONE)
    scene.read_mixed(0, dict.fromkeys(["pressure", "temperature", "running", "mode"], Quality.BAD_COMM))
    scene.run(100)
    assert scene.events == []
    scene.read_mixed(101, dict.fromkeys(scene.values, Quality.BAD_COMM))
    scene.run(131)
    assert scene.events == ["raised"]


def test_a_sensor_that_says_it_does_not_know_is_not_silent() -> None:
    scene = Scene(GONE)
    scene.read(0, Quality.BAD_SENSOR)
    scene.run(100)

    assert scene.events == []


def test_equipment_that_has_not_been_asked_yet_is_not_silent() -> None:
    scene = Scene(GONE)
    scene.run(1000, 10)

    assert scene.events == []


def test_equipment_that_never_answers_is_silent() -> None:
    """A slow block that has not had its turn yet does not hide that the fast one gets no answer."""
    rules, _ = compiled(GONE, points := pump())
    engine = AlarmEngine(rules)
    engine.evaluate(Batch(Block("pump-1", points[:2]), (None, None), START_NS, START_S, Quality.BAD_COMM))

    assert [t.event for t in engine.tick(START_S + 30, START_NS)] == ["raised"]


def test_a_line_that_is_down_keeps_its_equipment_quiet() -> None:
    scene = Scene(GONE + "\n" + HOT)
    scene.link(0, up=True)
    scene.read(1)
    scene.link(10, up=False)
    scene.read(10, Quality.BAD_COMM)
    scene.run(500)
    assert scene.events == []
    scene.link(500, up=True)
    scene.run(529)
    assert scene.events == []
    scene.tick(530)

    assert scene.story == [(530, "raised", "unacknowledged")]  # it alone did not come back


def test_equipment_that_comes_back_with_its_line_raises_nothing() -> None:
    scene = Scene(GONE)
    scene.link(10, up=False)
    scene.read(10, Quality.BAD_COMM)
    scene.link(500, up=True)
    scene.read(505)
    scene.run(600)

    assert scene.events == []


def test_a_silence_that_stood_before_the_line_went_down_is_suppressed_until_it_is_back() -> None:
    scene = Scene(GONE)
    scene.read(0, Quality.BAD_COMM)
    scene.run(30)
    scene.link(100, up=False)
    scene.run(200)
    scene.link(200, up=True)
    scene.run(300)

    assert scene.story == [
        (30, "raised", "unacknowledged"), (100, "suppressed", "suppressed"), (200, "unsuppressed", "normal"),
        (230, "raised", "unacknowledged"),
    ]  # fmt: skip


def test_a_line_has_an_alarm_of_its_own() -> None:
    rules, _ = compiled("line_offline: {connection: down, on_delay: 10s, off_delay: 2s}", (), "connection:pump-room")
    engine = AlarmEngine(rules)
    assert engine.tick(START_S, START_NS) == []
    assert engine.connection("pump-room", False, START_S, START_NS) == []
    (raised,) = engine.tick(START_S + 10, START_NS)
    assert (raised.alarm.id, raised.event) == ("connection:pump-room.line_offline", "raised")
    engine.connection("pump-room", True, START_S + 20, START_NS)
    assert [t.event for t in engine.tick(START_S + 22, START_NS)] == ["cleared"]


def test_a_connection_that_nobody_watches_is_no_mistake() -> None:
    assert Scene(HOT).link(0, up=False) == []
