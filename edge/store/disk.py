"""`readings.db` as the event loop sees it: one thread that writes, one that answers queries.

A query over a month must not hold up a commit, so it has a connection and a thread of its own; the write-ahead
log lets both work at once. Errors of SQLite come out as they are: what to do about them is the log's business.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge.store.database import DatabaseThread, StoreError, open_reading, set_aside
from edge.store.gaps import Gap, Gaps
from edge.store.readings_file import ReadingsFile, Row, Standing

JUMP = 1 << 30
"""More numbers than a file has given away of which a damaged one does not know any more."""
SINCE_S, MOST_A_SECOND = 1_704_067_200, 1_000
"""Where a file can say nothing at all: no log is older than 2024, or has got more rows a second since."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def given_before(path: Path) -> int:
    """Up to which number the files that were set aside may have given numbers away; 0 where there are none.

    Far ends know rows by their number: one that is given twice would be taken for the row that had it first.
    """
    asides = [each for each in path.parent.glob(f"{path.name}.damaged-*") if not each.name.endswith(("-wal", "-shm"))]
    if not asides:
        return 0
    known = max(_reserved(each) for each in asides)
    return (known or max(0, round((time.time() - SINCE_S) * MOST_A_SECOND))) + JUMP


def _reserved(aside: Path) -> int:
    try:
        with closing(open_reading(aside)) as db:
            return int(db.execute("SELECT max(seq) FROM reserve").fetchone()[0] or 0)
    except (sqlite3.Error, StoreError, TypeError, ValueError):
        return 0  # that page is lost too


class Disk:
    """The file, open or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0
        """How many times a file was opened: the first, and one more for each that was damaged."""
        self._writer = DatabaseThread(f"readings[{path.name}]")
        self._reader = DatabaseThread(f"readings[{path.name}] queries")
        self._file: ReadingsFile | None = None
        self._queried: ReadingsFile | None = None  # of the reader's thread only
        self._locked = False

    @property
    def open(self) -> bool:
        """Whether there is a file to write to."""
        return self._file is not None

    @property
    def rotten(self) -> int:
        """How many parts of the file could not be unpacked."""
        return len(set[str]().union(*(file.rotten for file in (self._file, self._queried) if file is not None)))

    async def begin(self, ahead: int, *, first: bool) -> tuple[Standing, int, Gaps]:
        """Open the file and reserve `ahead` numbers; returns where it stands, the newest reserved number, and which
        numbers stand for no row.

        `first`: nothing is known yet of the numbers that were given away before.
        """

        def begin() -> tuple[ReadingsFile, Standing, int, Gaps]:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = ReadingsFile(self.path)
            try:
                file.check()
                count = file.take_over()
                if count:
                    log.info("%s: %d rows of an older Courtyard were taken over", self.path, count)
                standing = file.standing()
                if first and not standing.reserved:
                    standing = replace(standing, reserved=given_before(self.path))
                reserved = standing.reserved + ahead
                file.reserve(reserved, (standing.last_seq + 1, standing.reserved))
                gaps = Gaps(file.gaps())
            except BaseException:
                file.close()
                raise
            return file, standing, reserved, gaps

        self._file, standing, reserved, gaps = await self._writer.run(begin)
        self._locked = False
        self.opened += 1
        return standing, reserved, gaps

    async def reserve(self, seq: int) -> None:
        """See `ReadingsFile.reserve`. The file must be open."""
        await self._writer.run(partial(self._open_file().reserve, seq))

    async def commit(self, rows: Sequence[Row], cursors: Mapping[str, int | None], gap: Gap | None = None) -> None:
        """See `ReadingsFile.commit`. The file must be open."""
        await self._writer.run(partial(self._open_file().commit, rows, cursors, gap))

    async def write(self, work: Callable[[ReadingsFile], T]) -> T:
        """Do `work` in the writer's thread, between two commits; they wait for it. The file must be open."""
        return await self._writer.run(partial(work, self._open_file()))

    async def read(self, work: Callable[[ReadingsFile], T], nothing: T) -> T:
        """What `work` finds in the file; `nothing` where there is no file to look into."""
        return await self._reader.run(partial(self._query, work, nothing)) if self.open else nothing

    async def set_aside(self) -> Path:
        """Rename the file; returns its new name. Nobody reads until `begin` has opened another.

        A connection that stays open over the renaming would remove the new file's write-ahead log when it
        closes, since it knows it by the old name.
        """
        self._locked = True
        await self.close()
        return await self._writer.run(partial(set_aside, self.path))

    async def close(self) -> None:
        """Close the file, in both threads."""
        await self._reader.run(self._end_queries)
        file, self._file = self._file, None
        if file is not None:
            await self._writer.run(file.close)

    async def end(self) -> None:
        """Close the file and end the threads."""
        await self.close()
        await self._reader.close()
        await self._writer.close()

    def _open_file(self) -> ReadingsFile:
        if self._file is None:
            raise RuntimeError(f"{self.path} is not open")
        return self._file

    def _query(self, work: Callable[[ReadingsFile], T], nothing: T) -> T:
        if self._locked:
            return nothing
        if self._queried is None:
            self._queried = ReadingsFile(self.path)
        return work(self._queried)

    def _end_queries(self) -> None:
        if self._queried is not None:
            self._queried.close()
            self._queried = None
