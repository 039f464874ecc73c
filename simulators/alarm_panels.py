"""Alarm panels on their wires: a serial host that prints Contact ID, and a panel that dials in by SIA DC-09.

What comes in: events and states of the panels' and zones' models. What goes out: each event once when it happens,
a sign of life every 20 s, and the state of every point whenever somebody begins to listen and every 10 minutes. A
serial line tells whoever listens at that moment; a panel that dials in keeps its events until they are acknowledged,
and sends a frame without an answer again with the same sequence number (ANSI/SIA DC-09-2013, 5.5.1).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo

from drivers import contact_id
from drivers.contact_id import NEW, RESTORE, STILL, Event
from drivers.dc09.frame import Frame, Framer, build_frame, data_of
from drivers.driver import Clock
from drivers.panels import PanelKeys, PanelPoint
from drivers.point import Value
from simulators.model import SimEquipment
from simulators.paced_pty import PacedPty
from simulators.world import World

HEARTBEAT_S = 20.0
RESYNC_S = 600.0
_ANSWER_S = 5.0
"""A frame that is not answered for this long is sent again; real time."""
_TRIES = 3
"""After so many the panel hangs up and dials again."""
_MEMORY = 1000
"""Events that a panel keeps while it cannot deliver them."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 3.0
"""Between two calls."""
_SETTLE_S = 0.2
"""Whoever opens a serial port flushes it at once: nothing is printed into that."""
_PERIODIC_TEST = 602
_USER = 1
"""Who arms and disarms."""

Sent = Callable[[], None]


class Panel:
    """One account: the panel itself, if the site names it, and its zones, as events."""

    def __init__(self, account: str, equipment: Sequence[SimEquipment], world: World) -> None:
        self.account = account
        self._world = world
        self._equipment = equipment
        panels = [each.id for each in equipment if _zone(each) is None]
        self._voices = panels or [each.id for each in equipment]

    @property
    def silent(self) -> bool:
        """Whether the panel tells nothing at all."""
        return all(each in self._world.silent for each in self._voices)

    def happened(self) -> list[Event]:
        """What has happened since the last call; of equipment that is silent nothing."""
        events = []
        for each in self._equipment:
            told = self._world.models[each.id].events()
            if each.id not in self._world.silent and not self.silent:
                events += [event for name, value in told if (event := self._event(each, name, value, NEW))]
        return events

    def state(self) -> list[Event]:
        """The present value of every point."""
        events = []
        for each in self._equipment:
            if each.id in self._world.silent:
                continue
            values: Mapping[str, Value] = self._world.models[each.id].values()
            events += [event for name, value in values.items() if (event := self._event(each, name, value, STILL))]
        return events

    def _event(self, each: SimEquipment, point: str, value: Value, qualifier: contact_id.Qualifier) -> Event | None:
        """A value as an event; None for a point that no code stands for, such as the sign of life."""
        keys = each.profile.points[point][1]
        if not isinstance(keys, PanelPoint) or not keys.codes or value is None:
            return None
        event = Event(
            self.account,
            qualifier if bool(value) == keys.on_new else RESTORE,
            keys.codes[0],
            zone=_zone(each) or 0,
        )
        return Event(event.account, event.qualifier, event.code, zone=_USER) if event.has_user else event


def _zone(each: SimEquipment) -> int | None:
    return each.address.zone if isinstance(each.address, PanelKeys) else None


def panels_of(equipment: Sequence[SimEquipment], world: World) -> list[Panel]:
    """The panels of one connection, by account."""
    accounts: dict[str, list[SimEquipment]] = {}
    for each in equipment:
        if not isinstance(each.address, PanelKeys):
            raise TypeError(f"{each.id}: profile {each.profile.id} is no alarm panel")
        accounts.setdefault(each.address.account, []).append(each)
    return [Panel(account, members, world) for account, members in accounts.items()]


class Beats:
    """When the next sign of life and the next full state are due, on the given clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heartbeat_s = clock.mono_s() + HEARTBEAT_S
        self._resync_s = clock.mono_s() + RESYNC_S

    def heartbeat(self) -> bool:
        """Whether a sign of life is due; asking consumes it."""
        due = self._clock.mono_s() >= self._heartbeat_s
        if due:
            self._heartbeat_s = self._clock.mono_s() + HEARTBEAT_S
        return due

    def resync(self) -> bool:
        """Whether the full state is due; asking consumes it."""
        due = self._clock.mono_s() >= self._resync_s
        if due:
            self._resync_s = self._clock.mono_s() + RESYNC_S
        return due


class SerialHost:
    """An alarm host's printer port: one line of text for each event, Contact ID at its end."""

    def __init__(
        self, panels: Sequence[Panel], clock: Clock, sent: Sent, timezone: tzinfo | None, encoding: str
    ) -> None:
        self._panels, self._clock, self._sent, self._encoding = panels, clock, sent, encoding
        self._timezone = timezone
        self._beats = Beats(clock)
        self._heard: set[str] = set()
        """Accounts whose full state has been printed since somebody listens to them."""
        self._opened_s = 0.0
        self.line: PacedPty | None = None

    def opened(self) -> None:
        """Somebody has opened the port: all states are told anew."""
        self._heard.clear()
        self._opened_s = asyncio.get_running_loop().time()

    def tick(self, cut: bool) -> None:
        """Print what is due. While the line is cut, or nobody listens, it is lost."""
        heartbeat = self._beats.heartbeat()
        if self._beats.resync():
            self._heard.clear()
        settled = asyncio.get_running_loop().time() >= self._opened_s + _SETTLE_S
        listening = self.line is not None and self.line.attended and settled and not cut
        for panel in self._panels:
            events = panel.happened()
            if not listening or panel.silent:
                self._heard.discard(panel.account)
                continue
            if panel.account not in self._heard:
                self._heard.add(panel.account)
                events += panel.state()
                heartbeat = True
            if heartbeat:
                events.append(Event(panel.account, NEW, _PERIODIC_TEST))
            for event in events:
                self._print(event)

    def _print(self, event: Event) -> None:
        if self.line is None:
            return
        words = {NEW: "新事件", RESTORE: "恢复", STILL: "持续"}[event.qualifier]
        place = f"防区{event.zone:03}" if event.zone and not event.has_user else "主机"
        now = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, self._timezone)
        text = f"{now:%Y-%m-%d %H:%M:%S} {place} {words} {contact_id.format(event)}\r\n"
        self.line.send(text.encode(self._encoding, "replace"))
        self._sent()


