"""The newest values that rules look at, and which rules a batch touches.

What comes in: batches. What goes out: the rules whose value changed, so that the cost of a reading does not
depend on the number of rules that look at other points. A batch whose values are the same object as last time
costs one comparison.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from drivers.point import Batch, Block, Point, Quality, Value
from edge.alarms.measure import Change, Count, Difference, Unbalance, points_of_measure
from edge.alarms.signals import CountSignal, Memory, Signal, Window, signal
from edge.alarms.truth import Key, Linked, Silent, Source, Standing, Unusable, Within

if TYPE_CHECKING:
    from edge.alarms.watch import Watch

TRUSTED = frozenset({Quality.GOOD, Quality.UNCERTAIN_CLOCK})
"""Without the time of day a value is as true as with it: a box whose clock is not set must not miss a fire."""
DEAD = frozenset({Quality.BAD_COMM, Quality.BAD_STALE})
UNUSABLE = frozenset({Quality.BAD_RANGE, Quality.BAD_SENSOR, Quality.UNCERTAIN_STALE})
"""The device answers, and what it answers cannot be used."""
LATE = 3
"""So many messages in a row that are older than one before them: the device's clock was set back, they are news."""
_PLANS = 50_000
"""Blocks remembered. A driver keeps its blocks, so this bounds only one that does not."""

Touched = dict["Watch", None]
"""Who is to judge anew: each once, in order."""


class Presence(Source):
    """Whether an equipment can be read: True while every point seen so far is dead; None until one was seen."""

    __slots__ = ("_alive",)

    def __init__(self) -> None:
        super().__init__()
        self._alive: set[Point] = set()

    def mark(self, points: Collection[Point], dead: Collection[Point], touched: Touched) -> None:
        """Note that of `points` those in `dead` cannot be read."""
        self._alive.update(points)
        self._alive.difference_update(dead)
        silent = not self._alive
        if silent is not self.value:
            self.value = silent
            touched.update(dict.fromkeys(self.watches))


class Soundness(Source):
    """Whether some point of several answers with what cannot be used: from the first such answer to a good one."""

    __slots__ = ("_wrong", "points")

    def __init__(self, points: Collection[Point]) -> None:
        super().__init__()
        self.points = frozenset(points)
        self._wrong: dict[Point, None] = {}

    def mark(self, batch: Batch, touched: Touched) -> None:
        """Note the qualities of a batch; one that does not answer is neither."""
        for point, _, quality in batch.readings():
            if quality in UNUSABLE and point in self.points:
                self._wrong[point] = None
            elif quality in TRUSTED:
                self._wrong.pop(point, None)
        self.point = next(iter(self._wrong), self.point)
        wrong = bool(self._wrong)
        if wrong is not self.value:
            self.value = wrong
            touched.update(dict.fromkeys(self.watches))


class _Plan:
    """What one block means to the rules, and what it brought last."""

    __slots__ = (
        "late", "matter", "mono_s", "presence", "qualities", "quality", "rivals", "sounds", "source_ns", "sources",
        "values",
    )  # fmt: skip

    def __init__(
        self,
        block: Block,
        sources: list[tuple[int, Source]],
        presence: Presence | None,
        sounds: list[Soundness],
    ) -> None:
        self.sources = sources
        self.presence = presence
        self.sounds = sounds
        whole = presence or sounds
        self.matter = frozenset(block.points) if whole else frozenset(block.points[i] for i, _ in sources)
        self.rivals: list[_Plan] = []
        """Other blocks with some of the same points: after one of them, the same values are news again."""
        self.values: tuple[Value, ...] | None = None
        self.quality: Quality | None = None
        self.qualities: tuple[Quality, ...] | None = None
        self.mono_s = float("-inf")
        self.source_ns: int | None = None
        self.late = 0

    def is_late(self, batch: Batch) -> bool:
        """Whether it is older than what came before it, by our clock or by the device's own."""
        if batch.mono_s < self.mono_s:
            return True
        stamp = batch.source_time_ns
        if stamp is None:
            return False
        if self.source_ns is not None and stamp < self.source_ns and self.late < LATE:
            self.late += 1
            return True
        self.source_ns, self.late = stamp, 0
        return False

    def keep(self, batch: Batch) -> None:
        self.values, self.quality, self.qualities = batch.values, batch.quality, batch.qualities
        self.mono_s = batch.mono_s
        for rival in self.rivals:
            rival.values = rival.quality = None


