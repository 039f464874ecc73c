"""Several requests out on one TCP connection: answers in any order, lost, damaged, foreign, and a peer that goes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from pydantic import ValidationError

from drivers.driver import BadAnswer, ConnectionDown, DeviceSilent
from drivers.modbus.connection import TCP
from drivers.modbus.frames import BrokenFrame
from drivers.modbus.keys import Limits, RegisterKeys, TcpSettings, UnitKeys
from drivers.modbus.planner import ReadRequest, plan
from drivers.modbus.several import SeveralGate, SeveralLink
from drivers.point import Batch, Device, Point, Text
from edge.clock import SystemClock
from tests.support import eventually

TIMEOUT_S = 0.2


def unit(number: int, blocks: int = 1, **limits: Any) -> Device:
    points = tuple(
        Point(
            id=f"u{number}.r{at}", equipment=f"u{number}", name=f"r{at}", title=Text("", ""), kind="int", unit="",
            period_s=1.0, deadband=0, low=None, high=None, counter=False, writable=True, labels=None,
            address=RegisterKeys.model_validate({"register": "holding", "address": at}),
        )
        for at in (100 * block for block in range(blocks))
    )  # fmt: skip
    return Device(f"u{number}", UnitKeys(unit_id=number), Limits.model_validate(limits), points, 0.0)


class Peer:
    """A gateway that keeps requests until it is told which to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        """Transaction id, unit and address of what is unanswered."""
        self.connections = 0
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writer = writer
        while head := await reader.read(7):
            transaction, _, length, number = struct.unpack(">HHHB", head)
            pdu = await reader.readexactly(length - 1)
            if pdu[0] == 6:
                self.say(struct.pack(">HHHB", transaction, 0, length, number) + pdu)
            else:
                self.asked.append((transaction, number, struct.unpack(">H", pdu[1:3])[0]))
        writer.close()

    def frame(self, each: tuple[int, int, int]) -> bytes:
        transaction, number, address = each
        return struct.pack(">HHHBBBH", transaction, 0, 5, number, 3, 2, number * 1000 + address)

    def answer(self, *which: int) -> None:
        """Answer these of the unanswered, by place."""
        chosen = [self.asked[place] for place in which]
        self.asked = [each for each in self.asked if each not in chosen]
        self.say(b"".join(self.frame(each) for each in chosen))

    def say(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)


class Stand:
    def __init__(self, link: SeveralLink, peer: Peer, requests: list[ReadRequest]) -> None:
        self.link, self.peer, self.requests = link, peer, requests
        self.tasks: list[asyncio.Task[Batch]] = []

    async def ask(self, *which: int) -> list[asyncio.Task[Batch]]:
        before = len(self.peer.asked)
        tasks = [asyncio.create_task(self.link.read(self.requests[each])) for each in which]
        self.tasks += tasks
        await eventually(lambda: len(self.peer.asked) == before + len(which))
        return tasks


@asynccontextmanager
async def standing(devices: list[Device], **more: Any) -> AsyncIterator[Stand]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    keys = {"type": "modbus-tcp", "host": "127.0.0.1", "port": port, "timeout": TIMEOUT_S, "max_in_flight": 4, **more}
    settings = TcpSettings.model_validate(keys)
    async with server, TCP.open("gateway", settings, devices, SystemClock()) as link:
        stand = Stand(cast(SeveralLink, link), peer, plan(settings, devices))
        yield stand
        await asyncio.gather(*stand.tasks, return_exceptions=True)
    await asyncio.sleep(0.01)  # the peer's side ends too


async def test_each_answer_goes_to_its_request_whatever_the_order() -> None:
    async with standing([unit(n) for n in range(1, 5)]) as stand:
        tasks = await stand.ask(0, 1, 2, 3)
        stand.peer.answer(3, 0)
        await asyncio.wait([tasks[3], tasks[0]])
        assert not tasks[1].done()
        stand.peer.answer(1, 0)
        assert [(await task).values for task in tasks] == [(1000,), (2000,), (3000,), (4000,)]


async def test_a_lost_answer_costs_its_own_request_only() -> None:
    async with standing([unit(n) for n in range(1, 5)]) as stand:
        tasks = await stand.ask(0, 1, 2, 3)
        stand.peer.answer(0, 2, 3)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[1], DeviceSilent)
        assert [each.values for each in done if isinstance(each, Batch)] == [(1000,), (3000,), (4000,)]
        again = await stand.ask(1)
        stand.peer.answer(0)  # of the request before, late
        await asyncio.sleep(0.02)
        assert not again[0].done()
        stand.peer.answer(0)
        assert (await again[0]).values == (2000,)
        assert stand.link.tally.detail == {"late": 1}


async def test_one_unit_is_ready_for_one_unless_its_profile_says_more_and_a_write_goes_alone() -> None:
    narrow, wide = unit(1, blocks=3), unit(2, blocks=3, max_in_flight=2)
    async with standing([narrow, wide]) as stand:
        link = stand.link
        assert link.ready(narrow)
        await stand.ask(0, 3)
        assert [link.ready(narrow), link.ready(wide), link.ready(wide, write=True)] == [False, True, False]
        await stand.ask(4)
        assert not link.ready(wide)
        stand.peer.answer(0, 1, 2)
        await asyncio.gather(*stand.tasks)
        writing = asyncio.create_task(link.write(narrow, narrow.points[0], 1000))
        await eventually(lambda: stand.peer.asked)
        assert [link.ready(narrow), link.ready(narrow, write=True), link.ready(wide)] == [False, False, True]
        stand.peer.answer(0)
        assert await writing == 1000
        assert link.ready(narrow, write=True)


