"""The words that everybody uses: text, point, quality, block, batch.

A *batch* is what moves through the house: the values of one poll or one message, of one
equipment, with one time. The cost of moving it is paid once a message, not once a value.
Nothing here does I/O, and nothing changes after it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel

Value = bool | int | float | str | None
Language = Literal["zh", "en"]
EquipmentClass = Literal["elevator", "pump", "bin", "light", "perimeter", "meter", "environment", "fire", "power"]


@dataclass(frozen=True, slots=True)
class Text:
    """What staff read, in both languages."""

    zh: str
    en: str

    def get(self, language: Language) -> str:
        """The text in one language."""
        return self.zh if language == "zh" else self.en

    def to_body(self) -> dict[str, str]:
        """As plain data for JSON."""
        return {"zh": self.zh, "en": self.en}

    @classmethod
    def from_body(cls, body: Any) -> Text:
        """The text that `to_body` was made of. KeyError or TypeError where the body is none."""
        return cls(str(body["zh"]), str(body["en"]))


class Quality(Enum):
    """How far a value may be trusted, after OPC UA part 8: a level, and the reason where it is not good."""

    GOOD = "good"
    UNCERTAIN_CLOCK = "uncertain/clock"  # taken before the box knew the time
    UNCERTAIN_STALE = "uncertain/stale"  # the last value; the newest answer could not be used
    BAD_COMM = "bad/comm"  # never read, or the device or its connection does not answer
    BAD_RANGE = "bad/range"  # outside what the profile says is possible
    BAD_STALE = "bad/stale"  # a reporting device has missed its reports
    BAD_SENSOR = "bad/sensor"  # the device itself says that it does not know (NaN, 0x7FFF ...)

    @property
    def level(self) -> str:
        """`good`, `uncertain` or `bad`."""
        return self.value.partition("/")[0]

    @property
    def reason(self) -> str | None:
        """`comm`, `range`, `stale`, `sensor`, `clock`; None where the value is good."""
        return self.value.partition("/")[2] or None


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One signal of one equipment. Compared by identity: there is one object for each point of the site."""

    id: str
    """`<equipment>.<name>`"""
    equipment: str
    name: str
    title: Text
    kind: Literal["bool", "int", "float", "text"]
    unit: str
    """Empty where the value has none."""
    period_s: float
    """A polled point is read at least this often. 0 for points of devices that report by themselves."""
    deadband: float
    """A change up to this, in the point's unit, is not recorded. 0: every change is."""
    low: float | None
    high: float | None
    """Values outside low..high are impossible for this signal and marked `bad/range`."""
    counter: bool
    """Only ever counts up; falls back only by reset or roll-over."""
    writable: bool
    labels: dict[int, Text] | None
    """Names of the values of an enumeration."""
    address: BaseModel
    """Where the value lies on the device: the protocol's own model."""


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """One equipment as its driver sees it."""

    id: str
    """The equipment's id."""
    address: BaseModel
    """Where the device is on its connection: the protocol's own model."""
    options: BaseModel
    """What the device allows: the protocol's own model, from the profile's `limits`."""
    points: tuple[Point, ...]
    stale_after_s: float
    """A device that reports by itself is `bad/stale` after this silence. 0: never."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The points that one request or one kind of message carries, in order. One equipment."""

    equipment: str
    points: tuple[Point, ...]


@dataclass(slots=True, eq=False)
class Batch:
    """The readings of one poll or one message. Never changed once it was made: only its making would cost thrice
    as much if that were enforced, and one is made for each answer.

    `values` is the same object as in the block's last batch where nothing changed on the wire:
    whoever keeps the last batch may skip the work.
    """

    block: Block
    values: tuple[Value, ...]
    time_ns: int
    """Our wall clock at receipt, Unix time in ns."""
    mono_s: float
    """Our monotonic clock at receipt."""
    quality: Quality = Quality.GOOD
    """Of every value, unless `qualities` says otherwise value by value."""
    qualities: tuple[Quality, ...] | None = None
    source_time_ns: int | None = None
    """The device's or upstream's own stamp, where it sent one."""

    def readings(self) -> Iterator[tuple[Point, Value, Quality]]:
        """Point, value and quality one by one; for the places where speed does not matter."""
        qualities = self.qualities or (self.quality,) * len(self.values)
        return zip(self.block.points, self.values, qualities, strict=True)


@dataclass(slots=True)
class Tally:
    """What went wrong on a connection, counted. Kept by the driver, read by metrics."""

    bad_frames: int = 0
    """CRC, length or checksum wrong, malformed JSON or payload, a reply that fits no request."""
    exceptions: int = 0
    """The device answered that it will not."""
    timeouts: int = 0
    unknown: int = 0
    """Messages from devices or of kinds that the site file does not name."""
    messages: int = 0
    """Requests answered, or messages taken."""
    detail: dict[str, int] = field(default_factory=dict)
    """Any finer count that the protocol can give, by name."""
