"""The webhook against a server that checks signatures and answers as told."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import itertools
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from edge.clock import ManualClock, SystemClock
from edge.store.ledger import Entry
from edge.store.readings import ReadingsStore, Row, open_readings
from edge.uplinks import pauses, posts, webhook
from edge.uplinks.drain import drain
from edge.uplinks.shape import EquipmentView, SiteView, UplinkDown
from edge.uplinks.webhook import Settings, Webhook, open_webhook
from tests.support import eventually, free_port
from tests.uplinks.books import WRONG_PLACES

SITE = SiteView("maple", {"pump-1": EquipmentView("pump", "pump/vfd", "地下", "1号泵")})
KEY = "shared-1"
TIME_NS = 1_772_447_465_123_456_789
Answer = tuple[int, str, dict[str, str]]


class Server:
    """Takes what is signed right, once for each key, and answers as `answer` says: status, body, headers."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.answer: Callable[[list[dict[str, Any]]], Answer] = lambda items: (200, "", {})

    async def take(self, request: web.Request) -> web.Response:
        content = await request.read()
        stamp = request.headers["X-Courtyard-Timestamp"]
        mac = hmac.new(KEY.encode(), stamp.encode() + b"." + content, hashlib.sha256).hexdigest()
        assert request.headers["X-Courtyard-Signature"] == f"sha256={mac}"
        body = json.loads(content)
        self.heard.append((dict(request.headers), body))
        status, text, headers = self.answer(body.get("readings", []) + body.get("events", []))
        if status < 300:
            known = self.stored.setdefault(request.headers["Idempotency-Key"], body)
            assert known == body, "another body under the same key"
        return web.Response(status=status, text=text, headers=headers)

    def rows(self) -> list[int]:
        """Numbers of the readings that were taken."""
        return sorted(item["seq"] for body in self.stored.values() for item in body.get("readings", []))

    def settings(self, **more: object) -> Settings:
        return Settings.model_validate({"type": "webhook", "url": self.url, "signing_key": KEY, **more})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, port = Server(), free_port()
    app = web.Application()

    async def take(request: web.Request) -> web.StreamResponse:
        return await made.take(request)  # whichever it has now

    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.url = f"http://127.0.0.1:{port}/hook"
    yield made
    await runner.cleanup()


def opened(server: Server, **more: object) -> Any:
    return open_webhook("cloud", server.settings(**more), SITE, ManualClock(TIME_NS))


def rows(*numbers: int, equipment: str = "pump-1") -> list[Row]:
    return [Row(n, TIME_NS + n, equipment, ("a",), (n / 2,), None, None) for n in numbers]


async def test_readings_arrive_signed_with_their_numbers_qualities_and_a_key(server: Server) -> None:
    async with opened(server, headers={"X-Tenant": "7"}) as uplink:
        odd = Row(2, TIME_NS, "pump-1", ("a", "b", "c"), (None, 1 << 70, "字"), ("bad/comm", "good", "good"), None)
        await uplink.send([*rows(1), odd], late=False)
    [(headers, body)] = server.heard
    assert headers["Idempotency-Key"] == "maple/cloud/readings/1-2"
    assert headers["X-Courtyard-Timestamp"] == "1772447465"
    assert headers["X-Tenant"] == "7"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "site": "maple",
        "uplink": "cloud",
        "key": "maple/cloud/readings/1-2",
        "readings": [
            {"seq": 1, "time_ns": TIME_NS + 1, "equipment": "pump-1", "class": "pump", "values": {"a": 0.5}},
            {
                "seq": 2, "time_ns": TIME_NS, "equipment": "pump-1", "class": "pump",
                "values": {"a": None, "b": str(1 << 70), "c": "字"}, "quality": {"a": "bad/comm"},
            },
        ],
    }  # fmt: skip


