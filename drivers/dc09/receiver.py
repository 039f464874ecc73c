"""The receiver of SIA DC-09: panels connect to it by TCP and are answered.

A connection is one listening socket; an address is an account and a zone. Answers: ACK; DUH to a frame that is
understood and cannot be used (unknown id or account, encrypted, data of another form); nothing at all to a
damaged one, so that the panel sends it again. A frame that comes again (same account, sequence and content) is
answered again and told once. An event is answered when it stands in the queue of the connection.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from pydantic import field_validator

from drivers.contact_id import Event
from drivers.dc09.frame import BadData, Frame, Framer, event_of, reply_to
from drivers.driver import Clock, ConnectionDown, Driver, Refused, Settings
from drivers.listening import Intake
from drivers.panels import PanelKeys, PanelOptions, PanelPoint, Panels, check, same
from drivers.point import Batch, Device, Point, Tally, Value

MAX_PANELS = 256
"""Open TCP connections; one more is closed at once."""
MAX_BROKEN = 50
"""Broken frames without a good one between them, after which the other end is no panel."""
PARTIAL_S = 5.0
"""A frame that has begun must end within this."""
REPEAT_S = 300.0
"""A frame is a repetition of one that came up to this long ago; sequences wrap, and some panels have 0000 always."""
_RECENT = 16
_CHUNK = 4096
_logger = logging.getLogger(__name__)


class Dc09Settings(Settings):
    """Keys of the connection in the site file."""

    listen: str
    """HOST:PORT to listen on; port 0 takes any free one."""

    @field_validator("listen")
    @classmethod
    def _address(cls, text: str) -> str:
        host, _, port = text.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise ValueError(f"{text!r} is no HOST:PORT; write it like 0.0.0.0:12300")
        return text

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class _Seen:
    sequence: int
    content: tuple[str, bytes, bytes]
    mono_s: float

    def repeats(self, other: _Seen) -> bool:
        """Whether this is the other once more."""
        same_words = (self.sequence, self.content) == (other.sequence, other.content)
        return same_words and self.mono_s - other.mono_s <= REPEAT_S


class _Repeats:
    """Recognises a frame that a panel sends again because our answer was lost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: dict[str, deque[_Seen]] = {}

    def is_repeat(self, account: str, frame: Frame) -> bool:
        """Whether this frame came before; remembers it if not. The stamp does not count: it may be made anew."""
        recent = self._recent.setdefault(account, deque(maxlen=_RECENT))
        seen = _Seen(frame.sequence, (frame.id, frame.data, frame.extra), self._clock.mono_s())
        # A panel without sequences repeats only its latest frame: alarm, restore, alarm are three events.
        candidates = list(recent) if frame.sequence else list(recent)[-1:]
        if any(seen.repeats(each) for each in candidates):
            return True
        recent.append(seen)
        return False


