"""The driver's link on a line that lies: whole exchanges, with time-outs, on virtual time, on sockets and on a pty.

What comes in: a seed and a number of frames. What goes out: counts, or an AssertionError that names the exchange.
What is asserted of each: nothing but the four errors is raised; values that come as good are those that the device
answered to this very request; an undisturbed answer is taken. On RTU an answer is late by less than twice the
time-out, which is how long the link waits for what is owed; one that comes later still, to a request of the same
shape, no master can tell.
"""

from __future__ import annotations

import asyncio
import os
import random
import tty
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from drivers.driver import BadAnswer, DeviceSilent, PolledLink
from drivers.modbus.connection import RTU, RTU_TCP, TCP
from drivers.modbus.keys import Limits, RegisterKeys, UnitKeys
from drivers.modbus.planner import ReadRequest, plan
from drivers.point import Batch, Device, Point, Quality, Text
from edge.clock import SystemClock
from tests.fuzz.identity import Ask, rtu, tcp
from tests.fuzz.virtual import Timed, run

UNITS = (1, 2, 3, 4, 5, 6)
_SIZES = {"holding": (2, 5, 60), "input": (5, 2, 1), "coil": (20, 8, 3), "discrete": (20, 3, 1)}
"""Registers or bits of each unit's block, by kind of unit: some of the same shape, some not."""
_FUNCTION = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_BASE = {"holding": 4 << 8, "input": 10 << 8, "coil": 3 << 8, "discrete": 0}
"""Addresses whose high byte is the byte count of some answer: an echo then begins like one."""
HONEST = "honest"


@dataclass(slots=True)
class Lies:
    """What a campaign did."""

    exchanges: int = 0
    frames: int = 0
    accepted: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)


