"""Several requests out at once, on a clock of the tests' own: who waits for whom, and what silence costs then."""

from __future__ import annotations

import asyncio

import pytest

from drivers.driver import ConnectionDown, Request, Woken
from drivers.point import Quality
from tests.acquisition.line import TIMEOUT_S, Stand, device, requests, standing
from tests.bench.bench_flight import through

WIRE_S = 0.1


def gateway(units: int = 8, blocks: int = 1, period_s: float = 1.0) -> list[Request]:
    """A gateway whose units each need a tenth of a second to answer."""
    devices = [device(f"d{n}", *(f"p{n}.{b}" for b in range(blocks))) for n in range(units)]
    return [request for each in devices for request in requests(each, wire_s=WIRE_S, period_s=period_s)]


def reads(stand: Stand, since_s: float, until_s: float) -> int:
    return sum(since_s <= at < until_s for at, _ in stand.line.reads)


async def test_as_many_requests_are_out_as_may_be_and_no_more() -> None:
    counts = {}
    for at_once in (1, 2, 4):
        async with standing(gateway(period_s=0.01), at_once=at_once) as stand:
            await stand.run(20)
            assert stand.line.most_out == at_once
            counts[at_once] = reads(stand, 1, 20)
            assert stand.poller.figures.utilisation(stand.clock.mono_s()) == pytest.approx(1.0, abs=0.02)
    assert counts[2] == pytest.approx(2 * counts[1], rel=0.02)
    assert counts[4] == pytest.approx(4 * counts[1], rel=0.02)


async def test_each_request_still_has_its_turn_on_a_fixed_grid() -> None:
    async with standing(gateway(), at_once=4) as stand:
        await stand.run(20.9)
        assert [len(stand.line.times(f"p{n}.0")) for n in range(8)] == [21] * 8
        assert stand.line.times("p0.0") == [float(second) for second in range(21)]
        assert stand.poller.figures.overruns == 0


async def test_one_unit_is_asked_one_thing_at_a_time_unless_it_takes_more() -> None:
    async with standing(gateway(units=1, blocks=4), at_once=4) as stand:  # the line itself asserts it
        await stand.run(10.9)
        assert stand.line.most_out == 1
    async with standing(gateway(units=1, blocks=4), at_once=4) as stand:
        stand.line.per_device = 2
        await stand.run(10.9)
        assert stand.line.most_out == 2
        assert [len(stand.line.times(f"p0.{b}")) for b in range(4)] == [11] * 4


async def test_a_full_unit_does_not_hold_up_the_others() -> None:
    wanted = [*gateway(units=1, blocks=6), *requests(device("other", "o"), wire_s=WIRE_S, period_s=2)]
    async with standing(wanted, at_once=2) as stand:
        await stand.run(10.9)
        assert stand.line.times("o")[1:] == [2.0, 4.0, 6.0, 8.0, 10.0], "though six with earlier deadlines wait"


async def test_a_write_goes_before_all_reads_and_alone_to_its_unit() -> None:
    wanted = gateway(units=3, blocks=5)
    async with standing(wanted, at_once=4) as stand:
        await stand.run(10.05)  # in the middle of everything
        asked = wanted[0].device
        writing = [asyncio.create_task(stand.poller.write(asked, asked.points[0], n)) for n in (1, 2)]
        await stand.run(1)
        assert [await each for each in writing] == [1, 2]
        assert [at for at, _, _ in stand.line.writes] == [10.1, 10.15], "as soon as the unit has answered"
        assert not [at for at, _ in stand.line.reads if 10.05 <= at < 10.1], "nothing else begins before it"
        assert stand.poller.figures.overruns == 0


async def test_a_dead_unit_is_asked_once_for_all_that_were_out_and_found_again() -> None:
    async with standing(gateway(units=3, blocks=3), at_once=8) as stand:
        stand.line.per_device = 3
        await stand.run(10.5)
        stand.batches.clear()
        stand.line.silent.add("d1")
        await stand.run(0.7)
        figures = stand.poller.figures.devices["d1"]
        assert (figures.state, figures.timeouts) == ("doubtful", 3), "three were out: one silence"
        await stand.run(30)
        assert stand.poller.figures.silent == ["d1"]
        assert len(stand.said(Quality.BAD_COMM)) == 3
        assert [stand.poller.figures.devices[name].overruns for name in ("d0", "d2")] == [0, 0]
        stand.line.silent.clear()
        await stand.run(3)
        assert stand.poller.figures.silent == []
        before = [len(stand.line.times(f"p1.{b}")) for b in range(3)]
        await stand.run(10)
        assert [len(stand.line.times(f"p1.{b}")) - b0 for b, b0 in enumerate(before)] == [10] * 3


