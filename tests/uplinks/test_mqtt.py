"""MQTT north against a real broker: what others on it see, also when it goes and comes back."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from drivers.point import Value
from edge.clock import SystemClock
from edge.store.readings import ReadingsStore, Row, open_readings
from edge.uplinks import broker, session
from edge.uplinks.drain import drain
from edge.uplinks.mqtt import MqttNorth, Refusal, Settings, open_mqtt
from edge.uplinks.outbox import Outbox
from edge.uplinks.shape import EquipmentView, SiteView, UplinkDown
from tests.support import eventually, free_port, need, running

SITE = SiteView("maple", {"light-1": EquipmentView("light", "light/relay", "北门", "1号灯")})
TIME_NS = 1_772_447_465_123_456_789
ALARM = {"id": "light-1.out", "state": "unacknowledged", "name": {"zh": "灯不亮", "en": "Lamp out"}}


class Ear:
    """Somebody else on the broker: hears everything below the site, in order."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[tuple[str, Any, bool]] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            if message.topic.value.endswith("/set"):
                continue
            body = json.loads(payload) if payload else None
            self.heard.append((message.topic.value.removeprefix("courtyard/maple/"), body, message.retain))

    def on(self, topic: str) -> list[Any]:
        """All bodies on one topic so far."""
        return [body for heard, body, _ in self.heard if heard == topic]

    async def say(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        await self.client.publish(f"courtyard/maple/{topic}", payload, 1, retain)


@asynccontextmanager
async def ear(broker: tuple[str, int]) -> AsyncIterator[Ear]:
    async with aiomqtt.Client(*broker) as client:
        await client.subscribe("courtyard/maple/#", 1)
        heard = Ear(client)
        task = asyncio.create_task(heard.listen())
        yield heard
        task.cancel()
        await asyncio.wait([task])


def settings(broker: tuple[str, int], **more: object) -> Settings:
    return Settings.model_validate({"type": "mqtt", "host": broker[0], "port": broker[1], **more})


def row(seq: int, value: Value = 1.5, quality: str | None = None) -> Row:
    marks = None if quality is None else ("good", quality)
    return Row(seq, TIME_NS, "light-1", ("power", "on"), (12.5, value), marks, None)


@asynccontextmanager
async def north(broker: tuple[str, int], **more: Any) -> AsyncIterator[MqttNorth]:
    """A connected uplink."""
    keys = {key: more.pop(key) for key in ("commands",) if key in more}
    async with open_mqtt("north", settings(broker, **keys), SITE, SystemClock(), **more) as uplink:
        await eventually(lambda: uplink.stats.state == "up")
        yield uplink


@pytest.mark.service
async def test_readings_status_and_qualities_are_on_their_topics(mosquitto: tuple[str, int]) -> None:
    async with ear(mosquitto) as others:
        async with north(mosquitto) as uplink:
            await uplink.send([row(1, True), row(2, None, "bad/comm")], late=False)
        await eventually(lambda: len(others.on("status")) == 2)
    assert others.on("light-1/readings") == [
        {"time": "2026-03-02T10:31:05.123456Z", "values": {"power": 12.5, "on": True}},
        {
            "time": "2026-03-02T10:31:05.123456Z",
            "values": {"power": 12.5, "on": None},
            "quality": {"on": "bad/comm"},
        },
    ]
    assert others.on("status") == [{"state": "online"}, {"state": "offline"}]


@pytest.mark.service
async def test_many_readings_are_in_flight_at_once_and_all_arrive(mosquitto: tuple[str, int]) -> None:
    async with ear(mosquitto) as others, north(mosquitto) as uplink:
        await uplink.send([row(n, n) for n in range(500)], late=False)
        await eventually(lambda: len(others.on("light-1/readings")) == 500)
    assert sorted(body["values"]["on"] for body in others.on("light-1/readings")) == list(range(500))


@pytest.mark.service
async def test_a_connection_that_goes_while_readings_are_out_ends_the_wait_at_once(
    mosquitto: tuple[str, int],
) -> None:
    async with north(mosquitto) as uplink:
        assert uplink._client is not None
        wire = uplink._client._client.socket()
        assert isinstance(wire, socket.socket)
        sending = asyncio.create_task(uplink.send([row(n, n) for n in range(500)], late=False))
        await asyncio.sleep(0)
        wire.shutdown(socket.SHUT_RDWR)
        with pytest.raises(UplinkDown, match=f"broker 127.0.0.1:{mosquitto[1]}"):
            async with asyncio.timeout(5):
                await sending


@pytest.mark.service
async def test_the_will_speaks_for_a_gateway_that_falls_silent_and_it_comes_back_by_itself(
    mosquitto: tuple[str, int],
) -> None:
    async with ear(mosquitto) as others, north(mosquitto) as uplink:
        await eventually(lambda: others.on("status"))
        assert uplink._client is not None
        wire = uplink._client._client.socket()
        assert isinstance(wire, socket.socket)
        wire.shutdown(socket.SHUT_RDWR)
        await eventually(lambda: len(others.on("status")) == 3)
        assert [body["state"] for body in others.on("status")] == ["online", "offline", "online"]
        await eventually(lambda: uplink.stats.state == "up")
        await uplink.send([row(1)], late=False)


@pytest.mark.service
async def test_alarms_and_orders_are_shown_while_there_is_something_to_show(mosquitto: tuple[str, int]) -> None:
    order = {"id": "WO-000001", "state": "open"}
    done = {"id": "WO-000000", "state": "verified"}
    async with ear(mosquitto) as others:
        async with north(mosquitto, current_alarms=lambda: [ALARM], current_orders=lambda: [order, done]) as uplink:
            uplink.announce("alarm", "light-1.out", {**ALARM, "state": "acknowledged"})
            uplink.announce("order", "WO-000001", {**order, "state": "verified"})
            uplink.announce("push", "whatever", {})
            await eventually(lambda: len(others.on("orders/WO-000001")) >= 3)
            told = [body and body["state"] for body in others.on("orders/WO-000001")]
            assert told[:3] == ["open", "verified", None]
            assert not any(told[3:])
            async with ear(mosquitto) as newcomer:
                await eventually(lambda: len(newcomer.heard) == 2)
                assert sorted((topic, body["state"], retain) for topic, body, retain in newcomer.heard) == [
                    ("alarms/light-1.out", "acknowledged", True),
                    ("status", "online", True),
                ]
            uplink.announce("alarm", "light-1.out", None)
            await eventually(lambda: others.on("alarms/light-1.out")[-1] is None)
        assert others.on("orders/WO-000000") == []


@pytest.mark.service
async def test_an_alarm_with_a_number_that_json_cannot_hold_is_shown(mosquitto: tuple[str, int]) -> None:
    odd = {**ALARM, "value": 10**30}
    async with ear(mosquitto) as others, north(mosquitto, current_alarms=lambda: [odd]):
        await eventually(lambda: others.on("alarms/light-1.out"))
    assert others.on("alarms/light-1.out")[0]["value"] == str(10**30)


@pytest.mark.service
async def test_what_the_broker_still_shows_from_before_and_is_over_is_taken_away(mosquitto: tuple[str, int]) -> None:
    async with ear(mosquitto) as others:
        await others.say("alarms/light-1.out", json.dumps(ALARM), retain=True)
        await others.say("alarms/light-9.gone", json.dumps(ALARM), retain=True)
        async with north(mosquitto, current_alarms=lambda: [ALARM]):
            await eventually(lambda: others.on("alarms/light-9.gone")[-1] is None)
    async with ear(mosquitto) as newcomer:
        await eventually(lambda: len(newcomer.heard) == 2)
        assert {topic for topic, _, _ in newcomer.heard} == {"alarms/light-1.out", "status"}


@pytest.mark.service
async def test_in_a_storm_the_desk_is_asked_once_for_all_that_the_broker_shows(mosquitto: tuple[str, int]) -> None:
    asked, storm = 0, [{"id": f"light-{n}.out", "state": "unacknowledged"} for n in range(200)]

    def current() -> list[dict[str, Any]]:
        nonlocal asked
        asked += 1
        return storm

    async with ear(mosquitto) as others:
        await others.say("alarms/light-999.gone", json.dumps(ALARM), retain=True)
        async with north(mosquitto, current_alarms=current) as uplink:
            uplink.announce("alarm", "light-7.out", {"id": "light-7.out", "state": "normal"})
            await eventually(lambda: others.on("alarms/light-999.gone")[-1] is None)
            await eventually(lambda: others.on("alarms/light-7.out")[-1] is None)
        shown = {topic for topic, body, _ in others.heard if topic.startswith("alarms/") and body is None}
    assert shown == {"alarms/light-999.gone", "alarms/light-7.out"}
    assert asked == 1


class Hand:
    """Carries out commands to one point, and refuses the rest."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Value, str, str, float | None]] = []

    async def write(self, point: str, value: Value, who: str, reason: str, for_s: float | None) -> dict[str, Any]:
        self.done.append((point, value, who, reason, for_s))
        if point == "light-1.fails":
            raise RuntimeError("a mistake of ours")
        if point != "light-1.on":
            raise Refusal(f"{point} is not writable")
        return {"point": point, "before": False, "after": value, "result": "done"}


@pytest.mark.service
async def test_commands_are_carried_out_answered_and_refused_with_the_reason(mosquitto: tuple[str, int]) -> None:
    hand = Hand()
    async with ear(mosquitto) as others, north(mosquitto, commands=True, write=hand.write, refusal=Refusal) as uplink:
        await others.say("light-1/on/set", '{"value": true, "who": "Li", "reason": "dusk", "id": 7, "for_s": 600}')
        await others.say("light-1/power/set", "5")
        await others.say("light-1/broken/set", '{"value": ')
        await others.say("light-1/fails/set", "1")
        await eventually(lambda: len([t for t, _, _ in others.heard if t.endswith("/result")]) == 4)
        assert others.on("light-1/on/result") == [
            {"ok": True, "point": "light-1.on", "before": False, "after": True, "result": "done", "id": 7}
        ]
        assert others.on("light-1/power/result") == [{"ok": False, "error": "light-1.power is not writable"}]
        assert others.on("light-1/broken/result") == [
            {"ok": False, "error": "is not JSON; check quotes and brackets"}
        ]
        assert others.on("light-1/fails/result") == [{"ok": False, "error": "failed; the gateway's log says why"}]
        assert hand.done[0] == ("light-1.on", True, "Li", "dusk", 600)
        assert ("light-1.power", 5, "mqtt", "command over MQTT", None) in hand.done
        assert uplink.refused == 3
        assert uplink.stats.state == "up"


@pytest.mark.service
async def test_a_flood_of_bad_commands_is_answered_one_by_one(mosquitto: tuple[str, int]) -> None:
    hand = Hand()
    async with ear(mosquitto) as others, north(mosquitto, commands=True, write=hand.write) as uplink:
        before, most = len(asyncio.all_tasks()), 0
        for number in range(200):
            await others.say(f"light-{number}/on/set", "{")
            most = max(most, len(asyncio.all_tasks()))
        await eventually(lambda: uplink.refused == 200)
        assert most - before < 5, "no task for each"
        assert uplink.stats.state == "up"


@pytest.mark.service
async def test_commands_that_are_too_many_to_be_looked_at_are_told_once(
    mosquitto: tuple[str, int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MqttNorth, "queued", 5)
    hand = Hand()
    async with ear(mosquitto) as others, north(mosquitto, commands=True, write=hand.write) as uplink:
        for number in range(300):
            others.client._client.publish(f"courtyard/maple/light-{number}/on/set", b"{", 0)
        await eventually(lambda: "queue is full" in caplog.text)
        await others.say("light-1/on/set", "{")
        await eventually(lambda: others.on("light-1/on/result"))
        assert uplink.stats.state == "up"
    assert caplog.text.count("queue is full") == 1


@pytest.mark.service
async def test_a_broker_that_does_not_let_us_listen_is_named_and_readings_go_all_the_same(
    mosquitto: tuple[str, int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(client: Outbox, topics: Any) -> list[int]:
        return [128 if topic.endswith("/set") else 1 for topic, _ in topics]

    monkeypatch.setattr(Outbox, "subscribe", denied)
    async with ear(mosquitto) as others, north(mosquitto, commands=True, write=Hand().write) as uplink:
        await uplink.send([row(1)], late=False)
        await eventually(lambda: others.on("light-1/readings"))
    said = f"broker 127.0.0.1:{mosquitto[1]} does not let us listen to courtyard/maple/+/+/set; allow it there"
    assert [record.getMessage() for record in caplog.records if "listen to" in record.getMessage()] == [
        f"uplink north: {said}"
    ]


@pytest.mark.service
async def test_a_retained_command_is_not_carried_out_at_each_connect(mosquitto: tuple[str, int]) -> None:
    hand = Hand()
    async with ear(mosquitto) as others:
        await others.say("light-1/on/set", "true", retain=True)
        async with north(mosquitto, commands=True, write=hand.write):
            await eventually(lambda: others.on("light-1/on/result"))
    assert "publish it without retain" in others.on("light-1/on/result")[0]["error"]
    assert hand.done == []


@pytest.mark.service
async def test_commands_are_not_listened_to_unless_the_site_file_says_so(mosquitto: tuple[str, int]) -> None:
    hand = Hand()
    async with ear(mosquitto) as others, north(mosquitto, write=hand.write) as uplink:
        await others.say("light-1/on/set", "true")
        await others.say("alarms/probe", '{"id": "probe"}', retain=False)
        await uplink.send([row(1)], late=False)
        await eventually(lambda: others.on("light-1/readings"))
    assert others.on("light-1/on/result") == []
    assert hand.done == []


@contextmanager
def keeping_broker(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A broker that keeps what subscribers have not had over a restart."""
    config = folder / "keeping.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "max_queued_messages 100000\nuser root\n"
    )
    with running([need("mosquitto", "mosquitto"), "-c", str(config)], port, folder / "keeping.log") as process:
        yield process


