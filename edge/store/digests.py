"""Downsampled history: of each point and day its 5 minutes, and later its hours, kept longer than the readings.

What comes in: the readings of a day, or the finer digest of it. What goes out: bytes, and from them a run that
queries read like a chunk. Each slot keeps how many good values it had, the last of them, and of numbers the least,
the greatest and the mean (to seven digits).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any

from drivers.point import Value
from edge.store.columns import read_marks, read_values, write_marks, write_values
from edge.store.packing import GOOD
from edge.store.sequences import Reader, Writer, read, write
from edge.store.squeeze import squeeze, unsqueeze
from edge.store.steps import Piece, Reading, Steps, is_number

DAY_NS = 86_400 * 10**9
MINUTES_NS = 300 * 10**9
HOURS_NS = 3_600 * 10**9


@dataclass(slots=True)
class Slot:
    """What is left of one slot of time."""

    start_ns: int
    good: int
    last: Value
    """The newest good value; where there is none the newest of all."""
    mark: str
    low: float | None = None
    """None where its values are no numbers."""
    high: float | None = None
    mean: float | None = None

    def piece(self, length_ns: int) -> Piece:
        """As it is folded into steps: all of it at its beginning."""
        numbers = self.good if self.mean is not None else 0
        mean = self.mean or 0.0
        number = self.last if numbers and isinstance(self.last, int | float) else None
        first, climbed = number, 0.0
        if number is not None and self.low is not None and self.high is not None:
            was_reset = number < self.high  # a counter that climbed to there, and began again at zero
            first, climbed = (self.high, number) if was_reset else (self.low, number - self.low)
        return Piece(
            self.start_ns, self.start_ns, self.good, numbers, self.last, self.mark, self.last,
            mean * numbers, self.low, self.high, first, number, climbed, mean * length_ns,
            length_ns if numbers else 0, holds=False,
        )  # fmt: skip


def slots(readings: Iterable[Reading], length_ns: int) -> list[Slot]:
    """Readings in order of time as slots."""
    found = []
    for start, some in groupby(readings, lambda reading: reading[0] // length_ns * length_ns):
        within = list(some)
        good = [value for _, value, mark in within if mark == GOOD]
        slot = Slot(start, len(good), *((good[-1], GOOD) if good else within[-1][1:]))
        numbers: list[Any] = [value for value in good if is_number(value)]
        if numbers and len(numbers) == len(good):
            slot.low, slot.high, slot.mean = min(numbers), max(numbers), _rounded(sum(numbers) / len(numbers))
        found.append(slot)
    return found


def coarser(fine: Iterable[Slot], length_ns: int) -> list[Slot]:
    """Slots as fewer, longer ones."""
    found = []
    for start, some in groupby(fine, lambda slot: slot.start_ns // length_ns * length_ns):
        within = list(some)
        good = [slot for slot in within if slot.good]
        newest = (good or within)[-1]
        slot = Slot(start, sum(each.good for each in good), newest.last, newest.mark)
        if good and all(each.mean is not None for each in good):
            slot.low = min(each.low for each in good if each.low is not None)
            slot.high = max(each.high for each in good if each.high is not None)
            slot.mean = _rounded(sum(each.mean * each.good for each in good if each.mean is not None) / slot.good)
        found.append(slot)
    return found


def _rounded(number: float) -> float:
    return float(f"{number:.7g}")


def write_digest(day: int, found: Sequence[Slot], length_ns: int) -> bytes:
    """The slots of a day (counted since 1970) as bytes."""
    out = Writer()
    out.count(len(found))
    write(out, [(slot.start_ns - day * DAY_NS) // length_ns for slot in found])
    write(out, [slot.good for slot in found])
    write_values(out, [slot.last for slot in found])
    write_marks(out, [slot.mark for slot in found])
    for column in ([slot.low for slot in found], [slot.high for slot in found], [slot.mean for slot in found]):
        write_values(out, column)
    return squeeze(bytes(out.data))


class Digest:
    """The slots of one point on one day, read; a `Run`."""

    def __init__(self, day: int, packed: bytes, length_ns: int) -> None:
        data = Reader(unsqueeze(packed))
        count = data.count()
        places, good = read(data, count)(0, count), read(data, count)(0, count)
        last, marks = read_values(data, count)[1](0, count), read_marks(data)
        told = marks(0, count) if marks else (GOOD,) * count
        numbers = [read_values(data, count)[1](0, count) for _ in range(3)]
        self._length_ns = length_ns
        self.slots = [
            Slot(day * DAY_NS + place * length_ns, *rest)
            for place, *rest in zip(places, good, last, told, *numbers, strict=True)
        ]

    def bounds(self) -> tuple[int, int]:
        """Beginning of the first slot and of the last."""
        return self.slots[0].start_ns, self.slots[-1].start_ns

    def within(self, from_ns: int, to_ns: int) -> Iterator[Reading]:
        """Each slot as one reading: its mean, or where it has none its last."""
        for slot in self.slots:
            if from_ns <= slot.start_ns < to_ns:
                told = slot.last if slot.mean is None or not isfinite(slot.mean) else slot.mean
                yield slot.start_ns, told, slot.mark

    def fold(self, steps: Steps, from_ns: int, to_ns: int) -> None:
        """Give each slot to the step in which it begins; the time-weighted mean of a slot is its mean."""
        since_ns = from_ns - steps.hold_ns if steps.ordered else from_ns
        for slot in self.slots:
            if from_ns <= slot.start_ns < to_ns:
                steps.take(slot.piece(self._length_ns))
            elif since_ns <= slot.start_ns < from_ns:
                steps.add(slot.start_ns, slot.last, slot.mark)
