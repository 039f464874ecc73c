"""Rows are held, stamped anew and taken out of the log without ever changing their order; old files are taken up."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.store.readings import ReadingsStore, StoreError, open_readings
from edge.store.readings_file import MIGRATIONS

LONG_S = 600.0
UNKNOWN = "uncertain/clock"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "readings.db"


def put(store: ReadingsStore, number: int, marks: Sequence[str] | None = None) -> int:
    return store.append("pump-1", ("n", "m"), (number, -number), marks, number)


async def test_held_rows_reach_no_uplink_until_they_are_released(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(1, 6):
            put(store, n)
        store.hold(3)
        assert [row.seq for row in await store.read_after(0, 10)] == [1, 2]
        await store.flush()
        assert store.held == 3
        waiting = asyncio.create_task(store.wait_after(2))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.hold(None)
        await asyncio.wait_for(waiting, 1)
        assert [row.seq for row in await store.read_after(2, 10)] == [3, 4, 5]
    async with open_readings(path, LONG_S) as store:  # none of them in memory any more
        store.hold(3)
        assert [row.seq for row in await store.read_after(0, 10)] == [1, 2]


async def test_rows_are_stamped_anew_in_the_file_and_in_memory_once_however_often_it_is_asked(path: Path) -> None:
    marks = ((UNKNOWN, UNKNOWN), (UNKNOWN, "bad/comm"), None, (UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN))
    async with open_readings(path, LONG_S) as store:
        for n, mark in enumerate(marks, 1):
            put(store, n, mark)
            if n == 3:
                await store.flush()
        for _ in range(2):
            await store.restamp(2, 4, 1000, known=True)
        fresh = await store.read_after(0, 10)
    async with open_readings(path, LONG_S) as store:
        await store.restamp(2, 4, 1000, known=True)  # as after a crash
        assert await store.read_after(0, 10) == fresh
        assert await store.query("pump-1.n", 1002, 1005) == [(n + 1000, n, "good") for n in (2, 3, 4)]
        assert await store.query("pump-1.n", 0, 1000) == [(1, 1, UNKNOWN), (5, 5, UNKNOWN)]
    assert [row.time_ns for row in fresh] == [1, 1002, 1003, 1004, 5]
    assert [row.qualities for row in fresh] == [
        (UNKNOWN, UNKNOWN), ("good", "bad/comm"), None, None, (UNKNOWN, UNKNOWN),
    ]  # fmt: skip


async def test_stamps_may_move_while_the_time_stays_unknown(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 1, (UNKNOWN, UNKNOWN))
        await store.restamp(1, 1, -500, known=False)
        rows = await store.read_after(0, 10)
        assert [(row.time_ns, row.qualities) for row in rows] == [(-499, (UNKNOWN, UNKNOWN))]


async def test_whoever_keeps_tables_in_the_file_works_between_commits_and_takes_rows_out_of_the_log(
    path: Path,
) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(1, 8):
            put(store, n)
            if n in (4, 7):
                await store.flush()
        await store.work(lambda file: file.forget(5))
        assert await store.work(lambda file: file.db.execute("PRAGMA user_version").fetchone()[0]) == len(MIGRATIONS)
        with pytest.raises(StoreError, match="cannot be written"):
            await store.work(lambda file: file.db.execute("INSERT INTO nowhere VALUES (1)"))
    async with open_readings(path, LONG_S) as store:
        assert [row.seq for row in await store.read_after(0, 10)] == [6, 7]
        assert await store.query("pump-1.n", 0, 100) == [(6, 6, "good"), (7, 7, "good")]
        assert put(store, 8) == 8


def version_1(path: Path) -> None:
    """A file as the first version wrote it."""
    shell = sqlite3.connect(path)
    shell.execute("PRAGMA journal_mode=WAL")
    shell.executescript(MIGRATIONS[0])
    shell.executescript("""
        INSERT INTO layouts VALUES (1, 'pump-1', '["n","m"]');
        INSERT INTO batches VALUES (1, 10, 1, '[1,-1]', NULL, NULL);
        INSERT INTO batches VALUES (2, 20, 1, '[2,-2]', '{"1":"bad/comm"}', 19);
        INSERT INTO spans VALUES (1, 2, 10, 20);
        INSERT INTO cursors VALUES ('cloud', 1);
        INSERT INTO reserve VALUES (1, 2);
        PRAGMA user_version=1;
    """)
    shell.close()


async def test_a_file_of_the_first_version_is_taken_up_with_its_rows_and_cursors(path: Path) -> None:
    version_1(path)
    for _ in range(2):
        async with open_readings(path, LONG_S) as store:
            assert store.trouble is None
            assert store.cursor("cloud") == 1
            rows = await store.read_after(0, 10)
            assert [(row.seq, row.time_ns, row.values, row.source_time_ns) for row in rows[:2]] == [
                (1, 10, (1, -1), None), (2, 20, (2, -2), 19),
            ]  # fmt: skip
            assert rows[1].qualities == ("good", "bad/comm")
            assert len(await store.query("pump-1.n", 0, 30)) == len(rows)
            put(store, len(rows) + 1)
    assert [row.seq for row in rows] == [1, 2, 3]
