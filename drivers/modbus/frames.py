"""The frames of Modbus, and which bytes from the wire answer the request that is out.

What comes in: each request as it is sent, and bytes as they arrive, in any pieces. What goes out: the one whole
frame that answers, or a broken one's reason; all else is counted. Nothing passes that does not fit the request:
not another function code or byte count, not another transaction id. Frames after Modbus Messaging on TCP/IP V1.0b
(MBAP) and Modbus over Serial Line V1.02 (RTU). Pure.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

HEADER = struct.Struct(">HHHB")
MBAP = 6
"""Transaction id, protocol id and length: two bytes each, before the unit id."""
LARGEST_TCP = 254
"""Unit id and PDU."""
_RECENT = 4096
"""Requests of which a late answer may still come."""
_PLAIN = 1024
"""Requests whose plain answer is kept at hand."""
_KEPT = 512
"""Bytes kept in search of a frame on a noisy line: two RTU frames."""
SHORTEST_RTU = 5
"""An exception: unit id, function, code and CRC. Fewer bytes are noise."""


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_CRC = _table()


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS as it follows a frame, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


class BrokenFrame(Exception):
    """What came can be no answer to what is out, and no other will come."""


class Asked(NamedTuple):
    """What the answer to one request must look like."""

    transaction: int
    unit: int
    function: int
    head: bytes
    """The bytes after the function code: byte count of a read, address of a write."""
    size: int
    """Of the answer's PDU."""

    @classmethod
    def by(cls, unit: int, pdu: bytes, transaction: int = 0) -> Asked:
        """From the request itself."""
        if pdu[0] <= 4:
            count = int.from_bytes(pdu[3:5], "big")
            data = (count + 7) // 8 if pdu[0] <= 2 else 2 * count
            return cls(transaction, unit, pdu[0], bytes([data]), 2 + data)
        return cls(transaction, unit, pdu[0], pdu[1:3], 5)

    def mismatch(self, unit: int, pdu: bytes) -> str | None:
        """Why a whole frame is no answer to this; None where it is one. Exceptions are answers."""
        if unit != self.unit:
            return f"unit {unit} answered in place of unit {self.unit}"
        if pdu[0] == self.function | 0x80 and len(pdu) == 2:
            return None
        if pdu[0] != self.function:
            return f"function {pdu[0]} answered a request of function {self.function}"
        if len(pdu) != self.size:
            return f"the answer has {len(pdu)} bytes where {self.size} were asked for"
        if not pdu.startswith(self.head, 1):
            return "the answer is to another address or number of values"
        return None


Stray = Callable[[int, bytes], None]


def _unheard(unit: int, pdu: bytes) -> None:
    """Nobody wants to know of frames that nobody waits for."""


class Gate(ABC):
    """Bytes in, at most one answer a request out. One for each of the two framings below."""

    __slots__ = ("_asked", "_count", "_held", "_stray")

    def __init__(self, count: Callable[[str], None], stray: Stray = _unheard) -> None:
        self._count = count
        """Called with the kind of each frame that cannot be used."""
        self._stray = stray
        """Called with unit id and PDU of each whole frame that nobody waits for."""
        self._held = b""
        self._asked: Asked | None = None

    def ask(self, packet: bytes, known: bytes = b"") -> None:
        """A request leaves; what came before it can be no answer to it.

        `known`: the newest answer to the same request, without its transaction id. It is returned itself in place of
        one that says the same, where the framing allows that.
        """
        self.end()
        self._asked = self._expect(packet)

    def take(self, data: bytes) -> bytes:
        """Bytes came. Returns the frame that answers, or nothing yet. Raises `BrokenFrame`."""
        self._held += data
        return self._search()

    def again(self, packet: bytes) -> bytes:
        """Another answer to a request is waited for. Returns it where it has come already. Raises `BrokenFrame`."""
        self._asked = self._expect(packet)
        return self._search()

    def end(self) -> bool:
        """Nobody waits any more. True where part of a frame had come; it is counted and dropped."""
        self._asked = None
        if not self._held:
            return False
        self._held = b""
        self._count("truncated")
        return True

    def begun(self) -> bool:
        """Whether the answer that is waited for has begun to come: then no other will."""
        return False

    def held(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._held)

    @abstractmethod
    def packet(self, unit: int, pdu: bytes) -> bytes:
        """A request as it goes over the wire."""

    @abstractmethod
    def pdu(self, frame: bytes) -> bytes:
        """What a frame that was let through says: function code and data."""

    @abstractmethod
    def _expect(self, packet: bytes) -> Asked: ...

    @abstractmethod
    def _search(self) -> bytes: ...

    def _pass(self, unit: int, pdu: bytes, what: str) -> None:
        """A whole frame that answers nothing now: a late answer, or one of a device that was not asked."""
        self._count(what)
        self._stray(unit, pdu)

    def _broken(self, what: str, reason: str) -> None:
        """Raise where somebody waits; count in any case."""
        self._held = b""
        self._count(what)
        if self._asked is not None:
            self._asked = None
            raise BrokenFrame(reason)


