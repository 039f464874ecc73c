"""Whatever a card does to the file: recording goes on, and what was set aside is named."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.store.readings import ReadingsStore, open_readings

LONG_S = 600.0
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
        assert store.trouble == "1 groups of rows in readings.db cannot be read any more, and are left out"
