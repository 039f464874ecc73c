"""The log keeps what it was given, gives it to uplinks once each, and survives what disks do."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.store import group_table, layouts, readings_file
from edge.store.readings import ReadingsStore, Row, StoreError, StoreFault, open_readings
from tests.support import eventually

LONG_S = 600.0
"""So long a commit interval that only `flush` commits."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "readings.db"


def put(store: ReadingsStore, number: int, time_ns: int | None = None) -> int:
    """One row whose value is its number."""
    return store.append("pump-1", ("n", "on"), (number, True), None, number if time_ns is None else time_ns)


def numbers(rows: list[Row]) -> list[int]:
    return [value for row in rows for value in row.values[:1] if isinstance(value, int)]


async def test_rows_come_back_with_types_qualities_and_times_from_memory_and_from_the_file(path: Path) -> None:
    values = (True, 7, 7.0, "开", None)
    marks = ("good", "good", "uncertain/stale", "good", "bad/comm")
    async with open_readings(path, LONG_S) as store:
        seq = store.append("pump-1", ("a", "b", "c", "d", "e"), values, marks, 1_000, 900)
        fresh = await store.read_after(0, 10)
    assert fresh == [Row(seq, 1_000, "pump-1", ("a", "b", "c", "d", "e"), values, marks, 900)]
    async with open_readings(path, LONG_S) as store:
        kept = await store.read_after(0, 10)
    assert kept == fresh
    assert [type(value) for value in kept[0].values] == [bool, int, float, str, type(None)]


