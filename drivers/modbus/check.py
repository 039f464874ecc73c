"""Mistakes of a Modbus profile that no single row shows: points that overlap, or that can never be as they say.

What comes in: a profile's `limits` and its points, each row already sound by itself. What goes out: each mistake
with its place. Two points may share a register in two cases only: as different bits of it, and as a status word
beside its bits. A status word is an unsigned integer without unit, scale, offset and missing codes that is no
counter, or a `bool` that is true where any bit is. Everything else that overlaps is a row typed wrongly. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drivers.document import Where
from drivers.modbus.keys import Limits, RegisterKeys
from drivers.profile import PointSpec

_UNSIGNED = ("uint16", "uint32", "uint64")
_DIGITS = {"bcd16": 4, "bcd32": 8}


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One point of the profile."""

    index: int
    """Its place in the file."""
    name: str
    spec: PointSpec
    keys: RegisterKeys

    @property
    def end(self) -> int:
        """The address after its last."""
        return self.keys.address + self.keys.width

    @property
    def bits(self) -> frozenset[int] | None:
        """The bits as they lie on the wire; None where the point takes its registers whole."""
        keys = self.keys
        if keys.part is None:
            return None
        swapped = 0 if keys.order in ("ABCD", "CDAB") else 8
        return frozenset(bit ^ swapped for bit in range(keys.part[0], keys.part[1] + 1))

    @property
    def shown(self) -> str:
        """Where it lies, in words."""
        keys, last = self.keys, self.end - 1
        if keys.bits is not None:
            return f"bits {keys.bits[0]} to {keys.bits[1]} of {keys.register} {keys.address}"
        if keys.bit is not None:
            return f"bit {keys.bit} of {keys.register} {keys.address}"
        return f"{keys.register} {keys.address}" + (f" to {last}" if last > keys.address else "")

    @property
    def status_word(self) -> bool:
        """Whether bits of it may be points of their own."""
        keys, spec = self.keys, self.spec
        if keys.type == "bool":
            return keys.bit is None
        plain = keys.scale == 1 and keys.offset == 0 and not keys.missing and keys.bits is None
        return keys.type in _UNSIGNED and plain and not spec.unit and not spec.counter


@dataclass(frozen=True, slots=True)
class _Reach:
    """The values from `low` to `high`."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        slack = 1e-9 * max(abs(self.low), abs(self.high))  # 65535 * 0.1 is not quite 6553.5
        return self.low - slack <= value <= self.high + slack

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def check(limits: Limits, points: Mapping[str, tuple[Any, Any]]) -> Iterator[tuple[Where, str]]:
    """Each mistake with its place in the profile."""
    rows = [_Row(index, name, spec, keys) for index, (name, (spec, keys)) in enumerate(points.items())]
    for row in rows:
        where: Where = ("points", row.name)
        for key, message in (*_against_limits(row, limits), *_impossible(row)):
            yield (*where, key), message
    for table in ("coil", "discrete", "holding", "input"):
        yield from _overlaps([row for row in rows if row.keys.register == table])


def _against_limits(row: _Row, limits: Limits) -> Iterator[tuple[str, str]]:
    """What the device's own limits rule out."""
    keys = row.keys
    if keys.register in ("holding", "input") and keys.width > limits.max_registers:
        key = "length" if keys.type == "string" else "type"
        most = limits.max_registers
        yield (
            key,
            f"{keys.type} takes {keys.width} registers, but limits.max_registers is {most}; correct one of them",
        )
    for first, last in limits.forbidden:
        if keys.address <= last and row.end > first:
            yield (
                "address",
                f"{row.shown} lies in the forbidden range [{first}, {last}] of limits; correct one of them",
            )


