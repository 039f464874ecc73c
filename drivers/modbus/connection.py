"""Modbus over TCP, over serial lines (RTU), and RTU frames over TCP: the connection types.

A connection is one TCP socket or one serial port; an address is a unit id and a register or coil behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from drivers.driver import Clock, Driver
from drivers.modbus.check import check
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.keys import (
    Limits,
    LineUnitKeys,
    RegisterKeys,
    RtuSettings,
    RtuTcpSettings,
    TcpSettings,
    UnitKeys,
)
from drivers.modbus.line import LineLink
from drivers.modbus.link import ModbusLink
from drivers.modbus.planner import ModbusSettings, plan
from drivers.modbus.probe import probe
from drivers.modbus.scan import describe, scan
from drivers.modbus.several import SeveralLink
from drivers.modbus.tcp import TcpLink
from drivers.point import Device


@asynccontextmanager
async def open_connection(
    name: str, settings: ModbusSettings, devices: Sequence[Device], clock: Clock
) -> AsyncIterator[ModbusLink]:
    """One open connection. Raises `ConnectionDown` with what to do. The devices need no greeting on Modbus."""
    link = _link(name, settings, clock)
    try:
        await link.connect()
        yield link
    finally:
        await link.close()


def _link(name: str, settings: ModbusSettings, clock: Clock) -> ModbusLink:
    if not isinstance(settings, TcpSettings):
        return LineLink(name, settings, clock)
    return SeveralLink(name, settings, clock) if settings.at_once > 1 else TcpLink(name, settings, clock)


def _driver(
    settings: type[TcpSettings] | type[RtuSettings] | type[RtuTcpSettings], unit: type[UnitKeys], scheme: str
) -> Driver:
    return Driver(
        "modbus", settings, unit, RegisterKeys, Limits, open_connection, plan=plan, check=check, scheme=scheme,
        describe=describe, fingerprint=FingerprintKeys, scan=scan, probe=probe,
    )  # fmt: skip


TCP = _driver(TcpSettings, UnitKeys, "modbus-tcp")
RTU = _driver(RtuSettings, LineUnitKeys, "serial")
RTU_TCP = _driver(RtuTcpSettings, LineUnitKeys, "rtu-tcp")
