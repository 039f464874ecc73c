"""What a log of readings holds, looked into without changing it, beside a running daemon or without one.

What comes in: the file. What goes out: pages of readings in order of time. What the daemon has not committed yet is
not in it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from edge.store.database import StoreError, remedy
from edge.store.history import History, Sample
from edge.store.readings_file import ReadingsFile
from edge.store.tail import Tail

T = TypeVar("T")
EVERYTHING = 2**62
PAGE = 10_000


class Reader:
    """One file, read only."""

    def __init__(self, file: ReadingsFile, path: Path) -> None:
        self._file = file
        self._path = path
        tail = Tail(1)
        tail.committed = EVERYTHING
        self._history = History(tail, self._read)

    def points(self) -> set[str]:
        """Ids of all points that were ever recorded."""
        return self._file.groups.points()

    def pages(self, points: Sequence[str] | None, from_ns: int, to_ns: int) -> Iterator[list[Sample]]:
        """See `ReadingsStore.history`. Raises StoreError."""
        found = self._history.samples(points, from_ns, to_ns, PAGE)
        with asyncio.Runner() as runner:
            while True:
                try:
                    yield runner.run(anext(found))  # type: ignore[arg-type]  # an awaitable of a generator runs too
                except StopAsyncIteration:
                    return
                except sqlite3.Error as error:
                    raise _unreadable(self._path, error) from error

    async def _read(self, work: Callable[[ReadingsFile], T], nothing: T) -> T:
        return work(self._file)


@contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """The file for as long as the block lasts. Raises StoreError."""
    try:
        file = ReadingsFile(path, read_only=True)
        if file.to_take_over():
            file.close()
            raise StoreError(
                f"{path} has rows of an older Courtyard yet: start the daemon on it once, which takes it forward"
            )
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    with closing(file):
        yield Reader(file, path)


def _unreadable(path: Path, error: sqlite3.Error) -> StoreError:
    return StoreError(f"{path} cannot be read: {error}; {remedy(error, path)}")
