"""The PDUs of requests, made by pymodbus: function code and data, as they go into a frame.

What comes in: table, address, count or values, all on the wire's own terms. What goes out: bytes. A read's PDU is
made once, when its connection opens; nothing here stands on the way of a reading.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from drivers.modbus.keys import Space

_READ: dict[Space, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}


def read(table: Space, address: int, count: int) -> bytes:
    """Read `count` registers or bits of a table (functions 1 to 4). Raises ValueError for what no request can ask."""
    return _bytes(_READ[table](address=address, count=count))


def write_coil(address: int, *, on: bool) -> bytes:
    """Set one coil (function 5)."""
    return _bytes(WriteSingleCoilRequest(address=address, bits=[on]))


def write_registers(address: int, registers: Sequence[int]) -> bytes:
    """Set one holding register (function 6) or several in a row (function 16)."""
    if len(registers) == 1:
        return _bytes(WriteSingleRegisterRequest(address=address, registers=list(registers)))
    count = len(registers)
    return _bytes(WriteMultipleRegistersRequest(address=address, count=count, registers=list(registers)))


def _bytes(pdu: ModbusPDU) -> bytes:
    return bytes([pdu.function_code]) + pdu.encode()
