"""Numbers made of a point's past or of several points: rises, counts, differences, unbalance; windows of the day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Quality, Text
from edge.alarms.alarm import Alarm, Transition
from edge.alarms.measure import Count
from edge.alarms.measured import measured
from tests.alarms.scene import START_NS, START_S, Scene, compiled

FIRE = "fire: {point: temperature, change: {over: 10m}, above: 10, deadband: 2}"
CYCLING = "cycling: {point: starts, count: {over: 1h}, above: 6, deadband: 1}"


def watched(rules: str, until: int = 3600) -> Scene:
    """A scene that has been watched for so long."""
    scene = Scene(rules)
    for at in range(0, until + 1, 60):
        scene.read(at)
    return scene


def told(of: Transition | Alarm) -> tuple[str, str] | None:
    """What was compared, as staff read it."""
    measured = (of.alarm if isinstance(of, Transition) else of).measured
    return (measured.zh, measured.en) if measured else None


# ---- rise and fall -----------------------------------------------------------------------------------


def test_a_rise_within_its_time_is_told_and_forgotten_once_its_time_has_passed() -> None:
    scene = watched(FIRE)
    scene.read(3660, temperature=45.0)
    assert scene.events == []
    (raised,) = scene.read(3720, temperature=50.5)
    assert raised.alarm.value == 50.5, "what the point reads; what was compared is told beside it"
    assert told(raised) == ("temperature：50.5，10分钟内上升 10.5", "temperature: 50.5, up by 10.5 in 10 min")
    scene.run(4400, 10)

    assert scene.story[1:] == [(scene.story[1][0], "cleared", "returned")]
    assert 4260 <= scene.story[1][0] <= 4280  # ten minutes, to a sixtieth of it, after it was last 40


def test_a_slow_rise_to_the_same_value_is_nothing() -> None:
    scene = watched(FIRE)
    for minute in range(60):
        scene.read(3600 + 60 * minute, temperature=40 + 0.5 * minute)

    assert scene.events == []


def test_a_fall_is_a_negative_change() -> None:
    scene = watched("burst: {point: pressure, change: {over: 1m}, below: -0.2}")
    (raised,) = scene.read(3630, pressure=0.25)

    assert told(raised) == ("pressure：0.25，1分钟内下降 0.25", "pressure: 0.25, down by 0.25 in 1 min")


def test_a_rate_is_the_change_in_another_time() -> None:
    scene = watched("fast: {point: temperature, change: {over: 10m, per: 1m}, above: 1.5}")
    scene.read(3660, temperature=54.0)
    assert scene.events == []
    (raised,) = scene.read(3661, temperature=56.0)
    assert told(raised) == ("temperature：56，每1分钟上升 1.6", "temperature: 56, up by 1.6 per 1 min")


def test_a_value_that_does_not_change_for_longer_than_the_window_still_counts_as_what_it_was() -> None:
    """The device reports once an hour; the rise is from its last report."""
    scene = Scene(FIRE)
    scene.read(0)
    scene.run(3599, 30)
    scene.read(3600, temperature=55.0)

    assert scene.events == ["raised"]


def test_after_a_long_gap_a_rise_is_not_judged_from_what_was_before_it() -> None:
    scene = watched(FIRE)
    scene.read(3660, Quality.BAD_COMM)
    scene.run(5000, 20)
    scene.read(5001, temperature=90.0)
    scene.run(7000, 20)

    assert scene.events == []


def test_a_short_gap_is_passed_over() -> None:
    scene = watched(FIRE)
    scene.read(3660, Quality.BAD_COMM)
    scene.read(3700, temperature=90.0)

    assert scene.events == ["raised"]


def test_a_standing_rise_is_not_cleared_by_a_gap_that_hides_its_window() -> None:
    scene = watched(FIRE)
    scene.read(3660, temperature=60.0)
    scene.read(3661, Quality.BAD_COMM)
    scene.run(5000, 20)
    scene.read(5001, temperature=60.0)
    assert scene.state("fire") == "unacknowledged"
    scene.run(5700, 10)

    assert scene.events == ["raised", "cleared"]  # the whole window has been watched again


# ---- counts ------------------------------------------------------------------------------------------


def test_starts_an_hour_are_counted_from_a_counter() -> None:
    scene = watched(CYCLING)
    for number in range(7):
        scene.read(3600 + 300 * number, starts=101 + number)
    assert scene.story == [(5400, "raised", "unacknowledged")]
    scene.run(9000, 10)
    assert scene.events == ["raised", "cleared"]


def test_a_counter_that_begins_anew_or_reads_wrong_once_is_not_counted() -> None:
    scene = watched(CYCLING)
    scene.read(3610, starts=0)
    scene.read(3611, starts=101)
    scene.read(3620, starts=0)
    scene.read(3621, starts=1)
    scene.run(4000, 10)

    assert scene.events == []


def test_what_is_seen_of_an_hour_decides_where_it_is_enough() -> None:
    scene = Scene(CYCLING + "\nidle: {point: starts, count: {over: 1h}, below: 1}")
    scene.read(0)
    scene.read(60, starts=108)
    assert scene.events == ["raised"]
    scene.run(3700, 10)
    assert scene.state("idle") == "unacknowledged"  # known only once the hour is full
    assert [(at, event) for at, event, _ in scene.story][1:] == [(3660, "cleared"), (3660, "raised")]


def test_nothing_is_too_few_before_the_whole_time_was_watched() -> None:
    scene = Scene("idle: {point: running, count: {over: 1h}, below: 1}")
    scene.read(0, running=False)
    scene.run(3590, 10)
    assert scene.events == []
    scene.run(3600, 10)
    assert scene.events == ["raised"]


def test_a_bool_is_counted_by_its_rising_edges_and_a_state_by_what_it_changes_from_and_to() -> None:
    scene = watched("""
