"""Home Assistant on a real broker: devices appear, show, obey, and go with their equipment."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from drivers.point import Value
from edge.clock import SystemClock
from edge.uplinks import session
from edge.uplinks.homeassistant import HomeAssistant, Settings, open_homeassistant
from edge.uplinks.mqtt import Refusal
from edge.uplinks.shape import SiteView
from tests.support import eventually
from tests.uplinks.books import alarms_are_counted_together
from tests.uplinks.sparkplug_plant import POINTS, SITE, Plant

BASE = "courtyard/maple/ha"
ALARM = {"id": "pump-1.dry", "equipment": "pump-1", "rule": "dry", "state": "unacknowledged", "active": True}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)


class Assistant:
    """Keeps what is retained, as Home Assistant would find it after a restart."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.kept: dict[str, bytes] = {}
        self.heard: list[tuple[str, bytes]] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self.heard.append((message.topic.value, payload))
            if payload:
                self.kept[message.topic.value] = payload
            else:
                self.kept.pop(message.topic.value, None)

    def devices(self) -> dict[str, Any]:
        """Configurations by the id in their topic."""
        return {name: json.loads(self.kept[f"homeassistant/device/{name}/config"]) for name in self.names()}

    def names(self) -> set[str]:
        """Ids in the topics of configurations."""
        return {topic.split("/")[2] for topic in self.kept if topic.startswith("homeassistant/device/")}

    def shows(self, equipment: str, point: str) -> Any:
        """What an entity reads; None where its device is not available."""
        available = [self.kept.get(f"{BASE}/status"), self.kept.get(f"{BASE}/{equipment}/availability")]
        state = self.kept.get(f"{BASE}/{equipment}/state")
        return json.loads(state)[point] if available == [b"online"] * 2 and state else None

    def alarm(self, equipment: str) -> str | None:
        """State of the alarm entity."""
        state = self.kept.get(f"{BASE}/{equipment}/alarms")
        return json.loads(state)["state"] if state else None


@asynccontextmanager
async def assistant(broker: tuple[str, int]) -> AsyncIterator[Assistant]:
    async with aiomqtt.Client(*broker) as client:
        await client.subscribe([("homeassistant/device/#", 1), (f"{BASE}/#", 1)])
        found = Assistant(client)
        task = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])


class Gateway:
    def __init__(self, broker: tuple[str, int], site: SiteView = SITE, **more: object) -> None:
        self.site, self.plant = site, Plant()
        self.alarms = [ALARM]
        self.done: list[tuple[object, ...]] = []
        self.settings = Settings.model_validate(
            {"type": "homeassistant", "host": broker[0], "port": broker[1], **more}
        )
        for equipment in POINTS:
            self.plant.read(equipment)

    async def write(self, point: str, value: Value, who: str, reason: str, for_s: float | None) -> dict[str, Any]:
        self.done.append((point, value, who, reason, for_s))
        if point != "light-1.on":
            raise Refusal(f"{point} is not writable")
        self.plant.newest[point] = (value, "good", 1)
        return {"result": "done"}

    @asynccontextmanager
    async def up(self) -> AsyncIterator[HomeAssistant]:
        async with open_homeassistant(
            "ha", self.settings, self.site, SystemClock(), live=self.plant.live, current_alarms=lambda: self.alarms,
            write=self.write, refusal=Refusal,
        ) as opened:  # fmt: skip
            await eventually(lambda: opened.stats.state == "up")
            yield opened


@pytest.mark.service
async def test_alarms_that_come_one_after_the_other_are_counted_together(mosquitto: tuple[str, int]) -> None:
    await alarms_are_counted_together(Gateway(mosquitto))


