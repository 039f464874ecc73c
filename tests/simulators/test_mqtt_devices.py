"""Simulated LoRaWAN sensors and Zigbee lights at a broker, and the broker of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import aiomqtt
import pytest

from drivers.driver import ConnectionDown, ListeningLink
from drivers.point import Quality, Value
from edge.clock import ManualClock, SystemClock
from simulators.broker import embedded_broker
from simulators.serve import Served, serve
from simulators.world import World
from tests.simulators.on_wires import addressed, all_of, beat, close_to, connection, reached, world_of
from tests.support import eventually

UP = "application/+/device/{}/event/up"


class Heard:
    """What a client has got, by topic."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []

    def bodies(self, ending: str) -> list[dict[str, Any]]:
        return [json.loads(body) for topic, body, _ in self.messages if topic.endswith(ending)]

    def more_than(self, count: int, ending: str) -> bool:
        return len(self.bodies(ending)) > count


@asynccontextmanager
async def subscribed(address: tuple[str, int] | None, *topics: str) -> AsyncIterator[tuple[aiomqtt.Client, Heard]]:
    """A plain client."""
    assert address is not None
    heard = Heard()

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            heard.messages.append((str(message.topic), bytes(message.payload), message.retain))

    async with aiomqtt.Client(*address) as client:
        for topic in topics:
            await client.subscribe(topic, qos=1)
        task = asyncio.create_task(listen(client))
        try:
            yield client, heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def lights() -> AsyncIterator[tuple[World, ManualClock, Served]]:
    """Two Zigbee lights at a broker of our own, on a clock that stands still."""
    members, clock = addressed("light-13", "light-14"), ManualClock()
    world = world_of(members)
    async with serve([connection("zigbee")], members, world, clock, prefer_site_address=False) as served:
        await eventually(lambda: served.counts["zigbee"] == 2)
        yield world, clock, served


async def until_lost(link: ListeningLink) -> None:
    """Listen for as long as there is a broker."""
    async with asyncio.timeout(5):
        async for batch in link.listen():
            assert batch.values


# ---- the broker ----


async def test_the_broker_carries_messages_and_ends_without_a_trace() -> None:
    before = asyncio.all_tasks()
    async with embedded_broker() as address:
        async with subscribed(address, "a/#") as (client, heard), subscribed(address, "b") as (_, other):
            for number in range(50):
                await client.publish(f"a/{number}", str(number), qos=1)
            await eventually(lambda: len(heard.messages) == 50)
            assert other.messages == []
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"this is no MQTT\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_what_is_retained_comes_to_those_who_asked_for_it_only() -> None:
    async with embedded_broker() as address, subscribed(address, "lora/#") as (client, heard):
        await client.publish("lora/1", "kept", qos=1, retain=True)
        await eventually(lambda: heard.messages)
        async with subscribed(address, "zigbee/#") as (_, other), subscribed(address, "lora/1") as (_, late):
            await eventually(lambda: late.messages == [("lora/1", b"kept", True)])
            assert other.messages == []


async def test_a_busy_port_is_an_error() -> None:
    async with embedded_broker() as (host, port):
        with pytest.raises(OSError, match="address already in use"):
            async with embedded_broker(host, port):
                pytest.fail("two brokers at one port")


# ---- sensors ----


async def test_a_report_is_what_chirpstack_would_publish() -> None:
    members, clock = addressed("bin-01"), ManualClock()
    async with (
        serve([connection("lora")], members, world_of(members), clock, prefer_site_address=False) as served,
        subscribed(served.broker, UP.format("24e124713d100001")) as (_, heard),
    ):
        await eventually(lambda: heard.messages)
        report = heard.bodies("/up")[0]
        assert report["deviceInfo"]["devEui"] == "24e124713d100001"
        assert report["deviceInfo"]["deviceName"] == "bin-01"
        assert report["time"] == "2026-01-01T00:00:00.000+00:00"
        assert {"deduplicationId", "devAddr", "fCnt", "fPort", "data", "rxInfo", "txInfo"} <= set(report)
        assert {"gatewayId", "rssi", "snr"} <= set(report["rxInfo"][0])
        topic = heard.messages[0][0]
        assert topic.split("/")[1] == report["deviceInfo"]["applicationId"]


@pytest.mark.parametrize("name", ["lora", "zigbee"])
async def test_the_gateways_own_driver_understands_every_report(name: str) -> None:
    members, wire, clock = all_of(name), connection(name), SystemClock()
    world = world_of(members)
    async with (
        serve([wire], members, world, clock, prefer_site_address=False) as served,
        reached(wire, served, members, clock) as (link, devices),
    ):
        every = {point.id for device in devices for point in device.points}
        seen: dict[str, Value] = {}
        async with asyncio.timeout(8):
            async for batch in cast(ListeningLink, link).listen():
                for point, value, quality in batch.readings():
                    assert quality is Quality.GOOD, point.id
                    assert close_to(value, world.models[point.equipment].values()[point.name], 2.5), point.id
                    seen[point.id] = value
                if set(seen) == every:
                    break
        assert (link.tally.bad_frames, link.tally.unknown) == (0, 0)


