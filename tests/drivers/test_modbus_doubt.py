"""Answers of the right form from the wrong block: told apart by their values, by a second answer, by asking again."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from drivers.modbus.connection import open_connection
from drivers.modbus.doubt import RESTLESS_S, Doubts
from drivers.modbus.frames import crc16
from drivers.modbus.keys import RtuTcpSettings
from drivers.modbus.line import LineLink
from drivers.modbus.link import ModbusLink
from drivers.modbus.planner import ReadRequest
from tests.bench.bus_devices import Fleet, LoopClock, device, requests
from tests.bench.bus_hour import TURNAROUND_S, JumpingLoop, Line

FORM = (1, 3, 12)
Play = Callable[[bytes], list[tuple[str, float, bytes]]]


def words(*values: int) -> bytes:
    return struct.pack(f">BB{len(values)}H", 3, 2 * len(values), *values)


def bits(*data: int) -> bytes:
    return bytes((1, len(data), *data))


def told(own: bytes, other: bytes) -> Doubts:
    doubts = Doubts()
    assert not doubts.asked("own", FORM), "alone of its form"
    assert doubts.asked("other", FORM)
    assert doubts.asked("own", FORM)
    for block, said in (("own", own), ("other", other)):
        if said:
            doubts.taken(block, FORM, said)
    return doubts


def test_an_answer_leans_to_the_block_whose_values_it_is_nearer_to() -> None:
    doubts = told(words(500, 30, 7, 0), words(40, 900, 1, 0))
    assert doubts.leaning("own", FORM, words(510, 29, 7, 0)) == -0.75
    assert doubts.leaning("own", FORM, words(41, 890, 2, 0)) == 0.75
    assert doubts.leaning("own", FORM, words(500, 30, 7, 0)) == -1, "said again"
    assert doubts.leaning("own", FORM, words(270, 465, 4, 9)) == 0
    assert told(bits(0xFF, 0), bits(0, 0x0F)).leaning("own", FORM, bits(0xFE, 0)) < 0
    assert told(bits(0xFF, 0), bits(0, 0x0F)).leaning("own", FORM, bits(1, 0x0F)) > 0


def test_a_block_that_has_said_nothing_yet_is_doubted_where_it_says_what_another_said() -> None:
    doubts = told(b"", words(40, 900, 1, 0))
    assert doubts.leaning("own", FORM, words(40, 900, 1, 5)) > 0
    assert doubts.leaning("own", FORM, words(500, 30, 7, 0)) < 0
    assert told(words(1, 2), b"").leaning("own", FORM, words(9, 9)) == -1, "there is nothing to take it for"


def test_of_two_answers_the_one_that_fits_is_taken_and_none_where_both_may() -> None:
    doubts = told(words(500, 30), words(40, 900))
    mine, theirs = words(501, 31), words(41, 899)
    assert doubts.choose("own", FORM, [theirs, mine]) == mine
    assert doubts.choose("own", FORM, [mine]) == mine
    assert doubts.choose("own", FORM, [theirs]) is None
    assert doubts.choose("own", FORM, [theirs, theirs]) == theirs, "it has said so twice"
    assert doubts.choose("own", FORM, [mine, words(502, 31)]) is None


def test_a_unit_that_was_late_is_restless_for_a_while() -> None:
    doubts = Doubts()
    assert not doubts.restless(1, 5.0)
    doubts.restless(1, 10.0, note=True)
    assert doubts.restless(1, 10.0 + RESTLESS_S - 0.1)
    assert not doubts.restless(1, 10.0 + RESTLESS_S)
    assert not doubts.restless(2, 10.0)


class Channels(Fleet):
    """A unit with two blocks of the same size."""

    def __init__(self) -> None:
        super().__init__(TURNAROUND_S)
        self.holds = {0: 500, 100: 40}
        """What the registers of each block begin with."""

    def register(self, unit: int, address: int) -> int:
        block = 100 if address >= 100 else 0
        return self.holds[block] + address - block


class Told(Line):
    """A line that says what the test lays out for the next answers, and is honest otherwise."""

    plays: list[Play]

    def _as_it_pleases(self, answer: bytes) -> list[tuple[str, float, bytes]]:
        self._counts["asked"] += 1
        play = self.plays.pop(0) if self.plays else None
        return play(answer) if play else [("answered", TURNAROUND_S, answer)]


class Stand:
    def __init__(self, link: ModbusLink, wanted: list[ReadRequest], fleet: Channels, counts: Counter[str]) -> None:
        self.link, self.fleet, self.counts = link, fleet, counts
        self.first, self.second = wanted

    async def read(self, request: ReadRequest) -> object:
        """The block's first value; None where it holds what the other one does."""
        batch = await self.link.read(request, 0.2)
        return batch.values[0]

    def frame(self, block: int) -> bytes:
        body = bytes([1]) + words(*(self.fleet.holds[block] + n for n in range(20)))
        return body + crc16(body)


