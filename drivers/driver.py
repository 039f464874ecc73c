"""What a driver honours, and the four errors that it may raise.

A protocol is one module (or folder) in `drivers/`. It exports one `Driver` for each connection
type, registered under the entry point group `courtyard.drivers` by the type's name. A driver owns
the wire of one open connection; scheduling, retries, reconnecting and logging of failures are done
by whoever opened it, once for all protocols.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from drivers.document import Where
from drivers.point import Batch, Block, Device, Point, Tally, Value


class DriverError(Exception):
    """Something went wrong on a connection. The message names the device and what to do."""


class ConnectionDown(DriverError):
    """The way to all devices is gone: close, wait, open again."""


class DeviceSilent(DriverError):
    """One device does not answer: its points go bad, its neighbours carry on."""


class BadAnswer(DriverError):
    """One answer cannot be used: it is counted, and the last value is kept as stale."""


class Refused(DriverError):
    """The device (or we) will not do it: tell the asker why."""


class Woken(Protocol):
    """A future, or what behaves like one to whoever wakes it."""

    def done(self) -> bool:
        """Whether it need not be woken any more."""
        ...

    def set_result(self, result: None, /) -> None:
        """It is woken."""
        ...


class Clock(Protocol):
    """Time, as drivers and simulators are given it."""

    def wall_ns(self) -> int:
        """Unix time in ns."""
        ...

    def mono_s(self) -> float:
        """Seconds that only ever go forward."""
        ...

    def known(self) -> bool:
        """Whether the wall time is vouched for: kept by the kernel from outside, or taken for true by the daemon."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""
        ...

    def wake(self, woken: Woken, at_s: float) -> None:
        """Set `woken` done at that time of `mono_s`, if it is not by then. Costs little."""
        ...

    async def wait(self, woken: asyncio.Future[None], seconds: float) -> None:
        """Wait until `woken` is done, at most so long on this clock. Makes no task."""
        ...


class Settings(BaseModel):
    """Keys of one connection in the site file. Each driver extends it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: str
    parent: str | tuple[str, ...] = ""
    """What this way hangs on (a switch, a supply): one or several of equipment ids and `connection:NAME`."""

    @property
    def at_once(self) -> int:
        """How many requests may be out on the connection."""
        return 1

    @property
    def owned(self) -> str:
        """What no other connection can have at the same time, such as a serial port; empty where that is nothing."""
        return ""


class PolledSettings(Settings):
    """Keys of a connection whose devices answer when asked."""

    probe_share: float = Field(default=0.05, gt=0, le=0.5)
    """Of the wire's time, what may be spent on devices that do not answer."""


class Keys(BaseModel):
    """Base of a protocol's own keys: of a point or of `limits` in a profile, of an equipment in a site file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def resolution(self) -> float:
        """The steps in which the device holds a point's value, in the point's unit; 0 where that is not known."""
        return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request that reads one block of one device; drivers subclass it with what they need."""

    device: Device
    block: Block
    period_s: float
    wire_s: float
    """Predicted time that the request and its reply occupy the connection, the device's own delay included."""
    lane: object = field(default=None, kw_only=True)
    """What answers it. Of one lane only `lane_width` requests are out, however many the connection allows."""
    lane_width: int = field(default=1, kw_only=True)


