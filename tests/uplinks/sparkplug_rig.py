"""What the tests of Sparkplug B on a real broker share: a gateway that starts anew, hosts that listen and judge."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt

from drivers.point import Value
from edge.clock import SystemClock
from edge.store.readings import ReadingsStore
from edge.uplinks.broker import cut as cut_off
from edge.uplinks.drain import drain
from edge.uplinks.mqtt import Refusal
from edge.uplinks.sparkplug import Bdseq, Settings, Sparkplug, open_sparkplug
from edge.uplinks.sparkplug_payload import DataType, Metric, encode
from tests.support import eventually
from tests.uplinks.sparkplug_checker import SparkplugHost
from tests.uplinks.sparkplug_plant import POINTS, SITE, Plant


class Scada:
    """A host on the broker: hears all, asserts, commands, says whether it is there."""

    def __init__(self, client: aiomqtt.Client, primary_host: str | None) -> None:
        self.client = client
        self.host = SparkplugHost("courtyard", "maple", primary_host)
        self.time_ms = 1000
        self._fault: BaseException | None = None

    async def listen(self) -> None:
        async for message in self.client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            try:
                self.host.take(message.topic.value, payload, message.qos, retain=message.retain)
            except BaseException as error:
                self._fault = error
                raise

    def check(self) -> None:
        """Raise what was heard against the rules."""
        if self._fault is not None:
            raise self._fault

    async def until(self, true: Callable[[], Any], within_s: float = 10.0) -> None:
        """Wait for it, unless a rule is broken before."""
        await eventually(lambda: self._fault is not None or true(), within_s)
        self.check()

    async def say(self, *, online: bool) -> None:
        """The retained STATE of a host of specification 3.0."""
        self.time_ms += 1
        body = json.dumps({"online": online, "timestamp": self.time_ms})
        await self.client.publish("spBv1.0/STATE/scada", body, 1, retain=True)

    async def command(self, topic: str, name: str, value: Value, datatype: DataType = DataType.BOOLEAN) -> None:
        """NCMD or DCMD."""
        payload = encode([(Metric(value, 1, name), datatype)], 1, None)
        await self.client.publish(f"spBv1.0/courtyard/{topic}", payload, 0)

    def shows(self, point_id: str) -> Value:
        """The value that the host shows."""
        equipment, _, point = point_id.rpartition(".")
        device = self.host.devices.get(equipment)
        return device.current[point][0] if device and device.alive and point in device.current else None


@asynccontextmanager
async def scada(broker: tuple[str, int], primary_host: str | None = None) -> AsyncIterator[Scada]:
    async with aiomqtt.Client(*broker) as client:
        found = Scada(client, primary_host)
        await client.subscribe([("spBv1.0/#", 2), ("STATE/#", 2)])
        task = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])
        found.check()


class Hand:
    """Carries out commands to the light's switch, and refuses the rest."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.done: list[tuple[str, Value, str, str]] = []

    async def write(self, point: str, value: Value, who: str, reason: str, for_s: float | None) -> dict[str, Any]:
        assert for_s is None
        self.done.append((point, value, who, reason))
        if point != "light-1.on":
            raise Refusal(f"{point} is not writable")
        self.plant.newest[point] = (value, "good", self.plant.now_ms * 1_000_000)
        return {"result": "done"}


class Gateway:
    """One daemon's uplink, which can be started anew; what it must not forget is kept."""

    def __init__(self, broker: tuple[str, int], **more: object) -> None:
        self.plant = Plant()
        self.hand = Hand(self.plant)
        self.settings = Settings.model_validate(
            {"type": "sparkplug", "host": broker[0], "port": broker[1], "commands": True, **more}
        )
        self.alarms: list[dict[str, Any]] = []
        self.bdseq: int | None = None

    async def keep(self, number: int) -> None:
        self.bdseq = number

    @asynccontextmanager
    async def uplink(self) -> AsyncIterator[Sparkplug]:
        async with open_sparkplug(
            "scada", self.settings, SITE, SystemClock(), live=self.plant.live, newest=self.plant.head,
            bdseq=Bdseq(self.bdseq, self.keep), current_alarms=lambda: self.alarms, write=self.hand.write,
            refusal=Refusal,
        ) as opened:  # fmt: skip
            yield opened

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Sparkplug]:
        async with self.uplink() as opened:
            await eventually(lambda: opened.stats.state == "up")
            yield opened


def cut(uplink: Sparkplug) -> None:
    """The connection goes without a word."""
    if uplink._client is not None:
        wire = uplink._client._client.socket()
        assert isinstance(wire, socket.socket)
        wire.shutdown(socket.SHUT_RDWR)


