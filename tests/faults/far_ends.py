"""Real servers as the far ends of uplinks: started, stopped, killed and paused at will, and asked what they have.

Every far end gives the settings of an uplink to it, and in the end the numbers that have arrived. Each has only what
it has confirmed: Mosquitto writes a message to its subscribers before it confirms it, and the subscriber is there
before any publisher can be; InfluxDB 1.x writes to its log on the disk before it answers (VictoriaMetrics keeps some
seconds in memory, so that it is stopped and paused, but a `kill -9` of it would count its own loss).
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
from aiohttp import web

from tests.support import eventually, free_port, influxdb1_command, need, victoria_command

START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000
"""Row n carries the value n and this many times n: VictoriaMetrics knows no smaller step."""
WAYS = ("stop", "kill", "pause", "answer")


class FarEnd(ABC):
    """A real server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Of an uplink to it."""

    @abstractmethod
    def command(self) -> list[str]:
        """What is run."""

    @abstractmethod
    async def arrived(self) -> Counter[int]:
        """How often each number has come, as far as the server can tell; the server must be up."""

    async def start(self) -> None:
        """Run it; returns once it takes connections."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)  # noqa: ASYNC220

        await eventually(self._listens, 30)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    async def end(self, how: signal.Signals) -> None:
        """Stop it by a signal."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            await asyncio.to_thread(process.wait, 30)

    async def away(self, way: str, seconds: float) -> None:
        """Be gone for that long by one of `WAYS`."""
        if way == "pause":
            assert self.process is not None
            self.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self.process.send_signal(signal.SIGCONT)
            return
        await self.end(signal.SIGKILL if way == "kill" else signal.SIGTERM)
        await asyncio.sleep(seconds)
        await self.start()

    def refuses(self, number: int) -> bool:
        """Whether the server will never take the row that carries it."""
        return False

    async def close(self) -> None:
        """End everything."""
        await self.end(signal.SIGKILL)


class Broker(FarEnd):
    """Mosquitto with a subscriber; uplinks reach it by a relay that opens once the subscriber listens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._front = free_port()
        self._heard: Counter[int] = Counter()
        self._listening: asyncio.Event = asyncio.Event()
        self._relay: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._subscriber = asyncio.create_task(self._hear())

    @property
    def settings(self) -> dict[str, Any]:
        return {"type": "mqtt", "host": "127.0.0.1", "port": self._front}

    def command(self) -> list[str]:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        )
        return [need("mosquitto", "mosquitto"), "-c", str(config)]

    async def start(self) -> None:
        await super().start()
        await asyncio.wait_for(self._listening.wait(), 30)
        self._relay = await asyncio.start_server(self._pass, "127.0.0.1", self._front)

    async def end(self, how: signal.Signals) -> None:
        if self._relay is not None:
            self._relay.close()
        await super().end(how)
        await eventually(lambda: not self._listening.is_set(), 30)

    async def arrived(self) -> Counter[int]:
        await asyncio.sleep(0.5)  # what is on the way to the subscriber
        return self._heard

    async def close(self) -> None:
        if self.process is not None:
            await self.end(signal.SIGKILL)
        for task in (self._subscriber, *self._pipes):
            task.cancel()
        await asyncio.wait([self._subscriber])

    async def _hear(self) -> None:
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", self.port, timeout=5) as client:
                    # QoS 0: a subscriber that confirms meets the broken pipe before it has read what lies in it.
                    await client.subscribe("courtyard/maple/+/readings", 0)
                    self._listening.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        self._heard[json.loads(message.payload)["values"]["n"]] += 1
            except aiomqtt.MqttError:
                self._listening.clear()
                await asyncio.sleep(0.02)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
            for source, sink in ((reader, back), (there, writer)):
                task = asyncio.create_task(self._pour(source, sink))
                self._pipes.add(task)
                task.add_done_callback(self._pipes.discard)
            return
        writer.close()

    async def _pour(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()


class Victoria(FarEnd):
    """VictoriaMetrics, which speaks the InfluxDB v2 write API."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"type": "influxdb", "url": f"http://127.0.0.1:{self.port}", "org": "o", "bucket": "b"}

    def command(self) -> list[str]:
        return victoria_command(self.port, self.folder)

    async def arrived(self) -> Counter[int]:
        def ask() -> Counter[int]:
            base = f"http://127.0.0.1:{self.port}"
            with urllib.request.urlopen(f"{base}/internal/force_flush", timeout=30):  # noqa: S310
                pass
            with urllib.request.urlopen(f"{base}/api/v1/export?match[]=unknown_n", timeout=30) as answer:  # noqa: S310
                lines = [json.loads(line) for line in answer.read().splitlines()]
            return Counter(int(value) for line in lines for value in line["values"])

        return await asyncio.to_thread(ask)


class Influx(FarEnd):
    """InfluxDB 1.x behind a front that takes the v2 write API and passes lines and answers on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._front = free_port()
        self._runner: web.AppRunner | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"type": "influxdb", "url": f"http://127.0.0.1:{self._front}", "org": "o", "bucket": "b"}

    def command(self) -> list[str]:
        return influxdb1_command(self.port, self.folder)

    async def start(self) -> None:
        await super().start()
        await asyncio.to_thread(self._ask, "CREATE DATABASE b")
        if self._runner is None:
            app = web.Application(client_max_size=10_000_000)
            app.router.add_post("/api/v2/write", self._write)
            self._runner = web.AppRunner(app)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self._front).start()

    async def close(self) -> None:
        await super().close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def arrived(self) -> Counter[int]:
        found = await asyncio.to_thread(self._ask, "SELECT n FROM unknown")
        series = found["results"][0].get("series", [])
        return Counter(int(value) for each in series for _, value in each["values"])

    async def _write(self, request: web.Request) -> web.Response:
        return await self._pass_on(request, await request.read())

    async def _pass_on(self, request: web.Request, lines: bytes) -> web.Response:
        url = f"http://127.0.0.1:{self.port}/write?db={request.query['bucket']}&precision=ns"
        try:
            async with aiohttp.ClientSession() as session, session.post(url, data=lines) as answer:
                return web.Response(status=answer.status, body=await answer.read())
        except aiohttp.ClientError:
            return web.Response(status=503)

    def _ask(self, query: str) -> Any:
        parameters = urllib.parse.urlencode({"db": "b", "epoch": "ns", "q": query})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/query?{parameters}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())