async def test_never_more_than_one_probe_is_out() -> None:
    async with standing(gateway(units=8), at_once=8) as stand:
        await stand.run(10.5)
        stand.line.silent |= {f"d{n}" for n in range(1, 8)}
        await stand.run(5)
        for _ in range(400):
            await stand.run(0.05)
            silent = [each for each in stand.line.asked if each.id != "d0"]
            assert len(silent) <= 1
        assert len(stand.line.times("p0.0")) >= 30


async def test_a_late_answer_of_a_unit_that_was_given_up_brings_it_back_whole() -> None:
    """Two of its requests time out and a third, slower one, is answered after that."""
    wanted = gateway(units=2, blocks=3)
    async with standing(wanted, at_once=8) as stand:
        stand.line.per_device = 3
        await stand.run(10.5)
        patient = next(each for each in wanted if each.block.points[0].name == "p0.2")
        real, waited = stand.line.read, list[float]()

        async def read(request: Request, timeout_s: float | None = None) -> object:
            if request is patient and not waited:
                waited.append(stand.line.at())
                await stand.clock.sleep(2.5)
                return await real(request, TIMEOUT_S)
            return await real(request, timeout_s)

        stand.line.read = read  # type: ignore[assignment,method-assign]
        await stand.run(0.55)
        stand.line.silent.add("d0")
        await stand.run(1.5)
        stand.line.silent.clear()
        await stand.run(6)
        assert stand.poller.figures.devices["d0"].state == "answering"
        before = [len(stand.line.times(f"p0.{b}")) for b in range(3)]
        await stand.run(10)
        assert [len(stand.line.times(f"p0.{b}")) - b0 for b, b0 in enumerate(before)] == [10] * 3, "none twice"


async def test_a_lost_connection_ends_everything_that_is_out() -> None:
    async with standing(gateway(units=4), at_once=4) as stand:
        await stand.run(2.05)
        stand.line.fault = lambda request: ConnectionDown("gateway: closed the connection")
        await stand.run(1)
        with pytest.raises(ConnectionDown, match="closed the connection"):
            await stand.task
        assert stand.line.asked == []


async def test_four_in_flight_carry_nearly_four_times_as_much_through_a_gateway_with_a_delay() -> None:
    one, _, wrong = await through(1, 0.0, 0.6)
    four, _, wrong_too = await through(4, 0.0, 0.6)
    assert four > 2.5 * one
    assert (wrong, wrong_too) == (0, 0)


async def sleepless(stand: Stand, seconds: float) -> int:
    """How often in so much time somebody lies down to sleep for no time at all, only to look again."""
    real, count = stand.clock.wake, 0

    def counted(woken: Woken, at_s: float) -> None:
        nonlocal count
        count += at_s <= stand.clock.mono_s()
        real(woken, at_s)

    stand.clock.wake = counted  # type: ignore[method-assign]
    await stand.run(seconds)
    stand.clock.wake = real  # type: ignore[method-assign]
    return count


async def test_nobody_looks_again_and_again_while_a_probe_is_out_and_another_is_due() -> None:
    stand = Stand(gateway(units=3), at_once=8)
    stand.line.silent |= {"d0", "d1", "d2"}
    try:
        await stand.run(20)
        assert await sleepless(stand, 10) == 0
        stand.line.silent.clear()
        await stand.run(5)
        assert stand.poller.figures.silent == []
    finally:
        stand.task.cancel()


async def test_nobody_looks_again_and_again_while_a_write_waits_for_its_unit() -> None:
    slow, quick = gateway(units=1), requests(device("quick", "q"), wire_s=0.01, period_s=0.02)
    async with standing([*slow, *quick], at_once=4) as stand:
        await stand.run(10.01)
        asked = slow[0].device
        writing = asyncio.create_task(stand.poller.write(asked, asked.points[0], 7))
        assert await sleepless(stand, 0.5) == 0
        assert await writing == 7
        before = len(stand.line.times("q"))
        await stand.run(1)
        assert len(stand.line.times("q")) >= before + 49, "and all go on"
