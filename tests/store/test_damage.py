"""Whatever a card does to the file: recording goes on, and what was set aside is named."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.store.database import StoreError
from edge.store.keeper import Keeper, Keeping, Shed
from edge.store.packer import Closing, pack_upto
from edge.store.readings import ReadingsStore, open_readings
from edge.store.steps import AGGREGATES

LONG_S = 600.0
DAY = 86_400 * 10**9
PACKED = ("pump-1.n", "pump-1.m", "pump-2.n", "pump-2.m")
ROWS = 3000


def put(store: ReadingsStore, number: int) -> int:
    return store.append("pump-1", ("n", "m"), (number, number / 7), None, number)


async def written(path: Path) -> None:
    """A log with some thousand rows, some of them in groups, some in spans."""
    async with open_readings(path, LONG_S) as store:
        for n in range(ROWS):
            put(store, n)
            if n % 100 == 99:
                await store.flush()
        store.advance("cloud", 1000)


def truncated(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(chance.randrange(path.stat().st_size))


def zeroed(path: Path, chance: random.Random) -> None:
    overwritten(path, chance, bytes)


def scribbled(path: Path, chance: random.Random) -> None:
    overwritten(path, chance, chance.randbytes)


def overwritten(path: Path, chance: random.Random, with_: Callable[[int], bytes]) -> None:
    size = chance.choice((1, 16, 1024, 4096))
    with path.open("r+b") as file:
        file.seek(chance.randrange(max(1, path.stat().st_size - size)))
        file.write(with_(size))


def log_of_another_time(path: Path, chance: random.Random) -> None:
    path.with_name(path.name + "-wal").write_bytes(chance.randbytes(40_000))


def table_lost(path: Path, chance: random.Random) -> None:
    tables = ("groups", "spans", "layouts", "cursors", "reserve", "batches", "restamps", "periods", "marks")
    shell = sqlite3.connect(path)
    shell.execute(f"DROP TABLE {chance.choice(tables)}")
    shell.close()


def nonsense_within(path: Path, chance: random.Random) -> None:
    shell = sqlite3.connect(path)
    what = chance.choice((
        "UPDATE groups SET body = x'00'", "UPDATE layouts SET points = '{'", "DELETE FROM layouts",
        "UPDATE groups SET first_seq = last_seq + 5", "DELETE FROM spans WHERE first_seq > 500",
        "UPDATE groups SET body = (SELECT body FROM groups LIMIT 1)",
    ))  # fmt: skip
    with shell:
        shell.execute(what)
    shell.close()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "harm", [truncated, zeroed, scribbled, log_of_another_time, table_lost, nonsense_within], ids=lambda h: h.__name__
)
async def test_after_any_damage_recording_goes_on_and_what_is_lost_is_told(
    tmp_path: Path, harm: Callable[[Path, random.Random], None], seed: int
) -> None:
    path = tmp_path / "readings.db"
    await written(path)
    harm(path, random.Random(f"{harm.__name__} {seed}"))
    async with open_readings(path, LONG_S) as store:
        first = put(store, ROWS)
        await store.flush()
        older = [row.values[0] for row in await store.read_after(0, 10**6) if row.seq < first]
        await store.query("pump-1.n", 0, 10**6)
        assert put(store, ROWS + 1) == first + 1
        await store.flush()
        told = store.trouble
        newest = [row.values[0] for row in await store.read_after(first - 1, 10)]
        aside = list(tmp_path.glob("*.damaged-*"))
    assert newest == [ROWS, ROWS + 1]
    whole = older == list(range(ROWS))
    assert whole or told is not None or harm in (zeroed, scribbled, nonsense_within, log_of_another_time)
    assert not aside or (told is not None and aside[0].name.removesuffix("-wal").removesuffix("-shm") in told)
    async with open_readings(path, LONG_S) as store:
        again = await store.read_after(first - 1, 10)
        assert [row.values[0] for row in again] == [ROWS, ROWS + 1]
        assert (await store.query("pump-1.n", ROWS, ROWS + 2)) == [(ROWS, ROWS, "good"), (ROWS + 1, ROWS + 1, "good")]


async def test_a_small_file_is_checked_whole_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    await written(path)
    shell = sqlite3.connect(path)
    with shell:
        shell.execute("UPDATE reserve SET seq = seq + 100")  # as a kill leaves it
        (page,) = shell.execute("SELECT rootpage FROM sqlite_master WHERE name = 'spans'").fetchone()
        (size,) = shell.execute("PRAGMA page_size").fetchone()
    shell.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\x0d" + bytes(size - 1))
    async with open_readings(path, LONG_S) as store:
        assert store.trouble is not None
        assert "set aside as readings.db.damaged-" in store.trouble
        put(store, 1)
    assert list(tmp_path.glob("readings.db.damaged-*"))


@pytest.mark.parametrize("table", ["chunks", "periods", "series", "minutes"])
async def test_damage_that_only_the_keeper_meets_is_told_and_the_history_is_kept_in_shape_again(
    tmp_path: Path, table: str
) -> None:
    path, clock = tmp_path / "readings.db", ManualClock(5 * DAY)

    def keeper(store: ReadingsStore, keep_ns: int) -> Keeper:
        return Keeper(store, Keeping(Closing(0), keep_ns, 99 * DAY, 99 * DAY, 10**9, {}), clock, (), nobody)

    await packed(path)
    shell = sqlite3.connect(path)
    (page,) = shell.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    (size,) = shell.execute("PRAGMA page_size").fetchone()
    shell.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    async with open_readings(path, LONG_S) as store:
        with pytest.raises(StoreError, match="malformed"):
            await keeper(store, DAY).turn()
        put(store, 1)
        await store.flush()
        assert store.trouble is not None
        assert "set aside as readings.db.damaged-" in store.trouble
        await keeper(store, DAY).turn()
        assert [row.values[0] for row in await store.read_after(0, 10)] == [1]


async def test_a_body_that_has_rotted_costs_its_own_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    await written(path)
    shell = sqlite3.connect(path)
    with shell:
        shell.execute("UPDATE groups SET body = x'28b52ffd' WHERE first_seq = 101")
    shell.close()
    async with open_readings(path, LONG_S) as store:
        rows = await store.read_after(0, 10**6)
        assert [row.values[0] for row in rows] == [n for n in range(ROWS) if not 100 <= n < 200]
        assert store.trouble == "1 parts of readings.db cannot be read any more, and are left out"


async def packed(path: Path) -> None:
    """A day of two equipment, packed."""
    async with open_readings(path, LONG_S) as store:
        for n in range(ROWS):
            for equipment in ("pump-1", "pump-2"):
                store.append(equipment, ("n", "m"), (n, n / 7), None, DAY + n * 10**9)
            if n % 100 == 99:
                await store.flush()
        await store.work(lambda file: list(pack_upto(file, file.groups.ends(0, 2 * ROWS)[-1])))


def rot(path: Path, column: str, chance: random.Random, number: int) -> None:
    """One bit changes, e.g. in `chunks.body`."""
    table, name = column.split(".")
    shell = sqlite3.connect(path)
    with shell:
        query = f"SELECT id, {name} FROM {table} WHERE {name} IS NOT NULL ORDER BY id"  # noqa: S608  # our own words
        id_, body = shell.execute(query).fetchall()[number]
        place, bit = chance.randrange(len(body)), 1 << chance.randrange(8)
        changed = body[:place] + bytes([body[place] ^ bit]) + body[place + 1 :]
        shell.execute(f"UPDATE {table} SET {name} = ? WHERE id = ?", (changed, id_))  # noqa: S608  # our own words
    shell.close()


@pytest.mark.parametrize("seed", range(8))
async def test_a_chunk_whose_summary_has_rotted_is_not_summed_up_wrong(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "readings.db"
    await packed(path)
    async with open_readings(path, LONG_S) as store:
        before = {point: await store.query(point, 0, 2 * DAY, DAY, aggregate="mean") for point in PACKED}
    rot(path, "chunks.summary", random.Random(seed), seed % 4)
    async with open_readings(path, LONG_S) as store:
        after = {point: await store.query(point, 0, 2 * DAY, DAY, aggregate="mean") for point in PACKED}
        assert [after[point] for point in PACKED if after[point] != before[point]] == [[]]
        assert [len(await store.query(point, 0, 2 * DAY)) for point in PACKED] == [ROWS] * 4
        assert store.trouble == "1 parts of readings.db cannot be read any more, and are left out"


@pytest.mark.parametrize("seed", range(30))
async def test_a_chunk_that_has_rotted_costs_its_own_readings_only_and_none_of_them_is_told_wrong(
    tmp_path: Path, seed: int
) -> None:
    path, chance = tmp_path / "readings.db", random.Random(seed)
    await packed(path)
    rot(path, "chunks.body", chance, seed % 6)
    async with open_readings(path, LONG_S) as store:
        end = 2 * DAY
        lost = 0
        for point in PACKED:
            found = await store.query(point, 0, end)
            true = [(DAY + n * 10**9, n if point.endswith("n") else n / 7, "good") for n in range(ROWS)]
            assert found in ([], true)
            lost += not found
            for aggregate in AGGREGATES:
                await store.query(point, 0, end, 60 * 10**9, aggregate=aggregate)
        assert lost in (1, 2)  # of a frame both points of its equipment
        assert sum([len(page) async for page in store.history(None, 0, end)]) == (4 - lost) * ROWS
        assert store.trouble == f"{lost} parts of readings.db cannot be read any more, and are left out"
        clock = ManualClock(400 * DAY)
        keeper = Keeper(store, Keeping(Closing(1), DAY, 1000 * DAY, 1000 * DAY, 10**9, {}), clock, (), nobody)
        await keeper.turn()  # the day goes, and its summaries are written
        assert [len(await store.query(point, 0, end)) for point in PACKED].count(ROWS // 300) == 4 - lost


@pytest.mark.parametrize("seed", range(4))
async def test_a_summary_that_has_rotted_stops_nobody(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "readings.db"
    await packed(path)
    clock = ManualClock(400 * DAY)
    days = Keeping(Closing(1), DAY, 1000 * DAY, 1000 * DAY, 10**9, {})
    async with open_readings(path, LONG_S) as store:
        await Keeper(store, days, clock, (), nobody).turn()
    rot(path, "minutes.body", random.Random(seed), seed)
    async with open_readings(path, LONG_S) as store:
        hours = Keeping(Closing(1), DAY, DAY, 1000 * DAY, 10**9, {})
        await Keeper(store, hours, clock, (), nobody).turn()
        assert sorted([len(await store.query(point, 0, 2 * DAY)) for point in PACKED]) == [0, 1, 1, 1]
        assert store.trouble is not None


async def nobody(shed: Shed, used: int) -> None:
    """Nothing is shed here."""
    raise AssertionError
