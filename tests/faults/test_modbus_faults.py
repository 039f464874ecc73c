"""What goes wrong on Modbus wires, told as tests: each recovers by itself, and no value is taken for another's."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.point import Quality
from edge.supervise import LONGEST_PAUSE_S
from tests.faults.rig import (
    TIMEOUT_S,
    Answer,
    Daemon,
    Gateway,
    acquired,
    adapter,
    gateway,
    rtu_answer,
    tcp_answer,
    unit,
)
from tests.support import eventually

SEVERAL = "several in flight"


def each_tcp(packet: bytes) -> list[bytes]:
    """The right answers to all requests that came together."""
    answers = []
    while packet:
        length = 6 + int.from_bytes(packet[4:6], "big")
        answers.append(tcp_answer(packet[:length]))
        packet = packet[length:]
    return answers


def together(packet: bytes) -> bytes:
    """The same in one go."""
    return b"".join(each_tcp(packet))


RIGHT: dict[str, Callable[[bytes], bytes]] = {
    "modbus-tcp": tcp_answer, "modbus-rtu-tcp": rtu_answer, SEVERAL: together,
}  # fmt: skip
NETWORKS = pytest.mark.parametrize("type_", RIGHT)
ONE_BY_ONE = pytest.mark.parametrize("type_", ["modbus-tcp", "modbus-rtu-tcp"])


@asynccontextmanager
async def behind(made: Gateway, type_: str, units: int = 2) -> AsyncIterator[Daemon]:
    settings: dict[str, Any] = {"type": type_, "host": "127.0.0.1", "port": made.port, "timeout": TIMEOUT_S}
    if type_ == SEVERAL:
        settings |= {"type": "modbus-tcp", "max_in_flight": 4}
        units = max(units, 6)
    async with acquired(settings, [unit(number) for number in range(1, units + 1)]) as daemon:
        yield daemon


@asynccontextmanager
async def on_line(link: Path, **more: Any) -> AsyncIterator[Daemon]:
    settings = {"type": "modbus-rtu", "port": str(link), "baudrate": 115200, "timeout": TIMEOUT_S, **more}
    async with acquired(settings, [unit(1), unit(2)]) as daemon:
        yield daemon


@NETWORKS
async def test_a_gateway_that_reboots_in_the_middle_of_a_frame_is_read_again_when_it_is_back(type_: str) -> None:
    def half(packet: bytes) -> list[bytes | None]:
        right = RIGHT[type_](packet)
        return [right[: len(right) // 2], None]

    async with gateway(lambda packet: [RIGHT[type_](packet)]) as made, behind(made, type_) as daemon:
        await daemon.reads()
        made.answer = half
        await eventually(lambda: daemon.reasons)
        await made.stop()
        await daemon.marks(Quality.BAD_COMM)
        await eventually(lambda: any("refuses the connection" in reason for reason in daemon.reasons))
        made.answer = lambda packet: [RIGHT[type_](packet)]
        await made.start()
        await daemon.reads()
        assert "closed the connection" in daemon.reasons[0]


async def test_an_adapter_unplugged_and_back_under_another_name_is_found_by_its_link(tmp_path: Path) -> None:
    async with adapter(tmp_path, lambda packet: [rtu_answer(packet)]) as made, on_line(made.link) as daemon:
        await daemon.reads()
        made.unplug()
        await daemon.marks(Quality.BAD_COMM)
        taken = [os.openpty() for _ in range(8)]  # somebody else gets the old name meanwhile
        try:
            await eventually(lambda: any("there is no such device" in reason for reason in daemon.reasons))
            made.plug()
            assert made.names[0] != made.names[1]
            await daemon.reads()
            assert "the adapter is gone" in daemon.reasons[0]
        finally:
            for end in (end for pair in taken for end in pair):
                os.close(end)


@NETWORKS
async def test_a_gateway_that_serves_one_client_only_is_taken_back_from_another(type_: str) -> None:
    async with gateway(lambda packet: [RIGHT[type_](packet)]) as made, behind(made, type_) as daemon:
        made.single = True
        await daemon.reads()
        for _ in range(2):
            _, intruder = await asyncio.open_connection("127.0.0.1", made.port)
            await eventually(lambda: not daemon.way.up)
            await daemon.reads()
            intruder.close()
        assert all("how many clients it serves" in reason for reason in daemon.reasons)


@NETWORKS
async def test_a_connection_whose_peer_has_vanished_is_made_anew_though_nothing_said_so(type_: str) -> None:
    async with gateway(lambda packet: [RIGHT[type_](packet)]) as made, behind(made, type_) as daemon:
        await daemon.reads()
        made.hang()
        await eventually(lambda: daemon.way.tally.timeouts >= 4)
        await daemon.reads(within_s=20)
        assert made.connections == 2
        assert daemon.reasons == [], "the connection was never told to be down: its devices were silent"


@ONE_BY_ONE
async def test_devices_that_answer_with_what_was_asked_before_are_not_believed(type_: str) -> None:
    owed: list[bytes] = []

    def shifted(packet: bytes) -> list[bytes | None]:
        owed.append(RIGHT[type_](packet))
        return [owed.pop(0)] if len(owed) > 1 else []

    # On RTU the block's size tells answers apart, so one unit with two blocks of two sizes.
    async with gateway(lambda packet: [RIGHT[type_](packet)]) as made, behind(made, type_, units=1) as daemon:
        await daemon.reads()
        made.answer = shifted
        await eventually(lambda: daemon.way.tally.bad_frames > 2)
        made.answer = lambda packet: [RIGHT[type_](packet)]
        await daemon.reads()


def echoing(registers: dict[tuple[int, int], int]) -> Answer:
    return lambda packet: [packet, rtu_answer(packet, registers)]


async def test_an_adapter_that_echoes_what_we_send_is_as_good_as_one_that_does_not(tmp_path: Path) -> None:
    registers: dict[tuple[int, int], int] = {}
    async with adapter(tmp_path, echoing(registers)) as made, on_line(made.link) as daemon:
        await daemon.reads()
        (device, *_), point = daemon.connection.devices, daemon.points[0]
        equipment: Any = type("Equipment", (), {"device": device})()
        assert await daemon.way.write(equipment, point, 1000) == 1000
        assert registers[1, 0] == 1000
        made.answer = lambda packet: [rtu_answer(packet)]
        await daemon.reads()
        assert daemon.way.tally.bad_frames == 0


async def test_the_echo_of_a_write_is_no_confirmation_where_the_device_is_silent(tmp_path: Path) -> None:
    silent = False

    def answer(packet: bytes) -> list[bytes | None]:
        return [packet] if silent else [packet, rtu_answer(packet)]

    async with adapter(tmp_path, answer) as made, on_line(made.link) as daemon:
        await daemon.reads()
        silent = True
        equipment: Any = type("Equipment", (), {"device": daemon.connection.devices[0]})()
        with pytest.raises(Exception, match="does not answer"):
            await daemon.way.write(equipment, daemon.points[0], 1000)


async def test_noise_before_and_after_each_frame_costs_no_reading(tmp_path: Path) -> None:
    def noisy(packet: bytes) -> list[bytes | None]:
        return [b"\xff\x00\xff", rtu_answer(packet) + b"\x00\xfe"]

    async with adapter(tmp_path, noisy) as made, on_line(made.link) as daemon:
        await daemon.reads(times=5)
        assert daemon.way.tally.timeouts == 0


async def test_answers_in_any_order_some_of_them_lost_go_to_their_own_requests() -> None:
    chance, waiting = random.Random(4), list[bytes]()

    def shuffled(packet: bytes) -> list[bytes | None]:
        waiting.extend(each_tcp(packet))
        chance.shuffle(waiting)
        if chance.random() < 0.05:
            waiting.pop()
        said: list[bytes | None] = [waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 4)))]
        return said

    async with gateway(shuffled) as made, behind(made, SEVERAL, units=12) as daemon:
        await eventually(lambda: sum(daemon.engine.good.values()) > 3000, within_s=20)
        assert daemon.way.tally.timeouts > 5
        assert daemon.reasons == [], "no lost answer costs the connection"
        assert len(daemon.engine.good) == len(daemon.points), "every point is read"
        made.answer = lambda packet: [together(packet)]
        await daemon.reads()


@NETWORKS
async def test_a_gateway_that_is_away_for_hours_is_read_again_within_the_longest_pause(type_: str) -> None:
    async with gateway(lambda packet: [RIGHT[type_](packet)]) as made, behind(made, type_) as daemon:
        await daemon.reads()
        await made.stop()
        await daemon.marks(Quality.BAD_COMM)
        clock = daemon.clock
        clock.speed *= 100  # two hours in some seconds
        until_s = clock.mono_s() + 7200
        await eventually(lambda: clock.mono_s() > until_s, within_s=20)
        clock.speed /= 100
        tried = len(daemon.reasons)
        assert 7200 / LONGEST_PAUSE_S / 2 < tried < 7200 / LONGEST_PAUSE_S * 2, "neither forgotten nor hammered"
        await made.start()
        back_s = clock.mono_s()
        await daemon.reads()
        assert clock.mono_s() - back_s < 1.2 * LONGEST_PAUSE_S + 30


async def test_an_adapter_unplugged_in_the_middle_of_a_frame_leaves_nothing_of_it(tmp_path: Path) -> None:
    async with adapter(tmp_path, lambda packet: [rtu_answer(packet)]) as made, on_line(made.link) as daemon:
        await daemon.reads()

        def half(packet: bytes) -> list[bytes | None]:
            asyncio.get_running_loop().call_later(0.01, made.unplug)
            return [rtu_answer(packet)[:7]]

        made.answer = half
        await daemon.marks(Quality.BAD_COMM)
        made.answer = lambda packet: [rtu_answer(packet)]
        made.plug()
        await daemon.reads()
        assert any("the adapter is gone" in reason for reason in daemon.reasons)