often: {point: running, count: {over: 5m}, above: 2}
reopen: {point: mode, count: {over: 5m, from: [2], to: [1]}, above: 1}
""")
    for second in range(3):
        scene.read(3700 + 2 * second, running=False)
        scene.read(3701 + 2 * second, running=True)
    assert [each.rule for each in scene.engine.alarms()] == ["often"]
    for second, mode in enumerate([0, 1, 2, 0, 1, 2, 1, 0, 2, 1]):
        scene.read(3710 + second, mode=mode)
    assert [each.rule for each in scene.engine.alarms()] == ["often", "reopen"]
    assert [told(each) for each in scene.engine.alarms()] == [
        ("running 5分钟内 3 次变为“是”", "running became yes 3 times in 5 min"),
        ("mode 5分钟内 2 次变为“自动”", "mode became auto 2 times in 5 min"),
    ]


def test_a_count_whose_past_is_not_all_known_says_so() -> None:
    (starts,) = Scene(CYCLING).engine._values.memories
    assert starts.point is not None
    count = Count(starts.point, 3600, ZoneInfo("UTC"))
    assert measured(count, 7, 107, at_least=True) == Text(
        "starts 1小时内至少增加 7", "starts: at least 7 more in 1 h"
    )
    assert measured(replace(count, over_s=None), 7, 107) == Text("starts 今天增加 7", "starts: 7 more today")


def test_a_count_a_day_begins_anew_at_the_sites_midnight() -> None:
    scene = Scene("opens: {point: running, count: {over: day}, above: 2}", zone=ZoneInfo("Asia/Shanghai"))
    midnight = next(
        at for at in range(86_400)
        if datetime.fromtimestamp(START_NS / 1e9 + at, ZoneInfo("Asia/Shanghai")).strftime("%H:%M:%S") == "00:00:00"
    )  # fmt: skip
    for number in range(2):
        scene.read(midnight - 100 + number * 2, running=False)
        scene.read(midnight - 99 + number * 2, running=True)
    scene.run(midnight + 5)
    for number in range(3):
        scene.read(midnight + 10 + number * 2, running=False)
        scene.read(midnight + 11 + number * 2, running=True)
    scene.run(midnight + 86_399, 60)
    assert scene.story == [(midnight + 15, "raised", "unacknowledged")]
    scene.run(midnight + 86_500, 10)
    assert scene.events == ["raised", "cleared"]


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3)), min_size=1, max_size=60))
def test_a_count_agrees_with_a_list_of_all_events(story: list[tuple[int, int]]) -> None:
    """Within a sixtieth of the window, in which events share one entry."""
    scene = Scene(CYCLING)
    scene.read(0)
    events: list[int] = []
    now, starts = 0, 100
    for seconds, news in story:
        now, starts = now + seconds, starts + news
        events += [now] * news
        scene.read(now, starts=starts)
        scene.tick(now)
        (memory,) = scene.engine._values.memories
        least = sum(now - at < 3600 for at in events)
        most = sum(now - at < 3660 for at in events)
        assert isinstance(memory.value, float)
        assert sum(now - at < 3540 for at in events) <= memory.value <= most
        assert least or memory.value <= most


# ---- several points ----------------------------------------------------------------------------------


def test_a_difference_is_from_another_point_a_number_or_in_percent() -> None:
    scene = Scene("""
