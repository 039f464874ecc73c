"""One connection, acquired: opened, polled or listened to, and marked lost when it goes.

What comes in: a checked connection of the site. What goes out: batches into the engine. Whoever calls `run`
(the supervisor) calls it again after each failure; what is known about the connection stays here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any, cast

from drivers.driver import Clock, ConnectionDown, Link, ListeningLink, PolledLink, PolledSettings
from drivers.point import Batch, Point, Quality, Tally, Value
from edge.acquisition.figures import ConnectionFigures
from edge.acquisition.probes import PROBE_SHARE
from edge.acquisition.scheduler import Poller
from edge.engine import Engine
from edge.load import Load, load_of
from edge.site import Connection, Equipment
from edge.texts import iso

_COMM = Quality.BAD_COMM
"""Looked up once: a member of an enumeration is slow to find."""

log = logging.getLogger(__name__)


class Acquired:
    """One connection of the site, and what is known of it now."""

    __slots__ = (
        "_clock", "_deserted", "_engine", "_link", "_load", "_phase_s", "_poller", "_since_ns", "_urgent", "_way",
        "connection", "reason", "tally", "up",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, engine: Engine, clock: Clock, urgent: Collection[str] = (), phase_s: float = 0.0
    ) -> None:
        """`urgent`: ids of the points that alarm rules look at; they are read first. `phase_s`: see `Poller`."""
        self._phase_s = phase_s
        self.connection = connection
        self.tally = Tally()
        self.reason = "not opened yet"
        self.up = False
        self._engine = engine
        self._clock = clock
        self._urgent = urgent
        self._load = self._planned(urgent) if connection.requests else None
        self._since_ns = clock.wall_ns()
        self._link: Link | None = None
        self._poller: Poller | None = None
        self._deserted = False
        """Open, but none of its devices answers."""
        self._way: Callable[[Batch], None] = self._take if len(connection.devices) > 1 else engine.feed
        """What a polled batch passes first; where a device is alone, its silence and the line's are the same."""
        engine.connection(connection.name, up=False)

    def _planned(self, urgent: Collection[str]) -> Load:
        connection = self.connection
        return load_of(connection.driver, connection.requests, urgent, connection.settings.at_once)

    async def run(self) -> None:
        """Open and read until the connection fails."""
        connection = self.connection
        opening = connection.driver.open(connection.name, connection.settings, connection.devices, self._clock)
        try:
            async with opening as link:
                self._opened(link)
                await self._read(link)
        except Exception:  # not when the daemon stops: then nobody looks any more
            self._closed()
            raise

    async def _read(self, link: Link) -> None:
        if self.connection.driver.plan:
            polled = cast(PolledLink, link)
            settings = self.connection.settings
            share = settings.probe_share if isinstance(settings, PolledSettings) else PROBE_SHARE
            self._poller = Poller(
                polled, self.connection.requests, self._clock, self._way,
                before=self._poller, urgent=self._urgent, probe_share=share, phase_s=self._phase_s,
            )  # fmt: skip
            await self._poller.run()
        else:
            async for batch in cast(ListeningLink, link).listen():
                self._engine.feed(batch)
        raise ConnectionDown(f"{self.connection.name}: the connection has ended")

    def _take(self, batch: Batch) -> None:
        """A polled batch. Where the last of several devices falls silent, it is the line that is lost."""
        if (self._deserted or batch.quality is _COMM) and self._poller is not None:
            deserted = len(self._poller.figures.silent) == len(self.connection.devices) > 1
            if deserted is not self._deserted:
                self._deserted = deserted
                self._engine.connection(self.connection.name, up=not deserted)
        self._engine.feed(batch)

    def _opened(self, link: Link) -> None:
        if self.reason:
            log.info("%s is open", self.connection.name)
        self._link, self.up, self.reason = link, True, ""
        link.tally = self.tally  # counts go on over reconnections
        self._since_ns = self._clock.wall_ns()
        self._deserted = False
        self._engine.connection(self.connection.name, up=True)

    def _closed(self) -> None:
        was_up, self.up = self.up, False
        self._link = None
        if not was_up:
            return
        self._since_ns = self._clock.wall_ns()
        self._engine.connection(self.connection.name, up=False)
        # What was polled is unknown from now on; what devices report by themselves was true when they said it.
        quality = Quality.BAD_COMM if self.connection.driver.plan else Quality.UNCERTAIN_STALE
        self._engine.lost(self.connection.devices, quality)

    def lost(self, reason: str) -> None:
        """Why it is down, for those who look."""
        self.reason = reason

    async def write(self, equipment: Equipment, point: Point, value: Value) -> Value:
        """Write one value and read it back; ahead of all reads."""
        if self._link is None:
            raise ConnectionDown(f"{self.connection.name} is down: {self.reason}")
        way = self._poller or self._link
        return await way.write(equipment.device, point, value)

    def silent(self, equipment: str) -> str | None:
        """Why an equipment is known not to answer now; None where it may."""
        device = self._poller.figures.devices.get(equipment) if self._poller else None
        if device is None or device.state not in ("silent", "waiting"):
            return None
        return device.reason or None  # one that waits has none at the start, and one where it is left alone

    def worst_age_s(self, point: Point) -> float | None:
        """The oldest that a point can become while its devices answer; None where it is not polled."""
        found = self._load.points.get(point.id) if self._load else None
        return None if found is None else round(found.worst_age_s, 3)

    @property
    def taken(self) -> int:
        """Messages that have been dealt with, whatever came of them."""
        tally = self.tally
        return tally.messages + tally.bad_frames + tally.unknown

    def status(self) -> dict[str, Any]:
        """Its row in `connections`."""
        tally = self.tally
        figures = self._poller.figures if self._poller else None
        return {
            "name": self.connection.name,
            "type": self.connection.settings.type,
            "state": "up" if self.up and not self._deserted else "down",
            "reason": self.reason or ("none of its devices answers" if self._deserted else None),
            "since": iso(self._since_ns),
            "equipment": len(self.connection.devices),
            "messages": tally.messages,
            "timeouts": figures.timeouts if figures else tally.timeouts,
            "overruns": figures.overruns if figures else 0,
            "silent": figures.silent if figures else [],
            "bad_frames": tally.bad_frames,
            "bad_kinds": dict(tally.detail),
            "exceptions": tally.exceptions,
            "unknown": tally.unknown,
            **self._use(figures),
        }

    def _use(self, figures: ConnectionFigures | None) -> dict[str, Any]:
        """Of a polled line: what was planned of it, and beside that what is measured; over the last minute."""
        load = self._load
        if load is None:
            return {"load": None, "utilisation": None}
        now = self._clock.mono_s()
        return {
            "load": load.total,
            "utilisation": figures.utilisation(now) if figures else None,
            "probing": figures.probing.share(now) if figures else None,
            "worst_age_s": load.worst_age_s,
            "bad_answers": figures.bad_answers if figures else 0,
            "writes": figures.writes if figures else 0,
            "devices": [self._device(name, load, figures, now) for name in load.devices],
        }

    def _device(self, name: str, load: Load, figures: ConnectionFigures | None, now: float) -> dict[str, Any]:
        """One device: its planned share and answer time, and how it does."""
        planned = {"equipment": name, "load": load.devices[name], "planned_s": load.exchange_s(name)}
        device = figures.devices.get(name) if figures else None
        if device is None:
            return planned | {"state": "waiting"}
        return planned | {
            "state": device.state,
            "reason": device.reason or None,
            "utilisation": device.share(now),
            "response_s": device.response_s(now),
            "answers": device.answers,
            "timeouts": device.timeouts,
            "bad_answers": device.bad_answers,
            "overruns": device.overruns,
        }
