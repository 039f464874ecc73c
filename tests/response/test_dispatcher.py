"""Who is told, when, and what is written down of it; on real channels and a clock that stands still."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from edge.clock import ManualClock
from edge.response.dispatcher import Dispatcher, PushRecord
from edge.response.duty import DutySpec
from tests.response.robots import NOON_NS, Answer, Service, duty, notice, robot_service
from tests.support import eventually

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass
class Room:
    """A dispatcher at work, with what it has recorded."""

    dispatcher: Dispatcher
    clock: ManualClock
    records: list[PushRecord] = field(default_factory=list)
    state: dict[str, dict[str, object] | None] = field(default_factory=dict)

    async def record(self, record: PushRecord) -> None:
        self.records.append(record)
        self.keep()

    def keep(self) -> None:
        """As the ledger would keep it, through JSON."""
        self.state |= json.loads(json.dumps({name: body for (_, name), body in self.dispatcher.pending().items()}))

    @property
    def outcomes(self) -> list[tuple[str, str, bool]]:
        return [(each.recipient, each.channel, each.ok) for each in self.records]

    async def outcome(self, count: int) -> list[tuple[str, str, bool]]:
        """The outcomes as soon as there are so many; time moves on for what waits on the clock."""
        await self.elapse_until(lambda: len(self.records) >= count)
        await eventually(lambda: self.dispatcher.idle)
        assert len(self.records) == count
        await let_run()  # the ladders are asleep again
        return self.outcomes

    async def elapse_until(self, reached: Callable[[], Any], limit_s: float = 120) -> None:
        """Let the clock run to its sleepers until something has come about."""
        end_s = self.clock.mono_s() + limit_s
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while not reached() and self.clock.mono_s() <= end_s:
                    await asyncio.sleep(0.005)
                    self.clock.advance(0.5 if self._waits_for_pause() else 0)
        assert reached()

    def _waits_for_pause(self) -> bool:
        return any(name.startswith("push[") for name in self.clock.sleeping())


def room_of(spec: DutySpec, clock: ManualClock | None = None, folder: Path = Path(), **keys: Any) -> Room:
    clock = clock or ManualClock(wall_ns=NOON_NS)
    room: Room

    async def record(each: PushRecord) -> None:
        await room.record(each)

    room = Room(Dispatcher(spec, keys.get("language", "zh"), clock, record, SHANGHAI, folder), clock)
    return room


@asynccontextmanager
async def at_work(room: Room) -> AsyncIterator[Room]:
    task = asyncio.create_task(room.dispatcher.run(), name="pushes")
    try:
        yield room
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    async with robot_service() as service:
        yield service


@pytest_asyncio.fixture
async def broken() -> AsyncIterator[Service]:
    async with robot_service() as service:
        service.otherwise = Answer({"errcode": 93000, "errmsg": "invalid webhook url"})
        yield service


def wecom(service: Service, **keys: Any) -> dict[str, Any]:
    return {"type": "wecom", "key": "robot-key", "url": service.url, **keys}


DESK = {"name": "值班员", "channels": ["group"]}
LEAD = {"name": "领班", "channels": ["group"], "mobile": "13812345678"}
LADDERS = {
    "critical": [{"after": 0, "to": ["desk"]}, {"after": "3m", "to": ["lead"]}],
    "low": [{"after": 0, "to": ["desk"]}],
    "orders": [{"after": 0, "to": ["desk"]}],
}


async def settled(room: Room) -> None:
    await eventually(lambda: room.dispatcher.idle)


async def held_back(room: Room) -> None:
    """The robot waits for its rate: only then may the clock move on."""
    await eventually(lambda: "push[group]" in room.clock.sleeping())


async def let_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_alarm_is_pushed_at_once_and_the_next_one_is_called_when_nobody_answers(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(1) == [("desk", "group", True)]
        room.clock.advance(179)
        await let_run()
        assert len(room.records) == 1
        room.clock.advance(1)
        assert await room.outcome(2) == [("desk", "group", True), ("lead", "group", True)]
    first, second = service.asked
    assert first.text.splitlines()[0] == "【紧急】电梯困人 · 2号楼 1号电梯(2号楼西厅) 18:31:05"
    assert second.text.startswith("【紧急·升级】")
    assert "已 3分钟 无人确认" in second.text
    assert second.body["text"]["mentioned_mobile_list"] == ["13812345678"]


async def test_nobody_else_is_called_once_somebody_acknowledged(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        await room.outcome(1)
        room.dispatcher.acknowledged("lift-1.trapped")
        room.clock.advance(10_000)
        await let_run()
        assert len(room.records) == 1


async def test_the_same_notice_twice_is_pushed_once_and_a_new_occurrence_again(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        room.dispatcher.notify(notice())
        await room.outcome(1)
        room.dispatcher.notify(notice())
        room.dispatcher.acknowledged("lift-1.trapped")
        room.dispatcher.notify(notice(time_ns=NOON_NS + 1))
        await room.outcome(2)


async def test_those_who_were_told_are_told_that_it_is_over_and_nobody_else(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        await room.outcome(1)
        room.clock.advance(60)
        room.dispatcher.resolved(notice(resolved=True, time_ns=room.clock.wall_ns()))
        assert await room.outcome(2) == [("desk", "group", True)] * 2
        assert service.texts[1].startswith("【恢复】电梯困人")
        assert "历时 1分钟" in service.texts[1]
        room.clock.advance(1000)
        await let_run()
        assert len(room.records) == 2
        room.keep()
        assert room.state == {"lift-1.trapped": None}


async def test_what_is_over_before_anybody_heard_of_it_is_not_mentioned(service: Service) -> None:
    room = room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))
    room.dispatcher.notify(notice())
    room.dispatcher.resolved(notice(resolved=True))
    async with at_work(room):
        await settled(room)
        room.keep()
    assert service.asked == []
    assert room.state == {"lift-1.trapped": None}


async def test_an_alarm_that_goes_while_its_push_is_under_way_is_told_as_over_too(service: Service) -> None:
    service.script.append(Answer(hang=True))
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        await eventually(lambda: service.asked)
        room.dispatcher.resolved(notice(resolved=True))
        service.release.set()
        await room.outcome(2)
    assert [text[:4] for text in service.texts] == ["【紧急】", "【恢复】"]


async def test_orders_have_a_ladder_of_their_own_and_a_priority_without_one_disturbs_nobody(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice("pump-1.leak", "medium"))
        room.dispatcher.notify(notice("WO-000001", "medium", kind="order"))
        await room.outcome(1)
        room.keep()
    assert service.texts[0].startswith("【工单】")
    assert list(room.state) == ["WO-000001"]


async def test_the_language_of_the_site_is_spoken(service: Service) -> None:
    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    async with at_work(room_of(spec, language="en")) as room:
        room.dispatcher.notify(notice())
        await room.outcome(1)
    assert service.texts[0].startswith("[CRITICAL] Passenger trapped · ")


async def test_a_step_that_no_channel_delivers_calls_the_next_one_at_once(service: Service, broken: Service) -> None:
    channels = {"dead": wecom(broken), "group": wecom(service)}
    spec = duty(channels, LADDERS, desk={"name": "d", "channels": ["dead"]}, lead=LEAD)
    async with at_work(room_of(spec)) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(2) == [("desk", "dead", False), ("lead", "group", True)]
        assert "refuses (code 93000: invalid webhook url); check the robot's key" in str(room.records[0].error)
        room.clock.advance(1000)
        await let_run()
        assert len(room.records) == 2


async def test_one_working_channel_of_a_step_is_enough_to_wait_for_an_answer(
    service: Service, broken: Service
) -> None:
    channels = {"dead": wecom(broken), "group": wecom(service)}
    spec = duty(channels, LADDERS, desk={"name": "d", "channels": ["dead", "group"]}, lead=LEAD)
    async with at_work(room_of(spec)) as room:
        room.dispatcher.notify(notice())
        assert sorted(await room.outcome(2)) == [("desk", "dead", False), ("desk", "group", True)]


async def test_a_ladder_that_reached_nobody_begins_again_until_somebody_is_reached(broken: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(broken)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(2) == [("desk", "group", False), ("lead", "group", False)]
        broken.otherwise = Answer()
        room.clock.advance(59)
        await let_run()
        assert len(room.records) == 2
        room.clock.advance(1)
        assert (await room.outcome(3))[2:] == [("desk", "group", True)]


async def test_a_network_fault_is_tried_again_with_growing_pauses_and_every_attempt_is_recorded(
    service: Service,
) -> None:
    service.script.extend([Answer(drop=True), Answer(b"", status=503), Answer({"errcode": 45009, "errmsg": "freq"})])
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        await room.elapse_until(lambda: len(room.records) == 4)
        assert [each.ok for each in room.records] == [False, False, False, True]
        times = [(each.time_ns - NOON_NS) / 1e9 for each in room.records]
        assert times[0] == 0
        assert 0.8 <= times[1] <= 2
        assert 1.6 <= times[2] - times[1] <= 3
        assert 16 <= times[3] - times[2] <= 25  # the service said that there were too many


async def test_a_refusal_is_not_tried_again(broken: Service) -> None:
    ladders = {"low": [{"after": 0, "to": ["desk"]}]}
    async with at_work(room_of(duty({"group": wecom(broken)}, ladders, desk=DESK))) as room:
        room.dispatcher.notify(notice(priority="low"))
        await room.outcome(1)
        room.clock.advance(30)
        await let_run()
    assert len(broken.asked) == 1


async def test_a_service_that_asks_for_a_long_pause_does_not_hold_up_the_ladder(service: Service) -> None:
    service.script.append(Answer(b"", status=429, headers={"Retry-After": "600"}))
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(2) == [("desk", "group", False), ("lead", "group", True)]


async def test_a_channel_that_hangs_delays_no_other(service: Service, tmp_path: Path) -> None:
    service.otherwise = Answer(hang=True)
    channels = {"slow": wecom(service), "book": {"type": "file", "path": "pushes.jsonl"}}
    spec = duty(
        channels, LADDERS, desk={"name": "d", "channels": ["slow", "book"]}, lead=LEAD | {"channels": ["book"]}
    )
    async with at_work(room_of(spec, folder=tmp_path)) as room:
        for number in range(5):
            room.dispatcher.notify(notice(f"lift-{number}.trapped"))
        await eventually(lambda: len(room.records) == 5)
        assert {each.channel for each in room.records} == {"book"}
        assert room.dispatcher.stats()["slow"] == {"sent": 0, "failed": 0, "queued": 5, "down": 0}
    assert len((tmp_path / "pushes.jsonl").read_text().splitlines()) == 5


async def test_a_burst_keeps_to_the_rate_and_its_overflow_travels_as_one_digest(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        for number in range(30):
            room.dispatcher.notify(notice(f"light-{number}.out", "low", equipment=f"灯{number}"))
        await eventually(lambda: len(service.asked) == 10)
        await let_run()
        room.dispatcher.notify(notice())  # the reserved share
        await eventually(lambda: len(service.asked) == 11)
        assert service.texts[10].startswith("【紧急】")
        await eventually(lambda: len(room.records) == 11)
        await held_back(room)
        room.clock.advance(60)
        await eventually(lambda: len(room.records) == 31)
    assert len(service.asked) == 12
    digest = service.texts[11]
    assert digest.startswith("【汇总】20 条消息\n【提示】电梯困人 · 灯10")
    assert len(digest.encode()) <= 2048
    assert [each.notice_id for each in room.records[-20:]] == [f"light-{number}.out" for number in range(10, 30)]
    assert all(each.ok and each.text == digest for each in room.records[-20:])


async def test_more_critical_alarms_than_the_rate_wait_but_never_exceed_it(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        for number in range(18):
            room.dispatcher.notify(notice(f"lift-{number}.trapped"))
        await eventually(lambda: len(service.asked) == 15)
        await held_back(room)
        room.clock.advance(59)
        await let_run()
        assert len(service.asked) == 15
        room.clock.advance(1)
        await eventually(lambda: len(service.asked) == 18)


async def test_what_waits_for_the_rate_is_dropped_once_it_is_answered(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        for number in range(12):
            room.dispatcher.notify(notice(f"light-{number}.out", "low"))
        await eventually(lambda: len(room.records) == 10)
        await held_back(room)
        room.dispatcher.acknowledged("light-10.out")
        room.dispatcher.acknowledged("light-11.out")
        room.clock.advance(60)
        await settled(room)
    assert len(service.asked) == 10


async def test_an_escalation_continues_after_a_restart(service: Service) -> None:
    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    async with at_work(room_of(spec)) as before:
        before.dispatcher.notify(notice())
        await before.outcome(1)
        before.keep()
    after = restarted(before, spec, off_s=60)
    async with at_work(after):
        await let_run()
        after.clock.advance(119)
        await let_run()
        assert after.records == []
        after.clock.advance(1)
        assert await after.outcome(1) == [("lead", "group", True)]
        after.dispatcher.resolved(notice(resolved=True))
        assert sorted(await after.outcome(3))[0] == ("desk", "group", True)  # who was told before the restart


async def test_a_push_that_the_stop_interrupted_is_sent_after_the_restart(service: Service) -> None:
    service.script.append(Answer(hang=True))
    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    async with at_work(room_of(spec)) as before:
        before.dispatcher.notify(notice())
        await eventually(lambda: service.asked)
        before.keep()
    async with at_work(restarted(before, spec, off_s=1)) as after:
        assert await after.outcome(1) == [("desk", "group", True)]


async def test_an_answered_alarm_stays_answered_after_a_restart(service: Service) -> None:
    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    async with at_work(room_of(spec)) as before:
        before.dispatcher.notify(notice())
        await before.outcome(1)
        before.dispatcher.acknowledged("lift-1.trapped")
        before.keep()
    async with at_work(restarted(before, spec, off_s=3600)) as after:
        await settled(after)
        assert after.records == []


async def test_a_ladder_continues_where_its_recipients_have_changed_meanwhile(service: Service) -> None:
    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    before = room_of(spec)
    before.dispatcher.notify(notice())
    before.keep()
    others = duty({"group": wecom(service)}, {"critical": [{"after": 0, "to": ["lead"]}]}, lead=LEAD)
    async with at_work(restarted(before, others, off_s=1)) as after:
        after.clock.advance(61)  # the step of old has reached nobody
        assert await after.outcome(1) == [("lead", "group", True)]


async def test_what_was_kept_and_is_not_readable_disturbs_no_other(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    before = room_of(spec)
    before.dispatcher.notify(notice())
    before.keep()
    good = before.state["lift-1.trapped"]
    after = room_of(spec)
    after.dispatcher.restore({"a": {}, "b": {"notice": 1}, "lift-1.trapped": good or {}})
    assert [record.getMessage()[:24] for record in caplog.records] == [
        "the escalation of a cann",
        "the escalation of b cann",
    ]
    async with at_work(after):
        await after.outcome(1)


async def test_a_record_names_no_whole_phone_number(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice(equipment="维保 13900001111"))
        await room.outcome(1)
    assert "维保 139****1111" in room.records[0].text
    assert room.records[0].to_body()["notice_id"] == "lift-1.trapped"


async def test_a_channel_that_cannot_be_opened_is_a_failure_of_its_pushes_only(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = {"ntfy": {"type": "file", "path": "/nowhere/at/all"}, "group": wecom(service)}
    spec = duty(channels, LADDERS, desk={"name": "d", "channels": ["ntfy"]}, lead=LEAD)
    async with at_work(room_of(spec)) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(2) == [("desk", "ntfy", False), ("lead", "group", True)]


async def test_whoever_is_told_on_two_channels_hears_once_on_each_that_it_is_over(service: Service) -> None:
    service.script.extend([Answer(hang=True), Answer(hang=True)])
    spec = duty({"one": wecom(service), "two": wecom(service)}, LADDERS,
                desk={"name": "d", "channels": ["one", "two"]}, lead=LEAD | {"channels": ["one"]})  # fmt: skip
    async with at_work(room_of(spec)) as room:
        room.dispatcher.notify(notice())
        await eventually(lambda: len(service.asked) == 2)
        room.dispatcher.resolved(notice(resolved=True))
        service.release.set()
        outcomes = await room.outcome(4)
    assert sorted(outcomes) == [("desk", "one", True)] * 2 + [("desk", "two", True)] * 2
    assert sorted(text[:4] for text in service.texts) == ["【恢复】"] * 2 + ["【紧急】"] * 2
    assert sorted((each.channel, each.over) for each in room.records) == [
        ("one", False), ("one", True), ("two", False), ("two", True),
    ]  # fmt: skip


async def test_a_fault_of_one_channel_is_a_failed_push_and_the_next_one_is_called(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def exhausted(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", exhausted)
    channels = {"book": {"type": "file", "path": "pushes.jsonl"}, "group": wecom(service)}
    spec = duty(channels, LADDERS, desk={"name": "d", "channels": ["book"]}, lead=LEAD)
    async with at_work(room_of(spec, folder=tmp_path)) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(2) == [("desk", "book", False), ("lead", "group", True)]
    assert str(room.records[0].error).startswith("failed unexpectedly (RuntimeError in test_dispatcher.py, line ")
    assert "thread" not in caplog.text  # an error's own words may quote an address, which contains the key


async def test_a_channel_that_cannot_even_be_made_keeps_nobody_from_being_told(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")  # httpx refuses such a proxy when a client is made
    channels = {"group": wecom(service), "book": {"type": "file", "path": "pushes.jsonl"}}
    spec = duty(channels, LADDERS, desk={"name": "d", "channels": ["group"]}, lead=LEAD | {"channels": ["book"]})
    async with at_work(room_of(spec, folder=tmp_path)) as room:
        room.dispatcher.notify(notice())
        assert await room.outcome(2) == [("desk", "group", False), ("lead", "book", True)]


async def test_what_is_critical_does_not_wait_for_what_is_tried_again(service: Service) -> None:
    service.script.append(Answer({"errcode": 45009, "errmsg": "freq"}))
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        room.dispatcher.notify(notice("light-1.out", "low"))
        await eventually(lambda: len(room.records) == 1)
        await held_back(room)  # the pause before the second attempt
        room.dispatcher.notify(notice())
        await eventually(lambda: len(room.records) == 2)
        assert [each.notice_id for each in room.records] == ["light-1.out", "lift-1.trapped"]
        await room.elapse_until(lambda: len(room.records) == 3)
    assert [each.ok for each in room.records] == [False, True, True]


async def test_what_is_critical_does_not_wait_for_the_rate_of_what_is_tried_again(service: Service) -> None:
    async with at_work(room_of(duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD))) as room:
        for number in range(9):
            room.dispatcher.notify(notice(f"light-{number}.out", "low"))
        await eventually(lambda: len(room.records) == 9)
        service.script.append(Answer(b"", status=503))
        room.dispatcher.notify(notice("light-9.out", "low"))  # the last token that is not kept back
        await eventually(lambda: len(room.records) == 10)
        await held_back(room)
        room.clock.advance(2)  # the second attempt is due and waits for a token
        await let_run()
        await held_back(room)
        room.dispatcher.notify(notice())
        await eventually(lambda: len(room.records) == 11)
        assert room.records[10].notice_id == "lift-1.trapped"
        await room.elapse_until(lambda: len(room.records) == 12)
    assert room.records[11].ok


async def test_a_failing_record_ends_the_dispatcher(service: Service) -> None:
    async def refuse(record: PushRecord) -> None:
        raise RuntimeError("the ledger is gone")

    spec = duty({"group": wecom(service)}, LADDERS, desk=DESK, lead=LEAD)
    dispatcher = Dispatcher(spec, "zh", ManualClock(), refuse, SHANGHAI)
    dispatcher.notify(notice())
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="ledger")):
        await dispatcher.run()


async def test_a_lost_channel_is_logged_once_and_once_when_it_is_back(
    broken: Service, caplog: pytest.LogCaptureFixture
) -> None:
    ladders = {"low": [{"after": 0, "to": ["desk"]}]}
    async with at_work(room_of(duty({"group": wecom(broken)}, ladders, desk=DESK))) as room:
        for number in range(3):
            room.dispatcher.notify(notice(f"a-{number}", "low"))
        await eventually(lambda: len(room.records) == 3)
        broken.otherwise = Answer()
        room.dispatcher.notify(notice("b", "low"))
        await eventually(lambda: len(room.records) == 4)
    lines = [record.getMessage() for record in caplog.records if record.name == "edge.response.lane"]
    assert lines[0].startswith("channel group: WeCom refuses")
    assert lines[1].startswith("channel group delivers again")
    assert len(lines) == 2


def restarted(before: Room, spec: DutySpec, off_s: float) -> Room:
    """Another process, later: another monotonic clock, the kept state."""
    clock = ManualClock(wall_ns=before.clock.wall_ns() + round(off_s * 1e9), mono_s=5.0)
    room = room_of(spec, clock)
    room.dispatcher.restore({name: body for name, body in before.state.items() if body is not None})
    return room