low: {point: pressure, difference: {to: set_pressure}, below: -0.1, deadband: 0.02}
off: {point: pressure, difference: {to: set_pressure, percent: true, either_way: true}, above: 30}
far: {point: temperature, difference: {to: 50}, above: 20}
""")
    scene.read(0)
    (low,) = scene.read(1, pressure=0.39)
    assert low.alarm.value == 0.39
    assert Alarm.from_body(json.loads(json.dumps(low.alarm.to_body()))) == low.alarm, "and is kept"
    assert told(low) == ("pressure：0.39，比set_pressure低 0.11", "pressure: 0.39, 0.11 below set_pressure")
    (off,) = scene.read(2, set_pressure=0.6)  # the setpoint alone has moved
    assert told(off) == ("pressure：0.39，与set_pressure相差 35 %", "pressure: 0.39, 35 % off set_pressure")
    (far,) = scene.read(3, temperature=71.0)
    assert told(far) == ("temperature：71，比50高 21", "temperature: 71, 21 above 50")
    assert [t.event for t in scene.read(4, pressure=0.6)] == ["cleared", "cleared"]


def test_a_difference_is_unknown_while_one_of_the_two_is() -> None:
    scene = Scene("low: {point: pressure, difference: {to: set_pressure}, below: -0.1}")
    scene.read_mixed(0, {"set_pressure": Quality.BAD_SENSOR}, pressure=0.1)
    assert scene.events == []
    scene.read(1)
    scene.read_mixed(2, {"set_pressure": Quality.BAD_SENSOR}, pressure=0.5)

    assert scene.events == ["raised"]


def test_three_phases_are_unbalanced_by_the_one_that_is_furthest_from_their_mean() -> None:
    scene = Scene(
        "unbalance: {point: current_a, unbalance: {with: [current_b, current_c], floor: 5}, above: 20, deadband: 3}"
    )
    scene.read(0, current_a=1.0, current_b=9.0, current_c=2.0)  # hardly any load: their mean is under the floor
    assert scene.events == []
    (raised,) = scene.read(1, current_a=10.0, current_b=10.0, current_c=16.0)
    assert told(raised) == (
        "current_a、current_b、current_c 不平衡 33.33 %",
        "Unbalance of current_a, current_b, current_c: 33.33 %",
    )
    scene.read(2, current_c=12.0)
    assert scene.events == ["raised", "cleared"]


# ---- time of day -------------------------------------------------------------------------------------


def at_local(text: str) -> float:
    """Seconds from the scene's start to a local time."""
    when = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    return when.timestamp() - START_NS / 1e9


