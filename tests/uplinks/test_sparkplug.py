"""Sparkplug B against a real broker: a host application hears everything and asserts every rule."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge.store.readings import open_readings
from edge.uplinks import session, sparkplug, sparkplug_node
from edge.uplinks.outbox import Outbox
from edge.uplinks.shape import UplinkDown
from edge.uplinks.sparkplug import Settings
from edge.uplinks.sparkplug_payload import DataType
from tests.support import eventually, free_port, mosquitto_command, running
from tests.uplinks.books import alarms_are_counted_together
from tests.uplinks.sparkplug_rig import Gateway, History, cut, scada


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(sparkplug, "REBIRTH_S", 0.3)
    monkeypatch.setattr(sparkplug, "SETTLE_S", 0.1)
    monkeypatch.setattr(sparkplug_node, "REVIVED_S", 0.5)


@pytest.mark.service
async def test_alarms_that_come_one_after_the_other_are_counted_together(mosquitto: tuple[str, int]) -> None:
    await alarms_are_counted_together(Gateway(mosquitto))


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
async def test_a_broker_that_hides_the_primary_host_is_the_reason_and_not_the_host(
    mosquitto: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(client: Outbox, topics: Any) -> list[int]:
        return [128 if "STATE" in topic else 1 for topic, _ in topics]

    monkeypatch.setattr(Outbox, "subscribe", denied)
    async with Gateway(mosquitto, primary_host="ops").uplink() as uplink:
        await eventually(lambda: "does not let us listen to spBv1.0/STATE/ops" in (uplink.stats.last_error or ""))


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
