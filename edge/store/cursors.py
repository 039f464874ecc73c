"""How far each uplink has come, and how far the file of the log knows that. Pure.

What comes in: places that uplinks have reached, in numbers of rows. What goes out: those that are to be written with
the next commit, none beyond the rows that it holds.
"""

from __future__ import annotations

from collections.abc import Mapping


class Cursors:
    """All cursors of one log, by name."""

    def __init__(self) -> None:
        self.floor = 0
        """Rows up to here went away with a damaged file: nobody waits for them any more."""
        self._reached: dict[str, int] = {}
        self._written: dict[str, int] = {}

    def of(self, name: str) -> int:
        """The number up to which `name` has everything; 0 for a new one."""
        return max(self._reached.get(name, 0), self.floor)

    def all(self) -> dict[str, int]:
        """Those that there are."""
        return dict(self._reached)

    def advance(self, name: str, seq: int) -> None:
        """`name` has everything up to `seq`; never back."""
        self._reached[name] = max(self._reached.get(name, 0), seq)

    def drop(self, name: str) -> None:
        """There is no such uplink any more."""
        self._reached.pop(name, None)

    def opened(self, kept: Mapping[str, int], *, first: bool) -> None:
        """A file was opened which knows of these. With the `first` they are where all uplinks are."""
        self._written = dict(kept)
        if first:
            self._reached = dict(kept)

    def moved(self, upto: int) -> dict[str, int | None]:
        """Those that differ from what the file has, none of them beyond row `upto`; None: it is to be forgotten."""
        wanted = {name: min(seq, upto) for name, seq in self._reached.items()}
        moved: dict[str, int | None] = {name: seq for name, seq in wanted.items() if self._written.get(name) != seq}
        return moved | dict.fromkeys(self._written.keys() - wanted.keys())

    def written(self, moved: Mapping[str, int | None]) -> None:
        """The file has these now."""
        for name, seq in moved.items():
            if seq is None:
                self._written.pop(name, None)
            else:
                self._written[name] = seq
