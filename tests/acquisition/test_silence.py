"""What silent devices cost their neighbours, and how soon one is read again; on a clock of the tests' own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from drivers.driver import Request
from drivers.point import Quality
from edge.acquisition.patience import LEAST_PROBE_S, LEAST_S, Patience
from edge.acquisition.probes import LONGEST_PAUSE_S
from tests.acquisition.line import TIMEOUT_S, Stand, device, requests, standing

pytestmark = pytest.mark.usefixtures("either_way")

WIRE_S = 0.0625
"""20 registers at 9600 baud."""
DELAY_S = 0.016


def bus(devices: int = 8) -> list[Request]:
    """Each second 20 registers of each device: 63 % of a line of 9600 baud with 8."""
    return [r for n in range(devices) for r in requests(device(f"d{n}", f"p{n}"), wire_s=WIRE_S)]


def slow(stand: Stand, devices: int = 8) -> None:
    """Each answer comes later than predicted by the devices' own delay."""
    stand.line.late_s = {f"d{n}": DELAY_S for n in range(devices)}


def on_time(stand: Stand, name: str, first_s: int, last_s: int) -> int:
    """In how many of these seconds the block was read."""
    return len({int(at) for at in stand.line.times(name) if first_s <= at < last_s})


async def returned(stand: Stand, name: str, block: str) -> float:
    """Seconds from a device's return to its next good reading."""
    stand.line.silent.discard(name)
    at, before = stand.clock.mono_s(), len(stand.batches)
    while not any(b.quality is Quality.GOOD and b.block.points[0].name == block for b in stand.batches[before:]):
        await stand.run(0.01)
    return stand.clock.mono_s() - at


async def test_two_dead_devices_of_eight_cost_the_other_six_no_reading() -> None:
    async with standing(bus()) as stand:
        slow(stand)
        await stand.run(20)
        stand.line.silent |= {"d2", "d5"}
        await stand.run(300)
        alive = [n for n in range(8) if n not in (2, 5)]
        assert [on_time(stand, f"p{n}", 21, 320) for n in alive] == [299] * 6
        overruns = [stand.poller.figures.devices[f"d{n}"].overruns for n in alive]
        assert overruns == [0] * 6
        assert stand.poller.figures.probing.share(stand.clock.mono_s()) <= 0.05


async def test_a_device_is_read_again_within_three_seconds_of_its_return() -> None:
    async with standing(bus()) as stand:
        slow(stand)
        await stand.run(20)
        stand.line.silent |= {"d2", "d5"}
        for seconds in (3.3, 17.1, 40.7, 80.2, 120.9):
            await stand.run(seconds)
            assert await returned(stand, "d2", "p2") < 3
            await stand.run(10)
            stand.line.silent.add("d2")
        assert stand.poller.figures.devices["d2"].overruns == 0, "turns of a dead device are not skipped"


async def test_probes_grow_apart_to_two_seconds_and_are_jittered() -> None:
    async with standing(bus(2)) as stand:
        await stand.run(10.5)
        stand.line.silent.add("d0")
        await stand.run(60)
        pauses = [later - earlier for earlier, later in pairwise(at for at in stand.line.times("p0") if at > 13)]
        assert max(pauses) <= 2.2 + TIMEOUT_S / 2
        assert min(pauses[2:]) >= 1.6
        assert len({round(pause, 2) for pause in pauses}) > 5


async def test_where_many_devices_are_dead_the_share_wins_over_the_three_seconds() -> None:
    wanted = [r for n in range(40) for r in requests(device(f"d{n}", f"p{n}"), period_s=4, wire_s=WIRE_S)]
    async with standing(wanted) as stand:
        slow(stand, 40)
        await stand.run(60)
        stand.line.silent |= {f"d{n}" for n in range(30)}
        await stand.run(300)
        now, figures = stand.clock.mono_s(), stand.poller.figures
        assert 0.03 <= figures.probing.share(now) <= 0.05
        assert sum(figures.devices[f"d{n}"].overruns for n in range(30, 40)) <= 10
        probed = {name for at, name in stand.line.reads if at > 300 and int(name[1:]) < 30}
        assert len(probed) == 30, "none is forgotten"


