"""What happened is on the disk before anyone is told, together with the state that it left."""

from __future__ import annotations

import asyncio
import errno
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge.store import ledger as module
from edge.store import salvage
from edge.store.database import set_aside
from edge.store.ledger import Entry, Ledger, StoreError, open_ledger
from edge.store.salvage import JUMP

RAISED = Entry("alarm", "pump-1.dry", 100, {"event": "raised", "name": {"zh": "缺水", "en": "Dry"}})
CLEARED = Entry("alarm", "pump-1.dry", 200, {"event": "cleared"})
OPENED = Entry("order", "WO-000001", 300, {"event": "opened"})

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from edge.store.ledger import Entry, open_ledger

async def main():
    async with open_ledger(Path(sys.argv[1])) as ledger:
        for n in range(20):
            await ledger.commit([Entry("push", str(n), n, {"n": n})], {("push", str(n)): {"n": n}})
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


async def test_entries_and_state_are_there_after_a_restart(path: Path) -> None:
    async with open_ledger(path) as ledger:
        assert await ledger.commit([RAISED, CLEARED], {("alarm", "pump-1.dry"): {"state": "cleared"}}) == [1, 2]
    async with open_ledger(path) as ledger:
        assert await ledger.commit([OPENED]) == [3]
        assert await ledger.load("alarm") == {"pump-1.dry": {"state": "cleared"}}
        assert await ledger.journal() == [(1, RAISED), (2, CLEARED), (3, OPENED)]
        assert ledger.trouble is None


async def test_the_journal_is_asked_by_kind_subject_place_and_from_the_end(path: Path) -> None:
    async with open_ledger(path) as ledger:
        await ledger.commit([RAISED, OPENED, CLEARED])
        assert await ledger.journal(kind="order") == [(2, OPENED)]
        assert await ledger.journal(subject="pump-1.dry", after=1) == [(3, CLEARED)]
        assert await ledger.journal(limit=1, newest_first=True) == [(3, CLEARED)]
        assert await ledger.journal(after=10**30, limit=10**30) == []


async def test_the_journal_is_asked_by_time(path: Path) -> None:
    async with open_ledger(path) as ledger:
        await ledger.commit([RAISED, OPENED, CLEARED])  # at 100, 300, 200
        assert await ledger.journal(from_ns=150) == [(2, OPENED), (3, CLEARED)]
        assert await ledger.journal(from_ns=100, to_ns=200) == [(1, RAISED)]
        assert await ledger.journal(kind="alarm", from_ns=-(10**30), to_ns=10**30, after=1) == [(3, CLEARED)]
        assert await ledger.journal(kind="order", from_ns=301) == []


async def test_old_entries_go_by_age_but_not_those_of_what_is_open(path: Path) -> None:
    async with open_ledger(path) as ledger:
        old = [Entry("alarm", f"bin-{n % 3}.full", n, {}) for n in range(2500)]
        await ledger.commit([*old, OPENED, Entry("push", "x", 5000, {})])
        assert await ledger.prune(2400, {"bin-1.full", "WO-000001"}) == 1600
        left = await ledger.journal(limit=10_000)
        assert len(left) == 902
        assert {entry.subject for _, entry in left if entry.time_ns < 2400} == {"bin-1.full", "WO-000001"}
        assert await ledger.prune(2400, set()) == 801
        assert await ledger.commit([RAISED]) == [2503], "numbers go on where they were"


async def test_state_is_replaced_and_deleted(path: Path) -> None:
    async with open_ledger(path) as ledger:
        await ledger.commit([], {("alarm", "a"): {"n": 1}, ("alarm", "b"): {"n": 1}})
        await ledger.commit([], {("alarm", "a"): None, ("alarm", "b"): {"n": 2}})
        assert await ledger.load("alarm") == {"b": {"n": 2}}


async def test_of_a_commit_that_fails_nothing_is_written(path: Path) -> None:
    async with open_ledger(path) as ledger:
        with pytest.raises(TypeError):
            await ledger.commit([RAISED], {("alarm", "a"): {"n": object()}})
        with sqlite3.connect(path) as shell:
            shell.execute("CREATE TRIGGER full BEFORE INSERT ON state BEGIN SELECT raise(ABORT, 'x'); END")
        shell.close()
        with pytest.raises(sqlite3.IntegrityError):
            await ledger.commit([RAISED], {("alarm", "a"): {"n": 1}})
        assert await ledger.journal() == []


