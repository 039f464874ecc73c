"""The site file says how history is kept; what the disk budget costs is an alarm and stands in the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from drivers.units import parse_bytes
from edge.clock import ManualClock
from edge.data import CONFIG
from edge.house import House, build
from edge.site import StorageSpec
from edge.site_file import load_site
from edge.store.ledger import open_ledger
from edge.store.readings import open_readings


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("500mb", 5 * 10**8), (64_000_000, 64_000_000)]
)
def test_sizes_are_written_as_people_do(text: object, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["plenty", "-1GB", "2 apples", "", True, -5, 1.5, "1e9GB", "GB"])
def test_what_is_no_size_is_refused_with_how_to_write_it(text: object) -> None:
    with pytest.raises(ValueError, match="write it like 500MB, 2GB, 1GiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"budget": "1MB"}, "greater than or equal to 32000000"),
        ({"keep": "1h"}, "greater than or equal to 86400"),
        ({"keep": "400d"}, "write none shorter than the one before"),
        ({"keep_summaries": {"minutes": "30d"}}, "write none shorter than the one before"),
        ({"keep_summaries": {"seconds": "30d"}}, "Extra inputs"),
        ({"pack_after": "5s"}, "greater than or equal to 60"),
    ],
)
def test_settings_of_storage_are_checked(written: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        StorageSpec.model_validate(written)


async def test_a_leap_of_the_clock_is_an_alarm_stands_in_the_journal_and_is_held_over_a_restart(
    tmp_path: Path,
) -> None:
    clock = ManualClock()

    async with in_house(tmp_path, clock) as house:
        house.watch_box()
        clock.step_wall(5 * 365 * 86_400)
        await house.keeper.turn()
        house.watch_box()
        clock.advance(61)
        house.engine.tick()
        await house.clerk.drain()
        (alarm,) = [row for row in house.desk.alarms() if row["id"] == "gateway.clock_leap"]
        assert (alarm["code"], alarm["active"]) == ("GW-09", True)
        assert all(alarm[text][language] for text in ("name", "advice", "cause") for language in ("zh", "en"))
        assert house.desk.health()["storage"]["aging_held_s"] == 7 * 86_400
        clock.advance(3 * 86_400)
        await house.keep()
    clock.advance(3600)
    async with in_house(tmp_path, clock) as house:
        await house.keeper.turn()
        assert house.desk.health()["storage"]["aging_held_s"] == 4 * 86_400 - 61 - 3600
        clock.step_wall(-5 * 365 * 86_400)
        await house.keeper.turn()
        house.watch_box()
        clock.advance(11)
        house.engine.tick()
        await house.clerk.drain()
        assert not any(row["active"] for row in house.desk.alarms() if row["id"] == "gateway.clock_leap")
        entries = [entry.body for _, entry in await house.ledger.journal(kind="storage")]
        assert [body["event"] for body in entries] == ["held", "back"]
        assert entries[0] == {"event": "held", "leap_s": 5 * 365 * 86_400, "hold_s": 7 * 86_400}
        assert house.desk.health()["storage"]["aging_held_s"] == 0


@asynccontextmanager
async def in_house(folder: Path, clock: ManualClock) -> AsyncIterator[House]:
    """The demo's house without tasks, in one boot of the box."""
    async with open_ledger(folder / "ledger.db") as ledger, open_readings(folder / "readings.db", 600) as store:
        yield await build(load_site(CONFIG / "site.yaml"), folder, ledger, store, clock, "boot")


async def test_what_the_budget_costs_is_an_alarm_and_stands_in_the_journal(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_ledger(tmp_path / "ledger.db") as ledger, open_readings(tmp_path / "readings.db", 600) as store:
        house = await build(load_site(CONFIG / "site.yaml"), tmp_path, ledger, store, clock)
        house.watch_box()
        await house.keeper.turn()
        figures = house.desk.health()["storage"]
        assert figures["budget_bytes"] == 4 * 10**9
        assert figures["bytes"] >= figures["readings_used_bytes"] > 0

        house.keeper._shed_s = clock.mono_s()
        await house.keeper._told({"light": 12_345}, 1_000)
        house.watch_box()
        await house.clerk.drain()
        (alarm,) = [row for row in house.desk.alarms() if row["id"] == "gateway.disk_budget"]
        assert alarm["code"] == "GW-07"
        assert alarm["active"]
        assert all(alarm[text][language] for text in ("name", "advice", "cause") for language in ("zh", "en"))
        ((_, entry),) = await ledger.journal(kind="storage")
        assert entry.body["readings"] == {"light": 12_345}

        clock.advance(3_601)
        house.watch_box()
        await house.clerk.drain()
        assert not any(row["active"] for row in house.desk.alarms() if row["id"] == "gateway.disk_budget")