@asynccontextmanager
async def standing(plays: list[Play]) -> AsyncIterator[Stand]:
    fleet, counts, loop = Channels(), Counter[str](), asyncio.get_running_loop()

    def line() -> Told:
        made = Told(fleet, random.Random(1), counts)
        made.plays = plays
        return made

    server = await loop.create_server(line, "127.0.0.1", 0)
    settings = RtuTcpSettings(type="modbus-rtu-tcp", host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    devices = [device(1, period_s=1.0, blocks=(0, 100))]
    async with open_connection("bus", settings, devices, LoopClock()) as link:
        stand = Stand(link, requests(settings, devices), fleet, counts)
        for _ in range(8):
            assert await stand.read(stand.first) == 500
            assert await stand.read(stand.second) == 40
        counts.clear()
        yield stand
    server.close()


def told_as(
    story: Callable[[Stand, list[Play]], Awaitable[None]],
) -> None:
    async def run() -> None:
        plays: list[Play] = []
        async with standing(plays) as stand:
            await story(stand, plays)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(run())


def _both(early_s: float, doubled: bytes, answer: bytes) -> list[tuple[str, float, bytes]]:
    return [("twice", early_s, doubled), ("true", TURNAROUND_S, answer)]


def test_the_second_copy_of_an_answer_is_not_taken_for_the_next_block_s() -> None:
    async def story(stand: Stand, plays: list[Play]) -> None:
        for early_s in (0.002, TURNAROUND_S * 0.9):
            doubled = stand.frame(0)
            plays.append(partial(_both, early_s, doubled))
            assert await stand.read(stand.second) == 40
        assert stand.counts["asked"] == 2, "the true answer came in time: nothing is asked twice"

    told_as(story)


def test_nor_where_the_true_answer_is_lost() -> None:
    async def story(stand: Stand, plays: list[Play]) -> None:
        doubled = stand.frame(0)
        plays.append(lambda answer: [("twice", TURNAROUND_S, doubled)])
        assert await stand.read(stand.second) == 40
        assert stand.counts["asked"] == 2, "it is asked again at once"
        assert stand.link.tally.detail["doubtful"] == 1

    told_as(story)


def test_a_block_that_comes_to_look_like_the_other_costs_one_more_exchange_and_no_reading() -> None:
    async def story(stand: Stand, plays: list[Play]) -> None:
        stand.fleet.holds[100] = 500
        assert await stand.read(stand.second) == 500
        assert stand.counts["asked"] == 2
        assert [await stand.read(each) for each in (stand.first, stand.second)] == [500, 500]
        stand.fleet.holds[0] = 510
        assert await stand.read(stand.first) == 510
        assert stand.counts["asked"] == 5, "from then on it is not doubted"

    told_as(story)


def test_blocks_that_look_alike_are_asked_again_where_two_answers_came() -> None:
    async def story(stand: Stand, plays: list[Play]) -> None:
        stand.fleet.holds = {0: 500, 100: 502}
        for request in (stand.first, stand.second, stand.first, stand.second):
            await stand.read(request)
        cast(LineLink, stand.link)._stray(1, b"\x03")  # it has spoken out of turn
        stand.fleet.holds = {0: 501, 100: 501}
        late = bytes([1]) + words(*(501 + n for n in range(19)), 0)
        plays.append(lambda answer: [("late", 0.005, late + crc16(late)), ("true", TURNAROUND_S, answer)])
        batch = await stand.link.read(stand.second, 0.2)
        assert batch.values == tuple(501 + n for n in range(20))

    told_as(story)
