"""A process that writes both files as fast as it can until it is ended: row N is on the disk, then entry N.

Arguments: state directory. So at any one moment there are as many rows as entries, or one more.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edge.store.ledger import Entry, open_ledger
from edge.store.readings import open_readings
from edge.store.state import LEDGER, READINGS

POINTS = tuple(f"p{n}" for n in range(30))


async def main(state: Path) -> None:
    """Write."""
    async with open_ledger(state / LEDGER) as ledger, open_readings(state / READINGS, 3600) as store:
        await ledger._thread.run(lambda: ledger._open().execute("PRAGMA wal_autocheckpoint=30"))
        await store.work(lambda file: file.db.execute("PRAGMA wal_autocheckpoint=30"))
        for count in range(1, 10**6):
            seq = store.append("e1", POINTS, tuple(count * 7919 % (place + 977) for place in range(30)), None, count)
            store.advance("north", seq)
            await store.flush()
            await ledger.commit([Entry("alarm", "a", count, {"n": count, "text": "x" * (count % 900)})])
            if count == 100:
                print("begun", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
