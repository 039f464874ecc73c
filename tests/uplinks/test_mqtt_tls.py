"""MQTT north by TLS with a private authority, a certificate of our own and a password; and what late readings say."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edge.clock import SystemClock
from edge.store.readings import Row
from edge.uplinks.mqtt import Settings, open_mqtt
from edge.uplinks.shape import SiteView, UplinkDown
from tests.support import eventually, free_port, need, running
from tests.uplinks.certificates import authority, certificate

pytestmark = [
    pytest.mark.service,
    # The library forgets the socket of a handshake that failed, for the garbage collector to close.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]
ROW = Row(1, 1_772_447_465_123_456_789, "light-1", ("power",), (12.5,), None, None)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Port of a Mosquitto that wants TLS, a certificate of ours, and name and password."""
    authority(tmp_path)
    certificate(tmp_path, "server")
    certificate(tmp_path, "client")
    port, config, passwords = free_port(), tmp_path / "mosquitto.conf", tmp_path / "passwords"
    allow = [need("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), "gate", "right"]
    subprocess.run(allow, check=True)
    lines = (
        f"listener {port} 127.0.0.1", "user root", "allow_anonymous false", f"password_file {passwords}",
        f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.key",
        "require_certificate true",
    )  # fmt: skip
    config.write_text("\n".join([*lines, ""]))
    with running([need("mosquitto", "mosquitto"), "-c", str(config)], port, tmp_path / "mosquitto.log"):
        yield port


def settings(port: int, folder: Path, **more: Any) -> Settings:
    tls = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
    keys = {"type": "mqtt", "port": port, "tls": tls, "username": "gate", "password": "right", **more}
    return Settings.model_validate(keys).placed(folder, lambda where, message: pytest.fail(f"{where}: {message}"))


async def test_it_takes_the_authority_the_certificate_and_the_password(broker: int, tmp_path: Path) -> None:
    ours = settings(broker, tmp_path)
    async with open_mqtt("north", ours, SiteView("maple", {}), SystemClock()) as uplink:
        await uplink.send([ROW], late=False)
        assert uplink.stats.state == "up"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"password": "wrong"}, "Not authorized"),
        ({"tls": True}, "certificate verify failed"),
        ({"tls": False}, "broker 127.0.0.1"),
    ],
    ids=["password", "no authority", "no TLS"],
)
async def test_whatever_is_missing_nothing_leaves(broker: int, tmp_path: Path, wrong: Any, why: str) -> None:
    ours = settings(broker, tmp_path, **wrong)
    async with open_mqtt("north", ours, SiteView("maple", {}), SystemClock()) as uplink:
        with pytest.raises(UplinkDown, match=why):
            await uplink.send([ROW], late=False)
    gc.collect()


async def test_a_reading_that_newer_ones_have_overtaken_says_so(mosquitto: tuple[str, int]) -> None:
    heard: list[bytes] = []

    async def hear(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            heard.append(message.payload)

    ours = Settings.model_validate({"type": "mqtt", "host": mosquitto[0], "port": mosquitto[1]})
    async with (
        aiomqtt.Client(*mosquitto) as client,
        open_mqtt("north", ours, SiteView("maple", {}), SystemClock()) as uplink,
    ):
        await client.subscribe("courtyard/maple/light-1/readings")
        listening = asyncio.create_task(hear(client))
        await uplink.send([ROW], late=False)
        await uplink.send([ROW], late=True)
        await eventually(lambda: len(heard) == 2)
        listening.cancel()
    now = b'{"time":"2026-03-02T10:31:05.123456Z","values":{"power":12.5}'
    assert heard == [now + b"}", now + b',"late":true}']