async def hear_for_ever(port: int, heard: set[int]) -> None:
    """A subscriber that the broker keeps messages for while either is away."""
    while True:
        try:
            async with aiomqtt.Client("127.0.0.1", port, identifier="cloud", clean_session=False) as client:
                await client.subscribe("courtyard/maple/+/readings", 1)
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    heard.add(json.loads(message.payload)["values"]["n"])
        except aiomqtt.MqttError:
            await asyncio.sleep(0.05)


def put(store: ReadingsStore, first: int, count: int) -> None:
    for n in range(first, first + count):
        store.append("light-1", ("n",), (n,), None, TIME_NS + n)


@pytest.mark.service
@pytest.mark.timeout(120)
async def test_a_broker_that_stops_and_starts_again_costs_no_reading(tmp_path: Path) -> None:
    port, heard = free_port(), set[int]()
    where = settings(("127.0.0.1", port))
    async with (
        open_readings(tmp_path / "readings.db", 0.05) as store,
        open_mqtt("north", where, SITE, SystemClock()) as uplink,
    ):
        tasks = [
            asyncio.create_task(
                drain(store, "north", uplink.send, SystemClock(), uplink.stats, limit=50, linger_s=0.01)
            ),
            asyncio.create_task(hear_for_ever(port, heard)),
        ]
        put(store, 0, 200)
        with keeping_broker(port, tmp_path):
            await eventually(lambda: len(heard) > 100, 30)
            put(store, 200, 1000)
            await eventually(lambda: len(heard) > 250, 30)
        await eventually(lambda: uplink.stats.state == "down")
        put(store, 1200, 200)
        assert store.behind(store.cursor("north")) >= 200
        with keeping_broker(port, tmp_path):
            await eventually(lambda: len(heard) == 1400, 40)
            await eventually(lambda: store.cursor("north") == 1400)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert heard == set(range(1400))


