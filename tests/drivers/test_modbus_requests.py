"""Our frames by the judgement of a library: pymodbus reads what we send, and sends what we take for an answer."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from drivers.modbus import requests
from drivers.modbus.frames import Gate, RtuGate, TcpGate
from drivers.modbus.keys import Space

TABLES: list[Space] = ["coil", "discrete", "holding", "input"]
ADDRESSES = st.integers(0, 0xFFFF - 125)


@pytest.mark.parametrize(("function", "table"), list(enumerate(TABLES, start=1)))
def test_each_table_is_read_by_its_function(function: int, table: Space) -> None:
    assert requests.read(table, 0x1234, 3) == struct.pack(">BHH", function, 0x1234, 3)


def test_writes_are_those_of_the_specification() -> None:
    assert requests.write_coil(0, on=True) == bytes.fromhex("05 0000 FF00")
    assert requests.write_coil(7, on=False) == bytes.fromhex("05 0007 0000")
    assert requests.write_registers(5, [7]) == bytes.fromhex("06 0005 0007")
    assert requests.write_registers(5, [7, 8]) == bytes.fromhex("10 0005 0002 04 0007 0008")


@pytest.mark.parametrize("count", [0, 126])
def test_what_no_request_can_ask_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=str(count)):
        requests.read("holding", 0, count)


@pytest.mark.parametrize(("gate", "framer"), [(TcpGate, FramerSocket), (RtuGate, FramerRTU)])
@given(unit=st.integers(1, 247), address=ADDRESSES, values=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125))
def test_pymodbus_reads_our_request_and_we_take_its_answer(
    gate: type[Gate], framer: type[FramerSocket] | type[FramerRTU], unit: int, address: int, values: list[int]
) -> None:
    ours = gate(pytest.fail)
    packet = ours.packet(unit, requests.read("holding", address, len(values)))
    server = framer(DecodePDU(is_server=True))
    used, asked = server.handleFrame(packet, 0, 0)
    assert used == len(packet)
    assert asked is not None
    assert (asked.dev_id, asked.address, asked.count) == (unit, address, len(values))
    answer = ReadHoldingRegistersResponse(dev_id=unit, transaction_id=asked.transaction_id, registers=values)
    ours.ask(packet)
    frame = ours.take(server.buildFrame(answer))
    assert ours.pdu(frame)[2:] == struct.pack(f">{len(values)}H", *values)
