"""Commands from the asker to the device and the journal, for a time too, and over restarts."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from drivers.driver import ConnectionDown, DeviceSilent, DriverError, Refused
from drivers.point import Point, Quality, Value
from edge.clock import ManualClock
from edge.commands import DeskRefused
from edge.site import Equipment
from tests.edge.plant import HALF_AN_HOUR, PROFILE, SITE, Bus, Daemon, daemon
from tests.support import eventually


class Rounding(Bus):
    """Its devices hold tenths."""

    async def write(self, equipment: Equipment, point: Point, value: Value) -> Value:
        assert isinstance(value, float)
        return await super().write(equipment, point, round(value, 1))


async def test_a_command_is_read_back_and_journalled_with_who_why_before_and_after(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(pump_2__speed=20.0, pump_2__ready=True)
        done = await it.set("pump-2.speed", 25)
        assert done == {
            "point": "pump-2.speed", "before": 20.0, "asked": 25, "after": 25.0, "who": "li", "reason": "test",
            "result": "done",
        }  # fmt: skip
        assert await it.journal() == [done]


@pytest.mark.parametrize(("reads_back", "result"), [(25.4, "done"), (20.0, "not taken")])
async def test_what_is_read_back_is_held_against_the_deadband(tmp_path: Path, reads_back: float, result: str) -> None:
    async with daemon(tmp_path) as it:
        it.reads(pump_2__speed=20.0, pump_2__ready=True)
        it.bus.reads_back = reads_back
        assert (await it.set("pump-2.speed", 25))["result"] == result


COARSE = PROFILE.replace("deadband: 0.5", "scale: 0.1").replace("max_step: 10", "max_step: 2.55")


@pytest.mark.parametrize(("reads_back", "result"), [(20.1, "done"), (20.2, "not taken"), (20.0, "not taken")])
async def test_a_value_between_two_counts_of_the_register_is_done_where_the_nearer_is_read_back(
    tmp_path: Path, reads_back: float, result: str
) -> None:
    async with daemon(tmp_path, profile=COARSE) as it:
        it.reads(pump_2__speed=20.0, pump_2__ready=True)
        it.bus.reads_back = reads_back
        assert (await it.set("pump-2.speed", 20.12))["result"] == result


@pytest.mark.parametrize(
    ("point", "value", "kind", "words"),
    [
        ("pump-2.speed", 60, "refused", "pump-2.speed takes 0 to 50 Hz, 60 was asked; ask for a value within"),
        ("pump-2.speed", 40, "refused", "ask for 30 Hz first"),
        ("pump-2.level", 40, "refused", "pump-2.level is not writable"),
        ("pump-2.start", True, "conflict", "it may only be while tank-1.level above 20 %, and it is 12 %"),
        ("pump-3.start", True, "not_found", "no point pump-3.start"),
    ],
)
async def test_what_is_refused_never_reaches_the_device_and_is_journalled(
    tmp_path: Path, point: str, value: Value, kind: str, words: str
) -> None:
    async with daemon(tmp_path) as it:
        it.reads(pump_2__speed=20.0, pump_2__ready=True, tank_1__level=12.0, pump_2__start=False)
        refused = await it.refused(point, value)
        assert refused.kind == kind
        assert words in refused.message
        assert it.bus.written == []
        journal = await it.journal()
        assert [(each["result"], each["error"]) for each in journal] == [("refused", refused.message)] * len(journal)
        assert len(journal) == (kind != "not_found")


@pytest.mark.parametrize("quality", [Quality.BAD_COMM, Quality.UNCERTAIN_STALE, Quality.BAD_SENSOR])
async def test_an_interlock_whose_point_is_not_good_refuses_and_the_journal_has_what_was_found(
    tmp_path: Path, quality: Quality
) -> None:
    async with daemon(tmp_path) as it:
        it.reads(pump_2__start=False)
        it.reads(quality, tank_1__level=80.0)
        refused = await it.refused("pump-2.start", True)
        assert (refused.kind, quality.value in refused.message) == ("conflict", True)
        (entry,) = await it.journal()
        assert (entry["guard"], entry["needs"], entry["found"], entry["quality"]) == (
            "interlock", "tank-1.level above 20 %", 80.0, quality.value,
        )  # fmt: skip
        it.reads(tank_1__level=80.0)
        assert (await it.set("pump-2.start", True))["result"] == "done"


async def test_stopping_is_free_whatever_the_interlock_finds(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(pump_2__start=True)
        assert (await it.set("pump-2.start", False))["result"] == "done"


async def test_of_two_commands_at_once_one_is_carried_out(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.bus.line.clear()
        first = asyncio.create_task(it.set("tank-1.start", True))
        await eventually(lambda: it.bus.asked)
        assert (await it.refused("tank-1.start", False)).kind == "conflict"
        it.bus.line.set()
        assert (await first)["after"] is True
        assert it.bus.written == [("tank-1.start", True)]


async def test_a_command_for_a_time_returns_by_itself_and_both_are_journalled(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        done = await it.set("tank-1.start", True, HALF_AN_HOUR)
        assert done["override"] | {"until": ""} == {
            "event": "set", "value": True, "returns_to": False, "until": "", "for_s": HALF_AN_HOUR, "who": "li",
            "reason": "test", "trouble": None,
        }  # fmt: skip
        shown = it.commands.override(it.points["tank-1.start"])
        assert shown is not None
        assert shown["until"] == done["override"]["until"]
        it.clock.advance(HALF_AN_HOUR - 1)
        await it.passes(0.5)
        assert it.bus.written == [("tank-1.start", True)]
        await it.passes(1)
        assert it.bus.written == [("tank-1.start", True), ("tank-1.start", False)]
        assert it.commands.override(it.points["tank-1.start"]) is None
        assert await it.ledger.load("override") == {}
        assert await it.events() == [("set", True, "li"), ("returned", False, "courtyard")]
        assert (await it.journal())[-1]["reason"] == "override by li ends: test"
        await it.passes(5)
        assert len(it.bus.written) == 2


@pytest.mark.parametrize(("down_s", "returns_after_s"), [(600.0, 1200.0), (7200.0, 0.0)])
async def test_an_override_survives_a_restart(tmp_path: Path, down_s: float, returns_after_s: float) -> None:
    clock, bus = ManualClock(), Bus()
    async with daemon(tmp_path, clock, bus) as it:
        it.reads(tank_1__start=False)
        await it.set("tank-1.start", True, HALF_AN_HOUR)
    clock = ManualClock(clock.wall_ns() + round(down_s * 1e9), mono_s=5.0)
    async with daemon(tmp_path, clock, bus) as it:
        if returns_after_s:
            clock.advance(returns_after_s - 1)
            await it.passes(0.5)
            assert len(bus.written) == 1
        await it.passes(1.5)
        assert bus.written[1:] == [("tank-1.start", False)]
        assert await it.ledger.load("override") == {}


async def test_a_daemon_killed_between_the_write_and_its_answer_still_returns_it(tmp_path: Path) -> None:
    clock, bus = ManualClock(), Bus()
    async with daemon(tmp_path, clock, bus) as it:
        it.reads(tank_1__start=False)
        bus.line.clear()
        asked = asyncio.create_task(it.set("tank-1.start", True, 60))
        await eventually(lambda: bus.asked)
        assert await it.ledger.load("override")
        kept = (tmp_path / "ledger.db").read_bytes(), (tmp_path / "ledger.db-wal").read_bytes()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        bus.line.set()
    after = tmp_path / "after"
    after.mkdir()
    for name, data in zip(("ledger.db", "ledger.db-wal"), kept, strict=True):
        (after / name).write_bytes(data)
    clock.advance(61)
    async with daemon(after, clock, bus) as it:
        await it.passes(1)
        assert bus.written == [("tank-1.start", False)]


async def test_a_newer_command_ends_an_override(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        await it.set("tank-1.start", True, 60)
        await it.passes(2)
        await it.set("tank-1.start", True, who="wang")
        assert await it.events() == [("set", True, "li"), ("cancelled", True, "wang")]
        await it.passes(70)
        assert it.bus.stands["tank-1.start"] is True
        assert await it.ledger.load("override") == {}


async def test_a_longer_override_over_a_shorter_returns_to_what_was_before_both(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        await it.set("tank-1.start", True, 10)
        await it.passes(5)
        done = await it.set("tank-1.start", True, 20)
        assert (done["override"]["returns_to"], done["override"]["replaces"]["for_s"]) == (False, 10)
        await it.passes(10)
        assert len(it.bus.written) == 2
        await it.passes(10.5)
        assert it.bus.written[2:] == [("tank-1.start", False)]


async def test_a_command_for_a_time_is_refused_where_nobody_knows_what_to_return_to(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        refused = await it.refused("tank-1.start", True, 60)
        assert (refused.kind, "bad/comm" in refused.message) == ("conflict", True)
        assert (await it.set("tank-1.start", True))["result"] == "done"  # and the point is free again
        for seconds in (0.5, 86_401):
            assert "1 s to 24 h" in (await it.refused("tank-1.start", True, seconds)).message


async def test_a_return_waits_for_the_interval_of_the_point(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        await it.set("tank-1.start", True, 1)
        await it.passes(1.5)
        assert len(it.bus.written) == 1
        await it.passes(0.5)
        assert it.bus.written[1:] == [("tank-1.start", False)]


async def test_a_return_goes_in_steps_that_the_guard_allows(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__speed=20.0, tank_1__ready=True)
        await it.set("tank-1.speed", 30, 60)
        it.reads(tank_1__speed=45.0)  # somebody turned it up at the cabinet
        await it.passes(62)
        assert [value for _, value in it.bus.written] == [30.0, 35.0, 25.0, 20.0]
        assert [event for event, _, _ in await it.events()] == ["set", "returning", "returning", "returned"]


async def test_a_return_that_an_interlock_forbids_is_held_told_once_and_done_when_it_may(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(pump_2__start=True, tank_1__level=50.0)
        await it.set("pump-2.start", False, 60)
        it.reads(tank_1__level=10.0)
        await it.passes(120)
        assert it.bus.written == [("pump-2.start", False)]
        assert [event for event, _, _ in await it.events()] == ["set", "held"]
        shown = it.commands.override(it.points["pump-2.start"])
        assert shown is not None
        assert "tank-1.level above 20 %" in shown["trouble"]
        it.reads(tank_1__level=50.0)
        await it.passes(11)
        assert it.bus.written[1:] == [("pump-2.start", True)]
        assert [event for event, _, _ in await it.events()] == ["set", "held", "returned"]


@pytest.mark.parametrize("error", [ConnectionDown("the line is down"), DeviceSilent("no answer"), Refused("no")])
async def test_a_return_is_tried_until_the_device_takes_it(tmp_path: Path, error: DriverError) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        await it.set("tank-1.start", True, 60)
        it.bus.error, it.bus.up = error, not isinstance(error, ConnectionDown)
        await it.passes(100)
        assert [event for event, _, _ in await it.events()] == ["set", "held"]
        it.bus.error, it.bus.up = None, True
        it.reads(tank_1__start=True)
        await it.passes(11)
        assert it.bus.stands["tank-1.start"] is False


async def test_a_return_in_steps_that_no_register_holds_goes_on_at_once(tmp_path: Path) -> None:
    async with daemon(tmp_path, bus=Rounding(), profile=COARSE) as it:
        it.reads(tank_1__speed=20.0, tank_1__ready=True)
        await it.set("tank-1.speed", 21, 60)
        it.reads(tank_1__speed=26.0)
        await it.passes(64)
        assert it.bus.stands["tank-1.speed"] == 20.0
        assert "held" not in [event for event, _, _ in await it.events()]


async def test_a_return_to_a_silent_device_costs_its_line_nothing_and_is_done_when_it_answers(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        await it.set("tank-1.start", True, 60)
        it.bus.dead = "tank-1: unit 1 on bus does not answer"
        await it.passes(100)
        assert it.bus.asked == 1
        assert [event for event, _, _ in await it.events()] == ["set", "held"]
        shown = it.commands.override(it.points["tank-1.start"])
        assert shown is not None
        assert shown["trouble"] == it.bus.dead
        it.bus.dead = None
        await it.passes(11)
        assert it.bus.stands["tank-1.start"] is False


async def test_an_override_that_the_device_refuses_is_none(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        it.bus.error = Refused("it is switched to local")
        refused = await it.refused("tank-1.start", True, 60)
        assert (refused.kind, refused.message) == ("refused", "it is switched to local")
        assert it.commands.override(it.points["tank-1.start"]) is None
        assert await it.ledger.load("override") == {}


async def test_an_override_that_may_have_been_taken_returns(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False)
        it.bus.error = DeviceSilent("no answer")
        assert (await it.refused("tank-1.start", True, 60)).kind == "unavailable"
        it.bus.error = None
        await it.passes(61)
        assert it.bus.written == [("tank-1.start", False)]


async def test_a_connection_that_is_down_costs_no_interval(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.bus.up, it.bus.error = False, ConnectionDown("bus is down: no cable")
        assert (await it.refused("tank-1.start", True)).message == "bus is down: no cable"
        it.bus.up, it.bus.error = True, None
        assert (await it.set("tank-1.start", True))["result"] == "done"
        assert [each["result"] for each in await it.journal()] == ["failed", "done"]


async def test_the_interval_holds_over_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with daemon(tmp_path, clock) as it:
        await it.set("tank-1.start", True)
    clock = ManualClock(clock.wall_ns() + 10**9, mono_s=5.0)
    async with daemon(tmp_path, clock) as it:
        assert "once in 2 s at most, and was 1.0 s ago" in (await it.refused("tank-1.start", False)).message
        await it.passes(1)
        await it.set("tank-1.start", False)


async def test_an_override_whose_point_or_range_is_gone_is_given_up_and_told(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it:
        it.reads(tank_1__start=False, pump_2__speed=30.0, pump_2__ready=True)
        await it.set("tank-1.start", True, 60)
        await it.set("pump-2.speed", 25, 60)
    narrow = PROFILE.replace("max_step: 10, ", "high: 28, ")
    site = SITE.replace("tank-1: {", "tank-9: {").replace("tank-1.level", "tank-9.level")
    async with daemon(tmp_path, profile=narrow, site=site) as it:
        await it.passes(61)
        assert await it.ledger.load("override") == {}
        told = [(each["point"], each["error"]) for each in await it.journal() if "error" in each]
        assert told == [
            ("tank-1.start", "tank-1.start is no longer in the site file"),
            ("pump-2.speed", "pump-2.speed takes 0 to 28 Hz, 30 was asked; ask for a value within"),
        ]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_people_ask_and_overrides_return_the_device_is_never_hammered(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    clock, bus = ManualClock(), Bus()
    written: list[tuple[float, Value]] = []
    profile = PROFILE.replace("max_step: 10, ", "max_step: 10, min_interval: 3s, ")

    async def note(equipment: Equipment, point: Point, value: Value) -> Value:
        written.append((clock.wall_ns() / 1e9, value))
        if chance.random() < 0.15:
            raise DeviceSilent("no answer")
        return value

    bus.write = note  # type: ignore[method-assign]
    stands: Value = 20.0
    for _ in range(3):  # the daemon is stopped and started again
        async with daemon(tmp_path, clock, bus, profile=profile) as it:
            for _ in range(40):
                it.reads(tank_1__speed=stands, tank_1__ready=True)
                with suppress(DeskRefused):
                    for_s = chance.choice([None, 1.0, 4.0, 20.0])
                    await it.set("tank-1.speed", float(chance.randint(0, 50)), for_s)
                await it.passes(chance.choice([0.5, 1, 2, 5]))
                stands = written[-1][1] if written else stands
            it.reads(tank_1__speed=stands)
    moments = [moment for moment, _ in written]
    assert len(written) > 30
    assert min(later - sooner for sooner, later in pairwise(moments)) >= 3 - 1e-6
    values = [20.0, *(float(value) for _, value in written if isinstance(value, float))]
    assert max(abs(later - sooner) for sooner, later in pairwise(values)) <= 10 + 1e-6


async def test_an_override_that_cannot_return_is_an_alarm_until_it_has_or_somebody_commands_the_point(
    tmp_path: Path,
) -> None:
    def active(it: Daemon) -> list[tuple[str, str]]:
        it.engine.tick()
        return [(each.id, each.code) for each in it.engine.alarms.alarms() if each.active]

    async with daemon(tmp_path) as it:
        it.reads(pump_2__speed=20.0, pump_2__ready=True)
        await it.set("pump-2.speed", 30, for_s=60)
        it.bus.error = DeviceSilent("pump-2: does not answer")
        await it.passes(61)
        assert active(it) == [], "it may be a moment only"
        await it.passes(31)
        assert active(it) == [("pump-2.override_held", "GW-06")]
        it.bus.error = None
        it.reads(pump_2__speed=30.0)
        await it.passes(11)
        await it.passes(61)
        assert active(it) == []
        await it.set("pump-2.speed", 30, for_s=60)
        it.bus.error = DeviceSilent("pump-2: does not answer")
        await it.passes(100)
        assert active(it) == [("pump-2.override_held", "GW-06")]
        it.bus.error = None
        it.reads(pump_2__speed=30.0)
        await it.set("pump-2.speed", 25)
        await it.passes(61)
        assert active(it) == []
