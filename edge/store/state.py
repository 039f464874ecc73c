"""The state directory: which files it has, and whether this program may open them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge.store import ledger, readings_file
from edge.store.database import StoreError, open_reading, refuse_newer

LEDGER, READINGS = "ledger.db", "readings.db"
UNFINISHED = "restore.unfinished"
"""Stands in the folder while a restore exchanges its files."""
SCHEMAS = {LEDGER: len(ledger.MIGRATIONS), READINGS: len(readings_file.MIGRATIONS)}
"""The newest schema that this program knows of each file."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """See `database.open_reading`; closed with the block."""
    with closing(open_reading(path)) as connection:
        yield connection


def refuse_newer_state(folder: Path) -> None:
    """Raise StoreError where any file is of a newer program, or half restored, before any of them is touched."""
    if (folder / UNFINISHED).exists():
        raise StoreError(f"{folder} was left in the middle of a restore; run courtyard restore again")
    for name, known in SCHEMAS.items():
        path = folder / name
        if not path.exists():
            continue
        try:
            with reading(path) as connection:
                refuse_newer(connection, path, known)
        except sqlite3.Error:
            continue  # damaged or on a disk in trouble: whoever opens it next deals with that