async def test_alarms_and_orders_arrive_as_the_journal_has_them(server: Server) -> None:
    alarm = Entry("alarm", "pump-1.dry", TIME_NS, {"event": "raised", "alarm": {"equipment": "pump-1", "state": "x"}})
    order = Entry("order", "WO-1", TIME_NS, {"event": "opened", "order": {"equipment": "light-1"}})
    async with opened(server, equipment=["pump-*"]) as uplink:
        assert uplink.journal_kinds == {"alarm", "order"}
        await uplink.send_journal([(5, alarm), (6, order)])
    [(headers, body)] = server.heard
    assert headers["Idempotency-Key"] == "maple/cloud/events/5-5"
    assert body["events"] == [
        {
            "number": 5, "kind": "alarm", "subject": "pump-1.dry", "time_ns": TIME_NS, "equipment": "pump-1",
            "body": alarm.body,
        }
    ]  # fmt: skip


async def test_only_what_the_site_file_names_is_sent(server: Server) -> None:
    async with opened(server, what=["alarms"]) as uplink:
        await uplink.send(rows(1), late=False)
        assert uplink.journal_kinds == {"alarm"}
    async with opened(server, what=["readings"], equipment=["pump-?"]) as uplink:
        await uplink.send([*rows(1), *rows(2, equipment="pump-12"), *rows(3, equipment="light-1")], late=True)
        await uplink.send(rows(4, equipment="light-1"), late=True)
    assert server.rows() == [1]
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_read_no_further_than_it_says_something(server: Server, status: int) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b"busy " * 1000)
                await asyncio.sleep(0.001)
        return answer

    server.take = endless  # type: ignore[method-assign,assignment]
    async with opened(server) as uplink, asyncio.timeout(5):
        if status == 200:
            await uplink.send(rows(1), late=False)
        else:
            with pytest.raises(UplinkDown, match=r"answers 500 \(busy busy .{190}\)$"):
                await uplink.send(rows(1), late=False)


@pytest.mark.parametrize("there", [True, False])
async def test_what_is_secret_is_in_no_reason(server: Server, there: bool) -> None:
    async def repeat(request: web.Request) -> web.StreamResponse:
        said = [str(request.url), *request.headers.values(), KEY]
        return web.Response(status=400, text=" ".join(said))

    server.take = repeat  # type: ignore[method-assign,assignment]
    url = server.url if there else f"http://127.0.0.1:{free_port()}/hook"
    more = {"url": f"{url}?key=secret-1", "headers": {"Authorization": "secret-2"}}
    async with opened(server, **more) as uplink:
        if there:
            await uplink.send(rows(1), late=False)
            reason = uplink.stats.last_reject[1]
            assert reason.startswith("400: ")
        else:
            with pytest.raises(UplinkDown) as down:
                await uplink.send(rows(1), late=False)
            reason = str(down.value)
            assert reason.startswith("http://127.0.0.1:")
    assert not any(secret in reason for secret in ("secret-1", "secret-2", KEY, "hook?key"))


async def test_a_later_body_that_was_not_confirmed_is_sent_again_under_its_key_though_more_rows_have_come(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posts, "BODY_BYTES", 400)
    taken = []

    def answer(items: list[dict[str, Any]]) -> Answer:
        taken.append([item["seq"] for item in items])
        return (500 if len(taken) == 2 else 200, "", {})

    server.answer = answer
    async with opened(server) as uplink:
        with pytest.raises(UplinkDown):
            await uplink.send(rows(1, 2, 3, 4, 5), late=False)
        await uplink.send(rows(*range(1, 12)), late=False)
        assert taken[1] == taken[3]
        assert list(itertools.chain(*taken[2:])) == list(range(1, 12))
        for first in range(100, 1000):
            taken[:] = [[]]
            with pytest.raises(UplinkDown):
                await uplink.send(rows(first), late=False)
        assert len(uplink._lanes["readings"].tried) < 100


