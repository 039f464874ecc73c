"""The driver against raw devices that also lie: TCP, RTU over TCP, and RTU on a pty."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from drivers.driver import BadAnswer, ConnectionDown, DeviceSilent, Refused, drivers
from drivers.modbus.connection import RTU, RTU_TCP, TCP
from drivers.modbus.keys import RtuSettings
from drivers.modbus.link import ModbusLink
from drivers.modbus.planner import plan
from drivers.modbus.reasons import not_open
from drivers.point import Quality, Tally
from edge.clock import ManualClock
from tests.drivers.raw_device import (
    LIGHT,
    MEDIA,
    PRESSURE,
    SPEED,
    TIMEOUT_S,
    Stand,
    equipment,
    point,
    pty,
    tcp,
)  # fmt: skip
from tests.support import free_port


@pytest.fixture(params=MEDIA)
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with MEDIA[request.param]() as stand:
        yield stand


@pytest.fixture(params=["rtu over tcp", "pty"])
async def rtu_stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with MEDIA[request.param]() as stand:
        yield stand


async def test_a_block_is_read_with_its_time_and_the_same_answer_is_the_same_object(stand: Stand) -> None:
    stand.device.registers |= {10: 231, 12: 0x8000}
    stand.device.mischief += ["honest", "bytewise"]
    request = stand.request(point("voltage", 10, scale=0.1, kind="float"), point("level", 12, missing=[0x8000]))
    first = await stand.link.read(request)
    stand.clock.advance(1)
    second = await stand.link.read(request)
    assert first.values == (23.1, None)
    assert first.qualities == (Quality.GOOD, Quality.BAD_SENSOR)
    assert first.block is request.block
    assert second.values is first.values
    assert second.mono_s == first.mono_s + 1
    assert second.time_ns == first.time_ns + 10**9
    stand.device.registers[10] = 232
    assert (await stand.link.read(request)).values == (23.2, None)
    assert stand.link.tally.messages == 3
    assert stand.link.tally.bad_frames == 0


async def test_all_four_tables_are_read(stand: Stand) -> None:
    stand.device.coils[3] = True
    stand.device.registers[10] = 7
    for table, found in [("coil", True), ("discrete", True), ("input", 7), ("holding", 7)]:
        bits = table in ("coil", "discrete")
        of = point("x", 3 if bits else 10, register=table, kind="bool" if bits else "int")
        assert (await stand.link.read(stand.request(of))).values == (found,)
    assert [pdu[1] for pdu in stand.device.asked] == [1, 2, 4, 3]


async def test_coils_and_registers_are_written_and_read_back(stand: Stand) -> None:
    write, device = stand.link.write, equipment()
    assert await write(device, LIGHT, True) is True
    assert await write(device, LIGHT, False) is False
    assert await write(device, point("set", 20, scale=0.1, kind="float"), 42.5) == 42.5
    assert await write(device, point("energy", 30, type="uint32"), 70000) == 70000
    functions = [pdu[1] for pdu in stand.device.asked]
    assert functions == [5, 1, 5, 1, 6, 3, 16, 3]
    assert stand.device.registers[20] == 425


async def test_a_bit_is_written_by_reading_its_register_first(stand: Stand) -> None:
    stand.device.registers[40] = 0b1010
    assert await stand.link.write(equipment(), point("remote", 40, bit=0, kind="bool"), True) is True
    assert stand.device.registers[40] == 0b1011


async def test_what_cannot_be_written_is_refused_with_the_reason(stand: Stand) -> None:
    with pytest.raises(Refused, match=r"pump-1.speed: 70000 does not fit uint16; write 0 to 65535"):
        await stand.link.write(equipment(), SPEED, 70000)
    with pytest.raises(Refused, match="which can only be read"):
        await stand.link.write(equipment(), point("x", 1, register="input"), 1)
    assert not stand.device.asked
    stand.device.mischief += ["exception 3"]
    with pytest.raises(Refused, match=r"pump-1.speed: unit 1 on \S+ answers with exception 0x03 to the write of"):
        await stand.link.write(equipment(), SPEED, 1)


async def test_a_device_that_does_not_answer_is_silent_and_the_next_one_is_read(stand: Stand) -> None:
    stand.device.mischief += ["silent"]
    with pytest.raises(DeviceSilent, match=r"pump-1: unit 1 on pump-room does not answer within 0.2 s"):
        await stand.link.read(stand.request(PRESSURE))
    assert stand.link.tally.timeouts == 1
    stand.device.mischief += ["silent"]
    with pytest.raises(DeviceSilent, match=r"unit 3 on pump-room does not answer; check its power"):
        await stand.link.read(stand.request(PRESSURE, unit=3), 0.02)  # a probe's time is no setting of anybody's
    began = asyncio.get_running_loop().time()
    assert (await stand.link.read(stand.request(PRESSURE, unit=2))).values == (0,)
    assert asyncio.get_running_loop().time() - began < TIMEOUT_S


@pytest.mark.parametrize("code", [0x0A, 0x0B])
async def test_a_gateway_that_cannot_reach_a_device_means_that_the_device_is_silent(stand: Stand, code: int) -> None:
    stand.device.mischief += [f"exception {code}"]
    with pytest.raises(DeviceSilent, match=f"exception {code:#04x}"):
        await stand.link.read(stand.request(PRESSURE))
    assert stand.link.tally.exceptions == 1


async def test_an_exception_on_a_read_is_a_bad_answer_that_says_what_to_check(stand: Stand) -> None:
    stand.device.mischief += ["exception 2"]
    with pytest.raises(BadAnswer, match=r"0x02 to the read of holding 10: it has no such address; check `address`"):
        await stand.link.read(stand.request(PRESSURE))
    assert (stand.link.tally.exceptions, stand.link.tally.bad_frames) == (1, 0)


async def test_a_truncated_answer_is_a_bad_frame_and_the_connection_recovers(stand: Stand) -> None:
    stand.device.mischief += ["truncated"]
    with pytest.raises(BadAnswer, match="cut short"):
        await stand.link.read(stand.request(PRESSURE))
    assert (stand.link.tally.bad_frames, stand.link.tally.timeouts) == (1, 0)
    stand.device.registers[10] = 5
    assert (await stand.link.read(stand.request(PRESSURE))).values == (5,)


async def test_a_corrupt_frame_is_counted_at_once_and_not_taken_for_silence(rtu_stand: Stand) -> None:
    stand = rtu_stand
    stand.device.mischief += ["corrupt"]
    began = asyncio.get_running_loop().time()
    with pytest.raises(BadAnswer, match=r"read of holding 10: the answer's CRC is wrong; check termination"):
        await stand.link.read(stand.request(PRESSURE))
    assert asyncio.get_running_loop().time() - began < TIMEOUT_S
    assert (stand.link.tally.bad_frames, stand.link.tally.timeouts) == (1, 0)
    assert stand.link.tally.detail == {"crc": 1}
    assert (await stand.link.read(stand.request(PRESSURE))).values == (0,)


async def test_noise_before_an_answer_does_not_spoil_it(rtu_stand: Stand) -> None:
    rtu_stand.device.mischief += ["noise first"]
    rtu_stand.device.registers[10] = 5
    assert (await rtu_stand.link.read(rtu_stand.request(PRESSURE))).values == (5,)


async def test_an_answer_of_a_unit_that_was_not_asked_is_passed_over(rtu_stand: Stand) -> None:
    stand = rtu_stand
    stand.device.registers[10] = 5
    stand.device.mischief += ["foreign unit first", "foreign unit"]
    assert (await stand.link.read(stand.request(PRESSURE))).values == (5,)
    with pytest.raises(DeviceSilent):
        await stand.link.read(stand.request(PRESSURE))
    assert stand.link.tally.detail == {"stray": 2}


async def test_a_late_rtu_answer_is_waited_for_and_never_taken_for_another_register(rtu_stand: Stand) -> None:
    stand = rtu_stand
    stand.device.registers |= {10: 111, 20: 222}
    stand.device.mischief += ["late"]
    with pytest.raises(DeviceSilent):
        await stand.link.read(stand.request(PRESSURE))
    late = stand.device.release()
    next_read = asyncio.create_task(stand.link.read(stand.request(SPEED)))
    await asyncio.sleep(0.02)
    assert len(stand.device.asked) == 1, "the unit owes an answer and is not asked again yet"
    stand.send(late)
    assert (await next_read).values == (222,)
    assert stand.link.tally.detail == {"stray": 1}


async def test_a_bit_is_not_written_beside_neighbours_that_another_answer_told_of(rtu_stand: Stand) -> None:
    stand = rtu_stand
    stand.device.registers[40] = 0b0100
    stand.device.mischief += ["other block"]
    remote = point("remote", 40, bit=0, kind="bool")
    with pytest.raises(BadAnswer, match="register 40 differ; nothing is written"):
        await stand.link.write(equipment(), remote, True)
    assert stand.device.registers[40] == 0b0100

    assert await stand.link.write(equipment(), remote, True) is True
    assert stand.device.registers[40] == 0b0101


async def test_a_unit_that_never_pays_is_asked_again_after_the_time_out(rtu_stand: Stand) -> None:
    stand = rtu_stand
    stand.device.mischief += ["silent"]
    with pytest.raises(DeviceSilent):
        await stand.link.read(stand.request(PRESSURE))
    began = asyncio.get_running_loop().time()
    assert (await stand.link.read(stand.request(SPEED))).values == (0,)
    assert TIMEOUT_S * 0.8 < asyncio.get_running_loop().time() - began < TIMEOUT_S * 2


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("foreign unit", "unit 2 answered in place of unit 1"),
        ("wrong function", "function 43 answered a request of function 3"),
        ("fewer", "has 4 bytes where 6 were asked for"),
        ("garbage", "no Modbus TCP header"),
    ],
)
async def test_a_tcp_answer_that_does_not_fit_its_request_is_a_bad_frame(word: str, reason: str) -> None:
    async with tcp() as stand:
        stand.device.mischief += [word]
        request = stand.request(point("a", 10), point("b", 11))
        with pytest.raises(BadAnswer, match=reason):
            await stand.link.read(request)
        assert stand.link.tally.bad_frames == 1
        assert (await stand.link.read(request)).values == (0, 0)


@pytest.mark.parametrize("word", ["wrong number", "number 0"])
async def test_a_tcp_answer_with_another_transaction_id_is_never_taken(word: str) -> None:
    async with tcp() as stand:
        stand.device.registers[10] = 5
        stand.device.mischief += [word]
        with pytest.raises(DeviceSilent):
            await stand.link.read(stand.request(PRESSURE))
        assert stand.link.tally.detail == {"late": 1}


async def test_a_late_tcp_answer_is_dropped_by_its_transaction_id() -> None:
    async with tcp() as stand:
        stand.device.registers |= {10: 111, 20: 222}
        stand.device.mischief += ["late"]
        with pytest.raises(DeviceSilent):
            await stand.link.read(stand.request(PRESSURE))
        assert (await stand.link.read(stand.request(SPEED))).values == (222,)
        assert stand.link.tally.detail == {"late": 1}


async def test_a_large_late_answer_together_with_the_right_one_fits(stand: Stand) -> None:
    wide = stand.request(*(point(f"p{n}", n) for n in range(100)))
    stand.device.mischief += ["late"]
    with pytest.raises(DeviceSilent):
        await stand.link.read(wide)
    assert (await stand.link.read(wide)).values == (0,) * 100


@pytest.mark.parametrize("rtu", [False, True])
async def test_a_connection_that_ends_during_a_request_is_down_at_once(rtu: bool) -> None:
    async with tcp(rtu=rtu, timeout=30) as stand:
        stand.device.mischief += ["hang up"]
        with pytest.raises(ConnectionDown, match=r"connection pump-room: 127.0.0.1:\d+: closed the connection"):
            await stand.link.read(stand.request(PRESSURE))
        with pytest.raises(ConnectionDown):
            await stand.link.read(stand.request(PRESSURE))


async def test_many_time_outs_do_not_close_the_connection_to_the_neighbours() -> None:
    async with tcp(timeout=0.02) as stand:
        stand.device.mischief += ["silent"] * 12
        for _ in range(12):
            with pytest.raises(DeviceSilent):
                await stand.link.read(stand.request(PRESSURE))
        assert (await stand.link.read(stand.request(PRESSURE, unit=2))).values == (0,)


async def test_one_request_is_out_at_a_time_and_the_pause_is_kept() -> None:
    async with tcp(pause="30ms") as stand:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(stand.link.read(stand.request(PRESSURE)) for _ in range(4)))
        assert loop.time() - began >= 0.09
        assert stand.link.tally.messages == 4


async def test_a_gateway_that_is_not_ready_at_once_is_given_time_after_connecting() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with tcp(pause_after_connect="80ms") as stand:
        assert loop.time() - began >= 0.08
        await stand.link.read(stand.request(PRESSURE))


async def test_the_loop_runs_on_while_a_serial_device_is_silent() -> None:
    async with pty() as stand:
        stand.device.mischief += ["silent"]
        rounds = 0

        async def count() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                await asyncio.sleep(0.005)

        counting = asyncio.create_task(count())
        with pytest.raises(DeviceSilent):
            await stand.link.read(stand.request(PRESSURE))
        counting.cancel()
        assert rounds > 10


async def test_a_slow_line_takes_its_time_without_passing_for_silence() -> None:
    async with pty(baudrate=300, timeout=0.1) as stand:
        stand.device.registers[10] = 5
        stand.device.mischief += ["late"]
        reading = asyncio.create_task(stand.link.read(stand.request(PRESSURE)))
        await asyncio.sleep(0.3)  # 22 characters take 0.8 s at 300 baud
        stand.send(stand.device.release())
        assert (await reading).values == (5,)


async def test_an_adapter_that_is_pulled_out_is_a_connection_down() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    settings = RtuSettings(type="modbus-rtu", port=os.ttyname(slave), timeout=5)
    async with RTU.open("pump-room", settings, [], ManualClock()) as link:
        (request,) = plan(settings, [equipment(PRESSURE)])
        reading = asyncio.create_task(cast(ModbusLink, link).read(request))
        await asyncio.sleep(0.05)
        os.close(slave)
        os.close(master)
        with pytest.raises(ConnectionDown, match="the adapter is gone; plug it in again"):
            await reading


async def test_a_refused_connection_says_where_and_what_to_do() -> None:
    port = free_port()
    settings = TCP.settings.model_validate({"type": "modbus-tcp", "host": "127.0.0.1", "port": port})
    with pytest.raises(
        ConnectionDown, match=f"connection lifts: 127.0.0.1:{port}: refuses the connection; check the port"
    ):
        async with TCP.open("lifts", settings, [], ManualClock()):
            pytest.fail("must not open")


async def test_a_serial_port_that_is_not_there_or_taken_or_none_at_all_says_so(tmp_path: Path) -> None:
    async def why(port: str, **more: Any) -> str:
        settings = RtuSettings(type="modbus-rtu", port=port, **more)
        with pytest.raises(ConnectionDown) as caught:
            async with RTU.open("pump-room", settings, [], ManualClock()):
                pytest.fail("must not open")
        return str(caught.value)

    assert "there is no such device; check that the adapter is plugged in" in await why("/dev/ttyUSB77")
    assert "use a /dev/serial/by-id path" in await why("/dev/ttyUSB77")
    (tmp_path / "file").write_text("")
    assert "is no serial port" in await why(str(tmp_path / "file"))
    async with pty() as stand:
        assert "is in use by another program" in await why(cast(RtuSettings, stand.settings).port)
    denied = not_open("pump-room", RtuSettings(type="modbus-rtu", port="/dev/ttyS0"), OSError(errno.EACCES, ""))
    assert "add the user to the group dialout" in denied


async def test_a_host_that_swallows_everything_is_a_time_out_with_advice() -> None:
    settings = TCP.settings.model_validate({"type": "modbus-tcp", "host": "10.0.0.5", "timeout": 3})
    assert "10.0.0.5:502: does not answer within 3 s; check its power" in not_open("lifts", cast(Any, settings), None)


async def test_pymodbus_itself_says_nothing(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stand.device.mischief += ["silent", "truncated", "exception 2"]
    for _ in range(3):
        with pytest.raises((DeviceSilent, BadAnswer)):
            await stand.link.read(stand.request(PRESSURE))
    assert [record for record in caplog.records if record.name.startswith("pymodbus")] == []


async def test_counts_go_on_in_the_tally_that_outlives_the_connection() -> None:
    async with tcp() as stand:
        stand.link.tally = kept = Tally(bad_frames=3, messages=10)
        stand.device.mischief += ["garbage"]
        with pytest.raises(BadAnswer):
            await stand.link.read(stand.request(PRESSURE))
        await stand.link.read(stand.request(PRESSURE))
        assert (kept.bad_frames, kept.messages) == (4, 11)


async def test_the_kernel_is_told_to_notice_a_dead_peer() -> None:
    async with tcp() as stand:
        assert stand.link._wire.transport is not None
        peer = stand.link._wire.transport.get_extra_info("socket")
        assert peer.getsockopt(6, 18) == 20_000  # TCP_USER_TIMEOUT, ms


def test_the_three_connection_types_are_found_by_name() -> None:
    found = drivers()
    assert (found["modbus-tcp"], found["modbus-rtu"], found["modbus-rtu-tcp"]) == (TCP, RTU, RTU_TCP)
