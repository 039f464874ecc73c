"""Modbus devices without their wire: one request's PDU in, the reply's PDU out, None for silence.

The registers of a unit are made from the points of its equipment's profile when somebody asks, never before.
Several equipment may share a unit id, each at its own `base`, as the channels of one relay module do. What the
profile says that the device does not allow (`limits`), the device does not allow here either. After the Modbus
Application Protocol Specification V1.1b3, sections 6 and 7.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drivers.modbus import codec
from drivers.modbus.keys import Limits, RegisterKeys, UnitKeys
from drivers.point import Value
from simulators.model import SimEquipment
from simulators.world import World

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
BROADCAST = 0

_BIT_READS = {1: "coil", 2: "discrete"}
_REGISTER_READS = {3: "holding", 4: "input"}
_MOST_BITS_READ, _MOST_BITS_WRITTEN, _MOST_REGISTERS_WRITTEN = 2000, 1968, 123
_ON, _OFF = 0xFF00, 0x0000


class _Exception(Exception):
    """The device answers that it will not."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Silence(Exception):
    """The device does not answer at all."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """Where one point lies in its unit."""

    start: int
    count: int
    equipment: str
    point: str
    keys: RegisterKeys
    kind: codec.Kind
    writable: bool

    def touches(self, address: int, count: int) -> bool:
        return self.start < address + count and address < self.start + self.count


@dataclass(slots=True)
class _Unit:
    """One unit id: its points by table, and what it allows."""

    tables: dict[str, list[_Cell]] = field(default_factory=dict)
    equipment: list[str] = field(default_factory=list)
    forbidden: list[tuple[int, int]] = field(default_factory=list)
    max_registers: int = 125
    max_coils: int = _MOST_BITS_READ
    turnaround_s: float = 0.0

    def touched(self, table: str, address: int, count: int) -> list[_Cell]:
        """The points in a range. Refused outside of what the unit has; a gap between points is not outside."""
        cells = self.tables.get(table, [])
        inside = cells and min(c.start for c in cells) <= address
        if not inside or address + count > max(c.start + c.count for c in cells):
            raise _Exception(ILLEGAL_ADDRESS)
        touched = [cell for cell in cells if cell.touches(address, count)]
        for first, last in self.forbidden:
            barred = range(max(first, address), min(last + 1, address + count))
            if any(not any(cell.touches(each, 1) for cell in touched) for each in barred):
                raise _Exception(ILLEGAL_ADDRESS)
        return touched


class Units:
    """All devices behind one connection."""

    def __init__(self, equipment: Sequence[SimEquipment], world: World) -> None:
        self._world = world
        self._units: dict[int, _Unit] = {}
        self._said: set[str] = set()
        for each in equipment:
            self._add(each)

    def __len__(self) -> int:
        return len(self._units)

    def turnaround_s(self, unit_id: int) -> float:
        """How long the device thinks before it answers, in s."""
        unit = self._units.get(unit_id)
        return unit.turnaround_s if unit else 0.0

    def answer(self, unit_id: int, pdu: bytes) -> bytes | None:
        """The reply to one request; None where nobody answers: no such unit, a silent one, or a broadcast."""
        if unit_id == BROADCAST:
            for each in self._units:
                self._answer_of(each, pdu)
            return None
        return self._answer_of(unit_id, pdu) if unit_id in self._units else None

    def _answer_of(self, unit_id: int, pdu: bytes) -> bytes | None:
        unit = self._units[unit_id]
        if not pdu or all(each in self._world.silent for each in unit.equipment):
            return None
        try:
            return self._perform(unit, pdu[0], pdu[1:])
        except _Silence:
            return None
        except struct.error:  # shorter than its function code wants
            return bytes((pdu[0] | 0x80, ILLEGAL_VALUE))
        except _Exception as refusal:
            return bytes((pdu[0] | 0x80, refusal.code))

    def _perform(self, unit: _Unit, function: int, data: bytes) -> bytes:
        if function in _BIT_READS:
            return self._read_bits(unit, function, data)
        if function in _REGISTER_READS:
            return self._read_registers(unit, function, data)
        if function in (5, 15):
            return self._write_coils(unit, function, data)
        if function in (6, 16):
            return self._write_registers(unit, function, data)
        raise _Exception(ILLEGAL_FUNCTION)

    def _read_bits(self, unit: _Unit, function: int, data: bytes) -> bytes:
        address, count = struct.unpack_from(">HH", data)
        if not 1 <= count <= min(_MOST_BITS_READ, unit.max_coils):
            raise _Exception(ILLEGAL_VALUE)
        packed = 0
        for cell, value in self._values(unit.touched(_BIT_READS[function], address, count)):
            packed |= bool(value) << (cell.start - address)
        size = (count + 7) // 8
        return bytes((function, size)) + packed.to_bytes(size, "little")

    def _read_registers(self, unit: _Unit, function: int, data: bytes) -> bytes:
        address, count = struct.unpack_from(">HH", data)
        if not 1 <= count <= unit.max_registers:
            raise _Exception(ILLEGAL_VALUE)
        words = self._words(unit, _REGISTER_READS[function], address, count)
        return struct.pack(f">BB{count}H", function, 2 * count, *words)

    def _words(self, unit: _Unit, table: str, address: int, count: int) -> list[int]:
        """The registers of a range; 0 in the gaps."""
        words = [0] * count
        for cell, value in self._values(unit.touched(table, address, count)):
            for index, word in enumerate(self._encoded(cell, value), cell.start - address):
                if 0 <= index < count:
                    words[index] |= word  # several bits of one register are several points
        return words

    def _encoded(self, cell: _Cell, value: Value) -> Sequence[int]:
        """The registers of one value. A value that the profile has no code for is the device's failure."""
        try:
            words = codec.encode(cell.keys, value)
        except ValueError as error:
            self._log_once(f"{cell.equipment}.{cell.point}", error)
            raise _Exception(DEVICE_FAILURE) from None
        return words if isinstance(words, list) else [int(words)]

    def _log_once(self, point: str, error: ValueError) -> None:
        if point not in self._said:
            self._said.add(point)
            logging.getLogger(__name__).warning("simulated %s: %s; it answers with exception 04", point, error)

    def _values(self, cells: list[_Cell]) -> list[tuple[_Cell, Value]]:
        """The present values of points; silence where one of them belongs to a silent equipment."""
        now: dict[str, Mapping[str, Value]] = {}
        for cell in cells:
            if cell.equipment in self._world.silent:
                raise _Silence
            if cell.equipment not in now:
                now[cell.equipment] = self._world.models[cell.equipment].values()
        return [(cell, now[cell.equipment][cell.point]) for cell in cells]

    def _write_coils(self, unit: _Unit, function: int, data: bytes) -> bytes:
        address, word = struct.unpack_from(">HH", data)
        if function == 5:
            if word not in (_ON, _OFF):
                raise _Exception(ILLEGAL_VALUE)
            bits = [word == _ON]
        else:
            size = (word + 7) // 8
            if not 1 <= word <= _MOST_BITS_WRITTEN or data[4:5] != bytes((size,)) or len(data) != 5 + size:
                raise _Exception(ILLEGAL_VALUE)
            packed = int.from_bytes(data[5:], "little")
            bits = [bool(packed >> index & 1) for index in range(word)]
        cells = self._writable(unit, "coil", address, len(bits))
        for cell in cells:
            self._write(cell, bits[cell.start - address])
        return bytes((function,)) + data[:4]

    def _write_registers(self, unit: _Unit, function: int, data: bytes) -> bytes:
        address, word = struct.unpack_from(">HH", data)
        if function == 6:
            words = [word]
        else:
            if (
                not 1 <= word <= _MOST_REGISTERS_WRITTEN
                or data[4:5] != bytes((2 * word,))
                or len(data) != 5 + 2 * word
            ):
                raise _Exception(ILLEGAL_VALUE)
            words = list(struct.unpack_from(f">{word}H", data, 5))
        cells = self._writable(unit, "holding", address, len(words))
        old = self._words(unit, "holding", address, len(words))
        for cell in cells:
            place = slice(cell.start - address, cell.start - address + cell.count)
            value = codec.decode(cell.keys, words[place], cell.kind)
            if cell.keys.part is None or value != codec.decode(cell.keys, old[place], cell.kind):
                self._write(cell, value)  # the other bits of a register are written back as they were
        return bytes((function,)) + data[:4]

    def _writable(self, unit: _Unit, table: str, address: int, count: int) -> list[_Cell]:
        """The points that a write changes. Refused where there are none, or where one would be torn apart."""
        touched = unit.touched(table, address, count)
        if any(cell.equipment in self._world.silent for cell in touched):
            raise _Silence
        cells = [cell for cell in touched if cell.writable]
        whole = all(address <= cell.start and cell.start + cell.count <= address + count for cell in cells)
        if not cells or not whole:
            raise _Exception(ILLEGAL_ADDRESS)
        return cells

    def _write(self, cell: _Cell, value: Value) -> None:
        try:
            self._world.models[cell.equipment].write(cell.point, value)
        except ValueError:
            raise _Exception(ILLEGAL_VALUE) from None

    def _add(self, each: SimEquipment) -> None:
        where, limits = each.address, each.profile.options
        if not isinstance(where, UnitKeys) or not isinstance(limits, Limits):
            raise TypeError(f"{each.id}: profile {each.profile.id} is no Modbus device")
        unit = self._units.setdefault(where.unit_id, _Unit())
        unit.equipment.append(each.id)
        unit.max_registers = min(unit.max_registers, limits.max_registers)
        unit.max_coils = min(unit.max_coils, limits.max_coils)
        unit.turnaround_s = max(unit.turnaround_s, limits.turnaround)
        unit.forbidden += [(where.base + first, where.base + last) for first, last in limits.forbidden]
        for name, (spec, keys) in each.profile.points.items():
            assert isinstance(keys, RegisterKeys)  # noqa: S101
            start = where.base + keys.address
            cell = _Cell(start, keys.width, each.id, name, keys, spec.kind, spec.writable)
            unit.tables.setdefault(keys.register, []).append(cell)
