"""Modbus TCP devices in a process of their own, so that what they cost is not counted as the daemon's.

Each accepted connection is answered at once, whatever the unit id. With `changing` every register differs from the
answer before: the first two hold the device's own time (µs on the machine's monotonic clock, modulo 2**32), which
is what the listener at the other end takes the age of a reading from. Prints its port.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time


class Device(asyncio.Protocol):
    """One accepted connection. Knows read requests only, and that nothing else is sent by the bench."""

    def __init__(self, *, changing: bool) -> None:
        self._changing = changing
        self._turn = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        assert isinstance(transport, asyncio.Transport)  # it is TCP
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Requests of twelve bytes each."""
        for at in range(0, len(data) - 11, 12):
            transaction, _, _, unit, function, _, count = struct.unpack_from(">HHHBBHH", data, at)
            head = struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count)
            self._transport.write(head + self._body(count))

    def _body(self, count: int) -> bytes:
        if not self._changing:
            return bytes(2 * count)
        self._turn = (self._turn + 1) % 1000
        now_us = time.monotonic_ns() // 1000 % 2**32
        rest = range(100 * self._turn % 60_000, 100 * self._turn % 60_000 + count - 2)
        return struct.pack(f">I{count - 2}H", now_us, *rest)


async def main(*, changing: bool) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Device(changing=changing), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(changing=sys.argv[1] == "changing"))
