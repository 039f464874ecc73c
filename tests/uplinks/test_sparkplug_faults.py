"""Sparkplug B while brokers are killed and hosts fall over: what the primary host has is counted in the end."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from edge.clock import SystemClock
from edge.store.readings import ReadingsStore, open_readings
from edge.uplinks import session, sparkplug
from edge.uplinks.drain import drain
from edge.uplinks.sparkplug import Sparkplug
from tests.support import eventually, free_port, mosquitto_command, running
from tests.uplinks.sparkplug_checker import SparkplugHost
from tests.uplinks.sparkplug_plant import POINTS, Plant
from tests.uplinks.test_sparkplug import Gateway


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(session, "LOOK_AGAIN_S", 0.1)
    monkeypatch.setattr(session, "CONFIRM_S", 1.0)
    monkeypatch.setattr(sparkplug, "SETTLE_S", 0.1)


class PrimaryHost:
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
            session._cut(self._wire)  # type: ignore[arg-type]  # any client


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
    """Numbers of rows of which the host lacks anything."""
    return [
        row.seq
        for row in plant.log
        if any(
            host.history[row.equipment, point].get(row.time_ns // 1_000_000) != (value, 192)
            for point, value in zip(row.points, row.values, strict=True)
        )
    ]


@asynccontextmanager
async def plant_on(port: int, store: ReadingsStore) -> AsyncIterator[tuple[Gateway, Sparkplug, PrimaryHost]]:
    gateway, others = Gateway(("127.0.0.1", port), primary_host="scada"), PrimaryHost(port)
    async with gateway.uplink() as uplink:

        async def drained() -> None:
            await drain(store, "scada", uplink.send, SystemClock(), uplink.stats, limit=20, linger_s=0.01)

        async with beside(others.live, drained) as tasks:
            yield gateway, uplink, others
            assert not any(task.done() for task in tasks)


@pytest.mark.service
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_broker_that_is_ended_again_and_again_takes_nothing_along(
    tmp_path: Path, how: signal.Signals
) -> None:
    port = free_port()
    async with open_readings(tmp_path / "readings.db", 0.05) as store, plant_on(port, store) as (gateway, _, others):
        for _ in range(3):
            with running(mosquitto_command(port, tmp_path), port, tmp_path / "mosquitto.log") as broker:
                births = others.host.births
                read(gateway.plant, store, 60)
                await eventually(lambda before=births: others.host.births > before, 20)  # type: ignore[misc]
                read(gateway.plant, store, 60)
                await asyncio.sleep(0.05)
                broker.send_signal(how)
                broker.wait(5)
            read(gateway.plant, store, 30)
        with running(mosquitto_command(port, tmp_path), port, tmp_path / "mosquitto.log"):
            await eventually(lambda: not missing(gateway.plant, others.host), 30)
            assert len(gateway.plant.log) == 450
            assert others.host.births >= 4


@pytest.mark.service
async def test_a_host_that_falls_again_and_again_has_everything_in_the_end(
    mosquitto: tuple[str, int], tmp_path: Path
) -> None:
    async with (
        open_readings(tmp_path / "readings.db", 0.05) as store,
        plant_on(mosquitto[1], store) as (gateway, _, others),
    ):
        for _ in range(4):
            births = others.host.births
            read(gateway.plant, store, 60)
            await eventually(lambda before=births: others.host.births > before, 20)  # type: ignore[misc]
            read(gateway.plant, store, 60)
            await asyncio.sleep(0.03)
            others.fall()
        await eventually(lambda: not missing(gateway.plant, others.host), 30)
        assert others.host.historical > 0
