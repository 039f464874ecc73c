"""What would bring a connection that is too full down to a good load, in words with numbers.

What comes in: a connection with its planned requests. What goes out: each way that would do: longer periods, a faster
line, more requests out at once, devices moved to another line. Each is true when it is followed (there is a test).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from drivers.driver import Driver, Request, Settings
from drivers.point import Device
from edge.load import per_period, shares, total_of

ROOMY = 0.7
"""A line is not planned fuller than this, so that retries and writes have room (domain practice: 60 to 70 %)."""
_AT_ONCE = (2, 4, 8)
_FASTER = (2400, 4800, 9600, 19200, 38400, 57600, 115200)


@dataclass(frozen=True, slots=True)
class _Full:
    """A connection that is too full."""

    driver: Driver
    settings: Settings
    devices: Sequence[Device]
    requests: Sequence[Request]

    @property
    def at_once(self) -> int:
        return self.settings.at_once

    @property
    def total(self) -> float:
        return total_of(self.requests, self.at_once)


def advice(driver: Driver, settings: Settings, devices: Sequence[Device], requests: Sequence[Request]) -> str:
    """The ways, one after the other."""
    line = _Full(driver, settings, devices, requests)
    ways = [_slower(line), _baudrate(line), _more_at_once(line), _fewer(line)]
    return "; or ".join(way for way in ways if way)


def _slower(line: _Full) -> str:
    """The one period that helps most, or all of them."""
    period_s, cost_s = max(per_period(line.requests).items(), key=lambda item: item[1] / item[0])
    rest = line.total - cost_s / period_s / line.at_once
    if rest < ROOMY * 0.9:
        needed_s = _upwards(cost_s / line.at_once / (ROOMY - rest))
        slower = [replace(each, period_s=needed_s) if each.period_s == period_s else each for each in line.requests]
        if total_of(slower, line.at_once) <= ROOMY + 1e-9:
            return f"read every {needed_s:g} s what is read every {period_s:g} s"
    return f"make all periods {_upwards(line.total / ROOMY):g} times as long"


def _upwards(number: float) -> float:
    """Rounded up to two digits."""
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return round(math.ceil(number / step - 1e-9) * step, 6)


def _baudrate(line: _Full) -> str:
    """The lowest baud rate that would do, where the line has one."""
    now = getattr(line.settings, "baudrate", None)
    if line.driver.plan is None or not isinstance(now, int):
        return ""
    for rate in _FASTER:
        if rate > now:
            faster = line.settings.model_copy(update={"baudrate": rate})
            load = total_of(line.driver.plan(faster, line.devices), line.at_once)
            if load <= ROOMY:
                return f"set the line and its devices to {rate} baud ({load:.0%})"
    return ""


def _more_at_once(line: _Full) -> str:
    """How many requests out at once would do, where the connection may have several and its units are many."""
    settings: Any = line.settings
    if "max_in_flight" not in type(settings).model_fields or settings.pause:
        return ""
    for at_once in _AT_ONCE:
        load = total_of(line.requests, at_once)
        if at_once > line.at_once and load <= ROOMY:
            return f"write max_in_flight: {at_once} if the host takes so many requests at once ({load:.0%})"
    return ""


def _fewer(line: _Full) -> str:
    """Who has to move to another line, the dearest first."""
    moved: list[str] = []
    total, found = line.total, shares(line.requests, line.at_once)
    for name in found:
        if total <= ROOMY:
            break
        moved.append(name)
        total = total_of([each for each in line.requests if each.device.id not in moved], line.at_once)
    if not moved or len(moved) == len(found):
        return ""
    names = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
    return f"move {names} to another connection ({len(moved)} of {len(found)} devices, leaving {total:.0%})"
