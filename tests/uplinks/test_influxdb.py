"""The InfluxDB uplink against a server that answers as told, and against a real one."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from edge.clock import SystemClock
from edge.store.readings import ReadingsStore, Row, open_readings
from edge.uplinks import shape
from edge.uplinks.drain import drain
from edge.uplinks.influxdb import Settings, open_influxdb
from edge.uplinks.posts import BODY_BYTES, retry_seconds
from edge.uplinks.shape import EquipmentView, SiteView, UplinkDown
from tests.support import eventually, free_port
from tests.uplinks.books import WRONG_PLACES

SITE = SiteView("maple", {"pump-1": EquipmentView("pump", "pump/vfd-booster", "地下泵房", "1号泵")})
START_NS = 1_700_000_000_000_000_000


def rows(count: int, **points: object) -> list[Row]:
    named = points or {"pressure": 3.5}
    return [
        Row(n, START_NS + n, "pump-1", tuple(named), tuple(named.values()), None, None)  # type: ignore[arg-type]
        for n in range(1, count + 1)
    ]


class Server:
    """Takes writes and answers as `answer` says: (status, body, headers) of the lines of one request."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], list[str]]] = []
        self.stored: list[str] = []
        self.answer: Callable[[list[str]], tuple[int, str, dict[str, str]]] = lambda lines: (204, "", {})

    async def write(self, request: web.Request) -> web.Response:
        body = await request.read()  # the server has undone the compression
        lines = body.decode().split("\n")
        self.requests.append(({**request.headers, **request.query}, lines))
        status, text, headers = self.answer(lines)
        if status == 204:
            self.stored += lines
        return web.Response(status=status, text=text or None, headers=headers)

    async def read(self, request: web.Request) -> web.Response:
        """What a redirected write would find."""
        return web.Response(status=200)

    def settings(self, **more: object) -> Settings:
        return Settings.model_validate(
            {"type": "influxdb", "url": self.url, "org": "o", "bucket": "b", "token": "secret-1", **more}
        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, port = Server(), free_port()
    app = web.Application()
    app.router.add_post("/api/v2/write", made.write)
    app.router.add_get("/api/v2/write", made.read)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.url = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()


async def test_rows_arrive_compressed_with_token_org_bucket_and_nanoseconds(server: Server) -> None:
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        await uplink.send(rows(2), late=False)
    [(headers, lines)] = server.requests
    assert headers["Authorization"] == "Token secret-1"
    assert headers["Content-Encoding"] == "gzip"
    assert (headers["org"], headers["bucket"], headers["precision"]) == ("o", "b", "ns")
    head = "pump,equipment=pump-1,location=地下泵房,profile=pump/vfd-booster,site=maple"
    assert lines == [f"{head} pressure=3.5 {START_NS + 1}", f"{head} pressure=3.5 {START_NS + 2}"]


async def test_without_gzip_the_lines_go_as_they_are(server: Server) -> None:
    async with open_influxdb("cloud", server.settings(gzip=False), SITE) as uplink:
        await uplink.send(rows(1), late=False)
    assert "Content-Encoding" not in server.requests[0][0]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_line_that_the_server_does_not_take_is_found_and_set_aside_alone(server: Server, status: int) -> None:
    bad = (f" {START_NS + 3}", f" {START_NS + 77}")
    said = json.dumps({"code": "invalid", "message": "field type conflict"})
    server.answer = lambda lines: (status, said, {}) if any(x.endswith(bad) for x in lines) else (204, "", {})
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        await uplink.send(rows(100), late=False)
        assert uplink.stats.rejected == 2
        assert [reason for _, reason in uplink.rejects] == [f"{status}: field type conflict"] * 2
        assert uplink.stats.last_reject == uplink.rejects[-1]
    assert len(server.stored) == 98
    assert len(server.requests) < 32


async def test_a_line_that_was_set_aside_is_not_counted_again_when_its_batch_is_sent_again(server: Server) -> None:
    def answer(lines: list[str]) -> tuple[int, str, dict[str, str]]:
        if any(line.endswith(f" {START_NS + 1}") for line in lines):
            return 400, "bad", {}
        return (503, "", {}) if len(server.requests) < 6 else (204, "", {})

    server.answer = answer
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        with pytest.raises(UplinkDown):
            await uplink.send(rows(4), late=False)
        for _ in range(5):
            try:
                await uplink.send(rows(4), late=False)
            except UplinkDown:
                continue
            break
        assert uplink.stats.rejected == 1
    assert len(server.stored) == 3


async def test_nor_when_newer_rows_go_before_it(server: Server) -> None:
    bad, away = f" {START_NS + 1}", True

    def answer(lines: list[str]) -> tuple[int, str, dict[str, str]]:
        if any(line.endswith(bad) for line in lines):
            return 400, "bad", {}
        return (503, "", {}) if away else (204, "", {})

    server.answer = answer
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        with pytest.raises(UplinkDown):
            await uplink.send(rows(2), late=False)
        away = False
        await uplink.send(rows(5)[2:], late=False)
        await uplink.send(rows(2), late=True)
        assert uplink.stats.rejected == 1
        await uplink.send(rows(2), late=True)
        assert uplink.stats.rejected == 2, "what was confirmed is not remembered"
    assert len(server.stored) == 5


async def test_what_is_too_large_is_halved_and_one_line_too_large_for_ever_is_set_aside(server: Server) -> None:
    server.answer = lambda lines: (413, "", {}) if sum(map(len, lines)) > 500 else (204, "", {})
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        await uplink.send([*rows(20), *rows(1, note="x" * 1000)], late=False)
        assert uplink.stats.rejected == 1
    assert len(server.stored) == 20


@pytest.mark.parametrize(
    ("status", "headers", "why", "retry_s"),
    [
        (401, {}, "answers 401 (who are you): give a token that may write to bucket b", 30),
        (403, {}, "answers 403 (who are you): give a token that may write to bucket b", 30),
        (404, {}, "answers 404 (who are you): check org o, bucket b and the url", 30),
        (429, {"Retry-After": "17"}, "answers 429", 17),
        (503, {"Retry-After": "120"}, "answers 503", 120),
        (503, {}, "answers 503", None),
        (500, {}, "answers 500", None),
        (302, {"Location": "/api/v2/write"}, "answers 302", 30),
        (405, {}, "is this the url of an InfluxDB v2 server?", 30),
        (200, {}, "answers neither 204 nor an error: is this the url of an InfluxDB v2 server?", 30),
        (202, {}, "answers neither 204 nor an error", 30),
    ],
)
async def test_each_answer_holds_the_rows_and_says_what_to_do(
    server: Server, status: int, headers: dict[str, str], why: str, retry_s: float | None
) -> None:
    server.answer = lambda lines: (status, "who are you", headers)
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        with pytest.raises(UplinkDown) as down:
            await uplink.send(rows(3), late=False)
        assert uplink.stats.rejected == 0
    assert why in str(down.value)
    assert down.value.retry_after_s == retry_s
    assert len(server.requests) == 1


@pytest.mark.parametrize(("said", "todo"), WRONG_PLACES)
async def test_a_server_that_refuses_how_it_is_called_costs_no_line(server: Server, said: str, todo: str) -> None:
    server.answer = lambda lines: (400, said, {})
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        with pytest.raises(UplinkDown, match=todo) as down:
            await uplink.send(rows(3), late=False)
        assert uplink.stats.rejected == 0
    assert down.value.retry_after_s == 30


async def test_nobody_there_and_a_server_that_hangs_up_are_told_apart_from_a_refusal() -> None:
    port = free_port()
    settings = Settings(type="influxdb", url=f"http://127.0.0.1:{port}", org="o", bucket="b")
    async with open_influxdb("cloud", settings, SITE) as uplink:
        with pytest.raises(UplinkDown, match=rf"http://127.0.0.1:{port}, bucket b cannot be reached"):
            await uplink.send(rows(1), late=False)
        listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
        async with listener:
            with pytest.raises(UplinkDown, match="hangs up without a whole answer"):
                await uplink.send(rows(1), late=False)


async def test_a_large_batch_goes_in_several_requests(server: Server) -> None:
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        await uplink.send(rows(10, note="x" * (BODY_BYTES // 4)), late=False)
    assert len(server.stored) == 10
    assert len(server.requests) == 4


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
    later = format_datetime(now.replace(minute=2), usegmt=True)
    assert [retry_seconds(text, now) for text in ("17", later, "soon", None)] == [17, 120, None, None]
    assert retry_seconds("Mon, 02 Mar 2026 10:00:00 +99999999999999", now) is None
    assert retry_seconds(format_datetime(now.replace(hour=1), usegmt=True), now) == 0


def test_settings_refuse_what_is_no_url_and_never_show_the_token() -> None:
    with pytest.raises(ValidationError, match="url"):
        Settings.model_validate({"type": "influxdb", "url": "influx:8086", "org": "o", "bucket": "b"})
    settings = Settings(type="influxdb", url="http://x", org="o", bucket="b", token=SecretStr("secret-1"))
    assert "secret-1" not in repr(settings)


async def test_the_log_never_shows_the_token(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = lambda lines: (400, "bad", {})
    async with open_influxdb("cloud", server.settings(), SITE) as uplink:
        await uplink.send(rows(1), late=False)
    assert "secret-1" not in caplog.text


def exported(base: str) -> dict[str, list[tuple[int, float]]]:
    """What the real server has: series name -> (ms, value)."""
    with urllib.request.urlopen(f"{base}/internal/force_flush", timeout=5):  # noqa: S310  # our own server
        pass
    url = f"{base}/api/v1/export?match[]=%7Bsite%3D%22maple%22%7D"
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own server
        found = [json.loads(line) for line in answer.read().splitlines()]
    return {each["metric"]["__name__"]: list(zip(each["timestamps"], each["values"], strict=True)) for each in found}


async def fill(store: ReadingsStore, first: int, count: int) -> None:
    """Readings of a pump, every tenth with one that is not good."""
    for n in range(first, first + count):
        marks = ("good", "bad/sensor") if n % 10 == 0 else None
        values = (n + 0.5, None if n % 10 == 0 else n % 2 == 0)
        store.append("pump-1", ("pressure", "running"), values, marks, START_NS + n * 1_000_000)


@pytest.mark.service
async def test_a_real_server_has_every_reading_though_answers_are_lost_on_the_way(
    victoria_metrics: str, tmp_path: Path
) -> None:
    settings = Settings(type="influxdb", url=victoria_metrics, org="o", bucket="b", batch=100)
    lost: list[int] = []
    async with (
        open_readings(tmp_path / "readings.db", 0.05) as store,
        open_influxdb("cloud", settings, SITE) as uplink,
    ):

        async def unsure(batch: Sequence[shape.Row], *, late: bool) -> None:
            await uplink.send(batch, late=late)
            if len(lost) == 0 and batch[-1].seq > 1000:
                lost.append(batch[0].seq)
                raise UplinkDown("the answer was lost", 0.0)

        task = asyncio.create_task(drain(store, "cloud", unsure, SystemClock(), uplink.stats, limit=settings.batch))
        await fill(store, 0, 1000)
        await eventually(lambda: store.cursor("cloud") == 1000, 20)
        once = await asyncio.to_thread(exported, victoria_metrics)
        assert once["pump_pressure"] == [(START_NS // 10**6 + n, n + 0.5) for n in range(1000)]
        assert once["pump_running"] == [(START_NS // 10**6 + n, float(n % 2 == 0)) for n in range(1000) if n % 10]
        await fill(store, 1000, 500)
        await eventually(lambda: store.cursor("cloud") == 1500, 20)
        task.cancel()
        await asyncio.wait([task])
    assert lost == [1001]
    found = await asyncio.to_thread(exported, victoria_metrics)
    # This server keeps a line that came twice as two samples; InfluxDB would have one.
    assert sorted(set(found["pump_pressure"])) == [(START_NS // 10**6 + n, n + 0.5) for n in range(1500)]
