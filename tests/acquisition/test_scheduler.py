"""The scheduler on a clock of the test's own and a link that obeys: who is asked when, and what silence costs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from drivers.driver import BadAnswer, ConnectionDown, DeviceSilent, Refused
from drivers.point import Quality
from edge.acquisition.figures import Window
from edge.acquisition.scheduler import Poller
from edge.clock import ManualClock
from tests.acquisition import line
from tests.acquisition.line import BriskLine, Line, Stand, device, requests, standing

pytestmark = pytest.mark.usefixtures("either_way")


async def test_each_request_has_its_turn_on_a_fixed_grid() -> None:
    fast, slow = requests(device("pump", "fast")), requests(device("meter", "slow"), period_s=5)
    async with standing([*slow, *fast]) as stand:
        await stand.run(10.5)
        assert stand.line.times("slow") == [0.05, 5.05, 10.05]
        assert stand.line.times("fast") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        assert stand.poller.figures.overruns == 0


async def test_the_earliest_deadline_goes_first() -> None:
    long = requests(device("a", "a1", "a2"), period_s=10, wire_s=0.3)
    short = requests(device("b", "b1"), period_s=1, wire_s=0.3)
    middle = requests(device("c", "c1"), period_s=2, wire_s=0.3)
    async with standing([*long, *middle, *short]) as stand:
        await stand.run(1.3)
        assert [name for _, name in stand.line.reads] == ["b1", "c1", "a1", "a2", "b1"]


async def test_a_turn_that_comes_while_the_last_still_runs_is_skipped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with standing(requests(device("pump", "p"), period_s=1, wire_s=2.5)) as stand:
        await stand.run(9)
        assert stand.line.times("p") == [0, 3, 6, 9]
        assert stand.poller.figures.overruns == 6
        assert len([r for r in caplog.records if "turns are skipped" in r.message]) == 1


async def test_a_line_with_too_much_to_do_still_serves_everybody() -> None:
    wanted = [r for n in range(4) for r in requests(device(f"d{n}", f"p{n}"), wire_s=0.5)]
    async with standing(wanted) as stand:
        await stand.run(20)
        counts = [len(stand.line.times(f"p{n}")) for n in range(4)]
        assert min(counts) >= 8
        assert stand.poller.figures.utilisation(stand.clock.mono_s()) == pytest.approx(1.0)


async def test_blocks_with_alarm_points_go_before_the_rest() -> None:
    ordinary = requests(device("a", "a1", "a2", "a3"), wire_s=0.3)
    urgent = requests(device("b", "b1", "b2"), period_s=5, wire_s=0.3)
    async with standing([*ordinary, *urgent], urgent={"b.b1", "b.b2"}) as stand:
        await stand.run(1.3)
        assert [name for _, name in stand.line.reads] == ["b1", "b2", "a1", "a2", "a3"]


async def test_urgent_blocks_that_fill_the_line_leave_the_rest_a_turn_now_and_then() -> None:
    wanted = [*requests(device("a", "a1"), wire_s=0.5), *requests(device("b", "b1", "b2"), wire_s=0.5)]
    async with standing(wanted, urgent={"b.b1", "b.b2"}) as stand:
        await stand.run(60)
        assert 4 <= len(stand.line.times("a1")) <= 6


async def test_a_write_wakes_the_sleeping_line_and_goes_ahead_of_all_reads() -> None:
    pump = device("pump", "a", "b", "c")
    async with standing(requests(pump, period_s=60)) as stand:
        await stand.run(30)
        writing = asyncio.create_task(stand.poller.write(pump, pump.points[0], 7))
        await stand.run(0.1)
        assert await writing == 7
        assert stand.line.writes == [(30.0, "a", 7)]
        await stand.run(49.92)
        busy = asyncio.create_task(stand.poller.write(pump, pump.points[1], 8))
        await stand.run(1)
        assert await busy == 8
        assert stand.line.reads[6:] == [(80.0, "a"), (80.1, "b"), (80.15, "c")]
        assert stand.line.writes[1:] == [(80.05, "b", 8)]
        assert stand.poller.figures.writes == 2


async def test_a_write_that_fails_tells_the_asker_and_nobody_else() -> None:
    pump = device("pump", "a")
    async with standing(requests(pump)) as stand:
        await stand.run(0.5)
        stand.line.write_fault = Refused("pump.a: it has no such address")
        writing = asyncio.create_task(stand.poller.write(pump, pump.points[0], 7))
        await stand.run(2)
        with pytest.raises(Refused, match="no such address"):
            await writing
        assert len(stand.line.reads) == 3


async def test_a_silent_device_goes_bad_once_with_its_last_values() -> None:
    pump = device("pump", "a", "b")
    async with standing(requests(pump)) as stand:
        await stand.run(1.5)
        last = {batch.block: batch.values for batch in stand.batches}
        stand.batches.clear()
        stand.line.silent.add("pump")
        await stand.run(120)
        stale = stand.said(Quality.UNCERTAIN_STALE)
        bad = [batch for batch in stand.batches if batch.quality is Quality.BAD_COMM]
        assert len(stale) == 1
        assert sorted(batch.block.points[0].name for batch in bad) == ["a", "b"]
        assert all(batch.values is last[batch.block] for batch in bad)
        assert len(stand.batches) == 3
        assert stand.poller.figures.silent == ["pump"]
        assert stand.poller.figures.devices["pump"].reason == "pump: does not answer"


async def test_all_requests_resume_at_once_when_a_silent_device_answers() -> None:
    pump = device("pump", "a", "b", "c")
    async with standing(requests(pump)) as stand:
        await stand.run(1.5)
        stand.line.silent.add("pump")
        await stand.run(60)
        stand.line.silent.clear()
        before = len(stand.line.reads)
        while len(stand.line.reads) == before:
            await stand.run(0.1)
        stand.batches.clear()
        await stand.run(0.2)
        assert {"a", "b", "c"} == set(stand.said(Quality.GOOD))
        figures = stand.poller.figures.devices["pump"]
        assert (figures.state, figures.reason) == ("answering", "")


async def test_one_time_out_makes_only_its_own_block_stale_and_the_next_answer_good_again() -> None:
    pump = device("pump", "a", "b")
    async with standing(requests(pump)) as stand:
        await stand.run(1.5)
        stand.batches.clear()
        failing = iter([DeviceSilent("pump: no answer")])
        stand.line.fault = lambda request: next(failing, None)
        await stand.run(4)
        assert stand.said(Quality.UNCERTAIN_STALE) == ["a"]
        assert stand.said(Quality.BAD_COMM) == []
        assert [b.quality for b in stand.batches if b.block.points[0].name == "a"][-1] is Quality.GOOD
        assert stand.poller.figures.timeouts == 1


async def test_an_answer_that_cannot_be_used_is_stale_once_logged_once_and_no_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pump = device("pump", "a", "b")
    async with standing(requests(pump)) as stand:
        await stand.run(0.5)
        stand.batches.clear()
        stand.line.fault = lambda request: BadAnswer("pump: CRC") if request.block.points[0].name == "a" else None
        await stand.run(10)
        assert stand.said(Quality.UNCERTAIN_STALE) == ["a"]
        assert stand.said(Quality.GOOD) == ["b"] * 10
        assert stand.poller.figures.bad_answers == 10
        assert stand.poller.figures.devices["pump"].state == "answering"
        assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == ["pump: CRC"]


async def test_a_block_that_a_living_device_never_answers_is_left_alone_more_and_more() -> None:
    pump = device("pump", "good", "odd")
    async with standing(requests(pump)) as stand:
        stand.line.fault = lambda r: DeviceSilent("pump: silent") if r.block.points[0].name == "odd" else None
        await stand.run(200)
        assert len(stand.line.times("odd")) <= 14
        assert len(stand.line.times("good")) >= 185
        assert stand.said(Quality.BAD_COMM) == ["odd"]
        assert stand.poller.figures.devices["pump"].state in ("answering", "doubtful")


async def test_what_was_never_read_is_bad_and_has_no_value() -> None:
    pump = device("pump", "a")
    stand = Stand(requests(pump))
    stand.line.silent.add("pump")
    await stand.run(10)
    (batch,) = stand.batches
    assert (batch.quality, batch.values) == (Quality.BAD_COMM, (None,))
    stand.task.cancel()


async def test_a_lost_connection_ends_the_polling_and_every_write_that_waits() -> None:
    pump = device("pump", "a", "b")
    async with standing(requests(pump, wire_s=0.5)) as stand:
        await stand.run(0.2)
        stand.line.fault = lambda request: ConnectionDown("connection pump-room: the adapter is gone")
        stand.line.write_fault = ConnectionDown("connection pump-room: the adapter is gone")
        first = asyncio.create_task(stand.poller.write(pump, pump.points[0], 1))
        await stand.run(2)
        with pytest.raises(ConnectionDown, match="adapter is gone"):
            await stand.task
        with pytest.raises(ConnectionDown, match=r"pump\.a: not written"):
            await first
        with pytest.raises(ConnectionDown):
            await stand.poller.write(pump, pump.points[0], 2)


async def test_a_write_that_is_cut_off_by_the_stop_is_not_left_waiting() -> None:
    pump = device("pump", "a")
    async with standing(requests(pump, period_s=60)) as stand:
        await stand.run(1)
        writing = asyncio.create_task(stand.poller.write(pump, pump.points[0], 1))
        await stand.idle()
        assert stand.line.writes
        stand.task.cancel()
        with pytest.raises(ConnectionDown):
            await writing


async def test_the_next_life_of_a_connection_keeps_values_and_figures() -> None:
    pump = device("pump", "a")
    wanted = requests(pump)
    async with standing(wanted) as first:
        await first.run(5)
        last = first.batches[-1].values
    async with standing(wanted, before=first.poller, clock=first.clock) as second:
        second.line.silent.add("pump")
        await second.run(4)
        assert second.said(Quality.BAD_COMM) == ["a"]
        assert second.batches[-1].values is last
        assert second.poller.figures.answers == 5


async def test_what_is_bad_becomes_no_better_by_a_further_time_out() -> None:
    pump = device("pump", "a", "b")
    async with standing(requests(pump)) as stand:
        await stand.run(1.5)
        stand.line.silent.add("pump")
        await stand.run(30)
        assert len(stand.said(Quality.BAD_COMM)) == 2
        stand.batches.clear()
        stand.line.fault = lambda r: DeviceSilent("pump: silent") if r.block.points[0].name == "b" else None
        stand.line.silent.clear()
        await stand.run(30)
        assert len(stand.line.times("b")) > 3
        assert {batch.block.points[0].name for batch in stand.batches} == {"a"}, "of b nothing better is known"


async def test_what_an_earlier_life_of_a_connection_has_read_is_bad_until_it_is_read_again() -> None:
    wanted = requests(device("pump", "a"))
    async with standing(wanted) as first:
        await first.run(5)
    async with standing(wanted, before=first.poller, clock=first.clock) as second:
        failing = iter([DeviceSilent("pump: no answer")])
        second.line.fault = lambda request: next(failing, None)
        await second.run(3)
        assert [batch.quality for batch in second.batches][:2] == [Quality.BAD_COMM, Quality.GOOD]


async def test_figures_show_use_and_response_of_the_last_minute() -> None:
    pump, meter = device("pump", "a"), device("meter", "m")
    wanted = [*requests(pump, wire_s=0.2), *requests(meter, period_s=2, wire_s=0.1)]
    async with standing(wanted) as stand:
        await stand.run(119.9)
        now, figures = stand.clock.mono_s(), stand.poller.figures
        assert figures.utilisation(now) == pytest.approx(0.25, abs=0.01)
        assert figures.devices["pump"].response_s(now) == pytest.approx(0.2)
        assert figures.devices["meter"].response_s(now) == pytest.approx(0.1)
        assert (figures.answers, figures.timeouts, figures.overruns) == (180, 0, 0)


async def test_a_connection_without_anything_to_poll_still_takes_writes() -> None:
    relay = device("relay", "lamp")
    async with standing([]) as stand:
        await stand.run(10)
        writing = asyncio.create_task(stand.poller.write(relay, relay.points[0], True))
        await stand.run(1)
        assert await writing is True


def test_a_window_forgets_what_is_older_than_a_minute() -> None:
    window = Window(0.0)
    window.add(10.0, 6.0)
    assert window.share(20.0) == pytest.approx(0.3)
    assert window.share(69.0) == pytest.approx(6 / 59), "slots of five seconds: the minute is one of 55 to 60"
    assert window.share(71.0) == 0
    assert window.mean_s(71.0) is None


async def test_a_write_goes_right_after_the_turn_that_is_out() -> None:
    pump = device("a", "x", "y")
    async with standing(requests(pump, wire_s=0.25)) as stand:
        await stand.run(2.125)
        assert stand.line.asked, "x is out, and y has come"
        writing = asyncio.create_task(stand.poller.write(pump, pump.points[0], 7))
        await stand.run(3)
        assert await writing == 7
        assert stand.line.writes == [(2.25, "x", 7)]
        assert stand.line.times("y")[2] > 2.25


async def test_a_request_without_a_period_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="pump: a request without a period"):
        Poller(Line(ManualClock()), requests(device("pump", "a"), period_s=0), ManualClock(), lambda batch: None)


async def test_a_device_that_needs_a_pause_is_read_beside_those_that_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "kind", "brisk")
    async with standing([*requests(device("a", "x")), *requests(device("b", "y"))]) as stand:
        assert isinstance(stand.line, BriskLine)
        stand.line.pausing = {"b"}
        await stand.run(10.5)
        assert len(stand.line.times("x")) == len(stand.line.times("y")) == 11
        assert stand.poller.figures.overruns == 0


async def test_a_write_goes_ahead_of_brisk_turns_and_they_go_on_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "kind", "brisk")
    pump = device("a", "x")
    async with standing(requests(pump)) as stand:
        await stand.run(2.5)
        writing = asyncio.create_task(stand.poller.write(pump, pump.points[0], 7))
        await stand.run(3)
        assert await writing == 7
        assert stand.line.writes == [(2.5, "x", 7)]
        assert stand.line.times("x") == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


async def test_what_ends_the_poller_ends_it_from_a_brisk_turn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "kind", "brisk")

    async def story() -> None:
        async with standing(requests(device("a", "x"))) as stand:
            await stand.run(1.5)
            stand.poller._brisk._answered = broken  # type: ignore[union-attr]
            await stand.run(1)
            assert stand.task.done()

    with pytest.raises(RuntimeError, match="a fault of ours"):
        await story()


def broken(*_: object) -> None:
    raise RuntimeError("a fault of ours")
