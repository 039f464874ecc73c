"""Coverage-guided fuzzing by atheris, where it is installed: `make fuzz` tries that. Arguments are libFuzzer's.

The gates, the framers and the file reader get raw bytes; what they must not do is raise anything but their own
errors, take a frame that does not fit its request, or keep more than they may.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

try:
    atheris: Any = import_module("atheris")  # not in the lock files
except ImportError:
    sys.exit("atheris is not installed here; the campaigns above stand without it")

with atheris.instrument_imports(include=["drivers"]):
    from drivers import contact_id
    from drivers.contact_id import BadContactId
    from drivers.dc09.frame import BadFrame, Framer, parse_frame
    from drivers.document import Document, parse
    from drivers.modbus.frames import BrokenFrame, Gate, RtuGate, TcpGate
    from tests.fuzz.gates import KEPT, kept
    from tests.fuzz.identity import Ask, crc, rtu, tcp


def one(data: bytes) -> None:
    """One input."""
    if not data:
        return
    way, data = data[0] % 5, data[1:]
    if way < 2:
        _gate(data, over_tcp=way == 0)
    elif way == 2:
        list(Framer().feed(data))
        with suppress(BadFrame):
            parse_frame(data)
    elif way == 3:
        with suppress(BadContactId):
            contact_id.parse(data.decode("gbk", "replace"))
    else:
        parse(data.decode("utf-8", "replace"), Document("fuzz.yaml"))


def _gate(data: bytes, *, over_tcp: bool) -> None:
    ask = Ask(7, 1, 3, 0x0400, 2)
    gate: Gate = TcpGate(lambda kind: None) if over_tcp else RtuGate(lambda kind: None)
    gate.ask(tcp(7, 1, ask.request()) if over_tcp else rtu(1, ask.request()))
    for at in range(0, len(data), 7):
        frame = b""
        with suppress(BrokenFrame):
            frame = gate.take(data[at : at + 7])
        assert kept(gate) <= KEPT
        if frame:
            assert frame.startswith((b"\0\7\0\0", b"\1\3", b"\1\x83")), frame
            assert over_tcp or crc(frame[:-2]) == frame[-2:]


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
