"""Devices made by hand, and a listener that keeps what it hears; for the tests of drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from drivers.driver import DriverError, Keys, ListeningLink
from drivers.point import Batch, Device, Point, Quality, Text, Value

Kind = Literal["bool", "int", "float", "text"]


def device(
    name: str, address: Keys, options: Keys, points: Mapping[str, tuple[Kind, Keys]], stale_after_s: float = 0
) -> Device:
    """One equipment with points of the given kind and keys."""
    return Device(
        id=name,
        address=address,
        options=options,
        points=tuple(_point(name, each, *spec) for each, spec in points.items()),
        stale_after_s=stale_after_s,
    )


def _point(equipment: str, name: str, kind: Kind, address: Keys) -> Point:
    return Point(
        id=f"{equipment}.{name}",
        equipment=equipment,
        name=name,
        title=Text(name, name),
        kind=kind,
        unit="",
        period_s=0,
        deadband=0,
        low=None,
        high=None,
        counter=False,
        writable=getattr(address, "write", None) is not None,
        labels=None,
        address=address,
    )


class Heard:
    """What came out of a link."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.error: DriverError | None = None

    def readings(self, equipment: str) -> dict[str, tuple[Value, Quality]]:
        """The latest value and quality of each point of one equipment."""
        return {
            point.name: (value, quality)
            for batch in self.batches
            if batch.block.equipment == equipment
            for point, value, quality in batch.readings()
        }

    def of(self, point_id: str) -> list[Any]:
        """All values of one point, in order."""
        return [v for batch in self.batches for point, v, _ in batch.readings() if point.id == point_id]


@asynccontextmanager
async def listening(link: ListeningLink) -> AsyncIterator[Heard]:
    """Listen within the block."""
    heard = Heard()

    async def run() -> None:
        try:
            async for batch in link.listen():
                heard.batches.append(batch)
        except DriverError as error:
            heard.error = error

    task = asyncio.create_task(run())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
