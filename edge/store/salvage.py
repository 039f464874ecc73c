"""What can still be read of a damaged ledger goes into the new one: meters, orders, alarms, most of the journal.

What comes in: the damaged file, and the new ledger. What goes out: how much was taken over. Each table is
read from both ends until the damage: a lost page in the middle costs its own rows. What is no JSON any more is left
behind. Numbers of the journal go on far behind the old ones, so that none is given to two entries.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from edge.store.database import open_reading, transaction

JUMP = 1 << 24
"""More entries than may stand behind the damage."""
TOGETHER = 5_000
"""Rows that are written in one transaction."""
_TABLES = {
    "state": ("kind, key, body", "kind {0}, key {0}"),
    "journal": ("id, kind, subject, time_ns, body", "id {0}"),
}
"""Columns, and the order in which the table itself lies: no index is needed to read it."""


def take_over(damaged: Path, ledger: sqlite3.Connection) -> dict[str, int]:
    """Copy what is readable; returns how many rows of each table. Raises sqlite3.Error of the new ledger only."""
    taken = dict.fromkeys(_TABLES, 0)
    with closing(open_reading(damaged)) as old:
        old.text_factory = lenient
        for table in _TABLES:
            for rows in _pages(_readable(old, table)):
                taken[table] += _put(ledger, table, rows)
    with transaction(ledger) as db:
        known = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'").fetchone()
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'journal'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('journal', ?)", ((known[0] if known else 0) + JUMP,))
    return taken


def _readable(old: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Rows from the front until the damage, then from the end: those of a sound table come twice."""
    columns, order = _TABLES[table]
    for way in ("ASC", "DESC"):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            query = f"SELECT {columns} FROM {table} NOT INDEXED ORDER BY {order.format(way)}"  # noqa: S608  # our own words
            yield from (row for row in old.execute(query) if _whole(row))
            return


def _whole(row: tuple[Any, ...]) -> bool:
    *keys, body = row
    return None not in keys and body_of(body) is not None


def lenient(text: bytes) -> str:
    """Text of which a bit was lost: the rest of it is worth more than none."""
    return text.decode("utf-8", "replace")


def body_of(text: object) -> dict[str, Any] | None:
    """The body that is kept as this text; None where it is none any more."""
    try:
        body = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _pages(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while page := [row for _, row in zip(range(TOGETHER), rows, strict=False)]:
        yield page


def _put(ledger: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> int:
    columns = _TABLES[table][0]
    marks = ", ".join("?" * len(rows[0]))
    with transaction(ledger) as db:
        query = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608  # our own words
        return db.executemany(query, rows).rowcount
