"""Readings of many points over a short stretch of packed history, for whoever reads all of it in order of time.

What comes in: the periods and a stretch of time. What goes out: where the next readings lie, in pieces of about
`ENOUGH` readings, and the readings. Runs in the readers' thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from drivers.point import Value
from edge.store.chunks import Chunk
from edge.store.frames import Frame
from edge.store.packed import FRAME_POINT, SERIES_BITS, PackedHistory, Period
from edge.store.sound import Sound

Sample = tuple[int, str, Value, str]
"""Time in ns, id of the point, value, quality."""
Wanted = Mapping[str, frozenset[str]] | None
"""Names of points by equipment; None: all."""
ENOUGH = 50_000
"""Readings of all points that a piece is to hold; the more, the less often each chunk is unpacked."""


class PackedStretch:
    """Packed history of some points (None: all), in pieces."""

    def __init__(self, packed: PackedHistory, wanted: Wanted) -> None:
        self._packed = packed
        self._wanted = wanted

    def next(self, begin: int, end: int) -> tuple[int, int]:
        """The next piece of the span; (end, end) where no period touches it."""
        periods = self._packed.periods(begin, end)
        if not periods:
            return end, end
        first, share = max(periods[0].first_ns, begin), self._share()
        upto = min(first + _length(period, share) for period in periods if period.first_ns <= first)
        later = [period.first_ns for period in periods if period.first_ns > first]
        return first, min([upto, end, *later[:1]])

    def samples(self, from_ns: int, to_ns: int) -> list[Sample]:
        """The readings of a piece, point by point, each in order of time."""
        found: list[Sample] = []
        for period in self._packed.periods(from_ns, to_ns):
            for point, chunk in self._chunks(period):
                found += ((at, point, value, mark) for at, value, mark in chunk.within(from_ns, to_ns))
        return found

    def _share(self) -> float:
        """What share of all points is wanted."""
        if self._wanted is None:
            return 1
        known: int = self._packed.db.execute("SELECT count(*) FROM series").fetchone()[0]
        return min(1, sum(map(len, self._wanted.values())) / max(known, 1))

    def _chunks(self, period: Period) -> Iterator[tuple[str, Sound]]:
        """Chunks of the wanted points, those of one equipment together."""
        key = period.number << SERIES_BITS
        for equipment, frame, points in self._series():
            body = self._body(key | frame)
            shared = Frame.later(body or b"")
            for point, number in points if body else ():
                row = self._packed.db.execute(
                    "SELECT summary, body FROM chunks WHERE id = ?", (key | number,)
                ).fetchone()
                if row:
                    name = f"{equipment}.{point}"
                    yield name, Sound(Chunk(number, shared, *row), f"a chunk of {name}", self._packed.rot)

    def _body(self, key: int) -> bytes | None:
        row = self._packed.db.execute("SELECT body FROM chunks WHERE id = ?", (key,)).fetchone()
        return row[0] if row else None

    def _series(self) -> Iterator[tuple[str, int, Sequence[tuple[str, int]]]]:
        """Equipment, number of its frame, names and numbers of its points."""
        known: dict[str, dict[str, int]] = {}
        for number, equipment, point in self._packed.db.execute(
            "SELECT id, equipment, point FROM series ORDER BY id"
        ):
            known.setdefault(equipment, {})[point] = number
        for equipment, numbers in known.items():
            names = None if self._wanted is None else self._wanted.get(equipment, frozenset())
            points = [(p, n) for p, n in numbers.items() if p != FRAME_POINT and (names is None or p in names)]
            if points:
                yield equipment, numbers[FRAME_POINT], points


def _length(period: Period, share: float) -> int:
    """How long a piece of a period is to be for a share of its points."""
    pieces = max(period.readings * share / ENOUGH, 1)
    return max(1, int((period.last_ns - period.first_ns + 1) / pieces))
