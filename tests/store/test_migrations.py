"""A state directory of every released Courtyard is taken forward whole; one of a newer is left alone."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from drivers.point import Value
from edge import __version__
from edge.store import ledger, readings_file
from edge.store.backup import back_up
from edge.store.database import StoreError, connect, migrate
from edge.store.ledger import open_ledger
from edge.store.reader import open_reader
from edge.store.readings import ReadingsStore, open_readings
from edge.store.restore import restore
from edge.store.state import refuse_newer_state

RELEASED = Path(__file__).parent / "released"
"""What released programs wrote, as SQL: one file for each schema of each database."""
T = 1_772_445_600_000_000_000


def released(name: str, folder: Path) -> list[Path]:
    """Every released schema of one database, as a database."""
    made = []
    for source in sorted(RELEASED.glob(f"{name}-*.sql")):
        path = folder / source.stem / f"{name}.db"
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as database:
            database.executescript(source.read_text())
        made.append(path)
    assert made
    return made


def schema(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def tables(path: Path) -> set[str]:
    """The definitions in a file; a database made by steps has the same as a new one."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'schemas'"
        ).fetchall()
    return {re.sub(r"\s+", " ", sql).strip() for (sql,) in found}


async def test_the_ledger_of_every_release_is_taken_forward_whole(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "new.db"):
        pass
    for path in released("ledger", tmp_path):
        async with open_ledger(path) as book:
            rows = await book.journal()
            assert [(seq, row.kind, row.subject, row.time_ns) for seq, row in rows] == [
                (1, "alarm", "pump-1.dry", T), (2, "order", "WO-000001", T + 10**9),
                (3, "push", "pump-1.dry", T + 2 * 10**9),
            ]  # fmt: skip
            assert rows[2][1].body == {"ok": True, "channel": "desk's robot", "text": "line 1\nline 2; end"}
            assert (await book.load("alarm"))["pump-1.dry"] == {"state": "unacknowledged", "occurrence": 1}
            assert await book.load("meter") == {"pump-1.run_hours": {"value": 1999.9}}
            assert [seq for seq, _ in await book.journal(from_ns=T + 10**9, to_ns=T + 2 * 10**9)] == [2]
            assert await book.commit([rows[0][1]]) == [4], "numbers are not given out again"
        assert schema(path) == len(ledger.MIGRATIONS)
        assert tables(path) == tables(tmp_path / "new.db")


async def test_the_readings_of_every_release_are_taken_forward_whole(tmp_path: Path) -> None:
    async with open_readings(tmp_path / "new.db"):
        pass
    for path in released("readings", tmp_path):
        async with open_readings(path) as store:
            if path.parent.name == "readings-1":  # what the later one holds is told in test_released.py
                await first_readings_are_whole(store)
            assert store.trouble is None
        assert schema(path) == len(readings_file.MIGRATIONS)
        assert tables(path) == tables(tmp_path / "new.db")


async def first_readings_are_whole(store: ReadingsStore) -> None:
    rows = await store.read_after(0, 100)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[0].values == (0.25, True)
    assert rows[0].source_time_ns == T - 5
    assert rows[5].qualities == ("bad/comm",)
    assert rows[6].qualities == ("good", "uncertain/stale")
    wanted: list[tuple[int, Value, str]] = [(T + 11 * 10**9, "满; 'x'", "uncertain/stale")]
    assert await store.query("bin-1.label", T, T + 60 * 10**9) == wanted
    assert store.cursor("cloud") == 4
    assert store.append("pump-1", ("running",), (True,), None, T + 20 * 10**9) == 8


def test_every_step_of_a_migration_is_done_or_none(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connect(path, ["CREATE TABLE a (n);"], full_sync=True).close()
    steps = ["CREATE TABLE a (n);", "CREATE TABLE b (n);\nINSERT INTO b VALUES ('x;y');", "CREATE TABLE a (n);"]
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        connect(path, steps, full_sync=True)
    assert schema(path) == 1
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master WHERE name = 'b'").fetchall() == []


def test_a_file_names_the_program_that_each_step_needs(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connect(path, ["CREATE TABLE a (n);"], full_sync=True).close()
    with closing(connect(path, ["CREATE TABLE a (n);", "CREATE TABLE b (n);"], full_sync=True)) as database:
        migrate(database, ["CREATE TABLE a (n);", "CREATE TABLE b (n);"])
        assert database.execute("SELECT * FROM schemas").fetchall() == [(1, __version__), (2, __version__)]


@pytest.mark.parametrize("name", ["ledger", "readings"])
def test_a_state_directory_of_a_newer_program_is_refused_by_name_before_anything_is_touched(
    tmp_path: Path, name: str
) -> None:
    for each in ("ledger", "readings"):
        (old,) = [path for path in released(each, tmp_path) if path.parent.name.endswith("-1")]
        old.rename(tmp_path / f"{each}.db")
    with closing(sqlite3.connect(tmp_path / f"{name}.db")) as database:
        database.executescript(
            "CREATE TABLE IF NOT EXISTS schemas (schema INTEGER PRIMARY KEY, version TEXT NOT NULL);"
            "INSERT INTO schemas VALUES (99, '3.1.4'); PRAGMA user_version=99;"
        )
    with pytest.raises(
        StoreError, match=rf"{name}\.db has schema 99, .* it needs Courtyard 3\.1\.4 or newer; install that"
    ):
        refuse_newer_state(tmp_path)
    other = "readings" if name == "ledger" else "ledger"
    assert schema(tmp_path / f"{other}.db") == 1


def test_a_backup_of_a_released_state_has_all_its_readings_as_soon_as_it_is_restored(tmp_path: Path) -> None:
    (path,) = [each for each in released("readings", tmp_path) if each.parent.name == "readings-1"]
    (book,) = [each for each in released("ledger", tmp_path) if each.parent.name == "ledger-1"]
    book.rename(path.parent / "ledger.db")
    back_up(path.parent, tmp_path / "b.tar.zst")
    restore(tmp_path / "b.tar.zst", tmp_path / "new")
    with open_reader(tmp_path / "new" / "readings.db") as reader:
        assert sum(map(len, reader.pages(None, -(2**62), 2**62))) > 10


def test_rows_that_are_not_taken_forward_yet_are_told_not_left_out(tmp_path: Path) -> None:
    (path,) = [each for each in released("readings", tmp_path) if each.parent.name == "readings-1"]
    connect(path, readings_file.MIGRATIONS, full_sync=False).close()  # and then the daemon was killed
    with pytest.raises(StoreError, match="rows of an older Courtyard yet: start the daemon"), open_reader(path):
        pass
