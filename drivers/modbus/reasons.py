"""What to tell the engineer when a connection does not open or a device will not: which, what, what to do.

Exception codes after Modbus Application Protocol V1.1b3, section 7.
"""

from __future__ import annotations

import errno
import socket

from drivers.modbus.keys import RtuSettings, RtuTcpSettings, TcpSettings

GATEWAY_SILENT = (0x0A, 0x0B)
"""A gateway says that the device behind it does not answer: the connection is up, the device is silent."""

EXCEPTIONS = {
    0x01: "it does not know this function; check `register` of the point against the maker's sheet",
    0x02: "it has no such address; check `address`, `base`, `max_gap` and `forbidden` against the maker's sheet",
    0x03: "it does not accept this value or this number of registers; check `max_registers` and the value's range",
    0x04: "it reports a failure of its own; look at the device",
    0x05: "it has accepted the request but is not ready yet; try again later",
    0x06: "it is busy; try again later",
    0x08: "it reports a memory parity error; look at the device",
    0x0A: "the gateway has no path to it; check the gateway's settings",
    0x0B: "it does not answer the gateway; check its power, wiring and unit id",
}

_TCP = {
    errno.ECONNREFUSED: "refuses the connection; check the port, and that Modbus TCP is switched on there",
    errno.EHOSTUNREACH: "cannot be reached; check the cable, the address and the network of this box",
    errno.ENETUNREACH: "cannot be reached; check the cable, the address and the network of this box",
    errno.ETIMEDOUT: "does not answer; check its power, the cable and the address",
    errno.ECONNRESET: "closes the connection at once; it may serve fewer clients than are connected to it",
}
_SERIAL = {
    errno.ENOENT: "there is no such device; check that the adapter is plugged in, and use a /dev/serial/by-id path",
    errno.EACCES: "may not be opened by this user; add the user to the group dialout and start anew",
    errno.EPERM: "may not be opened by this user; add the user to the group dialout and start anew",
    errno.EBUSY: "is in use by another program; close that program (fuser shows which)",
    errno.EAGAIN: "is in use by another program; close that program (fuser shows which)",
    errno.ENXIO: "has no adapter behind it; plug the adapter in again, and use a /dev/serial/by-id path",
    errno.EIO: "does not work; plug the adapter in again",
}


def asked(pdu: bytes) -> str:
    """What a request asks for: `read of holding 0 to 8`, in addresses from 0 as on the wire."""
    table = {1: "coil", 2: "discrete", 4: "input", 5: "coil", 15: "coil"}.get(pdu[0], "holding")
    first, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
    last = first if pdu[0] in (5, 6) else first + count - 1
    return f"{'read' if pdu[0] <= 4 else 'write'} of {table} {first}" + (f" to {last}" if last > first else "")


def endpoint(settings: TcpSettings | RtuSettings | RtuTcpSettings) -> str:
    """HOST:PORT or the device path."""
    return settings.port if isinstance(settings, RtuSettings) else f"{settings.host}:{settings.port}"


def not_open(name: str, settings: TcpSettings | RtuSettings | RtuTcpSettings, error: Exception | None) -> str:
    """Why a connection could not be opened. No error: nothing came within the time-out."""
    where = f"connection {name}: {endpoint(settings)}"
    number = getattr(error, "errno", None) or 0
    if isinstance(settings, RtuSettings):
        return f"{where}: {_SERIAL.get(number, f'is no serial port that can be opened ({error})')}"
    if isinstance(error, socket.gaierror):
        return f"{where}: the name {settings.host!r} is not known; check the host, or write its address"
    if error is None:
        return f"{where}: does not answer within {settings.timeout:g} s; check its power, the cable and the address"
    return f"{where}: {_TCP.get(number, f'cannot be connected to ({error})')}"


def lost(name: str, settings: TcpSettings | RtuSettings | RtuTcpSettings) -> str:
    """An open connection is gone."""
    what = (
        "the adapter is gone; plug it in again, and use a /dev/serial/by-id path"
        if isinstance(settings, RtuSettings)
        else "closed the connection; check its power and the network, and how many clients it serves"
    )
    return f"connection {name}: {endpoint(settings)}: {what}"
