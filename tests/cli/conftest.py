"""A console on a loopback port, served from a thread, for commands that know nothing of event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Queue

import pytest

from edge.__main__ import main
from edge.console.server import serve_console
from tests.console.fake_desk import FakeDesk


@dataclass
class Daemon:
    """What answers the commands."""

    desk: FakeDesk
    url: str


@pytest.fixture
def daemon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A console on a fake desk, named by COURTYARD_URL; a test may ask for a token by parameter."""
    token: str | None = getattr(request, "param", None)
    desk = FakeDesk()
    started: Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with serve_console(desk, "127.0.0.1", 0, token=token) as console:
            started.put((console.url, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, loop, stop = started.get(timeout=5)
    monkeypatch.setenv("COURTYARD_URL", url)
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")
    monkeypatch.delenv("COURTYARD_TOKEN", raising=False)
    yield Daemon(desk, url)
    loop.call_soon_threadsafe(stop.set)
    thread.join(5)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line; gives exit code, standard output, standard error."""

    def act(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as usage:  # argparse
            code = int(usage.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return act
