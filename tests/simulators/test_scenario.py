"""Scenario files: those that travel with Courtyard are right, and every mistake in another is placed."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.document import Faulty
from edge.data import SCENARIOS
from simulators.scenario import Scenario, load_scenario
from tests.simulators.community import CONNECTIONS, ZONE, Watch, equipment, world

KINDS = {
    "passenger-trapped", "bearing-wear", "pipe-burst", "bin-fire", "lamp-out", "fence-cut", "device-silent",
    "bus-cut", "broker-gone",
}  # fmt: skip
STARTS_ORDER = 2000.0
"""Run hours at which pump-1's plan opens an order."""


def scenario(name: str) -> Scenario:
    return load_scenario(SCENARIOS / f"{name}.yaml", equipment(), CONNECTIONS, ZONE)


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "mine.yaml"
    path.write_text("scenario: mine\nname: {zh: 我的, en: Mine}\nstart: 2026-03-02 18:30\n" + text, encoding="utf-8")
    with pytest.raises(Faulty) as caught:
        load_scenario(path, equipment(), CONNECTIONS, ZONE)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_scenario_that_travels_with_courtyard_fits_the_demo_community(path: Path) -> None:
    assert load_scenario(path, equipment(), CONNECTIONS, ZONE).start.tzinfo is ZONE


def test_there_is_a_scenario_for_each_kind_of_trouble() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.yaml")} >= KINDS | {"evening", "quiet"}


def test_events_come_by_time_with_their_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "scenario: mine\nname: {zh: 我的, en: Mine}\nstart: 2026-03-02T18:30+08:00\nevents:\n"
        "  - {at: 2m, connection: pump-room, fault: cut, for: 30s}\n"
        "  - {at: 10s, equipment: pump-2, fault: bearing_wear, with: {over: 40s}}\n",
        encoding="utf-8",
    )
    wear, cut = load_scenario(path, equipment(), CONNECTIONS).events
    assert (wear.at_s, wear.target, wear.fault, wear.for_s, wear.params) == (
        10,
        "pump-2",
        "bearing_wear",
        None,
        {"over": "40s"},
    )
    assert (cut.at_s, cut.target, cut.connection, cut.for_s) == (120, "pump-room", True, 30)


MISTAKES = """events:
  - {at: 10s, equipment: pump-9, fault: bearing_wear}
  - {at: 10s, equipment: pump-2, fault: bearing_were}
  - {at: 10s, connection: pumproom, fault: cut}
  - {at: 10s, connection: pump-room, fault: fire}
  - {at: ten, equipment: pump-2, fault: silent}
  - {at: 10s, equipment: pump-2, fault: bearing_wear, with: {ower: 40s}}
  - {at: 10s, fault: silent}
  - {at: 10s, equipment: pump-2, falt: silent}
  - {at: 10s, equipment: pump-2, fault: silent, with: {over: 1s}}
"""


def test_every_mistake_is_shown_at_once_and_at_its_place(tmp_path: Path) -> None:
    found = faults(tmp_path, MISTAKES)
    keys = ["equipment", "fault", "connection", "fault", "at", "ower", "{at", "{at", "falt", "over"]
    rows = [1, 2, 3, 4, 5, 6, 7, 8, 8, 9]
    lines = MISTAKES.splitlines()
    assert [line.partition(": ")[0] for line in found] == [
        f"{row + 4}:{lines[row].index(key) + 1}" for row, key in zip(rows, keys, strict=True)
    ]
    assert "no equipment 'pump-9'; did you mean pump-" in found[0]
    assert "pump-2 has no fault 'bearing_were'" in found[1]
    assert "did you mean bearing_wear?" in found[1]
    assert "no connection 'pumproom'; did you mean pump-room?" in found[2]
    assert "a connection has no fault 'fire'; write one of cut, gone" in found[3]
    assert "is no duration" in found[4]
    assert "unknown key; did you mean over?" in found[5]
    assert "either equipment or connection" in found[6]
    assert "unknown key; did you mean fault?" in found[8]


def test_a_wrong_head_is_placed_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("scenario: yours\nname: {zh: 我的, en: Mine}\nstart: tomorrow\n", encoding="utf-8")
    with pytest.raises(Faulty) as caught:
        load_scenario(path, equipment(), CONNECTIONS, ZONE)
    first, second = map(str, caught.value.faults)
    assert ":1:1: scenario: is 'yours', but the file is named mine.yaml" in first
    assert ":3:1: start: is 'tomorrow'; write the site's local time like 2026-03-02 18:30" in second


def test_a_file_that_is_not_there_or_no_scenario_says_so(tmp_path: Path) -> None:
    with pytest.raises(Faulty, match="cannot be read"):
        load_scenario(tmp_path / "none.yaml", equipment(), CONNECTIONS, ZONE)
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(Faulty):
        load_scenario(tmp_path / "list.yaml", equipment(), CONNECTIONS, ZONE)


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_within_110_seconds_the_evening_raises_an_alarm_in_every_class(seed: int) -> None:
    here = world(seed=seed, scenario=scenario("evening"))
    watch = Watch(here)
    stuck_s = None
    for _ in range(1100):
        here.advance(0.1)
        watch.look()
        if stuck_s is None and here.models["lift-2"].values()["fault_code"] == 4:
            stuck_s = here.elapsed_s
        if round(here.elapsed_s) == 51:
            assert here.silent == {"pump-3"}
    assert stuck_s is not None
    assert stuck_s <= 30
    assert set(watch.raised) >= {
        "lift-2.passenger_trapped", "lift-2.alarm_button", "pump-2.bearing_hot", "pump-2.vibration_high",
        "bin-07.hot", "light-05.no_current", "zone-3.intrusion", "pump-1.pressure_low",
    }  # fmt: skip
    # What is read takes up to 5 s longer: the slowest of them has time for that.
    assert max(watch.raised.values()) < 100
    hours = here.models["pump-1"].values()["run_hours"]
    assert isinstance(hours, float)
    assert hours > STARTS_ORDER


@pytest.mark.parametrize(
    ("name", "alarm", "within_s"),
    [
        ("passenger-trapped", "lift-1.passenger_trapped", 120),
        ("bearing-wear", "pump-2.bearing_hot", 120),
        ("pipe-burst", "pump-1.pressure_low", 60),
        ("sump-flood", "sump-1.level_high", 120),
        ("bin-fire", "bin-07.hot", 40),
        ("lamp-out", "light-05.no_current", 40),
        ("fence-cut", "zone-3.intrusion", 12),
    ],
)
def test_each_story_raises_its_alarm(name: str, alarm: str, within_s: int) -> None:
    here = world(scenario=scenario(name), start=scenario(name).start)
    watch = Watch(here)
    for _ in range(within_s * 2):
        here.advance(0.5)
        watch.look()
    assert alarm in watch.raised


@pytest.mark.parametrize(
    ("name", "cut", "silent"),
    [
        ("device-silent", set(), {"pump-3"}),
        ("bus-cut", {"pump-room"}, set()),
        ("broker-gone", {"lora", "zigbee"}, set()),
    ],
)
def test_each_story_of_the_wire_begins_and_ends(name: str, cut: set[str], silent: set[str]) -> None:
    here = world("pump-3", scenario=scenario(name))
    here.advance(9.9)
    assert (here.cut, here.silent) == (set(), set())
    here.advance(0.2)
    assert (here.cut, here.silent) == (cut, silent)
    here.advance(60)
    assert (here.cut, here.silent) == (set(), set())