NIGHT = 'dark: {point: running, is: false, active_while: {time: {from: "22:00", to: "06:00", days: [fri, sat]}}}'


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-03-06 21:59:59", False), ("2026-03-06 22:00:00", True),  # a Friday
        ("2026-03-07 05:59:00", True), ("2026-03-07 06:00:00", False),
        ("2026-03-07 23:00:00", True), ("2026-03-08 03:00:00", True), ("2026-03-08 22:30:00", False),
    ],
)  # fmt: skip
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(when: str, expected: bool) -> None:
    scene = Scene(NIGHT, zone=ZoneInfo("Asia/Shanghai"))
    at = at_local(when)
    scene.tick(at)
    scene.read(at, running=False)

    assert bool(scene.events) is expected


def test_a_window_of_the_day_waits_until_the_box_knows_the_time() -> None:
    scene = Scene(NIGHT, zone=ZoneInfo("Asia/Shanghai"))
    scene.known = False
    scene.read(at_local("2026-03-06 23:00"), running=False)
    scene.run(scene.now_s + 10)
    assert scene.events == []
    scene.known = True
    scene.run(scene.now_s + 1)
    assert scene.events == ["raised"]


# ---- over a restart ----------------------------------------------------------------------------------


def restarted(scene: Scene, rules: str, away_s: float, wall_step_s: float = 0.0) -> Scene:
    """The same rules after a restart: other monotonic clock, what was stored read back through JSON."""
    progress = scene.engine.progress(scene.mono_s, scene.wall_ns, pasts=True)
    stored: dict[str, dict[str, object]] = {"alarm_delay": {}, "alarm_past": {}}
    for (kind, key), body in progress.items():
        if body is not None:
            stored[kind][key] = json.loads(json.dumps(body))
    bodies = {alarm.id: json.loads(json.dumps(alarm.to_body())) for alarm in scene.engine.alarms()}
    after = Scene(rules, bodies)
    after.now_s = scene.now_s + away_s
    wall_ns = after.wall_ns + round(wall_step_s * 1e9)
    after.engine.resume(stored["alarm_delay"], stored["alarm_past"], START_S + after.now_s, wall_ns)  # type: ignore[arg-type]  # read from JSON
    return after


def test_a_count_goes_on_after_a_restart_and_what_happened_meanwhile_is_in_it() -> None:
    before = watched(CYCLING)
    for number in range(4):
        before.read(3660 + 60 * number, starts=101 + number)
    after = restarted(before, CYCLING, away_s=120)
    after.read(after.now_s, starts=107)

    assert after.events == ["raised"]


def test_a_rise_goes_on_after_a_restart() -> None:
    before = watched(FIRE)
    before.read(3660, temperature=46.0)
    after = restarted(before, FIRE, away_s=30)
    after.read(after.now_s, temperature=51.0)

    assert after.events == ["raised"]


def test_a_delay_goes_on_after_a_restart_and_ends_when_it_would_have_ended() -> None:
    slow = "low: {point: pressure, below: 0.2, on_delay: 60s}"
    before = Scene(slow)
    before.read(0, pressure=0.1)
    before.run(20)
    after = restarted(before, slow, away_s=15)
    after.read(35, pressure=0.1)
    after.run(59)
    assert after.events == []
    after.run(60)
    assert after.events == ["raised"]


def test_a_delay_whose_time_passed_while_the_box_was_off_ends_with_the_first_value_that_agrees() -> None:
    slow = "low: {point: pressure, below: 0.2, on_delay: 60s}"
    before = Scene(slow)
    before.read(0, pressure=0.1)
    before.run(20)
    for pressure, events in ((0.1, ["raised"]), (0.5, [])):
        after = restarted(before, slow, away_s=100)
        after.run(125)
        assert after.events == []
        after.read(126, pressure=pressure)
        after.run(300)
        assert after.events == events