@pytest.mark.service
async def test_every_equipment_is_a_device_that_shows_its_newest_values_and_alarms(
    mosquitto: tuple[str, int],
) -> None:
    gateway = Gateway(mosquitto)
    async with assistant(mosquitto) as others:
        async with gateway.up() as uplink:
            await eventually(lambda: len(others.devices()) == 3 and others.alarm("light-1"))
            config = others.devices()["courtyard_maple_pump-1"]
            assert config["dev"]["name"] == "pump-1"
            assert config["cmps"]["pressure"]["unit_of_meas"] == "MPa"
            assert config["cmps"]["running"]["dev_cla"] == "running"
            assert others.shows("pump-1", "pressure") == 0.25
            assert (others.alarm("pump-1"), others.alarm("light-1")) == ("ON", "OFF")
            heard = len(others.heard)
            await uplink.send([gateway.plant.read("pump-1")], late=True)
            await uplink.send([gateway.plant.read("pump-1")], late=False)
            await eventually(lambda: others.shows("pump-1", "pressure") == 1.25)
            assert len(others.heard) == heard + 1
            assert uplink.stats.passed == 1
            await uplink.send([gateway.plant.read("pump-1", "bad/comm")], late=False)
            await eventually(lambda: others.kept[f"{BASE}/pump-1/availability"] == b"offline")
            gateway.alarms = []
            uplink.announce("alarm", "pump-1.dry", {**ALARM, "state": "normal"})
            await eventually(lambda: others.alarm("pump-1") == "OFF")
        await eventually(lambda: others.kept[f"{BASE}/status"] == b"offline")


@pytest.mark.service
async def test_a_number_that_json_cannot_hold_costs_nobody_anything(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto)
    gateway.plant.newest["pump-1.starts"] = (10**30, "good", 1)
    gateway.plant.newest["light-1.mode"] = ("\ud800", "good", 1)
    async with assistant(mosquitto) as others, gateway.up():
        await eventually(lambda: others.shows("pump-1", "starts") == str(10**30))
        assert others.shows("light-1", "mode") == "?"
        assert others.shows("pump-1", "pressure") == 0.25


@pytest.mark.service
async def test_a_device_that_left_the_site_goes_and_those_of_others_stay(mosquitto: tuple[str, int]) -> None:
    async with assistant(mosquitto) as others:
        async with Gateway(mosquitto).up():
            await eventually(lambda: len(others.devices()) == 3)
        foreign = json.dumps({"dev": {"ids": ["courtyard/maple-2/pump-2"]}})
        await others.client.publish("homeassistant/device/courtyard_maple_2_pump-2/config", foreign, 1, retain=True)
        await others.client.publish("homeassistant/device/odd/config", "{", 1, retain=True)
        equipment = {name: view for name, view in SITE.equipment.items() if name != "pump-2"}
        points = {
            name: view
            for name, view in SITE.points.items()
            if name != "light-1.mode" and not name.startswith("pump-2")
        }
        async with Gateway(mosquitto, replace(SITE, equipment=equipment, points=points)).up():
            await eventually(lambda: "courtyard_maple_pump-2" not in others.names())
            await eventually(lambda: f"{BASE}/pump-2/state" not in others.kept)
            topic = "homeassistant/device/courtyard_maple_light-1/config"

            def parted() -> bool:
                told = [json.loads(payload)["cmps"].get("mode") for at, payload in others.heard if at == topic]
                return told[-2:] == [{"p": "sensor"}, None]

            await eventually(parted)
        async with assistant(mosquitto) as newcomer:
            await eventually(lambda: f"{BASE}/status" in newcomer.kept)
            assert newcomer.names() == {
                "courtyard_maple_pump-1", "courtyard_maple_light-1", "courtyard_maple_2_pump-2", "odd",
            }  # fmt: skip


