"""One opener for each type of connection: the equipment behind it, put on the wire that it is on.

What comes in: a connection and its equipment. What goes out: an open wire that follows the world (silent equipment,
cut connections), said in `stage.served`, and the jobs that have to run for it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from drivers.modbus.keys import UnitKeys
from simulators.alarm_panels import DialingPanel, SerialHost, panels_of
from simulators.broker import OwnBroker
from simulators.modbus_server import ModbusLine, ModbusRtuTcp, ModbusTcp, TcpServer
from simulators.modbus_units import Units
from simulators.model import SimConnection, SimEquipment
from simulators.mqtt_devices import MqttDevices
from simulators.paced_pty import PacedPty, linked
from simulators.stage import LOOPBACK, Address, Stage, free_port, site_address

_NAMED = 6
"""Equipment that an endpoint names one by one."""

Job = Callable[[], Coroutine[Any, Any, None]]
Opener = Callable[[Stage, SimConnection, list[SimEquipment]], Awaitable[list[Job]]]


async def _listen(stage: Stage, connection: SimConnection, server: TcpServer) -> Address:
    """Open a TCP server at the first place that can be had, cut and mended with its connection."""
    *wished, anywhere = site_address(stage, connection, 502)
    for place in wished:
        with suppress(OSError):
            await server.open(*place)
    if not server.listening:
        await server.open(*anywhere)
    stage.resources.push_async_callback(server.cut)

    async def tick() -> None:
        if stage.is_cut(connection):
            await server.cut()
        elif not server.listening:
            await server.mend()

    stage.ticks.append(tick)
    return server.address


# ---- words ----


def _names(members: Sequence[SimEquipment]) -> str:
    names = [each.id for each in members]
    return ", ".join(names) if len(names) <= _NAMED else f"{names[0]} ... {names[-1]}"


def _units_text(members: Sequence[SimEquipment]) -> str:
    """`units 1-3, 11 (pump-1, ...)`"""
    ids = sorted({each.address.unit_id for each in members if isinstance(each.address, UnitKeys)})
    runs: list[list[int]] = []
    for unit in ids:
        if runs and runs[-1][-1] == unit - 1:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"unit{'s' * (len(ids) != 1)} {text} ({_names(members)})" if ids else "nobody"


# ---- one opener for each type of connection ----


async def _modbus_tcp(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    wire = ModbusTcp(Units(members, stage.world), stage.counter(connection))
    host, port = await _listen(stage, connection, wire.server)
    stage.announce(connection, f"{host}:{port}", _units_text(members), {"host": host, "port": port})
    return []


async def _modbus_rtu_tcp(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    baudrate = int(connection.settings.get("baudrate", 9600))
    units = Units(members, stage.world)
    wire = ModbusRtuTcp(units, stage.counter(connection), baudrate=baudrate, paced=stage.paced)
    host, port = await _listen(stage, connection, wire.server)
    stage.announce(connection, f"{host}:{port}", _units_text(members), {"host": host, "port": port})
    return []


def _line(stage: Stage, connection: SimConnection, what: str, **calls: Any) -> PacedPty:
    """A pty for a serial connection, under the site's path where that is asked for and can be."""
    settings = connection.settings
    line = PacedPty(
        int(settings.get("baudrate", 9600)),
        str(settings.get("parity", "N")),
        int(settings.get("stopbits", 1)),
        paced=stage.paced,
        **calls,
    )
    stage.resources.callback(line.close)
    wish = Path(str(settings.get("port", ""))) if stage.at_site and settings.get("port") else None
    path = stage.resources.enter_context(linked(line.path, wish))
    stage.announce(connection, path, what, {"port": path})
    return line


async def _modbus_rtu(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    units = Units(members, stage.world)
    wire = ModbusLine(units, stage.counter(connection), lambda: stage.is_cut(connection))
    wire.line = _line(stage, connection, _units_text(members), received=wire.received)
    return []


async def _serial_lines(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    panels = panels_of(members, stage.world)
    host = SerialHost(
        panels,
        stage.clock,
        stage.counter(connection),
        stage.world.now.tzinfo,
        str(connection.settings.get("encoding", "gbk")),
    )
    what = f"prints account {', '.join(panel.account for panel in panels)} ({_names(members)})"
    host.line = _line(stage, connection, what, opened=host.opened)

    async def tick() -> None:
        host.tick(stage.is_cut(connection))

    stage.ticks.append(tick)
    return []


async def _dc09(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    host, _, port_text = str(connection.settings.get("listen", "")).rpartition(":")
    host, port = host.strip("[]") or LOOPBACK, int(port_text or 0)
    over = {}
    if not stage.at_site or port == 0:
        host, port = LOOPBACK, free_port()
        over = {"listen": f"{host}:{port}"}
    elif host in ("0.0.0.0", "::", "localhost"):
        host = LOOPBACK
    rng = random.Random(f"{stage.world.seed}/{connection.name}")
    sent = stage.counter(connection)
    panels = [DialingPanel(panel, stage.clock, sent, (host, port), rng) for panel in panels_of(members, stage.world)]

    async def tick() -> None:
        for panel in panels:
            panel.tick(stage.is_cut(connection))

    stage.ticks.append(tick)
    what = f"account {', '.join(panel.account for panel in panels)} dials in ({_names(members)})"
    stage.announce(connection, f"{host}:{port}", what, over)
    return [panel.run for panel in panels]


async def _broker(stage: Stage, connection: SimConnection) -> OwnBroker:
    """The broker of a connection; connections that the site has at one broker share one here too."""
    site = (str(connection.settings.get("host", LOOPBACK)), int(connection.settings.get("port", 1883)))
    if site in stage.brokers:
        return stage.brokers[site]
    for place in site_address(stage, connection, 1883):
        house = OwnBroker(place)
        try:
            await house.start()
        except OSError:
            if place[1] == 0:
                raise
            continue
        stage.brokers[site] = house
        break
    stage.resources.push_async_callback(house.stop)
    stage.served.broker = stage.served.broker or house.address

    async def tick() -> None:
        await house.follow(not stage.world.cut.isdisjoint(house.users))

    stage.ticks.append(tick)
    return house


async def _mqtt(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    devices = MqttDevices(connection.name, members, stage.world, stage.clock, stage.counter(connection))
    if stage.broker is None:
        house = await _broker(stage, connection)
        house.users[connection.name] = devices
        address = house.address
    else:
        address = stage.broker

        async def tick() -> None:
            devices.tick(stage.is_cut(connection))

        stage.ticks.append(tick)
    over: dict[str, Any] = {"host": address[0], "port": address[1]}
    if connection.settings.get("tls"):
        over["tls"] = False  # ours takes anybody, in the clear
    stage.announce(connection, f"{address[0]}:{address[1]}", f"reports of {_names(members)}", over)
    return [lambda: devices.run(*address)]


OPENERS: dict[str, Opener] = {
    "modbus-tcp": _modbus_tcp,
    "modbus-rtu": _modbus_rtu,
    "modbus-rtu-tcp": _modbus_rtu_tcp,
    "mqtt": _mqtt,
    "serial-lines": _serial_lines,
    "dc09": _dc09,
}
