"""Values to registers and back; pure, for the driver and for simulators alike.

What comes in: the bytes of a read answer (registers high byte first, coils low bit first, Modbus Application
Protocol V1.1b3, 6.1 to 6.4) and the keys of the points in it. What goes out: the points' values, None where
the device itself says that it does not know (NaN, infinity, digits that are none, a `missing` code). What a
request needs is worked out once, by `compile_registers` or `compile_bits`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, Literal

from drivers.modbus.keys import Order, RegisterKeys
from drivers.point import Quality, Value

Kind = Literal["bool", "int", "float", "text"]
Decode = Callable[[bytes], tuple[Value, ...]]
Step = Callable[[Any], Any]
Item = tuple[int, RegisterKeys, Kind]
"""Offset of a value in an answer (registers or bits), its keys, and the kind that its point shall have."""
Cell = tuple[int, str, Order]
"""Offset, struct format and order: what several points (bits of one register) may share."""

_FORMATS = {
    "bool": "H", "uint16": "H", "int16": "h", "bcd16": "H",
    "uint32": "I", "int32": "i", "float32": "f", "bcd32": "I",
    "uint64": "Q", "int64": "q", "float64": "d",
}  # fmt: skip
_DIGITS = {"bcd16": 4, "bcd32": 8}


def kind_of(keys: RegisterKeys) -> Kind:
    """The kind of value that the keys alone suggest, where no point says it."""
    if keys.type == "bool":
        return "bool"
    if keys.type == "string":
        return "text"
    whole = float(keys.scale).is_integer() and float(keys.offset).is_integer()
    return "int" if whole and not keys.type.startswith("float") else "float"


def decode(keys: RegisterKeys, raw: Sequence[int] | bool, kind: Kind | None = None) -> Value:
    """One value from its registers, or from its coil. None: the device says that it does not know."""
    if isinstance(raw, bool):
        return raw
    step = compile_registers([(0, keys, kind or kind_of(keys))], keys.width)
    return step(struct.pack(f">{len(raw)}H", *raw))[0]


def encode(keys: RegisterKeys, value: Value, over: Sequence[int] | None = None) -> list[int] | bool:
    """The registers that mean `value`, or the state of its coil.

    `over`: the registers as they stand, which `bit` or `bits` are laid over; without it the other bits are 0.
    None becomes the first `missing` code, NaN for a float. Raises ValueError where no code means the value.
    """
    if keys.register in ("coil", "discrete"):
        return _as_bool(value)
    if keys.type == "bool" and value is not None:
        return [_with_bit(keys, _as_bool(value), over)]
    raw = _raw(keys, value)
    if keys.bits is not None:
        return [_with_bits(keys, raw, over)]
    try:
        data = struct.pack(">" + _format(keys), raw)
    except OverflowError:
        raise ValueError(f"{value!r} is too large for {keys.type}") from None
    except struct.error:
        raise ValueError(f"{value!r} does not fit {keys.type}; {_range(keys)}") from None
    places = _byte_places(keys)
    return list(struct.unpack(f">{keys.width}H", bytes(data[place] for place in places)))


def qualities(values: tuple[Value, ...]) -> tuple[Quality, ...] | None:
    """`bad/sensor` for each value that the device does not know; None where it knows all."""
    if None not in values:
        return None
    return tuple(Quality.BAD_SENSOR if value is None else Quality.GOOD for value in values)


def compile_registers(items: Sequence[Item], count: int) -> Decode:
    """The decode step of an answer of `count` registers: its data bytes in, the items' values out."""
    cells: dict[Cell, int] = {}
    for offset, keys, _ in items:
        cells.setdefault((offset, _format(keys), keys.order), len(cells))
    layout, gather = _layout(items, cells, count)
    unpack = struct.Struct(layout).unpack
    steps = [(cells[offset, _format(keys), keys.order], _converter(keys, kind)) for offset, keys, kind in items]

    def run(data: bytes) -> tuple[Value, ...]:
        raw = unpack(gather(data) if gather else data)
        return tuple([raw[index] if step is None else step(raw[index]) for index, step in steps])

    if all(step is None for _, step in steps) and [index for index, _ in steps] == list(range(len(cells))):
        return unpack if gather is None else lambda data: unpack(gather(data))
    return run