class Receiver:
    """One listening socket, and the panels that are connected to it."""

    def __init__(self, intake: Intake, panels: Panels, clock: Clock) -> None:
        self._intake = intake
        self._panels = panels
        self._repeats = _Repeats(clock)
        self._open: set[asyncio.Task[None]] = set()
        self.tally: Tally = intake.tally
        self.address: tuple[str, int] = ("", 0)
        """Where it listens."""

    def listen(self) -> AsyncIterator[Batch]:
        """Batches as frames come. Never ends by itself: a panel that leaves is silent, the socket stays."""
        return self._intake.batches()

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Refused always."""
        raise Refused(f"{point.id} cannot be written: a DC-09 panel only tells")

    async def answer(self, frame: Frame) -> bytes:
        """Take one whole frame; the bytes to send back."""
        self.tally.messages += 1
        if frame.encrypted:
            self._intake.unknown(
                ("encrypted", frame.account),
                f"account {frame.account} sends *{frame.id}: encrypted; key support not configured."
                " Switch encryption off in the panel",
            )
            return reply_to(frame, "DUH")
        if frame.id not in ("NULL", "ADM-CID", "SIA-DCS"):
            self._intake.unknown(("id", frame.id), f"account {frame.account} sends {frame.id!r}, which nobody knows")
            return reply_to(frame, "DUH")
        try:
            event = event_of(frame) if frame.id != "NULL" else None
        except BadData as error:
            self._intake.unknown(("data", frame.account), f"account {frame.account}: {error}")
            return reply_to(frame, "DUH")
        account = self._account(frame, event)
        if account is None:
            self._intake.unknown(
                ("account", frame.account),
                f"account {frame.account} is not in the site file; add its panel or stop it from dialling in",
            )
            return reply_to(frame, "DUH")
        await self._take(account, frame, event)
        return reply_to(frame, "ACK")

    def _account(self, frame: Frame, event: Event | None) -> str | None:
        """The account of the frame where the site file names it, else that of its data."""
        given = [frame.account, event.account if event else None]
        return next((same(account) for account in given if account and self._panels.knows(account)), None)

    async def _take(self, account: str, frame: Frame, event: Event | None) -> None:
        if frame.id != "NULL" and self._repeats.is_repeat(account, frame):
            self._intake.count("repeats")
            event = None
        elif frame.id == "SIA-DCS" and event is None:
            self._intake.unknown(
                ("code", account, frame.data[-12:]),
                f"account {account} sends {frame.data[:60]!r}, whose code has no Contact ID equivalent",
            )
        await self._panels.take(account, event, frame.time_ns)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One panel, as long as it stays."""
        task = asyncio.current_task()
        if task is None or len(self._open) >= MAX_PANELS:
            self._intake.count("turned_away")
            self._intake.once.warn("full", f"{MAX_PANELS} panels are connected already; further ones are turned away")
            writer.close()
            return
        self._open.add(task)
        _keep_alive(writer)
        try:
            await self._converse(reader, writer)
        except OSError:
            self._intake.count("lost")  # the panel dials in again; if not, it is silent, which is told
        except asyncio.CancelledError:  # `close` only; asyncio's server would report it as an error
            return
        finally:
            self._open.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        accounts: set[str] = set()
        broken_before = 0
        while True:
            data = await _read(reader, framer)
            frames = list(framer.feed(data)) if data else []
            if not data:
                framer.give_up()
            if framer.broken > broken_before:
                await self._damaged(framer.broken - broken_before, accounts, writer)
                if framer.broken >= MAX_BROKEN:
                    return
                broken_before = framer.broken
            for frame in frames:
                framer.broken = broken_before = 0
                if frame.account and self._panels.knows(frame.account):
                    accounts.add(same(frame.account))
                writer.write(await self.answer(frame))
                await writer.drain()
            if data == b"":
                return

    async def _damaged(self, count: int, accounts: set[str], writer: asyncio.StreamWriter) -> None:
        self.tally.bad_frames += count
        peer = (writer.get_extra_info("peername") or ("?",))[0]
        names = ", ".join(sorted(accounts)) or "of unknown account"
        self._intake.once.warn(
            ("damaged", peer),
            f"a frame from {peer} (panel {names}) is damaged and not answered, so that the panel sends it again;"
            " further ones are only counted",
        )
        await self._panels.doubt(accounts)

    async def close(self) -> None:
        """Hang up on all panels."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, framer: Framer) -> bytes | None:
    """What comes next; empty when the panel has hung up, None when a frame that has begun does not end."""
    if not framer.pending:
        return await reader.read(_CHUNK)
    try:
        async with asyncio.timeout(PARTIAL_S):
            return await reader.read(_CHUNK)
    except TimeoutError:
        return None


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """A panel that lost its power does not say goodbye: the kernel finds out within about two minutes."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is None:
        return
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


async def _start(name: str, settings: Dc09Settings, receiver: Receiver) -> asyncio.Server:
    host, port = settings.address
    try:
        return await asyncio.start_server(receiver.serve, host, port)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        hint = {
            errno.EADDRINUSE: "another program listens there; end that one or choose another port",
            errno.EACCES: "no permission for this port; choose one above 1023",
            errno.EADDRNOTAVAIL: "this box has no such address; write 0.0.0.0 for all that it has",
        }.get(number, f"{error}; check the address")
        raise ConnectionDown(f"connection {name}: cannot listen on {settings.listen}: {hint}") from error


@asynccontextmanager
async def _open(
    name: str, settings: Dc09Settings, devices: Sequence[Device], clock: Clock
) -> AsyncIterator[Receiver]:
    intake = Intake(name, devices, clock, _logger)
    receiver = Receiver(intake, Panels(intake, devices), clock)
    server = await _start(name, settings, receiver)
    receiver.address = server.sockets[0].getsockname()[:2]
    try:
        async with intake.working(silence=intake.watch()):
            yield receiver
    finally:
        server.close()
        await receiver.close()


DC09 = Driver(
    protocol="contact-id",
    settings=Dc09Settings,
    device=PanelKeys,
    point=PanelPoint,
    options=PanelOptions,
    open=_open,
    section="messages",
    check=check,
)
