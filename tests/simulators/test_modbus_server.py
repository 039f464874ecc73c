"""The simulated Modbus devices: what they answer, what they refuse, and what they survive."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.document import Document
from drivers.modbus.frames import crc16
from drivers.modbus.keys import Limits, RegisterKeys, UnitKeys
from drivers.point import Text, Value
from drivers.profile import PointSpec, Profile
from simulators.modbus_server import Frames, ModbusRtuTcp, ModbusTcp
from simulators.modbus_units import Units
from simulators.model import SimEquipment
from simulators.world import World
from tests.simulators.community import EVENING
from tests.support import eventually

POINTS: dict[str, dict[str, Any]] = {
    "level": {"register": "holding", "address": 10, "type": "int16", "scale": 0.1, "writable": True},
    "energy": {"register": "holding", "address": 12, "type": "uint32", "order": "CDAB"},
    "speed": {"register": "holding", "address": 20, "type": "float32", "writable": True},
    "running": {"register": "holding", "address": 30, "bit": 0, "kind": "bool"},
    "remote": {"register": "holding", "address": 30, "bit": 5, "kind": "bool", "writable": True},
    "lamp": {"register": "coil", "address": 0, "kind": "bool", "writable": True},
    "door": {"register": "discrete", "address": 3, "kind": "bool"},
}
VALUES: dict[str, Value] = {
    "level": -12.3,
    "energy": 70000,
    "speed": 1.5,
    "running": True,
    "remote": False,
    "lamp": True,
    "door": True,
}


def made(
    name: str, unit: int = 7, base: int = 0, limits: dict[str, Any] | None = None, **values: Value
) -> SimEquipment:
    """One equipment with the points above, at a unit id."""
    common = set(PointSpec.model_fields)
    points = {
        point: (
            PointSpec.model_validate(
                {"name": {"zh": point, "en": point}, **{k: v for k, v in row.items() if k in common}}
            ),
            RegisterKeys.model_validate({k: v for k, v in row.items() if k not in common}),
        )
        for point, row in POINTS.items()
    }
    profile = Profile(
        id="pump/test",
        equipment_class="pump",
        name=Text("", ""),
        protocol="modbus",
        source="synthetic profile: of this test",
        period_s=1,
        stale_after_s=0,
        options=Limits.model_validate(limits or {}),
        points=points,
        document=Document(""),
    )
    address = UnitKeys.model_validate({"unit_id": unit, "base": base})
    return SimEquipment(name, profile, "bus", address, {**VALUES, **values})


def world_with(*equipment: SimEquipment) -> tuple[World, Units]:
    world = World(equipment, seed=1, start=EVENING)
    return world, Units(equipment, world)


def read(function: int, address: int, count: int) -> bytes:
    return struct.pack(">BHH", function, address, count)


def words(reply: bytes | None) -> list[int]:
    assert reply is not None
    assert not reply[0] & 0x80, f"exception {reply[1]}"
    return list(struct.unpack(f">{reply[1] // 2}H", reply[2:]))


def test_registers_are_made_from_the_values_of_the_moment() -> None:
    world, units = world_with(made("pump"))
    assert words(units.answer(7, read(3, 10, 1))) == [0x10000 - 123]
    assert words(units.answer(7, read(3, 12, 2))) == [70000 & 0xFFFF, 70000 >> 16]
    world.models["pump"].write("level", 4.0)
    assert words(units.answer(7, read(3, 10, 1))) == [40]


def test_a_gap_within_the_map_reads_as_zero_and_outside_of_it_is_refused() -> None:
    _, units = world_with(made("pump"))
    assert words(units.answer(7, read(3, 10, 4))) == [0x10000 - 123, 0, 70000 & 0xFFFF, 70000 >> 16]
    assert words(units.answer(7, read(3, 15, 3))) == [0, 0, 0]
    assert units.answer(7, read(3, 9, 2)) == b"\x83\x02"
    assert units.answer(7, read(3, 30, 2)) == b"\x83\x02"
    assert units.answer(7, read(4, 10, 1)) == b"\x84\x02"


def test_part_of_a_long_value_can_be_read_by_itself() -> None:
    _, units = world_with(made("pump"))
    assert words(units.answer(7, read(3, 13, 1))) == [70000 >> 16]


def test_several_bits_share_one_register() -> None:
    _, units = world_with(made("pump", remote=True))
    assert words(units.answer(7, read(3, 30, 1))) == [0b100001]


def test_coils_and_inputs_lie_in_the_bytes_lowest_first() -> None:
    _, units = world_with(made("a"), made("b", base=9, lamp=False), made("c", base=10))
    assert units.answer(7, read(1, 0, 11)) == bytes((1, 2, 0b00000001, 0b00000100))
    assert units.answer(7, read(2, 3, 1)) == bytes((2, 1, 1))


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (read(3, 10, 0), 3),
        (read(3, 10, 126), 3),
        (read(1, 0, 2001), 3),
        (b"\x03\x00", 3),
        (b"\x05\x00\x00\x12\x34", 3),
        (b"\x10\x00\x0a\x00\x01\x03\x00\x00", 3),
        (b"\x0f\x00\x00\x00\x09\x01\x00", 3),
        (b"\x2b\x0e\x01\x00", 1),
        (b"\x17" + bytes(9), 1),
        (b"\x06\x00\x0c\x00\x01", 2),
        (b"\x06\x00\x14\x00\x01", 2),
        (b"\x05\x01\x00\xff\x00", 2),
    ],
    ids=str,
)
def test_what_a_device_would_refuse_is_refused(pdu: bytes, code: int) -> None:
    _, units = world_with(made("pump"))
    assert units.answer(7, pdu) == bytes((pdu[0] | 0x80, code))


def test_writes_reach_the_model_and_nothing_beside_it_changes() -> None:
    world, units = world_with(made("pump"))
    assert units.answer(7, b"\x05\x00\x00\x00\x00") == b"\x05\x00\x00\x00\x00"
    assert units.answer(7, struct.pack(">BHh", 6, 10, -250)) is not None
    speed = struct.pack(">BHHBf", 16, 20, 2, 4, 2.25)
    assert units.answer(7, speed) == speed[:5]
    assert units.answer(7, struct.pack(">BHH", 6, 30, 0b100000)) == struct.pack(">BHH", 6, 30, 0b100000)
    values = world.models["pump"].values()
    assert values == {**VALUES, "lamp": False, "level": -25.0, "speed": 2.25, "remote": True}


def test_several_coils_are_written_at_once() -> None:
    world, units = world_with(made("a"), made("b", base=1), made("c", base=2))
    assert units.answer(7, b"\x0f\x00\x00\x00\x03\x01\x02") == b"\x0f\x00\x00\x00\x03"
    assert [world.models[name].values()["lamp"] for name in "abc"] == [False, True, False]


def test_a_value_that_the_model_refuses_is_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    world, units = world_with(made("pump"))

    def refuse(point: str, value: Value) -> None:
        raise ValueError(f"{point} {value}")

    monkeypatch.setattr(world.models["pump"], "write", refuse)
    assert units.answer(7, b"\x05\x00\x00\x00\x00") == b"\x85\x03"


def test_a_value_that_has_no_code_is_the_devices_failure_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    _, units = world_with(made("pump", level=99_999.0))
    assert units.answer(7, read(3, 10, 1)) == b"\x83\x04"
    assert units.answer(7, read(3, 10, 1)) == b"\x83\x04"
    assert [record.message.split(":")[0] for record in caplog.records] == ["simulated pump.level"]


def test_silence_is_no_answer_and_the_neighbours_go_on() -> None:
    world, units = world_with(made("a"), made("b", unit=8))
    world.silent.add("a")
    assert units.answer(7, read(3, 10, 1)) is None
    assert units.answer(7, b"\x05\x00\x00\x00\x00") is None
    assert units.answer(7, b"\x2b") is None
    assert units.answer(9, read(3, 10, 1)) is None
    assert words(units.answer(8, read(3, 10, 1))) == [0x10000 - 123]
    world.silent.clear()
    assert units.answer(7, read(3, 10, 1)) is not None


def test_of_a_shared_unit_only_the_silent_channel_is_silent() -> None:
    world, units = world_with(made("a"), made("b", base=1))
    world.silent.add("b")
    assert units.answer(7, read(1, 0, 1)) == bytes((1, 1, 1))
    assert units.answer(7, read(1, 1, 1)) is None
    assert units.answer(7, b"\x0f\x00\x00\x00\x02\x01\x00") is None
    assert world.models["a"].values()["lamp"] is True


def test_a_broadcast_is_obeyed_by_all_and_answered_by_none() -> None:
    world, units = world_with(made("a"), made("b", unit=8))
    assert units.answer(0, b"\x05\x00\x00\x00\x00") is None
    assert [world.models[name].values()["lamp"] for name in "ab"] == [False, False]


def test_what_the_profile_says_the_device_does_not_allow_it_does_not_allow() -> None:
    _, units = world_with(made("pump", limits={"max_registers": 4, "forbidden": [[15, 16]]}))
    assert units.answer(7, read(3, 10, 5)) == b"\x83\x03"
    assert units.answer(7, read(3, 14, 2)) == b"\x83\x02"
    assert words(units.answer(7, read(3, 17, 2))) == [0, 0]


@given(st.binary(max_size=40))
def test_no_pdu_whatever_breaks_a_unit(pdu: bytes) -> None:
    _, units = world_with(made("pump"))
    reply = units.answer(7, pdu)
    assert reply is None if not pdu else reply is not None and reply[0] & 0x7F == pdu[0] & 0x7F


# ---- TCP ----


@asynccontextmanager
async def tcp(*equipment: SimEquipment) -> AsyncIterator[tuple[ModbusTcp, int]]:
    _, units = world_with(*equipment)
    wire = ModbusTcp(units, lambda: None)
    await wire.server.open("127.0.0.1", 0)
    try:
        yield wire, wire.server.address[1]
    finally:
        await wire.server.cut()


async def ask(port: int, *frames: bytes) -> bytes:
    """Everything that comes back until the far end is done, or 12 bytes for each frame."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"".join(frames))
        async with asyncio.timeout(2):
            return await reader.read(4096)
    finally:
        writer.close()
        await writer.wait_closed()


