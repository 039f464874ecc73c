"""`read` and `write` without a daemon: one connection is opened, asked for what is needed, and closed again.

What comes in: a checked site and point ids. What goes out: rows as the daemon gives them. A value is judged and a
command is guarded by the same code as in the daemon; but no ledger is open, so nothing is journalled, and what needs
a memory (the rate of commands, those for a time) is the daemon's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, cast

from drivers.document import nearest
from drivers.driver import ConnectionDown, DeviceSilent, DriverError, Link, ListeningLink, PolledLink, Refused
from drivers.point import Batch, Point, Quality, Value
from edge.acquisition.commands import Commands, fate_of
from edge.acquisition.guards import Barred
from edge.acquisition.pipeline import Pipeline
from edge.cli.command import UNREACHABLE, USAGE, WRONG, Ended
from edge.clock import SystemClock
from edge.site import Connection, Site
from edge.texts import iso, label

Row = dict[str, Any]


class Direct:
    """The devices of one site, each asked once."""

    def __init__(self, site: Site, wait_s: float, told: Callable[[str], None]) -> None:
        """`wait_s`: how long devices that speak by themselves are listened to; `told` gets what goes wrong."""
        self._site = site
        self._wait_s = wait_s
        self._told = told
        self._clock = SystemClock()
        self._points = {point.id: point for point in site.points}
        self._pipeline = Pipeline(site.storage.heartbeat)

    async def read(self, names: Sequence[str]) -> list[Row]:
        """Points as they are now. Raises Ended where one is unknown or its connection cannot be opened."""
        points = [self._point(name) for name in names]
        await self._ask(points)
        return [self._row(point) for point in points]

    async def write(self, name: str, value: Value, who: str, reason: str) -> Row:
        """Write one point and read it back, after the checks of the daemon. Raises Ended where it is refused."""
        point = self._point(name)
        equipment = self._site.equipment[point.equipment]
        commands = Commands(self._site.guards, self._pipeline.live)
        if point.writable:
            await self._ask([point, *(lock.point for lock in commands.guard(point).interlocks)])
        before = self._pipeline.live(point).value
        try:
            value = commands.reserve(point, equipment.equipment_class, value, self._clock.mono_s())
            after = await self._write(self._site.connections[equipment.connection], point, value)
        except Barred as barred:
            raise Ended(WRONG, str(barred)) from None
        except DriverError as error:
            raise Ended(WRONG if isinstance(error, Refused) else UNREACHABLE, str(error)) from None
        return {
            "point": point.id, "before": before, "asked": value, "after": after, "who": who, "reason": reason,
            "result": fate_of(point, value, after), "journalled": False,
        }  # fmt: skip

    def _point(self, name: str) -> Point:
        if name not in self._points:
            raise Ended(USAGE, f"no point {name!r} in this site file{nearest(name, self._points)}")
        return self._points[name]

    async def _ask(self, points: Collection[Point]) -> None:
        """Read these, each connection once."""
        ways: dict[str, set[Point]] = {}
        for point in points:
            ways.setdefault(self._site.equipment[point.equipment].connection, set()).add(point)
        for name, wanted in ways.items():
            connection = self._site.connections[name]
            try:
                async with self._opened(connection) as link:
                    await (self._poll if connection.driver.plan else self._hear)(connection, link, wanted)
            except ConnectionDown as down:
                raise Ended(UNREACHABLE, str(down)) from None

    def _opened(self, connection: Connection) -> Any:
        return connection.driver.open(connection.name, connection.settings, connection.devices, self._clock)

    async def _poll(self, connection: Connection, link: Link, wanted: set[Point]) -> None:
        """The requests that carry them. A device that is silent leaves its points bad, with a line that says why."""
        read = {point for request in connection.requests for point in request.block.points}
        for point in wanted - read:
            self._told(f"{point.id}: is only written; its profile gives it no period")
        silent: set[str] = set()
        for request in connection.requests:
            if wanted.isdisjoint(request.block.points) or request.device.id in silent:
                continue
            try:
                self._pipeline.take(await cast(PolledLink, link).read(request))
            except ConnectionDown:
                raise
            except DriverError as error:
                self._told(str(error))
                if isinstance(error, DeviceSilent):  # told and waited for once, not for each of its requests
                    silent.add(request.device.id)

    async def _hear(self, connection: Connection, link: Link, wanted: set[Point]) -> None:
        """What devices that speak by themselves say within the wait."""
        missing = set(wanted)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                async for batch in cast(ListeningLink, link).listen():
                    self._pipeline.take(batch)
                    missing.difference_update(batch.block.points)
                    if not missing:
                        return
        names = ", ".join(sorted(point.id for point in missing))
        self._told(f"{connection.name}: nothing was said of {names} within {self._wait_s:g} s")

    async def _write(self, connection: Connection, point: Point, value: Value) -> Value:
        device = self._site.equipment[point.equipment].device
        async with self._opened(connection) as link:
            if connection.driver.plan:
                written: Value = await link.write(device, point, value)
                return written
            hearing = asyncio.create_task(self._drain(link))  # the answer comes as a message
            try:
                return cast(Value, await link.write(device, point, value))
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _drain(self, link: ListeningLink) -> None:
        async for batch in link.listen():
            self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        self._pipeline.take(batch)

    def _row(self, point: Point) -> Row:
        """As the daemon gives it."""
        live = self._pipeline.live(point)
        quality: Quality = live.quality
        text = label(point, live.value)
        return {
            "id": point.id, "equipment": point.equipment, "name": point.name, "title": point.title.to_body(),
            "value": live.value, "label": text.to_body() if text else None, "unit": point.unit,
            "quality": quality.level, "reason": quality.reason, "time": iso(live.time_ns), "writable": point.writable,
        }  # fmt: skip
