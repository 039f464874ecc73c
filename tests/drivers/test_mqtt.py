"""Devices behind a broker: the embedded one everywhere, and a real Mosquitto."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import orjson
import pytest
from pydantic import SecretStr, ValidationError

from drivers import mqtt
from drivers.driver import ConnectionDown, DeviceSilent, Refused
from drivers.mqtt import MQTT, MqttLink, MqttSettings
from drivers.mqtt_topics import MqttKeys, matcher
from drivers.payload import encode_message
from drivers.payload_keys import Messages, PayloadPoint, WriteKeys
from drivers.point import Device, Quality
from edge.clock import ManualClock
from simulators.broker import embedded_broker
from tests.drivers.devices import Heard, device, listening
from tests.support import eventually, free_port, need, running

Address = tuple[str, int]

LORA = Messages.model_validate(
    {
        "up": {
            "topic": "application/+/device/{device}/event/up",
            "payload": "data",
            "time": "time",
            "id": "deduplicationId",
        }
    }
)
ZIGBEE = Messages.model_validate(
    {
        "state": {"topic": "zigbee2mqtt/{device}"},
        "availability": {"topic": "zigbee2mqtt/{device}/availability"},
    }
)
BATTERY = PayloadPoint(tlv="0175", type="uint8")
TEMPERATURE = PayloadPoint(tlv="0367", type="int16", scale=0.1)


def lora_bin(name: str, eui: str, stale_after_s: float = 0) -> Device:
    points = {"battery": BATTERY, "temperature": TEMPERATURE}
    return device(name, MqttKeys(device=eui), LORA, {n: ("float", k) for n, k in points.items()}, stale_after_s)


def light(name: str, friendly: str) -> Device:
    points = {
        "on": PayloadPoint(
            message="state",
            path="state",
            map={"ON": True, "OFF": False},
            write=WriteKeys(topic="zigbee2mqtt/{device}/set", body='{"state": "{value}"}'),
        ),
        "reachable": PayloadPoint(message="availability", path="state", map={"online": True, "offline": False}),
    }
    return device(name, MqttKeys(device=friendly), ZIGBEE, {n: ("bool", k) for n, k in points.items()})


def uplink(battery: float, temperature: float, **more: Any) -> bytes:
    body: dict[str, Any] = orjson.loads(
        encode_message(LORA.by_name["up"], [(BATTERY, battery), (TEMPERATURE, temperature)])
    )
    return orjson.dumps(body | more)


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.service)])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Address]:
    """A fresh broker of each kind."""
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto")
    else:
        async with embedded_broker() as address:
            yield address


@asynccontextmanager
async def hearing(
    broker: Address, devices: list[Device], clock: ManualClock | None = None, **more: Any
) -> AsyncIterator[tuple[Heard, MqttLink]]:
    settings = MqttSettings(type="mqtt", host=broker[0], port=broker[1], **more)
    async with MQTT.open("broker", settings, devices, clock or ManualClock()) as link:
        assert isinstance(link, MqttLink)
        async with listening(link) as heard:
            yield heard, link


def sender(broker: Address) -> aiomqtt.Client:
    return aiomqtt.Client(*broker, timeout=5)


async def test_uplinks_become_batches_with_the_devices_own_time(broker: Address) -> None:
    async with hearing(broker, [lora_bin("bin-1", "24e1-1"), lora_bin("bin-2", "24e1-2")]) as (heard, link):
        async with sender(broker) as client:
            body = uplink(92, 25.7, time="2026-03-02T10:31:05Z", deduplicationId="a")
            await client.publish("application/7/device/24e1-2/event/up", body, qos=1)
            await eventually(lambda: heard.batches)
        (batch,) = heard.batches
        assert heard.readings("bin-2") == {"battery": (92.0, Quality.GOOD), "temperature": (25.7, Quality.GOOD)}
        assert batch.source_time_ns == 1_772_447_465_000_000_000
        assert (link.tally.messages, link.tally.bad_frames) == (1, 0)


async def test_the_same_message_twice_is_told_once(broker: Address) -> None:
    async with hearing(broker, [lora_bin("bin-1", "24e1")]) as (heard, link), sender(broker) as client:
        for identity in ("a", "a", "b"):
            await client.publish(
                "application/7/device/24e1/event/up", uplink(92, 25.7, deduplicationId=identity), qos=1
            )
        await eventually(lambda: link.tally.messages == 3)
        await eventually(lambda: len(heard.batches) == 2)
        assert link.tally.detail == {"duplicates": 1}
        first, second = heard.batches
        assert first.block is second.block
        assert first.values is second.values  # nothing changed: whoever keeps the last may skip the work


@pytest.mark.parametrize("rubbish", [b'{"data": "AXVc"', b"{}", b'{"data": "AXU="}', b'{"data": "/wsB"}'])
async def test_a_bad_message_is_counted_and_leaves_doubt_until_the_next_good_one(
    rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        embedded_broker() as broker,
        hearing(broker, [lora_bin("bin-1", "24e1"), lora_bin("bin-2", "24e2")]) as (heard, link),
        sender(broker) as client,
    ):
        for body in (uplink(92, 25.7), rubbish, rubbish):
            await client.publish("application/7/device/24e1/event/up", body, qos=1)
        await eventually(lambda: link.tally.bad_frames == 2)
        await eventually(lambda: heard.readings("bin-1")["battery"] == (92.0, Quality.UNCERTAIN_STALE))
        assert len(heard.batches) == 2
        assert len([r for r in caplog.records if "bin-1: message up cannot be used" in r.getMessage()]) == 1
        await client.publish("application/7/device/24e1/event/up", uplink(91, 25.7), qos=1)
        await eventually(lambda: heard.readings("bin-1")["battery"] == (91.0, Quality.GOOD))
        assert heard.readings("bin-2") == {}


async def test_one_word_that_the_profile_does_not_know_leaves_the_other_messages_alone() -> None:
    async with (
        embedded_broker() as broker,
        hearing(broker, [light("lamp", "Gate/Left lamp")]) as (heard, link),
        sender(broker) as client,
    ):
        await client.publish("zigbee2mqtt/Gate/Left lamp/availability", '{"state": "online"}', qos=1)
        await client.publish("zigbee2mqtt/Gate/Left lamp", '{"state": "ON"}', qos=1)
        await client.publish("zigbee2mqtt/Gate/Left lamp", '{"state": "DIM"}', qos=1)
        await eventually(lambda: link.tally.bad_frames == 1)
        await eventually(lambda: heard.readings("lamp")["on"] == (True, Quality.UNCERTAIN_STALE))
        assert heard.readings("lamp")["reachable"] == (True, Quality.GOOD)


async def test_what_was_retained_before_we_came_is_read(broker: Address) -> None:
    async with sender(broker) as client:
        await client.publish("zigbee2mqtt/lamp/availability", '{"state": "online"}', qos=1, retain=True)
    async with hearing(broker, [light("lamp", "lamp")]) as (heard, _):
        await eventually(lambda: heard.readings("lamp") == {"reachable": (True, Quality.GOOD)})


class Lamp:
    """A lamp that does as it is told, or not."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.ready = asyncio.Event()
        self.answers = True

    async def live(self, broker: Address) -> None:
        async with sender(broker) as client:
            await client.subscribe("zigbee2mqtt/lamp/set", qos=1)
            self.ready.set()
            async for message in client.messages:
                self.commands.append(bytes(message.payload))
                if self.answers:
                    await client.publish("zigbee2mqtt/lamp", message.payload, qos=1)


