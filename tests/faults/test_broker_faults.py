"""A broker that refuses our name and then knows it: the connection comes up by itself."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import aiomqtt
import pytest

from drivers.mqtt_topics import MqttKeys
from drivers.payload_keys import MessageKeys, Messages, PayloadPoint
from tests.drivers.devices import device
from tests.faults.rig import acquired
from tests.support import eventually, free_port, need, running


def _allow(passwords: Path, name: str) -> None:
    subprocess.run([need("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), name, "right"], check=True)


@pytest.mark.service
async def test_a_broker_that_refuses_our_name_and_then_knows_it_is_heard_without_a_restart(tmp_path: Path) -> None:
    port, passwords, config = free_port(), tmp_path / "passwords", tmp_path / "mosquitto.conf"
    _allow(passwords, "somebody-else")
    lines = (f"listener {port} 127.0.0.1", "user root", "allow_anonymous false", f"password_file {passwords}")
    config.write_text("\n".join([*lines, ""]))
    messages = Messages.model_validate({"state": MessageKeys(topic="t/{device}", format="json")})
    lamp = device("lamp", MqttKeys(device="lamp"), messages, {"level": ("int", PayloadPoint(path="level"))})
    settings = {"type": "mqtt", "host": "127.0.0.1", "port": port, "username": "gate", "password": "right"}
    command = [need("mosquitto", "mosquitto"), "-c", str(config)]
    with running(command, port, tmp_path / "mosquitto.log") as broker:
        async with acquired(settings, [lamp], of=lambda point: 7) as daemon:
            await eventually(lambda: len(daemon.reasons) > 1)
            assert all("check username" in reason for reason in daemon.reasons)
            _allow(passwords, "gate")
            broker.send_signal(signal.SIGHUP)  # the broker reads its passwords anew
            await eventually(lambda: daemon.way.up, within_s=10)
            async with aiomqtt.Client("127.0.0.1", port, username="gate", password="right") as sender:
                await sender.publish("t/lamp", '{"level": 7}', qos=1)
            await eventually(lambda: daemon.engine.good.get("lamp.level"))
