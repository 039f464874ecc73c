"""The points of a connection's devices as the requests that use the wire least, within what the devices allow.

What comes in: devices with their points, addresses and limits. What goes out: requests, each with its period,
its compiled decode step and the time that it is predicted to occupy the wire. Pure. Sizes and times after
Modbus Application Protocol V1.1b3 (PDU) and Modbus over Serial Line V1.02 (characters, silent intervals).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from drivers.driver import Request
from drivers.modbus.codec import Decode, compile_bits, compile_registers
from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, RtuTcpSettings, Space, TcpSettings, UnitKeys
from drivers.modbus.runs import Cost, Span, cut
from drivers.point import Block, Device, Point

ModbusSettings = TcpSettings | RtuSettings | RtuTcpSettings

TCP_EXCHANGE_S = 0.002
"""A request and its answer over a quiet local network, without the device's own delay."""
REQUEST_CHARACTERS = 8
_ANSWER_CHARACTERS = 5
"""Unit, function, byte count and two of CRC, around the data."""
WIDER = 0.05
"""By this part of its own time a request may take longer, so that its answer differs from its neighbours'."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadRequest(Request):
    """One read of one table of one unit."""

    unit_id: int
    table: Space
    address: int
    """On the wire: the device's base is in it."""
    count: int
    """Registers or bits."""
    decode: Decode
    pause_s: float
    """Left free on the wire before it."""
    start_s: float
    """From the sending of the request until its answer is predicted to begin."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the wire costs."""

    character_s: float
    """Time of one character; 0 on a network."""
    silence_s: float
    """The interval (t3.5) that ends a frame."""
    exchange_s: float
    """Cost of an exchange besides its characters."""

    def exchange(self, data_bytes: int) -> float:
        """Time on the wire of a read whose answer carries that much data, the device's own delay apart."""
        characters = REQUEST_CHARACTERS + _ANSWER_CHARACTERS + data_bytes
        return characters * self.character_s + 2 * self.silence_s + self.exchange_s

    @property
    def start_s(self) -> float:
        """From the sending of a request until its answer can begin, the device's own delay apart."""
        return REQUEST_CHARACTERS * self.character_s + self.silence_s + self.exchange_s


def line_of(settings: ModbusSettings) -> Line:
    """The wire of a connection.

    A character has 11 bits, 10 in 8N1; what a serial server's own line is set to is not known here, so 11.
    Above 19200 baud t3.5 stays at 1.75 ms (Modbus over Serial Line V1.02, 2.5.1.1).
    """
    if isinstance(settings, TcpSettings):
        return Line(0.0, 0.0, TCP_EXCHANGE_S)
    bits = 11
    if isinstance(settings, RtuSettings):
        bits = 9 + (settings.parity != "N") + settings.stopbits
    character_s = bits / settings.baudrate
    silence_s = 3.5 * character_s if settings.baudrate <= 19200 else 0.00175
    return Line(character_s, silence_s, TCP_EXCHANGE_S if isinstance(settings, RtuTcpSettings) else 0.0)


def plan(settings: ModbusSettings, devices: Sequence[Device], *, apart: bool = True) -> list[ReadRequest]:
    """The requests that read every point of every device at its period, or faster where that is cheaper.

    A point with period 0 is read only when it is written. Devices that share a unit id keep requests of their
    own. On a serial line, requests of one unit get different sizes where that costs next to nothing (`apart`), so
    that a late answer to one cannot be taken for another's. Raises ValueError, naming the point, where one cannot
    be read at all within its device's limits.
    """
    line = line_of(settings)
    reads = [
        _Read.of(device, run, island)
        for device in devices
        for points in _tables(device)
        for island in _islands(device, points)
        for run in _runs(device, island, settings, line)
    ]
    if apart and line.character_s:
        _tell_apart(reads, settings, line)
    return [_request(read, settings, line) for read in reads]


@dataclass(slots=True)
class _Read:
    """One request in the making."""

    device: Device
    points: Sequence[Point]
    table: Space
    first: int
    end: int
    """Addresses from first to before end."""
    around: Sequence[tuple[int, int]]
    """The same of all points of its island: in between everything may be read."""

    @classmethod
    def of(cls, device: Device, points: Sequence[Point], island: Sequence[Point]) -> _Read:
        places = [place(device, point) for point in points]
        around = [place(device, point)[1:] for point in island]
        return cls(device, points, places[0][0].register, places[0][1], max(end for _, _, end in places), around)

    def size(self) -> int:
        """Bytes of its answer."""
        return _size(self.table, self.end - self.first)

    def wider(self) -> list[tuple[int, int]]:
        """How else it may begin and end, the least first; it cuts no other point in two."""
        if _limits(self.device).single:
            return []
        behind = [(self.first, end) for _, end in self.around if end > self.end]
        before = [(first, self.end) for first, _ in self.around if first < self.first]
        most = _most(self.table, _limits(self.device))
        return sorted((way for way in (*behind, *before) if way[1] - way[0] <= most), key=lambda way: way[1] - way[0])


