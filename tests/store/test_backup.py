"""A state directory as one file, while it is being written, and back again."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from edge.store.backup import back_up
from edge.store.database import StoreError
from edge.store.ledger import Entry, open_ledger
from edge.store.lock import StateBusy, state_lock
from edge.store.readings import open_readings
from edge.store.restore import ENTRIES_JUMP, ROWS_JUMP, restore
from edge.store.state import LEDGER, READINGS, UNFINISHED, refuse_newer_state
from tests.support import no_file_grows


@contextmanager
def writing(state: Path) -> Iterator[None]:
    """Somebody else writes both files without a pause."""
    command = [sys.executable, "-m", "tests.store.backup_writer", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        try:
            yield
        finally:
            process.kill()


async def made(state: Path, rows: int = 10) -> None:
    """A state directory with some rows and entries."""
    async with open_ledger(state / LEDGER) as ledger, open_readings(state / READINGS, 3600) as store:
        for n in range(1, rows + 1):
            store.append("pump-1", ("pressure",), (n,), None, n)
            await ledger.commit([Entry("alarm", "a", n, {"n": n})], {("alarm", "a"): {"n": n}})
        store.advance("cloud", 4)
    (state / "pushes.jsonl").write_text("{}\n")


async def counted(state: Path) -> tuple[list[int], list[int], int]:
    """Times of the rows, numbers in the entries, the uplink's cursor."""
    async with open_ledger(state / LEDGER) as ledger, open_readings(state / READINGS, 3600) as store:
        assert ledger.trouble is None
        assert store.trouble is None
        rows = [row.time_ns for row in await store.read_after(0, 10**6)]
        entries = [entry.body["n"] for _, entry in await ledger.journal(kind="alarm", limit=10**5)]
        return rows, entries, store.cursor("north")


@pytest.mark.timeout(120)
async def test_a_backup_under_full_load_is_both_files_as_they_stood_at_one_moment(tmp_path: Path) -> None:
    sizes = []
    with writing(tmp_path / "state"):
        for number in range(12):
            back_up(tmp_path / "state", tmp_path / f"{number}.tar.zst")
    for number in range(12):
        restore(tmp_path / f"{number}.tar.zst", tmp_path / f"restored-{number}")
        rows, entries, cursor = await counted(tmp_path / f"restored-{number}")
        assert rows == list(range(1, len(rows) + 1))
        assert entries == list(range(1, len(entries) + 1))
        assert len(rows) - len(entries) in (0, 1), "one moment for both"
        assert cursor <= len(rows)
        sizes.append(len(rows))
    assert sizes == sorted(sizes)
    assert sizes[0] >= 100
    assert sizes[-1] > sizes[0]


