"""Sparkplug B payloads: metrics to protobuf bytes and back. Pure.

The messages are described here by the field numbers of the specification (Eclipse Sparkplug 3.0, chapter 6); of
them only what an edge node sends and is sent: no data sets, templates or files. What comes in from the network is
untrusted: whatever is no payload raises ValueError, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from math import isfinite
from typing import Any

from drivers.point import Value

MOST_BYTES = 64 * 1024
"""A command is not longer than this."""
GOOD, STALE, BAD = 192, 500, 0
"""Quality codes of the specification (tck-id-payloads-propertyset-quality-value-value)."""
QUALITY = "Quality"
_MASK64 = (1 << 64) - 1


class DataType(IntEnum):
    """Types of metrics and properties, as far as a single value has one."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14


_SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_FIELD = {
    DataType.INT64: "long_value",
    DataType.UINT64: "long_value",
    DataType.DATETIME: "long_value",
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
    DataType.TEXT: "string_value",
}  # all others: int_value

Property = tuple[DataType, bool | int | float | str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of one metric."""

    value: Value
    time_ms: int | None
    name: str | None = None
    alias: int | None = None
    datatype: DataType | None = None
    """Said in births, left out in data."""
    historical: bool = False
    properties: Mapping[str, Property] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payload:
    """One message as it was found."""

    time_ms: int | None
    seq: int | None
    metrics: Sequence[Metric]


def encode(metrics: Iterable[tuple[Metric, DataType]], time_ms: int, seq: int | None) -> bytes:
    """A payload; the type given with each metric says how its value is written, be it told or not."""
    payload = _classes()["Payload"]()
    payload.timestamp = time_ms
    if seq is not None:
        payload.seq = seq
    for metric, datatype in metrics:
        _write(payload.metrics.add(), metric, datatype)
    return bytes(payload.SerializeToString(deterministic=True))


def _write(into: Any, metric: Metric, datatype: DataType) -> None:
    if metric.name is not None:
        into.name = metric.name
    if metric.alias is not None:
        into.alias = metric.alias
    if metric.time_ms is not None:
        into.timestamp = metric.time_ms
    if metric.datatype is not None:
        into.datatype = metric.datatype
    if metric.historical:
        into.is_historical = True
    if metric.value is None:
        into.is_null = True
    else:
        setattr(into, _FIELD.get(datatype, "int_value"), _raw(metric.value, datatype))
    if metric.properties:  # an empty set would be a field of its own
        for key, (kind, value) in metric.properties.items():
            into.properties.keys.append(key)
            found = into.properties.values.add()
            found.type = kind
            setattr(found, _FIELD.get(kind, "int_value"), _raw(value, kind))


def _raw(value: Any, datatype: DataType) -> Any:
    """A value as its field holds it: negative whole numbers as two's complement."""
    bits = _SIGNED.get(datatype)
    if bits is None:
        return value
    return int(value) & (_MASK64 if bits == 64 else 0xFFFF_FFFF)


def fits(value: Value, datatype: DataType) -> bool:
    """Whether a value can be told in this type without being changed."""
    if datatype is DataType.BOOLEAN:
        return isinstance(value, bool)
    if datatype is DataType.STRING:
        return isinstance(value, str) and _utf8(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if datatype is DataType.DOUBLE:
        return isfinite(value) if isinstance(value, float) else abs(value) < 1 << 1023
    return float(value).is_integer() and -(1 << 63) <= int(value) < 1 << 63 if _finite(value) else False


def _finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(data: bytes, known: Mapping[str | int, DataType] | None = None) -> Payload:
    """A payload from the network. `known` gives types by name or alias, since commands leave them out.

    Raises ValueError for what is no payload, or has a value that cannot be of its type.
    """
    from google.protobuf.message import DecodeError

    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data)} bytes; at most {MOST_BYTES} are read")
    try:
        payload = _classes()["Payload"].FromString(data)
    except DecodeError as error:
        raise ValueError(f"is no Sparkplug B payload: {error}") from None
    return Payload(
        payload.timestamp if payload.HasField("timestamp") else None,
        payload.seq if payload.HasField("seq") else None,
        [_read(each, known or {}) for each in payload.metrics],
    )


