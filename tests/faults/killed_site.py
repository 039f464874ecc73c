"""What stands around a daemon that is killed: counting devices, an uplink that flaps, ears at the far end.

Each device answers with a counter that grows by one an answer, so that every reading that was ever handed out has a
name: `(device, counter)`. When each was handed out is noted. A switch on some devices turns an alarm on and off.
The way to the broker leads through a proxy that can be cut, so that the broker itself never forgets anything.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

REGISTERS = 20
"""Of each device, read in one request."""
COUNTER, SWITCH = "count", "tripped"
SITE = "killed"


class Devices:
    """Modbus TCP units that count their answers; unit n is equipment `e<n>`."""

    def __init__(self) -> None:
        self.port = 0
        self.answered: dict[int, list[float]] = defaultdict(list)
        """By unit: monotonic time of each answer; the first has the counter 1."""
        self.switch = False
        """Whether the alarms' condition stands now."""
        self.mute = False
        """Whether nothing is answered any more."""
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Devices]:
        """Answer while in the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                request = await reader.readexactly(12)
                if self.mute:
                    continue
                transaction, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
                head = struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count)
                writer.write(head + self._body(unit, count))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _body(self, unit: int, count: int) -> bytes:
        times = self.answered[unit]
        times.append(time.monotonic())
        rest = ((len(times) * 7 + place) % 60_000 for place in range(count - 3))
        return struct.pack(f">IH{count - 3}H", len(times), self.switch, *rest)


class Proxy:
    """A TCP way to somewhere that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.cuts = 0
        self._to = port
        self._open = True
        self._ends: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Proxy]:
        """Pass on while in the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Everything that runs ends in the middle of a byte; nobody gets through."""
        self._open = False
        self.cuts += 1
        for end in list(self._ends):
            end.transport.abort()

    def mend(self) -> None:
        """Whoever tries again gets through."""
        self._open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends |= {writer, far_writer}
        try:
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        finally:
            self._ends -= {writer, far_writer}
            for end in (writer, far_writer):
                end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@dataclass
class Ears:
    """Who listens at the broker, directly: every reading and every alarm that left the box."""

    readings: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By unit: counters that have arrived."""
    messages: int = 0
    alarms: list[dict[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def listen(self, port: int) -> AsyncIterator[Ears]:
        """Listen while in the block."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="ears", clean_session=False)
        client.on_message = self._hear
        client.max_inflight_messages_set(1000)
        await asyncio.to_thread(client.connect, "127.0.0.1", port)
        client.subscribe([(f"courtyard/{SITE}/+/readings", 1), (f"courtyard/{SITE}/alarms/+", 1)])
        client.loop_start()
        try:
            yield self
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    def _hear(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        if not message.payload:
            return
        body = orjson.loads(message.payload)
        if message.topic.endswith("/readings"):
            self.messages += 1
            if COUNTER in body["values"] and body["values"][COUNTER] is not None:
                self.readings[int(message.topic.split("/")[-2][1:])].add(body["values"][COUNTER])
        else:
            self.alarms.append(body)


def write_site(
    folder: Path,
    devices: int,
    modbus_port: int,
    console_port: int,
    broker_port: int | None,
    period_ms: int,
    pushes: str = "pushes.jsonl",
    *,
    chip: bool = True,
) -> Path:
    """The site file and its profile; pushes go into a file of that name, in the state directory or where it says.

    Without a clock `chip` only the kernel can vouch for the time.
    """
    (folder / "profiles" / "meter").mkdir(parents=True)
    (folder / "profiles" / "meter" / "counting.yaml").write_text(_profile(period_ms))
    lines = [f"site: {{id: {SITE}, name: Killed, timezone: Asia/Shanghai}}", "profiles: profiles"]
    lines += [
        "storage: {commit: 1s}",
        *(() if chip else ("time: {source: kernel, trust_after: 1h}",)),
        f"console: {{listen: '127.0.0.1:{console_port}'}}",
        *(line.replace("PUSHES", pushes) for line in _DUTY),
        "connections:",
    ]
    lines += [f"  c{n}: {{type: modbus-tcp, host: 127.0.0.1, port: {modbus_port}}}" for n in range(1, devices + 1)]
    lines.append("equipment:")
    lines += [
        f"  e{n}: {{profile: meter/counting, connection: c{n}, unit_id: {n}, alarms: "
        f"{{tripped: {{priority: {'high' if n <= 5 else 'low'}}}}}}}"
        for n in range(1, devices + 1)
    ]
    if broker_port:
        lines.append(f"uplinks: {{north: {{type: mqtt, host: 127.0.0.1, port: {broker_port}}}}}")
    path = folder / "site.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


_DUTY = (
    "duty:",
    "  channels: {record: {type: file, path: PUSHES}}",
    "  recipients: {desk: {name: desk, channels: [record]}}",
    "  ladders: {high: [{after: 0s, to: [desk]}]}",
)


def _profile(period_ms: int) -> str:
    name = "name: {zh: 值, en: Value}"
    lines = [
        "profile: meter/counting", "name: {zh: 计数, en: Counting}", "protocol: modbus",
        "source: 'synthetic profile: counts its answers'", f"period: {period_ms}ms", "limits: {turnaround: 0ms}",
        "points:",
        f"  {COUNTER}: {{{name}, kind: int, register: holding, address: 0, type: uint32}}",
        f"  {SWITCH}: {{{name}, kind: bool, register: holding, address: 2, bit: 0}}",
    ]  # fmt: skip
    lines += [f"  r{n}: {{{name}, kind: int, register: holding, address: {n}}}" for n in range(3, REGISTERS)]
    rule = "code: K-1, name: {zh: 跳闸, en: Tripped}, advice: {zh: 看, en: Look}, priority: low, respond: 15m"
    lines += ["alarms:", f"  tripped: {{{rule}, point: {SWITCH}, is: true}}"]
    return "\n".join(lines) + "\n"


async def flap(proxy: Proxy, chance: random.Random) -> None:
    """The way to the broker is there, and is not."""
    while True:
        await asyncio.sleep(chance.uniform(0.2, 3))
        proxy.cut()
        await asyncio.sleep(chance.uniform(0.05, 1))
        proxy.mend()


async def toggle(devices: Devices, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        devices.switch = not devices.switch


@asynccontextmanager
async def doing(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def within(seconds: float, predicate: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is true, but no longer: what is missing then is counted."""
    for _ in range(round(seconds * 10)):
        if await predicate():
            return
        await asyncio.sleep(0.1)
