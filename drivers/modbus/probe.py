"""One register range with every plausible meaning side by side, for whoever holds a badly translated manual.

What comes in: where to read, or registers as they stand. What goes out: one row for each register (as bits, numbers,
BCD, text) and for each two or four neighbours (integers, floats and BCD in the four orders of bytes that devices are
found to use). A value that can hardly be meant so, such as a float of 1e-38, is marked with `?`. Coils are 0 and 1.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from drivers.driver import Clock, DeviceSilent, Refused
from drivers.modbus.codec import decode
from drivers.modbus.keys import Order, RegisterKeys, Space
from drivers.modbus.planner import ModbusSettings
from drivers.modbus.raw import range_request, read_range

DOUBTFUL = "?"
"""Behind a value that can hardly be meant."""
ORDERS: tuple[Order, ...] = get_args(Order)
_SMALLEST, _LARGEST = 1e-4, 1e8
"""Measured values lie between these, or are 0."""
_LONGEST_COUNT = 10**15
"""No counter of 64 bits has come so far."""


async def probe(settings: ModbusSettings, wanted: Mapping[str, Any], clock: Clock) -> list[dict[str, str]]:
    """Read `unit`, `register`, `first`, `count` once; rows as `meanings` makes them.

    Raises the errors of a connection, `Refused` with the device's exception, and ValueError where there is no such
    range.
    """
    from drivers.modbus.connection import open_connection  # its driver names this module

    table = wanted["register"]
    if table not in get_args(Space):
        raise ValueError(f"register {table!r} is none of {', '.join(get_args(Space))}")
    if not 0 <= wanted["unit"] <= 255:
        raise ValueError(f"there is no unit id {wanted['unit']}; they go from 1 to 247")
    request = range_request(settings, wanted["unit"], table, wanted["first"], wanted["count"])
    async with open_connection("probe", settings, (), clock) as link:
        answer = await read_range(link, request)
    if answer.values is None:
        raise (Refused if answer.answered else DeviceSilent)(answer.said)
    if table in ("coil", "discrete"):
        return [{"address": str(wanted["first"] + at), "bit": str(bit)} for at, bit in enumerate(answer.values)]
    return meanings(wanted["first"], answer.values)


def meanings(first: int, words: Sequence[int]) -> list[dict[str, str]]:
    """A row for each register: itself, and together with the one after it."""
    rows = []
    for at, word in enumerate(words):
        row = _single(first + at, word)
        if at + 1 < len(words):
            row |= _double(words[at : at + 2])
        if at + 3 < len(words):
            row |= _quadruple(words[at : at + 4])
        rows.append(row)
    return rows


def _single(address: int, word: int) -> dict[str, str]:
    signed = _decoded("int16", "ABCD", (word,))
    bcd = _decoded("bcd16", "ABCD", (word,))
    return {
        "address": str(address),
        "hex": f"{word:04X}",
        "bits": f"{word:016b}",
        "uint16": str(word),
        "int16": str(signed),
        "bcd16": "" if bcd is None else str(bcd),
        "text": _text(word),
    }


def _double(words: Sequence[int]) -> dict[str, str]:
    row = {}
    for order in ORDERS:
        row[f"float32 {order}"] = _float(words, order)
    for order in ORDERS:
        row[f"uint32 {order}"] = str(_decoded("uint32", order, words))
    for order in ORDERS:
        row[f"int32 {order}"] = str(_decoded("int32", order, words))
    for order in ORDERS:
        bcd = _decoded("bcd32", order, words)
        row[f"bcd32 {order}"] = "" if bcd is None else str(bcd)
    return row


def _quadruple(words: Sequence[int]) -> dict[str, str]:
    row = {f"float64 {order}": _float(words, order) for order in ORDERS}
    for order in ORDERS:
        number = _decoded("int64", order, words)
        row[f"int64 {order}"] = str(number) if abs(number) < _LONGEST_COUNT else f"{number:.3g} {DOUBTFUL}"
    return row


def _decoded(kind: str, order: Order, words: Sequence[int]) -> Any:
    keys = RegisterKeys.model_validate({"register": "holding", "address": 0, "type": kind, "order": order})
    return decode(keys, words)


def _float(words: Sequence[int], order: Order) -> str:
    """A float as it is shown; NaN and infinity by name, and marked where no device means such a number."""
    swapped = words[::-1] if order in ("CDAB", "DCBA") else words
    end = "<" if order in ("BADC", "DCBA") else ">"
    number = struct.unpack(">f" if len(words) == 2 else ">d", struct.pack(f"{end}{len(words)}H", *swapped))[0]
    plausible = math.isfinite(number) and (number == 0 or _SMALLEST <= abs(number) <= _LARGEST)
    return f"{number:.7g}" if plausible else f"{number:.3g} {DOUBTFUL}"


def _text(word: int) -> str:
    """Two characters where both can be printed."""
    pair = bytes((word >> 8, word & 0xFF))
    return (
        pair.rstrip(b"\0").decode() if pair.rstrip(b"\0") and all(32 <= b < 127 for b in pair.rstrip(b"\0")) else ""
    )
