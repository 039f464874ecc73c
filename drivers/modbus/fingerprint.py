"""What a device is recognised by: the rows of a profile's `fingerprint`.

    fingerprint:
      - {register: holding, address: 64514, equals: 112}                        # a code of the maker's
      - {register: input, address: 70, type: float32, between: [45, 65]}        # mains frequency in Hz
      - {register: input, address: 17, absent: true}                            # its map ends before

What comes in: rows, and the registers that they name, or that the device refuses them. What goes out: whether they
are all true. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from drivers.modbus.codec import decode
from drivers.modbus.keys import RegisterKeys
from drivers.point import Value


class FingerprintKeys(RegisterKeys):
    """One value of the device and what it must be: exactly one of `equals`, `in`, `between` and `absent`."""

    equals: bool | int | float | str | None = None
    one_of: tuple[int | float | str, ...] = Field(default=(), alias="in")
    between: tuple[float, float] | None = None
    """Both ends included."""
    absent: bool = False
    """The device answers that it has no such address."""

    @model_validator(mode="after")
    def _one_way(self) -> FingerprintKeys:
        ways = [self.equals is not None, bool(self.one_of), self.between is not None, self.absent]
        if sum(ways) != 1:
            raise ValueError("write one of equals: VALUE, in: [VALUES], between: [LOW, HIGH], absent: true")
        if self.between and self.between[0] > self.between[1]:
            raise ValueError(f"between {list(self.between)} is empty; write the lower end first")
        return self

    def fits(self, raw: Sequence[int] | None) -> bool:
        """Whether registers, or a coil as 0 or 1, are as this row says; None: the device refuses them."""
        if raw is None or self.absent:
            return self.absent and raw is None
        value: Value = decode(self, bool(raw[0]) if self.register in ("coil", "discrete") else raw)
        if value is None:
            return False
        if self.between is not None:
            low, high = self.between
            return not isinstance(value, str) and low <= value <= high
        return value in self.one_of if self.one_of else value == self.equals
