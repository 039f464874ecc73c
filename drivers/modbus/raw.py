"""Reading addresses of which nothing is known: for the tools that look at a line before it has a site file.

What comes in: the settings of a connection, a unit id and an address range. What goes out: the registers or coils
as they stand, or how the device refused. A range is planned and read as any other request is, by a device made for
the purpose; so the tools see the line exactly as the daemon will.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from drivers.driver import BadAnswer, DeviceSilent, PolledLink
from drivers.modbus.keys import Limits, RegisterKeys, Space, UnitKeys
from drivers.modbus.planner import ModbusSettings, ReadRequest, plan
from drivers.point import Device, Point, Text, Value

MOST_REGISTERS, MOST_COILS = 125, 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """How a unit answered."""

    values: tuple[int, ...] | None
    """Registers, or coils as 0 and 1; None where it did not give them."""
    said: str
    """What it answered where it gave none; the reason of silence too."""
    answered: bool
    """Whether it answered at all: an exception is an answer, a broken frame is not."""


def range_request(settings: ModbusSettings, unit: int, table: Space, first: int, count: int) -> ReadRequest:
    """The one request that reads a range. Raises ValueError where there is no such range."""
    most = MOST_COILS if table in ("coil", "discrete") else MOST_REGISTERS
    if not 1 <= count <= most:
        raise ValueError(f"{count} cannot be read at once; a {table} read takes 1 to {most}")
    if first < 0 or first + count > 65536:
        raise ValueError(f"{table} {first} to {first + count - 1}: addresses go from 0 to 65535")
    kind = "bool" if table in ("coil", "discrete") else "uint16"
    points = tuple(_point(unit, table, first + at, kind) for at in range(count))
    device = Device(f"unit {unit}", UnitKeys(unit_id=unit), Limits(max_gap=0), points, 0)
    (request,) = plan(settings, [device])
    return request


def _point(unit: int, table: Space, address: int, kind: str) -> Point:
    keys = RegisterKeys.model_validate({"register": table, "address": address, "type": kind})
    name = f"{table}_{address}"
    return Point(
        id=f"unit {unit} {table} {address}", equipment=f"unit {unit}", name=name, title=Text(name, name),
        kind="int", unit="", period_s=1.0, deadband=0, low=None, high=None, counter=False, writable=False,
        labels=None, address=keys,
    )  # fmt: skip


async def read_range(link: PolledLink, request: ReadRequest, timeout_s: float | None = None) -> Answer:
    """Read it once, within `timeout_s` where that is less than the connection's own time-out.

    Raises `ConnectionDown` only: all else is an answer, or a reason why there is none.
    """
    exceptions = link.tally.exceptions
    try:
        batch = await link.read(request, timeout_s)
    except (BadAnswer, DeviceSilent) as error:
        # A gateway that says that nobody is behind it counts as an exception, but not as the unit's answer.
        refused = link.tally.exceptions > exceptions and isinstance(error, BadAnswer)
        return Answer(None, str(error), refused)
    return Answer(tuple(_whole(value) for value in batch.values), "", True)


def _whole(value: Value) -> int:
    return int(cast(int, value))
