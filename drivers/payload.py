"""Messages of devices that speak by themselves, as bytes: JSON, plain text, and binary payloads inside JSON.

What comes in: the body of one message, and the rows of the profile that say where each point lies in it: a JSON
path, a channel and type in a sequence of channel-type-data (as Milesight's LoRaWAN sensors send), or a fixed
offset. What goes out: values in the point's unit with their quality, the message's own time and id. The same
rows turned round build messages for simulators. Pure: no I/O, and nothing in a body raises but `BadPayload`.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from drivers.payload_keys import MessageKeys, PayloadPoint
from drivers.point import Point, Quality, Value

Kind = Literal["bool", "int", "float", "text"]
MAX_BODY = 1 << 20
"""A longer message is no report of a sensor; bytes."""
MAX_TEXT = 1000
"""A longer text is cut; characters."""
_MISSING: Any = object()


class BadPayload(ValueError):
    """The message cannot be used. The text says what was found."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One point of a message: its place among the device's points, and its keys."""

    position: int
    name: str
    kind: Kind
    keys: PayloadPoint


@dataclass(slots=True)
class Decoded:
    """What a message says."""

    readings: list[tuple[int, Value, Quality]] = field(default_factory=list)
    """Position, value and quality of the points that the message carries. `uncertain/stale`: it carries the point,
    but not as a value that the profile knows; the last value stands."""
    time_ns: int | None = None
    id: str | None = None
    problems: list[str] = field(default_factory=list)


def slots_of(name: str, points: Sequence[Point]) -> list[Slot]:
    """The points that messages of this name carry."""
    found = []
    for position, point in enumerate(points):
        keys = point.address
        if isinstance(keys, PayloadPoint) and keys.message in (None, name):
            found.append(Slot(position, point.name, point.kind, keys))
    return found


class Decoder:
    """One kind of message of one product. Shared by all its devices."""

    def __init__(self, message: MessageKeys, slots: Sequence[Slot]) -> None:
        self._text = message.format == "text"
        self._payload, self._time, self._id = (steps_of(p) for p in (message.payload, message.time, message.id))
        self._lengths = dict(message.tlv_lengths)
        self._lengths.update({f.keys.tlv: f.keys.size for f in slots if f.keys.tlv})
        self._tlv = [f for f in slots if f.keys.tlv]
        self._fixed = [f for f in slots if f.keys.bytes is not None]
        self._paths = [(f, steps_of(f.keys.path) or ()) for f in slots if not f.keys.tlv and f.keys.bytes is None]
        self.positions = tuple(f.position for f in slots)

    def decode(self, body: bytes) -> Decoded:
        """The readings of one message. Raises `BadPayload`."""
        if len(body) > MAX_BODY:
            raise BadPayload(f"{len(body)} bytes; a message may have {MAX_BODY}")
        document = _text(body) if self._text else _json(body)
        decoded = Decoded(time_ns=parse_time(_at(document, self._time)), id=_identity(_at(document, self._id)))
        for each, steps in self._paths:
            raw = _at(document, steps)
            if raw is not _MISSING:
                _add(decoded, each, raw)
        if self._tlv or self._fixed:
            self._binary(_binary(document, self._payload), decoded)
        return decoded

    def _binary(self, payload: bytes, decoded: Decoded) -> None:
        if self._tlv:
            parts = split_tlv(payload, self._lengths)
            for each in self._tlv:
                data = parts.get(each.keys.tlv or "")
                if data is not None:
                    _add(decoded, each, _number(each.keys, data, 0))
        for each in self._fixed:
            place = each.keys.bytes or 0
            if place + each.keys.size > len(payload):
                raise BadPayload(f"payload has {len(payload)} bytes; {each.name} needs {place + each.keys.size}")
            _add(decoded, each, _number(each.keys, payload, place))


def split_tlv(payload: bytes, lengths: Mapping[str, int]) -> dict[str, bytes]:
    """Data by channel-type; of several the last. Raises `BadPayload` at the first one that is unknown or cut off."""
    parts: dict[str, bytes] = {}
    at = 0
    while at < len(payload):
        code = payload[at : at + 2].hex().upper()
        length = lengths.get(code)
        if length is None:
            raise BadPayload(f"unknown channel-type {code!r} at byte {at} of {payload.hex().upper()}")
        data = payload[at + 2 : at + 2 + length]
        if len(data) < length:
            raise BadPayload(f"payload {payload.hex().upper()} ends within {code}, which has {length} bytes")
        parts[code] = data
        at += 2 + length
    return parts


