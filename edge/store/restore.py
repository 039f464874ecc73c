"""A backup becomes a state directory again: all of it checked first, what was there kept aside.

What comes in: a file of `backup.back_up`. What goes out: a folder that a daemon goes on from. Numbers of rows and of
journal entries that the lost box may have given out after the backup are never given out again: both counters jump.
The cursors of the uplinks are those of the backup: what the far ends had by then is not sent again, what came
after the backup is gone from here, and what lies between cursor and backup is sent (once more, perhaps).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import zstandard

from edge.store import ledger
from edge.store.backup import FORMAT, MANIFEST, PIECE, SITE, STATE, Manifest, Member, Told
from edge.store.database import StoreError, connect, damaged, set_aside, transaction
from edge.store.lock import state_lock
from edge.store.readings_file import ReadingsFile
from edge.store.state import LEDGER, READINGS, UNFINISHED, refuse_newer_state

ROWS_JUMP = 1 << 30
"""More rows than the lost box has given out since the backup: three weeks at 500 a second."""
ENTRIES_JUMP = 1 << 24
"""More entries of the journal than it has told since then."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LARGEST = 1 << 50
"""A number of bytes that no file of a backup has."""


class Restored(NamedTuple):
    """What was done."""

    manifest: Manifest
    aside: Path | None
    """Where the files lie that were there before; None where there were none."""
    site: Path | None
    """Where the site file and its profiles of then lie."""
    damage: str | None = None
    """What is wrong with the readings in it, which were set aside; None where they are sound."""


def restore(source: Path, state: Path, *, told: Told = lambda done, total: None) -> Restored:
    """Put a backup into `state`.

    Nothing in `state` is touched before the whole backup has been checked. Raises StoreError, also where a daemon
    runs on `state`.
    """
    try:
        with state_lock(state), _scratch(state) as scratch:
            manifest = _unpack(source, scratch, told)
            damage = _check(source, manifest, scratch)
            _continue(scratch / STATE, source, manifest)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            return Restored(manifest, *_exchange(scratch, state, stamp), damage)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StoreError(
                f"{source} does not fit into {state}: {error.strerror}; free some first, then restore again"
            ) from error
        raise StoreError(f"{error.filename or source} cannot be used: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{source} cannot be restored: {error}; take an older backup") from error


@contextmanager
def _scratch(state: Path) -> Iterator[Path]:
    """A folder on the same disk, gone after the block."""
    scratch = state / "restoring"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(source: Path, scratch: Path, told: Told) -> Manifest:
    """Everything into the scratch folder, checked against the manifest at its end."""
    found: dict[str, Member] = {}
    text = b""
    total = source.stat().st_size
    try:
        with (
            source.open("rb") as packed,
            zstandard.ZstdDecompressor().stream_reader(packed) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as tar,
        ):
            for head in tar:
                content = tar.extractfile(head)
                if content is None or head.size > LARGEST:
                    raise ValueError(f"{head.name} in it is no file")
                if head.name == MANIFEST:
                    text = content.read(PIECE)
                    continue
                found[head.name] = _keep(content, head.name, _place(scratch, head.name))
                told(packed.tell(), total)
        if not text:
            raise ValueError("its end is missing")
        manifest = Manifest.from_json(text)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError) as error:
        raise StoreError(f"{source} is no whole backup: {error}; take another one") from error
    _compare(source, manifest, found)
    return manifest