async def test_what_a_gateway_holds_up_after_a_probe_is_part_of_the_share() -> None:
    """It waits a second by itself for each device that is dead, and asks nobody else meanwhile."""
    async with standing(bus(4)) as stand:
        slow(stand, 4)
        stand.line.holds_s = 1.0
        await stand.run(20)
        stand.line.silent.add("d0")
        await stand.run(620)
        figures = stand.poller.figures
        assert 0.02 <= figures.probing.share(stand.clock.mono_s()) <= 0.07  # one more or less of a second in a minute
        alive = [on_time(stand, f"p{n}", 40, 640) for n in (1, 2, 3)]
        assert min(alive) >= 0.94 * 600, "each probe costs a turn, and there is one in twenty seconds"
        devices = {device.names[0]: device for device in stand.poller._devices}
        assert all(devices[f"d{n}"].patience.usual_s == LEAST_S for n in (1, 2, 3)), "nobody is taken for slow by it"
        assert all(figures.devices[f"d{n}"].timeouts == 0 for n in (1, 2, 3))
        stand.line.holds_s = 0.0
        await stand.run(120)
        assert await returned(stand, "d0", "p0") < 3, "nothing is held up any more, and it is soon found again"


async def test_a_smaller_share_may_be_configured() -> None:
    async with standing(bus(), probe_share=0.01) as stand:
        await stand.run(20)
        stand.line.silent |= {"d2", "d5"}
        await stand.run(200)
        assert stand.poller.figures.probing.share(stand.clock.mono_s()) <= 0.01


async def test_the_line_waits_for_a_device_no_longer_than_it_has_learned_to() -> None:
    async with standing(bus()) as stand:
        slow(stand)
        await stand.run(20.5)
        stand.line.silent.add("d0")
        await stand.run(0.6)
        gap = stand.line.times("p1")[-1] - stand.line.times("p0")[-1]
        assert gap == pytest.approx(LEAST_S, abs=0.005)


async def test_one_device_alone_is_waited_for_as_long_as_the_connection_allows() -> None:
    async with standing(requests(device("lift", "p"))) as stand:
        await stand.run(20.5)
        stand.line.late_s["lift"] = 0.8 * TIMEOUT_S
        await stand.run(20)
        assert stand.said(Quality.UNCERTAIN_STALE) == []


async def test_a_device_that_was_given_up_too_early_is_given_more_time() -> None:
    async with standing(bus(2)) as stand:
        slow(stand, 2)
        await stand.run(20.5)
        stale = 0
        for _ in range(12):  # now and then it takes much longer
            stand.line.late_s["d0"] = 0.2
            await stand.run(1.0)
            stand.line.late_s["d0"] = DELAY_S
            await stand.run(3.0)
            stale = len(stand.said(Quality.UNCERTAIN_STALE))
        assert 1 <= stale <= 3
        assert stand.said(Quality.BAD_COMM) == []


async def test_a_slower_device_in_the_place_of_a_dead_one_is_found() -> None:
    async with standing(bus(4)) as stand:
        slow(stand, 4)
        await stand.run(20)
        stand.line.silent.add("d1")
        await stand.run(30)
        stand.line.late_s["d1"] = 0.2
        stand.line.silent.clear()
        await stand.run(150)
        assert stand.poller.figures.devices["d1"].state == "answering"
        assert on_time(stand, "p0", 21, 200) == 179


async def test_a_device_that_was_dead_from_the_start_is_found_within_three_seconds_too() -> None:
    stand = Stand(bus())
    try:
        slow(stand)
        stand.line.silent.add("d3")
        await stand.run(60)
        assert await returned(stand, "d3", "p3") < 3
    finally:
        stand.task.cancel()


async def test_the_parts_of_one_device_are_silent_together_and_cost_what_one_does() -> None:
    """Twelve circuits of a relay module: one dead device, not twelve."""
    circuits = [replace(r, lane="module") for n in range(12) for r in requests(device(f"c{n}", f"q{n}"), wire_s=0.02)]
    async with standing([*bus(3), *circuits]) as stand:
        await stand.run(20.5)
        stand.line.silent |= {f"c{n}" for n in range(12)}
        asked = len(stand.line.reads)
        await stand.run(3)
        assert len([name for _, name in stand.line.reads[asked:] if name.startswith("q")]) <= 4
        assert sorted(stand.said(Quality.BAD_COMM)) == sorted(f"q{n}" for n in range(12))
        figures = stand.poller.figures
        assert len(figures.silent) == 12
        assert all(figures.devices[name].reason for name in figures.silent)
        await stand.run(60)
        assert [on_time(stand, f"p{n}", 21, 83) for n in range(3)] == [62] * 3
        assert [figures.devices[f"d{n}"].overruns for n in range(3)] == [0] * 3
        stand.line.silent.clear()
        back = len(stand.batches)
        await stand.run(3)
        assert {f"q{n}" for n in range(12)} <= {b.block.points[0].name for b in stand.batches[back:]}
        await stand.run(1)
        assert figures.silent == []
        assert {each.reason for each in figures.devices.values()} == {""}