class TcpGate(Gate):
    """MBAP frames: the length says where one ends, the transaction id what it answers."""

    __slots__ = ("_known", "_plain", "_sent", "_transaction")

    def __init__(self, count: Callable[[str], None], stray: Stray = _unheard) -> None:
        super().__init__(count, stray)
        self._transaction = 0
        self._plain: dict[bytes, tuple[bytes, int]] = {}
        """See `_plainly`; by the request without its transaction id."""
        self._known = b""
        self._sent = b""
        """The request that is out, as long as nothing but its plain answer has been looked for."""

    def ask(self, packet: bytes, known: bytes = b"") -> None:
        """A request leaves; what came before it can be no answer to it."""
        if self._held:
            self.end()
        self._asked, self._sent, self._known = None, packet, known

    def packet(self, unit: int, pdu: bytes) -> bytes:
        """With the next transaction id, 1 to 65535."""
        self._transaction = self._transaction % 0xFFFF + 1
        return HEADER.pack(self._transaction, 0, 1 + len(pdu), unit) + pdu

    def pdu(self, frame: bytes) -> bytes:
        """Without header and unit id."""
        return frame[MBAP + 1 :]

    def take(self, data: bytes) -> bytes:
        """Bytes came. Returns the frame that answers, or nothing yet. Raises `BrokenFrame`."""
        sent = self._sent
        if sent:  # one whole frame that answers a read is what nearly always comes
            self._sent = b""
            known = self._known
            if known and data[2:] == known and data.startswith(sent[:2]):
                return known
            head, size = self._plain.get(sent[2:]) or self._plainly(sent)
            if len(data) == size and data.startswith(head, 2) and data.startswith(sent[:2]):
                return data
            self._asked = self._expect(sent)
        if self._held and self._begins_anew(data):
            self._held = b""
            self._count("truncated")
        return super().take(data)

    def end(self) -> bool:
        """Nobody waits any more. True where part of a frame had come; it is counted and dropped."""
        self._sent = b""
        return super().end()

    def _plainly(self, sent: bytes) -> tuple[bytes, int]:
        """How a read's answer begins after its transaction id, and its length. Nothing is like that of a write."""
        if sent[MBAP + 1] > 4:
            return b"", 0
        if len(self._plain) >= _PLAIN:
            self._plain.clear()
        asked = self._expect(sent)
        head = bytes([0, 0, *(1 + asked.size).to_bytes(2, "big"), asked.unit, asked.function]) + asked.head
        plain = self._plain[sent[2:]] = head, MBAP + 1 + asked.size
        return plain

    def _begins_anew(self, data: bytes) -> bool:
        """Whether a whole frame comes where the rest of another one should: that one was cut short."""
        if self._asked is None or len(data) <= MBAP + 1:
            return False
        transaction, protocol, length, _ = HEADER.unpack_from(data)
        recent = (self._asked.transaction - transaction) % 0x10000 < _RECENT
        return recent and not protocol and 2 <= length <= LARGEST_TCP and MBAP + length <= len(data)

    def _expect(self, packet: bytes) -> Asked:
        return Asked.by(packet[MBAP], packet[MBAP + 1 :], int.from_bytes(packet[:2], "big"))

    def _search(self) -> bytes:
        while len(self._held) > MBAP + 1:
            transaction, protocol, length, unit = HEADER.unpack_from(self._held)
            if protocol or not 2 <= length <= LARGEST_TCP:
                self._broken("header", "the bytes that came are no Modbus TCP header")
                break
            if len(self._held) < MBAP + length:
                break
            frame, self._held = self._held[: MBAP + length], self._held[MBAP + length :]
            asked = self._asked
            if asked is None or transaction != asked.transaction:
                self._pass(unit, frame[MBAP + 1 :], "late")
                continue
            if reason := asked.mismatch(unit, frame[MBAP + 1 :]):
                self._broken("mismatch", reason)
            if self._held[2:4].strip(b"\0") or self._held[4:5].strip(b"\0"):
                self._broken("merged", "the answer runs into bytes that begin no frame; it may have been cut short")
            self._asked = None
            return frame
        return b""