async def test_each_report_has_an_id_and_a_frame_counter_of_its_own() -> None:
    members, clock = addressed("bin-01"), ManualClock()
    world = world_of(members)
    async with (
        serve([connection("lora")], members, world, clock, prefer_site_address=False) as served,
        subscribed(served.broker, UP.format("+")) as (_, heard),
    ):
        await eventually(lambda: heard.messages)
        for _ in range(40):
            clock.advance(60)
            await eventually(lambda: "simulated world" in clock.sleeping())
        await eventually(lambda: len(heard.messages) >= 4)
        # Whoever subscribes in the moment of a report has it twice: as it goes by, and as the retained one.
        counters = {report["deduplicationId"]: report["fCnt"] for report in heard.bodies("/up")}
        assert list(counters.values()) == sorted(set(counters.values()))
        assert len(counters) >= 4


async def test_a_silent_sensor_sends_nothing() -> None:
    members, clock = addressed("light-13", "light-14"), ManualClock()
    world = world_of(members)
    world.silent.add("light-13")
    async with (
        serve([connection("zigbee")], members, world, clock, prefer_site_address=False) as served,
        subscribed(served.broker, "zigbee2mqtt/#") as (_, heard),
    ):
        await eventually(lambda: heard.bodies("hall-1b"))
        await beat(clock, world, 0.5)
        assert heard.bodies("hall-1a") == []


# ---- lights ----


async def test_a_light_obeys_tells_its_state_and_the_model_knows() -> None:
    async with lights() as (world, _, served), subscribed(served.broker, "zigbee2mqtt/+") as (client, heard):
        await eventually(lambda: len(heard.messages) == 2)
        for wanted in ("ON", "OFF"):
            told = len(heard.bodies("hall-1a"))
            await client.publish("zigbee2mqtt/hall-1a/set", json.dumps({"state": wanted, "transition": 2}), qos=1)
            await eventually(partial(heard.more_than, told, "hall-1a"))
            assert heard.bodies("hall-1a")[-1]["state"] == wanted
            assert world.models["light-13"].values()["on"] is (wanted == "ON")
        assert len(heard.bodies("hall-1b")) == 1


@pytest.mark.parametrize(
    "body", [b"ON", b'{"state": "PERHAPS"}', b'{"colour": 1}', b"[]", b"\xff\x00", b""], ids=repr
)
async def test_a_command_that_makes_no_sense_changes_nothing(body: bytes) -> None:
    async with lights() as (world, _, served), subscribed(served.broker, "zigbee2mqtt/+") as (client, heard):
        before = world.models["light-13"].values()["on"]
        await client.publish("zigbee2mqtt/hall-1a/set", body, qos=1)
        await client.publish("zigbee2mqtt/hall-1b/set", '{"state": "ON"}', qos=1)
        await eventually(lambda: len(heard.bodies("hall-1b")) == 2)
        assert world.models["light-13"].values()["on"] is before


async def test_a_light_tells_its_state_at_least_every_minute() -> None:
    async with lights() as (world, clock, served), subscribed(served.broker, "zigbee2mqtt/+") as (_, heard):
        await eventually(lambda: len(heard.messages) == 2)
        clock.advance(61)
        await beat(clock, world)
        await eventually(lambda: len(heard.bodies("hall-1b")) >= 2)


# ---- a broker that goes away ----


async def test_the_gateway_loses_the_broker_and_finds_it_again_at_the_same_port() -> None:
    members, wire, clock = addressed("light-13"), connection("zigbee"), ManualClock()
    world = world_of(members)
    async with serve([wire], members, world, clock, prefer_site_address=False) as served:
        await eventually(lambda: served.counts["zigbee"] == 1)
        async with reached(wire, served, members, clock) as (link, _):
            world.cut.add("zigbee")
            await beat(clock, world)
            with pytest.raises(ConnectionDown):
                await until_lost(cast(ListeningLink, link))
        with pytest.raises(ConnectionDown):
            async with reached(wire, served, members, clock):
                pytest.fail("the broker is gone")
        world.cut.clear()
        await beat(clock, world, 2.0)
        await eventually(lambda: served.counts["zigbee"] == 2)
        async with reached(wire, served, members, clock) as (link, _):
            async with asyncio.timeout(5):
                async for batch in cast(ListeningLink, link).listen():
                    assert batch.block.equipment == "light-13"
                    break


@pytest.mark.service
async def test_at_somebody_elses_broker_only_the_devices_leave(mosquitto: tuple[str, int]) -> None:
    members, clock = addressed("light-13"), ManualClock()
    world = world_of(members)
    async with (
        serve([connection("zigbee")], members, world, clock, prefer_site_address=True, broker=mosquitto) as served,
        subscribed(mosquitto, "zigbee2mqtt/+") as (_, heard),
    ):
        assert served.broker is None
        assert served.overrides["zigbee"]["port"] == mosquitto[1]
        await eventually(lambda: len(heard.messages) == 1)
        world.cut.add("zigbee")
        await beat(clock, world, 0.5)
        world.models["light-13"].write("on", world.models["light-13"].values()["on"] is False)
        await beat(clock, world, 2.0)
        assert len(heard.messages) == 1
        world.cut.clear()
        await beat(clock, world, 2.0)
        await eventually(lambda: len(heard.messages) >= 2)