def steps_of(path: str | None) -> tuple[str, ...] | None:
    """A JSON path as its steps."""
    return tuple(path.split(".")) if path else None


def _at(document: Any, steps: tuple[str, ...] | None) -> Any:
    if steps is None:
        return _MISSING
    node = document
    for step in steps:
        if isinstance(node, dict):
            node = node.get(step, _MISSING)
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return _MISSING
    return node


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadPayload(f"is not JSON: {error} in {body[:60]!r}") from None


def _text(body: bytes) -> str:
    try:
        return body.decode().strip()
    except UnicodeDecodeError:
        raise BadPayload(f"is not UTF-8 text: {body[:60]!r}") from None


def _binary(document: Any, steps: tuple[str, ...] | None) -> bytes:
    encoded = _at(document, steps)
    if not isinstance(encoded, str):
        raise BadPayload(f"has no base64 text at {'.'.join(steps or ())}")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPayload(f"{'.'.join(steps or ())} is not base64 ({error}): {encoded[:60]!r}") from None


def _identity(raw: Any) -> str | None:
    return str(raw)[:MAX_TEXT] if isinstance(raw, str | int) and raw != "" else None


def _number(keys: PayloadPoint, data: bytes, place: int) -> bool | int | float:
    number: bool | int | float = struct.unpack_from(keys.layout, data, place)[0]
    return number


def _add(decoded: Decoded, each: Slot, raw: Any) -> None:
    try:
        value = value_of(each.keys, each.kind, raw)
    except ValueError as error:
        decoded.problems.append(f"{each.name}: {error}")
        decoded.readings.append((each.position, None, Quality.UNCERTAIN_STALE))
        return
    decoded.readings.append((each.position, value, Quality.BAD_SENSOR if value is None else Quality.GOOD))


def value_of(keys: PayloadPoint, kind: Kind, raw: Any) -> Value:
    """A raw value as the point's, None where the device does not know. Raises ValueError where it is neither."""
    if raw is None or any(_same(raw, code) for code in keys.missing):
        return None
    if keys.map is not None:
        word = _word(raw)
        if word not in keys.map:
            raise ValueError(f"is {word[:40]!r}, none of {', '.join(keys.map)}")
        return conform(keys.map[word], kind)
    if keys.scale == 1 and keys.offset == 0 and not keys.clamp:
        return conform(raw, kind)
    number = conform(raw, "float")
    if not isinstance(number, float):
        return None
    number = float(f"{number * keys.scale + keys.offset:.12g}")  # 25.7, not 25.700000000000003
    if keys.clamp:
        number = min(max(number, keys.clamp[0]), keys.clamp[1])
    return conform(round(number) if kind == "int" else number, kind)


def conform(value: Any, kind: Kind) -> Value:
    """A value as of the point's kind; None for NaN and infinity. Raises ValueError where it is something else."""
    if kind == "text":
        if not isinstance(value, str | int | float):
            raise ValueError(f"is {str(value)[:40]}, no text")
        return value[:MAX_TEXT] if isinstance(value, str) else _word(value)
    if isinstance(value, bool):
        if kind == "bool":
            return value
        raise ValueError(f"is {_word(value)}, no number")
    number = _plain_number(value)
    if not math.isfinite(number):
        return None
    if kind == "float":
        return float(number)
    whole = int(number)
    if whole != number or (kind == "bool" and whole not in (0, 1)) or not -(1 << 63) <= whole < 1 << 64:
        raise ValueError(f"is {value}, {'no true or false' if kind == 'bool' else 'no whole number'}")
    return bool(whole) if kind == "bool" else whole


def _plain_number(value: Any) -> int | float:
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 64):
        return value
    if isinstance(value, str) and len(value) < 40:
        try:
            return float(value)
        except ValueError:
            pass  # said below, as for every other thing that is no number
    raise ValueError(f"is {str(value)[:40]!r}, no number")


def _same(raw: Any, code: Any) -> bool:
    return isinstance(raw, bool) == isinstance(code, bool) and bool(raw == code)