class Liar:
    """All units of a line: one whole request in, timed pieces out."""

    def __init__(self, seed: int, *, over_tcp: bool, timeout_s: float, late: bool = True) -> None:
        self.rng = random.Random(seed)
        self.over_tcp, self.timeout_s = over_tcp, timeout_s
        self.now = Ask(0, 0, 3, 0, 1)
        self.word = ""
        self.lies = Lies()
        self._serial = 0
        self._echoing = False
        self._owed: list[tuple[int, int, int]] = []
        """What the newest late answers look like: a forged payment of the debt is no fault of ours."""
        self._transactions: list[tuple[int, Ask]] = []
        kinds = _COMMON + (_TCP_ONLY if over_tcp else _RTU_ONLY) + ((("late", Liar.late),) if late else ())
        self._kinds = dict(kinds)
        self._names = [HONEST] * 6 + [name for name, _ in kinds]

    def __call__(self, data: bytes) -> list[Timed]:
        """What to send for a request, and when."""
        transaction = int.from_bytes(data[:2], "big") if self.over_tcp else 0
        unit, pdu = (data[6], data[7:]) if self.over_tcp else (data[0], data[1:-2])
        self._serial += 1
        function, address, count = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        self.now = Ask(self._serial, unit, function, address, count)
        self._transactions = [*self._transactions[-20:], (transaction, self.now)]
        self.word = self.rng.choice(self._names)
        self.lies.kinds[self.word] += 1
        if not self.over_tcp and self.rng.random() < 0.002:
            self._echoing = not self._echoing
        pieces = self._kinds[self.word](self) if self.word != HONEST else [(0.0, self.true())]
        if self._echoing:
            pieces = [(0.0, data), *pieces]
        self.lies.frames += 1 + len(pieces)
        return pieces

    def frame(self, ask: Ask, pdu: bytes, unit: int | None = None) -> bytes:
        """A frame that says to answer `ask`."""
        if not self.over_tcp:
            return rtu(ask.unit if unit is None else unit, pdu)
        transaction = next((number for number, each in self._transactions if each is ask), 0)
        return tcp(transaction, ask.unit if unit is None else unit, pdu)

    def true(self) -> bytes:
        """The right answer."""
        return self.frame(self.now, self.now.answer())

    def looks_like_its_request(self) -> bool:
        """1 in 16 million: the answer is the same as an echo, and held for one."""
        return not self.over_tcp and self.true() == rtu(self.now.unit, self.now.request())

    def silent(self) -> list[Timed]:
        """Nothing."""
        return []

    def late(self) -> list[Timed]:
        """After the time-out, and while what is owed is still waited for."""
        latest = 30.0 if self.over_tcp else 1.9
        self._owed = [*self._owed[-3:], self.now.shape]
        return [(self.timeout_s * self.rng.uniform(1.3, latest), self.true())]

    def cut(self) -> list[Timed]:
        """Only the beginning."""
        whole = self.true()
        return [(0.0, whole[: self.rng.randrange(1, len(whole))])]

    def doubled(self) -> list[Timed]:
        """Twice, in one go."""
        return [(0.0, self.true() * 2)]

    def pieces(self) -> list[Timed]:
        """In two parts."""
        whole = self.true()
        at = self.rng.randrange(1, len(whole))
        between_s = 0.0 if self.over_tcp else self.timeout_s * 0.01  # within a stream nothing comes between
        return [(0.0, whole[:at]), (between_s, whole[at:])]

    def refused(self) -> list[Timed]:
        """An exception."""
        return [(0.0, self.frame(self.now, self.now.refusal(self.rng.choice((1, 2, 4, 6, 10, 11)))))]

    def foreign(self) -> list[Timed]:
        """The answer of a unit that does not exist here, then nothing or the right one."""
        frame = self.frame(self.now, Ask(self._serial + 7, 9, *self._shape()).answer(), unit=9)
        return [(0.0, frame), (0.0, self.true())][: self.rng.randint(1, 2)]

    def _shape(self) -> tuple[int, int, int]:
        return self.now.function, self.now.address, self.now.count

    def other_size(self) -> list[Timed]:
        """One register too many."""
        function, address, count = self._shape()
        return [(0.0, self.frame(self.now, Ask(self._serial, self.now.unit, function, address, count + 8).answer()))]

    def merged(self) -> list[Timed]:
        """Late answers of earlier requests and the right one, in one go."""
        old = [self.frame(ask, ask.answer()) for _, ask in self._transactions[-4:-1] if self._told_apart(ask)]
        return [(0.0, b"".join([*old, self.true()]))]

    def previous(self) -> list[Timed]:
        """The answer to the request before, in place of this one's."""
        old = [self.frame(ask, ask.answer()) for _, ask in self._transactions[-2:-1] if self._told_apart(ask)]
        return [(0.0, each) for each in old]

    def _told_apart(self, ask: Ask) -> bool:
        return self.over_tcp or (ask.shape != self.now.shape and ask.shape not in self._owed)

    def burst(self) -> list[Timed]:
        """Damaged as a CRC-16 always finds; on TCP in the header and what it foretells."""
        frame = bytearray(self.true())
        if self.over_tcp:
            frame[self.rng.randrange(9)] ^= self.rng.randint(1, 255)
            return [(0.0, bytes(frame))]
        pattern = self.rng.randint(1, 0xFFFF) << self.rng.randrange(8 * len(frame) - 15)
        return [(0.0, (int.from_bytes(frame, "little") ^ pattern).to_bytes(len(frame), "little"))]

    def noise(self) -> list[Timed]:
        """Bytes of a disturbed line before the answer, after it, or both."""
        before, after = (
            bytes(self.rng.choice((0, 0xFF, 0x80, 0xFE)) for _ in range(self.rng.randint(0, 9))) for _ in "ab"
        )
        return [(0.0, before + self.true() + after)]

    def garbage(self) -> list[Timed]:
        """What another protocol would say."""
        return [(0.0, self.rng.choice((b"HTTP/1.1 400 Bad Request\r\n\r\n", self.rng.randbytes(30))))]


_COMMON: tuple[tuple[str, Callable[[Liar], list[Timed]]], ...] = (
    ("silent", Liar.silent), ("truncated", Liar.cut), ("doubled", Liar.doubled), ("in pieces", Liar.pieces),
    ("exception", Liar.refused), ("foreign", Liar.foreign), ("other size", Liar.other_size), ("merged", Liar.merged),
    ("previous", Liar.previous), ("burst", Liar.burst),
)  # fmt: skip
_TCP_ONLY: tuple[tuple[str, Callable[[Liar], list[Timed]]], ...] = (("garbage", Liar.garbage),)
_RTU_ONLY: tuple[tuple[str, Callable[[Liar], list[Timed]]], ...] = (("noise", Liar.noise), ("noise", Liar.noise))


def unit(number: int) -> Device:
    """A unit with one block in each table; value by value, so that nothing is lost in decoding."""
    points = []
    for table, sizes in _SIZES.items():
        for n in range(sizes[number % 3]):
            keys = RegisterKeys.model_validate({"register": table, "address": _BASE[table] + n})
            points.append(_point(f"u{number}", f"{table}_{n}", "bool" if keys.type == "bool" else "int", keys))
    limits = Limits(turnaround=0.0)
    return Device(f"u{number}", UnitKeys(unit_id=number), limits, tuple(points), 0.0)


