"""The gate: only the whole, right answer to the request that is out gets through, whatever the line brings."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.frames import BrokenFrame, Gate, RtuGate, TcpGate, crc16

PDU = struct.pack(">BHH", 3, 10, 2)
ANSWER = struct.pack(">BBHH", 3, 4, 7, 8)


def rtu(unit: int, pdu: bytes) -> bytes:
    body = bytes([unit]) + pdu
    return body + crc16(body)


def tcp(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, 1 + len(pdu), unit) + pdu


def through(gate: Gate, pieces: list[bytes]) -> list[bytes]:
    """What gets through; a broken frame ends it."""
    found = []
    try:
        for piece in pieces:
            if frame := gate.take(piece):
                found.append(frame)
    except BrokenFrame:
        pass
    return found


def test_the_crc_is_that_of_the_standard() -> None:
    assert crc16(bytes.fromhex("01030000000A")) == bytes.fromhex("C5CD")
    assert crc16(b"123456789") == (0x4B37).to_bytes(2, "little")


@given(st.binary(max_size=600), st.integers(1, 40), st.booleans())
def test_noise_never_gets_through_and_never_breaks_the_gate(noise: bytes, size: int, over_tcp: bool) -> None:
    gate: Gate = TcpGate(lambda kind: None) if over_tcp else RtuGate(lambda kind: None)
    gate.ask(tcp(5, 1, PDU) if over_tcp else rtu(1, PDU))
    for frame in through(gate, [noise[at : at + size] for at in range(0, len(noise), size)]):
        assert frame[:2] == (b"\0\5" if over_tcp else b"\1\3")


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=5))
def test_the_answer_is_found_among_late_ones_however_the_bytes_are_cut(
    size: int, late: list[tuple[int, int]]
) -> None:
    counted: list[str] = []
    gate = TcpGate(counted.append)
    gate.ask(tcp(77, 1, PDU))
    stream = b"".join(tcp(tid, unit, ANSWER) for tid, unit in late) + tcp(77, 1, ANSWER)
    found = through(gate, [stream[at : at + size] for at in range(0, len(stream), size)])
    assert found == [tcp(77, 1, ANSWER)]
    assert counted == ["late"] * len(late)


@given(st.integers(1, 20), st.lists(st.integers(2, 9), max_size=5))
def test_an_rtu_answer_is_found_among_those_of_others(size: int, others: list[int]) -> None:
    strays: list[int] = []
    gate = RtuGate(lambda kind: None, lambda unit, pdu: strays.append(unit))
    gate.ask(rtu(1, PDU))
    stream = b"".join(rtu(unit, ANSWER) for unit in others) + rtu(1, ANSWER)
    assert through(gate, [stream[at : at + size] for at in range(0, len(stream), size)]) == [rtu(1, ANSWER)]
    assert strays == others


@given(st.integers(0, len(rtu(1, ANSWER)) - 1), st.integers(1, 255))
def test_no_single_wrong_byte_gets_through_on_a_serial_line(at: int, flip: int) -> None:
    gate = RtuGate(lambda kind: None)
    gate.ask(rtu(1, PDU))
    broken = bytearray(rtu(1, ANSWER))
    broken[at] ^= flip
    assert through(gate, [bytes(broken)]) == []


def test_only_one_answer_gets_through_for_one_request() -> None:
    gate = RtuGate(lambda kind: None)
    gate.ask(rtu(1, PDU))
    assert gate.take(rtu(1, ANSWER)) == rtu(1, ANSWER)
    assert gate.take(rtu(1, ANSWER)) == b""


@pytest.mark.parametrize(
    ("request_pdu", "answer_pdu"),
    [
        (struct.pack(">BHH", 5, 3, 0xFF00), struct.pack(">BHH", 5, 4, 0xFF00)),
        (struct.pack(">BHH", 6, 3, 1), struct.pack(">BHH", 6, 2, 1)),
        (struct.pack(">BHHBHH", 16, 3, 2, 4, 1, 2), struct.pack(">BHH", 16, 30, 2)),
    ],
)
def test_a_write_is_not_confirmed_by_the_echo_of_another_address(request_pdu: bytes, answer_pdu: bytes) -> None:
    gate = TcpGate(lambda kind: None)
    gate.ask(tcp(1, 1, request_pdu))
    with pytest.raises(BrokenFrame, match="to another address"):
        gate.take(tcp(1, 1, answer_pdu))