async def test_no_more_than_max_in_flight_are_ready() -> None:
    devices = [unit(n) for n in range(1, 5)]
    async with standing(devices, max_in_flight=2) as stand:
        await stand.ask(0, 1)
        assert not any(stand.link.ready(each) for each in devices)
        stand.peer.answer(0, 1)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda frame: frame[:6] + b"\x09" + frame[7:], "unit 9 answered in place of unit"),
        (lambda frame: frame[:4] + b"\0\7" + frame[6:8] + b"\4" + frame[9:] + b"\0\0", "bytes where"),
        (lambda frame: frame[:7] + b"\x04" + frame[8:], "function 4 answered"),
    ],
)
async def test_an_answer_that_does_not_fit_its_request_costs_that_one_only(
    spoil: Callable[[bytes], bytes], reason: str
) -> None:
    async with standing([unit(n) for n in range(1, 4)]) as stand:
        tasks = await stand.ask(0, 1, 2)
        wrong = spoil(stand.peer.frame(stand.peer.asked[1]))
        stand.peer.say(wrong)
        with pytest.raises(BadAnswer, match=reason):
            await tasks[1]
        stand.peer.answer(0, 2)
        assert [(await tasks[each]).values for each in (0, 2)] == [(1000,), (3000,)]


async def test_what_is_no_modbus_at_all_ends_what_is_out_at_once_and_nothing_more() -> None:
    async with standing([unit(n) for n in range(1, 4)]) as stand:
        tasks = await stand.ask(0, 1, 2)
        stand.peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, BadAnswer) for each in done)
        stand.peer.asked.clear()
        (again,) = await stand.ask(1)
        stand.peer.answer(0)
        assert (await again).values == (2000,)


async def test_an_answer_cut_short_is_a_bad_answer_and_the_next_frame_stands_for_itself() -> None:
    async with standing([unit(n) for n in range(1, 3)]) as stand:
        tasks = await stand.ask(0, 1)
        stand.peer.say(stand.peer.frame(stand.peer.asked[0])[:-1])
        await asyncio.sleep(0.02)
        stand.peer.answer(1)
        assert (await tasks[1]).values == (2000,)
        with pytest.raises((BadAnswer, DeviceSilent)):
            await tasks[0]
        stand.peer.asked.clear()
        (last,) = await stand.ask(0)
        stand.peer.say(stand.peer.frame(stand.peer.asked[0])[:-1])
        with pytest.raises(BadAnswer, match="cut short"):
            await last


async def test_a_peer_that_hangs_up_ends_everything_that_is_out() -> None:
    async with standing([unit(n) for n in range(1, 4)]) as stand:
        tasks = await stand.ask(0, 1, 2)
        assert stand.peer.writer is not None
        stand.peer.writer.transport.abort()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, ConnectionDown) for each in done)


async def test_a_peer_that_says_nothing_for_long_is_connected_to_anew_once() -> None:
    devices = [unit(n) for n in range(1, 5)]
    async with standing(devices) as stand:
        await asyncio.gather(*(await stand.ask(0, 1, 2, 3)), return_exceptions=True)
        stand.peer.asked.clear()
        tasks = await stand.ask(0, 1, 2, 3)
        assert stand.peer.connections == 2
        stand.peer.answer(0, 1, 2, 3)
        assert [(await task).values for task in tasks] == [(1000,), (2000,), (3000,), (4000,)]


async def test_units_that_die_together_do_not_cost_their_neighbours_the_connection() -> None:
    devices = [unit(n) for n in range(1, 7)]
    async with standing(devices, max_in_flight=6) as stand:
        dead = await stand.ask(0, 1, 2, 3)
        (alive,) = await stand.ask(4)
        stand.peer.answer(4)
        assert (await alive).values == (5000,)
        await asyncio.sleep(0.8 * TIMEOUT_S)
        (out,) = await stand.ask(5)
        assert {type(each) for each in await asyncio.gather(*dead, return_exceptions=True)} == {DeviceSilent}
        (again,) = await stand.ask(4)
        stand.peer.answer(-2, -1)
        assert [(await each).values for each in (out, again)] == [(6000,), (5000,)]
        assert stand.peer.connections == 1


async def test_a_pause_of_the_profile_is_left_free_at_its_unit_only() -> None:
    slow, quick = unit(1, pause="100ms"), unit(2)
    async with standing([slow, quick]) as stand:
        tasks = await stand.ask(0, 1)
        stand.peer.answer(0, 1)
        await asyncio.gather(*tasks)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        stand.tasks += [asyncio.create_task(stand.link.read(each)) for each in stand.requests]
        await eventually(lambda: [number for _, number, _ in stand.peer.asked] == [2])
        await eventually(lambda: [number for _, number, _ in stand.peer.asked] == [2, 1])
        assert loop.time() - began_s >= 0.09
        stand.peer.answer(0, 1)


def test_a_pause_on_the_connection_and_several_in_flight_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="max_in_flight allows several; remove one of them"):
        TcpSettings(type="modbus-tcp", host="h", max_in_flight=2, pause=0.1)


def test_bytes_that_run_into_no_frame_spoil_the_answer_before_them() -> None:
    counted: list[str] = []
    gate = SeveralGate(counted.append)
    packets = [gate.packet(1, bytes((3, 0, at, 0, 1))) for at in range(2)]
    for packet in packets:
        gate.ask(packet)
    right = packets[0][:4] + bytes((0, 5, 1, 3, 2, 0, 7))
    found = dict(gate.answers(right + b"login: root"))
    assert [str(each) for each in found.values() if isinstance(each, BrokenFrame)] == [
        "the answer runs into bytes that begin no frame; it may have been cut short",
        "the bytes that came are no Modbus TCP header",
    ]
    assert counted == ["merged", "header"]
