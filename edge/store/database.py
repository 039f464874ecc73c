"""One SQLite file, one thread: how everything in the store reaches its database.

What comes in: closures that use a connection. What goes out: futures with their results. The closures of one
thread run one after the other in the order in which they were given, so that a connection is never shared,
and the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from edge import __version__
from edge.supervise import Fatal

T = TypeVar("T")

BUSY_S = 5.0
"""How long a statement waits for somebody else's lock on the file (a backup, the `sqlite3` shell)."""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NOT_OURS = ("no such table", "no such column", "malformed database schema", "Could not decode to UTF-8")
"""A file that says that it has our schema, and has not: pages of it were lost or overwritten."""


class StoreError(Exception):
    """A database cannot be opened, read or written. The message names the file and what to do."""


class StoreFault(Fatal):
    """The store itself has failed, not the disk under it: the process must start again."""


class DatabaseThread:
    """A thread that runs closures in order, for as long as it is not closed."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do `work` in the thread. What was given is done even where nobody waits for it any more."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put((work, done))
        return done

    async def close(self) -> None:
        """End the thread after all that was given to it."""
        last = self.run(lambda: None)
        self._work.put(None)
        await last
        self._thread.join()

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            work, done = job
            result, error = None, None
            try:
                result = work()
            except Exception as caught:  # handed on to whoever waits
                error = caught
            with suppress(RuntimeError):  # the loop has gone: nobody waits
                done.get_loop().call_soon_threadsafe(_settle, done, result, error)
            del work, done, job, result, error


def _settle(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)


def connect(path: Path, migrations: Sequence[str], *, full_sync: bool, page_bytes: int = 4096) -> sqlite3.Connection:
    """Open a database in WAL mode and bring it to our schema. To be called in the thread that will use it.

    `migrations[n]` is the SQL that takes schema n to n + 1, the first one an empty file to schema 1; so the
    newest schema is their number. All steps that a file lacks are done in one transaction.

    Raises StoreError where the file is of a newer program, sqlite3.DatabaseError where it is damaged or the
    disk does not let us.
    """
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        refuse_newer(connection, path, len(migrations))
        connection.execute(f"PRAGMA page_size={page_bytes:d}")  # of a new file; an old one keeps its own
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if full_sync else 'NORMAL'}")
        connection.execute("PRAGMA journal_size_limit=8388608")
        connection.execute("PRAGMA secure_delete=OFF")  # Debian's default would write all that is deleted once more
        migrate(connection, migrations)
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes what it has found
        connection.close()
        raise damage("its schema cannot be read") from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reading(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """Open a database that is only looked into, beside a running daemon or without one; nothing in it is changed.

    Raises StoreError where it is not there or of another schema than ours, sqlite3.DatabaseError where it is damaged.
    """
    connection = open_reading(path)
    try:
        refuse_newer(connection, path, len(migrations))
        if (found := schema_of(connection)) < len(migrations):
            raise StoreError(
                f"{path} has schema {found}, this Courtyard {__version__} reads {len(migrations)}: "
                "start the daemon on it once, which takes it forward"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def open_reading(path: Path) -> sqlite3.Connection:
    """A connection that can change nothing. Raises StoreError where there is no such file.

    SQLite reads beside its write-ahead log only with a file of its own there. On a disk that takes none, a card that
    is full or write-protected, a database without such a log is read as it lies.
    """
    if not path.is_file():
        raise StoreError(f"there is no {path}; name the state directory with --state")
    connection = _open_with(path, "mode=ro")
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError as error:
        if damaged(error) or _has_log(path):
            return connection  # whoever asks it something is told so
        connection.close()
        return _open_with(path, "mode=ro&immutable=1")
    except sqlite3.DatabaseError:
        pass
    return connection


def _open_with(path: Path, how: str) -> sqlite3.Connection:
    name = f"file:{quote(str(path.absolute()))}?{how}"
    return sqlite3.connect(name, uri=True, timeout=BUSY_S, isolation_level=None)


def _has_log(path: Path) -> bool:
    """Whether something stands in its write-ahead log."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except OSError:
        return False


def schema_of(connection: sqlite3.Connection) -> int:
    """The schema that a file has; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(connection: sqlite3.Connection, path: Path, known: int) -> None:
    """Raise StoreError where the file has a schema above `known`, naming the Courtyard that wrote it."""
    found = schema_of(connection)
    if found <= known:
        return
    try:
        (writer,) = connection.execute("SELECT version FROM schemas WHERE schema = ?", (found,)).fetchone()
        needed = f"Courtyard {writer} or newer"
    except (sqlite3.Error, TypeError):
        needed = "a newer Courtyard"
    raise StoreError(
        f"{path} has schema {found}, this Courtyard {__version__} knows up to {known}: it needs {needed}; "
        "install that again, or choose another folder with --state"
    )


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Take a file forward to the newest schema, and note which Courtyard did so: an older one can then name it."""
    if schema_of(connection) >= len(migrations):
        return
    with transaction(connection):
        found = schema_of(connection)  # another connection may have been first
        for step in migrations[found:]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute("CREATE TABLE IF NOT EXISTS schemas (schema INTEGER PRIMARY KEY, version TEXT NOT NULL)")
        reached = [(schema, __version__) for schema in range(found + 1, len(migrations) + 1)]
        connection.executemany("INSERT OR REPLACE INTO schemas VALUES (?, ?)", reached)
        connection.execute(f"PRAGMA user_version={len(migrations):d}")


def _statements(sql: str) -> Iterator[str]:
    """The single statements of a text (`executescript` would end the transaction)."""
    statement = ""
    for line in sql.splitlines():
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


class transaction:  # noqa: N801  # reads as the statement that it is
    """All or nothing: committed at the end of the block, rolled back where it raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):  # the first error is the one to tell
                    self._connection.execute("ROLLBACK")


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read in the block is of one moment, whatever others write meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is no good, as opposed to a disk that is full or read-only."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    return code & 0xFF in _DAMAGE or (code & 0xFF == sqlite3.SQLITE_ERROR and str(error).startswith(_NOT_OURS))


def remedy(error: sqlite3.Error, path: Path) -> str:
    """What to do where a file cannot be read without changing it."""
    if damaged(error) or not isinstance(error, sqlite3.OperationalError):
        return "see courtyard doctor"
    return (
        f"is its disk full or read-only? free some, or copy {path.parent} to another disk and name that with --state"
    )


def damage(what: str) -> sqlite3.DatabaseError:
    """An error that says of a file that it is damaged, as SQLite would."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def set_aside(path: Path) -> Path:
    """Give a damaged database (and its log) a name under which it can be looked into later; returns the name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
