"""ThingsBoard's gateway API against a real broker, with somebody on it who does what ThingsBoard does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from drivers.point import Value
from edge.clock import SystemClock
from edge.store.ledger import Entry
from edge.store.readings import Row, open_readings
from edge.uplinks import session
from edge.uplinks.drain import drain
from edge.uplinks.mqtt import Refusal
from edge.uplinks.shape import UplinkDown
from edge.uplinks.thingsboard import Settings, ThingsBoard, open_thingsboard
from tests.support import eventually
from tests.uplinks.books import alarms_are_counted_together
from tests.uplinks.sparkplug_plant import POINTS, SITE, T0_MS, Plant


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)


class Server:
    """Devices as ThingsBoard keeps them."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.types: dict[str, str] = {}
        self.connected: set[str] = set()
        self.attributes: dict[str, dict[str, Any]] = {}
        self.series: dict[tuple[str, str], dict[int, Any]] = {}
        self.answers: dict[int, dict[str, Any]] = {}
        self.longest = 0

    async def listen(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.longest = max(self.longest, len(message.payload))
            self.take(message.topic.value.removeprefix("v1/gateway/"), json.loads(message.payload))

    def take(self, topic: str, body: dict[str, Any]) -> None:
        if topic == "connect":
            self.connected.add(body["device"])
            self.types[body["device"]] = body["type"]
        elif topic == "disconnect":
            self.connected.discard(body["device"])
        elif topic == "attributes":
            for device, values in body.items():
                self.attributes.setdefault(device, {}).update(values)
        elif topic == "telemetry":
            for device, entries in body.items():
                for entry in entries:
                    for key, value in entry["values"].items():
                        assert value is not None
                        self.series.setdefault((device, key), {})[entry["ts"]] = value
        elif topic == "rpc" and "id" in body:
            self.answers[body["id"]] = body["data"]

    async def ask(self, mark: int, device: str, method: str, params: Any) -> dict[str, Any]:
        data = {"id": mark, "method": method, "params": params}
        await self.client.publish("v1/gateway/rpc", json.dumps({"device": device, "data": data}), 1)
        await eventually(lambda: mark in self.answers)
        return self.answers[mark]


@asynccontextmanager
async def thingsboard(broker: tuple[str, int]) -> AsyncIterator[Server]:
    async with aiomqtt.Client(*broker) as client:
        await client.subscribe("v1/gateway/#", 1)
        found = Server(client)
        task = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])


