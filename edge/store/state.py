"""The state directory: which files it has, and whether this program may open them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from edge.store import ledger, readings_file
from edge.store.database import BUSY_S, refuse_newer

LEDGER, READINGS = "ledger.db", "readings.db"
SCHEMAS = {LEDGER: len(ledger.MIGRATIONS), READINGS: len(readings_file.MIGRATIONS)}
"""The newest schema that this program knows of each file."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can change nothing, beside the daemon's own or without a daemon.

    Raises FileNotFoundError, or sqlite3.Error where the file cannot be opened.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    where = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(where, uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
        yield connection


def refuse_newer_state(folder: Path) -> None:
    """Raise StoreError where any file is of a newer program, before any of them is touched."""
    for name, known in SCHEMAS.items():
        path = folder / name
        try:
            with reading(path) as connection:
                refuse_newer(connection, path, known)
        except (OSError, sqlite3.Error):
            continue  # missing, damaged or on a disk in trouble: whoever opens it next deals with that