async def test_devices_that_are_dead_from_the_start_hold_the_line_up_once_each() -> None:
    stand = Stand(bus())
    try:
        slow(stand)
        stand.line.silent |= {"d0", "d3"}
        await stand.run(60)
        alive = [n for n in range(8) if n not in (0, 3)]
        assert [on_time(stand, f"p{n}", 4, 60) for n in alive] == [56] * 6
    finally:
        stand.task.cancel()


async def test_when_a_whole_line_returns_each_device_is_read_within_three_seconds() -> None:
    names = [f"d{n}" for n in range(8)]
    async with standing(bus()) as stand:
        slow(stand)
        await stand.run(20)
        stand.line.silent |= set(names)
        await stand.run(60)
        stand.line.silent.clear()
        await stand.run(3)
        assert stand.poller.figures.silent == []


async def test_one_that_returns_among_nothing_but_dead_ones_is_read_within_three_seconds() -> None:
    async with standing(bus()) as stand:
        slow(stand)
        await stand.run(20)
        stand.line.silent |= {f"d{n}" for n in range(8)}
        for seconds in (60.3, 7.7, 11.1):
            await stand.run(seconds)
            assert await returned(stand, "d5", "p5") < 3
            await stand.run(1)
            stand.line.silent.add("d5")


async def test_when_a_line_that_was_dead_from_the_start_comes_up_what_was_spent_on_it_is_held_against_nobody() -> (
    None
):
    stand = Stand(bus())
    try:
        stand.line.silent |= {f"d{n}" for n in range(8)}
        await stand.run(60)
        stand.line.silent.clear()
        await stand.run(4)
        assert stand.poller.figures.silent == []
    finally:
        stand.task.cancel()


async def test_a_line_without_a_moment_to_spare_probes_at_the_longest_pause() -> None:
    async with standing(requests(device("dead", "p0")) + requests(device("alive", "p1"), period_s=0.05)) as stand:
        await stand.run(10)
        stand.line.silent.add("dead")
        await stand.run(200)
        probes = [at for at in stand.line.times("p0") if at > 20]
        assert all(pause > LONGEST_PAUSE_S for pause in (later - earlier for earlier, later in pairwise(probes)))
        assert 4 <= len(probes) <= 7


async def test_a_device_that_may_still_answer_late_is_left_alone_until_then() -> None:
    async with standing(bus(2)) as stand:
        stand.line.settle_s = 2.0
        await stand.run(10.5)
        stand.line.silent.add("d0")
        await stand.run(30)
        asked = [at for at in stand.line.times("p0") if at > 10.5]
        assert min(later - earlier for earlier, later in pairwise(asked)) >= 2.0


async def test_never_two_requests_are_out_whatever_dies_and_writes() -> None:
    wanted = bus(4)
    async with standing(wanted) as stand:  # the link itself asserts it
        for n in range(4):
            stand.line.silent = {f"d{n}"}
            asked = wanted[0].device
            writing = asyncio.create_task(stand.poller.write(asked, asked.points[0], n))
            await stand.run(7.3)
            assert await writing == n


def test_patience_is_learned_from_the_slowest_of_the_last_answers() -> None:
    patience = Patience()
    assert patience.usual_s is None
    for _ in range(5):
        patience.answered(0.001)
    assert [patience.usual_s, patience.probe_s] == [LEAST_S, LEAST_PROBE_S]
    patience.answered(0.1)
    assert patience.usual_s == pytest.approx(0.4)
    for _ in range(130):
        patience.answered(-0.002)
    assert patience.usual_s == LEAST_S
    patience.hasty()
    assert patience.usual_s == 2 * LEAST_S
