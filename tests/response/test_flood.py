"""A desk with more alarms than one person can take in: one digest, and what is critical still alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Text
from edge.clock import ManualClock
from edge.response.dispatcher import Dispatcher, PushRecord
from edge.response.duty import DutySpec
from edge.response.flood import FEW, GATHER_S, MOST, WINDOW_S, Flood
from edge.response.notice import Notice
from tests.response.robots import NOON_NS, notice
from tests.support import eventually

DUTY = {
    "channels": {"out": {"type": "log"}},
    "recipients": {
        "desk": {"name": "值班员", "channels": ["out"]},
        "lead": {"name": "领班", "channels": ["out"]},
    },
    "ladders": {
        "critical": [{"after": 0, "to": ["desk"]}],
        "high": [{"after": 0, "to": ["desk"]}, {"after": "10m", "to": ["lead"]}],
        "low": [{"after": 0, "to": ["desk"]}],
    },
}


@given(st.lists(st.floats(0, 120), max_size=80))
def test_a_flood_begins_over_ten_and_ends_below_five(pauses: list[float]) -> None:
    flood, now, on = Flood(), 0.0, False
    times: list[float] = []
    for pause in pauses:
        now += pause
        before = [each for each in times if each + WINDOW_S > now]
        if on and len(before) < FEW:
            on = False
        times.append(now)
        count = len(before) + 1
        on = count >= FEW if on else count > MOST
        flood.look(now)
        flood.count(now)
        assert (flood.on, flood.alarms) == (on, count)


def named(name: str, priority: str = "high", more: str = "") -> Notice:
    return notice(name, priority, title=Text(name, name), body=Text(more, more))


@dataclass
class Desk:
    """A dispatcher at work in a flood that the test makes."""

    dispatcher: Dispatcher
    clock: ManualClock
    records: list[PushRecord] = field(default_factory=list)

    def alarm(self, name: str, priority: str = "high") -> None:
        """One new alarm, pushed as an incident of its own."""
        self.dispatcher.annunciated(priority)
        self.dispatcher.notify(named(name, priority))

    async def passes(self, seconds: float) -> None:
        """Time, in steps small enough for every sleeper."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            for _ in range(8):
                await asyncio.sleep(0)  # the ladders take their turn
            await eventually(lambda: self.dispatcher.idle)

    def texts(self, recipient: str = "desk") -> list[str]:
        """What somebody was sent, each message once."""
        return list(dict.fromkeys(each.text for each in self.records if each.recipient == recipient))

    def told(self, name: str) -> list[str]:
        return [each.text.partition("\n")[0] for each in self.records if each.notice_id == name]


@asynccontextmanager
async def at_desk() -> AsyncIterator[Desk]:
    clock = ManualClock(wall_ns=NOON_NS)
    desk: Desk

    async def record(push: PushRecord) -> None:
        desk.records.append(push)

    dispatcher = Dispatcher(DutySpec.model_validate(DUTY), "zh", clock, record, ZoneInfo("Asia/Shanghai"), Path())
    desk = Desk(dispatcher, clock)
    task = asyncio.create_task(dispatcher.run(), name="pushes")
    await asyncio.sleep(0)
    yield desk
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_eleventh_and_all_that_follow_come_in_one_digest() -> None:
    async with at_desk() as desk:
        for n in range(40):
            desk.alarm(f"a{n}")
        await desk.passes(GATHER_S + 2)
        texts = desk.texts()
        assert len(texts) == 11  # ten alone, one digest of the other thirty
        assert texts[-1].startswith("【汇总】报警高峰：10 分钟内 40 条新报警，紧急报警仍单独推送\n")
        assert texts[-1].count("\n") >= 15
        assert all(desk.told(f"a{n}") for n in range(40))  # the journal has each of them as told
        assert desk.dispatcher.floods == ("desk",)


async def test_what_is_critical_is_told_alone_and_at_once() -> None:
    async with at_desk() as desk:
        for n in range(12):
            desk.alarm(f"a{n}")
        desk.alarm("trapped", "critical")
        await eventually(lambda: desk.told("trapped"))  # the clock has not moved
        assert desk.told("trapped")[0].startswith("【紧急】")


async def test_another_digest_comes_only_for_something_more_urgent_or_after_ten_minutes() -> None:
    async with at_desk() as desk:
        for n in range(12):
            desk.alarm(f"a{n}", "low")
        await desk.passes(10)
        sent = len(desk.texts())
        desk.alarm("b", "low")
        await desk.passes(60)
        assert len(desk.texts()) == sent
        desk.alarm("c", "high")
        await desk.passes(7)
        assert len(desk.texts()) == sent + 1
        assert desk.told("b")
        assert desk.told("c")


async def test_when_the_flood_is_over_what_is_still_open_is_told_in_one_message() -> None:
    async with at_desk() as desk:
        for n in range(12):
            desk.alarm(f"a{n}", "low")
        await desk.passes(10)
        desk.alarm("b", "low")
        desk.alarm("answered", "low")
        desk.dispatcher.acknowledged("answered")
        await desk.passes(WINDOW_S)
        assert desk.texts()[-1].startswith("【汇总】报警高峰已结束\n")
        assert desk.told("b")
        assert not desk.told("answered")
        assert desk.dispatcher.floods == ()
        desk.alarm("later", "low")
        await desk.passes(1)
        assert desk.told("later")[0].startswith("【提示】")


async def test_each_desk_has_its_own_flood_and_the_ladder_goes_on() -> None:
    async with at_desk() as desk:
        for n in range(12):
            desk.alarm(f"a{n}")
        await desk.passes(605)
        assert len(desk.texts("lead")) == 12  # nobody has answered for ten minutes: the lead is told of each


async def test_what_joins_later_changes_the_text_and_disturbs_nobody() -> None:
    async with at_desk() as desk:
        first = named("i1")
        desk.dispatcher.notify(first)
        await desk.passes(2)
        assert len(desk.records) == 1
        desk.dispatcher.update(named("i1", "high", "四十台设备"))
        await desk.passes(2)
        assert len(desk.records) == 1
        await desk.passes(600)
        assert "四十台设备" in desk.texts("lead")[0]


async def test_what_is_withdrawn_ends_without_a_word() -> None:
    async with at_desk() as desk:
        desk.dispatcher.notify(named("i1"))
        await desk.passes(1)
        desk.dispatcher.withdraw("i1")
        desk.dispatcher.resolved(named("i1"))
        await desk.passes(700)
        assert len(desk.records) == 1
        assert desk.dispatcher.pending()["ladder", "i1"] is None
