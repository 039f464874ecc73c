"""What a command must meet: pure, on a clock that the test owns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import Keys
from drivers.guard import GuardSpec, InterlockSpec
from drivers.point import Point, Quality, Text, Value
from edge.acquisition.commands import Commands, Fate, Override, fate_of
from edge.acquisition.guards import Barred, Guard, Interlock
from edge.acquisition.pipeline import NEVER, Live
from edge.clock import ManualClock


def point(name: str, kind: Any = "float", **over: Any) -> Point:
    keys: dict[str, Any] = {
        "title": Text(name, name), "unit": "", "period_s": 1, "deadband": 0, "low": None, "high": None,
        "counter": False, "writable": True, "labels": None, "address": Keys(), **over,
    }  # fmt: skip
    return Point(id=f"pump-2.{name}", equipment="pump-2", name=name, kind=kind, **keys)


SPEED = point("speed", unit="Hz", low=0.0, high=50.0)
START = point("start", "bool")
LEVEL = point("level", unit="%", low=0.0, high=100.0, writable=False)


class Plant:
    """Points with their newest readings, and commands to them."""

    def __init__(self, own: Point, locks: tuple[InterlockSpec, ...] = (), other: Point = LEVEL, **spec: Any) -> None:
        self.clock = ManualClock()
        self.readings: dict[Point, Live] = {}
        self.own = own
        guard = Guard(GuardSpec.model_validate(spec), tuple(Interlock(other, lock) for lock in locks))
        self.commands = Commands({own.id: guard}, lambda each: self.readings.get(each, NEVER))

    def reads(self, each: Point, value: Value, quality: Quality = Quality.GOOD) -> None:
        self.clock.advance(0.001)
        self.readings[each] = Live(value, quality, self.clock.wall_ns())

    def reserve(self, value: Value, equipment_class: Any = "pump") -> Value:
        return self.commands.reserve(self.own, equipment_class, value, self.clock.mono_s())

    def settle(self, fate: Fate = "done", after: Value = None) -> None:
        self.commands.settle(self.own, fate, after, self.clock.mono_s(), self.clock.wall_ns())

    def set(self, value: Value) -> Value:
        written = self.reserve(value)
        self.settle("done", written)
        return written

    def barred(self, value: Value, **more: Any) -> Barred:
        with pytest.raises(Barred) as caught:
            self.reserve(value, **more)
        return caught.value


def lock(**keys: Any) -> InterlockSpec:
    return InterlockSpec.model_validate({"point": "level", **keys})


@pytest.mark.parametrize(
    ("own", "asked", "guard", "words"),
    [
        (SPEED, 50.1, "range", "pump-2.speed takes 0 to 50 Hz, 50.1 was asked; ask for a value within"),
        (SPEED, -1, "range", "pump-2.speed takes 0 to 50 Hz, -1 was asked; ask for a value within"),
        (SPEED, True, "value", "pump-2.speed takes a number, True was asked"),
        (SPEED, "fast", "value", "pump-2.speed takes a number, 'fast' was asked"),
        (SPEED, float("nan"), "value", "pump-2.speed takes a number, nan was asked"),
        (SPEED, float("inf"), "value", "pump-2.speed takes a number, inf was asked"),
        (START, 2, "value", "pump-2.start takes true or false, 2 was asked"),
        (point("stage", "int"), 1.5, "value", "pump-2.stage takes whole numbers, 1.5 was asked; ask for 2"),
        (
            point("mode", "int", labels={0: Text("停", "off"), 1: Text("开", "on")}), 2, "value",
            "pump-2.mode takes one of 0 off, 1 on, 2 was asked; ask for one of them",
        ),
        (LEVEL, 5, "writable", "pump-2.level is not writable: its profile does not say so"),
    ],
)  # fmt: skip
def test_a_command_outside_of_what_a_point_takes_is_refused_in_one_sentence(
    own: Point, asked: Value, guard: str, words: str
) -> None:
    barred = Plant(own).barred(asked)
    assert (barred.guard, str(barred), barred.lasting) == (guard, words, True)


@pytest.mark.parametrize("equipment_class", ["elevator", "fire"])
def test_lifts_and_fire_equipment_are_never_written_whatever_their_points_say(equipment_class: str) -> None:
    barred = Plant(START).barred(True, equipment_class=equipment_class)
    assert str(barred) == f"pump-2.start is read only, as all equipment of class {equipment_class} is"


def test_a_guard_narrows_the_range_that_a_point_can_have() -> None:
    plant = Plant(SPEED, low=20, high=45)
    assert plant.set(45) == 45.0
    assert str(plant.barred(46)) == "pump-2.speed takes 20 to 45 Hz, 46 was asked; ask for a value within"


def test_a_second_command_within_the_interval_is_held_back_and_told_when_to_ask() -> None:
    plant = Plant(START, min_interval="2s")
    plant.set(True)
    plant.clock.advance(0.5)
    barred = plant.barred(False)
    assert str(barred) == "pump-2.start is set once in 2 s at most, and was 0.5 s ago; ask again in 1.5 s"
    assert not barred.lasting
    plant.clock.advance(1.5)
    plant.set(False)


def test_the_interval_counts_from_the_end_of_a_command_that_waited_on_a_slow_line() -> None:
    plant = Plant(START, min_interval="2s")
    plant.reserve(True)
    assert plant.barred(False).guard == "busy"
    plant.clock.advance(5)
    plant.settle("done", True)
    assert plant.barred(False).guard == "rate"


def test_a_command_that_may_have_been_taken_counts_for_the_rate_and_one_that_was_not_does_not() -> None:
    plant = Plant(START, min_interval="2s")
    plant.reserve(True)
    plant.settle("refused")
    plant.reserve(True)
    plant.settle("failed")
    assert plant.barred(True).guard == "rate"


def test_the_interval_goes_on_over_a_restart_and_a_clock_set_back() -> None:
    for ago_s, free in ((1, False), (2, True), (-3600, False)):
        plant = Plant(START, min_interval="2s")
        written_ns = plant.clock.wall_ns() - ago_s * 10**9
        plant.commands.restore(START, written_ns, plant.clock.mono_s(), plant.clock.wall_ns())
        assert (plant.reserve(True) is True) if free else plant.barred(True).guard == "rate"


def test_a_change_larger_than_the_step_is_refused_and_told_how_far_to_go() -> None:
    plant = Plant(SPEED, max_step=5)
    plant.reads(SPEED, 20.0)
    barred = plant.barred(30)
    assert str(barred) == (
        "pump-2.speed may change by 5 Hz at most in one command; it is 20 Hz and 30 Hz was asked: ask for 25 Hz first"
    )
    assert plant.set(25) == 25.0


def test_the_step_counts_from_what_was_read_back_until_a_newer_reading_comes() -> None:
    plant = Plant(SPEED, max_step=5)
    plant.reads(SPEED, 20.0)
    plant.set(25)
    assert plant.barred(19).guard == "step"
    plant.reads(SPEED, 22.0)
    assert plant.set(18) == 18.0


@pytest.mark.parametrize("quality", [Quality.BAD_COMM, Quality.UNCERTAIN_STALE, Quality.BAD_RANGE])
def test_no_step_is_taken_from_where_nobody_knows(quality: Quality) -> None:
    plant = Plant(SPEED, max_step=5)
    assert plant.barred(3).guard == "unknown"
    plant.reads(SPEED, 20.0, quality)
    assert quality.value in str(plant.barred(21))


def test_after_a_command_that_failed_the_step_waits_for_a_reading() -> None:
    plant = Plant(SPEED, max_step=5)
    plant.reads(SPEED, 20.0)
    plant.reserve(25)
    plant.settle("failed")
    assert plant.barred(21).guard == "unknown"
    plant.reads(SPEED, 25.0)
    assert plant.set(30) == 30.0


@pytest.mark.parametrize(
    ("keys", "own", "asked", "met", "unmet"),
    [
        ({"above": 20}, START, True, 20.5, 20),
        ({"below": 80}, START, True, 79, 80),
        ({"is": 1}, START, True, 1, 2),
        ({"is_not": 1}, START, True, 2, 1),
        ({"in": [1, 3]}, START, True, 3, 2),
        ({"above": 20, "to": True}, START, True, 30, 10),
        ({"above": 20, "to_above": 0}, SPEED, 1, 30, 10),
    ],
)
def test_an_interlock_lets_pass_and_holds_back(keys: Any, own: Point, asked: Value, met: Value, unmet: Value) -> None:
    plant = Plant(own, (lock(**keys),), other=point("level", writable=False))
    other = plant.commands.guard(own).interlocks[0].point
    plant.reads(other, unmet)
    assert plant.barred(asked).guard == "interlock"
    plant.reads(other, met)
    plant.set(asked)


@pytest.mark.parametrize(("keys", "own", "stop"), [({"to": True}, START, False), ({"to_above": 0}, SPEED, 0)])
def test_what_may_not_start_can_still_be_stopped(keys: Any, own: Point, stop: Value) -> None:
    plant = Plant(own, (lock(above=20, **keys),))
    assert plant.barred(1).guard == "interlock"
    plant.set(stop)


def test_an_interlock_says_what_it_wants_and_what_it_found() -> None:
    plant = Plant(START, (lock(above=20),))
    plant.reads(LEVEL, 12.5)
    barred = plant.barred(True)
    assert str(barred) == (
        "pump-2.start is not set to True: it may only be while pump-2.level above 20 %, "
        "and it is 12.5 %; wait until it is so, then ask anew"
    )
    assert not barred.lasting
    assert barred.facts == {
        "guard": "interlock", "needs": "pump-2.level above 20 %", "found": 12.5, "quality": "good",
    }  # fmt: skip


@pytest.mark.parametrize(
    "quality",
    [q for q in Quality if q not in (Quality.GOOD, Quality.UNCERTAIN_CLOCK)],
)
def test_an_interlock_on_a_value_that_is_not_good_refuses_though_the_value_would_do(quality: Quality) -> None:
    plant = Plant(START, (lock(above=20),))
    plant.reads(LEVEL, 90.0, quality)
    barred = plant.barred(True)
    assert barred.guard == "interlock"
    assert f"but pump-2.level is {quality.value}; see that it is read again" in str(barred)


def test_an_interlock_on_a_point_that_was_never_read_refuses() -> None:
    assert Plant(START, (lock(above=20),)).barred(True).facts["quality"] == "bad/comm"


def timed(plant: Plant, value: Value, for_s: float = 60) -> Override:
    moment = plant.clock.mono_s(), plant.clock.wall_ns()
    return plant.commands.timed(plant.own, value, for_s, "li", "test", *moment)


def test_a_command_for_a_time_needs_a_known_value_to_return_to() -> None:
    plant = Plant(SPEED, high=30)
    with pytest.raises(Barred, match="nobody knows what to return to"):
        timed(plant, 20.0)
    plant.reads(SPEED, 40.0)
    with pytest.raises(Barred, match=r"could not return to where it is: .* takes 0 to 30 Hz, 40 was asked"):
        timed(plant, 20.0)


def test_a_second_command_for_a_time_returns_to_what_was_before_the_first() -> None:
    plant = Plant(SPEED)
    plant.reads(SPEED, 10.0)
    plant.commands.ended(SPEED, "done", 20.0, timed(plant, 20.0))
    plant.reads(SPEED, 20.0)
    assert timed(plant, 30.0).returns_to == 10.0


@pytest.mark.parametrize(
    ("fate", "after", "new", "left"),
    [
        ("done", 30.0, False, None), ("done", 30.0, True, "new"),
        ("not taken", 12.0, False, "old"), ("not taken", 12.0, True, "new"), ("not taken", 10.0, True, "old"),
        ("failed", None, False, "old"), ("failed", None, True, "old"),
        ("refused", None, False, "old"), ("refused", None, True, "old"),
    ],
)  # fmt: skip
def test_a_newer_command_ends_an_override_only_once_the_device_has_taken_it(
    fate: Fate, after: Value, new: bool, left: str | None
) -> None:
    plant = Plant(SPEED)
    plant.reads(SPEED, 10.0)
    old = timed(plant, 20.0)
    plant.commands.ended(SPEED, "done", 20.0, old)
    newer = timed(plant, 30.0) if new else None
    assert plant.commands.ended(SPEED, fate, after, newer) is {"old": old, "new": newer, None: None}[left]


def test_a_kept_override_ends_at_its_hour_and_never_later_than_it_was_asked_for() -> None:
    plant = Plant(SPEED)
    plant.reads(SPEED, 10.0)
    body = timed(plant, 20.0, for_s=600).to_body()
    until_ns = body["until_ns"]
    for wall_ns, left_s in ((until_ns - 60 * 10**9, 60), (until_ns + 1, 0), (0, 600)):
        assert Override.from_body(body, 1000.0, wall_ns).due_s == 1000.0 + left_s


def test_a_read_back_within_the_deadband_or_rounding_is_what_was_asked() -> None:
    assert fate_of(point("a", deadband=0.5), 20.0, 20.4) == "done"
    assert fate_of(point("a", deadband=0.5), 20.0, 20.6) == "not taken"
    assert fate_of(SPEED, 0.1, 0.10000000149) == "done"
    assert fate_of(START, True, False) == "not taken"
    assert fate_of(SPEED, 20.0, None) == "not taken"


COMMAND = st.tuples(
    st.floats(0, 5),  # time that passes before
    st.one_of(st.floats(-5, 60), st.integers(-5, 60)),  # what is asked
    st.sampled_from(["done", "done", "done", "failed", "refused", "not taken"]),
    st.floats(0, 3),  # how long the line takes
    st.booleans(),  # whether a reading comes afterwards
)


@settings(max_examples=200)
@given(st.lists(COMMAND, max_size=30), st.floats(0.5, 10), st.floats(0, 4))
def test_no_sequence_of_commands_comes_too_often_or_in_too_large_a_step(
    asked: list[tuple[float, float, Fate, float, bool]], max_step: float, min_interval: float
) -> None:
    plant = Plant(SPEED, max_step=max_step, min_interval=min_interval)
    stands = 10.0
    plant.reads(SPEED, stands)
    ended_s: float | None = None
    for pause_s, value, fate, wire_s, reading in asked:
        plant.clock.advance(pause_s)
        try:
            written = plant.reserve(value)
        except Barred:
            written = None
        if written is not None:
            assert isinstance(written, float)
            assert 0 <= written <= 50
            assert abs(written - stands) <= max_step * (1 + 1e-5)
            assert ended_s is None or plant.clock.mono_s() - ended_s >= min_interval
            assert plant.barred(value).guard == "busy"
            plant.clock.advance(wire_s)
            taken = fate in ("done", "failed")  # the worst case of a failure: the device has obeyed
            stands = written if taken else stands
            plant.settle(fate, stands if fate in ("done", "not taken") else None)
            ended_s = ended_s if fate == "refused" else plant.clock.mono_s()
        if reading:
            plant.reads(SPEED, stands)


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0.5, 20))
def test_an_override_goes_home_in_steps_that_are_allowed(start: float, home: float, max_step: float) -> None:
    plant = Plant(SPEED, max_step=max_step)
    plant.reads(SPEED, home)
    override = timed(plant, start)
    plant.reads(SPEED, start)
    stands: Value = start
    for _ in range(110):
        stands = plant.set(plant.commands.homeward(SPEED, override))
    assert stands == pytest.approx(home)
