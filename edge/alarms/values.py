"""The newest values that rules look at, and which rules a batch touches.

What comes in: batches. What goes out: the rules whose value changed, so that the cost of a reading does not
depend on the number of rules that look at other points. A batch whose values are the same object as last time
costs one comparison.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from drivers.point import Batch, Block, Point, Quality, Value
from edge.alarms.truth import Linked, Silent, Source

if TYPE_CHECKING:
    from edge.alarms.watch import Watch

TRUSTED = frozenset({Quality.GOOD, Quality.UNCERTAIN_CLOCK})
"""Without the time of day a value is as true as with it: a box whose clock is not set must not miss a fire."""
DEAD = frozenset({Quality.BAD_COMM, Quality.BAD_STALE})
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


class _Plan:
    """What one block means to the rules, and what it brought last."""

    __slots__ = ("matter", "presence", "qualities", "quality", "rivals", "sources", "values")

    def __init__(self, block: Block, sources: list[tuple[int, Source]], presence: Presence | None) -> None:
        self.sources = sources
        self.presence = presence
        self.matter = frozenset(block.points) if presence else frozenset(block.points[i] for i, _ in sources)
        self.rivals: list[_Plan] = []
        """Other blocks with some of the same points: after one of them, the same values are news again."""
        self.values: tuple[Value, ...] | None = None
        self.quality: Quality | None = None
        self.qualities: tuple[Quality, ...] | None = None

    def same(self, batch: Batch) -> bool:
        return batch.values is self.values and self.same_quality(batch)

    def same_quality(self, batch: Batch) -> bool:
        return batch.quality is self.quality and batch.qualities is self.qualities

    def keep(self, batch: Batch) -> None:
        self.values, self.quality, self.qualities = batch.values, batch.quality, batch.qualities
        for rival in self.rivals:
            rival.values = rival.quality = None


class Values:
    """Newest values by point, presence by equipment, state by connection."""

    def __init__(self) -> None:
        self._points: dict[Point, Source] = {}
        self._presence: dict[str, Presence] = {}
        self._lines: dict[str, Source] = {}
        self._plans: dict[Block, _Plan] = {}
        self._by_equipment: dict[str, list[_Plan]] = {}

    def source(self, key: Point | Silent | Linked) -> Source:
        """What a leaf of a condition looks at; made when it is asked for first."""
        if isinstance(key, Silent):
            if key.equipment not in self._presence:
                self._presence[key.equipment] = Presence()
            return self._presence[key.equipment]
        if isinstance(key, Linked):
            return self._lines.setdefault(key.connection, Source())
        if key not in self._points:
            self._points[key] = Source(key)
        return self._points[key]

    def line(self, connection: str, *, up: bool) -> Touched:
        """A connection is up or down."""
        source = self._lines.get(connection)
        if source is None or source.value is up:
            return {}
        source.value = up
        return dict.fromkeys(source.watches)

    def take(self, batch: Batch) -> Touched:
        """Put a batch's values in place."""
        plan = self._plans.get(batch.block) or self._plan(batch.block)
        touched: Touched = {}
        if plan.same(batch):
            return touched
        if plan.presence is not None and not plan.same_quality(batch):
            plan.presence.mark(batch.block.points, _dead(batch), touched)
        values, qualities = batch.values, batch.qualities
        if qualities is None:
            known = batch.quality in TRUSTED
            for index, source in plan.sources:
                _put(source, values[index] if known else None, touched)
        else:
            for index, source in plan.sources:
                _put(source, values[index] if qualities[index] in TRUSTED else None, touched)
        plan.keep(batch)
        return touched

    def _plan(self, block: Block) -> _Plan:
        if len(self._plans) >= _PLANS:
            self._plans.clear()
            self._by_equipment.clear()
        sources = [(i, self._points[point]) for i, point in enumerate(block.points) if point in self._points]
        plan = _Plan(block, sources, self._presence.get(block.equipment))
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


def _put(source: Source, value: Value, touched: Touched) -> None:
    if value == source.value:
        return
    if value != value:  # noqa: PLR0124  # NaN is the one value that is not itself: unknown
        value = None
        if source.value is None:
            return
    source.value = value
    for each in source.watches:
        touched[each] = None
