"""From a driver's batch to a judged one: impossible values, unknown time, and what is worth recording.

What comes in: batches as drivers make them. What goes out: the same batch, with the qualities that our own
knowledge adds, and which of its points have changed enough to be recorded (report by exception: more than
the deadband, a change of quality, or the heartbeat). Touches no I/O; this is the hot way of a reading, so
the work for a batch in which nothing changed is a comparison of object identities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import inf

from drivers.point import Batch, Block, Point, Quality, Value


@dataclass(frozen=True, slots=True)
class Live:
    """The newest reading of one point."""

    value: Value
    quality: Quality
    time_ns: int
    """0 where the point was never read."""


NEVER = Live(None, Quality.BAD_COMM, 0)


class _Track:
    """What is remembered of one block."""

    __slots__ = ("bands", "came", "judged", "limits", "names", "next_heartbeat_s", "recorded", "recorded_quality")

    recorded: Sequence[Value]
    """As last recorded, value by value; a list only once some of them were recorded without the others."""
    recorded_quality: tuple[Quality, ...]

    def __init__(self, block: Block) -> None:
        self.names = tuple(point.name for point in block.points)
        self.bands = tuple(point.deadband for point in block.points)
        low, high = float("-inf"), float("inf")
        self.limits = [
            (index, low if point.low is None else point.low, high if point.high is None else point.high)
            for index, point in enumerate(block.points)
            if point.low is not None or point.high is not None
        ]
        self.came: Batch | None = None
        self.judged: Batch | None = None
        self.recorded = ()
        self.recorded_quality = ()
        self.next_heartbeat_s = 0.0


class Pipeline:
    """Judges batches and keeps the newest reading of every point."""

    def __init__(self, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._known_from_s = -inf  # of the monotonic clock; batches made before have a provisional stamp
        self._shift_ns = 0  # and this is what it lacks
        self._tracks: dict[Block, _Track] = {}
        self._blocks_of: dict[Point, list[tuple[_Track, int]]] = {}

    def take(self, batch: Batch) -> tuple[Batch, Sequence[int]]:
        """The judged batch, and the indices of its points that are to be recorded."""
        track = self._tracks.get(batch.block) or self._begin(batch.block)
        came = track.came
        if (  # nearly every batch: the same as the one before, of which nothing was left to judge
            came is not None
            and came is track.judged
            and batch.values is came.values
            and batch.quality is came.quality
            and batch.qualities is came.qualities
            and self._known_from_s <= batch.mono_s < track.next_heartbeat_s
        ):
            track.came = track.judged = batch
            return batch, ()
        if batch.mono_s < self._known_from_s < inf:  # it was on its way when the time became known
            batch = replace(batch, time_ns=batch.time_ns + self._shift_ns)
        judged = self._judge(batch, track)
        first = not track.recorded
        heartbeat = batch.mono_s >= track.next_heartbeat_s
        same = (
            track.judged is not None
            and judged.values is track.judged.values
            and judged.quality is track.judged.quality
            and judged.qualities is track.judged.qualities
        )
        track.came, track.judged = batch, judged
        if same and not heartbeat:
            return judged, ()
        indices = range(len(judged.values)) if first or heartbeat else self._changed(judged, track)
        if indices:
            self._remember(judged, track, indices, whole=first or heartbeat)
        return judged, indices

    def names(self, block: Block, indices: Sequence[int]) -> tuple[str, ...]:
        """The names of some of a block's points; the same tuple each time for all of them."""
        names = self._tracks[block].names
        return names if len(indices) == len(names) else tuple([names[index] for index in indices])

    def live(self, point: Point) -> Live:
        """The newest reading of a point; `NEVER` where there was none."""
        newest: tuple[Batch, int] | None = None
        for track, index in self._blocks_of.get(point, ()):
            batch = track.judged
            if batch is not None and (newest is None or batch.mono_s >= newest[0].mono_s):
                newest = batch, index
        if newest is None:
            return NEVER
        batch, index = newest
        return Live(batch.values[index], batch.qualities[index] if batch.qualities else batch.quality, batch.time_ns)

    def marked(self, points: Sequence[Point], quality: Quality, time_ns: int, mono_s: float) -> Iterator[Batch]:
        """Batches that say of the newest values of `points` that they have another quality now.

        Points that never had a value are left as they are: there is nothing to take back.
        """
        wanted = set(points)
        for block, track in self._tracks.items():
            if track.judged is not None and wanted.issuperset(block.points):
                yield Batch(block, track.judged.values, time_ns, mono_s, quality)

    def time_unknown(self) -> None:
        """From now on stamps are provisional: good readings are `uncertain/clock`."""
        self._known_from_s = inf

    def time_known(self, mono_s: float, shift_ns: int) -> None:
        """The time is known since `mono_s`; stamps from before lack `shift_ns`, those of the newest values too."""
        self._known_from_s, self._shift_ns = mono_s, shift_ns
        for track in self._tracks.values():
            if track.judged is not None:
                marks = track.judged.qualities
                track.judged = replace(
                    track.judged,
                    time_ns=track.judged.time_ns + shift_ns,
                    qualities=marks and tuple([Quality.GOOD if q is Quality.UNCERTAIN_CLOCK else q for q in marks]),
                )
            track.came = None  # judged anew, whether it has changed or not
            track.next_heartbeat_s = -inf  # a row that left with an uncertain stamp is followed by one to rely on

    def _begin(self, block: Block) -> _Track:
        track = self._tracks[block] = _Track(block)
        for index, point in enumerate(block.points):
            self._blocks_of.setdefault(point, []).append((track, index))
        return track

    def _judge(self, batch: Batch, track: _Track) -> Batch:
        came, judged = track.came, track.judged
        if (
            came is not None
            and judged is not None
            and batch.values is came.values
            and batch.quality is came.quality
            and batch.qualities == came.qualities
        ):
            return batch if judged.qualities is None else replace(batch, qualities=judged.qualities)
        values = batch.values
        wrong = [i for i, low, high in track.limits if (v := values[i]) is not None and not low <= v <= high]  # type: ignore[operator]  # limits stand on numbers only
        known = self._known_from_s < inf
        if not wrong and known:
            return batch
        qualities = list(batch.qualities or (batch.quality,) * len(values))
        for index in wrong:
            if qualities[index].level != "bad":
                qualities[index] = Quality.BAD_RANGE
        if not known:
            qualities = [Quality.UNCERTAIN_CLOCK if q is Quality.GOOD else q for q in qualities]
        return replace(batch, qualities=tuple(qualities))

    def _changed(self, batch: Batch, track: _Track) -> list[int]:
        changed = [
            index
            for index, (value, last, band) in enumerate(zip(batch.values, track.recorded, track.bands, strict=True))
            if value != last and (not band or value is None or last is None or abs(value - last) > band)  # type: ignore[operator]  # bands stand on numbers only
        ]
        qualities = batch.qualities or _all(batch.quality, len(batch.values))
        if track.recorded_quality is qualities or track.recorded_quality == qualities:
            return changed
        other = {
            i for i, (now, last) in enumerate(zip(qualities, track.recorded_quality, strict=True)) if now is not last
        }
        return sorted(other.union(changed))

    def _remember(self, batch: Batch, track: _Track, indices: Sequence[int], *, whole: bool) -> None:
        qualities = batch.qualities or _all(batch.quality, len(batch.values))
        if whole:
            track.next_heartbeat_s = batch.mono_s + self._heartbeat_s
        if len(indices) == len(qualities):
            track.recorded, track.recorded_quality = batch.values, qualities
            return
        recorded = list(track.recorded)
        for index in indices:
            recorded[index] = batch.values[index]
        track.recorded = recorded
        if track.recorded_quality != qualities:
            marks = list(track.recorded_quality)
            for index in indices:
                marks[index] = qualities[index]
            track.recorded_quality = tuple(marks)


@cache
def _all(quality: Quality, count: int) -> tuple[Quality, ...]:
    return (quality,) * count
