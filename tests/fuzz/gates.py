"""Mutated, truncated, merged, doubled, echoed, late and foreign frames against the two gates, without sockets.

What comes in: a seed and a number of frames. What goes out: counts, or an AssertionError that names the seed and the
exchange. What is asserted of each exchange: nothing but `BrokenFrame` is raised; at most one frame gets through, and
it is byte for byte the true answer; the true answer does get through where nothing before it spoils it; what is kept
of a noisy line is bounded.

Left out is what no master could tell on that protocol: changed data under an intact TCP header (TCP has its own
checksum, Modbus on it none), and on RTU a whole answer of the same shape as the one that is waited for, which comes
after the request (the link waits for what is owed, see `wires`). A broken RTU frame whose CRC is right by chance
(1 in 65536 random ones) is told apart by keeping to damage that a CRC-16 finds always: one burst of 16 bits at most.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from drivers.modbus.frames import BrokenFrame, Gate, RtuGate, TcpGate
from tests.fuzz.identity import Ask, rtu, tcp

KEPT = 1024
"""Bytes that a gate may keep, at the most."""
UNITS = range(1, 7)
_READS, _WRITES = (1, 2, 3, 4), (5, 6, 16)


@dataclass(slots=True)
class Tale:
    """What happened to one exchange, to be told when it ends wrongly."""

    ask: Ask
    pieces: list[bytes]
    words: list[str]


@dataclass(slots=True)
class Line:
    """An adapter that gives back each request before anything else, or one that does not."""

    echoing: bool = False
    known: bool = False
    """Whether a read has been answered on it: from then on the gate can tell the echo of a write."""

    def tells(self, ask: Ask) -> bool:
        """Whether the echo of a request is told from its answer: the same bytes may be either."""
        if ask.function in (5, 6):
            return self.known
        return ask.function > 4 or ask.answer() != ask.request()


@dataclass(slots=True)
class Outcome:
    """What a campaign did."""

    frames: int = 0
    exchanges: int = 0
    accepted: int = 0
    missed: int = 0
    """True answers that were lost on RTU because bytes before them, or these and their beginning, happened to have
    the right CRC of a short frame: 1 in 65536 for each place where one may begin."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Frames by what was done to them."""
    counted: Counter[str] = field(default_factory=Counter)
    """What the gate counted."""


def any_ask(rng: random.Random, serial: int) -> Ask:
    """A request, now and then with an address whose high byte looks like the byte count of its answer."""
    function = rng.choice(_READS * 3 + _WRITES)
    count = 1 if function in (5, 6) else rng.choice((1, 2, 2, 3, 4, 8, rng.randint(1, 60)))
    unit = rng.choice(UNITS)
    likeness = Ask(serial, unit, function, 0, count).size << 8 | rng.randint(0, 255)
    address = rng.choice((rng.randint(0, 40), rng.randint(0, 65400), likeness))
    return Ask(serial, unit, function, address, count)


class _Stream:
    """The bytes around one request: what came before it was sent, and what comes after."""

    def __init__(self, ask: Ask, over_tcp: bool, past: list[Ask], rng: random.Random) -> None:
        self.ask, self.over_tcp, self.past, self.rng = ask, over_tcp, past, rng
        self.words: list[str] = []
        self.clean = True
        """Nothing so far that may keep the true answer from being found."""

    def frame(self, ask: Ask, pdu: bytes) -> bytes:
        return tcp(ask.serial, ask.unit, pdu) if self.over_tcp else rtu(ask.unit, pdu)

    def true(self) -> bytes:
        """The one frame that may get through."""
        refused = self.ask.serial % 17 == 0
        return self.frame(self.ask, self.ask.refusal(self.ask.serial % 11 + 1) if refused else self.ask.answer())

    def before(self) -> bytes:
        """Something that is not the answer."""
        kind = self.rng.choice(_KINDS_TCP if self.over_tcp else _KINDS_RTU)
        self.words.append(kind)
        return _MISCHIEF[kind](self)

    def late(self) -> bytes:
        """A whole answer of an earlier request."""
        ask = self.rng.choice(self.past) if self.past else self.ask
        if ask is self.ask or (not self.over_tcp and ask.shape == self.ask.shape):
            return b""
        return self.frame(ask, ask.answer())

    def foreign(self) -> bytes:
        """The answer of a unit that was not asked, of the same shape."""
        other = self.rng.choice([unit for unit in UNITS if unit != self.ask.unit])
        serial = self.ask.serial + 1 + self.rng.randrange(60000)
        return self.frame(Ask(serial, other, self.ask.function, self.ask.address, self.ask.count), self.ask.answer())

    def cut(self) -> bytes:
        """The beginning of an earlier answer."""
        self.clean = False
        whole = self.late() or self.foreign()
        return whole[: self.rng.randrange(1, len(whole))]

    def noise(self) -> bytes:
        """Bytes of an idle or disturbed line, which begin no frame of ours."""
        if self.over_tcp:
            self.clean = False
            return self.rng.randbytes(self.rng.randint(1, 40))
        return bytes(self.rng.choice((0x00, 0xFF, 0x80, 0xFE)) for _ in range(self.rng.randint(1, 12)))

    def garbage(self) -> bytes:
        """What another protocol would say."""
        self.clean = False
        return self.rng.choice((b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"login: "))

    def other_function(self) -> bytes:
        """The right unit, with something that nobody asked for."""
        self.clean = False
        return self.frame(self.ask, self.rng.choice((b"\x2b\x0e\x01", b"\x11\x02\x01\xff", b"\x00", b"\x63\x00")))

    def burst(self) -> bytes:
        """The true answer, damaged as a CRC-16 always finds; on TCP within the header and what it foretells."""
        self.clean = False
        frame = bytearray(self.true())
        if self.over_tcp:
            place = self.rng.choice((0, 1, 2, 3, 4, 5, 6, 7))
            frame[place] ^= self.rng.randint(1, 255)
            return bytes(frame)
        start = self.rng.randrange(8 * len(frame) - 15)
        pattern = self.rng.randint(1, 0xFFFF) << start
        return (int.from_bytes(frame, "little") ^ pattern).to_bytes(len(frame), "little")