async def test_after_a_restore_everything_is_there_and_no_number_is_given_out_again(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "b.tar.zst"
    await made(state)
    site = tmp_path / "site.yaml"
    site.write_text("site: {}\n")
    manifest = back_up(state, copy, site="maple", files=[("site.yaml", site)])
    assert manifest.site == "maple"
    assert copy.stat().st_mode & 0o777 == 0o600
    done = restore(copy, tmp_path / "new")
    assert done.aside is None
    assert done.site is not None
    assert (done.site / "site.yaml").read_text() == "site: {}\n"
    assert (tmp_path / "new" / "pushes.jsonl").read_text() == "{}\n"
    async with open_ledger(tmp_path / "new" / LEDGER) as ledger, open_readings(tmp_path / "new" / READINGS) as store:
        assert [row.time_ns for row in await store.read_after(store.cursor("cloud"), 100)] == list(range(5, 11))
        assert store.append("pump-1", ("pressure",), (1,), None, 11) > ROWS_JUMP
        assert store.behind(store.cursor("cloud")) == 7
        assert await ledger.load("alarm") == {"a": {"n": 10}}
        (note,) = await ledger.journal(kind="gateway")
        assert note[1].body == {
            "event": "restored", "backup": manifest.time, "file": "b.tar.zst", "version": manifest.version,
        }  # fmt: skip
        assert note[0] > ENTRIES_JUMP
        assert await ledger.commit([Entry("alarm", "a", 1, {})]) == [note[0] + 1]
    async with open_readings(tmp_path / "new" / READINGS) as store:
        assert store.behind(store.cursor("cloud")) == 7, "the jump of the numbers counts for nothing"


async def test_what_was_there_is_kept_aside_and_a_backup_without_readings_leaves_them(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "b.tar.zst"
    await made(state, 3)
    back_up(state, copy, readings=False)
    await made(state, 5)
    done = restore(copy, state)
    assert done.aside is not None
    assert (await counted(state))[:2] == ([1, 2, 3, 1, 2, 3, 4, 5], [1, 2, 3])
    assert sorted(path.name for path in done.aside.iterdir()) == [LEDGER, "pushes.jsonl"]
    assert not (state / "restoring").exists()


async def test_a_running_daemons_folder_is_refused_and_a_restore_cut_off_is_told_at_the_next_start(
    tmp_path: Path,
) -> None:
    state, copy = tmp_path / "state", tmp_path / "b.tar.zst"
    await made(state)
    back_up(state, copy)
    with state_lock(state), pytest.raises(StateBusy, match=f"in use by process {os.getpid()}"):
        restore(copy, state)
    (state / UNFINISHED).touch()
    with pytest.raises(StoreError, match="left in the middle of a restore; run courtyard restore again"):
        refuse_newer_state(state)
    restore(copy, state)
    refuse_newer_state(state)


def damaged(copy: Path, how: str) -> Path:
    """A backup that is not as it was written."""
    bad = copy.with_name("bad.tar.zst")
    content = copy.read_bytes()
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    if how == "cut":
        bad.write_bytes(content[: len(content) // 2])
    elif how == "bit":
        bad.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif how == "no archive":
        bad.write_bytes(b"nothing of the kind" * 100)
    elif how == "changed":
        bad.write_bytes(zstandard.ZstdCompressor().compress(plain.replace(b"pump-1", b"pump-2")))
    else:
        bad.write_bytes(zstandard.ZstdCompressor().compress(with_another(plain, how)))
    return bad


def with_another(plain: bytes, how: str) -> bytes:
    """The same archive with one more file, or with a manifest of the future."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(plain)) as source, tarfile.open(fileobj=out, mode="w") as target:
        for head in source:
            content = source.extractfile(head)
            assert content is not None
            text = content.read()
            if how == "newer" and head.name == "manifest.json":
                text = json.dumps({**json.loads(text), "format": 99, "version": "9.9.9"}).encode()
                head.size = len(text)
            target.addfile(head, io.BytesIO(text))
        if how == "outside":
            target.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "is no whole backup"), ("bit", "is no whole backup"), ("no archive", "is no whole backup"),
        ("changed", r"is damaged: state/\S+ is not as it was written"), ("outside", "is no name of a file in"),
        ("newer", "needs Courtyard 9.9.9 or newer"),
    ],
)  # fmt: skip
async def test_a_bad_backup_is_refused_before_anything_is_touched(tmp_path: Path, how: str, words: str) -> None:
    state, copy = tmp_path / "state", tmp_path / "b.tar.zst"
    await made(state)
    back_up(state, copy)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    with pytest.raises(StoreError, match=words):
        restore(damaged(copy, how), state)
    assert {path.name: path.read_bytes() for path in state.iterdir() if path.name != "lock"} == {
        name: content for name, content in before.items() if name != "lock"
    }


async def test_a_backup_of_readings_that_were_damaged_brings_the_ledger_back_all_the_same(tmp_path: Path) -> None:
    state, copy, other = tmp_path / "state", tmp_path / "b.tar.zst", tmp_path / "other"
    await made(state)
    shell = sqlite3.connect(state / READINGS)
    (page,) = shell.execute("SELECT rootpage FROM sqlite_master WHERE name = 'chunks'").fetchone()
    (size,) = shell.execute("PRAGMA page_size").fetchone()
    shell.close()
    with (state / READINGS).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    back_up(state, copy)
    done = restore(copy, other)
    (aside,) = other.glob("readings.db.damaged-*")
    assert done.damage is not None
    assert done.damage.endswith(f"set aside as {aside.name}")
    assert not (other / READINGS).exists()
    async with open_ledger(other / LEDGER) as ledger:
        assert ledger.trouble is None
        assert (await ledger.journal(limit=1, newest_first=True))[0][1].body["event"] == "restored"
    async with open_readings(other / READINGS) as store:
        assert store.first_seq > 1 << 30, "no number is given twice"
    with (state / LEDGER).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    back_up(state, copy)
    with pytest.raises(StoreError, match=r"b\.tar\.zst: ledger\.db in it is damaged .*; take another backup"):
        restore(copy, other)


async def test_a_backup_of_a_newer_state_names_itself_and_what_it_needs(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "b.tar.zst"
    await made(state)
    shell = sqlite3.connect(state / LEDGER)
    with shell:
        shell.execute("PRAGMA user_version=99")
        shell.execute("INSERT INTO schemas VALUES (99, '9.9.9')")
    shell.close()
    back_up(state, copy)
    with pytest.raises(StoreError, match=r"b\.tar\.zst is of a newer .*: ledger\.db .* needs Courtyard 9\.9\.9"):
        restore(copy, tmp_path / "other")


async def test_a_backup_that_the_disk_has_no_room_for_changes_nothing_and_says_so(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "b.tar.zst"
    await made(state)
    back_up(state, copy)
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.name != "lock"}
    with no_file_grows(), pytest.raises(StoreError, match=f"does not fit into {state}: .* free some first"):
        restore(copy, state)
    assert {path.name: path.read_bytes() for path in state.iterdir() if path.name != "lock"} == before


async def test_no_backup_holds_those_before_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await made(state)
    (state / "pushes.jsonl").write_text("{}\n")
    back_up(state, state / "monday")
    names = [member.name for member in back_up(state, state / "tuesday").files]
    assert "state/pushes.jsonl" in names
    assert not {"state/monday", "state/tuesday"} & set(names)


async def test_a_backup_that_cannot_be_written_leaves_nothing_half_done(tmp_path: Path) -> None:
    await made(tmp_path / "state")
    with pytest.raises(StoreError, match=r"none/b.tar.zst.part cannot be copied: No such file"):
        back_up(tmp_path / "state", tmp_path / "none" / "b.tar.zst")
    with pytest.raises(StoreError, match=r"there is no ledger.db in"):
        back_up(tmp_path, tmp_path / "b.tar.zst")
    assert not list(tmp_path.glob("*.part"))
