"""Ways north over TLS with an authority of our own, and with credentials: taken, or refused with the reason."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edge.clock import ManualClock, SystemClock
from edge.store.readings import Row
from edge.uplinks import UPLINKS, homeassistant, session, sparkplug, thingsboard, webhook
from edge.uplinks.mqtt import Refusal
from edge.uplinks.shape import UplinkDown, UplinkSettings
from tests.support import eventually, free_port, need, running
from tests.uplinks.sparkplug_plant import SITE, Plant

BROKERED = ("sparkplug", "thingsboard", "homeassistant")


@dataclass(frozen=True)
class Keys:
    """Files of a small certificate authority, in one folder."""

    folder: Path

    def openssl(self, *arguments: str) -> None:
        command = [need("openssl", "openssl"), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def make(self) -> None:
        """An authority, a server's certificate for 127.0.0.1 and a client's."""
        new = ("req", "-newkey", "rsa:2048", "-nodes")
        self.openssl(
            *new, "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"
        )
        (self.folder / "san").write_text("subjectAltName=IP:127.0.0.1")
        for name in ("server", "client"):
            self.openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            self.openssl(
                "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "san", "-out", f"{name}.pem",
            )  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = Keys(tmp_path_factory.mktemp("keys"))
    made.make()
    return made


@pytest.fixture
def strict_broker(keys: Keys, tmp_path: Path) -> Iterator[int]:
    """Port of a broker that wants TLS, a certificate of ours, a name and a password."""
    port = free_port()
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    command = [need("mosquitto_passwd", "mosquitto"), "-b", str(passwords), "maple", "secret-1"]
    subprocess.run(command, check=True, capture_output=True)
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nuser root\ncafile {keys.folder}/ca.pem\ncertfile {keys.folder}/server.pem\n"
        f"keyfile {keys.folder}/server.key\nrequire_certificate true\nallow_anonymous false\n"
        f"password_file {passwords}\n"
    )
    with running([need("mosquitto", "mosquitto"), "-c", str(config)], port, tmp_path / "mosquitto.log"):
        yield port


def settings(kind: str, keys: Keys, **more: Any) -> UplinkSettings:
    """Settings of a type, as `check` leaves them: files followed."""
    noted: list[object] = []
    tls = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
    made = UPLINKS[kind].model_validate({"type": kind, "tls": tls, **more})
    placed = made.placed(keys.folder, lambda *note: noted.append(note))
    assert noted == []
    return placed


@asynccontextmanager
async def opened(found: UplinkSettings) -> AsyncIterator[Any]:
    """An uplink of any type."""
    plant = Plant()
    plant.read("pump-1")

    async def refused(*_: object) -> Mapping[str, Any]:
        raise Refusal("no")

    async def kept(_: int) -> None:
        return None

    common: dict[str, Any] = {"live": plant.live, "current_alarms": list, "write": refused, "refusal": Refusal}
    if isinstance(found, sparkplug.Settings):
        bdseq = sparkplug.Bdseq(None, kept)
        way: Any = sparkplug.open_sparkplug("n", found, SITE, SystemClock(), newest=plant.head, bdseq=bdseq, **common)
    elif isinstance(found, thingsboard.Settings):
        way = thingsboard.open_thingsboard("n", found, SITE, SystemClock(), step=refused, **common)
    else:
        assert isinstance(found, homeassistant.Settings)
        way = homeassistant.open_homeassistant("n", found, SITE, SystemClock(), **common)
    async with way as uplink:
        yield uplink


ROW = Row(1, 10**18, "pump-1", ("pressure",), (0.5,), None, None)


@pytest.mark.service
@pytest.mark.parametrize("kind", BROKERED)
async def test_over_tls_with_certificate_name_and_password_rows_arrive(
    kind: str, keys: Keys, strict_broker: int
) -> None:
    found = settings(kind, keys, host="127.0.0.1", port=strict_broker, username="maple", password="secret-1")
    async with opened(found) as uplink:
        await eventually(lambda: uplink.stats.state == "up", 10)
        await uplink.send([ROW], late=False)


@pytest.mark.service
@pytest.mark.parametrize("kind", BROKERED)
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"password": "wrong"}, "Not authorized"),
        ({"tls": True, "password": "secret-1"}, "certificate verify failed"),
    ],
)
async def test_what_is_wrong_with_the_credentials_is_said(
    kind: str, more: dict[str, Any], why: str, keys: Keys, strict_broker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)
    found = settings(kind, keys, host="127.0.0.1", port=strict_broker, username="maple", **more)
    async with opened(found) as uplink:
        await eventually(lambda: why in (uplink.stats.last_error or ""), 10)
        with pytest.raises(UplinkDown, match=f"broker 127.0.0.1:{strict_broker}"):
            await uplink.send([ROW], late=False)
        assert "secret-1" not in str(uplink.stats.last_error)


@pytest.mark.service
async def test_a_webhook_over_tls_knows_its_server_and_says_who_it_is(keys: Keys) -> None:
    heard: list[str] = []

    async def take(request: web.Request) -> web.Response:
        heard.append(request.headers["Authorization"])
        return web.Response()

    app, port = web.Application(), free_port()
    app.router.add_post("/hook", take)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys.folder / "ca.pem")
    context.load_cert_chain(keys.folder / "server.pem", keys.folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    url = f"https://127.0.0.1:{port}/hook"
    try:
        found = settings("webhook", keys, url=url, username="maple", password="secret-1")
        assert isinstance(found, webhook.Settings)
        async with webhook.open_webhook("n", found, SITE, ManualClock()) as uplink:
            await uplink.send([ROW], late=False)
        assert heard == ["Basic bWFwbGU6c2VjcmV0LTE="]
        strangers = webhook.Settings.model_validate({"type": "webhook", "url": url})
        async with webhook.open_webhook("n", strangers, SITE, ManualClock()) as uplink:
            with pytest.raises(UplinkDown, match="certificate verify failed"):
                await uplink.send([ROW], late=False)
    finally:
        await runner.cleanup()
