"""Incidents in a whole daemon: written with their alarms, told once, told at all, and found again long after."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from drivers.point import Batch, Block
from edge.clock import ManualClock
from edge.commands import DeskRefused
from edge.house import House
from edge.incidents.grouping import CLOSED
from edge.site_file import load_site
from edge.store.ledger import Ledger, open_ledger
from tests.bench.storm_site import EACH, all_true, block_of, house_of, storm_site
from tests.support import eventually


class Uplink:
    """Notes what is announced."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, str, str]] = []

    def status(self) -> dict[str, Any]:
        return {}

    def announce(self, kind: str, key: str, body: Mapping[str, Any] | None) -> None:
        self.announced.append((kind, key, str((body or {}).get("state"))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site file lies; it is read once for all."""
    return tmp_path_factory.mktemp("site")


@asynccontextmanager
async def house(folder: Path, state: Path, clock: ManualClock) -> AsyncIterator[House]:
    site = storm_site(folder, parents=True, lines=1)
    async with house_of(site, state, clock) as made:
        yield made


async def cut(house: House, *names: str) -> None:
    """These lose their supply."""
    for name in names:
        house.engine.feed(all_true(block_of(house.site, name), house.clock))
    await house.clerk.settled()


async def mended(house: House, name: str) -> None:
    block: Block = block_of(house.site, name)
    values = (False,) * len(block.points)
    house.engine.feed(Batch(block, values, house.clock.wall_ns(), house.clock.mono_s()))
    await house.clerk.settled()


def pushed(state: Path) -> list[str]:
    path = state / "pushes.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [name for line in lines for name in orjson.loads(line)["notices"]]


async def test_alarm_and_incident_are_in_one_commit(folder: Path, tmp_path: Path) -> None:
    commits: list[list[str]] = []

    async def note(entries: list[Any], state: Mapping[tuple[str, str], Any]) -> list[int]:
        commits.append([each.kind for each in entries] + sorted(kind for kind, _ in state))
        return await written(entries, state)

    async with house(folder, tmp_path, ManualClock()) as made:
        written = made.ledger.commit
        made.ledger.commit = note  # type: ignore[method-assign,assignment]
        await cut(made, "supply-1")
        assert commits[0] == ["alarm", "incident", "alarm", "incident"]


async def test_pages_and_operators_are_told_of_an_incident_once_for_all_written_together(
    folder: Path, tmp_path: Path
) -> None:
    async with house(folder, tmp_path, ManualClock()) as made:
        uplink = Uplink()
        made.uplinks["north"] = uplink  # type: ignore[assignment]
        with made.hub.subscribe() as listener:
            await cut(made, "supply-1", *(f"light-0-{n}" for n in range(20)))
            events = []
            with suppress(TimeoutError):
                while True:
                    events.append(await asyncio.wait_for(anext(listener), 0.2))
        kinds = [each.kind for each in events]
        assert kinds.count("alarm") == 81
        assert kinds.count("incident") <= 4  # the pushes that were made meanwhile are told too
        assert [each for each in uplink.announced if each[0] == "incident"][-1] == ("incident", "INC-000001", "open")
        row = made.desk.incidents()[0]
        assert (row["affected_count"], row["alarm_count"]) == (EACH + 4, 81)
        assert [each.body["alarm_count"] for each in events if each.kind == "incident"][-1] == 81


async def test_a_push_that_a_kill_came_before_is_made_after_the_restart_and_only_then(
    folder: Path, tmp_path: Path
) -> None:
    clock = ManualClock()
    site = storm_site(folder, parents=True, lines=1)
    async with house_of(site, tmp_path, clock) as made:
        made.dispatcher.notify = lambda notice: None  # type: ignore[method-assign]  # killed before
        await cut(made, "supply-1")
    assert pushed(tmp_path) == []
    for _ in range(2):
        async with house_of(site, tmp_path, clock) as made:
            await eventually(lambda: pushed(tmp_path) == ["INC-000001"])
            await made.keep_ladders()
            await made.clerk.settled()
            clock.advance(60)
            await asyncio.sleep(0.05)
    assert pushed(tmp_path) == ["INC-000001"]


async def test_acknowledging_an_incident_acknowledges_all_of_it(folder: Path, tmp_path: Path) -> None:
    async with house(folder, tmp_path, ManualClock()) as made:
        await cut(made, "supply-1", "light-0-0", "lift-0")
        row = await made.desk.incident_step("INC-000001", "ack", "李")
        assert (row["state"], row["acked_by"]) == ("acknowledged", "李")
        assert {each["state"] for each in row["alarm_rows"]} == {"acknowledged"}
        lift = (await made.desk.incident("INC-000002")) or {}
        assert (lift["state"], lift["caused_by"]) == ("open", "INC-000001")
        with pytest.raises(DeskRefused, match="acknowledged by 李; there is nothing to acknowledge"):
            await made.desk.incident_step("INC-000001", "ack", "王")
        with pytest.raises(DeskRefused, match="no incident 'INC-9'"):
            await made.desk.incident_step("INC-9", "ack", "王")
        with pytest.raises(DeskRefused, match="a name is missing"):
            await made.desk.incident_step("INC-000002", "onsite", " ")


async def test_an_incident_of_long_ago_is_evidence_from_the_journal(folder: Path, tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(folder, tmp_path, clock) as made:
        for n in range(CLOSED + 1):
            await cut(made, "lift-1")
            await made.desk.incident_step(f"INC-{n + 1:06d}", "ack", "李")
            await mended(made, "lift-1")
            clock.advance(100)
        assert made.engine.incidents.incident("INC-000001") is None
        row = await made.desk.incident("INC-000001")
        assert row is not None
        events = [line["event"] for line in row["timeline"] if not line["event"].startswith("push")]
        assert events == ["raised", "acknowledged", "cleared", "released", "closed"]
        assert row["timeline"][0]["text"]["zh"] == "检测到报警：断电0"
        assert await made.desk.incident("INC-000999") is None
        kept = await made.ledger.load("incident")
        assert len(kept) == CLOSED


async def test_what_was_kept_and_cannot_be_read_stops_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger: Ledger
    async with open_ledger(tmp_path / "ledger.db") as ledger:
        await ledger.commit([], {("incident", "INC-000007"): {"title": "half"}})
    async with house(folder, tmp_path, ManualClock()) as made:
        assert made.desk.incidents() == []
    assert "INC-000007 cannot be continued" in caplog.text


@pytest.mark.parametrize("key", ["event", "alarm", "ok", "changed_ns", "due_ns", "priority"])
async def test_a_key_that_has_rotted_anywhere_in_the_ledger_keeps_no_daemon_from_starting(
    folder: Path, tmp_path: Path, key: str
) -> None:
    clock = ManualClock()
    async with house(folder, tmp_path, clock) as made:
        await cut(made, "supply-1", "light-0-1")
        await eventually(lambda: pushed(tmp_path))
        await made.keep_ladders()
        await made.clerk.settled()
    clock.advance(1)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as shell, shell:
        for table in ("state", "journal"):
            change = f"UPDATE {table} SET body = replace(body, ?, ?)"  # noqa: S608  # our own words
            shell.execute(change, (f'"{key}":', f'"{key[:-1]}~":'))
    async with house(folder, tmp_path, clock) as made:
        await cut(made, "light-0-2")
        assert made.engine.alarms.alarms()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as shell, shell:
        for table in ("state", "journal"):
            change = f"UPDATE {table} SET body = replace(body, ?, ?)"  # noqa: S608  # our own words
            shell.execute(change, (f'"{key}":', f'"{key}":null,"k":'))
    async with house(folder, tmp_path, clock) as made:
        await cut(made, "light-0-3")
        assert made.engine.alarms.alarms()


async def test_the_report_is_of_the_journal_and_of_what_stands(folder: Path, tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(folder, tmp_path, clock) as made:
        began_ns = clock.wall_ns()
        await cut(made, "supply-1", "light-0-0")
        clock.advance(120)
        await made.desk.incident_step("INC-000001", "ack", "李")
        clock.advance(3600)
        report = await made.desk.alarm_report(began_ns - 10**18, clock.wall_ns())
        figures = {each["key"]: each["value"] for each in report["figures"]}
        assert (figures["alarms"], figures["standing"], figures["to_acknowledge"]) == (5, 5, 120)
        assert report["from"] == "2026-01-01T00:00:00.000Z"  # where the journal begins
        assert (report["incidents"], report["top"][0]["count"]) == (1, 1)
        past = await made.desk.alarm_report(began_ns - 2 * 10**18, began_ns - 10**18)
        assert {each["key"]: each["value"] for each in past["figures"]}["alarms"] == 0


TANK = """\
profile: pump/tank
name: {zh: 水箱, en: Tank}
protocol: modbus
source: "synthetic profile: of this test"
points: {level: {name: {zh: 液位, en: Level}, unit: "%", register: input, address: 0, low: 0, high: 100}}
alarms:
  high:
    {code: T-1, name: {zh: 液位高, en: High}, advice: {zh: 看, en: Look}, priority: low, point: level, above: 80}
"""
TANK_SITE = """\
site: {id: s, name: S, timezone: Asia/Shanghai}
profiles: profiles
connections: {bus: {type: modbus-tcp, host: 127.0.0.1}}
equipment: {tank-1: {profile: pump/tank, connection: bus, unit_id: 1}}
duty:
  channels: {record: {type: file, path: pushes.jsonl}}
  recipients: {desk: {name: 值班员, channels: [record]}}
  ladders: {low: [{after: 0s, to: [desk]}]}
"""


async def test_a_level_that_dances_round_its_limit_is_held_and_the_page_says_which_deadband_calms_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "profiles" / "pump").mkdir(parents=True)
    (tmp_path / "profiles" / "pump" / "tank.yaml").write_text(TANK, encoding="utf-8")
    (tmp_path / "site.yaml").write_text(TANK_SITE, encoding="utf-8")
    clock = ManualClock()
    async with house_of(load_site(tmp_path / "site.yaml"), tmp_path, clock) as made:
        block = block_of(made.site, "tank-1")
        for value in (70, 81, 78.5, 82, 77, 81.5, 79, 83, 78):
            clock.advance(6)
            made.engine.feed(Batch(block, (float(value),), clock.wall_ns(), clock.mono_s()))
            made.engine.tick()
            await made.clerk.settled()
            await eventually(lambda: made.dispatcher.idle)
        (row,) = made.desk.alarms()
        assert (row["repeats"]["kind"], row["repeats"]["raises"]) == ("chattering", 4)
        suggestion = row["repeats"]["suggestion"]
        assert suggestion["deadband"] == 4.1  # raised at 81 and above, cleared at 77 and above
        assert suggestion["off_delay_s"] == 8  # pauses of 6 s
        loud = [name for name in pushed(tmp_path) if name.startswith("INC-")]
        assert len(loud) == 4  # told twice, and twice that it is over; then held
        report = await made.desk.alarm_report(0, clock.wall_ns() + 1)
        assert [each["id"] for each in report["chattering"]] == ["tank-1.high"]