def framed(transaction: int, pdu: bytes, unit: int = 7) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


async def test_many_clients_are_answered_each_with_its_own_transactions() -> None:
    async with tcp(made("pump")) as (_, port):
        replies = await asyncio.gather(*(ask(port, framed(number, read(3, 10, 1))) for number in range(40)))
        assert replies == [framed(number, b"\x03\x02\xff\x85") for number in range(40)]


async def test_requests_that_come_in_pieces_and_in_heaps_are_answered_in_order() -> None:
    async with tcp(made("pump")) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        heap = framed(1, read(3, 10, 1)) + framed(2, read(9, 0, 0)) + framed(3, read(1, 0, 1))
        for at in range(0, len(heap), 5):
            writer.write(heap[at : at + 5])
            await writer.drain()
        expected = framed(1, b"\x03\x02\xff\x85") + framed(2, b"\x89\x01") + framed(3, b"\x01\x01\x01")
        async with asyncio.timeout(2):
            assert await reader.readexactly(len(expected)) == expected
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "rubbish",
    [b"GET / HTTP/1.0\r\n\r\n", struct.pack(">HHH", 1, 0, 0), struct.pack(">HHH", 1, 0, 60_000), bytes(6)],
    ids=["http", "empty", "endless", "zeros"],
)
async def test_a_frame_that_is_none_costs_its_sender_the_connection_and_nobody_else_anything(rubbish: bytes) -> None:
    async with tcp(made("pump")) as (wire, port):
        assert await ask(port, rubbish) == b""
        assert wire.bad_frames == 1
        assert await ask(port, framed(1, read(3, 10, 1))) == framed(1, b"\x03\x02\xff\x85")