class Values:
    """Newest values by point, presence by equipment, state by connection, and what is made of them."""

    def __init__(self) -> None:
        self._sources: dict[Key, Source] = {}
        self._plans: dict[Block, _Plan] = {}
        self._by_equipment: dict[str, list[_Plan]] = {}
        self._sounds: dict[Point, list[Soundness]] = {}
        self.memories: list[Memory] = []
        """Signals with a past."""
        self.calendar: list[CountSignal | Window] = []
        """What changes with the time of day."""

    def source(self, key: Key) -> Source:
        """What a leaf of a condition looks at; made when it is asked for first."""
        found = self._sources.get(key)
        if found is None:
            found = self._sources[key] = self._made(key)
        return found

    def _made(self, key: Key) -> Source:
        if isinstance(key, Point):
            return Source(key)
        if isinstance(key, Silent):
            return Presence()
        if isinstance(key, Unusable):
            sound = Soundness(key.points)
            for point in key.points:
                self._sounds.setdefault(point, []).append(sound)
            return sound
        if isinstance(key, Within):
            window = Window(key)
            self.calendar.append(window)
            return window
        if isinstance(key, Change | Count | Difference | Unbalance):
            return self._signal(key)
        source = Source()
        if isinstance(key, Standing):
            source.value = False
        return source

    def _signal(self, key: Change | Count | Difference | Unbalance) -> Signal:
        made = signal(key, [self.source(point) for point in points_of_measure(key)])
        if isinstance(made, Memory):
            self.memories.append(made)
        if isinstance(made, CountSignal) and made.measure.over_s is None:
            self.calendar.append(made)
        return made

    def line(self, connection: str, *, up: bool) -> Touched:
        """A connection is up or down."""
        source = self._sources.get(Linked(connection, up=True))
        if source is None or source.value is up:
            return {}
        source.value = up
        return dict.fromkeys(source.watches)

    def stands(self, alarm: str, *, standing: bool) -> Touched:
        """Another alarm stands, or stands no longer."""
        source = self._sources.get(Standing(alarm))
        if source is None or source.value is standing:
            return {}
        source.value = standing
        return dict.fromkeys(source.watches)

    def take(self, batch: Batch, moved: dict[Signal, None]) -> Touched:
        """Put a batch's values in place; signals that are made of them are added to `moved`."""
        plan = self._plans.get(batch.block) or self._plan(batch.block)
        touched: Touched = {}
        same_quality = batch.quality is plan.quality and batch.qualities is plan.qualities
        if (same_quality and batch.values is plan.values) or plan.is_late(batch):
            return touched
        if not same_quality:
            if plan.presence is not None:
                plan.presence.mark(batch.block.points, _dead(batch), touched)
            for sound in plan.sounds:
                sound.mark(batch, touched)
        values, qualities = batch.values, batch.qualities
        if qualities is None:
            known = batch.quality in TRUSTED
            for index, source in plan.sources:
                _put(source, values[index] if known else None, touched, moved)
        else:
            for index, source in plan.sources:
                _put(source, values[index] if qualities[index] in TRUSTED else None, touched, moved)
        plan.keep(batch)
        return touched

    def _plan(self, block: Block) -> _Plan:
        if len(self._plans) >= _PLANS:
            self._plans.clear()
            self._by_equipment.clear()
        found = [(i, self._sources.get(point)) for i, point in enumerate(block.points)]
        sources = [(i, source) for i, source in found if source is not None]
        presence = self._sources.get(Silent(block.equipment))
        sounds = dict.fromkeys(sound for point in block.points for sound in self._sounds.get(point, ()))
        plan = _Plan(block, sources, presence if isinstance(presence, Presence) else None, list(sounds))
        others = self._by_equipment.setdefault(block.equipment, [])
        for other in others:
            if plan.matter & other.matter:
                plan.rivals.append(other)
                other.rivals.append(plan)
        others.append(plan)
        self._plans[block] = plan
        return plan


def _dead(batch: Batch) -> Collection[Point]:
    points = batch.block.points
    if batch.qualities is not None:
        return [point for point, quality in zip(points, batch.qualities, strict=True) if quality in DEAD]
    return points if batch.quality in DEAD else ()


def _put(source: Source, value: Value, touched: Touched, moved: dict[Signal, None]) -> None:
    if value == source.value:
        return
    if value != value:  # noqa: PLR0124  # NaN is the one value that is not itself: unknown
        value = None
        if source.value is None:
            return
    source.value = value
    for each in source.watches:
        touched[each] = None
    for made in source.signals:
        moved[made] = None