def compile_bits(items: Sequence[Item]) -> Decode:
    """The decode step of an answer of coils or discrete inputs."""
    places = [(offset >> 3, 1 << (offset & 7), _FINISH[kind]) for offset, _, kind in items]
    return lambda data: tuple([finish(data[byte] & mask != 0) for byte, mask, finish in places])


def _layout(items: Sequence[Item], cells: dict[Cell, int], count: int) -> tuple[str, Callable[[bytes], bytes] | None]:
    """A struct format over all cells, and how to bring the bytes into its order; None where they lie so already.

    Straight means: nothing swapped, nothing overlapping, from low to high; then gaps are skipped in the format.
    """
    widths = {(offset, _format(keys), keys.order): keys.width for offset, keys, _ in items}
    layout, position, straight = ">", 0, True
    for cell in cells:
        offset, code, order = cell
        straight = straight and offset >= position and order == "ABCD"
        layout += "xx" * (offset - position) + code
        position = offset + widths[cell]
    if straight:
        return layout + "xx" * (count - position), None
    wanted: list[int] = []
    for offset, keys, _ in items:
        cell = (offset, _format(keys), keys.order)
        if cell in widths:
            del widths[cell]
            wanted += [2 * offset + place for place in _byte_places(keys)]
    pick = itemgetter(*wanted)  # at least the two bytes of one register, so it gives a tuple
    return ">" + "".join(code for _, code, _ in cells), lambda data: bytes(pick(data))


def _format(keys: RegisterKeys) -> str:
    return f"{2 * keys.width}s" if keys.type == "string" else _FORMATS[keys.type]


def _byte_places(keys: RegisterKeys) -> list[int]:
    """Where on the wire the value's bytes lie, the most significant first. Each order is its own inverse."""
    words = range(keys.width)
    if keys.order in ("CDAB", "DCBA"):
        words = words[::-1]
    swapped = keys.order in ("BADC", "DCBA")
    return [2 * word + (byte ^ swapped) for word in words for byte in (0, 1)]


def _converter(keys: RegisterKeys, kind: Kind) -> Step | None:
    """From what struct unpacks to the point's value; None where that is the same."""
    steps: list[Step] = []
    if codes := _missing_codes(keys):
        steps.append(lambda raw: None if raw in codes else raw)
    if keys.bits is not None:
        steps.append(_field(*keys.bits))
    elif keys.type == "bool":
        steps.append(_bit(keys.bit))
    elif keys.type == "string":
        steps.append(_text)
    elif keys.type in _DIGITS:
        steps.append(_bcd)
    scaling = _scaling(keys)
    if scaling:
        steps.append(scaling)
    if keys.type.startswith("float"):  # a number that is finite may not be any more once it is scaled
        steps.append(lambda raw: raw if math.isfinite(raw) else None)
    if kind != kind_of(keys):
        steps.append(_parsed(kind) if keys.type == "string" else _FINISH[kind])
    if len(steps) <= 1:
        return steps[0] if steps else None
    return lambda raw: _through(steps, raw)


def _through(steps: list[Step], raw: Any) -> Any:
    for step in steps:
        raw = step(raw)
        if raw is None:
            return None
    return raw