def _impossible(row: _Row) -> Iterator[tuple[str, str]]:
    """What the value can never be, or the register never do."""
    spec, keys = row.spec, row.keys
    if spec.writable and keys.register in ("discrete", "input"):
        yield "writable", f"{keys.register} can only be read; remove writable, or correct register"
    if spec.labels and spec.kind in ("float", "text"):
        yield "labels", f"labels name whole values, but kind is {spec.kind}; write kind: int, or remove labels"
    for key in ("low", "high"):
        bound = getattr(spec, key)
        if bound is not None and spec.kind in ("bool", "text"):
            yield key, f"a {spec.kind} has no {key}; remove it"
        elif bound is not None and (reach := _reach(keys)) is not None and bound not in reach:
            yield (
                key,
                f"is {bound:g}, but {_coded(keys)} can only be {reach}; correct one of them",
            )
    if spec.labels and spec.kind in ("int", "bool") and (reach := _reach(keys)) is not None:
        for code in spec.labels:
            if code not in reach:
                yield (
                    "labels",
                    f"names {code}, but {_coded(keys)} can only be {reach}; correct one",
                )


def _reach(keys: RegisterKeys) -> _Reach | None:
    """The least and the greatest value that the registers can mean; None for floats and texts."""
    if keys.type == "string" or keys.type.startswith("float"):
        return None
    if keys.type == "bool":
        return _Reach(0, 1)
    size = 16 * keys.width
    low, high = (-(1 << size - 1), (1 << size - 1) - 1) if keys.type.startswith("int") else (0, (1 << size) - 1)
    if keys.bits is not None:
        high = (2 << keys.bits[1] - keys.bits[0]) - 1
    if keys.type in _DIGITS:
        high = 10 ** _DIGITS[keys.type] - 1
    return _Reach(*sorted((low * keys.scale + keys.offset, high * keys.scale + keys.offset)))


def _coded(keys: RegisterKeys) -> str:
    text = str(keys.type)
    if keys.bits is not None:
        text = f"bits {keys.bits[0]} to {keys.bits[1]} of a {text}"
    text += f" with scale {keys.scale:g}" if keys.scale != 1 else ""
    return text + (f" and offset {keys.offset:g}" if keys.offset else "")


def _overlaps(rows: list[_Row]) -> Iterator[tuple[Where, str]]:
    """Pairs of one table that lie on the same bits and may not, told at the one that stands later in the file."""
    rows = sorted(rows, key=lambda row: (row.keys.address, row.end))
    for at, one in enumerate(rows):
        for other in rows[at + 1 :]:
            if other.keys.address >= one.end:
                break
            first, later = sorted((one, other), key=lambda row: row.index)
            if reason := _clash(first, later):
                yield ("points", later.name), f"{later.shown} {reason}"


def _clash(first: _Row, later: _Row) -> str | None:
    """Why two points that meet in a register may not; None where they may."""
    if first.bits is not None and later.bits is not None:
        return _same_bits(first, later)
    if first.spec.writable and later.spec.writable:
        return f"would be written over by {first.name} ({first.shown}), writable too; let one of them be writable"
    if _word_and_bits(first, later):
        return None
    if first.bits is not None or later.bits is not None:
        return (
            f"meets {first.name} ({first.shown}), but only a status word (an unsigned integer without unit, scale and"
            " missing codes, no counter) has bits that are points of their own; correct an address"
        )
    return _both_whole(first, later)


def _same_bits(first: _Row, later: _Row) -> str | None:
    if not (first.bits or frozenset()) & (later.bits or frozenset()):
        return None
    if first.keys.bits is None and later.keys.bits is None:
        return f"is the point {first.name} already; keep one, or correct bit"
    return f"meets {first.name} ({first.shown}); correct bit or bits"


def _both_whole(first: _Row, later: _Row) -> str:
    if (first.keys.address, first.end) != (later.keys.address, later.end):
        return f"overlaps {first.name} ({first.shown}, {first.keys.type}) in part; correct an address or a type"
    if first.keys.type != later.keys.type:
        return f"is {later.keys.type} here and {first.keys.type} in {first.name}; keep the one of the maker's sheet"
    return f"is the point {first.name} already; keep one, or correct an address"


def _word_and_bits(one: _Row, other: _Row) -> bool:
    """Whether one is a status word and the other bits of it: one of its bits, or all of them as one `bool`."""
    if one.bits is not None or other.bits is not None:
        return (one if one.bits is None else other).status_word
    same_place = (one.keys.address, one.end) == (other.keys.address, other.end)
    types = {one.keys.type, other.keys.type}
    return same_place and "bool" in types and len(types) > 1 and one.status_word and other.status_word