async def test_a_cut_server_refuses_and_comes_back_at_the_same_port() -> None:
    async with tcp(made("pump")) as (wire, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: wire.server.listening)
        await wire.server.cut()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(2):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()
        await wire.server.mend()
        assert await ask(port, framed(1, read(3, 10, 1))) == framed(1, b"\x03\x02\xff\x85")


# ---- RTU frames ----


def test_a_frame_is_found_in_pieces_and_again_after_rubbish() -> None:
    frames, frame = Frames(), b"\x07" + read(3, 10, 1)
    sent = frame + crc16(frame)
    assert [frames.feed(sent[at : at + 3], 0.001 * at) for at in (0, 3, 6)] == [None, None, frame]
    assert frames.feed(sent[:5], 1.0) is None
    assert frames.feed(sent, 2.0) == frame
    assert frames.bad_frames == 1


async def test_rtu_over_tcp_takes_the_time_of_the_line_behind() -> None:
    _, units = world_with(made("pump"))
    answered: list[float] = []
    wire = ModbusRtuTcp(units, lambda: answered.append(asyncio.get_running_loop().time()), baudrate=9600, paced=True)
    await wire.server.open("127.0.0.1", 0)
    try:
        frame = b"\x07" + read(3, 10, 21)
        began = asyncio.get_running_loop().time()
        reply, other = await asyncio.gather(*(ask(wire.server.address[1], frame + crc16(frame)) for _ in range(2)))
        assert reply == other == reply[:-2] + crc16(reply[:-2])
        assert len(reply) == 5 + 42
        # 8 and 47 characters of 10 bits, and 10 ms of turnaround; the second waits for the first
        assert answered[0] - began >= (8 + 47) * 10 / 9600 + 0.010
        assert answered[1] - began >= 2 * ((8 + 47) * 10 / 9600 + 0.010)
    finally:
        await wire.server.cut()
