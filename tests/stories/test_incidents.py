"""Incidents on the whole way: real wires, journal, pushes, and what people do to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.community import Community, community

pytestmark = [pytest.mark.story, pytest.mark.timeout(180)]


def messages(story: Community, notice: str) -> list[str]:
    """What the desk and everybody else was pushed about a notice, on the terminal's channel."""
    return [
        each["text"]
        for each in story.told
        if each["kind"] == "push" and each["notice_id"] == notice and each["channel"] == "terminal"
    ]


async def test_an_entrapment_from_detection_to_release_is_one_incident_and_evidence(tmp_path: Path) -> None:
    async with community(tmp_path, "passenger-trapped") as story:
        await story.live(85)
        desk = story.house.desk
        (incident,) = desk.incidents()
        assert incident["title"]["en"] == "Passenger trapped"
        assert incident["first_out"] == "lift-1.alarm_button"
        assert len(incident["alarms"]) == 3
        assert messages(story, incident["id"]) == []  # the critical alarms were pushed, each by itself and at once
        (raised,) = [at for at, name in story.happened("alarm", "raised") if name == "lift-1.passenger_trapped"]
        pushed = [e["at"] for e in story.told if e["kind"] == "push" and e["notice_id"] == "lift-1.passenger_trapped"]
        assert pushed[0] == raised

        await desk.incident_step(incident["id"], "ack", "王")
        await story.live(20)
        await desk.incident_step(incident["id"], "onsite", "张", "维保到场")
        await story.live(220)
        row = await desk.incident(incident["id"])
        assert row is not None
        events = [line["event"] for line in row["timeline"]]
        people = [each for each in events if each in ("onsite", "released")]
        assert people == ["onsite", "released"]  # released by itself when the car was free
        assert (row["released_by"], row["acked_by"], row["onsite_by"]) == ("", "王", "张")
        assert events.index("raised") < events.index("pushed") < events.index("acknowledged") < events.index("onsite")
        written = await story.house.ledger.journal(kind="incident", subject=incident["id"])
        assert [entry.body["event"] for _, entry in written][:3] == ["opened", "joined", "joined"]


async def test_a_cut_bus_is_one_incident_and_one_push_that_names_what_hangs_on_it(tmp_path: Path) -> None:
    async with community(tmp_path, "bus-cut") as story:
        await story.live(65)
        (incident,) = story.house.desk.incidents()
        assert (incident["root"], incident["affected_count"]) == ("connection:pump-room", 6)
        (text,) = messages(story, incident["id"])
        assert text.startswith("【重要】通信线路离线 · pump-room")
        assert "影响 6 台设备：1号生活水泵" in text
        await story.live(30)
        assert messages(story, incident["id"])[-1].startswith("【恢复】通信线路离线")
        row = await story.house.desk.incident(incident["id"])
        assert row is not None
        told = [line["text"]["zh"] for line in row["timeline"] if line["event"].startswith("push")]
        assert told == [
            "已推送（工程值班） · 运行日志", "已推送（工程值班） · 文件",
            "推送恢复（工程值班） · 运行日志", "推送恢复（工程值班） · 文件",
        ]  # fmt: skip
        row = await story.house.desk.incident_step(incident["id"], "ack", "李")
        assert row["state"] == "closed"
        assert story.house.desk.incidents() == []


async def test_after_a_restart_incidents_go_on_and_nobody_is_told_again(tmp_path: Path) -> None:
    async with community(tmp_path, "pipe-burst") as story:
        await story.live(50)
        (incident,) = story.house.desk.incidents()
        assert len(messages(story, incident["id"])) == 1
        clock = story.clock
    async with community(tmp_path, "pipe-burst", clock=clock) as story:
        (again,) = story.house.desk.incidents()
        assert (again["id"], again["opened"]) == (incident["id"], incident["opened"])
        await story.live(5)
        texts = messages(story, incident["id"])
        assert all(text.startswith("【恢复】") for text in texts)  # the simulated pipe is whole at the start


async def test_a_lost_phase_takes_over_what_it_has_done_and_is_one_incident(tmp_path: Path) -> None:
    async with community(tmp_path, "phase-lost") as story:
        await story.live(25)
        (incident,) = story.house.desk.incidents()
        assert (incident["root"], incident["title"]["en"]) == ("meter-1", "Mains or a phase lost")
        assert set(incident["alarms"]) == {
            "meter-1.mains_lost", "pump-1.pump_fault", "pump-2.pump_fault", "pump-3.pump_fault",
        }  # fmt: skip
        assert incident["first_out"] in ("pump-1.pump_fault", "pump-2.pump_fault")
        told = {each["notice_id"] for each in story.told if each["kind"] == "push"}
        assert "meter-1.mains_lost" in told  # critical: by itself, at once
        assert len(told) <= 3  # and at most what came before anybody could know the cause
