"""The keys of Modbus in profiles and site files: connections, units, points, and what a device allows.

What comes in: mappings of a site file (`connections:`, the unit of an equipment) and of a profile (a point's
row, `limits:`). What goes out: checked models. Addresses are wire addresses, from 0, as in the Modbus
Application Protocol V1.1b3; "40001" of a maker's sheet is `register: holding, address: 0`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from drivers.driver import Keys, PolledSettings
from drivers.units import Seconds

Space = Literal["coil", "discrete", "holding", "input"]
"""The four tables of a Modbus device, read by functions 1, 2, 3 and 4."""
Type = Literal[
    "bool", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bcd16", "bcd32", "string"
]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
"""How a value's bytes (A the most significant) lie on the wire: as they are, words swapped, bytes of each word
swapped, both. The same four rules hold for 64 bits; of 16 bits only the bytes can be swapped."""

REGISTERS = {
    "bool": 1, "uint16": 1, "int16": 1, "bcd16": 1,
    "uint32": 2, "int32": 2, "float32": 2, "bcd32": 2,
    "uint64": 4, "int64": 4, "float64": 4,
}  # fmt: skip
"""Registers that a value of a type takes; a string says its own `length`."""
Timeout = Annotated[Seconds, Field(gt=0, le=60)]
"""A device that was never heard is waited for so long once, and its neighbours with it: never for minutes, as where
milliseconds were meant."""
_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
_LOWEST = {"int16": -(1 << 15), "int32": -(1 << 31), "int64": -(1 << 63)}


def _host(host: str) -> str:
    if "/" in host or host.count(":") == 1:
        raise ValueError("write the name or address alone, e.g. 10.0.0.5; the port stands under port")
    return host


Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]


class TcpSettings(PolledSettings):
    """A device or gateway that speaks Modbus TCP."""

    type: Literal["modbus-tcp"]
    host: Host
    port: int = Field(default=502, ge=1, le=65535)
    timeout: Timeout = 1.0
    """How long a device may take to answer, and the host to accept the connection."""
    pause: Seconds = 0.0
    """Left free between an answer and the next request."""
    pause_after_connect: Seconds = 0.0
    """Left free between connecting and the first request, for gateways that are not ready at once."""
    max_in_flight: int = Field(default=1, ge=1, le=32)
    """Requests that the host takes before it has answered the first; to one unit never more than the profile's
    `limits` allow. Answers may come in any order."""

    @property
    def at_once(self) -> int:
        """How many requests may be out on the connection."""
        return self.max_in_flight

    @model_validator(mode="after")
    def _no_pause_between(self) -> TcpSettings:
        if self.max_in_flight > 1 and self.pause:
            raise ValueError(
                "pause is left free between an answer and the next request, of which max_in_flight allows several; "
                "remove one of them, or write the pause into the `limits` of the profile that needs it"
            )
        return self


class RtuSettings(PolledSettings):
    """An RS-485 or RS-232 line on a serial port of this box."""

    type: Literal["modbus-rtu"]
    port: str = Field(min_length=1)
    """Device path; one of /dev/serial/by-id stays the same when adapters are plugged elsewhere."""
    baudrate: int = Field(default=9600, ge=50)
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    timeout: Timeout = 1.0
    """How long a device may take to answer; the time of the characters on the line comes on top."""
    pause: Seconds = 0.0
    pause_after_connect: Seconds = 0.0
    """Left free after opening the port: some adapters start anew when it is opened."""

    @property
    def owned(self) -> str:
        """The port."""
        return self.port


class RtuTcpSettings(PolledSettings):
    """A transparent serial server: RTU frames, CRC included, on a TCP connection."""

    type: Literal["modbus-rtu-tcp"]
    host: Host
    port: int = Field(ge=1, le=65535)
    baudrate: int = Field(default=9600, ge=50)
    """Of the line behind the server; for the prediction of its load only."""
    timeout: Timeout = 1.0
    pause: Seconds = 0.0
    pause_after_connect: Seconds = 0.0


class UnitKeys(Keys):
    """Where an equipment is on its connection."""

    unit_id: int = Field(ge=0, le=255)
    base: int = Field(default=0, ge=0, le=65535)
    """Added to every address of the profile: the channel of a module that serves several equipment."""


class LineUnitKeys(UnitKeys):
    """The same on a serial line, where unit id 0 is everybody."""

    @field_validator("unit_id")
    @classmethod
    def _one(cls, unit_id: int) -> int:
        if not unit_id:
            raise ValueError(
                "0 speaks to all devices of a serial line at once: none answers, and a command would go to each of "
                "them; write the device's own, 1 to 247"
            )
        return unit_id


class Limits(Keys):
    """What a device allows in one request, from its protocol sheet."""

    max_registers: int = Field(default=125, ge=1, le=125)
    max_coils: int = Field(default=2000, ge=1, le=2000)
    max_gap: int = Field(default=8, ge=0)
    """Addresses without a point that a request may read across; 0 for devices that refuse or shift such answers."""
    single: bool = False
    """Each request reads one value only: for devices that refuse, or garble, a read of several."""
    forbidden: tuple[tuple[int, int], ...] = ()
    """Address ranges [from, to], both included, that no request may read across."""
    turnaround: Seconds = 0.010
    """The device's own delay before it answers; for the prediction of the load only."""
    pause: Seconds = 0.0
    """Left free before each request to this device, where it needs more than the connection's `pause`."""
    max_in_flight: int = Field(default=1, ge=1, le=32)
    """Requests that the device takes before it has answered the first, where its connection allows several."""

    @model_validator(mode="after")
    def _ranges(self) -> Limits:
        for first, last in self.forbidden:
            if not 0 <= first <= last <= 65535:
                raise ValueError(f"forbidden range [{first}, {last}] is none; write [from, to] within 0..65535")
        return self


