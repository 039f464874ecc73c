"""A web page elsewhere cannot switch the lights, and with a token nobody can without it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from edge.console.api import build_app
from edge.console.guard import BODY_LIMIT, ConsoleSettings
from tests.console.fake_desk import FakeDesk

WRITE = "/api/v1/points/light-1.on/write"
BODY = {"value": False, "who": "a", "reason": "b"}
TOKEN = "correct-horse-battery"


@pytest.fixture
async def open_to_network(desk: FakeDesk) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a console that has a token."""
    app = build_app(desk, ConsoleSettings("0.0.0.0", 8080, TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway.lan:8080") as client:
        yield client


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.0.0.9", "localhost."]
)
async def test_names_of_this_box_are_answered(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/api/v1/site", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "10.0.0.1",
        "",
        "[::1",
        "a@localhost.x",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/site", "/metrics", "/healthz", "/api/docs"])
async def test_a_foreign_name_for_this_box_is_not(http: httpx.AsyncClient, host: str, path: str) -> None:
    answer = await http.get(path, headers={"host": host})
    assert answer.status_code == 403
    assert "console.token" in answer.json()["hint"]


async def test_the_pages_own_request_passes(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    headers = {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}
    assert (await http.post(WRITE, json=BODY, headers=headers)).status_code == 200
    assert len(desk.asked) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8080"},
        {"origin": "http://[bad"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    http: httpx.AsyncClient, desk: FakeDesk, headers: dict[str, str]
) -> None:
    answer = await http.post(WRITE, json=BODY, headers=headers)
    assert answer.status_code == 403
    assert desk.asked == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_what_a_form_could_send_is_refused(http: httpx.AsyncClient, desk: FakeDesk, kind: str) -> None:
    body = b'{"value": false, "who": "a", "reason": "b"}'
    assert (await http.post(WRITE, content=body, headers={"content-type": kind})).status_code == 415
    assert desk.asked == []


async def test_a_body_without_end_is_cut_off(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 1024 + 2):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    assert (await http.post(WRITE, content=chunks(), headers=headers)).status_code == 413
    assert (await http.post(WRITE, content=b" " * (BODY_LIMIT + 1), headers=headers)).status_code == 413
    assert (await http.post(WRITE, content=b"", headers={**headers, "content-length": "-5"})).status_code == 413
    assert desk.asked == []


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9"]
)
@pytest.mark.parametrize("path", ["/api/v1/site", "/api/v1/events", "/api/openapi.json", "/metrics", "/api/none"])
async def test_without_the_token_the_api_is_closed(open_to_network: httpx.AsyncClient, given: str, path: str) -> None:
    headers = {b"authorization": given.encode("latin-1")} if given else {}
    answer = await open_to_network.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_with_the_token_it_is_open_under_any_name(open_to_network: httpx.AsyncClient, desk: FakeDesk) -> None:
    headers = {"authorization": f"bearer {TOKEN}"}
    assert (await open_to_network.get("/api/v1/site", headers=headers)).status_code == 200
    assert (await open_to_network.post(WRITE, json=BODY, headers=headers)).status_code == 200
    assert (await open_to_network.post(WRITE, json=BODY)).status_code == 401
    foreign = {**headers, "origin": "http://evil.example"}
    assert (await open_to_network.post(WRITE, json=BODY, headers=foreign)).status_code == 403
    assert len(desk.asked) == 1


async def test_without_the_token_only_pages_and_plain_health(
    open_to_network: httpx.AsyncClient, desk: FakeDesk
) -> None:
    for path in ("/", "/api/docs", "/static/main.js"):
        answer = await open_to_network.get(path)
        assert answer.status_code == 200
        assert "枫林" not in answer.text
    desk.faults.append("uplink cloud is down")
    assert (await open_to_network.get("/healthz")).json() == {"status": "degraded", "reasons": []}
    told = await open_to_network.get("/healthz", headers={"authorization": f"Bearer {TOKEN}"})
    assert told.json()["reasons"] == ["uplink cloud is down"]


@pytest.mark.parametrize("path", ["/", "/api/v1/site", "/nothing", "/static/style.css"])
async def test_browsers_are_told_to_be_careful(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
