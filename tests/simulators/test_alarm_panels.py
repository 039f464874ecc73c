"""Alarm panels on their wires: what they print, what they dial in with, and how stubborn they are."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from drivers import contact_id
from drivers.contact_id import NEW, RESTORE, STILL, Event
from drivers.dc09.frame import Frame, Framer, event_of, reply_to
from drivers.point import Quality, Value
from edge.clock import ManualClock, SystemClock
from simulators import alarm_panels
from simulators.alarm_panels import DialingPanel, Panel, SerialHost, panels_of
from simulators.paced_pty import PacedPty
from simulators.serve import serve
from simulators.stage import LOOPBACK, free_port
from simulators.world import World
from tests.simulators.on_wires import addressed, all_of, connection, reached, world_of
from tests.support import eventually


def north() -> tuple[World, Panel]:
    """The panel at the north gate with zones 6 to 8, its first full tale already told."""
    members = all_of("dc09")
    world = world_of(members)
    (panel,) = panels_of(members, world)
    for _ in range(60):
        world.advance(0.1)
    panel.happened()
    return world, panel


# ---- what a panel says ----


def test_a_touched_fence_is_an_event_of_its_zone_and_its_rest_a_restore() -> None:
    world, panel = north()
    world.models["zone-7"].fail("fence_touched", restore=2)
    assert panel.happened() == [Event("5678", NEW, 130, zone=7)]
    for _ in range(30):
        world.advance(0.1)
    assert panel.happened() == [Event("5678", RESTORE, 130, zone=7)]


def test_the_full_state_says_still_and_restored_and_arming_names_a_user() -> None:
    world, panel = north()
    world.models["zone-6"].fail("tampered")
    state = panel.state()
    assert Event("5678", STILL, 137, zone=6) in state
    assert Event("5678", RESTORE, 130, zone=6) in state
    assert Event("5678", RESTORE, 301) in state
    armed = next(event for event in state if event.code == 400)
    assert (armed.qualifier, armed.zone) == (RESTORE, 1), "closing, that is arming, by user 1"
    assert len(state) == 3 + 3 * 2


def test_a_silent_zone_says_nothing_and_a_silent_panel_nothing_for_any() -> None:
    world, panel = north()
    world.silent.add("zone-7")
    world.models["zone-7"].fail("fence_cut")
    world.models["zone-8"].fail("fence_cut")
    assert [event.zone for event in panel.happened()] == [8]
    assert 7 not in {event.zone for event in panel.state()}
    assert not panel.silent
    world.silent.add("panel-2")
    world.models["zone-8"].mend("fence_cut")
    assert panel.silent
    assert panel.happened() == []


# ---- the serial host ----


class Port:
    """The far end of an alarm host's line."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        members = addressed("panel-1", "zone-1", "zone-2")
        self.world = world_of(members)
        self.sent = 0
        self.host = SerialHost(panels_of(members, self.world), self.clock, self._count, self.world.now.tzinfo, "gbk")
        self.line = self.host.line = PacedPty(9600, paced=False, opened=self.host.opened)
        self.fd = -1

    def _count(self) -> None:
        self.sent += 1

    async def listen(self) -> None:
        """Open the port, until the host is ready to print."""
        self.fd = os.open(self.line.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        await eventually(lambda: self.line.attended)
        await asyncio.sleep(alarm_panels._SETTLE_S)

    async def leave(self) -> None:
        os.close(self.fd)
        self.fd = -1
        await eventually(lambda: not self.line.attended)

    async def lines(self, *, cut: bool = False) -> list[str]:
        """What one look at the world makes the host print."""
        before = self.sent
        self.host.tick(cut)
        data = b""

        def all_there() -> bool:
            nonlocal data
            with suppress(BlockingIOError):
                data += os.read(self.fd, 65536)
            return data.count(b"\r\n") == self.sent - before

        await eventually(all_there)
        return data.decode("gbk").splitlines()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.line.close()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    port = Port()
    yield port
    port.close()


async def test_whoever_opens_the_port_is_told_everything_once(port: Port) -> None:
    port.host.tick(cut=False)
    assert port.sent == 0, "printed to nobody"
    await port.listen()
    events = [contact_id.parse(line) for line in await port.lines()]
    assert {(event.zone, event.code) for event in events} == {
        (0, 301), (0, 302), (1, 400), (1, 130), (1, 137), (2, 130), (2, 137), (0, 602),
    }  # fmt: skip
    assert await port.lines() == []
    await port.leave()
    await port.listen()
    assert len(await port.lines()) == len(events)


async def test_a_line_is_a_stamp_words_and_sixteen_digits(port: Port) -> None:
    await port.listen()
    await port.lines()
    port.world.models["zone-2"].fail("fence_cut")
    (line,) = await port.lines()
    assert line == "2026-01-01 08:00:00 防区002 新事件 " + contact_id.format(Event("1234", NEW, 130, zone=2))


async def test_a_sign_of_life_comes_every_20_s_and_the_full_state_every_10_minutes(port: Port) -> None:
    await port.listen()
    everything = len(await port.lines())
    port.clock.advance(19.0)
    assert await port.lines() == []
    port.clock.advance(1.0)
    assert [contact_id.parse(line).code for line in await port.lines()] == [602]
    port.clock.advance(580.0)
    assert len(await port.lines()) == everything


async def test_a_cut_line_carries_nothing_and_afterwards_everything(port: Port) -> None:
    await port.listen()
    everything = len(await port.lines())
    port.world.models["zone-1"].fail("fence_cut")
    assert await port.lines(cut=True) == []
    after = [contact_id.parse(line) for line in await port.lines()]
    assert len(after) == everything
    assert Event("1234", STILL, 130, zone=1) in after


async def test_the_gateways_own_driver_knows_every_point_of_the_host() -> None:
    members, wire, clock = all_of("alarm-host"), connection("alarm-host"), SystemClock()
    world = world_of(members)
    async with (
        serve([wire], members, world, clock, prefer_site_address=False, paced=False) as served,
        reached(wire, served, members, clock) as (link, devices),
    ):
        seen: dict[str, Value] = {}
        every = {point.id for device in devices for point in device.points}
        async with asyncio.timeout(5):
            async for batch in link.listen():  # type: ignore[attr-defined]  # a listening link
                seen.update((p.id, value) for p, value, quality in batch.readings() if quality is Quality.GOOD)
                if set(seen) == every:
                    break
        assert seen["panel-1.armed"] is True
        assert seen["zone-3.intrusion"] is False
        assert link.tally.bad_frames == 0


# ---- the panel that dials in ----


class Receiver:
    """A receiver that answers as it is told."""

    def __init__(self, answer: Callable[[Frame, int], str | None] = lambda frame, times: "ACK") -> None:
        self.frames: list[Frame] = []
        self.port = free_port()
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def hang_up(self) -> None:
        """Close every call and answer none."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        framer = Framer()
        while data := await reader.read(1024):
            for frame in framer.feed(data):
                self.frames.append(frame)
                answer = self._answer(frame, sum(each.sequence == frame.sequence for each in self.frames))
                if answer:
                    writer.write(reply_to(frame, answer))
        writer.close()

    @property
    def events(self) -> list[Event]:
        found = [event_of(frame) for frame in self.frames if frame.id == "ADM-CID"]
        return [event for event in found if event]

    def count(self, kind: str) -> int:
        return sum(frame.id == kind for frame in self.frames)


@asynccontextmanager
async def dialing(receiver: Receiver) -> AsyncIterator[tuple[World, DialingPanel, ManualClock]]:
    """The north panel, calling a receiver."""
    world, panel = north()
    clock = ManualClock()
    dialer = DialingPanel(panel, clock, lambda: None, (LOOPBACK, receiver.port), random.Random(1))
    task = asyncio.create_task(dialer.run(), name="panel")
    try:
        yield world, dialer, clock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await receiver.hang_up()


def zones(events: Sequence[Event], code: int = 130) -> list[tuple[int, int]]:
    return [(event.zone, event.qualifier) for event in events if event.code == code]


async def test_a_call_begins_with_a_sign_of_life_and_the_full_state() -> None:
    receiver = Receiver()
    await receiver.open()
    async with dialing(receiver) as (_, dialer, clock):
        await eventually(lambda: len(receiver.events) == 9)
        assert receiver.frames[0].id == "NULL"
        assert [frame.sequence for frame in receiver.frames] == list(range(1, 11))
        assert {frame.account for frame in receiver.frames} == {"5678"}
        assert receiver.frames[0].time_ns == clock.wall_ns()
        await eventually(lambda: dialer.answered == 10)


async def test_an_event_is_told_at_once_and_a_sign_of_life_every_20_s() -> None:
    receiver = Receiver()
    await receiver.open()
    async with dialing(receiver) as (world, dialer, clock):
        await eventually(lambda: dialer.answered == 10)
        world.models["zone-8"].fail("fence_cut")
        dialer.tick(cut=False)
        await eventually(lambda: zones(receiver.events)[-1] == (8, NEW))
        assert receiver.count("NULL") == 1
        clock.advance(20.0)
        dialer.tick(cut=False)
        await eventually(lambda: receiver.count("NULL") == 2)


async def test_a_frame_without_an_answer_comes_again_with_its_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_panels, "_ANSWER_S", 0.05)
    receiver = Receiver(lambda frame, times: "ACK" if times == 2 else None)
    await receiver.open()
    async with dialing(receiver) as (_, dialer, _clock):
        await eventually(lambda: dialer.answered == 3)
        assert [frame.sequence for frame in receiver.frames[:6]] == [1, 1, 2, 2, 3, 3]
        assert receiver.frames[2] == receiver.frames[3]
        assert dialer.unanswered >= 3


async def test_a_refused_frame_is_not_repeated() -> None:
    receiver = Receiver(lambda frame, times: "DUH")
    await receiver.open()
    async with dialing(receiver) as (_, dialer, _clock):
        await eventually(lambda: dialer.refused == 10)
        assert len(receiver.frames) == 10


async def test_it_dials_until_somebody_answers_and_then_tells_what_it_kept() -> None:
    receiver = Receiver()
    async with dialing(receiver) as (world, dialer, clock):
        for _ in range(5):
            await eventually(lambda: "panel" in clock.sleeping())
            clock.advance(4.0)
        world.models["zone-6"].fail("fence_touched", restore=0.2)
        world.advance(0.6)
        dialer.tick(cut=False)
        await receiver.open()
        await eventually(lambda: "panel" in clock.sleeping())
        clock.advance(4.0)
        await eventually(lambda: len(receiver.events) == 2 + 9)
        assert zones(receiver.events)[:2] == [(6, NEW), (6, RESTORE)]


async def test_after_the_receiver_hung_up_it_calls_again() -> None:
    receiver = Receiver()
    await receiver.open()
    async with dialing(receiver) as (_, dialer, clock):
        await eventually(lambda: dialer.answered == 10)
        await receiver.hang_up()
        await receiver.open()
        await eventually(lambda: "panel" in clock.sleeping())
        clock.advance(4.0)
        await eventually(lambda: len(receiver.events) == 2 * 9)


@pytest.mark.parametrize("cause", ["cut", "silent"])
async def test_a_cut_wire_and_a_dead_panel_hang_up(cause: str) -> None:
    receiver = Receiver()
    await receiver.open()
    async with dialing(receiver) as (world, dialer, clock):
        await eventually(lambda: dialer.answered == 10)
        world.silent.update({"panel-2"} if cause == "silent" else ())
        dialer.tick(cut=cause == "cut")
        await eventually(lambda: "panel" in clock.sleeping())
        clock.advance(30.0)
        dialer.tick(cut=cause == "cut")
        await asyncio.sleep(0.05)
        assert len(receiver.frames) == 10
        world.silent.clear()
        dialer.tick(cut=False)
        await eventually(lambda: len(receiver.events) == 2 * 9)


async def test_the_gateways_own_receiver_knows_every_point_of_the_panel() -> None:
    members, wire, clock = all_of("dc09"), connection("dc09"), SystemClock()
    world = world_of(members)
    async with (
        serve([wire], members, world, clock, prefer_site_address=False) as served,
        reached(wire, served, members, clock) as (link, devices),
    ):
        seen: dict[str, Value] = {}
        every = {point.id for device in devices for point in device.points}
        world.models["zone-8"].fail("fence_cut")
        async with asyncio.timeout(5):
            async for batch in link.listen():  # type: ignore[attr-defined]  # a listening link
                seen.update((p.id, value) for p, value, quality in batch.readings() if quality is Quality.GOOD)
                if set(seen) == every and seen["zone-8.intrusion"]:
                    break
        assert seen["panel-2.heartbeat"] is True
        assert seen["zone-7.intrusion"] is False
        assert link.tally.bad_frames == 0
        await eventually(lambda: served.counts["dc09"] >= 10)
