"""The console on a real socket: ports, event streams, and an end that nothing holds up."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from edge.console import stream
from edge.console.server import Console, ConsoleBusy, serve_console
from tests.console.fake_desk import FakeDesk
from tests.support import eventually


@pytest.fixture
async def console(desk: FakeDesk) -> AsyncIterator[Console]:
    """A console on a free port."""
    async with serve_console(desk, "127.0.0.1", 0) as console:
        yield console


async def events(lines: AsyncIterator[str], count: int) -> list[tuple[str, Any]]:
    """The next events of a stream: kind and data."""
    found: list[tuple[str, Any]] = []
    kind = ""
    async with asyncio.timeout(5):
        async for line in lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            if line.startswith("data: "):
                found.append((kind, json.loads(line.removeprefix("data: "))))
                if len(found) == count:
                    return found
    pytest.fail(f"the stream ended after {found}")


async def test_port_0_takes_a_free_port_that_can_be_read(console: Console) -> None:
    assert console.port > 0
    async with httpx.AsyncClient(base_url=console.url) as http:
        answer = await http.get("/api/v1/site")
    assert answer.json()["id"] == "maple-garden"
    assert "server" not in answer.headers


async def test_a_busy_port_is_one_clear_line(console: Console, desk: FakeDesk) -> None:
    with pytest.raises(ConsoleBusy) as caught:
        async with serve_console(desk, "127.0.0.1", console.port):
            pytest.fail("took a port that is taken")
    expected = f"console.listen 127.0.0.1:{console.port} is taken by another program; choose another port"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("host", "word"), [("192.0.2.7", "no address of this box"), ("no-such-host.invalid", "no address of that name")]
)
async def test_an_address_that_is_not_ours(desk: FakeDesk, host: str, word: str) -> None:
    with pytest.raises(ConsoleBusy, match=word):
        async with serve_console(desk, host, 0, token="long-enough-token"):
            pytest.fail("listens on an address of somebody else")


async def test_the_network_is_not_served_without_a_token(desk: FakeDesk) -> None:
    with pytest.raises(ConsoleBusy, match=r"console\.token"):
        async with serve_console(desk, "0.0.0.0", 0):
            pytest.fail("open to the network without a token")


async def test_events_come_as_they_happen_and_only_those_asked_for(console: Console, desk: FakeDesk) -> None:
    async with (
        httpx.AsyncClient(base_url=console.url) as http,
        http.stream("GET", "/api/v1/events?kind=alarm&kind=order") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = aiter(answer.aiter_lines())
        assert await events(lines, 1) == [("hello", {})]
        desk.happen("reading", {"equipment": "pump-1"})
        desk.happen("alarm", {"id": "a", "name": {"zh": "一\n二", "en": "x"}})
        desk.happen("order", {"id": "b"})
        found = await events(lines, 2)
    assert [kind for kind, _ in found] == ["alarm", "order"]
    assert found[0][1]["body"]["name"]["zh"] == "一\n二"
    assert found[0][1]["kind"] == "alarm"
    await eventually(lambda: console.streams.open == 0)


async def test_a_slow_reader_is_told_how_much_it_missed(console: Console, desk: FakeDesk) -> None:
    async with (
        httpx.AsyncClient(base_url=console.url) as http,
        http.stream("GET", "/api/v1/events") as answer,
    ):
        lines = aiter(answer.aiter_lines())
        await events(lines, 1)
        for number in range(1_500):
            desk.happen("reading", {"number": number})
        kind, data = (await events(lines, 1))[0]
        assert (kind, data) == ("missed", {"count": 500})


async def test_a_quiet_stream_is_kept_alive(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = stream.Streams(keep_alive_s=0.01)
    chunks = aiter(streams.serve(desk.hub, frozenset()))
    assert b"hello" in await anext(chunks)
    assert (await anext(chunks)).startswith(b":")
    desk.happen("push", {"to": "desk"})
    streams.close()
    assert [chunk async for chunk in chunks] == []
    assert streams.open == 0


async def test_streams_are_bounded(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    async with (
        httpx.AsyncClient(base_url=console.url) as http,
        http.stream("GET", "/api/v1/events") as answer,
    ):
        lines = aiter(answer.aiter_lines())
        await events(lines, 1)
        refused = await http.get("/api/v1/events")
    assert refused.status_code == 503


async def test_open_pages_do_not_hold_up_the_end(desk: FakeDesk) -> None:
    async with httpx.AsyncClient() as http:
        async with serve_console(desk, "127.0.0.1", 0) as console:
            answers = [
                await http.send(http.build_request("GET", f"{console.url}/api/v1/events"), stream=True)
                for _ in range(3)
            ]
            for answer in answers:
                await events(aiter(answer.aiter_lines()), 1)
            began = time.monotonic()
        assert time.monotonic() - began < 1.0
        for answer in answers:
            await answer.aclose()


async def test_a_reader_that_does_not_read_does_not_hold_up_the_end(desk: FakeDesk) -> None:
    with socket.socket() as lazy:
        async with serve_console(desk, "127.0.0.1", 0) as console:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            lazy.setblocking(False)
            await asyncio.get_running_loop().sock_connect(lazy, ("127.0.0.1", console.port))
            request = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\n\r\n"
            await asyncio.get_running_loop().sock_sendall(lazy, request.encode())
            await eventually(lambda: console.streams.open == 1)
            for _ in range(200):
                desk.happen("reading", {"text": "x" * 50_000})
            await asyncio.sleep(0.05)
            began = time.monotonic()
        assert time.monotonic() - began < 2.0


async def test_signals_stay_with_the_daemon(console: Console) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert getattr(before, "__module__", "") != "uvicorn.server"
    assert before == signal.SIG_DFL or callable(before)


async def test_a_port_can_be_taken_again_at_once(desk: FakeDesk) -> None:
    async with serve_console(desk, "127.0.0.1", 0) as console:
        async with httpx.AsyncClient() as http:
            await http.get(f"{console.url}/healthz")
        port = console.port
    async with serve_console(desk, "127.0.0.1", port) as console:
        assert console.port == port


async def test_what_is_no_http_disturbs_nobody(console: Console) -> None:
    for junk in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 100_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
        writer.write(junk)
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
    async with httpx.AsyncClient(base_url=console.url) as http:
        assert (await http.get("/healthz")).status_code == 200


async def test_it_listens_at_once_and_answers_as_soon_as_it_is_loaded(desk: FakeDesk) -> None:
    async with serve_console(desk, "127.0.0.1", 0) as console:
        assert not console.served.done()
        async with httpx.AsyncClient(base_url=console.url) as http:
            assert (await http.get("/healthz")).status_code == 200
        assert console.served.done()


async def test_a_console_that_fails_is_told_and_takes_nobody_with_it(
    desk: FakeDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ImportError("no module named fastapi")

    monkeypatch.setattr("edge.console.serving.build_app", broken)
    async with serve_console(desk, "127.0.0.1", 0) as console:
        await eventually(lambda: "the console is not served" in caplog.text)
        assert not console.served.done()
