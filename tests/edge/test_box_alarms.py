"""A store in trouble and a clock that nobody vouches for are alarms of the box itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.app import run
from edge.clock import ManualClock
from edge.console.server import Console
from edge.house import House
from edge.site_file import load_site
from edge.store.readings_file import ReadingsFile
from tests.support import eventually


@asynccontextmanager
async def living(folder: Path, clock: ManualClock) -> AsyncIterator[House]:
    """A daemon without devices."""
    file = folder / "site.yaml"
    file.write_text(
        "site: {id: s, name: S, timezone: Asia/Shanghai}\nconsole: {listen: 127.0.0.1:0}\n"
        "connections: {}\nequipment: {}\ntime: {source: kernel, trust_after: 1h}\n"
    )
    stop, up = asyncio.Event(), asyncio.get_running_loop().create_future()

    def ready(house: House, console: Console) -> None:
        up.set_result(house)

    daemon = asyncio.create_task(run(load_site(file), folder / "state", stop, clock, ready))
    try:
        yield await up
    finally:
        stop.set()
        await daemon


WATCHING = {"ticks", "keeper"}


async def pass_time(clock: ManualClock, seconds: int, step_s: int = 1) -> None:
    for _ in range(seconds // step_s):
        clock.advance(step_s)
        for _ in range(10):  # what only looks at the time is asleep again without waiting in true time
            await asyncio.sleep(0)
            if clock.sleeping() >= WATCHING:
                break
        else:
            await eventually(lambda: clock.sleeping() >= WATCHING)


def alarms(house: House) -> list[tuple[str, str]]:
    return [(each["id"], each["code"]) for each in house.desk.alarms() if each["active"]]


async def test_a_disk_that_takes_nothing_is_an_alarm_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with living(tmp_path, clock) as house:
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            patch.setattr(ReadingsFile, "commit", full)
            house.store.append("pump-1", ("n",), (1,), None, clock.wall_ns())
            await house.store.flush()
            await pass_time(clock, 15)
            await eventually(lambda: alarms(house) == [("gateway.storage", "GW-03")])
        await house.store.flush()
        await pass_time(clock, 65)
        await eventually(lambda: alarms(house) == [])


async def test_an_alarm_of_the_box_that_is_over_when_it_starts_again_clears(tmp_path: Path) -> None:
    clock = ManualClock(3 * 10**9, known=False)
    async with living(tmp_path, clock) as house:
        await pass_time(clock, 610, 10)
        await eventually(lambda: alarms(house) == [("gateway.clock", "GW-02")])
    clock.step_wall(1_772_424_000)
    clock.time_known = True
    async with living(tmp_path, clock) as house:
        assert alarms(house) == [("gateway.clock", "GW-02")]
        await eventually(lambda: clock.sleeping() >= WATCHING)
        await pass_time(clock, 15)
        await eventually(lambda: alarms(house) == [])


async def test_a_time_that_does_not_come_is_an_alarm_until_it_does(tmp_path: Path) -> None:
    clock = ManualClock(3 * 10**9, known=False)
    async with living(tmp_path, clock) as house:
        await pass_time(clock, 590, 10)
        assert alarms(house) == []
        await pass_time(clock, 20)
        await eventually(lambda: alarms(house) == [("gateway.clock", "GW-02")])
        clock.step_wall(1_772_424_000)
        clock.time_known = True
        await pass_time(clock, 15)
        await eventually(lambda: alarms(house) == [])


async def test_a_damaged_ledger_is_an_alarm_and_told_with_what_was_saved_of_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with living(tmp_path, clock) as house:
        await house.ledger.commit([], {("meter", "x"): {"value": 7}})
    path = tmp_path / "state" / "ledger.db"
    shell = sqlite3.connect(path)
    (root,) = shell.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal_by_kind'").fetchone()
    shell.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    async with living(tmp_path, clock) as house:
        await pass_time(clock, 15)
        (reason,) = house.desk.health()["reasons"]
        assert reason.startswith("ledger.db was damaged (")
        assert reason.endswith(" states of it")
        assert "\n" not in reason
        assert (await house.ledger.load("meter"))["x"] == {"value": 7}
        await eventually(lambda: ("gateway.storage", "GW-03") in alarms(house))


class Counted(ManualClock):
    """A clock that counts who lies down to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: Counter[str] = Counter()

    async def wait(self, woken: asyncio.Future[None], seconds: float) -> None:
        task = asyncio.current_task()
        self.slept[task.get_name() if task else ""] += 1
        await super().wait(woken, seconds)


async def test_one_task_wakes_in_a_second_in_which_nothing_happens(tmp_path: Path) -> None:
    clock = Counted()
    async with living(tmp_path, clock):
        await pass_time(clock, 5)
        clock.slept.clear()
        await pass_time(clock, 60)
    assert clock.slept.pop("ticks") == 60
    assert max(clock.slept.values()) <= 13, "every five seconds at most"
