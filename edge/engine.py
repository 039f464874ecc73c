"""What every reading passes through: judge, record, alarm, count; in this order and without waiting.

What comes in: batches of all connections, connections going up and down, and the tick of the clock. What goes
out: rows to the readings log, and happenings (alarm transitions, incident and order events) to the clerk, who writes
them down before anybody is told. No I/O and no await: nothing here can be held up by a disk or a network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from drivers.driver import Clock
from drivers.point import Batch, Device, Point, Quality, Value
from edge.acquisition.pipeline import Live, Pipeline
from edge.alarms.alarm import Transition
from edge.alarms.engine import AlarmEngine
from edge.incidents.engine import IncidentEngine
from edge.incidents.incident import IncidentEvent
from edge.supervise import Fatal
from edge.upkeep.engine import UpkeepEngine
from edge.upkeep.orders import OrderEvent

Happening = Transition | IncidentEvent | OrderEvent

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where rows go; the readings store."""

    def append(
        self,
        equipment: str,
        points: tuple[str, ...],
        values: tuple[Value, ...],
        qualities: tuple[str, ...] | None,
        time_ns: int,
        source_time_ns: int | None = None,
    ) -> int:
        """Take one row, at once."""
        ...


class Engine:
    """The way of a reading through the house."""

    def __init__(
        self,
        pipeline: Pipeline,
        recorder: Recorder,
        alarms: AlarmEngine,
        upkeep: UpkeepEngine,
        clock: Clock,
        happened: Callable[[Sequence[Happening]], None],
        incidents: IncidentEngine | None = None,
        points: Mapping[str, Point] | None = None,
    ) -> None:
        """`points` by id: what an alarm's point reads when it clears is looked up there."""
        self.alarms = alarms
        self.incidents = incidents or IncidentEngine()
        self.upkeep = upkeep
        self.batches = 0
        self.readings = 0
        self.recorded = 0
        self._pipeline = pipeline
        self._recorder = recorder
        self._clock = clock
        self._happened = happened
        self._points = points or {}

    def feed(self, batch: Batch) -> None:
        """Take one batch through all of it. A failure here is no connection's fault: it is `Fatal`."""
        try:
            judged, indices = self._pipeline.take(batch)
            self.batches += 1
            self.readings += len(judged.values)
            if indices:
                self._record(judged, indices)
            self.upkeep.feed(judged)
            transitions = self.alarms.evaluate(judged)
            if transitions:
                self._tell(transitions)
        except Exception as error:
            log.exception("a batch of %s cannot be processed", batch.block.equipment)
            raise Fatal(f"a batch of {batch.block.equipment} cannot be processed: {error}") from error

    def _record(self, batch: Batch, indices: Sequence[int]) -> None:
        names = self._pipeline.names(batch.block, indices)
        values, qualities = batch.values, batch.qualities
        if len(indices) != len(values):
            values = tuple([values[index] for index in indices])
            qualities = tuple([qualities[index] for index in indices]) if qualities else None
        if qualities is None and batch.quality is not Quality.GOOD:
            qualities = (batch.quality,) * len(values)
        texts = tuple([quality.value for quality in qualities]) if qualities else None
        self._recorder.append(batch.block.equipment, names, values, texts, batch.time_ns, batch.source_time_ns)
        self.recorded += len(values)

    def _tell(self, transitions: Sequence[Transition]) -> None:
        """Each alarm, what it does to its incident, then the orders that it opens: written down together."""
        mono_s = self._clock.mono_s()
        for each in transitions:
            point = self._points.get(each.alarm.point or "") if each.event == "cleared" else None
            value = self._pipeline.live(point).value if point is not None else None
            self._happened([each, *self.incidents.take(each, mono_s, value), *self.upkeep.on_alarm(each)])

    def lost(self, devices: Iterable[Device], quality: Quality) -> None:
        """The newest values of these devices can no longer be trusted as they stand."""
        points = [point for device in devices for point in device.points]
        for batch in list(self._pipeline.marked(points, quality, self._clock.wall_ns(), self._clock.mono_s())):
            self.feed(batch)

    def connection(self, name: str, *, up: bool) -> None:
        """A connection has gone up or down."""
        transitions = self.alarms.connection(name, up, self._clock.mono_s(), self._clock.wall_ns())
        if transitions:
            self._tell(transitions)

    def acted(self, transitions: Sequence[Transition]) -> None:
        """Somebody has acknowledged, shelved or reset an alarm."""
        self._tell(transitions)

    def expects(self, seconds: float) -> bool:
        """Whether a delay may end within that time, or an incident is to be told: then `tick` has something to do."""
        due_s = self.alarms.next_due_s()
        return self.incidents.gathers or (due_s is not None and due_s <= self._clock.mono_s() + seconds)

    def tick(self) -> None:
        """Delays that have passed, shelves that have ended, orders that fall due."""
        mono_s, wall_ns = self._clock.mono_s(), self._clock.wall_ns()
        transitions = self.alarms.tick(mono_s, wall_ns, known=self._clock.known())
        if transitions:
            self._tell(transitions)
        events = self.incidents.tick(mono_s, wall_ns)
        if events:
            self._happened(events)
        orders = self.upkeep.tick(mono_s, wall_ns)
        if orders:
            self._happened(orders)

    def time_unknown(self) -> None:
        """See `Pipeline.time_unknown`."""
        self._pipeline.time_unknown()

    def time_known(self, shift_ns: int) -> None:
        """The time has become known just now: see `Pipeline.time_known`."""
        self._pipeline.time_known(self._clock.mono_s(), shift_ns)

    def live(self, point: Point) -> Live:
        """The newest reading of a point."""
        return self._pipeline.live(point)