def _point(equipment: str, name: str, kind: Any, keys: RegisterKeys) -> Point:
    return Point(
        id=f"{equipment}.{name}", equipment=equipment, name=name, title=Text(name, name), kind=kind, unit="",
        period_s=1.0, deadband=0, low=None, high=None, counter=False, writable=False, labels=None, address=keys,
    )  # fmt: skip


def check(batch: Batch, ask: Ask) -> None:
    """Whether the values are those of this request."""
    answer = ask.answer()[2:]
    bits = [bool(answer[n // 8] >> n % 8 & 1) for n in range(ask.count)] if ask.function <= 2 else []
    wanted: list[Any] = bits or ask.words()
    assert batch.quality is Quality.GOOD
    assert batch.qualities is None
    assert list(batch.values) == wanted, f"values of another request: {batch.values} for {ask}"


async def lied_to(link: PolledLink, requests: list[ReadRequest], liar: Liar, frames: int, *, strict: bool) -> Lies:
    """Read at random until so many frames have been seen. `strict`: an undisturbed answer must be taken."""
    lies = liar.lies
    while lies.frames < frames:
        request = liar.rng.choice(requests)
        lies.exchanges += 1
        end = "good"
        try:
            batch = await link.read(request)
        except (DeviceSilent, BadAnswer) as error:
            end = type(error).__name__
            told = f"{liar.word} answer to {liar.now}: {error}"
            must = strict and liar.word in (HONEST, "doubled", "merged") and not liar.looks_like_its_request()
            assert not must, told
        else:
            check(batch, liar.now)
            lies.accepted += 1
        lies.ends[end] += 1
    return lies


def fuzz_virtual(frames: int, seed: int, *, over_tcp: bool) -> Lies:
    """So many frames on a wire without sockets, on virtual time."""
    liar = Liar(seed, over_tcp=over_tcp, timeout_s=1.0)

    async def main() -> Lies:
        driver, type_ = (TCP, "modbus-tcp") if over_tcp else (RTU_TCP, "modbus-rtu-tcp")
        settings: Any = driver.settings.model_validate(
            {"type": type_, "host": "nowhere", "port": 502, "timeout": liar.timeout_s}
        )
        requests = plan(settings, [unit(number) for number in UNITS])
        async with driver.open("line", settings, [], SystemClock()) as link:
            return await lied_to(cast(PolledLink, link), requests, liar, frames, strict=True)

    return run(main(), liar)


async def fuzz_sockets(frames: int, seed: int, *, over_tcp: bool) -> Lies:
    """So many frames over real sockets."""
    liar = Liar(seed, over_tcp=over_tcp, timeout_s=0.05, late=over_tcp)
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(512):
            for after_s, piece in liar(data):
                loop.call_later(after_s, _write, writer, piece)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    driver, type_ = (TCP, "modbus-tcp") if over_tcp else (RTU_TCP, "modbus-rtu-tcp")
    port = server.sockets[0].getsockname()[1]
    settings: Any = driver.settings.model_validate(
        {"type": type_, "host": "127.0.0.1", "port": port, "timeout": liar.timeout_s}
    )
    requests = plan(settings, [unit(number) for number in UNITS])
    async with server:
        async with driver.open("line", settings, [], SystemClock()) as link:
            lies = await lied_to(cast(PolledLink, link), requests, liar, frames, strict=False)
        await asyncio.sleep(0.02)  # the server's side ends too
    return lies


def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if not writer.is_closing():
        writer.write(piece)


async def fuzz_pty(frames: int, seed: int) -> Lies:
    """So many frames over a real pseudo-terminal."""
    liar = Liar(seed, over_tcp=False, timeout_s=0.05, late=False)
    async with _line(liar) as path:
        settings: Any = RTU.settings.model_validate(
            {"type": "modbus-rtu", "port": path, "baudrate": 115200, "timeout": liar.timeout_s}
        )
        requests = plan(settings, [unit(number) for number in UNITS])
        async with RTU.open("line", settings, [], SystemClock()) as link:
            return await lied_to(cast(PolledLink, link), requests, liar, frames, strict=False)


@asynccontextmanager
async def _line(liar: Liar) -> AsyncIterator[str]:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    open_ = True

    def say(piece: bytes) -> None:
        if open_:
            os.write(master, piece)

    def serve() -> None:
        for after_s, piece in liar(os.read(master, 512)):
            loop.call_later(after_s, say, piece)

    loop.add_reader(master, serve)
    try:
        yield os.ttyname(slave)
    finally:
        open_ = False
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)
