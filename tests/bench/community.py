"""What the demo community's daemon would record, without wires: models, registers' resolution, deadbands, heartbeat.

The models live in steps of a second; every polled block is read at its period, a few milliseconds late by chance as
on a wire, its values through the registers of the profile; devices that report by themselves do. What the daemon's
own pipeline finds worth recording comes out, stamped in whole milliseconds as by the system's clock.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from drivers.modbus.codec import decode, encode
from drivers.modbus.keys import RegisterKeys
from drivers.point import Batch, Block, Point, Value
from edge.acquisition.pipeline import Pipeline
from edge.data import CONFIG
from edge.demo import sim_equipment
from edge.site import Site
from edge.site_file import load_site
from simulators.world import World

S = 10**9
LATE_S = 0.02
"""A turn is begun and answered up to so late: what a demo on a busy machine shows."""

Recorded = tuple[str, tuple[str, ...], tuple[Value, ...], int]
"""Equipment, points, values, time in ns; all good."""


@dataclass(slots=True)
class _Polled:
    block: Block
    period_s: float
    due_s: float
    seen: tuple[Value, ...] = field(default=())
    last: tuple[Value, ...] = field(default=())


class Community:
    """The demo community from a moment on."""

    def __init__(self, start: datetime, seed: int = 1) -> None:
        self.site: Site = load_site(CONFIG / "site.yaml")
        self.world = World(sim_equipment(self.site), seed=seed, start=start)
        self._chance = random.Random(seed)
        self._pipeline = Pipeline(self.site.storage.heartbeat)
        self._polled = [
            _Polled(request.block, request.period_s, self._chance.uniform(0, request.period_s))
            for way in self.site.connections.values()
            for request in way.requests
        ]
        polled = {each.block.equipment for each in self._polled}
        self._reporting = {
            each.id: Block(each.id, each.device.points)
            for each in self.site.equipment.values()
            if each.id not in polled
        }
        self._begin_ns = int(start.timestamp()) * S

    def hours(self, hours: float) -> Iterator[Recorded]:
        """What is recorded in so many hours of behaviour, in order of time."""
        for second in range(round(hours * 3600)):
            self.world.advance(1.0)
            found = [*self._poll(second), *self._report(second)]
            for at_s, block, values in sorted(found, key=lambda each: each[0]):
                yield from self._judge(Batch(block, values, self._begin_ns + int(at_s * 1000) * 10**6, at_s))

    def _judge(self, batch: Batch) -> Iterator[Recorded]:
        judged, indices = self._pipeline.take(batch)
        if indices:
            names = self._pipeline.names(batch.block, indices)
            yield batch.block.equipment, names, tuple([judged.values[n] for n in indices]), batch.time_ns

    def _poll(self, second: int) -> Iterator[tuple[float, Block, tuple[Value, ...]]]:
        for each in self._polled:
            while each.due_s < second + 1:
                model = self.world.models[each.block.equipment].values()
                seen = tuple(model[point.name] for point in each.block.points)
                if seen != each.seen:
                    each.seen, each.last = seen, tuple(map(_through_registers, each.block.points, seen))
                yield each.due_s + self._chance.uniform(0, LATE_S), each.block, each.last
                each.due_s += each.period_s

    def _report(self, second: int) -> Iterator[tuple[float, Block, tuple[Value, ...]]]:
        for name, block in self._reporting.items():
            model = self.world.models[name]
            if model.reports():
                values = model.values()
                told = tuple(_rounded(values[point.name]) for point in block.points)
                yield second + self._chance.random(), block, told


def _through_registers(point: Point, value: Value) -> Value:
    keys = cast(RegisterKeys, point.address)
    raw = encode(keys, value)
    return value if isinstance(raw, bool) else decode(keys, raw, point.kind)


def _rounded(value: Value) -> Value:
    """A payload has few digits."""
    return round(value, 2) if isinstance(value, float) else value