def _place(scratch: Path, name: str) -> Path:
    """Where a member goes: below the scratch folder, whatever it is called."""
    parts = PurePosixPath(name).parts
    if not parts or any(part in ("..", "/") for part in parts) or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file in a backup")
    path = scratch.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _keep(content: Any, name: str, path: Path) -> Member:
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as out:
        while piece := content.read(PIECE):
            digest.update(piece)
            size += len(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return Member(name, size, digest.hexdigest())


def _compare(source: Path, manifest: Manifest, found: dict[str, Member]) -> None:
    if manifest.format > FORMAT:
        raise StoreError(f"{source} has format {manifest.format}: it needs Courtyard {manifest.version} or newer")
    wanted = {member.name: member for member in manifest.files}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise StoreError(f"{source} is damaged: {', '.join(wrong[:5])} is not as it was written; take another backup")


def _check(source: Path, manifest: Manifest, scratch: Path) -> str | None:
    """Whether the databases open here and are sound.

    A card damages readings long before anybody asks for them, and every backup since then has the damage: they are
    set aside, so that the ledger comes back all the same. Returns what is wrong with them.
    """
    state = scratch / STATE
    if not (state / LEDGER).is_file():
        raise StoreError(f"{source} has no {LEDGER}: it is no backup of a state directory")
    try:
        refuse_newer_state(state)
    except StoreError as error:
        needed = str(error).removeprefix(f"{state}/").partition(";")[0]
        raise StoreError(f"{source} is of a newer Courtyard: {needed}; install that") from error
    wrong = {name: found for name in manifest.schemas if (found := _unsound(state / name))}
    if LEDGER in wrong:
        raise StoreError(f"{source}: {LEDGER} in it is damaged ({wrong[LEDGER]}); take another backup")
    if READINGS not in wrong:
        return None
    aside = set_aside(state / READINGS)
    return f"{READINGS} in it is damaged ({wrong[READINGS]}), set aside as {aside.name}"


def _unsound(path: Path) -> str | None:
    """What is wrong with a database; None where it is sound."""
    try:
        with closing(sqlite3.connect(path)) as database:
            verdict = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if not damaged(error):
            raise
        verdict = str(error)
    return None if verdict == "ok" else " ".join(verdict.split())


def _continue(state: Path, source: Path, manifest: Manifest) -> None:
    """Counters jump, cursors do not lie behind the data, and the journal says what was done."""
    note = json.dumps(
        {"event": "restored", "backup": manifest.time, "file": source.name, "version": manifest.version}
    )
    with closing(connect(state / LEDGER, ledger.MIGRATIONS, full_sync=True)) as book, transaction(book):
        (newest,) = book.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
        (given,) = book.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'").fetchone()
        book.execute(
            "INSERT INTO journal (id, kind, subject, time_ns, body) VALUES (?, 'gateway', 'restore', ?, ?)",
            (max(newest, given) + ENTRIES_JUMP, time.time_ns(), note),
        )
    if not (state / READINGS).is_file():
        return
    with closing(ReadingsFile(state / READINGS)) as file:
        file.take_over()
        file.reserve(file.standing().reserved + ROWS_JUMP)


def _exchange(scratch: Path, state: Path, stamp: str) -> tuple[Path | None, Path | None]:
    """The new files take the old ones' places; a daemon that finds this half done refuses to start."""
    fresh = sorted((scratch / STATE).iterdir())
    old = [state / path.name for path in fresh if (state / path.name).exists()]
    logs = [state / f"{path.name}{end}" for path in fresh for end in ("-wal", "-shm")]
    old += [path for path in logs if path.exists() and path not in old]
    marker = state / UNFINISHED
    marker.touch()
    _sync(state)
    aside = state / f"before-restore-{stamp}" if old else None
    if aside is not None:
        aside.mkdir()
        for path in old:
            path.rename(aside / path.name)
    for path in fresh:
        path.rename(state / path.name)
    site = state / f"restored-site-{stamp}" if (scratch / SITE).is_dir() else None
    if site is not None:
        (scratch / SITE).rename(site)
    _give(
        state, [state / "lock", *(state / path.name for path in fresh), *([site, *site.rglob("*")] if site else [])]
    )
    _sync(state)
    marker.unlink()
    _sync(state)
    return aside, site


def _give(state: Path, made: Sequence[Path]) -> None:
    """Files that root has made belong to whom the folder belongs, else the daemon could not open them."""
    owner = state.stat()
    for path in made:
        if path.stat().st_uid != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
