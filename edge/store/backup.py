"""A state directory as one file, made while the daemon writes, or without a daemon.

What comes in: the directory, and further files to take along (the site file, its profiles). What goes out: a tar
archive, compressed by zstandard, whose last member is a manifest with the checksum of every other one. Both databases
are taken as they stood at one moment, without a second copy on the card: a read transaction on each holds that moment
(SQLite then folds nothing newer into the file and begins no new log), the logs are read at once, and then the files
at leisure. A page that was half written while we read it stands in the log as well. Of what is being written nothing
is held up; the logs grow a little for as long as it lasts.

This is for a process of its own, never the daemon's: a process that closes a file gives up all its locks on it, those
of SQLite in the same process too.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import zstandard

from edge import __version__
from edge.store.database import StoreError, open_reading, remedy, schema_of
from edge.store.state import LEDGER, READINGS

FORMAT = 1
MANIFEST = "manifest.json"
STATE, SITE = "state", "site"
"""The folders of the archive."""
PIECE = 1 << 20
LEVEL = 3
"""Of the compression: what a slow core does at the speed of a card."""
MOMENTS = 100
"""How often both logs are tried to be had at one moment; a commit in between costs one try."""
IN_MEMORY = 16 << 20
"""Logs up to this size wait in memory, greater ones in a temporary file."""
LEFT_OUT = ("-wal", "-shm", "-journal", ".part")
Told = Callable[[int, int], None]
"""Is called with bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    format: int
    version: str
    """The Courtyard that made it."""
    time: str
    site: str
    schemas: dict[str, int]
    files: tuple[Member, ...]

    def to_json(self) -> bytes:
        """As it stands in the archive."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Raises ValueError where it is none."""
        try:
            body: dict[str, Any] = json.loads(text)
            body["files"] = tuple(Member(**each) for each in body["files"])
            return cls(**body)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"its manifest cannot be read: {error}") from error


def back_up(
    state: Path,
    target: Path,
    *,
    site: str = "",
    files: Sequence[tuple[str, Path]] = (),
    readings: bool = True,
    told: Told = lambda done, total: None,
) -> Manifest:
    """Write the state directory to `target`, which appears at once when it is whole, readable for us only.

    `files` are further ones with their names in the archive; without `readings` their log is left out. Raises
    StoreError.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as out:
                manifest = _write(out, state, site, files, readings, told)
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
            _sync_folder(target.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{error.filename or target} cannot be copied: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{state} cannot be copied: {error}; {remedy(error, state / LEDGER)}") from error
    return manifest


def _write(
    out: BinaryIO, state: Path, site: str, files: Sequence[tuple[str, Path]], readings: bool, told: Told
) -> Manifest:
    names = (LEDGER, READINGS) if readings else (LEDGER,)
    with ExitStack() as stack:
        databases = {name: state / name for name in names if (state / name).is_file()}
        if not databases:
            raise StoreError(f"there is no {LEDGER} in {state}; name the state directory with --state")
        # Opened first, so closed last: closing them gives up the locks of the connections.
        bodies = {name: stack.enter_context(path.open("rb")) for name, path in databases.items()}
        schemas, logs = _pin(stack, databases)
        sources: list[tuple[str, Path | IO[bytes]]] = []
        for name in databases:
            sources += [(f"{STATE}/{name}", bodies[name]), (f"{STATE}/{name}-wal", logs[name])]
        sources += [(f"{STATE}/{path.name}", path) for path in others(state)]
        sources += [(f"{SITE}/{name}", path) for name, path in files]
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        with compressor.stream_writer(out, closefd=False) as packed, _tar(packed) as tar:
            members = tuple(_put(tar, sources, told))
            made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            manifest = Manifest(FORMAT, __version__, made, site, schemas, members)
            tar.addfile(_head(MANIFEST, len(text := manifest.to_json())), io.BytesIO(text))
        return manifest


def others(state: Path) -> list[Path]:
    """Files of a state directory besides the databases: pushes, for example.

    No backups that somebody has put there: each would hold all those before it.
    """
    found = (path for path in state.iterdir() if path.is_file() and path.name not in (LEDGER, READINGS, "lock"))
    wanted = (path for path in found if not path.name.endswith(LEFT_OUT) and ".damaged-" not in path.name)
    return sorted(path for path in wanted if not _is_packed(path))


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(zstandard.FRAME_HEADER)) == zstandard.FRAME_HEADER


def _pin(stack: ExitStack, databases: dict[str, Path]) -> tuple[dict[str, int], dict[str, IO[bytes]]]:
    """Hold all databases at one moment for as long as `stack` is open; returns their schemas and their logs."""
    connections = {name: stack.enter_context(closing(open_reading(path))) for name, path in databases.items()}
    watchers = {name: stack.enter_context(closing(open_reading(path))) for name, path in databases.items()}
    for _ in range(MOMENTS):
        for connection in connections.values():
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # now the transaction has begun
        before = _versions(watchers)
        logs = {name: _log_of(path) for name, path in databases.items()}
        if _versions(watchers) == before:
            for log in logs.values():
                stack.enter_context(closing(log))
            return {name: schema_of(connection) for name, connection in connections.items()}, logs
        for name, connection in connections.items():
            connection.execute("COMMIT")
            logs[name].close()
        time.sleep(0.01)
    raise StoreError("the daemon writes without a pause: no moment could be had; try again when it has less to do")


def _versions(watchers: dict[str, sqlite3.Connection]) -> list[int]:
    """Changes with every commit of anybody else."""
    return [watcher.execute("PRAGMA data_version").fetchone()[0] for watcher in watchers.values()]


def _log_of(path: Path) -> IO[bytes]:
    """What stands in the write-ahead log now."""
    copy = cast(IO[bytes], tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115  # closed by who asked
    log = path.with_name(f"{path.name}-wal")
    if log.is_file():
        with log.open("rb") as source:
            while piece := source.read(PIECE):
                copy.write(piece)
    copy.seek(0)
    return copy


def _put(tar: tarfile.TarFile, sources: Sequence[tuple[str, Path | IO[bytes]]], told: Told) -> Iterator[Member]:
    """Copy files into the archive, piece by piece."""
    total = sum(_size(source) for _, source in sources)
    done = 0
    for name, source in sources:
        size = _size(source)
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            watched = _Watched(file, size, lambda count, done=done: told(done + count, total))  # type: ignore[misc]  # a closure
            tar.addfile(_head(name, size), cast(IO[bytes], watched))
        done += size
        told(done, total)
        yield Member(name, size, watched.digest.hexdigest())


def _size(source: Path | IO[bytes]) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    at = source.seek(0, os.SEEK_END)
    source.seek(0)
    return at


class _Watched:
    """A file of a fixed size that is read once, hashed on the way. What is missing at its end is nought."""

    def __init__(self, file: IO[bytes], size: int, told: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._left = size
        self._size = size
        self._told = told

    def read(self, count: int) -> bytes:
        """The next bytes."""
        piece = self._file.read(min(count, self._left))
        piece = piece.ljust(min(count, self._left), b"\0")
        self.digest.update(piece)
        self._left -= len(piece)
        self._told(self._size - self._left)
        return piece


def _tar(packed: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT)


def _head(name: str, size: int) -> tarfile.TarInfo:
    head = tarfile.TarInfo(name)
    head.size, head.mode, head.mtime = size, 0o600, int(time.time())
    return head


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