async def test_an_uplink_reads_on_from_where_it_was_across_file_and_memory(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(10):
            put(store, n)
        store.advance("cloud", 4)
    async with open_readings(path, LONG_S) as store:
        assert store.cursor("cloud") == 4
        assert store.cursor("another") == 0
        assert store.behind(4) == 6
        for n in range(10, 15):
            put(store, n)
        assert store.behind(4) == 11
        assert numbers(await store.read_after(4, 3)) == [4, 5, 6]
        assert numbers(await store.read_after(4, 100)) == list(range(4, 15))
        assert numbers(await store.read_after(12, 100)) == [12, 13, 14]
        assert await store.read_after(15, 100) == []


async def test_a_caught_up_uplink_is_woken_with_the_row_and_does_not_touch_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        monkeypatch.setattr(group_table.GroupTable, "read_after", None)
        waiting = asyncio.create_task(store.wait_after(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        put(store, 1)
        await asyncio.wait_for(waiting, 1)
        assert numbers(await store.read_after(1, 10)) == [1]


async def test_a_cursor_is_never_beyond_what_is_committed(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        await store.flush()
        put(store, 1)
        store.advance("cloud", 2)
        assert cursor_in(path) is None
        await store.flush()
        assert cursor_in(path) == 2
        store.advance("cloud", 99)  # nobody has row 99
        store.advance("cloud", 1)  # and cursors do not go back
        await store.flush()
        assert cursor_in(path) == 2
        store.drop_cursor("cloud")
        await store.flush()
        assert cursor_in(path) is None


def cursor_in(path: Path) -> int | None:
    shell = sqlite3.connect(path)
    try:
        row = shell.execute("SELECT seq FROM cursors WHERE name = 'cloud'").fetchone()
    finally:
        shell.close()
    return row[0] if row else None


async def test_rows_are_committed_by_themselves(path: Path) -> None:
    async with open_readings(path, 0.02) as store:
        put(store, 0)
        await eventually(lambda: store.stats()["committed_seq"] == 1)


async def test_little_is_committed_at_long_intervals_and_much_each_second(path: Path) -> None:
    clock = ManualClock()
    async with open_readings(path, 1.0, 30.0, clock) as store:

        async def commits(seconds: int, rows: int) -> int:
            before = store.stats()["commits"]
            for _ in range(seconds):
                for n in range(rows):
                    put(store, n)
                clock.advance(1.0)
                await eventually(lambda: "store[readings.db]" in clock.sleeping())
            return int(store.stats()["commits"] - before)

        assert await commits(60, 0) == 0
        assert await commits(60, 10) == 6  # 10 values each row, the row itself counted as 8
        assert store.stats()["commit_interval_s"] == pytest.approx(10)
        put(store, 0)
        await commits(31, 0)
        assert store.stats()["waiting_rows"] == 0
        assert store.stats()["commit_interval_s"] > 20
        assert await commits(10, 200) == 10
        assert store.stats()["commit_interval_s"] == pytest.approx(1)


async def test_what_is_appended_while_a_commit_runs_is_in_the_next(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        written = 0
        for n in range(200):
            put(store, n)
            flushing = asyncio.create_task(store.flush())
            await asyncio.sleep(0)
            put(store, 1000 + n)
            await flushing
            written += 2
        await store.flush()
        assert store.stats()["committed_seq"] == written
    async with open_readings(path, LONG_S) as store:
        assert len(await store.read_after(0, 1000)) == written


async def test_a_batch_without_values_is_no_row_and_a_lopsided_one_is_refused(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        assert store.append("pump-1", (), (), None, 0) == 0
        with pytest.raises(ValueError, match="2 points, 1 values"):
            store.append("pump-1", ("a", "b"), (1,), None, 0)
        with pytest.raises(ValueError, match="1 points, 1 values, 2 qualities"):
            store.append("pump-1", ("a",), (1,), ("good", "good"), 0)


async def test_a_stamp_beyond_all_reason_is_no_stamp(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        store.append("bin-1", ("fill",), (1,), None, 5, 253_402_300_799_000_000_000)
        await store.flush()
        assert store.trouble is None
        assert [row.source_time_ns for row in await store.read_after(0, 1)] == [None]


async def test_however_many_sets_of_points_an_equipment_reports_few_are_named(path: Path) -> None:
    names = tuple(f"p{n:02}" for n in range(12))
    chance = random.Random(1)
    given: list[tuple[tuple[str, ...], tuple[int | None, ...], tuple[str, ...] | None]] = []
    async with open_readings(path, LONG_S) as store:
        for n in range(500):
            points = tuple(name for name in names if chance.random() < 0.5) or names
            values = tuple(None if chance.random() < 0.1 else n for _ in points)
            marks = tuple("bad/comm" if value is None else "good" for value in values)
            given.append((points, values, marks if None in values else None))
            store.append("car-1", points, values, marks, n)
            if n % 100 == 0:
                await store.flush()
    async with open_readings(path, LONG_S) as store:
        back = await store.read_after(0, 1000)
    assert [{p: (v, (r.qualities or ())[i : i + 1]) for i, (p, v) in enumerate(zip(r.points, r.values, strict=True))}
            for r in back] == [
        {p: (v, (marks or ())[i : i + 1]) for i, (p, v) in enumerate(zip(points, values, strict=True))}
        for points, values, marks in given
    ]  # fmt: skip
    shell = sqlite3.connect(path)
    assert shell.execute("SELECT count(*) FROM layouts").fetchone()[0] <= layouts.NAMED + len(names)
    shell.close()


# Queries


async def test_a_query_finds_a_span_in_the_file_and_in_memory_at_native_resolution_or_by_steps(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(5000):
            put(store, n)
            store.append("pump-2", ("n",), (-1,), None, n)
            if n % 1000 == 999 and n < 4000:
                await store.flush()
        assert store.stats()["waiting_rows"] == 2000
        found = await store.query("pump-1.n", 2_500, 4_500)
        assert found == [(n, n, "good") for n in range(2500, 4500)]
        assert await store.query("pump-1.n", 2_500, 4_500, limit=3) == found[:3]
        steps = await store.query("pump-1.n", 0, 5_000, every_ns=1000)
        assert steps == [(n, n + 499.5, "good") for n in range(0, 5000, 1000)]
        assert await store.query("pump-1.nothing", 0, 5_000) == []
        assert await store.query("nobody.n", 0, 5_000) == []
        assert await store.query("pump-1.n", -(10**30), 10**30, limit=1) == [(0, 0, "good")]


async def test_a_query_finds_readings_whose_clock_stepped_back(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n, time_ns in enumerate((5_000, 6_000, 1_000, 2_000)):
            put(store, n, time_ns)
            await store.flush()
        assert await store.query("pump-1.n", 1_000, 5_001) == [
            (1_000, 2, "good"),
            (2_000, 3, "good"),
            (5_000, 0, "good"),
        ]


async def test_a_long_query_does_not_hold_up_a_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        released = asyncio.Event()
        loop = asyncio.get_running_loop()
        taken = group_table.GroupTable.readings

        def slow(*arguments: object) -> object:
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10)
            return taken(*arguments)  # type: ignore[arg-type]  # handed through

        monkeypatch.setattr(group_table.GroupTable, "readings", slow)
        asking = asyncio.create_task(store.query("pump-1.n", 0, 10))
        await asyncio.sleep(0)
        await asyncio.wait_for(store.flush(), 5)
        assert not asking.done()
        released.set()
        assert await asking == [(0, 0, "good")]


# Numbers


async def test_numbers_go_on_without_a_gap_after_an_orderly_end(path: Path) -> None:
    for n in range(3):
        async with open_readings(path, LONG_S) as store:
            assert put(store, n) == n + 1
        async with open_readings(path, LONG_S) as store:
            pass


WRITER = """
import asyncio, sys
from pathlib import Path
from edge.store.readings import open_readings

async def main():
    async with open_readings(Path(sys.argv[1]), commit_s=0.005) as store:
        rows = await store.read_after(0, 10**6)
        n = rows[-1].values[0] + 1 if rows else 0
        for turn in range(10_000):
            for _ in range(20):
                seq = store.append("pump-1", ("n",), (n,), None, n)
                n += 1
            store.advance("teller", seq)
            print("given", seq, flush=True)
            if turn % 10 == 9:
                await store.flush()
                print("kept", n - 1, flush=True)
            await asyncio.sleep(0)

asyncio.run(main())
"""


def run_until_killed(path: Path, kept: int) -> tuple[int, int]:
    """A writer, killed after `kept` confirmed commits: (last number given away, last value confirmed)."""
    given = confirmed = -1
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            word, number = line.split()
            if word == "given":
                given = int(number)
            else:
                confirmed, kept = int(number), kept - 1
                if kept == 0:
                    writer.kill()
                    break
        for line in writer.stdout.read().splitlines():
            if line.startswith("given ") and line[6:].isdigit():
                given = int(line[6:])
    return given, confirmed


async def test_kill_9_loses_nothing_committed_doubles_nothing_and_no_number_is_given_twice(path: Path) -> None:
    given = 0
    for kept in (3, 7, 5):
        newest, confirmed = await asyncio.to_thread(run_until_killed, path, kept)
        assert newest > given
        given = newest
        async with open_readings(path, LONG_S) as store:
            rows = await store.read_after(0, 10**6)
            assert numbers(rows) == list(range(len(rows)))
            assert len(rows) > confirmed
            assert [row.seq for row in rows] == sorted({row.seq for row in rows})
            assert store.cursor("teller") <= rows[-1].seq
            assert put(store, len(rows)) > given
            given = store.stats()["last_seq"].__int__()
    assert not list(path.parent.glob("*damaged*"))


async def test_no_uplink_is_given_a_number_that_is_not_reserved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.store.readings.RESERVE", 10)
    async with open_readings(path, LONG_S) as store:
        for n in range(25):
            put(store, n)
        assert numbers(await store.read_after(0, 100)) == list(range(10))
        waiting = asyncio.create_task(store.wait_after(10))
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.flush()
        await asyncio.wait_for(waiting, 1)
        assert numbers(await store.read_after(10, 100)) == list(range(10, 25))


# Disks


def broken(monkeypatch: pytest.MonkeyPatch, error: sqlite3.Error) -> None:
    """Every commit from now on ends as on a broken disk."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(readings_file.ReadingsFile, "commit", fail)


async def test_on_a_full_disk_rows_wait_in_memory_uplinks_go_on_and_all_is_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        with monkeypatch.context() as patch:
            broken(patch, sqlite3.OperationalError("database or disk is full"))
            for n in range(1, 4):
                put(store, n)
                await store.flush()
            assert store.trouble is not None
            assert "cannot be written (database or disk is full): free space on" in store.trouble
            assert "4 batches wait in memory, 0 are lost" in store.trouble
            assert numbers(await store.read_after(0, 10)) == [0, 1, 2, 3]
            store.advance("cloud", 4)
        await store.flush()
        assert store.trouble is None
        assert cursor_in(path) == 4
    assert [r.levelno for r in caplog.records] == [logging.ERROR, logging.WARNING]
    async with open_readings(path, LONG_S) as store:
        assert numbers(await store.read_after(0, 10)) == [0, 1, 2, 3]


async def test_what_waits_in_memory_is_bounded_and_what_goes_is_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.store.readings.WAITING_VALUES", 100)
    broken(monkeypatch, sqlite3.OperationalError("attempt to write a readonly database"))
    async with open_readings(path, LONG_S) as store:
        for n in range(50):
            put(store, n)
        await store.flush()
        assert store.stats()["waiting_rows"] == 10
        assert store.stats()["lost_rows"] == 40
        assert numbers(await store.read_after(0, 100)) == list(range(40, 50))
        monkeypatch.undo()
        await store.flush()
        assert store.stats()["waiting_rows"] == 0
        assert numbers(await store.read_after(0, 100)) == list(range(40, 50))
        assert store.behind(0) == 10, "what is lost waits for no uplink"
        with monkeypatch.context() as patch:
            broken(patch, sqlite3.OperationalError("attempt to write a readonly database"))
            for n in range(50, 100):
                put(store, n)
            await store.flush()
        put(store, 100)
        await store.flush()
        assert store.behind(0) == 10 + 10
        last = store.last_seq
    async with open_readings(path, LONG_S) as store:
        assert store.last_seq == last
        assert store.behind(0) == 10 + 10
        assert numbers(await store.read_after(0, 100)) == [*range(40, 50), *range(91, 101)]


async def test_a_file_that_cannot_be_opened_is_tried_again_and_uplinks_wait_for_their_cursors(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        put(store, 1)
        store.advance("cloud", 1)
    hidden = path.rename(path.with_suffix(".hidden"))
    path.mkdir()
    async with open_readings(path, LONG_S) as store:
        assert store.trouble is not None
        assert "cannot be opened (unable to open database file)" in store.trouble
        put(store, 2)
        assert await store.read_after(store.cursor("cloud"), 10) == []
        assert await store.query("pump-1.n", 0, 10) == [(2, 2, "good")]
        waiting = asyncio.create_task(store.wait_after(0))
        path.rmdir()
        hidden.rename(path)
        await store.flush()
        await asyncio.wait_for(waiting, 1)
        assert store.trouble is None
        assert store.cursor("cloud") == 1
        assert numbers(await store.read_after(1, 10)) == [1, 2]
    async with open_readings(path, LONG_S) as store:
        assert numbers(await store.read_after(0, 10)) == [0, 1, 2]


async def test_a_file_that_is_no_database_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"PNG or whatever" * 1000)
    async with open_readings(path, LONG_S) as store:
        assert put(store, 0) > 1 << 30
        await store.flush()
        assert store.trouble is not None
        assert "readings.db was damaged (file is not a database), set aside as readings.db.damaged-" in store.trouble
        assert [r.levelno for r in caplog.records] == [logging.ERROR]
        assert numbers(await store.read_after(0, 10)) == [0]
    assert [each.read_bytes()[:3] for each in path.parent.glob("*.damaged-*")] == [b"PNG"]


@pytest.mark.parametrize("damage", ["half of it", "all of it", "set aside and then a kill"])
async def test_numbers_that_a_damaged_file_gave_away_are_not_given_again(path: Path, damage: str) -> None:
    """Far ends tell by the number (webhook: the idempotency key) what they have had."""
    async with open_readings(path, LONG_S) as store:
        for n in range(5000):
            put(store, n)
        given = store.last_seq
    if damage == "half of it":
        scribble(path)
    elif damage == "all of it":
        path.write_bytes(b"PNG or whatever" * 1000)
    else:
        path.rename(path.with_name("readings.db.damaged-20261123T000000Z"))
    async with open_readings(path, LONG_S) as store:
        assert put(store, 0) == store.first_seq > given
        assert store.behind(0) == 1
        await store.flush()
        assert [row.seq for row in await store.read_after(store.cursor("new"), 10)] == [store.first_seq]
        last = store.last_seq
    async with open_readings(path, LONG_S) as store:
        assert put(store, 1) == last + 1, "and so it goes on"
        assert store.behind(0) == 2


def scribble(path: Path) -> None:
    """Spoil everything behind the first page."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


async def test_damage_that_a_read_finds_sets_the_file_aside_once_and_the_uplinks_go_on(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(5000):
            put(store, n)
    async with open_readings(path, LONG_S) as store:
        fresh = [put(store, n) for n in range(5000, 5003)]
        scribble(path)
        both = await asyncio.gather(store.read_after(0, 10), store.read_after(0, 10))
        assert [numbers(rows) for rows in both] == [[5000, 5001, 5002]] * 2
        assert store.cursor("new") == fresh[0] - 1
        assert len(list(path.parent.glob("readings.db.damaged-*[0-9Z]"))) == 1
        assert put(store, 5003) == fresh[-1] + 1
        await store.flush()
        assert await store.query("pump-1.n", 0, 10**9) == [(n, n, "good") for n in range(5000, 5004)]
    async with open_readings(path, LONG_S) as store:
        assert store.trouble is None
        assert numbers(await store.read_after(0, 10)) == [5000, 5001, 5002, 5003]


async def test_damage_that_a_commit_finds_costs_no_row_that_is_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        await store.flush()
        put(store, 1)
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        taken, broke = readings_file.ReadingsFile.commit, list[bool]()

        def once(self: readings_file.ReadingsFile, *arguments: object) -> None:
            if not broke:
                broke.append(True)
                raise error
            taken(self, *arguments)  # type: ignore[arg-type]  # handed through

        monkeypatch.setattr(readings_file.ReadingsFile, "commit", once)
        await store.flush()
        assert store.trouble is not None
        assert store.stats()["waiting_rows"] == 0
    async with open_readings(path, LONG_S) as store:
        assert numbers(await store.read_after(0, 10)) == [0, 1]


async def test_a_log_of_a_newer_program_is_left_alone(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
    shell = sqlite3.connect(path)
    shell.execute("PRAGMA user_version=9")
    shell.close()
    with pytest.raises(StoreError, match=r"has schema 9, .* it needs a newer Courtyard; install that"):
        async with open_readings(path, LONG_S):
            pass
    assert path.exists()


async def test_a_fault_of_the_store_itself_is_fatal_for_whoever_appends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_readings(path, 0.01) as store:
        broken(monkeypatch, sqlite3.ProgrammingError("a mistake of ours"))
        put(store, 0)
        await eventually(lambda: store._fault)
        with pytest.raises(StoreFault, match="is no longer written: a mistake of ours"):
            put(store, 1)
        monkeypatch.undo()


async def test_a_statement_that_is_cancelled_while_waiting_is_done_all_the_same(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        put(store, 0)
        flushing = asyncio.create_task(store.flush())
        await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait([flushing])
        await eventually(lambda: store.stats()["committed_seq"] == 1)