class Link(Protocol):
    """One open connection."""

    tally: Tally

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Write one value and return what the device then reads back. Raises `Refused` and the other three."""
        ...


class PolledLink(Link, Protocol):
    """A connection whose devices answer when asked. One request at a time unless the driver says otherwise."""

    @property
    def settle_s(self) -> float:
        """How long a device that has timed out is left alone, lest its late answer be taken for the next."""
        ...

    @property
    def at_once(self) -> int:
        """How many requests may be out. Above 1, each is sent only after `ready` has allowed it."""
        ...

    def ready(self, device: Device, *, write: bool = False) -> bool:
        """Whether one more request may go to a device, beside those that are out; a write goes alone to its unit."""
        ...

    async def read(self, request: Any, timeout_s: float | None = None) -> Batch:
        """Send one planned request, return its readings. Raises the four errors.

        `timeout_s`: how long the device may take beyond `request.wire_s`; the connection's own time-out without it.
        """
        ...


@runtime_checkable
class BriskLink(PolledLink, Protocol):
    """A polled connection on which a request can be sent without waiting for anything first."""

    def ask(self, request: Any, timeout_s: float | None, told: Callable[[Batch | Exception], None]) -> bool:
        """As `read`, but `told` is called with what comes of it: a batch, or one of the four errors.

        False, and nothing is sent, where something has to be waited for first: then it is to be read.
        """
        ...


@runtime_checkable
class ListeningLink(Link, Protocol):
    """A connection whose devices speak by themselves."""

    def listen(self) -> AsyncIterator[Batch]:
        """Batches as messages come; ends by `ConnectionDown`. Bad messages are tallied, never raised."""
        ...


@dataclass(frozen=True, slots=True)
class ScanWish:
    """What a scan shall try. What is left empty, the protocol chooses."""

    units: Sequence[int] = ()
    """Addresses on the line."""
    baudrates: Sequence[int] = ()
    parities: Sequence[str] = ()
    timeout_s: float | None = None
    """How long each address may take to answer, the time of its characters apart."""
    fixed: bool = False
    """The settings of the line are known: try these only."""


@dataclass(frozen=True, slots=True)
class Found:
    """One address that answered a scan."""

    keys: Mapping[str, str | int]
    """As an equipment's own keys in the site file: `{unit_id: 3}`."""
    line: Mapping[str, str | int]
    """As keys of the connection in the site file, those that the scan found out: `{baudrate: 9600, parity: N}`."""
    how: str
    """What it said: that it answered, or the exception that it answered with."""
    response_s: float
    profiles: tuple[str, ...] = ()
    """Those whose fingerprint it shows."""


class Scan(Protocol):
    """A scan, ready to begin: nothing has been sent yet."""

    @property
    def what(self) -> str:
        """What will be tried, in words."""
        ...

    @property
    def worst_s(self) -> float:
        """The longest that it can take, whoever answers or not."""
        ...

    async def run(self, clock: Clock, told: Callable[[str], None]) -> Sequence[Found]:
        """Try everything; `told` gets a line of progress now and then. Raises `ConnectionDown`."""
        ...


@dataclass(frozen=True, slots=True)
class Driver:
    """One connection type: its models, and how to plan and open it."""

    protocol: str
    """What profiles name. Several connection types may carry one protocol."""
    settings: type[Settings]
    device: type[Keys]
    point: type[Keys]
    options: type[Keys]
    open: Callable[[str, Any, Sequence[Device], Clock], AbstractAsyncContextManager[Link]]
    """(connection name, settings, devices, clock) -> the open connection. Raises `ConnectionDown`."""
    section: str = "limits"
    """The section of a profile that `options` describes: what the device allows, or what its messages are."""
    plan: Callable[[Any, Sequence[Device]], Sequence[Request]] | None = None
    """(settings, devices) -> requests, for polled connections; pure. None: a listening one."""
    check: Callable[[Any, Mapping[str, tuple[Any, Any]]], Iterable[tuple[Where, str]]] | None = None
    """(options, name -> (common keys, own keys) of the points) -> mistakes that no single row shows, with their place
    in the profile; pure."""
    scheme: str = ""
    """Of the URL that names such a line on the command line: `SCHEME://HOST:PORT`, or `SCHEME:///dev/...`."""
    describe: Callable[[Any], Mapping[str, str | int]] | None = None
    """A planned request -> what it asks for, in the protocol's own words; for tables."""
    fingerprint: type[Keys] | None = None
    """One row of a profile's `fingerprint`: what is read of a device to recognise the product."""
    scan: Callable[[Any, ScanWish, Mapping[str, tuple[Any, Sequence[Any]]]], Scan] | None = None
    """(settings, wish, profile id -> (options, rows of its fingerprint)) -> which addresses answer, and as what.
    Raises ValueError where the wish cannot be."""
    probe: Callable[[Any, Mapping[str, Any], Clock], Awaitable[Sequence[Mapping[str, str]]]] | None = None
    """(settings, what to read, clock) -> the raw values of a range, each with every plausible meaning.
    Raises the four errors, and ValueError where there is no such range."""


ENTRY_POINTS = "courtyard.drivers"


@cache
def drivers() -> dict[str, Driver]:
    """All connection types that are installed, by name. One that fails to load is left out and logged."""
    found: dict[str, Driver] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found[entry.name] = entry.load()
        except (ImportError, AttributeError) as error:
            logging.getLogger(__name__).error("connection type %s does not load: %s", entry.name, error)
    return found


def driver_of_protocol(protocol: str) -> Driver | None:
    """Any connection type that carries `protocol`: they share the models of points and devices."""
    return next((driver for driver in drivers().values() if driver.protocol == protocol), None)