def _shown(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_FINISH: dict[Kind, Step] = {"bool": bool, "int": round, "float": float, "text": _shown}
"""What brings a number to the kind of its point."""


def _parsed(kind: Kind) -> Step:
    """A number that the device sends as text; None where the text is none."""

    def step(text: str) -> Value:
        try:
            number = float(text)
        except ValueError:
            return None
        return _FINISH[kind](number) if math.isfinite(number) else None

    return step


def _bit(bit: int | None) -> Step:
    if bit is None:
        return bool
    mask = 1 << bit
    return lambda raw: raw & mask != 0


def _field(first: int, last: int) -> Step:
    mask = (2 << last - first) - 1
    return lambda raw: raw >> first & mask


def _text(raw: bytes) -> str:
    """Up to the first NUL; a byte that is no UTF-8 shows as the replacement character."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _bcd(raw: int) -> int | None:
    try:
        return int(f"{raw:x}")
    except ValueError:  # a digit above 9
        return None


def _scaling(keys: RegisterKeys) -> Step | None:
    """raw * scale + offset, by division where the scale is 1/10, 1/100 ...: 3/10 is 0.3, 3*0.1 is not."""
    scale, offset = keys.scale, keys.offset
    if scale == 1 and offset == 0:
        return None
    parts = round(1 / scale)
    if keys.type.startswith("float"):
        return lambda raw: raw * scale + offset
    if parts and abs(scale) < 1 and math.isclose(1 / scale, parts, rel_tol=1e-12):
        if offset == 0:
            return lambda raw: raw / parts
        places = max(_places(scale), _places(offset))
        return lambda raw: round(raw / parts + offset, places)
    if float(scale).is_integer() and float(offset).is_integer():
        whole, shift = int(scale), int(offset)
        return lambda raw: raw * whole + shift
    places = max(_places(scale), _places(offset))
    return lambda raw: round(raw * scale + offset, places)


def _places(number: float) -> int:
    """Decimal places that a number is written with."""
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _missing_codes(keys: RegisterKeys) -> frozenset[Any]:
    """`missing` as struct unpacks it: 0x8000 of an int16 as -32768, -9999.9 of a float32 as its nearest."""
    code = _format(keys)
    if not keys.type.startswith("float"):
        size = 16 * keys.width
        signed = keys.type.startswith("int")
        values = (int(each) % (1 << size) for each in keys.missing)
        return frozenset(v - (1 << size) if signed and v >> (size - 1) else v for v in values)
    return frozenset(struct.unpack(code, struct.pack(code, each))[0] for each in keys.missing)


def _as_bool(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise ValueError(f"{value!r} is neither true nor false")


def _with_bit(keys: RegisterKeys, on: bool, over: Sequence[int] | None) -> int:
    """The register with one bit set or cleared, as it goes over the wire."""
    if keys.bit is None:
        return int(on)
    bit = keys.bit ^ 8 if keys.order in ("BADC", "DCBA") else keys.bit
    stands = over[0] if over else 0
    return stands | 1 << bit if on else stands & ~(1 << bit)


def _with_bits(keys: RegisterKeys, raw: int, over: Sequence[int] | None) -> int:
    """The register with a number in some of its bits, as it goes over the wire."""
    first, last = keys.bits or (0, 15)
    mask = (2 << last - first) - 1
    if not 0 <= raw <= mask:
        raise ValueError(f"{raw} does not fit bits {first} to {last}; {_range(keys)}")
    swapped = keys.order in ("BADC", "DCBA")
    stands = _swap(over[0]) if over and swapped else over[0] if over else 0
    word = stands & ~(mask << first) | raw << first
    return _swap(word) if swapped else word


def _swap(word: int) -> int:
    return word >> 8 | (word & 0xFF) << 8


def _raw(keys: RegisterKeys, value: Value) -> Any:
    """What struct packs for a value."""
    if value is None:
        if keys.missing:
            return next(iter(_missing_codes(keys)))
        if keys.type.startswith("float"):
            return math.nan
        raise ValueError("no code means 'not available'; the point has no missing codes")
    if keys.type == "string":
        return _packed_text(keys, value)
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number that {keys.type} can hold")
    if keys.type.startswith("float"):
        return (value - keys.offset) / keys.scale
    raw = round((Decimal(str(+value)) - Decimal(str(keys.offset))) / Decimal(str(keys.scale)))
    if keys.type not in _DIGITS:
        return raw
    if not 0 <= raw < 10 ** _DIGITS[keys.type]:
        raise ValueError(f"{value!r} does not fit {keys.type}; {_range(keys)}")
    return int(str(raw), 16)


def _packed_text(keys: RegisterKeys, value: Value) -> bytes:
    data = str(value).encode()
    if len(data) > 2 * keys.width:
        raise ValueError(f"{value!r} does not fit {keys.width} registers; write at most {2 * keys.width} bytes")
    return data


def _range(keys: RegisterKeys) -> str:
    """Which values a point of these keys can take."""
    if keys.type in _DIGITS:
        low, high = 0, 10 ** _DIGITS[keys.type] - 1
    elif keys.bits is not None:
        low, high = 0, (2 << keys.bits[1] - keys.bits[0]) - 1
    else:
        size = 16 * keys.width
        low, high = (-(1 << size - 1), (1 << size - 1) - 1) if keys.type.startswith("int") else (0, (1 << size) - 1)
    first, last = sorted((low * keys.scale + keys.offset, high * keys.scale + keys.offset))
    return f"write {first:.10g} to {last:.10g}"
