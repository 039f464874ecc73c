"""Answers that tell to which request they belong, and the frames around them.

What comes in: unit, function, address, count, and the number of the request. What goes out: the data of the one true
answer: each register is a fingerprint of all five, so that a value of another request, register or device is known
by sight. Frames are built here anew, not by the code under test.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MASK = 0xFFFFFFFFFFFFFFFF


def fingerprint(unit: int, function: int, address: int, serial: int) -> int:
    """16 bits that no other register, unit or request shares but by chance (1 in 65536)."""
    mixed = (unit << 40 | function << 32 | address << 16) ^ (serial * 0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> 31) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return mixed >> 48


def _shifted(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_SHIFTED = [_shifted(byte) for byte in range(256)]


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS, low byte first."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _SHIFTED[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, numbered."""

    serial: int
    unit: int
    function: int
    address: int
    count: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """What an answer without a number shows of its request. Of writes it shows the address."""
        return self.unit, self.function, self.size if self.function <= 4 else self.address

    def request(self) -> bytes:
        """Its PDU."""
        if self.function <= 4:
            return struct.pack(">BHH", self.function, self.address, self.count)
        if self.function == 16:
            data = struct.pack(f">{self.count}H", *self.words())
            return struct.pack(">BHHB", 16, self.address, self.count, len(data)) + data
        value = self.words()[0] if self.function == 6 else 0xFF00
        return struct.pack(">BHH", self.function, self.address, value)

    def words(self) -> list[int]:
        """The registers that it reads or writes."""
        return [
            fingerprint(self.unit, self.function, self.address + n, self.serial) for n in range(min(self.count, 125))
        ]

    def answer(self) -> bytes:
        """The PDU of the one true answer."""
        if self.function <= 2:
            data = bytes(fingerprint(self.unit, self.function, n, self.serial) & 0xFF for n in range(self.size))
            return bytes([self.function, len(data)]) + data
        if self.function <= 4:
            return struct.pack(f">BB{self.count}H", self.function, 2 * self.count, *self.words())
        return self.request()[:5]

    @property
    def size(self) -> int:
        """Data bytes of a read answer."""
        return (self.count + 7) // 8 if self.function <= 2 else 2 * self.count

    def refusal(self, code: int) -> bytes:
        """The PDU of an exception."""
        return bytes([self.function | 0x80, code])


def rtu(unit: int, pdu: bytes) -> bytes:
    """A frame on a serial line."""
    body = bytes([unit]) + pdu
    return body + crc(body)


def tcp(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A frame on TCP."""
    return struct.pack(">HHHB", transaction & 0xFFFF, 0, 1 + len(pdu), unit) + pdu