async def test_a_broker_that_is_not_there_or_refuses_is_named_with_the_reason() -> None:
    port = free_port()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1000):
            writer.write(b"\x20\x02\x00\x05")  # CONNACK: not authorised
            await writer.drain()
        writer.close()

    async with open_mqtt("north", settings(("127.0.0.1", port)), SITE, SystemClock()) as uplink:
        with pytest.raises(UplinkDown, match=rf"broker 127.0.0.1:{port} cannot be reached: .*Connect call failed"):
            await uplink.send([row(1)], late=False)
        server = await asyncio.start_server(refuse, "127.0.0.1", port)
        async with server:
            await eventually(lambda: "Not authorized" in (uplink.stats.last_error or ""))
            with pytest.raises(UplinkDown) as down:
                await uplink.send([row(1)], late=False)
            assert down.value.retry_after_s == 1


async def test_a_broker_that_hangs_up_without_an_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "CONNECT_S", 60.0)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    at = server.sockets[0].getsockname()[:2]
    async with server, open_mqtt("north", settings(at), SITE, SystemClock()) as uplink:
        with pytest.raises(UplinkDown, match="cannot be reached: it hangs up without an answer; is tls right"):
            await uplink.send([row(1)], late=False)


async def test_while_a_broker_is_tried_again_the_reason_of_the_last_try_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.01)
    tries, tried_again, gone = 0, asyncio.Event(), asyncio.Event()

    async def refuse_then_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        if await reader.read(1000):  # who only looks whether anybody is there says nothing
            tries += 1
            if tries == 1:
                writer.write(b"\x20\x02\x00\x05")  # CONNACK: not authorised
            else:
                tried_again.set()
                await reader.read()
        writer.close()
        await writer.wait_closed()
        if tries > 1:
            gone.set()

    server = await asyncio.start_server(refuse_then_hang, "127.0.0.1", 0)
    at = server.sockets[0].getsockname()[:2]
    async with server:
        async with open_mqtt("north", settings(at), SITE, SystemClock()) as uplink:
            await tried_again.wait()
            with pytest.raises(UplinkDown, match="Not authorized"):
                await uplink.send([row(1)], late=False)
        await gone.wait()


@pytest.mark.service
async def test_two_gateways_of_one_name_that_drive_each_other_out_are_told_so(
    mosquitto: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.01)
    async with north(mosquitto) as one, north(mosquitto) as other:
        await eventually(
            lambda: any(
                "is there another client called courtyard-maple-north?" in (each.stats.last_error or "")
                for each in (one, other)
            ),
            20,
        )


def test_settings_refuse_a_prefix_with_wildcards_and_never_show_the_password() -> None:
    for prefix in ("a/#", "+", "/a", "a/", "$SYS", ""):
        with pytest.raises(ValidationError):
            settings(("h", 1), prefix=prefix)
    assert settings(("h", 1), prefix="city/courtyard").prefix == "city/courtyard"
    assert "secret-1" not in repr(settings(("h", 1), username="u", password="secret-1"))
    with pytest.raises(ValidationError):
        settings(("h", 70_000))