class RtuGate(Gate):
    """RTU frames: found by the length that the request foretells and by their CRC.

    Some adapters give each request back before the answer. Such an echo can begin as the answer must, and with what
    follows even have a right CRC, so it is looked for first. That of FC05 and FC06 is the same as their
    confirmation: which of the two it is, is known from the reads before.
    """

    __slots__ = ("_echo", "_echoes")

    def __init__(self, count: Callable[[str], None], stray: Stray = _unheard) -> None:
        super().__init__(count, stray)
        self._echo = b""
        """The request that is out, until its echo has come."""
        self._echoes = False
        """Whether the newest answer came after an echo."""

    def ask(self, packet: bytes, known: bytes = b"") -> None:
        """A request leaves; what came before it can be no answer to it."""
        super().ask(packet)
        self._echo = packet if self._echoes or packet[1] not in (5, 6) else b""

    def packet(self, unit: int, pdu: bytes) -> bytes:
        """With its CRC."""
        body = bytes([unit]) + pdu
        return body + crc16(body)

    def pdu(self, frame: bytes) -> bytes:
        """Without unit id and CRC."""
        return frame[1:-2]

    def _expect(self, packet: bytes) -> Asked:
        return Asked.by(packet[0], packet[1:-2])

    def _search(self) -> bytes:
        start = 0
        while start + SHORTEST_RTU <= len(self._held):
            asked = self._asked
            if asked is not None and self._echo and self._held[start] == asked.unit:
                if self._held.startswith(self._echo, start):
                    self._held = self._held[start + len(self._echo) :]
                    self._echo, self._echoes, start = b"", True, 0
                    continue
                if self._echo.startswith(self._held[start:]):  # it may still become the echo
                    break
            if asked is not None and start == 0 and self._begins(asked) and not self._complete(asked):
                break
            frame = self._whole(start)
            if not frame:
                start += 1
                continue
            self._held = self._held[start + len(frame) :]
            start = 0
            if asked is not None and asked.mismatch(frame[0], frame[1:-2]) is None:
                self._asked = None
                self._echoes = self._echoes and not self._echo
                return frame
            self._pass(frame[0], frame[1:-2], "stray")
        self._held = self._held[-_KEPT:]
        return b""

    def _complete(self, asked: Asked) -> bool:
        """Whether what begins as the answer must is the whole of it. Raises `BrokenFrame` where it is spoilt."""
        whole = 1 + asked.size + 2
        if len(self._held) < whole:
            return False
        if crc16(self._held[: whole - 2]) != self._held[whole - 2 : whole]:
            self._broken("crc", "the answer's CRC is wrong")
        return True

    def begun(self) -> bool:
        """Whether the answer that is waited for has begun to come: then no other will. Noise may stand before it."""
        if self._asked is None:
            return False
        head = self._head(self._asked)
        return head in self._held or any(self._held.endswith(head[:size]) for size in range(1, len(head)))

    def _begins(self, asked: Asked) -> bool:
        """Whether what is held begins as the answer must."""
        return self._held.startswith(self._head(asked))

    @staticmethod
    def _head(asked: Asked) -> bytes:
        return bytes([asked.unit, asked.function]) + asked.head

    def _whole(self, start: int) -> bytes:
        """The frame that begins there, whole and with the right CRC; nothing otherwise."""
        function = self._held[start + 1]
        if 0x81 <= function <= 0xAB:  # exceptions; the bytes of a disturbed line lie above
            size = 5
        elif 1 <= function <= 4:
            size = 5 + self._held[start + 2]
        elif function in (5, 6, 15, 16):
            size = 8
        else:
            return b""
        frame = self._held[start : start + size]
        return frame if len(frame) == size and crc16(frame[:-2]) == frame[-2:] else b""
