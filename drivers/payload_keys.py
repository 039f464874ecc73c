"""What a profile says about messages of devices that speak by themselves: the models, and their mistakes.

What comes in: the section `messages` and the rows of `points`. What goes out: models for payload.py and mqtt.py.
A point lies in a message by a JSON path, by a channel and type in a binary sequence of channel-type-data (as
Milesight's LoRaWAN sensors send), or at a fixed place of a binary payload; a text message is one value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from drivers.document import Where, nearest
from drivers.driver import Keys

NumberType = Literal[
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"
]
_CODES: dict[str, str] = {
    "bool": "?", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i",
    "uint64": "Q", "int64": "q", "float32": "f", "float64": "d",
}  # fmt: skip


def _quoted(value: Any) -> Any:
    """YAML reads `0367` and `24e1` as numbers, and the digits are gone."""
    if isinstance(value, int | float):
        raise ValueError(f"is the number {value!r}; write it in quotes")  # pydantic collects ValueError
    return value.upper() if isinstance(value, str) else value


TlvCode = Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^[0-9A-F]{4}$")]
"""Channel and type, two bytes in hex, like `"0367"`."""


class MessageKeys(Keys):
    """One kind of message in a profile's `messages`."""

    topic: str = Field(min_length=1)
    """With `{device}` where the device's name stands; `+` and `#` as in MQTT."""
    format: Literal["json", "text"] = "json"
    payload: str | None = None
    """JSON path of a binary payload in base64."""
    time: str | None = None
    """JSON path of the device's own time: RFC 3339 with a zone, or Unix time in s, ms, µs or ns."""
    id: str | None = None
    """JSON path of the message's id; a second message with the same id is dropped."""
    tlv_lengths: dict[TlvCode, Annotated[int, Field(ge=0, le=255)]] = {}
    """Data bytes of the channel-types that no point of the profile names."""

    @model_validator(mode="after")
    def _consistent(self) -> MessageKeys:
        if "{device}" not in self.topic:
            raise ValueError(f"topic {self.topic!r} lacks {{device}}; all devices would be the same one")
        if self.format == "text" and (self.payload or self.time or self.id):
            raise ValueError("a text message has no JSON paths; remove payload, time and id, or write format: json")
        return self


class Messages(Keys):
    """The section `messages`: a name for each kind of message."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, MessageKeys]

    @property
    def by_name(self) -> Mapping[str, MessageKeys]:
        """Kinds of message by their name."""
        return self.__pydantic_extra__


class WriteKeys(Keys):
    """How a value is sent to a device."""

    topic: str = Field(pattern=r"^[^+#]+$")
    """With `{device}`."""
    body: str = "{value}"
    """With `{value}`."""


class PayloadPoint(Keys):
    """Where one point lies in a message, and how its raw value becomes the point's."""

    message: str | None = None
    """The kind of message; needed where the profile has several."""
    path: str | None = None
    """JSON path like `a.b.0.c`; numbers are places in a list, from 0."""
    tlv: TlvCode | None = None
    bytes: int | None = Field(default=None, ge=0, le=4096)
    """Fixed place in the binary payload, from 0."""
    type: NumberType | None = None
    endian: Literal["little", "big"] = "little"
    scale: float = 1
    offset: float = 0
    """value = raw * scale + offset"""
    clamp: tuple[float, float] | None = None
    """Values are held within lo..hi, in the point's unit."""
    map: dict[str, bool | int | float | str] | None = None
    """The device's words and what they mean."""
    missing: list[bool | int | float | str] = []
    """Raw values by which the device says that it does not know."""
    write: WriteKeys | None = None

    @model_validator(mode="after")
    def _consistent(self) -> PayloadPoint:
        ways = [name for name in ("path", "tlv", "bytes") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(f"has {' and '.join(ways)}; keep one")
        if ways in (["tlv"], ["bytes"]) and self.type is None:
            raise ValueError(f"has {ways[0]} but no type; write one of {', '.join(_CODES)}")
        if not self.scale:
            raise ValueError("scale is 0; a point that never changes is none")
        if self.clamp and self.clamp[0] >= self.clamp[1]:
            raise ValueError(f"clamp {list(self.clamp)} is not [low, high]; swap them")
        return self

    @property
    def layout(self) -> str:
        """The binary value as the `struct` module writes it."""
        return ("<" if self.endian == "little" else ">") + _CODES[self.type or "uint8"]

    @property
    def size(self) -> int:
        """Data bytes of a binary point."""
        return struct.calcsize(self.layout)


# --- mistakes of a profile that no single row shows ---


def check(messages: Messages, points: Mapping[str, tuple[Any, Keys]]) -> Iterator[tuple[Where, str]]:
    """Each mistake with its place in the profile."""
    kinds = messages.by_name
    if not kinds:
        yield ("messages",), "names no message; add one with its topic"
        return
    lengths: dict[tuple[str, str], tuple[str, int]] = {}
    for name, (spec, keys) in points.items():
        if not isinstance(keys, PayloadPoint):
            continue
        where: Where = ("points", name)
        if spec.writable != (keys.write is not None):
            yield where, "writable: true and write: {topic, body} go together; add the other or remove it"
        if keys.message is None and len(kinds) > 1:
            yield where, f"lacks message; write one of {', '.join(kinds)}"
            continue
        if keys.message is not None and keys.message not in kinds:
            yield (*where, "message"), f"is no message of this profile{nearest(keys.message, kinds)}"
            continue
        kind = keys.message or next(iter(kinds))
        yield from ((where, fault) for fault in _misfits(kinds[kind], keys))
        if keys.tlv:
            first, length = lengths.setdefault((kind, keys.tlv), (name, keys.size))
            if length != keys.size:
                yield where, f"{keys.tlv} has {keys.size} bytes here and {length} in {first}; make them agree"


def _misfits(message: MessageKeys, keys: PayloadPoint) -> Iterator[str]:
    binary = keys.tlv is not None or keys.bytes is not None
    if message.format == "text" and (binary or keys.path):
        yield "a text message is one value; remove path, tlv and bytes"
    elif message.format == "json" and binary and not message.payload:
        yield "lies in a binary payload, but the message has none; add payload: <JSON path> to it"
    elif message.format == "json" and not binary and not keys.path:
        yield "lies nowhere; add path, tlv or bytes"
