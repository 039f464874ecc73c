"""The world: one behaviour clock for all, the same history from the same seed, and a scenario on time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from drivers.point import Text, Value
from simulators.model import SimEquipment
from simulators.scenario import Event, Scenario
from simulators.world import World
from tests.simulators.community import EVENING, Watch, equipment, some, world


def story(*events: Event) -> Scenario:
    return Scenario("test", Text("测试", "test"), EVENING, events)


def history(here: World, calls: int, real_dt_s: float) -> list[dict[str, dict[str, Value]]]:
    told = []
    for _ in range(calls):
        here.advance(real_dt_s)
        told.append({name: dict(model.values()) for name, model in here.models.items()})
    return told


def test_the_same_seed_and_the_same_calls_give_the_same_history() -> None:
    events = story(Event(20, "lift-1", False, "trapped_passenger"), Event(30, "bin-07", False, "fire"))
    first = history(world(seed=5, speed=10, scenario=events), 60, 0.1)
    assert first == history(world(seed=5, speed=10, scenario=events), 60, 0.1)
    assert first != history(world(seed=6, speed=10, scenario=events), 60, 0.1)


def test_one_more_equipment_changes_nobody_elses_history() -> None:
    alone = history(world("lift-1", seed=3), 300, 1.0)
    with_another = history(world("lift-1", "lift-2", seed=3), 300, 1.0)
    assert [moment["lift-1"] for moment in alone] == [moment["lift-1"] for moment in with_another]


def test_every_equipment_of_the_demo_gives_exactly_the_points_of_its_profile() -> None:
    here = world()
    for each in equipment():
        assert set(here.models[each.id].values()) == set(each.profile.points), each.id


def test_values_have_the_kind_that_the_profile_says_and_lie_within_what_it_calls_possible() -> None:
    here = world(speed=30)
    for _ in range(60):
        here.advance(0.2)
        for each in equipment():
            for name, value in here.models[each.id].values().items():
                spec, _ = each.profile.points[name]
                where = f"{each.id}.{name} = {value!r}"
                assert isinstance(value, bool) == (spec.kind == "bool"), where
                if spec.kind == "int":
                    assert isinstance(value, int), where
                    assert spec.labels is None or value in spec.labels, where
                if isinstance(value, int | float):
                    assert spec.low is None or value >= spec.low, where
                    assert spec.high is None or value <= spec.high, where


def test_the_speed_factor_makes_behaviour_pass_faster_in_steps_of_a_second_at_most() -> None:
    here = world("lift-1", speed=60)
    longest = 0.0
    model = here.models["lift-1"]
    step = model.step

    def measured(dt_s: float, world: World) -> None:
        nonlocal longest
        longest = max(longest, dt_s)
        step(dt_s, world)

    model.step = measured  # type: ignore[method-assign]  # a spy
    here.advance(2)
    assert here.elapsed_s == pytest.approx(120)
    assert longest == pytest.approx(1)
    assert (here.now - EVENING).total_seconds() == pytest.approx(120)
    assert here.hour == pytest.approx(18.5 + 120 / 3600)


def test_faults_begin_and_end_on_time_even_inside_a_long_step() -> None:
    here = world("pump-3", "bin-01", speed=60, scenario=story(
        Event(10, "pump-3", False, "silent", for_s=20), Event(15, "pump-room", True, "cut", for_s=5),
        Event(40, "lora", True, "gone"), Event(50, "bin-01", False, "tilted", for_s=5)))  # fmt: skip
    seen = []
    for _ in range(12):
        here.advance(5 / 60)
        tilted = here.models["bin-01"].values()["tilted"]
        seen.append(
            (round(here.elapsed_s), "pump-3" in here.silent, "pump-room" in here.cut, "lora" in here.cut, tilted)
        )
    assert [moment[0] for moment in seen if moment[1]] == [10, 15, 20, 25]
    assert [moment[0] for moment in seen if moment[2]] == [15]
    assert [moment[0] for moment in seen if moment[3]] == [40, 45, 50, 55, 60]
    assert [moment[0] for moment in seen if moment[4]] == [50]
    here = world("pump-3", speed=60, scenario=story(Event(10, "pump-3", False, "silent", for_s=20)))
    here.advance(1)
    assert not here.silent


def test_a_scenario_gives_the_start_where_nobody_else_does() -> None:
    here = World(some("lift-1"), 1, scenario=story())
    assert here.now == EVENING
    with pytest.raises(ValueError, match="start with a time zone"):
        World(some("lift-1"), 1)
    with pytest.raises(ValueError, match="time zone"):
        World(some("lift-1"), 1, datetime(2026, 3, 2))  # noqa: DTZ001  (what is refused)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_not_above_zero_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        World(some("lift-1"), 1, datetime(2026, 3, 2, tzinfo=UTC), speed)


@pytest.mark.parametrize(
    ("simulate", "message"),
    [
        ({"model": "elevatr"}, "lift-1: simulate.model 'elevatr' is unknown; did you mean elevator?"),
        ({"model": "elevator", "floors": 1}, "lift-1: simulate.floors: "),
        ({"model": "elevator", "flors": 9}, "lift-1: simulate.flors: "),
    ],
)
def test_a_wrong_simulate_section_names_the_equipment_and_the_key(simulate: dict[str, Any], message: str) -> None:
    [lift] = some("lift-1")
    with pytest.raises(ValueError, match=message.replace("?", r"\?").replace("(", r"\(")):
        World([SimEquipment(lift.id, lift.profile, lift.connection, lift.address, simulate)], 1, EVENING)


@pytest.mark.parametrize("seed", [1, 20260302])
def test_in_half_an_hour_of_a_quiet_evening_nothing_reaches_an_alarm_limit(seed: int) -> None:
    here = world(seed=seed)
    watch = Watch(here)
    for _ in range(1800):
        here.advance(1)
        if round(here.elapsed_s) % 3 == 0:
            watch.look()
    assert watch.raised == {}


def test_in_a_quiet_day_at_sixty_times_life_nothing_reaches_an_alarm_limit() -> None:
    here = world("lift-3", "pump-1", "pump-2", "sump-1", "meter-1", "bin-01", "light-01", "light-13", "zone-1",
                 "panel-1", speed=60)  # fmt: skip
    watch = Watch(here)
    for call in range(14_400):
        here.advance(0.1)
        if call % 4 == 0:
            watch.look()
    assert here.elapsed_s == pytest.approx(86_400)
    assert watch.raised == {}
