"""What the first version of `readings.db` had: a table with a row for each batch, packed as JSON. Only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from edge.store.groups import Row
from edge.store.packing import unfold_qualities


def oldest_batches(
    db: sqlite3.Connection, layouts: Mapping[int, tuple[str, tuple[str, ...]]], limit: int
) -> list[Row]:
    """At most `limit` rows that still lie in the first version's table, oldest first."""
    found = db.execute(
        "SELECT seq, time_ns, layout, body, qualities, source_ns FROM batches ORDER BY seq LIMIT ?", (limit,)
    )
    return [_row(layouts, *each) for each in found]


def _row(
    layouts: Mapping[int, tuple[str, tuple[str, ...]]],
    seq: int,
    time_ns: int,
    layout: int,
    body: bytes,
    qualities: bytes | None,
    source_ns: int | None,
) -> Row:
    equipment, points = layouts[layout]
    values: list[Any] = orjson.loads(body)
    marks = unfold_qualities(orjson.loads(qualities) if qualities else None, len(values))
    kept = [place for place, value in enumerate(values) if not isinstance(value, list)]  # a list was a gap
    if len(kept) < len(values):
        points, values = tuple([points[place] for place in kept]), [values[place] for place in kept]
        marks = marks and tuple([marks[place] for place in kept])
    return Row(seq, time_ns, equipment, points, tuple(values), marks, source_ns)
