"""A process that writes ledger and readings for a while, every write of SQLite recorded, and says what it promised.

Arguments: state directory, file for the record, rounds. Marks in the record: `told N` once entry N of the ledger may
be told; `given SEQ` once a row of that number may have left the box; `ended` after each clean end;
`packing` and `packed` around what is packed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from edge.store.ledger import Entry, Ledger, open_ledger
from edge.store.packer import pack_upto
from edge.store.readings import ReadingsStore, open_readings
from edge.store.state import LEDGER, READINGS
from tests.faults.shim import record

LIVES = 3
"""How often both files are opened and closed."""
ROWS = 20
"""Of each commit."""
PACKED = 7
"""After so many rounds what has left the box is packed."""
POINTS = tuple(f"p{n}" for n in range(25))
SMALL_LOG = "PRAGMA wal_autocheckpoint=40"
"""The log is folded into its file every so many pages: often, since that is when a cut is most delicate."""


def values_of(count: int) -> tuple[int, ...]:
    """What row number `count` carries; anything else in its place is a lie."""
    return tuple(count * 100 + place for place in range(len(POINTS)))


async def _round(ledger: Ledger, store: ReadingsStore, number: int, count: int, mark: Callable[[str], None]) -> int:
    """One commit of each file; returns the number of rows so far."""
    for _ in range(ROWS):
        count += 1
        store.append("e1", POINTS, values_of(count), None, count * 1000)
    given = await store.read_after(store.cursor("north"), 1000)
    mark(f"given {given[-1].seq}")
    store.advance("north", given[-1].seq)
    body = {"n": number, "text": "x" * (number % 700)}
    await ledger.commit([Entry("alarm", f"a{number % 7}", number, body)], {("alarm", f"a{number % 7}"): body})
    mark(f"told {number}")
    await store.flush()
    if number % PACKED == 0:
        upto = store.cursor("north") - 2 * ROWS  # newer rows stay: what is lost on the way would be a hole
        mark("packing")
        await store.work(lambda file: list(pack_upto(file, upto)))
        mark("packed")
    return count


async def main(state: Path, trace: Path, rounds: int) -> None:
    """Live some lives."""
    mark = record(trace)
    number = count = 0
    for _ in range(LIVES):
        async with open_ledger(state / LEDGER) as ledger, open_readings(state / READINGS, 3600) as store:
            await ledger._thread.run(lambda book=ledger: book._open().execute(SMALL_LOG))  # type: ignore[misc]  # a closure
            await store.work(lambda file: file.db.execute(SMALL_LOG))
            for _ in range(rounds // LIVES):
                number += 1
                count = await _round(ledger, store, number, count, mark)
        mark("ended")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