@asynccontextmanager
async def living(lamp: Lamp, broker: Address) -> AsyncIterator[None]:
    task = asyncio.create_task(lamp.live(broker))
    try:
        await asyncio.wait_for(lamp.ready.wait(), 5)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_command_is_sent_in_the_devices_words_and_read_back(broker: Address) -> None:
    one, lamp = light("lamp", "lamp"), Lamp()
    async with hearing(broker, [one]) as (heard, link), living(lamp, broker):
        assert await link.write(one, one.points[0], True) is True
        assert await link.write(one, one.points[0], False) is False
        assert lamp.commands == [b'{"state": "ON"}', b'{"state": "OFF"}']
        await eventually(lambda: heard.of("lamp.on") == [True, False])


async def test_a_device_that_does_not_answer_a_command_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "READ_BACK_S", 0.1)
    one, lamp = light("lamp", "lamp"), Lamp()
    lamp.answers = False
    async with embedded_broker() as broker, hearing(broker, [one]) as (_, link), living(lamp, broker):
        with pytest.raises(DeviceSilent, match=r"lamp\.on: command sent to zigbee2mqtt/lamp/set, but lamp has not"):
            await link.write(one, one.points[0], True)
        assert link.tally.timeouts == 1
        await eventually(lambda: lamp.commands == [b'{"state": "ON"}'])


