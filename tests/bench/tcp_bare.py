"""The limits beside the daemon: the same requests in a bare loop, in a process of its own.

Arguments: `raw` (asyncio streams and one struct.unpack) or `pymodbus`, the devices' port, connections, the period in
ms (0: without a pause), seconds. Nothing is judged, recorded or sent. Prints the CPU seconds of a request.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time

from pymodbus.client import AsyncModbusTcpClient

from tests.bench.tcp_daemon import cpu_s

COUNT = 100


class Loop:
    """Requests, one connection each, until a time; counts them."""

    def __init__(self, port: int, period_s: float, end_s: float) -> None:
        self.requests = 0
        self._port, self._period_s, self._end_s = port, period_s, end_s

    async def raw(self) -> None:
        """By asyncio's own streams."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        ask = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, COUNT)
        decode = struct.Struct(f">9x{COUNT}H").unpack
        begin_s = time.monotonic()
        while time.monotonic() < self._end_s:
            writer.write(ask)
            decode(await reader.readexactly(9 + 2 * COUNT))
            begin_s = await self._next(begin_s)
        writer.close()

    async def pymodbus(self) -> None:
        """By the library."""
        client = AsyncModbusTcpClient("127.0.0.1", port=self._port)
        await client.connect()
        begin_s = time.monotonic()
        while time.monotonic() < self._end_s:
            answer = await client.read_holding_registers(0, count=COUNT, device_id=1)
            assert len(answer.registers) == COUNT
            begin_s = await self._next(begin_s)
        client.close()

    async def _next(self, begin_s: float) -> float:
        self.requests += 1
        if self._period_s:
            await asyncio.sleep(max(0.0, begin_s + self._period_s - time.monotonic()))
        return begin_s + self._period_s


async def main(kind: str, port: int, connections: int, period_ms: int, seconds: float) -> None:
    """Measure from the second on at which all are connected."""
    loop = Loop(port, period_ms / 1000, time.monotonic() + 1 + seconds)
    tasks = [asyncio.create_task(loop.raw() if kind == "raw" else loop.pymodbus()) for _ in range(connections)]
    await asyncio.sleep(1)
    began, requests = cpu_s(), loop.requests
    await asyncio.gather(*tasks)
    print((cpu_s() - began) / (loop.requests - requests))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