async def test_an_answer_that_swells_when_it_is_unpacked_is_not_unpacked(server: Server) -> None:
    bomb = gzip.compress(bytes(50_000_000))

    async def packed(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, body=bomb, headers={"Content-Encoding": "gzip"})

    server.take = packed  # type: ignore[method-assign,assignment]
    async with opened(server) as uplink:
        tracemalloc.start()
        try:
            with pytest.raises(UplinkDown, match="answers 500"):
                await uplink.send(rows(1), late=False)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


async def test_an_answer_that_never_ends_is_no_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dripping(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=500)
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b".")
                await asyncio.sleep(0.01)
        return answer

    monkeypatch.setattr(webhook, "EXCHANGE_S", 0.3)
    server.take = dripping  # type: ignore[method-assign,assignment]
    async with opened(server) as uplink, asyncio.timeout(5):
        with pytest.raises(UplinkDown, match=r"does not answer within 0.3 s$"):
            await uplink.send(rows(1), late=False)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_row_that_the_server_does_not_want_is_found_and_set_aside_alone(server: Server, status: int) -> None:
    server.answer = lambda items: (status, "no", {}) if any(i["seq"] in (3, 77) for i in items) else (200, "", {})
    async with opened(server) as uplink:
        await uplink.send(rows(*range(1, 101)), late=False)
        assert uplink.stats.rejected == 2
        assert uplink.stats.last_reject[1] == f"{status}: no"
    assert server.rows() == [n for n in range(1, 101) if n not in (3, 77)]
    assert len(server.heard) < 32


async def test_what_was_set_aside_is_counted_once_though_the_rest_is_sent_again(server: Server) -> None:
    calls = itertools.count()

    def answer(items: list[dict[str, Any]]) -> Answer:
        if any(item["seq"] == 1 for item in items):
            return 400, "bad", {}
        return (503, "", {}) if next(calls) == 0 else (204, "", {})

    server.answer = answer
    async with opened(server) as uplink:
        with pytest.raises(UplinkDown):
            await uplink.send(rows(1, 2, 3, 4), late=False)
        await uplink.send(rows(1, 2, 3, 4), late=False)
        assert uplink.stats.rejected == 1
    assert server.rows() == [2, 3, 4]


@pytest.mark.parametrize(
    ("status", "headers", "why", "retry_s"),
    [
        (401, {}, "answers 401 (no): check username, password, headers and signing_key", 30),
        (403, {}, "answers 403 (no): check username", 30),
        (404, {}, "answers 404 (no): check the url", 30),
        (405, {}, "answers 405 (no): check the url", 30),
        (302, {"Location": "/elsewhere"}, "answers 302 (no): check the url", 30),
        (408, {}, "answers 408", None),
        (409, {}, "answers 409", None),
        (425, {}, "answers 425", None),
        (429, {"Retry-After": "17"}, "answers 429", 17),
        (503, {"Retry-After": "120"}, "answers 503", 120),
        (500, {}, "answers 500", None),
    ],
)
async def test_any_other_answer_says_what_to_do_and_when_to_try_again(
    server: Server, status: int, headers: dict[str, str], why: str, retry_s: float | None
) -> None:
    server.answer = lambda items: (status, "no", headers)
    async with opened(server) as uplink:
        with pytest.raises(UplinkDown) as down:
            await uplink.send(rows(1, 2), late=False)
        assert uplink.stats.rejected == 0
    assert why in str(down.value)
    assert down.value.retry_after_s == retry_s
    assert KEY not in str(down.value)


@pytest.mark.parametrize(("said", "todo"), WRONG_PLACES)
async def test_a_server_that_refuses_how_it_is_called_costs_no_row(server: Server, said: str, todo: str) -> None:
    server.answer = lambda items: (400, said, {})
    async with opened(server) as uplink:
        with pytest.raises(UplinkDown, match=todo):
            await uplink.send(rows(1, 2), late=False)
        assert uplink.stats.rejected == 0