@pytest.mark.service
async def test_a_storm_of_alarms_and_a_site_that_shrinks_leave_nothing_untold(mosquitto: tuple[str, int]) -> None:
    many = {f"e-{n}": SITE.equipment["pump-1"] for n in range(100)}
    large = replace(SITE, equipment={**SITE.equipment, **many})
    async with assistant(mosquitto) as others:
        gateway = Gateway(mosquitto, large)
        async with gateway.up() as uplink:
            await eventually(lambda: others.alarm("e-99") == "OFF")
            gateway.alarms = [{**ALARM, "equipment": name} for name in many]
            for _ in range(50):
                for alarm in gateway.alarms:
                    uplink.announce("alarm", str(alarm["id"]), alarm)
            await eventually(lambda: all(others.alarm(name) == "ON" for name in many))
            assert len(others.names()) == 103
        async with Gateway(mosquitto).up():
            await eventually(lambda: len(others.names()) == 3)


@pytest.mark.service
async def test_everything_is_told_again_when_home_assistant_has_come_up(mosquitto: tuple[str, int]) -> None:
    async with assistant(mosquitto) as others, Gateway(mosquitto).up():
        await eventually(lambda: others.alarm("light-1"))
        others.kept.clear()
        await others.client.publish("homeassistant/status", "offline", 1)
        await others.client.publish("homeassistant/status", "online", 1)
        await eventually(lambda: len(others.devices()) == 3 and others.shows("light-1", "mode"))


@pytest.mark.service
async def test_commands_are_carried_out_and_the_state_is_told_in_any_case(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto, commands=True)
    async with assistant(mosquitto) as others, gateway.up() as uplink:
        await eventually(lambda: others.shows("light-1", "on"))
        topic = others.devices()["courtyard_maple_light-1"]["cmps"]["on"]["cmd_t"]
        assert others.shows("light-1", "on") == "OFF"
        await others.client.publish(topic, "ON", 1)
        await eventually(lambda: others.shows("light-1", "on") == "ON")
        assert gateway.done == [("light-1.on", True, "homeassistant", "command from Home Assistant", None)]
        heard = len(others.heard)
        await others.client.publish(f"{BASE}/light-1/mode/set", "party", 1)
        await eventually(lambda: uplink.refused == 1)
        await eventually(lambda: f"{BASE}/light-1/state" in [t for t, _ in others.heard[heard + 1 :]])
        await others.client.publish(topic, "maybe", 1)
        await others.client.publish(f"{BASE}/light-1/off/set", "ON", 1)
        await eventually(lambda: uplink.refused == 3)
        assert len(gateway.done) == 2
        assert uplink.stats.state == "up"


@pytest.mark.service
async def test_without_leave_nothing_can_be_switched(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto)
    async with assistant(mosquitto) as others, gateway.up() as uplink:
        await eventually(lambda: len(others.devices()) == 3)
        assert others.devices()["courtyard_maple_light-1"]["cmps"]["on"]["p"] == "binary_sensor"
        await others.client.publish(f"{BASE}/light-1/on/set", "ON", 1)
        await uplink.send([gateway.plant.read("light-1")], late=False)
    assert gateway.done == []


@pytest.mark.service
async def test_the_will_makes_all_unavailable_and_the_gateway_comes_back_by_itself(
    mosquitto: tuple[str, int],
) -> None:
    async with assistant(mosquitto) as others, Gateway(mosquitto).up() as uplink:
        await eventually(lambda: others.shows("pump-1", "pressure"))
        assert uplink._client is not None
        wire = uplink._client._client.socket()
        assert isinstance(wire, socket.socket)
        wire.shutdown(socket.SHUT_RDWR)

        def statuses() -> list[bytes]:
            return [payload for topic, payload in others.heard if topic == f"{BASE}/status"]

        await eventually(lambda: statuses() == [b"online", b"offline", b"online"])
        await eventually(lambda: uplink.stats.state == "up")


def test_settings_refuse_a_prefix_with_wildcards() -> None:
    for key in ("discovery", "prefix"):
        for prefix in ("a/#", "+", "/a", ""):
            with pytest.raises(ValidationError):
                Settings.model_validate({"type": "homeassistant", key: prefix})