class RegisterKeys(Keys):
    """Where a point lies on a device and how its value is coded there."""

    table: Space = Field(alias="register")
    """`register` in the file; a field of that name would hide a method of the model's class."""
    address: int = Field(ge=0, le=65535)
    type: Type = "uint16"
    """`bool` where nothing is said of a coil, a discrete input or a `bit`."""
    order: Order = "ABCD"
    bit: int | None = Field(default=None, ge=0, le=15)
    """The bit of a register that a `bool` is, 0 the least; without it a register that is not 0 is true."""
    bits: tuple[int, int] | None = None
    """The bits [first, last] of a `uint16` register that are a number of their own, 0 the least."""
    length: int | None = Field(default=None, ge=1, le=125)
    """Registers of a string, two characters each."""
    scale: float = 1
    offset: float = 0
    """value = raw * scale + offset, in the point's unit."""
    missing: tuple[int | float, ...] = ()
    """Raw codes that mean "not available", as bits of the register or as the signed number."""

    @model_validator(mode="before")
    @classmethod
    def _default_type(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "type" not in data:
            single = data.get("register") in ("coil", "discrete") or data.get("bit") is not None
            return {**data, "type": "bool" if single else "uint16"}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> RegisterKeys:
        for found, message in self._mistakes():
            if found:
                raise ValueError(message)
        return self

    def _mistakes(self) -> list[tuple[bool, str]]:
        plain = self.scale == 1 and self.offset == 0
        coil = self.register in ("coil", "discrete")
        words = self.type in ("bool", "string")
        return [
            (coil and self.type != "bool", f"a {self.register} is one bit; its type is bool, not {self.type}"),
            (coil and self.bit is not None, f"a {self.register} is one bit already; remove bit"),
            (coil and bool(self.missing), f"a {self.register} has no code to spare; remove missing"),
            (self.bit is not None and self.type != "bool", f"bit belongs to type bool, not {self.type}"),
            (self.bits is not None and self.type != "uint16", f"bits belongs to type uint16, not {self.type}"),
            (
                self.bits is not None and not 0 <= self.bits[0] < self.bits[1] <= 15,
                f"bits {list(self.bits or ())} are none; write [FIRST, LAST], first below last, within 0..15",
            ),
            (self.bits is not None and bool(self.missing), "bits have no code to spare; remove missing"),
            (self.type == "string" and self.length is None, "a string needs length, its number of registers"),
            (self.type != "string" and self.length is not None, f"length belongs to type string, not {self.type}"),
            (words and not plain, f"a {self.type} has no scale and no offset; remove them"),
            (self.type == "string" and bool(self.missing), "a string has no missing codes; remove missing"),
            (
                self.type == "string" and self.order in ("CDAB", "DCBA"),
                f"order {self.order} is not known for a string; write ABCD, or BADC where each pair is swapped",
            ),
            (
                not 1e-30 < abs(self.scale or 1) < 1e30 or not abs(self.offset) < 1e30,
                "scale and offset are numbers of the maker's sheet; none is that large or small",
            ),
            (self.scale == 0, "scale 0 would make every value the same; write the factor of the maker's sheet"),
            (
                self.address + self.width > 65536,
                f"{self.width} registers from {self.address} end beyond address 65535",
            ),
            *(
                (not self._is_code(code), f"missing code {code} does not fit type {self.type}")
                for code in self.missing
            ),
        ]

    def _is_code(self, code: int | float) -> bool:
        if self.type.startswith("float"):
            return abs(code) <= (_LARGEST_FLOAT32 if self.type == "float32" else sys.float_info.max)
        return code % 1 == 0 and _LOWEST.get(self.type, 0) <= code < 1 << 16 * self.width

    @property
    def register(self) -> Space:
        """The table that the value lies in."""
        return self.table

    @property
    def resolution(self) -> float:
        """What one count of the register is; 0 for floats, which round by themselves."""
        return 0.0 if self.type.startswith("float") or self.type in ("bool", "string") else abs(self.scale)

    @property
    def part(self) -> tuple[int, int] | None:
        """The first and last bit that the point is; None where it takes its registers whole."""
        return self.bits if self.bit is None else (self.bit, self.bit)

    @property
    def width(self) -> int:
        """Addresses that the value takes."""
        return self.length or REGISTERS.get(self.type, 1)