class History:
    """A random history on a real log: readings, silences, lost connections, restarts, rebirths, a host that goes."""

    def __init__(self, gateway: Gateway, store: ReadingsStore, others: Scada, seed: int) -> None:
        self.gateway, self.store, self.others = gateway, store, others
        self.random = random.Random(seed)
        self.uplink: Sparkplug | None = None

    def read(self) -> None:
        plant = self.gateway.plant
        plant.now_ms += 1
        row = plant.read(self.random.choice(list(POINTS)), self.random.choice(["good"] * 6 + ["bad/comm"]))
        self.store.append(row.equipment, row.points, row.values, row.qualities, row.time_ns)

    async def live(self, restart: asyncio.Event) -> None:
        """One daemon after the other."""
        while True:
            restart.clear()
            async with self.gateway.uplink() as self.uplink:
                draining = asyncio.create_task(
                    drain(
                        self.store,
                        "scada",
                        self.uplink.send,
                        SystemClock(),
                        self.uplink.stats,
                        limit=20,
                        linger_s=0.01,
                    )
                )
                try:
                    await restart.wait()
                finally:
                    draining.cancel()
                    await asyncio.wait([draining])

    @asynccontextmanager
    async def lived(self, restart: asyncio.Event) -> AsyncIterator[None]:
        life = asyncio.create_task(self.live(restart))
        try:
            yield
        finally:
            life.cancel()
            await asyncio.wait([life])

    async def step(self, restart: asyncio.Event) -> None:
        what = self.random.choice(["cut", "restart", "rebirth", "host", "nothing"])
        if what == "cut" and self.uplink is not None:
            cut(self.uplink)
        elif what == "restart":
            restart.set()
        elif what == "rebirth":
            await self.others.command("NCMD/maple", "Node Control/Rebirth", True)
        elif what == "host":
            await self.others.say(online=False)
            self.read()
            await asyncio.sleep(self.random.uniform(0, 0.1))
            await self.others.say(online=True)
        for _ in range(self.random.randrange(30)):
            self.read()
        await asyncio.sleep(self.random.uniform(0, 0.15))
        self.others.check()

    def arrived(self) -> bool:
        """Whether the host has all that was read."""
        return not missing(self.gateway.plant, self.others.host)

    def shown(self) -> bool:
        """Whether the host shows what is."""
        plant, host = self.gateway.plant, self.others
        alive = {name for name in POINTS if plant.live(f"{name}.{POINTS[name][0]}")[1] == "good"}
        if {name for name, device in host.host.devices.items() if device.alive} != alive:
            return False
        ids = [f"{name}.{point}" for name in alive for point in POINTS[name]]
        return all(host.shows(each) == plant.live(each)[0] for each in ids)


class FallingHost:
    """A host that comes back by itself, and keeps what it has heard."""

    def __init__(self, port: int) -> None:
        self.host = SparkplugHost("courtyard", "maple", "scada")
        self._port = port
        self._time_ms = itertools.count(1000)
        self._wire: aiomqtt.Client | None = None

    async def live(self) -> None:
        while True:
            try:
                await self._once()
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)

    async def _once(self) -> None:
        time_ms = next(self._time_ms)  # of the birth and of the will: tck-id-host-topic-phid-birth-payload-timestamp
        will = aiomqtt.Will("spBv1.0/STATE/scada", _state(time_ms, online=False), 1, retain=True)
        async with aiomqtt.Client("127.0.0.1", self._port, will=will, timeout=2) as client:
            self.host.lost()
            await client.subscribe("spBv1.0/#", 2)
            await client.publish("spBv1.0/STATE/scada", _state(time_ms, online=True), 1, retain=True)
            self._wire = client
            async for message in client.messages:
                payload = message.payload if isinstance(message.payload, bytes) else b""
                if "STATE" not in message.topic.value or not message.retain:
                    self.host.take(message.topic.value, payload, message.qos, retain=message.retain)

    def fall(self) -> None:
        """Without a word: the broker publishes the will."""
        if self._wire is not None and self._wire._client.socket() is not None:
            cut_off(self._wire)  # type: ignore[arg-type]  # any client


def _state(time_ms: int, *, online: bool) -> str:
    return json.dumps({"online": online, "timestamp": time_ms})


@asynccontextmanager
async def beside(*works: Callable[[], object]) -> AsyncIterator[list[asyncio.Task[object]]]:
    """Tasks for as long as the block lasts; what they raise fails the test."""
    tasks = [asyncio.ensure_future(work()) for work in works]  # type: ignore[call-overload]  # coroutines
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def read(plant: Plant, store: ReadingsStore, count: int) -> None:
    for n in range(count):
        plant.now_ms += 1
        row = plant.read(list(POINTS)[n % 3])
        store.append(row.equipment, row.points, row.values, row.qualities, row.time_ns)


def missing(plant: Plant, host: SparkplugHost) -> list[int]:
    """Numbers of rows of which the host lacks any value."""
    return [
        row.seq
        for row in plant.log
        if any(
            value is not None and host.history[row.equipment, point].get(row.time_ns // 1_000_000) != (value, 192)
            for point, value in zip(row.points, row.values, strict=True)
        )
    ]


@asynccontextmanager
async def plant_on(port: int, store: ReadingsStore) -> AsyncIterator[tuple[Gateway, Sparkplug, FallingHost]]:
    gateway, others = Gateway(("127.0.0.1", port), primary_host="scada"), FallingHost(port)
    async with gateway.uplink() as uplink:

        async def drained() -> None:
            await drain(store, "scada", uplink.send, SystemClock(), uplink.stats, limit=20, linger_s=0.01)

        async with beside(others.live, drained) as tasks:
            yield gateway, uplink, others
            assert not any(task.done() for task in tasks)
