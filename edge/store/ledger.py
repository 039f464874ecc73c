"""`ledger.db`: what happened, and the state that it left; on the disk before anyone is told.

What comes in: entries (an alarm was raised, an order accepted, a command given, a push sent) together with the
state after them (the alarm's body, the order's body). What goes out: the state at the next start, and the
journal. One transaction with a full sync for each commit, so that neither is ever without the other.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from edge.store.database import (
    DatabaseThread,
    StoreError,
    connect,
    damage,
    damaged,
    open_reading,
    set_aside,
    transaction,
)
from edge.store.salvage import body_of, lenient, take_over

__all__ = ["Entry", "Ledger", "StoreError", "open_ledger"]

CHECKED_BYTES = 2**25
"""A file up to this size is checked whole at the start: a second or so on a card."""
MOST = 100_000
"""Entries that one question to the journal may bring."""
MIGRATIONS = [
    """
CREATE TABLE journal (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, time_ns INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE INDEX journal_by_kind ON journal (kind, id);
CREATE INDEX journal_by_subject ON journal (subject, id);
CREATE TABLE state (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
""",  # noqa: E501
    "CREATE INDEX journal_by_time ON journal (kind, time_ns);",
]
"""SQL from each schema to the next; a released one is never changed."""
PRUNED = 1_000
"""Entries that one transaction takes away: no more than some milliseconds for whoever waits to write."""
_KINDS = """
WITH RECURSIVE kinds(kind) AS (
  SELECT min(kind) FROM journal
  UNION ALL SELECT (SELECT min(kind) FROM journal WHERE kind > kinds.kind) FROM kinds WHERE kind IS NOT NULL
) SELECT kind FROM kinds WHERE kind IS NOT NULL
"""
_PRUNE = """
DELETE FROM journal WHERE id IN (
  SELECT id FROM journal WHERE kind = ? AND time_ns < ? AND subject NOT IN (SELECT value FROM json_each(?)) LIMIT ?
)
"""

T = TypeVar("T")

log = logging.getLogger(__name__)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    kind: str
    """`alarm`, `order`, `command`, `push` ..."""
    subject: str
    """Whom it happened to: id of the alarm, order, point."""
    time_ns: int
    body: Body
    """Plain JSON."""


class Ledger:
    """The open ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        """What staff should know about the file; None where all is well."""
        self._thread = DatabaseThread(f"ledger[{path.name}]")
        self._connection: sqlite3.Connection | None = None
        self._fresh = path.with_name(f"{path.name}.part")
        """Takes a damaged file's place once all that could be read of it is in it."""

    async def commit(
        self, entries: Iterable[Entry], state: Mapping[tuple[str, str], Body | None] | None = None
    ) -> list[int]:
        """Write entries and state in one transaction; returns the entries' numbers in the journal.

        `state` is (kind, key) -> body after the entries; None deletes. Once this returns, a power cut
        loses nothing of it. Raises StoreError, and then nothing of it is written.
        """
        rows = [(e.kind, e.subject, e.time_ns, _text(e.body)) for e in entries]
        left = {place: None if body is None else _text(body) for place, body in (state or {}).items()}
        if not rows and not left:
            return []
        return await self._run(partial(self._commit, rows, left), "written")

    async def load(self, kind: str) -> dict[str, Body]:
        """The last state of all of a kind, by key."""
        query = "SELECT key, body FROM state WHERE kind = ? ORDER BY key"
        rows = await self._run(partial(self._ask, query, (kind,)), "read")
        bodies = {key: body_of(text) for key, text in rows}
        for key in (key for key, body in bodies.items() if body is None):
            self._rot(f"the state of {kind} {key}")
        return {key: body for key, body in bodies.items() if body is not None}

    async def journal(
        self,
        kind: str | None = None,
        subject: str | None = None,
        after: int = 0,
        limit: int = 1000,
        newest_first: bool = False,
        from_ns: int | None = None,
        to_ns: int | None = None,
    ) -> list[tuple[int, Entry]]:
        """Entries with their numbers, from after number `after` on; the newest `limit` of them if `newest_first`.

        With `from_ns` and `to_ns` only what happened at from_ns <= time < to_ns. The order is that of the numbers.
        """
        wanted: list[tuple[str, Any]] = [("id > ?", min(max(after, 0), 2**63 - 1))]
        wanted += [
            (condition, value)
            for condition, value in (
                ("kind = ?", kind), ("subject = ?", subject),
                ("time_ns >= ?", _bounded(from_ns)), ("time_ns < ?", _bounded(to_ns)),
            )
            if value is not None
        ]  # fmt: skip
        conditions = " AND ".join(condition for condition, _ in wanted)
        query = (
            f"SELECT id, kind, subject, time_ns, body FROM journal WHERE {conditions} "  # noqa: S608  # fixed texts
            f"ORDER BY id {'DESC' if newest_first else 'ASC'} LIMIT ?"
        )
        arguments = (*(value for _, value in wanted), min(max(limit, 0), MOST))
        rows = await self._run(partial(self._ask, query, arguments), "read")
        found = []
        for number, its_kind, its_subject, time_ns, text in rows:
            body = body_of(text)
            if body is None:
                self._rot(f"entry {number} of the journal")
            else:
                found.append((number, Entry(its_kind, its_subject, time_ns, body)))
        return found

    def _rot(self, what: str) -> None:
        """A bit was lost where SQLite does not notice: what else stands there is as good as ever."""
        if self.trouble is None:
            self.trouble = f"{what} in {self.path.name} cannot be read any more, and is left out"
            log.error("%s", self.trouble)

    async def prune(self, before_ns: int, spared: Iterable[str]) -> int:
        """Forget entries from before `before_ns`, apart from those of the subjects `spared`: what is still open.

        Returns how many went. Done in small transactions, between which whoever wants to write comes first.
        """
        keep = json.dumps(sorted(set(spared)))
        gone = 0
        for (kind,) in await self._run(lambda: self._open().execute(_KINDS).fetchall(), "read"):
            while count := await self._run(partial(self._prune, kind, before_ns, keep), "written"):
                gone += count
                if count < PRUNED:
                    break
        return gone

    def _prune(self, kind: str, before_ns: int, spared: str) -> int:
        with transaction(self._open()) as db:
            return db.execute(_PRUNE, (kind, before_ns, spared, PRUNED)).rowcount

    async def _run(self, work: Callable[[], T], verb: str) -> T:
        try:
            return await self._thread.run(work)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) and not damaged(error):
                raise
            raise StoreError(
                f"{self.path} cannot be {verb}: {error}; check the disk under {self.path.parent}"
            ) from error
        except OSError as error:  # a damaged file that could not be exchanged for a new one
            raise StoreError(
                f"{self.path} is damaged and cannot be set aside: {error.strerror}; check the disk under "
                f"{self.path.parent}"
            ) from error

    def _open(self) -> sqlite3.Connection:
        """In the thread: the connection, opened at the first use."""
        if self._connection is None:
            if self._fresh.exists() and not self.path.exists():  # the exchange of the two was cut short
                self._fresh.replace(self.path)
            self._connection = connect(self.path, MIGRATIONS, full_sync=True)
            self._connection.text_factory = lenient
        return self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """In the thread: a connection to ask; on a disk that takes nothing one that could not write either."""
        try:
            db = self._open()
        except sqlite3.OperationalError as error:
            if damaged(error) or not self.path.is_file():
                raise
            db = open_reading(self.path)
            db.text_factory = lenient
        try:
            yield db
        finally:
            if db is not self._connection:
                db.close()

    def _ask(self, query: str, arguments: Sequence[Any]) -> list[Any]:
        with self._reading() as db:
            return db.execute(query, arguments).fetchall()

    def _open_or_begin_anew(self) -> None:
        """In the thread: a ledger that cannot be read must not keep alarms from being raised, nor one that cannot be
        written.
        """
        try:
            with self._reading() as db:
                self._check(db)
                if db is not self._connection:
                    log.error("%s cannot be written; free space on, or check, the disk under %s",
                              self.path, self.path.parent)  # fmt: skip
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            self._begin_anew(error)

    def _check(self, db: sqlite3.Connection) -> None:
        """Whether everything in it can be read, as far as that is quick. Raises sqlite3.DatabaseError."""
        for kind, key, text in db.execute("SELECT kind, key, body FROM state"):
            if body_of(text) is None:
                raise damage(f"the state of {kind} {key} cannot be read")
        db.execute("SELECT max(id) FROM journal").fetchone()
        if self.path.stat().st_size <= CHECKED_BYTES:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise damage(" ".join(str(found).split()))

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """In the thread: set the file aside, and go on in a new one with what can still be read of it.

        The new one is whole before the old one loses its name: at no moment would a kill leave less than that.
        """
        self._close()
        for end in ("", "-wal", "-shm"):
            Path(f"{self._fresh}{end}").unlink(missing_ok=True)  # of an attempt that was cut short
        with closing(connect(self._fresh, MIGRATIONS, full_sync=True)) as fresh:
            taken = take_over(self.path, fresh)
            fresh.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        aside = set_aside(self.path)
        self._fresh.replace(self.path)
        self.trouble = (
            f"{self.path.name} was damaged ({error}), set aside as {aside.name}; a new one was begun with "
            f"{taken['journal']} entries and {taken['state']} states of it"
        )
        log.error("%s", self.trouble)

    def _commit(
        self, rows: Sequence[tuple[str, str, int, str]], state: Mapping[tuple[str, str], str | None]
    ) -> list[int]:
        try:
            return self._write(rows, state)
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                    self._close()  # it was opened on a read-only disk: the next try sees whether that is over
                raise
            self._begin_anew(error)
            return self._write(rows, state)

    def _write(
        self, rows: Sequence[tuple[str, str, int, str]], state: Mapping[tuple[str, str], str | None]
    ) -> list[int]:
        insert = "INSERT INTO journal (kind, subject, time_ns, body) VALUES (?, ?, ?, ?) RETURNING id"
        with transaction(self._open()) as db:
            numbers = [db.execute(insert, row).fetchall()[0][0] for row in rows]
            for (kind, key), body in state.items():
                if body is None:
                    db.execute("DELETE FROM state WHERE kind = ? AND key = ?", (kind, key))
                else:
                    db.execute("INSERT OR REPLACE INTO state (kind, key, body) VALUES (?, ?, ?)", (kind, key, body))
        return numbers

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@asynccontextmanager
async def open_ledger(path: Path) -> AsyncIterator[Ledger]:
    """The ledger for as long as the block lasts. A damaged file is set aside and a new one begun.

    Raises StoreError where it cannot be opened or is of a newer program.
    """
    ledger = Ledger(path)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            await ledger._run(ledger._open_or_begin_anew, "opened")
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}; check the folder's permissions") from error
        yield ledger
    finally:
        await ledger._thread.run(ledger._close)
        await ledger._thread.close()


def _text(body: Body) -> str:
    """Readable JSON; half a character pair, which no database takes, becomes a question mark."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _bounded(time_ns: int | None) -> int | None:
    """A time that SQLite takes."""
    return None if time_ns is None else min(max(time_ns, -(2**63)), 2**63 - 1)