_MISCHIEF: dict[str, Callable[[_Stream], bytes]] = {
    "late": _Stream.late,
    "foreign": _Stream.foreign,
    "truncated": _Stream.cut,
    "noise": _Stream.noise,
    "garbage": _Stream.garbage,
    "other function": _Stream.other_function,
    "burst": _Stream.burst,
}
_KINDS_RTU = ("late", "late", "foreign", "foreign", "truncated", "noise", "noise", "burst",
              "garbage", "other function")  # fmt: skip
_KINDS_TCP = ("late", "late", "late", "foreign", "truncated", "noise", "garbage", "other function", "burst")


def fuzz_gate(frames: int, seed: int, *, over_tcp: bool) -> Outcome:
    """So many frames against one gate."""
    rng = random.Random(seed)
    outcome = Outcome()
    gate: Gate = TcpGate(_counting(outcome)) if over_tcp else RtuGate(_counting(outcome))
    past: list[Ask] = []
    serial = rng.randrange(1000)
    line = Line()
    while outcome.frames < frames:
        serial += 1
        ask = any_ask(rng, serial)
        if not over_tcp and rng.random() < 0.01:
            line = Line(echoing=not line.echoing)
        _exchange(gate, _Stream(ask, over_tcp, past, rng), line, outcome, rng)
        past = [*past[-6:], ask]
    assert outcome.missed <= 3 + outcome.frames // 30_000
    return outcome


def _counting(outcome: Outcome) -> Callable[[str], None]:
    def count(kind: str) -> None:
        outcome.counted[kind] += 1

    return count


def _exchange(gate: Gate, stream: _Stream, line: Line, outcome: Outcome, rng: random.Random) -> None:
    if rng.random() < 0.2:  # something came while nobody waited
        with suppress(BrokenFrame):
            gate.take(stream.before())
        stream.clean, stream.words = True, [*stream.words, "|"]
    gate.ask(stream.frame(stream.ask, stream.ask.request()))
    parts = [stream.frame(stream.ask, stream.ask.request())] if line.echoing else []
    stream.words += ["echo"] * len(parts)
    parts += [stream.before() for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
    comes, true = rng.random() < 0.85, stream.true()
    clean_before = stream.clean
    if comes:
        parts.append(true)
        stream.words.append("TRUE")
        if rng.random() < 0.1:
            parts.append(true)
            stream.words.append("doubled")
    parts += [stream.before() for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    # On TCP, what runs into no frame may itself be cut short.
    must = comes and line.tells(stream.ask) and (stream.clean if stream.over_tcp else clean_before)
    pieces = _cut(b"".join(parts), rng)
    tale = Tale(stream.ask, pieces, stream.words)
    found = _through(gate, pieces, tale)
    asked = stream.frame(stream.ask, stream.ask.request())
    assert found in ([], [true]) or (found == [asked] and not line.tells(stream.ask)), f"wrong: {found}; {tale}"
    if must and not found and not stream.over_tcp and parts[0] is not true:
        outcome.missed += 1
    else:
        assert found or not must, f"the true answer {true.hex()} did not get through; {tale}"
    line.known = line.known or bool(found and stream.ask.function in (1, 2, 3, 4))
    outcome.exchanges += 1
    outcome.frames += len(parts) + 1
    outcome.accepted += len(found)
    outcome.kinds.update(stream.words)


def _through(gate: Gate, pieces: list[bytes], tale: Tale) -> list[bytes]:
    """The frames that get through; a broken one ends the waiting, not the listening."""
    found = []
    for piece in pieces:
        try:
            if frame := gate.take(piece):
                found.append(bytes(frame))
        except BrokenFrame:
            pass
        except Exception as error:
            raise AssertionError(f"{error!r}; {tale}") from error
        assert kept(gate) <= KEPT, f"the gate keeps {kept(gate)} bytes; {tale}"
    return found


def kept(gate: Gate) -> int:
    """Bytes that a gate holds."""
    names = [name for kind in type(gate).__mro__ for name in getattr(kind, "__slots__", ())]
    values = [getattr(gate, name) for name in names] + list(getattr(gate, "__dict__", {}).values())
    return sum(len(value) for value in values if isinstance(value, bytes | bytearray))


def _cut(data: bytes, rng: random.Random) -> list[bytes]:
    """In one piece, byte by byte, or anywhere."""
    way = rng.random()
    if way < 0.5 or len(data) < 2:
        return [data] if data else []
    if way < 0.6:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted({0, len(data), *(rng.randrange(1, len(data)) for _ in range(rng.randint(1, 4)))})
    return [data[a:b] for a, b in itertools.pairwise(places)]