async def test_a_body_of_which_nobody_knows_whether_it_was_taken_goes_again_under_the_same_key(
    server: Server,
) -> None:
    taken = server.answer
    async with opened(server) as uplink:
        server.answer = lambda items: (500, "", {})
        with pytest.raises(UplinkDown):
            await uplink.send(rows(1, 2), late=False)
        server.answer = taken
        await uplink.send(rows(8, 9), late=False)  # the other lane meanwhile
        await uplink.send(rows(1, 2, 3), late=True)
    keys = [headers["Idempotency-Key"].rpartition("/")[2] for headers, _ in server.heard]
    assert keys == ["1-2", "8-9", "1-2", "3-3"]


async def test_much_at_once_is_shared_out_over_bodies(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posts, "BODY_BYTES", 2000)
    async with opened(server) as uplink:
        await uplink.send(rows(*range(1, 101)), late=False)
    assert server.rows() == list(range(1, 101))
    assert 4 < len(server.heard) < 20


async def test_a_server_that_is_not_there_is_named() -> None:
    where = Settings.model_validate({"type": "webhook", "url": f"http://127.0.0.1:{free_port()}/x"})
    async with open_webhook("cloud", where, SITE, ManualClock()) as uplink:
        with pytest.raises(UplinkDown, match=r"http://127.0.0.1:\d+ cannot be reached"):
            await uplink.send(rows(1), late=False)


def put(store: ReadingsStore, count: int) -> None:
    for n in range(count):
        store.append("pump-1", ("a",), (n,), None, TIME_NS + n)


async def test_a_server_that_fails_every_third_time_gets_everything_and_nothing_under_two_keys(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_S", 0.01)
    calls = itertools.count()

    def answer(items: list[dict[str, Any]]) -> Answer:
        return (503, "", {"Retry-After": "0"}) if next(calls) % 3 == 0 else (200, "", {})

    server.answer = answer
    async with (
        open_readings(tmp_path / "readings.db", 0.05) as store,
        open_webhook("cloud", server.settings(batch=20), SITE, SystemClock()) as uplink,
    ):
        put(store, 300)
        task = asyncio.create_task(
            drain(store, "cloud", uplink.send, SystemClock(), uplink.stats, limit=uplink.batch, linger_s=0.01)
        )
        try:
            await eventually(lambda: len(server.rows()) >= 100)
            put(store, 100)
            await eventually(lambda: server.rows() == list(range(1, 401)), 20)
            await eventually(lambda: uplink.stats.behind() == 0)
        finally:
            task.cancel()
            await asyncio.wait([task])
    assert isinstance(uplink, Webhook)


def made(**more: object) -> Settings:
    return Settings.model_validate({"type": "webhook", "url": "https://example.org/hook", **more})


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"url": "example.org"}, "url"),
        ({"headers": {"a b": "x"}}, "'a b' is no name of a header"),
        ({"headers": {"Content-Type": "x"}}, "Content-Type is set by the gateway itself"),
        ({"headers": {"X-Courtyard-Signature": "x"}}, "is set by the gateway itself"),
        ({"headers": {"X-A": "x\r\ny"}}, "the value of X-A is no header"),
        ({"headers": {"X-A": "密"}}, "the value of X-A is no header"),
        ({"url": "http://a/b", "tls": True}, "write https:, or remove tls"),
        ({"username": "u", "headers": {"authorization": "x"}}, "exclude each other"),
        ({"what": ["readings", "gossip"]}, "readings"),
        ({"what": []}, "what"),
    ],
)
def test_settings_say_what_is_wrong_with_them(keys: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        made(**keys)


def test_secrets_are_not_shown_and_patterns_without_equipment_are_noted() -> None:
    settings = made(signing_key=KEY, headers={"Authorization": "Bearer t-9"}, equipment=["pump-*", "pmp-1"])
    assert KEY not in repr(settings)
    assert "t-9" not in repr(settings)
    noted: list[tuple[tuple[str | int, ...], str]] = []
    settings.suits(["pump-1", "light-1"], lambda keys, message: noted.append((keys, message)))
    assert noted == [(("equipment", 1), "no equipment is called 'pmp-1'; write an id, or a pattern like pump-*")]