def _word(raw: Any) -> str:
    """A JSON scalar as the text that a profile's `map` has for it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw)


def parse_time(raw: Any) -> int | None:
    """Unix time in ns, from RFC 3339 with a zone or Unix time in s, ms, µs or ns; None where it is neither."""
    if isinstance(raw, str):
        return _unix_ns(int(raw)) if raw.isascii() and raw.isdecimal() and len(raw) < 20 else _rfc3339_ns(raw)
    return _unix_ns(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else None


def _rfc3339_ns(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:  # local time of nobody knows where
            return None
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def _unix_ns(number: int | float) -> int | None:
    """Seconds until the year 5138 are below 1e11, milliseconds since 1973 above it, and so on."""
    for above, unit in ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000), (0, 1_000_000_000)):
        if above <= number < 1e20:
            return int(number) * unit if isinstance(number, int) else round(number * unit)
    return None


# --- the same rows turned round, for simulators and for commands ---


def raw_of(keys: PayloadPoint, value: Value) -> Any:
    """The raw value by which the device would say `value`. Raises ValueError where it has no way to say it."""
    if value is None:
        return keys.missing[0] if keys.missing else None
    if keys.map is not None:
        for word, meaning in keys.map.items():
            if _same(value, meaning):
                return word
        raise ValueError(f"{value!r} is none of {', '.join(map(str, keys.map.values()))}")
    if keys.scale == 1 and keys.offset == 0:
        return value
    if isinstance(value, bool | str):
        raise ValueError(f"{value!r} is no number")
    return float(f"{(value - keys.offset) / keys.scale:.12g}")


def _pack(keys: PayloadPoint, value: Value) -> bytes:
    raw = raw_of(keys, value)
    if isinstance(raw, str):
        raw = float(raw)
    if raw is None:
        raise ValueError("the profile has no `missing` code for a value that is not known")
    if keys.type not in ("float32", "float64"):
        raw = round(raw)
    try:
        return struct.pack(keys.layout, raw)
    except struct.error as error:
        raise ValueError(f"{value!r} does not fit {keys.type}: {error}") from None


def encode_tlv(values: Iterable[tuple[PayloadPoint, Value]]) -> bytes:
    """A binary payload of channel-type-data in the order given. Raises ValueError where a value does not fit.

    Of several points with one channel-type the first without `clamp` is taken: it loses nothing.
    """
    chosen: dict[str, tuple[PayloadPoint, Value]] = {}
    for keys, value in values:
        if keys.tlv and (keys.tlv not in chosen or (chosen[keys.tlv][0].clamp and not keys.clamp)):
            chosen[keys.tlv] = (keys, value)
    return b"".join(bytes.fromhex(code) + _pack(keys, value) for code, (keys, value) in chosen.items())


def encode_fixed(values: Iterable[tuple[PayloadPoint, Value]]) -> bytes:
    """A binary payload of values at fixed places, zero between them. Raises ValueError where a value does not fit."""
    payload = bytearray()
    for keys, value in values:
        if keys.bytes is not None:
            data = _pack(keys, value)
            payload.extend(bytes(max(0, keys.bytes + len(data) - len(payload))))
            payload[keys.bytes : keys.bytes + len(data)] = data
    return bytes(payload)


def encode_message(
    message: MessageKeys,
    values: Sequence[tuple[PayloadPoint, Value]],
    *,
    time: str | int | float | None = None,
    message_id: str | None = None,
) -> bytes:
    """The body of a message with these values, as `Decoder` reads it. Raises ValueError where one does not fit."""
    if message.format == "text":
        return _word(raw_of(*values[0])).encode()
    document: dict[str, Any] = {}
    if message.payload:
        payload = encode_tlv(values) or encode_fixed(values)
        set_at(document, message.payload, base64.b64encode(payload).decode())
    for path, value in ((message.time, time), (message.id, message_id)):
        if path and value is not None:
            set_at(document, path, value)
    for keys, value in values:
        if keys.path:
            set_at(document, keys.path, raw_of(keys, value))
    return orjson.dumps(document)


def set_at(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a JSON path, making what is missing on the way; a number as step makes a list."""
    steps = path.split(".")
    node: Any = document
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        fresh: Any = value if after is None else ([] if after.isdecimal() else {})
        if isinstance(node, list):
            while len(node) <= int(step):
                node.append(None)
            if after is None or node[int(step)] is None:
                node[int(step)] = fresh
            node = node[int(step)]
        else:
            node[step] = fresh if after is None else node.get(step, fresh)
            node = node[step]


def written(keys: PayloadPoint, value: Value) -> str:
    """The body that commands `value`. Raises ValueError where the profile has no way to say it."""
    if keys.write is None:
        raise ValueError("its profile has no `write`")
    word = _word(raw_of(keys, value))
    if keys.write.body.lstrip()[:1] in ("{", "["):  # a quote in the value must not end the JSON text around it
        word = orjson.dumps(word).decode()[1:-1]
    return keys.write.body.replace("{value}", word)