class Moody(Influx):
    """InfluxDB behind a front that has something against each hundredth row or so, and against bodies that are large.

    When it is "away" it answers with the next of `MOODS`; a `taken` write is written, and its answer lost.
    """

    MOODS = ("401", "403", "404", "408", "429", "500", "502", "503", "504", "hang up", "taken")
    MOST_LINES = 40
    NEVER = 97

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._coming = cycle(self.MOODS)
        self._mood = ""

    async def away(self, way: str, seconds: float) -> None:
        if way != "answer":
            await super().away(way, seconds)
            return
        self._mood = next(self._coming)
        await asyncio.sleep(seconds)
        self._mood = ""

    def refuses(self, number: int) -> bool:
        return number % self.NEVER == 0

    async def _write(self, request: web.Request) -> web.Response:
        lines = await request.read()
        mood = self._mood
        if mood.isdecimal():
            return web.Response(status=int(mood), text="not now", headers={"Retry-After": "1"})
        if lines.count(b"\n") >= self.MOST_LINES:
            return web.Response(status=413, text="too much at once")
        if any(self.refuses(int(number)) for number in re.findall(rb" n=(\d+)\.0 ", lines)):
            return web.Response(status=400, text="unable to parse")
        answer = await self._pass_on(request, lines) if mood != "hang up" else web.Response()
        if mood and request.transport is not None:
            request.transport.abort()
        return answer
