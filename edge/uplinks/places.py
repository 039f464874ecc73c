"""Which rows of the log one far end has: all up to a place, and stretches beyond it. No waiting, no I/O.

After an outage live rows go first, so that what the far end has is no longer one stretch. The log keeps cursors;
the uplink's own is the place up to which it has everything, and each stretch beyond it is two more, `NAME/N/from`
and `NAME/N/to`. The log writes them together with the rows that they have passed, so that after a `kill -9` only
what was not confirmed is sent again.
"""

from __future__ import annotations

from typing import Protocol

MOST = 16
"""Stretches beyond the cursor. With more outages than that in one backlog the smallest stretch is sent again."""

Span = tuple[int, int]
"""Above the first number, up to the second."""


class Cursors(Protocol):
    """The log's cursors."""

    def cursor(self, name: str) -> int:
        """The number up to which `name` has all."""
        ...

    def cursors(self) -> dict[str, int]:
        """All that there are."""
        ...

    def advance(self, name: str, seq: int) -> None:
        """Move one forward."""
        ...

    def drop_cursor(self, name: str) -> None:
        """Forget one."""
        ...

    def behind(self, seq: int) -> int:
        """How many rows lie after `seq`."""
        ...


class Places:
    """The places of one uplink. Numbers are asked of the log each time: it may have taken them forward."""

    def __init__(self, log: Cursors, name: str) -> None:
        self._log = log
        self._name = name
        known = log.cursors()
        slots = (n for n in range(MOST) if {f"{name}/{n}/from", f"{name}/{n}/to"} <= known.keys())
        self._slots = sorted(slots, key=self._of)

    @property
    def live(self) -> int:
        """The newest row that the live lane has confirmed."""
        return self._of(self._slots[-1])[1] if self._slots else self._log.cursor(self._name)

    def hole(self) -> Span | None:
        """The oldest rows that the far end does not have and live rows have overtaken; None where it has all."""
        while self._slots:
            start, end = self._of(self._slots[0])
            place = self._log.cursor(self._name)
            if place < start:
                return place, start
            self._log.advance(self._name, end)
            self._forget(self._slots[0])
        return None

    def skip(self, seq: int) -> None:
        """Live rows begin after `seq` now; what lies between is left for later."""
        if self._slots and len(set(self._of(self._slots[-1]))) == 1:  # nothing came of the last beginning
            self._forget(self._slots[-1])
        if seq <= self.live:
            return
        if len(self._slots) == MOST:
            self._forget(min(self._slots, key=lambda slot: self._of(slot)[1] - self._of(slot)[0]))
        slot = next(number for number in range(MOST) if number not in self._slots)
        self._log.advance(f"{self._name}/{slot}/from", seq)
        self._log.advance(f"{self._name}/{slot}/to", seq)
        self._slots.append(slot)

    def confirm(self, seq: int, *, late: bool) -> None:
        """The far end has all up to `seq` of the lane."""
        name = self._name if late or not self._slots else f"{self._name}/{self._slots[-1]}/to"
        self._log.advance(name, seq)

    def behind(self) -> int:
        """How many rows the far end does not have."""
        rows, place = 0, self._log.cursor(self._name)
        for slot in self._slots:
            start, end = self._of(slot)
            rows += self._log.behind(min(place, start)) - self._log.behind(start)
            place = end
        return rows + self._log.behind(place)

    def _of(self, slot: int) -> Span:
        return self._log.cursor(f"{self._name}/{slot}/from"), self._log.cursor(f"{self._name}/{slot}/to")

    def _forget(self, slot: int) -> None:
        self._slots.remove(slot)
        self._log.drop_cursor(f"{self._name}/{slot}/from")
        self._log.drop_cursor(f"{self._name}/{slot}/to")


def owner(cursor: str) -> str:
    """The uplink that a cursor of the log belongs to; empty where it is none's."""
    return cursor.partition("/")[0]