def test_a_clock_that_is_wrong_after_a_restart_makes_a_delay_no_longer_than_its_rule_says() -> None:
    slow = "low: {point: pressure, below: 0.2, on_delay: 60s}"
    before = Scene(slow)
    before.read(0, pressure=0.1)
    before.run(20)
    after = restarted(before, slow, away_s=10, wall_step_s=-86_400)
    after.read(30, pressure=0.1)
    after.run(89)
    assert after.events == []
    after.run(90)
    assert after.events == ["raised"]


def test_an_alarm_that_stands_is_not_raised_a_second_time_by_a_stored_delay() -> None:
    slow = "low: {point: pressure, below: 0.2, on_delay: 60s, off_delay: 30s}"
    before = Scene(slow)
    before.read(0, pressure=0.1)
    before.run(59)
    stored = before.engine.progress(before.mono_s, before.wall_ns, pasts=False)
    before.run(60)
    after = Scene(slow, {alarm.id: alarm.to_body() for alarm in before.engine.alarms()})
    delays = {key: body for (_, key), body in stored.items() if body is not None}
    after.engine.resume(delays, {}, START_S + 61, START_NS + 61 * 10**9)
    after.read(61, pressure=0.1)
    after.run(200)

    assert after.events == []
    assert after.engine.progress(after.mono_s, after.wall_ns, pasts=False) == {("alarm_delay", "pump-1.low"): None}


def test_a_past_that_cannot_be_read_is_left_out() -> None:
    scene = Scene(CYCLING)
    (memory,) = scene.engine._values.memories
    scene.engine.resume({}, {memory.key: {"at": "yesterday"}}, scene.mono_s, scene.wall_ns)
    scene.read(1)

    assert scene.events == []


# ---- as they are written -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: {point: running, change: {over: 1m}, above: 1}",
            "1:5 a.point: running is of kind bool, and this wants numbers",
        ),
        (
            "a: {point: temperature, count: {over: 1h}, above: 1}",
            "1:25 a.count: temperature is no counter; say what is counted: to: [values that it becomes]",
        ),
        (
            "a: {point: mode, count: {over: 1h, to: [7]}, above: 1}",
            "1:18 a.count: is 7, which mode does not know; it knows 0 off, 1 auto, 2 manual",
        ),
        (
            "a: {point: starts, count: {over: 1h}, above: 1, deadband: 2}",
            "1:49 a.deadband: is 2: above 1 could never clear in its range 0..; make it smaller",
        ),
        (
            "a: {point: pressure, change: {over: 1m}, above: 2}",
            (
                "1:42 a.above: is 2, which the rise of pressure never passes in its range 0..1; "
                "the rule would never be raised"
            ),
        ),
        (
            "a: {point: pressure, difference: {to: set_presure}, above: 2}",
            "1:35 a.difference.to: no point 'set_presure' in the profile; did you mean set_pressure?",
        ),
        (
            "a: {point: pressure, difference: {to: 1}, change: {over: 1m}, above: 2}",
            "1:1 a: change and difference: one of them at most, compared by above or below",
        ),
        (
            "a: {time: {from: '25:00', to: '06:00'}}",
            "1:12 a.time.from: '25:00' is no time of day; write it like 22:00",
        ),
        ("a: {time: {from: '06:00', to: '06:00'}}", "1:5 a.time: is always; give from and to, or days"),
        (
            "a: {point: current_a, unbalance: {with: [running]}, above: 20}",
            "1:42 a.unbalance.with.0: running is of kind bool, and this wants numbers",
        ),
        (
            "a: {silent: pump-2}",
            "1:5 a.silent: no equipment 'pump-2' here; other equipment belongs into rules of the site file",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_measure_is_shown_where_it_stands(text: str, expected: str) -> None:
    _, document = compiled(text)
    assert [f"{f.line}:{f.column} {f.path}: {f.message}" for f in document.faults] == [expected]
