"""The whole community on all ways north at once: who listens there sees what the gateway sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from aiohttp import web

from edge.uplinks.sparkplug_payload import DataType, Metric, encode
from tests.stories.community import Community, community
from tests.support import eventually, free_port
from tests.uplinks.sparkplug_checker import SparkplugHost

pytestmark = [pytest.mark.story, pytest.mark.service, pytest.mark.timeout(120)]
SWITCHED = "light-01.on"


class North:
    """Everybody who listens there."""

    def __init__(self) -> None:
        self.scada = SparkplugHost("courtyard", "maple-garden")
        self.boards: dict[str, dict[str, Any]] = {}
        self.homes: dict[str, Any] = {}
        self.states: dict[str, Any] = {}
        self.rows: dict[int, dict[str, Any]] = {}

    async def listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic = message.topic.value
            payload = message.payload if isinstance(message.payload, bytes) else b""
            if topic.startswith("spBv1.0/"):
                self.scada.take(topic, payload, message.qos, retain=message.retain)
            elif topic == "v1/gateway/telemetry":
                for device, entries in json.loads(payload).items():
                    for entry in entries:
                        self.boards.setdefault(device, {}).update(entry["values"])
            elif topic.startswith("homeassistant/device/"):
                self.homes[topic.split("/")[2]] = json.loads(payload)
            elif topic.endswith("/state") and "/ha/" in topic:
                self.states[topic.split("/")[3]] = json.loads(payload)

    async def take(self, request: web.Request) -> web.Response:
        for row in (await request.json()).get("readings", []):
            self.rows[row["seq"]] = row
        return web.Response()


@asynccontextmanager
async def north(broker: tuple[str, int], port: int) -> AsyncIterator[tuple[North, aiomqtt.Client]]:
    found = North()
    app = web.Application()
    app.router.add_post("/hook", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiomqtt.Client(*broker) as client:
        await client.subscribe([("spBv1.0/#", 2), ("v1/gateway/telemetry", 1), ("homeassistant/device/#", 1)])
        await client.subscribe("courtyard/maple-garden/ha/#", 1)
        listening = asyncio.create_task(found.listen(client))
        try:
            yield found, client
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            await runner.cleanup()
    if not listening.cancelled():
        listening.result()


def agrees(story: Community, far: North) -> bool:
    """Whether the host shows of every light and pump what the desk knows."""
    rows = [row for row in story.house.desk.points() if row["equipment"].startswith(("light-0", "pump-"))]
    bools = [row for row in rows if isinstance(row["value"], bool) and row["quality"] == "good"]
    shown = {
        row["id"]: far.scada.devices[row["equipment"]].current[row["name"]][0]
        for row in bools
        if row["equipment"] in far.scada.devices
    }
    return len(bools) > 10 and shown == {row["id"]: row["value"] for row in bools}


async def test_all_who_listen_north_see_the_same_community_and_can_switch_a_light(
    tmp_path: Path, mosquitto: tuple[str, int]
) -> None:
    port = free_port()
    broker = {"host": mosquitto[0], "port": mosquitto[1], "commands": True}
    over = {
        "uplinks": {
            "scada": {"type": "sparkplug", **broker},
            "board": {"type": "thingsboard", **broker},
            "home": {"type": "homeassistant", **broker},
            "erp": {"type": "webhook", "url": f"http://127.0.0.1:{port}/hook"},
        }
    }
    async with north(mosquitto, port) as (far, client), community(tmp_path, "quiet", over=over) as story:
        await story.live(15)
        found = [story.house.uplinks[name].status() for name in over["uplinks"]]
        assert [each["state"] for each in found] == ["up"] * 4, found
        await eventually(lambda: agrees(story, far), 10)
        equipment = set(story.house.site.equipment)
        await eventually(lambda: len(far.homes) == len(equipment), 10)
        assert set(far.states) == equipment
        heard = {name for name in equipment if f"maple-garden.{name}" in far.boards}
        assert heard >= {name for name in equipment if name.startswith(("pump", "light-0", "lift"))}
        await story.house.store.flush()
        log = await story.house.store.read_after(0, 100_000)
        await story.live(2)
        await eventually(lambda: {row.seq for row in log} <= far.rows.keys(), 10)
        assert all(far.rows[row.seq]["equipment"] == row.equipment for row in log)

        before = story.house.desk.live(SWITCHED)[0]
        payload = encode([(Metric(not before, None, "on"), DataType.BOOLEAN)], 1, None)
        await client.publish("spBv1.0/courtyard/DCMD/maple-garden/light-01", payload, 0)

        await asyncio.sleep(0.05)
        for _ in range(20):
            await story.live(0.5)
        await eventually(lambda: story.house.desk.live(SWITCHED)[0] is not before and agrees(story, far))
        [(_, entry)] = await story.house.ledger.journal(kind="command")
        assert (entry.subject, entry.body["who"], entry.body["result"]) == (SWITCHED, "sparkplug", "done")
    await asyncio.sleep(0)
    assert far.scada.kinds.count("NBIRTH") == 1
