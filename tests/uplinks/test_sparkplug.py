"""Sparkplug B against a real broker: a host application hears everything and asserts every rule."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from drivers.point import Value
from edge.clock import SystemClock
from edge.store.readings import ReadingsStore, Row, open_readings
from edge.uplinks import session, sparkplug, sparkplug_node
from edge.uplinks.drain import drain
from edge.uplinks.mqtt import Refusal
from edge.uplinks.shape import UplinkDown
from edge.uplinks.sparkplug import Bdseq, Settings, Sparkplug, open_sparkplug
from edge.uplinks.sparkplug_payload import DataType, Metric, encode
from tests.support import eventually, free_port, mosquitto_command, running
from tests.uplinks.sparkplug_checker import SparkplugHost
from tests.uplinks.sparkplug_plant import POINTS, SITE, Plant


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(sparkplug, "REBIRTH_S", 0.3)
    monkeypatch.setattr(sparkplug, "SETTLE_S", 0.1)
    monkeypatch.setattr(sparkplug_node, "REVIVED_S", 0.5)


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


@pytest.mark.service
async def test_a_site_is_born_tells_and_dies_before_it_leaves(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto)
    gateway.plant.read("pump-1")
    async with scada(mosquitto) as others:
        async with gateway.up() as uplink:
            await others.until(lambda: others.host.kinds == ["NBIRTH", "DBIRTH"])
            assert others.host.own.current["Properties/Site"] == ("枫林小区", 192)
            gateway.plant.now_ms += 5
            await uplink.send([gateway.plant.read("pump-1")], late=False)
            await others.until(lambda: others.shows("pump-1.pressure") == 0.5)
            gateway.alarms = [{"id": "a", "state": "unacknowledged", "active": True}]
            uplink.announce("alarm", "a", gateway.alarms[0])
            await others.until(lambda: others.host.own.current["Alarms/Unacknowledged"] == (1, 192))
        await others.until(lambda: others.host.kinds[-1] == "NDEATH")
        assert not others.host.online
        assert others.host.kinds == ["NBIRTH", "DBIRTH", "DDATA", "NDATA", "NDEATH"]


@pytest.mark.service
async def test_the_will_speaks_for_a_gateway_that_falls_silent_and_numbers_of_connections_go_on_over_a_restart(
    mosquitto: tuple[str, int],
) -> None:
    gateway = Gateway(mosquitto)
    gateway.bdseq = 254
    gateway.plant.read("light-1")
    async with scada(mosquitto) as others:
        async with gateway.up() as uplink:
            await others.until(lambda: others.host.online)
            cut(uplink)
            await others.until(lambda: others.host.births == 2)
        await others.until(lambda: not others.host.online)
        async with gateway.up():
            await others.until(lambda: others.host.births == 3)
        await others.until(lambda: others.host.kinds.count("NDEATH") == 3)
        assert others.host.sessions == [255, 0, 1]


@pytest.mark.service
async def test_a_host_that_asks_for_births_gets_them_at_a_bounded_rate(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto)
    gateway.plant.read("light-1")
    async with scada(mosquitto) as others, gateway.up() as uplink:
        await others.until(lambda: others.host.births == 1)
        for _ in range(20):
            await others.command("NCMD/maple", "Node Control/Rebirth", True)
        await others.until(lambda: others.host.births == 3)
        await others.command("NCMD/maple", "Node Control/Reboot", True)
        await eventually(lambda: uplink.refused == 1)
        assert others.host.births == 3
        assert others.host.sessions == [0]


@pytest.mark.service
async def test_commands_are_carried_out_and_a_refused_one_is_answered_by_the_value_as_it_was(
    mosquitto: tuple[str, int],
) -> None:
    gateway = Gateway(mosquitto)
    gateway.plant.read("light-1")
    async with scada(mosquitto) as others, gateway.up() as uplink:
        await others.until(lambda: others.host.online)
        await others.command("DCMD/maple/light-1", "on", True)
        await others.until(lambda: others.shows("light-1.on") is True)
        assert gateway.hand.done == [("light-1.on", True, "sparkplug", "DCMD over Sparkplug B")]
        mode = others.shows("light-1.mode")
        heard = others.host.kinds.count("DDATA")
        await others.command("DCMD/maple/light-1", "mode", "party", DataType.STRING)
        await others.until(lambda: others.host.kinds.count("DDATA") == heard + 1)
        assert others.shows("light-1.mode") == mode
        await others.client.publish("spBv1.0/courtyard/DCMD/maple/light-1", b"\xff\xff", 0)
        await others.command("DCMD/maple/light-9", "on", True)
        await others.command("DCMD/maple/light-1", "off", True)
        await eventually(lambda: uplink.refused == 4)
        assert uplink.stats.state == "up"
        assert len(gateway.hand.done) == 2


@pytest.mark.service
async def test_commands_are_not_listened_to_unless_the_site_file_says_so(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto, commands=False)
    gateway.plant.read("light-1")
    async with scada(mosquitto) as others, gateway.up():
        await others.command("DCMD/maple/light-1", "on", True)
        await others.command("NCMD/maple", "Node Control/Rebirth", True)
        await others.until(lambda: others.host.births == 2)
    assert gateway.hand.done == []


@pytest.mark.service
async def test_rows_wait_for_the_primary_host_and_go_again_after_it_was_away(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto, primary_host="scada")
    plant = gateway.plant
    async with scada(mosquitto, "scada") as others, gateway.uplink() as uplink:
        await eventually(lambda: uplink.stats.state == "down")
        with pytest.raises(UplinkDown, match=r"the primary host scada is not online"):
            await uplink.send([plant.read("pump-1")], late=False)
        await others.say(online=True)
        await others.until(lambda: others.host.births == 1)
        await eventually(lambda: uplink.stats.state == "up")
        plant.now_ms += 10
        await uplink.send([plant.read("pump-1")], late=False)
        await others.until(lambda: len(others.host.history["pump-1", "pressure"]) == 1)
        others.host.history.clear()  # the host has fallen before it could write that down
        await others.say(online=False)
        await others.until(lambda: others.host.kinds[-1] == "NDEATH")
        await eventually(lambda: uplink.stats.state == "down")
        with pytest.raises(UplinkDown, match="primary host scada"):
            await uplink.send([plant.read("pump-1")], late=False)
        await others.say(online=True)
        await others.until(lambda: others.host.births == 2)
        await others.until(lambda: others.host.history["pump-1", "pressure"])
        assert others.host.historical == 3
        assert others.host.history["pump-1", "pressure"] == {plant.now_ms: (0.5, 192)}


@pytest.mark.service
async def test_a_host_of_the_older_form_is_understood(mosquitto: tuple[str, int]) -> None:
    gateway = Gateway(mosquitto, primary_host="scada")
    async with scada(mosquitto, "scada") as others, gateway.uplink():
        await others.client.publish("STATE/scada", "OFFLINE", 1, retain=True)
        await others.client.publish("STATE/scada", "ONLINE", 1, retain=True)
        await others.until(lambda: others.host.births == 1)
        await others.client.publish("STATE/scada", "OFFLINE", 1, retain=True)
        await others.until(lambda: others.host.kinds[-1] == "NDEATH")


@pytest.mark.service
async def test_a_broker_that_is_held_up_confirms_nothing_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONFIRM_S", 0.5)
    port = free_port()
    gateway = Gateway(("127.0.0.1", port))
    with running(mosquitto_command(port, tmp_path), port, tmp_path / "mosquitto.log") as process:
        async with scada(("127.0.0.1", port)) as others, gateway.up() as uplink:
            await others.until(lambda: others.host.online)
            process.send_signal(signal.SIGSTOP)
            try:
                row = gateway.plant.read("pump-1")
                with pytest.raises(UplinkDown, match="did not confirm"):
                    await uplink.send([row], late=False)
            finally:
                process.send_signal(signal.SIGCONT)
            await eventually(lambda: uplink.stats.state == "up", 15)
            await uplink.send([row], late=False)
            await others.until(lambda: others.host.history["pump-1", "pressure"])


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
        return not [row for row in self.gateway.plant.log if not self.has(row)]

    def has(self, row: Row) -> bool:
        history = self.others.host.history
        return all(
            value is None or history[row.equipment, point].get(row.time_ns // 1_000_000) == (value, 192)
            for point, value in zip(row.points, row.values, strict=True)
        )

    def shown(self) -> bool:
        """Whether the host shows what is."""
        plant, host = self.gateway.plant, self.others
        alive = {name for name in POINTS if plant.live(f"{name}.{POINTS[name][0]}")[1] == "good"}
        if {name for name, device in host.host.devices.items() if device.alive} != alive:
            return False
        ids = [f"{name}.{point}" for name in alive for point in POINTS[name]]
        return all(host.shows(each) == plant.live(each)[0] for each in ids)


@pytest.mark.service
@pytest.mark.parametrize("seed", range(3))
async def test_no_random_history_on_a_real_broker_breaks_a_rule_or_loses_a_reading(
    mosquitto: tuple[str, int], tmp_path: Path, seed: int
) -> None:
    gateway = Gateway(mosquitto, primary_host="scada")
    restart = asyncio.Event()
    async with open_readings(tmp_path / "readings.db", 0.05) as store, scada(mosquitto, "scada") as others:
        history = History(gateway, store, others, seed)
        async with history.lived(restart):
            await others.say(online=True)
            for _ in range(15):
                await history.step(restart)
            await others.until(history.arrived, 20)
            await others.until(history.shown, 20)
        await others.until(lambda: not others.host.online)
        assert others.host.must_die == set()
        assert others.host.births > 1
        assert len(gateway.plant.log) > 100


def test_settings_refuse_names_that_are_no_level_of_a_topic() -> None:
    def made(**more: object) -> Settings:
        return Settings.model_validate({"type": "sparkplug", **more})

    assert made().group == "courtyard"
    assert made(resend="10s").resend == 10
    for key in ("group", "node", "primary_host"):
        for name in ("a/b", "+", "#", ""):
            with pytest.raises(ValidationError):
                made(**{key: name})
    with pytest.raises(ValidationError):
        made(resend="2h")
