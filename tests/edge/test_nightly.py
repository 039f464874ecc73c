"""The daily round: at its hour by the community's clocks, gently, and with room left on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge import nightly
from edge.clerk import Clerk
from edge.clock import ManualClock
from edge.nightly import Nightly
from edge.site import Site
from edge.site_file import load_site
from edge.store.aging import Aging
from edge.store.ledger import Entry, Ledger, open_ledger
from tests.support import eventually

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = round(datetime(2026, 11, 23, 12, tzinfo=SHANGHAI).timestamp() * 1e9)
DAY_NS = 86_400 * 10**9


def site_of(folder: Path, more: str = "") -> Site:
    path = folder / "site.yaml"
    path.write_text(
        f"site: {{id: maple, name: M, timezone: Asia/Shanghai}}\nconnections: {{}}\nequipment: {{}}\n{more}"
    )
    return load_site(path)


@asynccontextmanager
async def rounds(folder: Path, more: str = "") -> AsyncIterator[tuple[Nightly, Ledger, ManualClock]]:
    clock = ManualClock(wall_ns=NOON)
    async with open_ledger(folder / "state" / "ledger.db") as ledger:
        site, clerk = site_of(folder, more), Clerk(ledger, clock)
        yield Nightly(site, ledger, clerk, clock, lambda: {"open"}, Aging(clock)), ledger, clock


async def asleep(clock: ManualClock) -> None:
    """Until the round is done and waits again; without waiting in true time where it has nothing to do.

    A wait of 10 ms for each of hundreds of steps takes as many slices of a processor that others use.
    """
    for _ in range(10):
        await asyncio.sleep(0)
        if clock.sleeping():
            return
    await eventually(clock.sleeping)


async def test_the_round_is_made_once_a_day_at_its_hour(tmp_path: Path) -> None:
    made: list[str] = []
    async with rounds(tmp_path, 'backup: {at: "03:30"}\n') as (nightly, _, clock):

        async def command(arguments: list[str]) -> tuple[int, str]:
            made.append(datetime.fromtimestamp(clock.wall_ns() / 1e9, SHANGHAI).strftime("%d %H:%M"))
            assert arguments[0] == "backup"
            assert {"--gently", "--no-readings", "--config"} <= set(arguments)
            return 0, ""

        nightly.run_command = command
        task = asyncio.create_task(nightly.run())
        await asleep(clock)
        for _ in range(3 * 24 * 60 // 5):
            clock.advance(300)
            await asleep(clock)
        assert made == ["24 03:30", "25 03:30", "26 03:30"]
        task.cancel()


async def test_a_clock_that_was_a_year_ahead_does_not_put_the_round_off_for_a_year(tmp_path: Path) -> None:
    made: list[str] = []
    async with rounds(tmp_path, 'backup: {at: "03:30"}\n') as (nightly, _, clock):

        async def command(arguments: list[str]) -> tuple[int, str]:
            made.append(datetime.fromtimestamp(clock.wall_ns() / 1e9, SHANGHAI).strftime("%Y-%m-%d %H:%M"))
            return 0, ""

        nightly.run_command = command
        task = asyncio.create_task(nightly.run())
        await asleep(clock)
        clock.step_wall(-365 * 86_400)
        for _ in range(2 * 24 * 2):
            clock.advance(1800)
            await asleep(clock)
        assert made == ["2025-11-24 03:30", "2025-11-25 03:30"]
        task.cancel()


async def test_a_backup_is_made_for_real_and_only_so_many_are_kept(tmp_path: Path) -> None:
    async with rounds(tmp_path, "backup: {keep: 2}\n") as (nightly, ledger, clock):
        await ledger.commit([Entry("alarm", "a", 1, {})])
        for _ in range(3):
            await nightly.round()
            assert nightly.trouble is None
            clock.advance(86_400)
        found = sorted(path.name for path in (tmp_path / "state" / "backups").iterdir())
        assert found == ["maple-20261124T120000.tar.zst", "maple-20261125T120000.tar.zst"]
        notes = [entry.body["event"] for _, entry in await ledger.journal(kind="gateway")]
        assert notes == ["backed up"] * 3


async def test_a_backup_that_fails_is_told_and_one_that_would_fill_the_disk_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rounds(tmp_path, "backup: {readings: true}\n") as (nightly_, ledger, _):

        async def fails(arguments: list[str]) -> tuple[int, str]:
            return 1, "the card is broken"

        nightly_.run_command = fails
        await nightly_.round()
        assert nightly_.trouble == "no backup was made: the card is broken"
        monkeypatch.setattr(nightly, "SPARE", 1 << 62)
        await nightly_.round()
        assert nightly_.trouble is not None
        assert "MB are free on the disk of" in nightly_.trouble
        reasons = [entry.body["reason"] for _, entry in await ledger.journal(kind="gateway")]
        assert len(reasons) == 2


async def test_a_clock_that_leaps_years_ahead_costs_no_entry_of_the_journal_until_it_has_proved_itself(
    tmp_path: Path,
) -> None:
    async with rounds(tmp_path, "storage: {journal: 30d}\n") as (nightly, ledger, clock):
        await ledger.commit([Entry("alarm", "x", NOON - days * DAY_NS, {}) for days in (40, 20)])
        clock.step_wall(5 * 365 * 86_400)
        for _ in range(7):
            await nightly.round()
            assert [entry.time_ns for _, entry in await ledger.journal()] == [NOON - 20 * DAY_NS]
            clock.advance(86_400)
        await nightly.round()
        assert await ledger.journal() == []


async def test_backups_of_a_clock_that_was_ahead_do_not_crowd_out_new_ones(tmp_path: Path) -> None:
    async with rounds(tmp_path, "backup: {keep: 2}\n") as (nightly, _, clock):

        async def command(arguments: list[str]) -> tuple[int, str]:
            Path(arguments[1]).touch()
            return 0, ""

        nightly.run_command = command

        async def made(days: int) -> list[str]:
            for _ in range(days):
                await nightly.round()
                clock.advance(86_400)
            return sorted(path.name[6:14] for path in (tmp_path / "state" / "backups").iterdir())

        assert await made(2) == ["20261123", "20261124"]
        clock.step_wall(365 * 86_400)
        assert await made(2) == ["20271125", "20271126"]
        clock.step_wall(-365 * 86_400)
        assert await made(1) == ["20261127", "20271126"]
        assert await made(2) == ["20261128", "20261129"]


async def test_old_entries_go_but_not_those_of_what_is_open(tmp_path: Path) -> None:
    async with rounds(tmp_path, "storage: {journal: 30d}\n") as (nightly, ledger, _):
        await ledger.commit(
            [Entry("alarm", who, NOON - days * DAY_NS, {}) for who in ("open", "x") for days in (40, 20)]
        )
        await nightly.round()
        assert [(entry.subject, entry.time_ns) for _, entry in await ledger.journal()] == [
            ("open", NOON - 40 * DAY_NS), ("open", NOON - 20 * DAY_NS), ("x", NOON - 20 * DAY_NS),
        ]  # fmt: skip