async def test_a_full_disk_is_told_with_the_file(path: Path) -> None:
    async with open_ledger(path) as ledger:
        await ledger._thread.run(lambda: ledger._open().execute("PRAGMA max_page_count=1"))
        with pytest.raises(
            StoreError, match=r"ledger.db cannot be written: database or disk is full; check the disk"
        ):
            await ledger.commit([Entry("push", "p", 1, {"text": "x" * 100_000})])
        await ledger._thread.run(lambda: ledger._open().execute("PRAGMA max_page_count=100000"))
        assert await ledger.commit([RAISED]) == [1]


async def test_a_text_with_half_a_character_is_kept_without_it(path: Path) -> None:
    async with open_ledger(path) as ledger:
        await ledger.commit([Entry("command", "x", 1, {"who": "a\ud800b", "n": 2**80})])
        assert (await ledger.journal())[0][1].body == {"who": "a?b", "n": 2**80}


async def test_a_file_that_is_no_database_is_set_aside_and_a_new_one_begun(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    async with open_ledger(path) as ledger:
        assert ledger.trouble is not None
        assert "was damaged (file is not a database), set aside as ledger.db.damaged-" in ledger.trouble
        assert await ledger.commit([RAISED]) == [JUMP + 1]  # no number that may have been told before
    assert len(list(path.parent.glob("ledger.db.damaged-*"))) == 1


async def filled(path: Path) -> None:
    async with open_ledger(path) as ledger:
        for n in range(10):
            await ledger.commit(
                [Entry("alarm", f"pump-{n}.{k}", n, {"text": "字" * 30}) for k in range(100)],
                {("meter", f"pump-{n}.{k}"): {"value": k, "text": "x" * 60} for k in range(20)},
            )


def lost_page(path: Path, name: str, number: int | None = None) -> None:
    """The root page of a table or an index is nought, or another page of the file."""
    shell = sqlite3.connect(path)
    (root,) = shell.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    (size,) = shell.execute("PRAGMA page_size").fetchone()
    shell.close()
    with path.open("r+b") as file:
        file.seek(((number or root) - 1) * size)
        file.write(bytes(size))


@pytest.mark.parametrize("index", ["journal_by_kind", "journal_by_subject", "journal_by_time"])
async def test_a_ledger_whose_index_is_lost_goes_on_with_all_that_stood_in_it(path: Path, index: str) -> None:
    await filled(path)
    lost_page(path, index)
    async with open_ledger(path) as ledger:
        assert "a new one was begun with 1000 entries and 200 states of it" in str(ledger.trouble)
        assert await ledger.commit([RAISED], {("meter", "new"): {}}) == [1000 + JUMP + 1]
        assert len(await ledger.load("meter")) == 201
        found = await ledger.journal(kind="alarm", limit=2000)
        assert [number for number, _ in found[:1000]] == list(range(1, 1001))
    async with open_ledger(path) as ledger:
        assert ledger.trouble is None


@pytest.mark.parametrize("seed", range(12))
async def test_a_lost_page_of_the_journal_costs_no_state_and_one_of_the_states_no_entry(
    path: Path, seed: int
) -> None:
    await filled(path)
    pages = path.stat().st_size // 4096
    lost_page(path, "journal", random.Random(seed).randrange(3, pages))
    async with open_ledger(path) as ledger:
        entries, meters = await ledger.journal(limit=2000), await ledger.load("meter")
        assert await ledger.commit([RAISED], {("meter", "new"): {}})
    assert len(entries) == 1000 or len(meters) == 200  # a page belongs to one of them


async def test_a_ledger_that_is_damaged_while_it_is_open_loses_no_entry_that_is_written(path: Path) -> None:
    await filled(path)
    async with open_ledger(path) as ledger:
        lost_page(path, "journal_by_subject")
        await ledger._thread.run(ledger._close)  # what it had in memory is gone
        (number,) = await ledger.commit([RAISED], {("meter", "new"): {}})
        assert "a new one was begun with 1000 entries and 200 states of it" in str(ledger.trouble)
        assert number == 1000 + JUMP + 1
        assert len(await ledger.journal(limit=2000)) == 1001


class Killed(BaseException):
    """As kill -9: nothing is tidied up behind it."""


@pytest.mark.parametrize(
    "moment", ["nothing taken over", "some taken over", "before the file is set aside", "after", "before the end"]
)
async def test_a_kill_at_any_moment_while_a_damaged_ledger_is_replaced_loses_nothing_that_could_be_read(
    path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path)
    lost_page(path, "journal_by_subject")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "nothing taken over":
            patch.setattr(module, "take_over", killed)
        elif moment == "some taken over":
            pages = iter(range(3))
            put, kill = salvage._put, killed
            patch.setattr(salvage, "TOGETHER", 100)
            patch.setattr(salvage, "_put", lambda *each: put(*each) if next(pages, 9) < 2 else kill())
        elif moment == "before the file is set aside":
            patch.setattr(module, "set_aside", killed)
        elif moment == "after":
            patch.setattr(module, "set_aside", lambda each: killed(set_aside(each)))
        else:
            patch.setattr(Path, "replace", killed)
        ledger = Ledger(path)
        with pytest.raises(Killed):
            ledger._open_or_begin_anew()
        ledger._close()
        await ledger._thread.close()
    async with open_ledger(path) as ledger:
        assert len(await ledger.journal(limit=2000)) == 1000
        assert len(await ledger.load("meter")) == 200
        assert await ledger.commit([RAISED]) == [1000 + JUMP + 1]
    assert len(list(path.parent.glob("ledger.db.damaged-*[0-9Z]"))) == 1
    assert not list(path.parent.glob("*.part*"))


async def test_what_is_no_json_any_more_is_left_behind(path: Path) -> None:
    await filled(path)
    shell = sqlite3.connect(path)
    with shell:
        shell.execute("UPDATE state SET body = substr(body, 3) WHERE key = 'pump-1.1'")
        shell.execute("UPDATE journal SET body = substr(body, 3) WHERE id = 7")
    shell.close()
    lost_page(path, "journal_by_kind")
    async with open_ledger(path) as ledger:
        assert "begun with 999 entries and 199 states" in str(ledger.trouble)
        assert len(await ledger.load("meter")) == 199


@pytest.mark.parametrize("rotten", ["x'7b226e223a'", "x'7b226e223aff7d'", "'[1]'", "x'c3'", "NULL || 'x'"])
async def test_a_state_or_an_entry_that_has_rotted_costs_itself_only_and_is_told(path: Path, rotten: str) -> None:
    await filled(path)
    shell = sqlite3.connect(path)
    with shell:
        changed = f"SET body = coalesce(CAST({rotten} AS TEXT), 7)"  # as no check of SQLite's own finds it
        shell.execute(f"UPDATE journal {changed} WHERE id IN (7, 500)")
    shell.close()
    async with open_ledger(path) as ledger:
        assert ledger.trouble is None
        assert len(await ledger.journal(limit=2000)) == 998
        assert ledger.trouble == "entry 7 of the journal in ledger.db cannot be read any more, and is left out"
    shell = sqlite3.connect(path)
    with shell:
        shell.execute(f"UPDATE state {changed} WHERE key IN ('pump-1.1', 'pump-7.15')")
    shell.close()
    async with open_ledger(path) as ledger:
        assert "damaged (the state of meter pump-1.1 cannot be read), set aside" in str(ledger.trouble)
        assert "begun with 998 entries and 198 states" in str(ledger.trouble)
        assert len(await ledger.load("meter")) == 198


async def test_a_ledger_of_a_newer_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    shell = sqlite3.connect(path)
    shell.execute("PRAGMA user_version=7")
    shell.close()
    with pytest.raises(StoreError, match=r"has schema 7, this Courtyard .* it needs a newer Courtyard"):
        async with open_ledger(path):
            pass


async def test_a_ledger_that_cannot_be_opened_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"ledger\.db cannot be opened: unable to open database file"):
        async with open_ledger(path):
            pass


async def test_kill_9_loses_no_entry_that_was_confirmed(path: Path) -> None:
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, str(path)], check=False)
    async with open_ledger(path) as ledger:
        assert [entry.body["n"] for _, entry in await ledger.journal()] == list(range(20))
        assert len(await ledger.load("push")) == 20


async def test_a_ledger_that_is_damaged_on_a_disk_that_has_become_read_only_is_trouble_of_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path)
    async with open_ledger(path) as ledger:
        lost_page(path, "journal_by_subject")
        await ledger._thread.run(ledger._close)

        def read_only(*_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        with monkeypatch.context() as patch:
            patch.setattr(module, "set_aside", read_only)
            with pytest.raises(StoreError, match="cannot be set aside: Read-only file system; check the disk under"):
                await ledger.commit([RAISED])
        assert await ledger.commit([RAISED]) == [1000 + JUMP + 1]
        assert len(await ledger.journal(limit=2000)) == 1001