class Desk:
    """Carries out what it is asked of the light's switch, and refuses the rest."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []

    async def write(self, point: str, value: Value, who: str, reason: str, for_s: float | None) -> dict[str, Any]:
        self.done.append((point, value, who, reason, for_s))
        if point == "light-1.mode":
            raise RuntimeError("a mistake of ours")
        if point != "light-1.on":
            raise Refusal(f"{point} is not writable")
        return {"point": point, "after": value, "result": "done"}

    async def step(self, alarm: str, step: str, who: str, reason: str | None) -> dict[str, Any]:
        self.done.append((alarm, step, who, reason))
        return {"state": "acknowledged"}


ALARM = {
    "id": "pump-1.dry",
    "equipment": "pump-1",
    "rule": "dry",
    "priority": "high",
    "state": "unacknowledged",
    "active": True,
}


class Gateway:
    def __init__(self, broker: tuple[str, int], **more: object) -> None:
        self.plant, self.desk, self.alarms = Plant(), Desk(), [ALARM]
        self.settings = Settings.model_validate(
            {"type": "thingsboard", "host": broker[0], "port": broker[1], "username": "token-1", **more}
        )
        for equipment in POINTS:
            self.plant.read(equipment)

    @asynccontextmanager
    async def up(self) -> AsyncIterator[ThingsBoard]:
        async with open_thingsboard(
            "tb", self.settings, SITE, SystemClock(), live=self.plant.live, current_alarms=lambda: self.alarms,
            write=self.desk.write, step=self.desk.step, refusal=Refusal,
        ) as opened:  # fmt: skip
            await eventually(lambda: opened.stats.state == "up")
            yield opened


@pytest.mark.service
async def test_what_is_longer_than_a_message_is_counted_once_however_often_the_rest_is_sent(
    mosquitto: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(mosquitto, limit=1024)
    long = Row(1, T0_MS * 1_000_000, "light-1", ("on", "mode"), (True, "x" * 2000), None, None)
    async with thingsboard(mosquitto) as server, gateway.up() as uplink:
        with monkeypatch.context() as patch:

            async def fails(client: object, messages: object) -> None:
                raise UplinkDown("it did not confirm")

            patch.setattr(uplink, "confirmed", fails)
            for _ in range(3):
                with pytest.raises(UplinkDown):
                    await uplink.send([long], late=True)
        await uplink.send([long], late=True)
        await eventually(lambda: ("maple.light-1", "on") in server.series)
        assert uplink.stats.rejected == 1
        await uplink.send([long], late=True)
        assert uplink.stats.rejected == 2


@pytest.mark.service
async def test_alarms_that_come_one_after_the_other_are_counted_together(mosquitto: tuple[str, int]) -> None:
    await alarms_are_counted_together(Gateway(mosquitto))


@pytest.mark.service
async def test_every_equipment_is_a_device_with_its_class_place_and_alarms(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto)
    gateway.plant.read("pump-2", "bad/comm")
    async with thingsboard(mosquitto) as server, gateway.up() as uplink:
        await eventually(lambda: "maple.pump-2" not in server.connected and len(server.attributes) == 3)
        assert server.types == {"maple.pump-1": "pump", "maple.pump-2": "pump", "maple.light-1": "light"}
        assert server.connected == {"maple.pump-1", "maple.light-1"}
        told = server.attributes["maple.pump-1"]
        assert (told["location"], told["profile"], told["alarms_active"]) == ("地下", "x/y", 1)
        assert (told["alarm_priority"], [alarm["rule"] for alarm in told["alarms"]]) == ("high", ["dry"])
        gateway.alarms = []
        uplink.announce("alarm", "pump-1.dry", {**ALARM, "state": "normal"})
        await eventually(lambda: server.attributes["maple.pump-1"]["alarms"] == [])
        assert server.attributes["maple.pump-1"]["alarm_priority"] == ""
        await uplink.send([gateway.plant.read("pump-2")], late=False)
        await eventually(lambda: "maple.pump-2" in server.connected)


@pytest.mark.service
async def test_readings_and_events_arrive_at_their_own_time_in_messages_below_the_limit(
    mosquitto: tuple[str, int],
) -> None:
    gateway = Gateway(mosquitto, limit=1024)
    plant = gateway.plant
    async with thingsboard(mosquitto) as server, gateway.up() as uplink:
        rows = []
        for n in range(200):
            plant.now_ms += 1
            rows.append(plant.read(list(POINTS)[n % 3]))
        await uplink.send(rows, late=True)
        await uplink.send_journal([(1, Entry("alarm", "pump-1.dry", 5_000_000, {"event": "raised", "alarm": ALARM}))])
        await eventually(lambda: ("maple.pump-1", "alarm_event") in server.series)
        assert server.series["maple.pump-1", "alarm_event"] == {5: "raised"}
        assert server.longest <= 1024
        for row in rows:
            for point, value in zip(row.points, row.values, strict=True):
                assert server.series[f"maple.{row.equipment}", point][row.time_ns // 1_000_000] == value


@pytest.mark.service
async def test_requests_are_carried_out_answered_and_refused_with_the_reason(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto, commands=True)
    light = "maple.light-1"
    async with thingsboard(mosquitto) as server, gateway.up() as uplink:
        value = gateway.plant.live("light-1.mode")[0]
        assert (await server.ask(1, light, "read", "mode"))["value"] == value
        assert (await server.ask(2, light, "read", {"point": "mode"}))["quality"] == "good"
        assert (await server.ask(3, light, "on", True))["ok"] is True
        asked = {"point": "on", "value": False, "who": "Li", "reason": "dusk", "for_s": 60}
        assert (await server.ask(4, light, "write", asked))["after"] is False
        assert await server.ask(5, "maple.pump-1", "ack", {"alarm": "dry"}) == {"ok": True, "state": "acknowledged"}
        assert gateway.desk.done == [
            ("light-1.on", True, "thingsboard", "request from ThingsBoard", None),
            ("light-1.on", False, "Li", "dusk", 60),
            ("pump-1.dry", "ack", "thingsboard", "request from ThingsBoard"),
        ]
        for mark, (device, method, params, why) in enumerate(
            (
                ("maple.pump-1", "pressure", 1.5, "pump-1.pressure is not writable"),
                (light, "mode", "x", "failed; the gateway's log says why"),
                (light, "dance", None, "no method 'dance'"),
                (light, "write", {"point": "off", "value": 1}, "no point 'off' of light-1"),
                (light, "write", {"point": "on"}, 'no "value"'),
                (light, "on", {"value": True, "who": 7}, '"who" is int'),
                (light, "on", {"value": True, "who": "x" * 81}, '"who" has 81 characters'),
                (light, "on", {"value": True, "for_s": "1h"}, "\"for_s\" is '1h'"),
                (light, "ack", {}, 'no "alarm"'),
                (light, "read", "off", "no point 'off'"),
                ("elsewhere", "read", "on", "no device elsewhere"),
            ),
            start=10,
        ):
            told = await server.ask(mark, device, method, params)
            assert told["ok"] is False
            assert why in told["error"]
        assert uplink.refused == 11
        await server.client.publish("v1/gateway/rpc", b"{", 1)
        await eventually(lambda: uplink.refused == 12)
        assert uplink.stats.state == "up"


@pytest.mark.service
async def test_nothing_is_written_unless_the_site_file_says_so(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto)
    async with thingsboard(mosquitto) as server, gateway.up():
        assert "set commands: true" in (await server.ask(1, "maple.light-1", "on", True))["error"]
        assert (await server.ask(2, "maple.light-1", "read", "on"))["ok"] is True
    assert gateway.desk.done == []


@pytest.mark.service
async def test_a_connection_that_goes_again_and_again_costs_no_reading(
    mosquitto: tuple[str, int], tmp_path: Path
) -> None:
    gateway = Gateway(mosquitto)
    plant, rows = gateway.plant, []
    async with (
        thingsboard(mosquitto) as server,
        open_readings(tmp_path / "readings.db", 0.05) as store,
        gateway.up() as uplink,
    ):
        task = asyncio.create_task(
            drain(store, "tb", uplink.send, SystemClock(), uplink.stats, limit=20, linger_s=0.01)
        )
        try:
            for _ in range(3):
                for _ in range(60):
                    plant.now_ms += 1
                    rows.append(plant.read("pump-1"))
                    store.append("pump-1", rows[-1].points, rows[-1].values, None, rows[-1].time_ns)
                await asyncio.sleep(0.02)
                if uplink._client is not None:
                    wire = uplink._client._client.socket()
                    if isinstance(wire, socket.socket):
                        wire.shutdown(socket.SHUT_RDWR)
                await asyncio.sleep(0.05)
            await eventually(lambda: len(server.series.get(("maple.pump-1", "starts"), ())) == 180, 20)
            await eventually(lambda: uplink.stats.behind() == 0)
        finally:
            task.cancel()
            await asyncio.wait([task])
    for row in rows:
        assert server.series["maple.pump-1", "starts"][row.time_ns // 1_000_000] == row.values[2]


@pytest.mark.parametrize(
    "name",
    [
        "pump",
        "{site}",
        "{equipment}{0}",
        "{equipment",
        "{other}{equipment}",
        "{site.x}{equipment}",
        "{site[a]}{equipment}",
    ],
)
def test_a_device_name_must_tell_equipment_apart(name: str) -> None:
    with pytest.raises(ValidationError, match=r"is no name|gives all devices one name"):
        Settings.model_validate({"type": "thingsboard", "device": name})


def test_the_token_is_no_part_of_what_is_shown_of_a_password() -> None:
    settings = Settings.model_validate({"type": "thingsboard", "username": "t", "password": "secret-1"})
    assert settings.device == "{site}.{equipment}"
    assert "secret-1" not in repr(settings)
