"""Packed readings that may have rotted on the card: what cannot be unpacked any more has nothing to tell.

What comes in: runs of packed readings, and whom to tell. What goes out: the same runs, which never raise. The rest
of the file is as good as ever, so that neither a query nor the keeper ends over one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge.store.span import ALWAYS, Reading, Run
from edge.store.steps import Steps

ROTTEN = (ValueError, IndexError)
"""What is raised where bytes are not what was written."""
Rot = Callable[[str, Exception], None]
"""(what, why): something cannot be read any more."""


class Sound:
    """One run, read with care; a `Run`."""

    def __init__(self, run: Run, what: str, rot: Rot) -> None:
        self._run = run
        self._what = what
        self._rot = rot

    def bounds(self) -> tuple[int, int]:
        """See `Run`; after everything else where that is not known any more."""
        try:
            return self._run.bounds()
        except ROTTEN as error:
            self._rot(self._what, error)
            return ALWAYS, ALWAYS

    def within(self, from_ns: int, to_ns: int) -> Iterator[Reading]:
        """See `Run`."""
        try:
            yield from self._run.within(from_ns, to_ns)
        except ROTTEN as error:
            self._rot(self._what, error)

    def fold(self, steps: Steps, from_ns: int, to_ns: int) -> None:
        """See `Run`."""
        try:
            self._run.fold(steps, from_ns, to_ns)
        except ROTTEN as error:
            self._rot(self._what, error)
