"""One thing goes wrong at a time: exactly the alarms and orders of its story come, no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.community import community

pytestmark = [pytest.mark.story, pytest.mark.timeout(120)]

GREASE = "pump-1.grease"
"""The demo's first pump passes its 2,000 hours in every story in which it runs for long enough."""

STORIES = [
    ("quiet", 60, [], [GREASE]),
    (
        "passenger-trapped", 85,
        ["lift-1.alarm_button", "lift-1.stopped_between_floors", "lift-1.passenger_trapped"], [GREASE],
    ),
    (
        "bearing-wear", 90,
        ["pump-2.vibration_high", "pump-2.bearing_hot", "pump-2.vibration_very_high", "pump-2.bearing_very_hot"],
        ["pump-2.bearing_repair"],
    ),
    ("pipe-burst", 50, ["pump-1.pressure_low"], []),
    ("bin-fire", 30, ["bin-07.hot"], []),
    ("lamp-out", 40, ["light-05.no_current"], ["light-05.circuit_repair"]),
    ("fence-cut", 20, ["zone-3.intrusion"], []),
    (
        "sump-flood", 80,
        ["sump-1.pump_fault", "sump-1.pump_not_running", "sump-1.level_high"], ["sump-1.pump_repair", GREASE],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("scenario", "seconds", "alarms", "orders"), STORIES, ids=[story[0] for story in STORIES])
async def test_the_story_raises_its_alarms_and_no_other(
    tmp_path: Path, scenario: str, seconds: float, alarms: list[str], orders: list[str]
) -> None:
    async with community(tmp_path, scenario) as story:
        await story.live(seconds)
        assert [name for _, name in story.happened("alarm", "raised")] == alarms
        opened = [f"{e['equipment']}.{e['plan']}" for e in story.told if e["kind"] == "order"]
        assert opened == orders


async def test_a_silent_device_is_said_and_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    async with community(tmp_path, "device-silent") as story:
        await story.live(60)
        assert [name for _, name in story.happened("alarm", "raised")] == ["pump-3.offline"]
        qualities = {
            each.id: {story.house.engine.live(point).quality.value for point in each.device.points}
            for each in story.house.site.equipment.values()
        }
        assert qualities.pop("pump-3") == {"bad/comm"}
        assert set().union(*qualities.values()) == {"good"}
        await story.live(60)
        assert [name for _, name in story.happened("alarm", "cleared")] == ["pump-3.offline"]


async def test_a_cut_bus_is_one_alarm_not_six(tmp_path: Path) -> None:
    async with community(tmp_path, "bus-cut") as story:
        await story.live(65)
        assert [name for _, name in story.happened("alarm", "raised")] == ["connection:pump-room.line_offline"]
        await story.live(60)
        assert story.house.ways["pump-room"].status()["state"] == "up"
        assert [name for _, name in story.happened("alarm", "raised")] == ["connection:pump-room.line_offline"]
        live = [story.house.engine.live(p).quality.level for p in story.house.site.points]
        assert live.count("good") == len(live)


async def test_a_broker_that_goes_and_comes_loses_no_reading(tmp_path: Path) -> None:
    async with community(tmp_path, "broker-gone") as story:
        await story.live(120)
        assert sorted(name for _, name in story.happened("alarm", "raised")) == [
            "connection:lora.line_offline",
            "connection:zigbee.line_offline",
        ]
        (north,) = story.house.desk.uplinks()
        assert (north["state"], north["rejected"]) == ("up", 0)
        assert {row["state"] for row in story.house.desk.connections()} == {"up"}