class DialingPanel:
    """One panel that connects to the receiver and keeps the connection."""

    def __init__(self, panel: Panel, clock: Clock, sent: Sent, address: tuple[str, int], rng: random.Random) -> None:
        self._panel, self._clock, self._sent, self._address = panel, clock, sent, address
        self._rng = rng
        self._sequence = 0
        self._beats = Beats(clock)
        self._pending: deque[Event | None] = deque(maxlen=_MEMORY)
        """Events to tell, oldest first; None is a sign of life."""
        self._due = asyncio.Event()
        self._up = asyncio.Event()
        self._up.set()
        self._call: asyncio.Timeout | None = None
        self.answered = 0
        """Frames that the receiver has answered."""
        self.unanswered = 0
        """Frames that had to be sent again."""
        self.refused = 0
        """Frames that the receiver understood and would not take."""

    @property
    def account(self) -> str:
        """The panel's account."""
        return self._panel.account

    def tick(self, cut: bool) -> None:
        """Take up what has happened; hang up where the wire is cut or the panel is dead."""
        self._pending.extend(self._panel.happened())
        if self._beats.heartbeat() and self._call:
            self._pending.append(None)
        if self._beats.resync() and self._call:
            self._pending.extend(self._panel.state())
        if self._pending:
            self._due.set()
        if not cut and not self._panel.silent:
            self._up.set()
        elif self._up.is_set():
            self._up.clear()
            if self._call:
                self._call.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Dial, talk, and dial again, for ever."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._up.wait()
            before = self.answered
            with suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(None) as self._call:
                    await self._talk()
            self._call = None
            pause_s = _FIRST_PAUSE_S if self.answered > before else min(2 * pause_s, _LONGEST_PAUSE_S)
            await self._clock.sleep(pause_s * self._rng.uniform(0.8, 1.2))

    async def _talk(self) -> None:
        """One call: a sign of life, what was kept, the full state, and then whatever comes."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            if writer.get_extra_info("sockname") == writer.get_extra_info("peername"):
                raise ConnectionError("called itself: on loopback a free port may be its own far end")
            framer = Framer()
            await self._deliver(None, reader, writer, framer)
            self._pending.extend(self._panel.state())
            while True:
                await self._deliver_all(reader, writer, framer)
                self._due.clear()
                await self._idle(reader)
        finally:
            writer.close()
            with suppress(OSError):
                writer.transport.abort()

    async def _idle(self, reader: asyncio.StreamReader) -> None:
        """Wait for something to tell. Raises EOFError where the receiver hangs up meanwhile."""
        due, heard = asyncio.ensure_future(self._due.wait()), asyncio.ensure_future(reader.read(1024))
        try:
            await asyncio.wait({due, heard}, return_when=asyncio.FIRST_COMPLETED)
            if heard.done() and not heard.result():
                raise EOFError("the receiver has hung up")
        finally:
            due.cancel()
            heard.cancel()
            await asyncio.gather(due, heard, return_exceptions=True)  # a stream has one reader at a time

    async def _deliver_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framer: Framer) -> None:
        while self._pending:
            event = self._pending.popleft()
            try:
                await self._deliver(event, reader, writer, framer)
            except BaseException:
                if len(self._pending) < _MEMORY:
                    self._pending.appendleft(event)  # for the next call
                raise

    async def _deliver(
        self, event: Event | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framer: Framer
    ) -> None:
        """Send one frame until it is answered. Raises ConnectionError where it never is."""
        self._sequence = self._sequence % 9999 + 1
        raw = build_frame(
            Frame(
                "ADM-CID" if event else "NULL",
                self._sequence,
                account=self.account,
                data=data_of(event) if event else b"",
                time_ns=self._clock.wall_ns(),
            )
        )
        for _ in range(_TRIES):
            writer.write(raw)
            await writer.drain()
            self._sent()
            with suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    return await self._answered(reader, framer)
            self.unanswered += 1
        raise ConnectionError(f"{self._address} does not answer")

    async def _answered(self, reader: asyncio.StreamReader, framer: Framer) -> None:
        """Wait for the answer to the frame that was sent last."""
        while data := await reader.read(1024):
            for frame in framer.feed(data):
                if frame.sequence == self._sequence and frame.id in ("ACK", "DUH"):
                    self.answered += 1
                    self.refused += frame.id == "DUH"
                    return
        raise EOFError("the receiver has hung up")