async def test_a_point_that_has_no_way_to_be_written_is_refused() -> None:
    one = light("lamp", "lamp")
    async with embedded_broker() as broker, hearing(broker, [one]) as (_, link):
        with pytest.raises(Refused, match=r"lamp\.reachable cannot be written: its profile has no `write`"):
            await link.write(one, one.points[1], True)
        with pytest.raises(Refused, match=r"lamp\.on cannot be set to 'bright'"):
            await link.write(one, one.points[0], "bright")


async def test_a_silent_device_goes_stale_once_and_its_neighbour_does_not() -> None:
    clock = ManualClock()
    devices = [lora_bin("bin-1", "24e1", stale_after_s=60), lora_bin("bin-2", "24e2", stale_after_s=600)]
    async with (
        embedded_broker() as broker,
        hearing(broker, devices, clock) as (heard, link),
        sender(broker) as client,
    ):
        await client.publish("application/7/device/24e1/event/up", uplink(92, 25.7), qos=1)
        await eventually(lambda: heard.batches)
        for _ in range(4):
            await eventually(clock.sleeping)
            clock.advance(61)
        await eventually(lambda: heard.readings("bin-1")["battery"] == (92.0, Quality.BAD_STALE))
        assert heard.readings("bin-2") == {}
        assert len(heard.batches) == 2
        await client.publish("application/7/device/24e1/event/up", uplink(90, 25.7), qos=1)
        await eventually(lambda: heard.readings("bin-1")["battery"] == (90.0, Quality.GOOD))
        assert link.tally.detail == {"stale": 1}


async def test_a_broker_that_is_not_there_says_so() -> None:
    port = free_port()
    with pytest.raises(
        ConnectionDown, match=f"broker: the broker 127.0.0.1:{port} cannot be reached: .*is it running"
    ):
        async with hearing(("127.0.0.1", port), []):
            pass


async def test_something_else_than_a_broker_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            ConnectionDown, match="does not answer; are host and port right, and is it MQTT without TLS"
        ):
            async with hearing(("127.0.0.1", port), []):
                pass


async def test_a_broker_that_goes_takes_the_connection_down() -> None:
    async with embedded_broker() as broker:
        settings = MqttSettings(type="mqtt", host=broker[0], port=broker[1])
        entered = MQTT.open("broker", settings, [lora_bin("bin-1", "24e1")], ManualClock())
        link = await entered.__aenter__()
        assert isinstance(link, MqttLink)
    try:
        async with listening(link) as heard:
            error = await eventually(lambda: heard.error)
            assert isinstance(error, ConnectionDown)
            assert f"the broker 127.0.0.1:{broker[1]} has gone" in str(error)
    finally:
        await entered.__aexit__(None, None, None)


async def test_what_nobody_takes_is_bounded_and_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.listening.QUEUE", 4)
    monkeypatch.setattr(mqtt, "INBOX", 8)
    async with embedded_broker() as broker:
        settings = MqttSettings(type="mqtt", host=broker[0], port=broker[1])
        async with MQTT.open("broker", settings, [lora_bin("bin-1", "24e1")], ManualClock()) as link:
            assert isinstance(link, MqttLink)
            async with sender(broker) as client:
                for number in range(60):
                    await client.publish("application/7/device/24e1/event/up", uplink(number, 20), qos=1)
            await eventually(lambda: link.tally.detail.get("dropped", 0) >= 60 - 4 - 8 - 2)
            async with listening(link) as heard:
                await eventually(lambda: heard.of("bin-1.battery")[-1:] == [59.0])


