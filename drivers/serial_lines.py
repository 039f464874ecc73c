"""Alarm hosts on a serial line: the printer port of a perimeter host, one line of text for each event.

A connection is one serial port that only listens. Lines end in CR or LF; the last word of a line may be the 16
digits of Contact ID (see contact_id.py), anything else is text for people and only counted. An address is an
account and a zone. The port is opened non-blocking and watched by the event loop; no thread is involved.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import serial
from pydantic import Field, field_validator

from drivers import contact_id
from drivers.contact_id import BadContactId
from drivers.driver import Clock, ConnectionDown, Driver, Refused, Settings
from drivers.listening import Intake
from drivers.panels import LinePanelKeys, PanelOptions, PanelPoint, Panels, check
from drivers.point import Batch, Device, Point, Tally, Value

MAX_LINE = 512
"""Bytes; a longer line is no line of an alarm host."""
_CHUNK = 4096
_logger = logging.getLogger(__name__)


class SerialLinesSettings(Settings):
    """Keys of the connection in the site file."""

    port: str = Field(min_length=1)
    baudrate: int = Field(default=9600, ge=50, le=4_000_000)
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    encoding: str = "gbk"
    """Of the text on the line."""

    @property
    def owned(self) -> str:
        """The port."""
        return self.port

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            b"".decode(codecs.lookup(name).name)
        except LookupError:
            raise ValueError(f"{name!r} is no text encoding; write gbk, gb18030, utf-8 or ascii") from None
        return name


class Lines:
    """Bytes in, whole lines out. What has no end after `MAX_LINE` bytes is dropped up to the next one."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._dropping = False
        self.dropped = 0
        """Lines that were too long."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends; empty ones are left out."""
        *ended, rest = (bytes(self._rest) + data).replace(b"\r", b"\n").split(b"\n")
        lines = []
        for line in ended:
            if self._dropping:
                self._dropping = False
            elif len(line) > MAX_LINE:
                self.dropped += 1
            elif line.strip():
                lines.append(line)
        if len(rest) > MAX_LINE and not self._dropping:
            self._dropping = True
            self.dropped += 1
        self._rest = bytearray() if self._dropping else bytearray(rest)
        return lines


class SerialLinesLink:
    """One open serial line."""

    def __init__(self, settings: SerialLinesSettings, port: serial.Serial, intake: Intake, panels: Panels) -> None:
        self._settings = settings
        self._port = port
        self._intake = intake
        self._panels = panels
        self._lines = Lines()
        self.tally: Tally = intake.tally

    def listen(self) -> AsyncIterator[Batch]:
        """Batches as lines come; ends by `ConnectionDown`."""
        return self._intake.batches()

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Refused always."""
        raise Refused(f"{point.id} cannot be written: the alarm host on {self._settings.port} only tells")

    async def read(self) -> None:
        """For ever: take what the line brings. Raises `ConnectionDown` when the port is gone."""
        while True:
            data = await self._chunk()
            before = self._lines.dropped
            lines = self._lines.feed(data)
            if self._lines.dropped > before:
                self.tally.bad_frames += self._lines.dropped - before
                self._intake.once.warn(
                    "long",
                    f"{self._settings.port} sent more than {MAX_LINE} bytes without an end of line; dropped."
                    f" Is its baud rate {self._settings.baudrate}?",
                )
            for line in lines:
                await self._take(line)

    async def _chunk(self) -> bytes:
        gone = f"connection {self._intake.connection}: {self._settings.port} is gone"
        try:
            await _readable(self._port.fileno())
            data = os.read(self._port.fileno(), _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise ConnectionDown(f"{gone} ({error.strerror}); is the adapter still plugged in?") from error
        if not data:  # ready to be read and nothing there: hung up
            raise ConnectionDown(f"{gone} (hung up); is the adapter still plugged in?")
        return data

    async def _take(self, line: bytes) -> None:
        try:
            text = line.decode(self._settings.encoding)
        except UnicodeDecodeError:
            self._intake.count("undecodable")
            encoding = self._settings.encoding
            self._intake.once.warn("encoding", f"a line is not {encoding} text: {line[:60]!r}; check `encoding`")
            text = line.decode(self._settings.encoding, errors="replace")  # the digits have a checksum of their own
        if not contact_id.meant(text):
            self._intake.count("text_lines")
            return
        try:
            event = contact_id.parse(text)
        except BadContactId as error:
            await self._damaged(text, error)
            return
        self.tally.messages += 1
        if not self._panels.knows(event.account):
            self._intake.unknown(
                ("account", event.account),
                f"account {event.account} is not in the site file; add its zones or stop the host from printing it",
            )
            return
        await self._panels.take(event.account, event)

    async def _damaged(self, text: str, error: BadContactId) -> None:
        self.tally.bad_frames += 1
        account = contact_id.last_word(text)[:4].upper()
        known = self._panels.knows(account)
        self._intake.once.warn(
            ("damaged", account if known else None),
            f"a damaged line from {self._settings.port}, its event is lost: {error}; further ones are only counted",
        )
        await self._panels.doubt([account] if known else None)


async def _readable(fd: int) -> None:
    """Wait until there is something to read, without holding the loop."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _open_port(name: str, settings: SerialLinesSettings) -> serial.Serial:
    try:
        port = serial.Serial(
            settings.port,
            settings.baudrate,
            parity=settings.parity,
            stopbits=settings.stopbits,
            timeout=0,
            exclusive=True,
        )
    except (OSError, ValueError) as error:  # SerialException is an OSError
        hint = {
            errno.ENOENT: "there is no such device; is it plugged in, and is the name right (ls /dev/serial/by-id)?",
            errno.EACCES: "no permission; add the user to group dialout",
            errno.EAGAIN: "another program has it open; end that one",
            errno.EWOULDBLOCK: "another program has it open; end that one",
            errno.EBUSY: "another program has it open; end that one",
        }.get(getattr(error, "errno", None) or 0, f"{error}; is it a serial port?")
        raise ConnectionDown(f"connection {name}: {settings.port} cannot be opened: {hint}") from error
    os.set_blocking(port.fileno(), False)
    return port


@asynccontextmanager
async def _open(
    name: str, settings: SerialLinesSettings, devices: Sequence[Device], clock: Clock
) -> AsyncIterator[SerialLinesLink]:
    port = _open_port(name, settings)
    try:
        intake = Intake(name, devices, clock, _logger)
        link = SerialLinesLink(settings, port, intake, Panels(intake, devices))
        async with intake.working(lines=link.read(), silence=intake.watch()):
            yield link
    finally:
        port.close()


SERIAL_LINES = Driver(
    protocol="contact-id",
    settings=SerialLinesSettings,
    device=LinePanelKeys,
    point=PanelPoint,
    options=PanelOptions,
    open=_open,
    section="messages",
    check=check,
)