def _read(found: Any, known: Mapping[str | int, DataType]) -> Metric:
    def given(name: str) -> Any:
        return getattr(found, name) if found.HasField(name) else None

    name, alias, number = given("name"), given("alias"), given("datatype")
    datatype = _datatype(number) if number else known.get(alias) or known.get(name)
    properties = dict(zip(found.properties.keys, map(_property, found.properties.values), strict=False))
    return Metric(
        None if found.is_null else _value(found, datatype),
        given("timestamp"),
        name,
        alias,
        datatype if number else None,
        found.is_historical,
        properties,
    )


def _datatype(number: int) -> DataType:
    try:
        return DataType(number)
    except ValueError:
        raise ValueError(f"data type {number} is none that a point has") from None


def _property(found: Any) -> Property:
    kind = _datatype(found.type)
    return kind, _value(found, kind) if found.WhichOneof("value") else 0  # type: ignore[return-value]  # never null


def _value(found: Any, datatype: DataType | None) -> Value:
    """The value that is set, read by its type; hosts do not agree on the width of the field for whole numbers."""
    which = found.WhichOneof("value")
    if which is None:
        return None
    if which not in ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value"):
        raise ValueError(f"a value by {which} is none that a point has")
    value: bool | int | float | str = getattr(found, which)
    if which in ("int_value", "long_value") and datatype in _SIGNED:
        return _signed(int(value), narrow=which == "int_value" or datatype is not DataType.INT64)
    return value


def _signed(number: int, *, narrow: bool) -> int:
    """Two's complement of 64 or, `narrow`, also of 32 bits."""
    if number >> 63:
        return number - (1 << 64)
    return number - (1 << 32) if narrow and number >> 31 == 1 else number


_TYPES = {"uint32": 13, "uint64": 4, "float": 2, "double": 1, "bool": 8, "string": 9, "bytes": 12}
_ONE_OF = (("int_value", "uint32"), ("long_value", "uint64"), ("float_value", "float"), ("double_value", "double"),
           ("boolean_value", "bool"), ("string_value", "string"))  # fmt: skip
_VALUES = {"PropertyValue": 3, "Metric": 10}
"""The number of the first field of each `value`; the others follow."""
_MESSAGES: Mapping[str, Sequence[tuple[str, int, str]]] = {
    "PropertyValue": (("type", 1, "uint32"), ("is_null", 2, "bool")),
    "PropertySet": (("keys*", 1, "string"), ("values*", 2, "PropertyValue")),
    "Metric": (
        ("name", 1, "string"), ("alias", 2, "uint64"), ("timestamp", 3, "uint64"), ("datatype", 4, "uint32"),
        ("is_historical", 5, "bool"), ("is_transient", 6, "bool"), ("is_null", 7, "bool"),
        ("properties", 9, "PropertySet"),
    ),
    "Payload": (
        ("timestamp", 1, "uint64"), ("metrics*", 2, "Metric"), ("seq", 3, "uint64"), ("uuid", 4, "string"),
        ("body", 5, "bytes"),
    ),
}  # fmt: skip
"""(field, its number, its type); * where there may be many."""


@cache
def _classes() -> Mapping[str, Any]:
    """The message classes. Takes a while on a small box: only who has such an uplink pays it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    package = "courtyard.sparkplug"
    file = descriptor_pb2.FileDescriptorProto(name="courtyard/sparkplug_b.proto", package=package, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for label, number, kind in fields:
            each = message.field.add(name=label.rstrip("*"), number=number, label=3 if label.endswith("*") else 1)
            _typed(each, kind, package)
        if name in _VALUES:
            message.oneof_decl.add(name="value")
            for number, (label, kind) in enumerate(_ONE_OF, _VALUES[name]):
                _typed(message.field.add(name=label, number=number, label=1, oneof_index=0), kind, package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in _MESSAGES
    }


def _typed(found: Any, kind: str, package: str) -> None:
    if kind in _TYPES:
        found.type = _TYPES[kind]
    else:
        found.type, found.type_name = 11, f".{package}.{kind}"