def mosquitto_with(folder: Path, port: int, *lines: str) -> list[str]:
    """A Mosquitto with further lines of configuration, as a command to run; it reads files of the test's folder."""
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", *lines, ""]))
    return [need("mosquitto", "mosquitto"), "-c", str(config)]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Address]:
    """A broker that lets in `gate` with the password `right` and shows it `zigbee2mqtt/#`."""
    port, passwords, acl = free_port(), tmp_path / "passwords", tmp_path / "acl"
    subprocess.run([need("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), "gate", "right"], check=True)
    acl.write_text("user gate\ntopic read zigbee2mqtt/#\n")
    lines = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {acl}")
    with running(mosquitto_with(tmp_path, port, *lines), port, tmp_path / "mosquitto.log"):
        yield "127.0.0.1", port


@pytest.mark.service
async def test_wrong_credentials_say_what_to_check(guarded: Address) -> None:
    for username, password in ((None, None), ("gate", SecretStr("wrong"))):
        with pytest.raises(ConnectionDown, match=f"127.0.0.1:{guarded[1]} .*check username") as raised:
            async with hearing(guarded, [], username=username, password=password):
                pass
        assert "wrong" not in str(raised.value)
    async with hearing(guarded, [light("lamp", "lamp")], username="gate", password=SecretStr("right")) as (_, link):
        assert link.tally.messages == 0


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[Address, Path]]:
    """A broker with TLS, and the file of the authority that signed its certificate."""
    port, key, certificate = free_port(), tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    lines = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    with running(mosquitto_with(tmp_path, port, *lines), port, tmp_path / "mosquitto.log"):
        yield ("127.0.0.1", port), certificate


# paho leaves the socket of a failed handshake to the garbage collector, where nobody can reach it
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.service
async def test_a_broker_with_tls_is_believed_only_by_its_own_authority(encrypted: tuple[Address, Path]) -> None:
    broker, certificate = encrypted
    async with hearing(broker, [], tls=True, ca=certificate) as (_, link):
        assert link.tally.messages == 0
    with pytest.raises(ConnectionDown, match=r"cannot be reached: .*certificate verify failed"):
        async with hearing(broker, [], tls=True):
            pass
    with pytest.raises(ConnectionDown, match=r"ca: .*nowhere\.pem cannot be used"):
        async with hearing(broker, [], tls=True, ca=certificate.parent / "nowhere.pem"):
            pass


@pytest.mark.parametrize(
    ("template", "topic", "found"),
    [
        ("application/+/device/{device}/event/up", "application/7/device/24e1/event/up", "24e1"),
        ("application/+/device/{device}/event/up", "application/7/8/device/24e1/event/up", None),
        ("{device}/#", "lamp", "lamp"),
        ("a.b/{device}/#", "a.b/lamp/x/y", "lamp"),
        ("+/{device}/+", "a/lamp/b", "lamp"),
        ("+/{device}/+", "a/lamp/b/c", None),
        ("a+b/{device}/+", "a+b/lamp/", "lamp"),
        ("a.b/{device}/#", "axb/lamp", None),
        ("+/sensor-{device}/{device}/state", "x/sensor-7/7/state", "7"),
        ("+/sensor-{device}/{device}/state", "x/sensor-7/8/state", None),
    ],
)
def test_a_topic_template_finds_the_device(template: str, topic: str, found: str | None) -> None:
    match = matcher(template).fullmatch(topic)
    assert (match["device"] if match else None) == found


def test_a_name_with_slashes_fills_several_levels() -> None:
    match = matcher("zigbee2mqtt/{device}/#", slashes=1).fullmatch("zigbee2mqtt/gate/lamp/state")
    assert match
    assert match["device"] == "gate/lamp"


@pytest.mark.parametrize("name", ["", "a+", "#", "/lamp", "lamp ", 24e5, 12])
def test_a_device_name_that_cannot_stand_in_a_topic_is_a_mistake(name: Any) -> None:
    with pytest.raises(ValidationError):
        MqttKeys.model_validate({"device": name})


def test_a_password_is_never_printed() -> None:
    assert "hush" not in repr(MqttSettings(type="mqtt", username="a", password=SecretStr("hush")))
