"""Models: what is conserved, what only counts up, what each fault does, and what writes do."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import pairwise

import pytest

from drivers.document import Document
from drivers.point import Value
from simulators.models import MODELS, check
from simulators.models.booster import BoosterPump
from simulators.models.elevator import Elevator
from simulators.world import World
from tests.simulators.community import EVENING, equipment, wait_until, world

NIGHT = EVENING.replace(hour=3, minute=10)
NOON = EVENING.replace(hour=12, minute=0)


def number(here: World, point: str) -> float:
    name, _, signal = point.partition(".")
    value = here.models[name].values()[signal]
    assert isinstance(value, int | float), point
    return value


def run(here: World, seconds: float, step_s: float = 0.5) -> None:
    for _ in range(round(seconds / step_s)):
        here.advance(step_s / here.speed)


# ---- what holds for all ----


def test_counters_only_count_up() -> None:
    here = world(speed=60)
    counters = [f"{each.id}.{name}" for each in equipment() for name, (spec, _) in each.profile.points.items()
                if spec.counter]  # fmt: skip
    before = {counter: number(here, counter) for counter in counters}
    for _ in range(60):
        here.advance(0.5)
        now = {counter: number(here, counter) for counter in counters}
        assert all(now[counter] >= before[counter] for counter in counters)
        before = now
    assert "pump-1.run_hours" in before


def test_the_meter_counts_what_the_equipment_draws() -> None:
    here = world()
    began = number(here, "meter-1.import_energy")
    counted_kwh = 0.0
    for _ in range(600):
        here.advance(0.5)
        counted_kwh += number(here, "meter-1.power") * 0.5 / 3600
        drawn = sum(model.power_kw for model in here.models.values())
        assert number(here, "meter-1.power") == pytest.approx(
            sum(number(here, f"meter-1.power_l{n}") for n in (1, 2, 3))
        )
        assert number(here, "meter-1.power") > drawn * 0.8
    assert number(here, "meter-1.import_energy") - began == pytest.approx(counted_kwh, rel=1e-6)
    assert number(here, "meter-1.total_energy") == number(here, "meter-1.import_energy")


def test_the_meter_agrees_with_itself_phase_by_phase() -> None:
    here = world()
    run(here, 20)
    for phase in ("l1", "l2", "l3"):
        volts, amps = number(here, f"meter-1.voltage_{phase}"), number(here, f"meter-1.current_{phase}")
        factor = number(here, f"meter-1.power_factor_{phase}")
        assert volts * amps * factor / 1000 == pytest.approx(number(here, f"meter-1.power_{phase}"))


def test_switching_a_light_off_is_seen_on_the_meter() -> None:
    here = world("meter-1", "light-01", "light-02")
    run(here, 5)
    before = number(here, "meter-1.power")
    here.models["light-01"].write("on", False)
    run(here, 2)
    assert before - number(here, "meter-1.power") == pytest.approx(0.66, abs=0.02)


@pytest.mark.parametrize("name", sorted({each.params["model"] for each in equipment()}))
def test_an_unknown_fault_or_key_is_refused_with_what_there_is(name: str) -> None:
    each = next(each for each in equipment() if each.params["model"] == name)
    model = world(each.id).models[each.id]
    assert model.faults == frozenset(MODELS[name].FAULTS)
    with pytest.raises(ValueError, match="has no fault 'gremlins'"):
        model.fail("gremlins")
    with pytest.raises(ValueError, match="Extra inputs"):
        model.fail(min(model.faults), gremlins=3)
    model.mend("gremlins")
    assert not model.failing


@pytest.mark.parametrize("name", sorted({each.params["model"] for each in equipment()}))
def test_every_fault_of_every_model_begins_lasts_and_ends(name: str) -> None:
    each = next(each for each in equipment() if each.params["model"] == name)
    for fault in sorted(MODELS[name].FAULTS):
        here = world(each.id)
        here.models[each.id].fail(fault)
        run(here, 150)
        faulty = dict(here.models[each.id].values())
        here.models[each.id].mend(fault)
        run(here, 600, 1)
        assert not here.models[each.id].failing
        assert set(faulty) == set(each.profile.points)


def test_a_simulate_section_with_mistakes_is_placed() -> None:
    document = Document("profile.yaml", {}, {("simulate",): (9, 1), ("simulate", "flors"): (9, 20)})
    check({"model": "elevator", "flors": 9}, document, ("simulate",))
    check({"model": "elevatr"}, document, ("simulate",))
    assert [str(fault) for fault in document.faults] == [
        "profile.yaml:9:20: simulate.flors: unknown key; did you mean floors?",
        "profile.yaml:9:1: simulate.model: no model 'elevatr'; did you mean elevator?",
    ]


def test_equipment_without_a_model_keeps_the_values_that_it_is_given() -> None:
    model = MODELS["fixed"]("meter-9", {"voltage": 231.5}, world("lift-1").models["lift-1"].rng)
    model.write("voltage", 229.0)
    assert model.values() == {"voltage": 229.0}
    with pytest.raises(ValueError, match="no value for current"):
        model.write("current", 1.0)


# ---- lifts ----


def test_a_car_travels_storey_by_storey_with_its_doors_closed() -> None:
    here = world("lift-3")
    before = number(here, "lift-3.floor")
    for _ in range(6000):
        here.advance(0.25)
        values = here.models["lift-3"].values()
        if values["moving"]:
            assert values["door_state"] == 0
            assert values["direction"] in (1, 2)
        else:
            assert values["door_zone"] is True
            assert values["direction"] == 0
        assert abs(number(here, "lift-3.floor") - before) <= 1
        before = number(here, "lift-3.floor")
    trips = number(here, "lift-3.trips") - world("lift-3").models["lift-3"].params.trips  # type: ignore[attr-defined]  # Elevator's
    cycles = number(here, "lift-3.door_cycles")
    assert trips > 5
    assert cycles > 5


def test_a_storey_takes_two_and_a_half_seconds_and_basements_have_no_floor_zero() -> None:
    here = world("lift-4")
    floors: set[float] = set()
    arrivals: list[float] = []
    for _ in range(12_000):
        before = number(here, "lift-4.floor")
        here.advance(0.25)
        now = number(here, "lift-4.floor")
        floors.add(now)
        if now != before:
            arrivals.append(here.elapsed_s)
    assert 0 not in floors
    assert min(floors) < 0
    gaps = [round(b - a, 2) for a, b in pairwise(arrivals)]
    assert min(gaps) == pytest.approx(2.5, abs=0.3)


def test_people_ride_more_in_the_rush_hour_than_at_night() -> None:
    trips = {}
    for start in (EVENING, NIGHT):
        here = world("lift-1", start=start)
        before = number(here, "lift-1.trips")
        run(here, 3600, 1)
        trips[start] = number(here, "lift-1.trips") - before
    assert trips[EVENING] > 3 * trips[NIGHT] > 0


def test_all_who_wait_arrive() -> None:
    here = world("lift-3", start=NIGHT)
    lift = here.models["lift-3"]
    assert isinstance(lift, Elevator)
    run(here, 3600, 0.5)
    wait_until(here, lambda: not lift._waiting and not lift._riders, 600)


@pytest.mark.parametrize("start", [EVENING, NIGHT])
@pytest.mark.parametrize("lift", ["lift-1", "lift-2", "lift-3", "lift-4"])
def test_a_passenger_is_trapped_between_floors_within_half_a_minute_and_let_out_when_mended(
    lift: str, start: datetime
) -> None:
    for seed in range(8):
        here = world(lift, seed=seed, start=start)
        model = here.models[lift]
        run(here, 7 * seed + 5)
        model.fail("trapped_passenger")
        wait_until(here, lambda model=model: model.values()["fault_code"] == 4, 25)  # type: ignore[misc]  # bound now
        for _ in range(60):
            here.advance(1)
            values = model.values()
            assert (values["occupied"], values["door_zone"], values["moving"], values["service_mode"]) == (
                True,
                False,
                False,
                0,
            )
        assert values["alarm_button"] is True
        model.mend("trapped_passenger")
        wait_until(here, lambda model=model: model.values()["door_state"] == 2, 15)  # type: ignore[misc]  # bound now
        assert model.values()["fault_code"] == 0


def test_an_open_safety_circuit_stops_the_car_and_a_door_fault_holds_it() -> None:
    here = world("lift-1")
    model = here.models["lift-1"]
    wait_until(here, lambda: model.values()["moving"] is True, 600)
    model.fail("safety_circuit")
    here.advance(0.1)
    assert model.values()["moving"] is False
    assert model.values()["safety_circuit_open"] is True
    model.mend("safety_circuit")
    wait_until(here, lambda: model.values()["door_zone"] is True, 20)
    model.fail("door_fault")
    wait_until(here, lambda: model.values()["door_state"] == 2, 120)
    trips = model.values()["trips"]
    run(here, 120)
    assert model.values()["trips"] == trips
    assert model.values()["fault_code"] == 2


def test_a_hot_machine_room_passes_40_degrees_and_cools_down() -> None:
    here = world("lift-1")
    here.models["lift-1"].fail("hot_machine_room", over="60s")
    run(here, 90)
    assert number(here, "lift-1.machine_room_temperature") > 42
    here.models["lift-1"].mend("hot_machine_room")
    run(here, 400)
    assert number(here, "lift-1.machine_room_temperature") < 36


# ---- water ----


def test_the_set_pressure_is_held_through_the_day_and_pumps_follow_demand() -> None:
    running = {}
    for start in (NIGHT, NOON, EVENING):
        here = world("pump-1", "pump-2", "pump-3", start=start)
        for _ in range(600):
            here.advance(1)
            assert number(here, "pump-1.outlet_pressure") == pytest.approx(0.45, abs=0.05)
        running[start] = sum(bool(here.models[f"pump-{n}"].values()["running"]) for n in (1, 2, 3))
    assert running[NIGHT] == 1
    assert running[EVENING] == 2


def test_what_the_pumps_give_leaves_the_tank_and_what_they_draw_is_counted() -> None:
    here = world("pump-1", "pump-2", "pump-3")
    here.models["pump-1"].fail("inlet_closed")
    tank, energy = number(here, "pump-1.tank_level"), number(here, "pump-1.energy")
    pumped_m3 = used_kwh = 0.0
    for _ in range(1200):
        here.advance(0.5)
        pumped_m3 += sum(number(here, f"pump-{n}.flow") for n in (1, 2, 3)) * 0.5 / 3600
        used_kwh += number(here, "pump-1.power") * 0.5 / 3600
    assert (tank - number(here, "pump-1.tank_level")) / 100 * 60 == pytest.approx(pumped_m3, rel=1e-6)
    assert number(here, "pump-1.energy") - energy == pytest.approx(used_kwh, rel=1e-6)


def test_run_hours_count_while_it_runs_and_starts_when_it_starts() -> None:
    here = world("pump-1", "pump-2", "pump-3")
    hours, starts = number(here, "pump-1.run_hours"), number(here, "pump-3.starts")
    assert hours == pytest.approx(1999.985)
    run(here, 60)
    assert number(here, "pump-1.run_hours") - hours == pytest.approx(60 / 3600)
    assert number(here, "pump-3.run_hours") == 702.75
    here.models["pump-1"].fail("vfd_fault")
    wait_until(here, lambda: here.models["pump-3"].values()["running"] is True, 10)
    assert number(here, "pump-3.starts") == starts + 1
    values = here.models["pump-1"].values()
    assert (values["running"], values["fault"], values["fault_code"], values["lead"]) == (False, True, 1, False)
    assert here.models["pump-2"].values()["lead"] is True


def test_a_wearing_bearing_shakes_and_heats_up_over_the_time_that_it_is_given() -> None:
    here = world("pump-1", "pump-2", "pump-3")
    cool, calm = number(here, "pump-2.bearing_temperature"), number(here, "pump-2.vibration")
    here.models["pump-2"].fail("bearing_wear", over="40s")
    run(here, 20)
    assert cool + 15 < number(here, "pump-2.bearing_temperature") < 80
    run(here, 40)
    assert number(here, "pump-2.bearing_temperature") > 90
    assert number(here, "pump-2.vibration") > calm + 5
    assert number(here, "pump-1.vibration") < 3


def test_a_standing_pump_takes_over_before_its_bearing_wears() -> None:
    here = world("pump-1", "pump-2", "pump-3", start=NIGHT)
    pump = here.models["pump-3"]
    assert isinstance(pump, BoosterPump)
    assert not pump.running
    pump.fail("bearing_wear")
    run(here, 60)
    assert pump.running
    assert number(here, "pump-3.bearing_temperature") > 60


def test_a_burst_pipe_lets_the_pressure_fall_although_all_pumps_run() -> None:
    here = world("pump-1", "pump-2", "pump-3")
    here.models["pump-1"].fail("pipe_burst")
    wait_until(here, lambda: number(here, "pump-1.outlet_pressure") < 0.35, 10)
    run(here, 60)
    assert all(here.models[f"pump-{n}"].values()["running"] for n in (1, 2, 3))
    assert number(here, "pump-1.outlet_pressure") < 0.3
    here.models["pump-1"].mend("pipe_burst")
    run(here, 300)
    assert number(here, "pump-1.outlet_pressure") == pytest.approx(0.45, abs=0.05)


def test_an_empty_tank_leaves_the_pumps_dry() -> None:
    here = world("pump-1", "pump-2", "pump-3", speed=10)
    here.models["pump-1"].fail("inlet_closed")
    run(here, 7200, 5)
    assert number(here, "pump-1.tank_level") < 1
    assert number(here, "pump-1.flow") == 0
    assert number(here, "pump-1.frequency") > 45
    assert number(here, "pump-1.current") < 5


# ---- sumps ----


def test_a_sump_fills_is_pumped_out_and_counts_its_starts() -> None:
    here = world("sump-2", speed=60)
    starts, hours = number(here, "sump-2.starts"), number(here, "sump-2.run_hours")
    seen: list[float] = []
    ran_s = 0.0
    for _ in range(6 * 3600):
        here.advance(1 / 60)
        seen.append(number(here, "sump-2.level"))
        ran_s += bool(here.models["sump-2"].values()["running"])
    assert 0.35 < min(seen) < 0.45
    assert 1.15 < max(seen) < 1.25
    assert number(here, "sump-2.starts") - starts >= 1
    assert (number(here, "sump-2.run_hours") - hours) * 3600 == pytest.approx(ran_s, abs=5)


def test_a_blocked_pump_trips_and_the_water_rises_to_the_high_float() -> None:
    here = world("sump-1")
    here.models["sump-1"].fail("pump_blocked", over="40s")
    run(here, 60)
    values = here.models["sump-1"].values()
    assert (values["fault"], values["running"], values["high_level"]) == (True, False, True)
    assert values["very_high_level"] is False
    here.models["sump-1"].mend("pump_blocked")
    wait_until(here, lambda: here.models["sump-1"].values()["high_level"] is False, 600)


def test_rain_that_is_more_than_the_pump_floods_the_pit() -> None:
    here = world("sump-1")
    here.models["sump-1"].fail("heavy_rain", inflow=90)
    wait_until(here, lambda: here.models["sump-1"].values()["very_high_level"] is True, 900, 1)
    assert here.models["sump-1"].values()["running"] is True


# ---- bins ----


def reports(here: World, name: str, seconds: float, step_s: float = 0.5) -> list[float]:
    told = []
    for _ in range(round(seconds / step_s)):
        here.advance(step_s / here.speed)
        if here.models[name].reports():
            told.append(here.elapsed_s)
    return told


def test_bins_report_within_five_seconds_staggered_and_then_each_ten_minutes() -> None:
    here = world(speed=5)
    bins = [each.id for each in equipment() if each.id.startswith("bin-")]
    told: dict[str, list[float]] = defaultdict(list)
    frames = {name: number(here, f"{name}.frame_counter") for name in bins}
    for _ in range(1300):
        here.advance(0.2)
        for name in bins:
            if here.models[name].reports():
                told[name].append(here.elapsed_s)
    assert all(moments[0] <= 5 for moments in told.values())
    assert len({moments[0] for moments in told.values()}) > 2
    for name, moments in told.items():
        assert [round(b - a) for a, b in pairwise(moments)] == [600, 600]
        assert number(here, f"{name}.frame_counter") - frames[name] == 3


def test_a_bin_fills_by_the_hour_and_is_emptied_twice_a_day() -> None:
    here = world("bin-03", speed=60)
    began = number(here, "bin-03.fill")
    assert 20 < began < 80
    fills = []
    for _ in range(24 * 60):
        here.advance(1)
        fills.append(number(here, "bin-03.fill"))
    emptied = sum(b < a - 10 for a, b in pairwise(fills))
    assert emptied == 2
    assert max(fills) < 85
    distance = number(here, "bin-03.distance")
    assert number(here, "bin-03.fill") == pytest.approx((1000 - distance) / 850 * 100, abs=0.01)


def test_a_burning_bin_reports_as_soon_as_it_is_hot_and_again_each_minute() -> None:
    here = world("bin-07")
    reports(here, "bin-07", 10)
    here.models["bin-07"].fail("fire", over="20s")
    told = reports(here, "bin-07", 130)
    assert told[0] < 10 + 16
    assert len(told) == 2
    assert number(here, "bin-07.temperature") > 80
    here.models["bin-07"].mend("fire")
    assert reports(here, "bin-07", 120)
    assert number(here, "bin-07.temperature") < 60


def test_a_bin_tells_at_once_that_it_is_full_or_lies_on_its_side() -> None:
    here = world("bin-01")
    reports(here, "bin-01", 10)
    here.models["bin-01"].fail("tilted")
    assert len(reports(here, "bin-01", 3)) == 1
    here.models["bin-01"].fail("overfull", over="10s")
    assert len(reports(here, "bin-01", 15)) == 1
    assert number(here, "bin-01.fill") > 90
    here.models["bin-01"].fail("battery_low")
    assert number(here, "bin-01.battery") < 15


# ---- lights ----


def test_lights_burn_in_the_evening_and_go_out_at_dawn_one_after_the_other() -> None:
    here = world(start=EVENING.replace(hour=6, minute=20), speed=10)
    lights = [each.id for each in equipment() if each.id.startswith("light-")]
    assert all(here.models[name].values()["on"] for name in lights)
    counts = set()
    for _ in range(120):
        here.advance(1)
        counts.add(sum(bool(here.models[name].values()["on"]) for name in lights))
    assert 0 in counts
    assert len(counts) > 5


@pytest.mark.parametrize("name", ["light-01", "light-13"])
def test_a_light_obeys_and_refuses_what_is_no_command(name: str) -> None:
    here = world(name)
    light = here.models[name]
    bright = number(here, f"{name}.power")
    light.write("on", False)
    run(here, 2)
    assert light.values()["on"] is False
    assert number(here, f"{name}.power") < bright / 50
    light.write("on", True)
    assert number(here, f"{name}.power") == pytest.approx(bright, rel=0.05)
    for point, value in (("on", 1), ("on", "ON"), ("power", 3.0)):
        with pytest.raises(ValueError, match="refuses"):
            light.write(point, value)


def test_equipment_that_takes_no_commands_refuses_them() -> None:
    with pytest.raises(ValueError, match="takes no writes"):
        world("lift-1").models["lift-1"].write("floor", 3)


def test_a_dead_circuit_draws_nothing_although_it_is_on() -> None:
    here = world("light-05")
    assert number(here, "light-05.current") == pytest.approx(3, abs=0.2)
    here.models["light-05"].fail("circuit_out")
    values = here.models["light-05"].values()
    assert (values["on"], values["feedback"], values["current"]) == (True, True, 0)
    here.models["light-05"].fail("contactor_stuck")
    here.models["light-05"].write("on", False)
    assert here.models["light-05"].values()["feedback"] is True


def test_a_dead_lamp_says_that_it_is_on_but_draws_nothing() -> None:
    here = world("light-16")
    assert len(reports(here, "light-16", 10)) == 1
    here.models["light-16"].fail("lamp_out")
    assert len(reports(here, "light-16", 3)) == 1
    values = here.models["light-16"].values()
    assert values["on"] is True
    assert number(here, "light-16.power") < 2


def test_a_zigbee_light_reports_each_change_and_each_minute() -> None:
    here = world("light-13")
    assert len(reports(here, "light-13", 10)) == 1
    here.models["light-13"].write("on", False)
    assert len(reports(here, "light-13", 2)) == 1
    assert len(reports(here, "light-13", 120)) == 2


def test_lamps_age_and_die_one_by_one() -> None:
    here = world("light-01")
    light = here.models["light-01"]
    whole = number(here, "light-01.current")
    light.burn_hours = 300_000.0  # type: ignore[attr-defined]  # a light's
    for _ in range(40):
        light.step(3600, here)
    assert 0 <= number(here, "light-01.current") < whole - 0.2


# ---- perimeter ----


def told(here: World, name: str, seconds: float) -> list[tuple[str, Value]]:
    events = []
    for _ in range(round(seconds / 0.5)):
        here.advance(0.5)
        events += here.models[name].events()
    return events


def test_a_zone_tells_its_states_at_the_start_and_each_ten_minutes() -> None:
    here = world("zone-1")
    states = [("intrusion", False), ("tamper", False)]
    assert told(here, "zone-1", 10) == states
    assert told(here, "zone-1", 580) == []
    assert told(here, "zone-1", 20) == states


def test_a_cut_fence_alarms_until_it_is_mended_and_a_touched_one_for_a_moment() -> None:
    here = world("zone-3")
    told(here, "zone-3", 10)
    here.models["zone-3"].fail("fence_cut")
    assert here.models["zone-3"].events() == [("intrusion", True)]
    assert told(here, "zone-3", 60) == []
    here.models["zone-3"].mend("fence_cut")
    assert here.models["zone-3"].events() == [("intrusion", False)]
    here.models["zone-3"].fail("fence_touched", restore="4s")
    assert here.models["zone-3"].events() == [("intrusion", True)]
    assert told(here, "zone-3", 3) == []
    assert told(here, "zone-3", 3) == [("intrusion", False)]
    here.models["zone-3"].fail("tampered")
    assert told(here, "zone-3", 2) == [("tamper", True)]


def test_a_panel_gives_a_sign_of_life_each_twenty_seconds_and_its_battery_runs_down_without_mains() -> None:
    here = world("panel-1")
    events = told(here, "panel-1", 61)
    assert events.count(("heartbeat", True)) == 4
    assert [event for event in events if event[0] != "heartbeat"] == [
        ("mains_lost", False), ("battery_low", False), ("armed", True),
    ]  # fmt: skip
    here.models["panel-1"].fail("mains_lost")
    assert here.models["panel-1"].events() == [("mains_lost", True)]
    run(here, 6.6 * 3600, 10)
    assert here.models["panel-1"].values()["battery_low"] is True
    here.models["panel-1"].fail("disarmed")
    assert ("armed", False) in here.models["panel-1"].events()


def test_a_lost_phase_is_seen_by_the_meter() -> None:
    here = world()
    here.models["meter-1"].fail("phase_lost", phase=2)
    run(here, 2)
    assert number(here, "meter-1.voltage_l2") < 176 < number(here, "meter-1.voltage_l1")
    assert number(here, "meter-1.power_l2") == 0
