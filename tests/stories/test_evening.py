"""The demo's evening, told whole: which alarms, pushes and orders come, by name and in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.community import STEP_S, Community, community

pytestmark = [pytest.mark.story, pytest.mark.timeout(120)]


def names(happened: list[tuple[float, str]]) -> list[str]:
    return [name for _, name in happened]


def pushes(story: Community, notice: str) -> list[tuple[float, str]]:
    """When and to whom a notice was pushed on the terminal's channel."""
    return [
        (each["at"], each["recipient"])
        for each in story.told
        if each["kind"] == "push" and each["notice_id"] == notice and each["channel"] == "terminal"
    ]


async def test_a_busy_evening(tmp_path: Path) -> None:
    async with community(tmp_path, "evening") as story:
        await story.live(8)
        live = [story.house.engine.live(point).quality.level for point in story.house.site.points]
        assert live.count("good") == len(live)

        await story.live(112)
        assert names(story.happened("alarm", "raised")) == [
            "lift-2.alarm_button",
            "zone-3.intrusion",
            "light-05.no_current",
            "bin-07.hot",
            "lift-2.stopped_between_floors",
            "pump-2.vibration_high",
            "pump-2.bearing_hot",
            "pump-2.vibration_very_high",
            "pump-1.pressure_low",
            "lift-2.passenger_trapped",
            "pump-2.bearing_very_hot",
            "pump-3.offline",
        ]
        assert names(story.happened("alarm", "cleared")) == ["pump-3.offline"]
        orders = [(o["equipment"], o["plan"]) for o in story.told if o["kind"] == "order" and o["event"] == "opened"]
        assert orders == [("light-05", "circuit_repair"), ("pump-1", "grease"), ("pump-2", "bearing_repair")]

        (button, _), *_ = story.happened("alarm", "raised")
        assert pushes(story, "lift-2.alarm_button") == [(button, "desk"), (button, "engineer")]
        texts = [
            e["text"] for e in story.told if e["kind"] == "push" and e["notice_id"] == "lift-2.passenger_trapped"
        ]
        assert texts[0].startswith("【紧急】电梯困人 · 1号楼西梯(1号楼 西侧井道)")
        assert "立即通知维保单位" in texts[0]


async def test_who_sleeps_is_passed_and_who_acknowledges_is_left_alone(tmp_path: Path) -> None:
    async with community(tmp_path, "evening") as story:
        await story.live(60)
        await story.house.desk.alarm_step("lift-2.alarm_button", "ack", "李伟")
        await story.live(170)
        assert [who for _, who in pushes(story, "lift-2.alarm_button")] == ["desk", "engineer"]
        raised = {name: at for at, name in story.happened("alarm", "raised")}["bin-07.hot"]
        assert pushes(story, "bin-07.hot")[2] == (raised + 180, "lead")


async def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    told = []
    for name in ("first", "second"):
        async with community(tmp_path / name, "evening", seed=7) as story:
            await story.live(45)
            readings = {p.id: story.house.engine.live(p).value for p in story.house.site.points}
            told.append((story.happened("alarm"), story.happened("order"), readings))
    (alarms, orders, readings), (alarms_again, orders_again, readings_again) = told
    assert names(alarms) == names(alarms_again)
    assert names(orders) == names(orders_again)
    assert [at for at, _ in alarms] == pytest.approx([at for at, _ in alarms_again], abs=STEP_S)
    assert readings == readings_again


async def test_a_second_run_on_the_same_state_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    async with community(tmp_path, "evening") as story:
        await story.live(50)
        before = {row["id"]: row["raised"] for row in story.house.desk.alarms()}
        assert "light-05.no_current" in before
        rows = await story.house.store.read_after(0, 100_000)
        clock = story.clock
    async with community(tmp_path, "evening", clock=clock) as story:
        after = {row["id"]: row["raised"] for row in story.house.desk.alarms()}
        assert after == before
        assert [row["state"] for row in story.house.desk.orders()] == ["open"]
        assert len(await story.house.store.read_after(0, 100_000)) >= len(rows)
        await story.live(20)
        # The simulated circuit is whole again at the start: that is told. The alarm is not raised a second time.
        texts = [e["text"] for e in story.told if e["kind"] == "push" and e["notice_id"] == "light-05.no_current"]
        assert all(text.startswith("【恢复】") for text in texts)
        # The pump's controller shows fewer hours than before; its meter goes on, and passes 2,000 h.
        assert sorted(row["plan"] for row in story.house.desk.orders()) == ["circuit_repair", "grease"]