def _size(table: Space, count: int) -> int:
    return (count + 7) // 8 if _bits(table) else 2 * count


def _tell_apart(reads: Sequence[_Read], settings: ModbusSettings, line: Line) -> None:
    """Widen requests of one unit and table that have the same size, a little, so that their answers differ."""
    forms = Counter((_unit(read.device).unit_id, read.table, read.size()) for read in reads)
    for read in reads:
        unit, table, size = _unit(read.device).unit_id, read.table, read.size()
        if forms[unit, table, size] < 2:
            continue
        dear_s = WIDER * (line.exchange(size) + _own(read.device, settings))
        for first, end in read.wider():
            wider = _size(table, end - first)
            if (wider - size) * line.character_s > dear_s:
                break
            if not forms[unit, table, wider]:
                forms[unit, table, size] -= 1
                forms[unit, table, wider] = 1
                read.first, read.end = first, end
                break


def place(device: Device, point: Point) -> tuple[RegisterKeys, int, int]:
    """Keys, first address on the wire, and address after the last, of a point."""
    keys = cast(RegisterKeys, point.address)  # the models of this driver, as the site file was checked by
    first = _unit(device).base + keys.address
    return keys, first, first + keys.width


def _unit(device: Device) -> UnitKeys:
    return cast(UnitKeys, device.address)


def _limits(device: Device) -> Limits:
    return cast(Limits, device.options)


def _tables(device: Device) -> Iterator[list[Point]]:
    """The points of each table that are read, by address."""
    tables: dict[Space, list[Point]] = {}
    for point in device.points:
        keys, _, end = place(device, point)
        most = _most(keys.register, _limits(device))
        if keys.width > most:
            raise ValueError(f"{point.id}: takes {keys.width} registers, but limits.max_registers is {most}")
        if end > 65536:
            raise ValueError(f"{point.id}: base and address together end beyond 65535; check base of {device.id}")
        if point.period_s > 0:
            tables.setdefault(keys.register, []).append(point)
    for points in tables.values():
        yield sorted(points, key=lambda point: place(device, point)[1:])


def _islands(device: Device, points: Sequence[Point]) -> Iterator[list[Point]]:
    """Points by address, parted where no request may reach across: a gap too wide, or a forbidden one."""
    limits, base = _limits(device), _unit(device).base
    forbidden = [(base + first, base + last) for first, last in limits.forbidden]
    island: list[Point] = []
    covered = 0
    for point in points:
        _, start, end = place(device, point)
        barred = start > covered and any(first < start and last >= covered for first, last in forbidden)
        if island and (barred or start - covered > limits.max_gap):
            yield island
            island = []
        island.append(point)
        covered = max(covered, end)
    yield island


def _runs(device: Device, points: Sequence[Point], settings: ModbusSettings, line: Line) -> Iterator[list[Point]]:
    """The points of one island, as they are best shared out among requests."""
    places = [place(device, point) for point in points]
    if _limits(device).single:  # points of the same registers, as the bits of one, are one value
        same: dict[tuple[int, int], list[Point]] = {}
        for point, (_, start, end) in zip(points, places, strict=True):
            same.setdefault((start, end), []).append(point)
        yield from same.values()
        return
    first = places[0][1]
    table = places[0][0].register
    spans: tuple[Span, ...] = tuple(
        (start - first, end - first, point.period_s) for point, (_, start, end) in zip(points, places, strict=True)
    )
    per_byte = 8 if _bits(table) else 0.5
    cost = Cost(line.exchange(0) + _own(device, settings), line.character_s, per_byte)
    for run in cut(spans, _most(table, _limits(device)), cost):
        yield [points[index] for index in run]


def _bits(table: Space) -> bool:
    return table in ("coil", "discrete")


def _pause(device: Device, settings: ModbusSettings) -> float:
    return max(settings.pause, _limits(device).pause)


def _own(device: Device, settings: ModbusSettings) -> float:
    """What an exchange with the device takes besides the wire."""
    return _limits(device).turnaround + _pause(device, settings)


def _most(table: Space, limits: Limits) -> int:
    return limits.max_coils if _bits(table) else limits.max_registers


def _request(read: _Read, settings: ModbusSettings, line: Line) -> ReadRequest:
    device, points, table, start, count = read.device, read.points, read.table, read.first, read.end - read.first
    places = [place(device, point) for point in points]
    items = [(first - start, keys, point.kind) for point, (keys, first, _) in zip(points, places, strict=True)]
    bits = _bits(table)
    return ReadRequest(
        device=device,
        block=Block(device.id, tuple(points)),
        period_s=min(point.period_s for point in points),
        wire_s=line.exchange((count + 7) // 8 if bits else 2 * count) + _own(device, settings),
        unit_id=_unit(device).unit_id,
        table=table,
        address=start,
        count=count,
        decode=compile_bits(items) if bits else compile_registers(items, count),
        pause_s=_pause(device, settings),
        start_s=line.start_s + _limits(device).turnaround,
        lane=_unit(device).unit_id,
        lane_width=min(_limits(device).max_in_flight, settings.at_once),
    )
