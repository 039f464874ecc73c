"""The InfluxDB uplink against servers that hang, break off, answer in halves, or are not who they should be."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.store.readings import Row, open_readings
from edge.uplinks import influxdb
from edge.uplinks.drain import drain
from edge.uplinks.influxdb import InfluxDB, Settings, open_influxdb
from edge.uplinks.journal import Memory
from edge.uplinks.rejects import Rejects
from edge.uplinks.shape import EquipmentView, SiteView, UplinkDown
from tests.support import eventually, free_port
from tests.uplinks.books import Books
from tests.uplinks.certificates import authority, certificate

SITE = SiteView("maple", {"pump-1": EquipmentView("pump", "pump/vfd", "", "1号泵")})
NS = 1_700_000_000_000_000_000
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


def rows(first: int, count: int) -> list[Row]:
    return [Row(n, NS + n, "pump-1", ("pressure",), (n + 0.5,), None, None) for n in range(first, first + count)]


class Wire:
    """A server on bare sockets: `answer` is called with the lines of each request, read to its end or not."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heads: list[str] = []
        self.stored: list[str] = []
        self.answer: Answer = self.take
        self.read_body = True

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        """204, as a server that is well."""
        self.stored += body.decode().split("\n")
        writer.write(NO_CONTENT)
        await writer.drain()

    def say(self, raw: bytes) -> Answer:
        """Answer so, whatever comes, and hang up."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
            writer.write(raw)
            await writer.drain()
            writer.close()

        return answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
                length = int(fields["content-length"])
                body = await reader.readexactly(length) if self.read_body else b""
                if body and fields.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                await self.answer(reader, writer, body)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        try:
            yield
        finally:
            server.close()

    def settings(self, scheme: str = "http", **more: object) -> Settings:
        url = f"{scheme}://127.0.0.1:{self.port}"
        return Settings.model_validate(
            {"type": "influxdb", "url": url, "org": "o", "bucket": "b", "token": "t", **more}
        )


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    async with made.listening():
        yield made


async def refused(uplink: InfluxDB) -> UplinkDown:
    with pytest.raises(UplinkDown) as down:
        await uplink.send(rows(1, 3), late=False)
    assert uplink.stats.rejected == 0
    return down.value


async def test_a_server_that_hangs_is_given_up_and_the_next_try_is_on_a_new_connection(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influxdb, "TIMEOUT_MS", 200)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        await reader.read()  # until the other side has had enough

    async with open_influxdb("cloud", wire.settings(), SITE) as uplink:
        wire.answer = hang
        assert "does not answer within 0.2 s" in str(await refused(uplink))
        wire.answer = wire.take
        await uplink.send(rows(1, 3), late=False)
    assert len(wire.stored) == 3


@pytest.mark.parametrize("head", [b"500 Oops", b"401 No", b"201 Created"])
async def test_an_answer_without_end_is_read_no_further_than_it_says_something(wire: Wire, head: bytes) -> None:
    told = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        nonlocal told
        writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Type: text/plain\r\n\r\n")
        while told < 300_000_000:
            writer.write(b"busy " * 10_000)
            told += 50_000
            await writer.drain()

    async with open_influxdb("cloud", wire.settings(), SITE) as uplink:
        wire.answer = endless
        async with asyncio.timeout(5):
            if head.startswith(b"201"):
                await uplink.send(rows(1, 3), late=False)
            else:
                assert str(await refused(uplink)).count("busy") == 40
        assert told < 30_000_000, "what the sockets hold, not more"
        wire.answer = wire.take
        await uplink.send(rows(1, 3), late=False)
    assert len(wire.stored) == 3


@pytest.mark.parametrize("status", [400, 401])
async def test_what_is_secret_is_in_no_reason(wire: Wire, status: int) -> None:
    secrets = {"token": "secret-1", "url": f"http://127.0.0.1:{wire.port}?key=secret-2"}
    async with open_influxdb("cloud", wire.settings(**secrets), SITE) as uplink:
        wire.answer = wire.say(b"HTTP/1.1 %d No\r\n\r\nsecret-1 may not write" % status)
        if status == 401:
            reason = str(await refused(uplink))
        else:
            await uplink.send(rows(1, 1), late=False)
            reason = uplink.stats.last_reject[1]
    assert "*** may not write" in reason
    assert "secret-2" not in reason


async def test_an_answer_that_never_ends_is_no_answer(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influxdb, "TIMEOUT_MS", 300)

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(b"HTTP/1.1 500 Oops\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with open_influxdb("cloud", wire.settings(), SITE) as uplink:
        wire.answer = dripping
        async with asyncio.timeout(5):
            assert "does not answer within 0.3 s" in str(await refused(uplink))


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 204 No Con",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nhalf a rea",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 999999 ?\r\n\r\n",
        b"220 mail.example.org ESMTP\r\n",
    ],
    ids=[
        "nothing",
        "half a status",
        "half a line",
        "half a reason",
        "half a refusal",
        "TLS",
        "no status",
        "another protocol",
    ],
)
async def test_half_an_answer_is_no_answer(wire: Wire, half: bytes) -> None:
    async with open_influxdb("cloud", wire.settings(), SITE) as uplink:
        wire.answer = wire.say(half)
        reason = str(await refused(uplink))
        assert f"http://127.0.0.1:{wire.port}" in reason
        assert "RawResponse" not in reason
        wire.answer = wire.take
        await uplink.send(rows(1, 3), late=False)
    assert len(wire.stored) == 3


async def test_a_connection_reset_in_the_middle_of_the_body_costs_nothing(wire: Wire) -> None:
    wire.read_body = False

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.transport.abort()
        raise ConnectionError

    async with open_influxdb("cloud", wire.settings(gzip=False), SITE) as uplink:
        wire.answer = reset
        with pytest.raises(UplinkDown, match="cannot be reached"):
            await uplink.send(rows(1, 20_000), late=False)
        wire.read_body, wire.answer = True, wire.take
        await uplink.send(rows(1, 3), late=False)
    assert len(wire.stored) == 3


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_server_that_is_busy_says_when_in_seconds_or_as_a_date(wire: Wire, status: str) -> None:
    def busy(when: str) -> Answer:
        return wire.say(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nRetry-After: {when}\r\n\r\n".encode())

    async with open_influxdb("cloud", wire.settings(), SITE) as uplink:
        wire.answer = busy("7")
        assert (await refused(uplink)).retry_after_s == 7
        wire.answer = busy(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
        assert 85 < ((await refused(uplink)).retry_after_s or 0) <= 90
        wire.answer = busy("tomorrow")
        assert (await refused(uplink)).retry_after_s is None


async def test_who_has_a_user_and_a_password_is_known_by_these(wire: Wire) -> None:
    async with open_influxdb("cloud", wire.settings(username="u", password="p"), SITE) as uplink:
        await uplink.send(rows(1, 1), late=False)
    assert "Authorization: Basic dTpw" in wire.heads[0]


# Rejected lines


async def test_rejected_lines_are_counted_for_good_and_never_hold_the_rest(wire: Wire, tmp_path: Path) -> None:
    async def no_sevens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        if any(line.endswith("7") for line in body.decode().split("\n")):
            said = b'{"code":"invalid","message":"no sevens here"}'
            writer.write(b"HTTP/1.1 422 ?\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
            await writer.drain()
        else:
            await wire.take(reader, writer, body)

    wire.answer = no_sevens
    books = Books()
    async with open_readings(tmp_path / "readings.db", 0.05) as store:
        for row in rows(0, 200):
            store.append("pump-1", row.points, row.values, None, row.time_ns)
        for life in (1, 2):  # as after a restart
            async with open_influxdb("cloud", wire.settings(batch=40), SITE) as uplink:
                memory = Memory("cloud", books, books)
                await memory.open()
                rejects = Rejects("cloud", memory, SystemClock())
                rejects.of(uplink.stats)
                drained = drain(
                    store, "cloud", uplink.send, SystemClock(), uplink.stats, limit=40, linger_s=0.0,
                    confirmed=rejects.settle,
                )  # fmt: skip
                task = asyncio.create_task(drained)
                await eventually(lambda: store.cursor("cloud") == store.newest(), 40)
                task.cancel()
                await asyncio.wait([task])
                assert rejects.total == 10 + 10 * life
            for row in rows(200, 100):
                store.append("pump-1", row.points, row.values, None, row.time_ns)
    assert sorted(wire.stored) == sorted(set(wire.stored))
    assert len(wire.stored) == 270
    kept = books.state["uplink", "cloud"] or {}
    assert (kept["rejected"], kept["reject_reason"]) == (30, "422: no sevens here")
    (_, first), (_, second) = books.entries
    assert (first.subject, first.body["event"], first.body["rows"]) == ("cloud", "set aside", 4)
    assert first.body["reason"] == "422: no sevens here"
    assert first.body["example"].endswith("7")
    assert second.body["rows_ever"] == 24


# TLS


@pytest.mark.service
async def test_a_private_authority_vouches_for_the_server_and_we_show_who_we_are(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    server.load_cert_chain(certificate(tmp_path, "server"), tmp_path / "server.key")
    server.verify_mode = ssl.CERT_REQUIRED
    certificate(tmp_path, "client")
    wire = Wire()
    ours = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}

    def no_mistake(keys: tuple[str, ...], message: str) -> None:
        pytest.fail(f"{keys}: {message}")

    async with wire.listening(server):
        settings = wire.settings("https", tls=ours).placed(tmp_path, no_mistake)
        async with open_influxdb("cloud", settings, SITE) as uplink:
            await uplink.send(rows(1, 3), late=False)
        assert len(wire.stored) == 3
        without = wire.settings("https", tls={"ca": "ca.pem"}).placed(tmp_path, no_mistake)
        async with open_influxdb("cloud", without, SITE) as uplink:
            await refused(uplink)


@pytest.mark.service
async def test_a_server_that_nobody_vouches_for_gets_nothing_unless_that_is_asked_for(tmp_path: Path) -> None:
    authority(tmp_path)
    authority(tmp_path, "stranger")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate(tmp_path, "server", "stranger"), tmp_path / "server.key")
    wire = Wire()
    async with wire.listening(server):
        for tls in (False, True, {"ca": str(tmp_path / "ca.pem")}):
            async with open_influxdb("cloud", wire.settings("https", tls=tls), SITE) as uplink:
                assert "certificate verify failed" in str(await refused(uplink))
        assert wire.stored == []
        async with open_influxdb("cloud", wire.settings("https", tls={"insecure": True}), SITE) as uplink:
            await uplink.send(rows(1, 3), late=False)
        assert len(wire.stored) == 3


def test_tls_beside_a_url_without_it_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="write https:, or remove tls"):
        Wire().settings("http", tls=True)
